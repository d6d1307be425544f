#!/usr/bin/env bash
# Installs what is missing, builds, and runs the demo until Ctrl-C. Further options go to `customer-journey demo`.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

state=$STATE_DIR/demo

# Ends the service if this script is killed while it waits: bash would leave it running.
stop_when_orphaned() {
  while kill -0 $$ 2>/dev/null; do sleep 0.5; done
  kill -INT "$1" 2>/dev/null
}

# In a terminal, Ctrl-C goes to every process of the foreground group, and so to make, which then reports an error
# however well the service ends. Job control (set -m) makes the service a foreground group of its own.
run_in_terminal() {
  local service guard status=0
  set -m
  "$@" &
  service=$!
  stop_when_orphaned "$service" </dev/null >/dev/null 2>&1 &
  guard=$!
  fg %1 >/dev/null || status=$?
  kill "$guard" 2>/dev/null || true
  exit "$status"
}

"$REPOSITORY/scripts/install-dependencies.sh" --demo
cd "$REPOSITORY"
cargo build --release --locked
binary=${CARGO_TARGET_DIR:-target}/release/customer-journey
mkdir -p "$state"
if [ -t 0 ] && [ -t 1 ]; then
  run_in_terminal "$binary" demo --state-dir "$state" "$@"
else
  exec "$binary" demo --state-dir "$state" "$@"
fi
