#!/usr/bin/env bash
# A private PostgreSQL and Redis for tests, on free ports of 127.0.0.1, all files under one folder.
#
#   scripts/test-services.sh start DIR   makes and starts them; after a crash, starts again what is down, same ports
#   scripts/test-services.sh env DIR     prints where they are, as lines for `eval`
#   scripts/test-services.sh crash DIR postgres|redis   kills one with SIGKILL, as a loss of power would
#   scripts/test-services.sh stop DIR    stops both and leaves their files
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() { sed -n '4,7s/^# *//p' "$0" >&2; exit 2; }

[ $# -ge 2 ] || usage
command=$1
mkdir -p "$2"
services=$(cd "$2" && pwd)
postgres_data=$services/postgres
redis_data=$services/redis

# The ports and the socket folder outlive a crash, so that a client finds the restarted server.
remembered() { cat "$services/$1" 2>/dev/null; }
remember() { echo "$2" >"$services/$1"; }

prepare_folder() {
  mkdir -p "$postgres_data" "$redis_data"
  chmod 755 "$services"
  chmod 700 "$postgres_data" "$redis_data"
  [ "$(id -u)" -ne 0 ] || chown "$(service_user)" "$postgres_data" "$redis_data"
  as_service_user test -w "$postgres_data" \
    || fail "the user $(service_user) cannot enter $services; choose a folder outside of private homes, such as one in /tmp."
}

# Durable as in production, for the tests that kill it; small, for the machine it shares with the compiler.
write_postgres_settings() {
  as_service_user tee "$postgres_data/postgresql.auto.conf" >/dev/null <<EOF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$(remembered socket_dir)'
max_connections = 200
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 64MB
max_wal_size = 256MB
# Containers give /dev/shm 64 MB, too little for parallel queries.
dynamic_shared_memory_type = mmap
timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
EOF
}

make_postgres() {
  [ ! -e "$postgres_data/PG_VERSION" ] || return 0
  as_service_user "$bin/initdb" --pgdata="$postgres_data" --username=postgres --auth=trust --encoding=UTF8 \
    --locale=C.UTF-8 --no-instructions >"$services/initdb.log" 2>&1 \
    || fail "initdb failed: $(tail -n 3 "$services/initdb.log")"
  # A path of more than 107 bytes is refused for a socket, so it cannot live under a folder of any depth.
  local socket_dir
  socket_dir=$(as_service_user mktemp -d /tmp/customer-journey.XXXXXX)
  chmod 755 "$socket_dir"
  remember socket_dir "$socket_dir"
  write_postgres_settings
}

postgres_answers() {
  "$bin/pg_isready" --quiet --host=127.0.0.1 --username=postgres --dbname=postgres --port="$(remembered postgres_port)"
}

postgres_runs() { as_service_user "$bin/pg_ctl" status --pgdata="$postgres_data" >/dev/null 2>&1; }

launch_postgres() {
  as_service_user "$bin/pg_ctl" start --pgdata="$postgres_data" --wait --timeout=60 --silent \
    --log="$postgres_data/server.log" --options="-p $(remembered postgres_port)" >/dev/null 2>&1 \
    && wait_for 30 postgres_answers
}

redis_answers() { redis-cli -h 127.0.0.1 -p "$(remembered redis_port)" ping 2>/dev/null | grep -q PONG; }

redis_pid() { cat "$redis_data/redis.pid" 2>/dev/null; }

redis_runs() { [ -n "$(redis_pid)" ] && kill -0 "$(redis_pid)" 2>/dev/null; }

launch_redis() {
  # No configuration file: the machine's own must not leak in.
  as_service_user redis-server --port "$(remembered redis_port)" --bind 127.0.0.1 --dir "$redis_data" --daemonize yes \
    --pidfile "$redis_data/redis.pid" --logfile "$redis_data/server.log" --save '' --appendonly yes \
    --appendfsync always --maxmemory 256mb --maxmemory-policy noeviction >/dev/null
  wait_for 10 redis_answers && redis_runs
}

# Starts `$1` (postgres or redis). A port that was free a moment ago may be taken by now, so the first start may choose
# again; a server that was killed a moment ago may not be gone yet, so a restart tries again on the port it had.
start_one() {
  local attempt known
  known=$(remembered "$1_port" || true)
  for attempt in 1 2 3 4 5; do
    if [ -n "$(remembered "$1_port" || true)" ] && "$1_runs" && "$1_answers"; then return 0; fi
    [ -n "$known" ] || remember "$1_port" "$(free_port)"
    if "launch_$1"; then return 0; fi
    sleep "$attempt"
  done
  fail "$1 does not start: $(tail -n 3 "$services/$1/server.log" 2>/dev/null)"
}

start() {
  bin=$(postgres_bin) || fail "PostgreSQL is missing; run scripts/install-dependencies.sh --test"
  have redis-server || fail "redis-server is missing; run scripts/install-dependencies.sh --test"
  prepare_folder
  make_postgres
  start_one postgres
  start_one redis
}

print_environment() {
  [ -e "$services/postgres_port" ] || fail "nothing was started in $services"
  cat <<EOF
export DATABASE_URL=postgres://postgres@127.0.0.1:$(remembered postgres_port)/postgres
export REDIS_URL=redis://127.0.0.1:$(remembered redis_port)
export PG_BIN=$(postgres_bin)
export PG_DATA=$postgres_data
export PG_SOCKET_DIR=$(remembered socket_dir)
export REDIS_DATA=$redis_data
export TEST_SERVICES_DIR=$services
export TEST_SERVICES=$REPOSITORY/scripts/test-services.sh
EOF
}

# The first line of this file is the process id of the server's first process.
postgres_pid() { head -n 1 "$postgres_data/postmaster.pid" 2>/dev/null; }

gone() { ! kill -0 "$1" 2>/dev/null; }

crash() {
  local pid children
  case ${1:-} in
    postgres)
      pid=$(postgres_pid) || fail "PostgreSQL is not running in $services"
      # The first process goes first, or it would see its children die and start recovering at once.
      children=$(ps -o pid= --ppid "$pid" || true)
      # shellcheck disable=SC2086 # a list of numbers, to be split
      kill -KILL "$pid" $children 2>/dev/null || true
      ;;
    redis)
      pid=$(redis_pid) || fail "Redis is not running in $services"
      kill -KILL "$pid"
      ;;
    *) usage ;;
  esac
  wait_for 10 gone "$pid" || fail "process $pid does not end"
}

stop() {
  if bin=$(postgres_bin) && postgres_runs; then
    as_service_user "$bin/pg_ctl" stop --pgdata="$postgres_data" --mode=fast --wait --timeout=30 --silent \
      || as_service_user "$bin/pg_ctl" stop --pgdata="$postgres_data" --mode=immediate --silent || true
  fi
  if redis_runs; then
    redis-cli -h 127.0.0.1 -p "$(remembered redis_port)" shutdown nosave >/dev/null 2>&1 || kill "$(redis_pid)" || true
  fi
  local socket_dir
  socket_dir=$(remembered socket_dir || true)
  [ -z "$socket_dir" ] || rm -rf "$socket_dir"
}

case $command in
  start) start ;;
  env) print_environment ;;
  crash) crash "${3:-}" ;;
  stop) stop ;;
  *) usage ;;
esac
