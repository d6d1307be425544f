#!/usr/bin/env bash
# Measures ingest and reads against a PostgreSQL and Redis of its own. Options go to `customer-journey bench`.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPOSITORY"

work=$(mktemp -d /tmp/customer-journey-bench.XXXXXX)
chmod 755 "$work"
trap 'scripts/test-services.sh stop "$work"; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

scripts/install-dependencies.sh --demo
cargo build --release --locked
scripts/test-services.sh start "$work"
environment=$(scripts/test-services.sh env "$work")
eval "$environment"
"${CARGO_TARGET_DIR:-target}/release/customer-journey" bench "$@"
