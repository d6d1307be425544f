#!/usr/bin/env bash
# The whole test run: format, lints, and every test against a real PostgreSQL, Redis and TimescaleDB of its own, the SDK
# in a real Chromium, nginx and fail2ban as the NixOS module sets them up. Words given to it choose tests of the service
# by name: `scripts/test.sh session`.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPOSITORY"

steps=()
# Not in the state folder: the servers' user could not enter a private home.
work=$(mktemp -d /tmp/customer-journey-test.XXXXXX)
chmod 755 "$work"
timescaledb_pid=

clean_up() {
  local status=$?
  trap - EXIT
  [ -z "$timescaledb_pid" ] || kill "$timescaledb_pid" 2>/dev/null || true
  scripts/test-services.sh stop "$work/services" || true
  rm -rf "$work"
  summarise "$status"
  exit "$status"
}
trap clean_up EXIT
# Without these, bash would run the trap above only once the running step has ended by itself.
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Runs one step and prints how long it took: step NAME COMMAND...
step() {
  local name=$1 began=$SECONDS
  shift
  say "" "== $name"
  current=$name
  "$@"
  current=
  steps+=("$(printf 'ok    %4d s  %s' $((SECONDS - began)) "$name")")
}

# Adds up what the runners printed: "446 passed, 0 failed, 1 skipped".
count_tests() {
  awk '
    # nextest: Summary [ 1.0s] 3 tests run: 2 passed, 1 failed, 1 skipped
    # cargo:   test result: ok. 2 passed; 1 failed; 1 ignored; …
    # vitest:        Tests  1 failed | 2 passed | 1 skipped (4)
    # node:    # pass 2
    /^ *Summary \[/ { for (i = 2; i <= NF; i++) add($i, $(i - 1)); found = 1 }
    !found && /^test result:/ { for (i = 2; i <= NF; i++) cargo($i, $(i - 1)) }
    /^ *Tests  / { for (i = 2; i <= NF; i++) add($i, $(i - 1)) }
    /^[^ ]+ (pass|fail|skipped) [0-9]+$/ { add($2 == "skipped" ? $2 : $2 "ed", $3) }
    function add(word, number) { gsub(/[^a-z]/, "", word); sum[word] += number }
    function cargo(word, number) { gsub(/[^a-z]/, "", word); if (word == "ignored") word = "skipped"; other[word] += number }
    END {
      if (!found) for (word in other) sum[word] += other[word]
      printf "%d passed, %d failed, %d skipped\n", sum["passed"], sum["failed"], sum["skipped"]
    }' "$@"
}

summarise() {
  say "" "== Summary"
  [ "${#steps[@]}" -eq 0 ] || printf '%s\n' "${steps[@]}"
  [ -z "${current:-}" ] || say "FAIL          $current"
  [ ! -e "$REPOSITORY/state/test-results.log" ] || grep -E '^ *Summary |^ +(FAIL|TIMEOUT|SIG[A-Z]+) ' "$REPOSITORY/state/test-results.log" | sort -u || true
  if [ "$1" -eq 0 ]; then say "All tests passed in $SECONDS s."; else say "The test run failed after $SECONDS s (code $1)."; fi
  local logs=("$REPOSITORY"/state/test-results*.log)
  [ ! -e "${logs[0]}" ] || count_tests "${logs[@]}"
}

check_scripts() {
  local script
  for script in scripts/*.sh .ci/run; do bash -n "$script"; done
  if have shellcheck; then
    shellcheck -x scripts/*.sh .ci/run
    shellcheck --shell=bash nixos/*.sh nixos/*/*.sh nixos/tests/lib/*.sh
  else
    say "shellcheck is not installed; the scripts were only parsed."
  fi
}

# The SDK's sources: formatted, typed, and what is committed as built from them is.
check_sdk() {
  (
    cd sdk
    npx prettier --check .
    npx tsc --noEmit
    npx tsc --project tests/e2e
    node types.mjs --check
    node build.mjs --check
    npx size-limit
  )
}

# Runs a suite of the SDK and keeps its counts for the summary: test_sdk SUITE FOLDER COMMAND...
test_sdk() {
  local log=$REPOSITORY/state/test-results-$1.log folder=$2
  shift 2
  # Colours would hide the counts.
  (cd "$folder" && NO_COLOR=1 FORCE_COLOR=0 "$@") 2>&1 | tee "$log"
}

# nginx and fail2ban with what the NixOS module tells them, before the real service.
test_edge() { tests/appliance/run.py 2>&1 | tee "$REPOSITORY/state/test-results-edge.log"; }

start_services() {
  scripts/test-services.sh start "$work/services"
  # In two steps, so that a failure is not lost inside the substitution.
  local environment
  environment=$(scripts/test-services.sh env "$work/services")
  eval "$environment"
}

timescaledb_is_ready() { grep -q ready "$work/timescaledb.log"; }

start_timescaledb() {
  node tests/timescaledb/smoke.mjs
  node tests/timescaledb/server.mjs 0 >"$work/timescaledb.log" 2>&1 &
  timescaledb_pid=$!
  wait_for 60 timescaledb_is_ready || fail "TimescaleDB does not start: $(cat "$work/timescaledb.log")"
  TIMESCALEDB_URL=$(grep -o 'postgres:.*' "$work/timescaledb.log")
  export TIMESCALEDB_URL
}

# Shows the tests' output and keeps it for the summary.
run_tests() {
  local results=$REPOSITORY/state/test-results.log
  if cargo nextest --version >/dev/null 2>&1; then
    [ $# -gt 0 ] || cargo test --locked --doc
    cargo nextest run --locked --all-targets --no-fail-fast "$@" 2>&1 | tee "$results"
  else
    [ $# -gt 0 ] || cargo test --locked --doc
    cargo test --locked --all-targets --no-fail-fast "$@" 2>&1 | tee "$results"
  fi
}

mkdir -p state
rm -f state/test-results*.log
# Colours would hide the summary line from grep and clutter a log; a person at a terminal keeps them in the other steps.
export CARGO_TERM_PROGRESS_WHEN=never
step "Dependencies" scripts/install-dependencies.sh --test
step "Scripts" check_scripts
step "Nix files" scripts/check-nix.sh
step "Format" cargo fmt --all --check
step "Lints" cargo clippy --locked --all-targets -- --deny warnings
step "Test programs" cargo test --locked --all-targets --no-run
step "PostgreSQL and Redis" start_services
step "TimescaleDB" start_timescaledb
export SCHEMATHESIS=$STATE_DIR/schemathesis/bin/schemathesis
export JOURNEY_BINARY=${CARGO_TARGET_DIR:-$REPOSITORY/target}/debug/customer-journey
if [ $# -eq 0 ]; then
  step "SDK" check_sdk
  step "SDK unit tests" test_sdk unit sdk npx vitest run --project unit --reporter=default
  step "SDK examples" test_sdk examples sdk/examples npm run --silent check
  step "Edge" test_edge
  step "SDK in a browser" test_sdk e2e sdk npx vitest run --project e2e --reporter=default
fi
step "Tests" run_tests "$@"
