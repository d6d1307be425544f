# Takes the database `customer_journey` back to what the release before the newest migration would have made of the
# same data, to be run as `postgres`: a database with all migrations but the last, filled with the columns it has.
#
# usage: as-previous-release.sh MIGRATIONS
set -euo pipefail

migrations=$1
new=customer_journey
old=previous_release
# The session's role owns what it makes, as the service does.
run() { PGOPTIONS='-c role=customer-journey' psql -X -At -v ON_ERROR_STOP=1 --quiet --dbname "$@"; }

createdb --owner customer-journey "$old"
if psql -X -At -d "$new" -c "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'" | grep -q 1; then
  psql -X --quiet -d "$old" -c 'CREATE EXTENSION timescaledb'
fi

# As sqlx does it, with its table.
run "$old" <<'SQL'
CREATE TABLE _sqlx_migrations (
    version bigint PRIMARY KEY,
    description text NOT NULL,
    installed_on timestamptz NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
SQL
for file in $(printf '%s\n' "$migrations"/*.sql | head --lines=-1); do
  name=$(basename "$file" .sql)
  description=${name#*_}
  run "$old" --single-transaction --file="$file"
  run "$old" --command="INSERT INTO _sqlx_migrations VALUES ($((10#${name%%_*})), '${description//_/ }', now(), true,
    '\\x$(sha384sum "$file" | cut --delimiter=' ' --fields=1)', 0)"
done
if run "$old" --command='\dx timescaledb' | grep -q timescaledb; then
  run "$old" --command="SELECT create_hypertable('events', 'timestamp', chunk_time_interval => interval '7 days',
    create_default_indexes => false)" >/dev/null
fi

tables=$(run "$old" --command="SELECT relname FROM pg_class
  WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> '_sqlx_migrations'")
for table in $tables; do
  columns=$(run "$old" --command="SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped")
  run "$new" --command="COPY (SELECT $columns FROM $table) TO STDOUT" | run "$old" --command="COPY $table ($columns) FROM STDIN"
done
# COPY brings the numbers along; the counters behind them have to follow.
run "$old" --command="SELECT setval(pg_get_serial_sequence(attrelid::regclass::text, attname), 1000) FROM pg_attribute
  WHERE attidentity <> '' AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)" >/dev/null

dropdb --force "$new"
psql -X --quiet -d postgres -c "ALTER DATABASE $old RENAME TO $new"
