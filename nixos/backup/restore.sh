# Puts a backup set in place on this machine: its data, its queue, its salt.
# nixos/backup.nix sets `directory`, `salt` and `salt_is_given`, and that the first error ends the script.
# shellcheck shell=bash disable=SC2154

usage() {
  cat <<TEXT
usage: customer-journey-restore [--replace] SET

  SET        folder of a set, or the name of one in $directory
  --replace  restore over the data that this machine holds; without it the database must be empty

The service is stopped meanwhile. It is started again unless a restore broke off after the data was replaced.
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

# Beside its place, then renamed: a power cut leaves the old salt or the new one.
put_salt() {
  install --mode=0400 --owner=root --group=root "$staging/salt" "$salt.new" \
    && sync "$salt.new" \
    && mv "$salt.new" "$salt"
}

# Neither visitors nor a nightly backup may meet what is half restored.
break_off() {
  timers_stopped=false
  fail "the data is that of the set, but $1: see above. The service and its backups stay stopped." \
    "Mend the cause, then restore again with --replace."
}

# Which database it is: a restore makes its tables anew, all at once.
identity() {
  runuser --user=customer-journey -- \
    psql -X -At --port="$port" --dbname=customer_journey --command="SELECT to_regclass('_sqlx_migrations')::oid"
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
# What a power cut left of an earlier restore.
find "$directory" -maxdepth 1 -name '.restore-*' -mmin +720 -exec rm -rf {} +
staging=$(mktemp --directory "$directory/.restore-XXXXXXXX")
timers_stopped=false
finish() {
  rm -rf "$staging"
  if "$timers_stopped"; then systemctl start "${timers[@]}"; fi
}
trap finish EXIT
# A connection that is lost, or an impatient key, must not end this half way.
trap '' HUP INT TERM

# The service's user can read what it wrote in its own folder, and nothing of root's.
if [[ $set != "$(realpath "$directory")"/* ]] || [ "$(stat --format=%U "$set/manifest.json")" != customer-journey ]; then
  cp --recursive --reflink=auto "$set" "$staging/set"
  set=$staging/set
fi
chown --recursive customer-journey:customer-journey "$staging"

before=$(identity) || fail "the database does not answer. Nothing was changed."
say "stopping the service"
timers_stopped=true
# A backup of a database that is half restored would be the newest one.
systemctl stop "${timers[@]}"
systemctl stop customer-journey-backup.service customer-journey-backup-verify.service customer-journey.service

restored=false
# The machine's own command: it runs as the service's user, with the service's configuration and secrets. It reads every
# byte of the set before it changes anything.
if /run/current-system/sw/bin/customer-journey restore "${options[@]}" --salt-file "$staging/salt" "$set"; then
  restored=true
  "$salt_is_given" || put_salt || break_off "the set's salt could not be put into $salt"
elif [ "$(identity)" != "$before" ]; then
  break_off "people who were erased may be in it again, and the queue is not back"
fi

if "$restored"; then
  say "restored."
else
  say "nothing was changed, see above: data, queue and salt are as they were."
fi
systemctl start customer-journey.service || fail "the service does not start: journalctl --unit=customer-journey.service"
say "the service runs again."
"$restored"
