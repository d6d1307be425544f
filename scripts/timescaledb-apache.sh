#!/usr/bin/env bash
# TimescaleDB in its Apache edition, as Debian trixie packages it: no compression, no continuous aggregates. Lives in a
# folder of its own (chroot), so that the machine may be any Debian or Ubuntu.
#
#   scripts/timescaledb-apache.sh start   makes the root once (about 550 MB), starts an empty server, prints its URL
#   scripts/timescaledb-apache.sh url     prints the URL again
#   scripts/timescaledb-apache.sh stop    stops the server; `rm -rf state/cache` frees the disk
#
# Ends with code 77 and one sentence where it cannot be had.
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cache=$STATE_DIR/cache
root=$cache/trixie-timescaledb
data=/srv/timescaledb
bin=/usr/lib/postgresql/17/bin
port_file=$cache/trixie-timescaledb.port
log_file=$cache/trixie-timescaledb.log

skip() {
  say "TimescaleDB Apache edition skipped: $*" >&2
  exit 77
}

check_rights() { [ "$(id -u)" -eq 0 ] || skip "a chroot needs root; run this with sudo."; }

install_mmdebstrap() {
  have mmdebstrap && return 0
  have apt-get || skip "mmdebstrap is missing and there is no apt-get to install it."
  # Ubuntu does not bring the keys of Debian's archive.
  { apt-get -o DPkg::Lock::Timeout=300 -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install --yes --no-install-recommends \
      mmdebstrap debian-archive-keyring; } >"$log_file" 2>&1 || skip "mmdebstrap cannot be installed (see $log_file)."
}

make_root() {
  [ ! -d "$root" ] || return 0
  say "Making a Debian trixie with TimescaleDB in $root ..." >&2
  rm -rf "$root.new"
  # shellcheck disable=SC2016 # mmdebstrap fills in $1
  mmdebstrap --quiet --mode=root --variant=minbase --keyring=/usr/share/keyrings \
    --essential-hook='mkdir -p "$1/etc/postgresql-common/createcluster.d"' \
    --essential-hook='echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.d/none.conf"' \
    --include=postgresql-17,postgresql-17-timescaledb \
    trixie "$root.new" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$log_file" 2>&1 \
    || skip "Debian trixie cannot be fetched (see $log_file)."
  mv "$root.new" "$root"
}

# Runs a command inside the root as its own user `postgres`.
inside() { chroot "$root" /usr/bin/setpriv --reuid=postgres --regid=postgres --clear-groups env -i HOME=/ PATH=/usr/bin:/bin "$@"; }

write_settings() {
  inside tee -a "$data/postgresql.conf" >/dev/null <<EOF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
port = $1
max_connections = 200
shared_buffers = 64MB
# The root has no /dev/shm.
dynamic_shared_memory_type = mmap
shared_preload_libraries = 'timescaledb'
timescaledb.license = 'apache'
timescaledb.telemetry_level = off
# They hold on to short-lived databases: https://github.com/timescale/timescaledb/issues/6848
timescaledb.max_background_workers = 0
EOF
}

running() { [ -e "$root$data/postmaster.pid" ] && inside "$bin/pg_ctl" status --pgdata="$data" >/dev/null 2>&1; }

url() {
  running || fail "it is not running; use: scripts/timescaledb-apache.sh start"
  echo "postgres://postgres@127.0.0.1:$(cat "$port_file")/postgres?sslmode=disable"
}

start() {
  check_rights
  mkdir -p "$cache"
  install_mmdebstrap
  make_root
  if ! running; then
    local port
    port=$(free_port)
    echo "$port" >"$port_file"
    rm -rf "${root:?}$data"
    install -d -m 700 -o "$(stat -c %u "$root/var/lib/postgresql")" "$root$data"
    inside "$bin/initdb" --pgdata="$data" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 \
      >"$log_file" 2>&1 || fail "initdb failed (see $log_file)"
    write_settings "$port"
    inside "$bin/pg_ctl" start --pgdata="$data" --wait --silent --log="$data/server.log" >>"$log_file" 2>&1 \
      || fail "the server does not start (see $root$data/server.log)"
    # In the template, so that each database a test makes has it.
    echo 'CREATE EXTENSION timescaledb' | inside psql -X -q -h 127.0.0.1 -p "$port" -U postgres template1 2>>"$log_file"
    echo 'CREATE EXTENSION timescaledb' | inside psql -X -q -h 127.0.0.1 -p "$port" -U postgres postgres 2>>"$log_file"
  fi
  url
}

stop() {
  check_rights
  if [ -d "$root" ] && running; then
    inside "$bin/pg_ctl" stop --pgdata="$data" --mode=fast --wait --silent
  fi
}

case ${1:-} in
  start | url | stop) "$1" ;;
  *) sed -n '5,7s/^# *//p' "$0" >&2; exit 2 ;;
esac
