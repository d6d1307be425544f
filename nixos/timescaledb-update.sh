# shellcheck shell=bash
# Brings the TimescaleDB extension of every database to the version of the installed library.
#
# ALTER EXTENSION has to be the first statement of its session: any other one would make the loader look for the library
# of the old version, which is not there any more. For the same reason no database is asked whether it has the extension.

# The server may be starting again after a crash; the service waits for us, so it waits with us.
for attempt in $(seq 300); do
  if pg_isready --quiet; then break; fi
  if [ "$attempt" = 300 ]; then
    echo "PostgreSQL does not answer: systemctl status postgresql" >&2
    exit 1
  fi
  sleep 2
done

# The database `postgres` comes first, since the names of the others are asked for there.
failed=0
update() {
  local answer
  local -x PGDATABASE=$1
  if answer=$(psql -X --quiet --set VERBOSITY=sqlstate --command 'ALTER EXTENSION timescaledb UPDATE' 2>&1); then
    echo "$1: TimescaleDB is $(psql -X -At --command "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")."
  # undefined_object: the database has no such extension.
  elif [[ $answer != *42704* ]]; then
    echo "<3>$1: the extension cannot be updated: $answer" >&2
    # Another database's trouble is no reason to keep the service down.
    if [ "$1" = customer_journey ]; then failed=1; fi
  fi
}

update postgres
databases=$(psql -X -At --dbname postgres --command "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'postgres' ORDER BY datname")
while IFS= read -r database; do
  update "$database"
done <<<"$databases"
exit "$failed"
