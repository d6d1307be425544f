#!/usr/bin/env bash
# Measures the analyses beside ClickHouse and DuckDB on the same events, and starts of the index from a store of its own.
#
#   scripts/bench-analysis.sh [--events 1000000,9000000] [--start-events 1000000] [--rounds 1]
#
# Each round asks everybody anew; where the machine has other work, the quickest round says most. --start-events 0 leaves
# the starts out.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPOSITORY"

events=1000000,9000000
start_events=1000000
rounds=1
while [ $# -gt 0 ]; do
  case $1 in
    --events) events=${2:?} ;;
    --start-events) start_events=${2:?} ;;
    --rounds) rounds=${2:?} ;;
    *) sed -n '4p' "$0" >&2; exit 2 ;;
  esac
  shift 2
done

# Outside of the repository's state: PostgreSQL refuses to run as root, and its user cannot enter private homes.
work=$(mktemp -d /tmp/customer-journey-bench.XXXXXX)
chmod 755 "$work"
trap 'scripts/test-services.sh stop "$work/services" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The versions that docs/performance.md names are pinned there, not here: a comparison is with what others have now.
engines() {
  local venv=$STATE_DIR/engines
  if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import chdb, duckdb, numpy, pyarrow' 2>/dev/null; then
    have python3 || fail "python3 is missing; it runs ClickHouse and DuckDB from their packages."
    mkdir -p "$STATE_DIR"
    if ! python3 -m venv "$venv" || ! "$venv/bin/pip" install --quiet chdb duckdb numpy pyarrow; then
      fail "chdb and duckdb cannot be installed from the package index."
    fi
  fi
  "$venv/bin/python" benches/engines.py "$@"
}

cargo bench --locked --no-run --bench journeys --bench start
for size in ${events//,/ }; do
  for ((round = 1; round <= rounds; round++)); do
    say "" "$size events, round $round of $rounds"
    cargo bench --locked --quiet --bench journeys -- --events "$size" --export "$work/events"
    engines "$work/events/$size"
  done
  rm -rf "$work/events"
done
if [ "$start_events" != 0 ]; then
  say "" "Starts"
  scripts/test-services.sh start "$work/services"
  environment=$(scripts/test-services.sh env "$work/services")
  eval "$environment"
  cargo bench --locked --quiet --bench start -- --events "$start_events"
fi
