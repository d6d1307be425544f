# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run.

set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export REPOSITORY
# Everything the scripts make lives here; git ignores it.
STATE_DIR=${STATE_DIR:-$REPOSITORY/state}

have() { command -v "$1" >/dev/null 2>&1; }

say() { printf '%s\n' "$@"; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# A root shell obtained by su may lack the folders where Debian keeps programs for administrators.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
# rustup puts cargo there, and only login shells learn of it.
have cargo || PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# The newest PostgreSQL on this machine: Debian keeps initdb and pg_ctl out of the PATH.
postgres_bin() {
  local found
  found=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
  if [ -z "$found" ] && have initdb && have postgres; then
    found=$(readlink -f "$(command -v postgres)")
  fi
  [ -n "$found" ] || return 1
  dirname "$found"
}

# A TCP port that nobody listens on. Another program may take it before we do; callers try again then. Not one of those
# that the system gives to outgoing connections, which could take it while its server is away.
free_port() {
  node -e '
    (function attempt() {
      const port = 20000 + Math.floor(Math.random() * 12768);
      const server = require("net").createServer().once("error", attempt);
      server.listen(port, "127.0.0.1", () => server.close(() => console.log(port)));
    })()'
}

# The user that runs the private servers: PostgreSQL refuses to run as root.
service_user() {
  if [ "$(id -u)" -ne 0 ]; then
    id -un
  elif id -u postgres >/dev/null 2>&1; then
    echo postgres
  else
    echo nobody
  fi
}

# Runs a command as the service user; as that user already, plainly. The environment is kept, the home is not.
as_service_user() {
  if [ "$(id -u)" -ne 0 ]; then
    "$@"
  else
    local user
    user=$(service_user)
    setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups env HOME=/ "$@"
  fi
}

# Waits for a command to succeed: wait_for SECONDS COMMAND...
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}
