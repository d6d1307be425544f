#!/usr/bin/env bash
# Installs what the demo or the test run needs and this machine lacks. Asks apt only when something is missing, starts
# no service, and leaves those that were there before alone.
#
#   scripts/install-dependencies.sh [--demo|--test]
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The oldest versions that work: Rust as in Cargo.toml, Node as in tests/timescaledb/package.json.
RUST_MINIMUM=1.95
NODE_MINIMUM=20
SCHEMATHESIS_VERSION=4.32.5
NIXFMT_VERSION=0.5.3

purpose=${1:---demo}
case $purpose in
  --demo | --test) ;;
  *) fail "unknown option $purpose; use --demo or --test" ;;
esac

at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

check_rust() {
  local version
  have cargo || fail "Rust is missing: install Rust $RUST_MINIMUM or newer from https://rustup.rs, then run this again."
  version=$(rustc --version | cut -d ' ' -f 2)
  at_least "$RUST_MINIMUM" "$version" || fail "Rust $version is too old: run 'rustup update' to have $RUST_MINIMUM or newer."
}

check_node() {
  local version
  have node || fail "Node is missing: install Node $NODE_MINIMUM or newer from https://nodejs.org, then run this again."
  version=$(node --version | tr -d v)
  at_least "$NODE_MINIMUM" "$version" || fail "Node $version is too old: install Node $NODE_MINIMUM or newer from https://nodejs.org."
  [ "$purpose" = --demo ] || have npm || fail "npm is missing: install it beside Node (package npm), then run this again."
}

missing_packages() {
  postgres_bin >/dev/null || echo postgresql
  have redis-server || echo redis-server
  have gcc || echo gcc
  [ -e /usr/include/stdio.h ] || echo libc6-dev
  have pkg-config || echo pkg-config
  have curl || echo curl
  [ "$purpose" = --test ] || return 0
  have psql || echo postgresql-client
  # The venv module alone is not enough: Debian ships ensurepip, which fills a new environment, in its own package.
  python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || echo python3-venv
  have nix-instantiate || echo nix-bin
  have nginx || echo nginx
  have fail2ban-regex || echo fail2ban
  have openssl || echo openssl
  have chromium || echo chromium
}

# Runs a command with the rights to change the system.
privileged() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

check_rights() {
  have apt-get || fail "this is not Debian or Ubuntu; install these by hand, then run this again: $*"
  [ "$(id -u)" -eq 0 ] || have sudo || fail "Run as root or install sudo; to be installed: $*"
}

# Keeps freshly installed packages from starting their services. A policy that is there already stays: it is somebody
# else's decision. Undone by allow_service_starts.
forbid_service_starts() {
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | privileged tee /usr/sbin/policy-rc.d >/dev/null
    privileged chmod 755 /usr/sbin/policy-rc.d
    policy_is_ours=yes
  fi
  # Without this the PostgreSQL package makes a cluster, which the next boot of the machine would start.
  if [ ! -e "$cluster_policy" ] && [ ! -d /etc/postgresql ]; then
    privileged mkdir -p "$(dirname "$cluster_policy")"
    echo 'create_main_cluster = false' | privileged tee "$cluster_policy" >/dev/null
    cluster_policy_is_ours=yes
  fi
}

allow_service_starts() {
  [ -z "$policy_is_ours" ] || privileged rm -f /usr/sbin/policy-rc.d
  [ -z "$cluster_policy_is_ours" ] || privileged rm -f "$cluster_policy"
}

# These packages have their services start with the machine, which nobody asked for. Only called after a fresh install: a
# service that was there before is not ours to change.
disable_new() {
  privileged deb-systemd-helper disable "$1.service" >/dev/null 2>&1 || true
  privileged update-rc.d "$1" disable >/dev/null 2>&1 || true
  ! have systemctl || privileged systemctl daemon-reload >/dev/null 2>&1 || true
}

# Several of these scripts may run at once, as may an unattended upgrade: wait for the lock instead of failing.
apt_get() { privileged apt-get -o DPkg::Lock::Timeout=300 -qq "$@"; }

install_packages() {
  policy_is_ours='' cluster_policy_is_ours=''
  cluster_policy=/etc/postgresql-common/createcluster.d/customer-journey.conf
  trap allow_service_starts EXIT
  forbid_service_starts
  say "Installing $* ..."
  mkdir -p "$STATE_DIR"
  local log=$STATE_DIR/install.log
  apt_get update >"$log" 2>&1 || fail "apt-get update failed; is this machine online? It said: $(tail -n 2 "$log")"
  apt_get install --yes --no-install-recommends "$@" >>"$log" 2>&1 \
    || fail "apt-get could not install $*; it said: $(tail -n 3 "$log")"
  local service
  for service in redis-server nginx fail2ban; do
    case " $* " in *" $service "*) disable_new "$service" ;; esac
  done
  allow_service_starts
  trap - EXIT
}

# Installs what a folder's lock file names, unless that was done already: npm writes its own list last, and it is newer
# than the lock it was made from.
install_node_packages() {
  local folder=$REPOSITORY/$1
  [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] && return 0
  say "Installing the Node packages of $1 ..."
  npm ci --prefix "$folder" --no-audit --no-fund --loglevel=error
  touch "$folder/node_modules/.package-lock.json"
}

install_schemathesis() {
  local folder=$STATE_DIR/schemathesis
  [ -x "$folder/bin/schemathesis" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$SCHEMATHESIS_VERSION" ] && return 0
  say "Installing schemathesis $SCHEMATHESIS_VERSION into $folder ..."
  python3 -m venv --clear "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS_VERSION"
  echo "$SCHEMATHESIS_VERSION" >"$folder/version"
}

# Written in Rust, since nixfmt itself is in Haskell and no package of Debian; it formats as nixfmt does.
install_nixfmt() {
  local folder=$STATE_DIR/nixfmt
  [ -x "$folder/bin/nixfmt" ] && [ "$(cat "$folder/version" 2>/dev/null)" = "$NIXFMT_VERSION" ] && return 0
  say "Building nixfmt_rs $NIXFMT_VERSION into $folder ..."
  cargo install --quiet --locked --root "$folder" --version "$NIXFMT_VERSION" --force nixfmt_rs
  echo "$NIXFMT_VERSION" >"$folder/version"
}

check_rust
check_node
missing=$(missing_packages)
if [ -n "$missing" ]; then
  # shellcheck disable=SC2086 # a list of package names, to be split
  check_rights $missing
  # shellcheck disable=SC2086
  install_packages $missing
fi
if [ "$purpose" = --test ]; then
  install_node_packages tests/timescaledb
  install_node_packages sdk
  install_node_packages sdk/examples
  install_schemathesis
  install_nixfmt
fi
