# Puts a backup set in place on this machine: its data, its queue, its salt.
# nixos/backup.nix sets `directory`, `salt` and `salt_is_given`, and that the first error ends the script.
# shellcheck shell=bash disable=SC2154

usage() {
  cat <<TEXT
usage: customer-journey-restore [--replace] SET

  SET        folder of a set, or the name of one in $directory
  --replace  restore over the data that this machine holds; without it the database must be empty

The service is stopped meanwhile and started again afterwards, whatever happened.
TEXT
}

say() { echo "customer-journey-restore: $*" >&2; }
fail() {
  say "$*"
  exit 1
}
wrong_call() {
  usage >&2
  exit 2
}

options=()
set=
for argument in "$@"; do
  case $argument in
    --help | -h) usage && exit ;;
    --replace) options+=(--replace) ;;
    -*) wrong_call ;;
    *)
      [ -z "$set" ] || wrong_call
      set=$argument
      ;;
  esac
done
[ -n "$set" ] || wrong_call
[ "$(id -u)" -eq 0 ] || fail "run it as root: it stops the service and writes the salt."

if [ ! -e "$set/manifest.json" ]; then set=$directory/$set; fi
[ -e "$set/manifest.json" ] || fail "there is no backup set of that name, neither here nor in $directory."
set=$(realpath "$set")

# Keys and hashes of the set fit its own salt only. One that the operator manages is theirs to change.
if "$salt_is_given" && ! cmp --silent "$set/secrets/api-key-salt" "$salt"; then
  fail "the set was made with another salt than the one in $salt (secrets.apiKeySalt)." \
    "Put the set's secrets/api-key-salt there and run this again. Nothing was changed."
fi

timers=(customer-journey-backup.timer customer-journey-backup-verify.timer)
staging=$(mktemp --directory "$directory/.restore-XXXXXXXX")
stopped=false
finish() {
  rm -rf "$staging"
  if "$stopped"; then systemctl start "${timers[@]}"; fi
}
trap finish EXIT

# The service's user can read what lies in its own folder, and nothing of root's.
if [[ $set != "$(realpath "$directory")"/* ]]; then
  cp --recursive --reflink=auto "$set" "$staging/set"
  set=$staging/set
fi
chown --recursive customer-journey:customer-journey "$staging"

# The machine's own command: it runs as the service's user, with the service's configuration and secrets.
run=/run/current-system/sw/bin/customer-journey
"$run" backups verify "$set" || fail "the set is not sound. Nothing was changed, the service was not stopped."

say "stopping the service"
stopped=true
# A backup of a database that is half restored would be the newest one.
systemctl stop "${timers[@]}"
systemctl stop customer-journey-backup.service customer-journey-backup-verify.service customer-journey.service

restored=false
if "$run" restore "${options[@]}" --salt-file "$staging/salt" "$set"; then
  restored=true
  if ! "$salt_is_given"; then
    # Beside its place, then renamed: a power cut leaves the old salt or the new one.
    install --mode=0400 --owner=root --group=root "$staging/salt" "$salt.new"
    sync "$salt.new"
    mv "$salt.new" "$salt"
  fi
fi

say "starting the service"
systemctl start customer-journey.service || say "it does not start: journalctl --unit=customer-journey.service"

"$restored" || fail "the restore failed, see above. The salt was not touched, and the set is where it was."
say "restored."
