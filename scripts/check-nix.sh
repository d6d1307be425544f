#!/usr/bin/env bash
# Checks the Nix files as far as a machine without nixpkgs can: they parse, they are formatted, and docs/nixos-options.md says
# what the module declares. What nginx is told is tested by tests/appliance/run.py.
#
#   scripts/check-nix.sh            checks
#   scripts/check-nix.sh --write    formats the files and writes the page
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPOSITORY"

nixfmt=$STATE_DIR/nixfmt/bin/nixfmt

# Files that are not committed yet are checked as well, ignored ones are not.
mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.nix')
[ "${#files[@]}" -gt 0 ] || fail "no Nix files found"

# Complaints only: a machine that has no Nix besides the program is told each time that a group is missing.
parse() { nix-instantiate --store dummy:// --parse "$@" >/dev/null; }

case ${1:-} in
  --write)
    "$nixfmt" "${files[@]}"
    tests/appliance/options.py --write
    ;;
  '')
    parse "${files[@]}"
    "$nixfmt" --check "${files[@]}" || fail "run scripts/check-nix.sh --write"
    tests/appliance/options.py
    say "${#files[@]} Nix files parse and are formatted. Not checked here, for want of nixpkgs: whether the module, the" \
      "flake and the hosts evaluate, and the tests in virtual machines (nixos/tests/). \`nix flake check\` does both."
    ;;
  *) fail "unknown option $1; use --write or none" ;;
esac
