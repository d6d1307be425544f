#!/usr/bin/env bash
# Runs the tests whose name contains `timescaledb_apache` against the Apache edition; says so where it cannot be had.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPOSITORY"

status=0
TIMESCALEDB_APACHE_URL=$(scripts/timescaledb-apache.sh start) || status=$?
[ "$status" -ne 77 ] || exit 0
[ "$status" -eq 0 ] || exit "$status"
export TIMESCALEDB_APACHE_URL
trap 'scripts/timescaledb-apache.sh stop' EXIT
scripts/test.sh timescaledb_apache
