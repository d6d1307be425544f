#!/usr/bin/env bash
# Stops the demo if it runs, and deletes all it has stored.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$STATE_DIR/demo
# PostgreSQL and Redis keep their files here; for a demo that root started it is a link to a folder in /var/lib.
data=$(readlink -f "$state/data" || true)

# The service is known by the state folder on its command line, so that no other one is taken for it.
demo_service() {
  local process
  for process in /proc/[0-9]*; do
    if [ "$(basename "$(readlink "$process/exe" 2>/dev/null)" ' (deleted)')" = customer-journey ] \
      && tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qxF -e "$state" -e "--state-dir=$state"; then
      basename "$process"
    fi
  done
}

# PostgreSQL and Redis both work inside their data folder. They end with the service, but not at once when it was
# killed. A shell that somebody has open there is none of them.
left_over_servers() {
  local process
  [ -n "$data" ] || return 0
  for process in /proc/[0-9]*; do
    case $(cat "$process/comm" 2>/dev/null) in postgres | redis-server | valkey-server) ;; *) continue ;; esac
    case $(readlink "$process/cwd" 2>/dev/null) in "$data"/*) basename "$process" ;; esac
  done
}

gone() { ! kill -0 "$1" 2>/dev/null; }

end_process() {
  kill -INT "$1" 2>/dev/null || return 0
  wait_for "$2" gone "$1" || kill -KILL "$1" 2>/dev/null || true
}

if [ ! -e "$state" ]; then
  say "Nothing to reset: there is no $state."
  exit 0
fi
for process in $(demo_service); do
  say "Stopping the running demo (process $process) ..."
  end_process "$process" 30
done
for process in $(left_over_servers); do
  end_process "$process" 10
done
if [ -L "$state/data" ]; then
  [ -w "$(dirname "$data")" ] || fail "the data in $data belongs to root: run this as root."
  rm -rf "$data"
fi
rm -rf "$state"
say "Deleted $state; the next 'make demo' starts with fresh data."
