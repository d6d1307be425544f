# A machine is lost, and a new one gives the same answers from its off-site backup: people's journeys, keys, what the
# queue still held. A backup that fails says so and harms nothing; a damaged set is refused.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };
  directory = "/var/backup/customer-journey";
in
{
  name = "customer-journey-backup";

  nodes.old = {
    imports = [
      machines.appliance
      machines.withoutNginx
    ];
    services.customer-journey.backup.offsite = {
      # In a real machine this is a server of somebody else.
      repository = "/srv/offsite";
      passwordFile = "/etc/restic-password";
    };
    environment.etc."restic-password".text = "only a test";
  };
  nodes.new.imports = [
    machines.appliance
    machines.withoutNginx
  ];

  testScript = machines.script + ''
    def sets(machine: Any) -> list[str]:
        """What lies in the folder of sets, whole or not, but for the lock."""
        return [name for name in machine.succeed("ls -A ${directory}").split() if name != ".lock"]


    def answers(machine: Any) -> list[Any]:
        """What the machine knows, as its users see it."""
        paths = [f"/api/v1/customers/{device}/journey?events=all" for device in ["laptop", "phone", "tablet"]]
        *journeys, sessions = [get(machine, read_key, path) for path in [*paths, "/api/v1/sessions"]]
        for entry in [entry for journey in journeys for entry in journey["entries"]]:
            # When the service wrote a link down: on the new machine again, for what the set had in its queue.
            entry.pop("recorded_at", None)
        return [*journeys, sessions]


    old.wait_for_unit("customer-journey.service")
    write_key = new_key(old, "write")
    read_key = new_key(old, "secret", "read")
    for device in ["laptop", "phone"]:
        post(old, write_key, shop_visit(device))
    settle(old, read_key)

    with subtest("a backup is made, with what the queue holds"):
        hold_writers(old)
        post(old, write_key, shop_visit("tablet"))
        old.succeed("systemctl start customer-journey-backup.service")
        old.succeed("systemctl stop hold.service")
        settle(old, read_key)
        (first,) = sets(old)
        old.succeed("test $(stat --format=%a:%U ${directory}/" + first + ") = 700:customer-journey")
        old.fail("sudo -u nobody ls ${directory}")
        expected = answers(old)

    with subtest("the weekly trial restore passes and leaves nothing behind"):
        old.succeed("systemctl start customer-journey-backup-verify.service")
        databases = old.succeed("sudo -u postgres psql -At -c 'SELECT datname FROM pg_database'")
        assert "verify" not in databases, databases

    with subtest("a backup that cannot be written fails and leaves the older sets"):
        old.succeed("chmod 0500 ${directory}")
        old.fail("systemctl start customer-journey-backup.service")
        old.succeed("systemctl is-failed customer-journey-backup.service")
        # The program's own words, beside those of systemd.
        old.succeed("journalctl --identifier=customer-journey --priority=err --grep='${directory}'")
        old.succeed("chmod 0700 ${directory}")
        assert sets(old) == [first]

    with subtest("the sets are taken off-site"):
        old.succeed("systemctl start restic-backups-customer-journey.service")
        old.succeed("restic-customer-journey restore latest --target /root/offsite")
        old.succeed("tar --create --file=/root/set.tar --directory=/root/offsite${directory} " + first)
        old.copy_from_vm("/root/set.tar")

    with subtest("a damaged set is refused, and nothing is touched"):
        damaged = "/root/damaged"
        old.succeed(f"cp --recursive ${directory}/{first} {damaged}")
        file = old.succeed(f"ls -S {damaged}/database/* | head --lines=1").strip()
        old.succeed(f"printf '\\xff' | dd of={file} bs=1 seek=40 conv=notrunc")
        complaint = old.fail(f"customer-journey-restore --replace {damaged} 2>&1")
        assert "damaged" in complaint and "nothing was changed" in complaint, complaint
        old.wait_for_unit("customer-journey.service")
        assert answers(old) == expected and sets(old) == [first]

    with subtest("data that is there is not overwritten by mistake"):
        complaint = old.fail(f"customer-journey-restore {first} 2>&1")
        assert "--replace" in complaint and "nothing was changed" in complaint, complaint
        old.wait_for_unit("customer-journey.service")
        assert answers(old) == expected

    old.shutdown()

    with subtest("an empty machine gives the same answers after one command"):
        new.wait_for_unit("customer-journey.service")
        new.fail(curl(read_key, SERVICE + "/api/v1/sessions"))
        new.copy_from_host(str(old.out_dir / "set.tar"), "/root/set.tar")
        new.succeed("tar --extract --file=/root/set.tar --directory=/root")
        print(new.succeed(f"customer-journey-restore /root/{first} 2>&1"))
        settle(new, read_key)
        assert answers(new) == expected, answers(new)
        new.succeed("test $(stat --format=%a:%U /var/lib/customer-journey-secrets/api-key-salt) = 400:root")
        assert sets(new) == []

    with subtest("and goes on from there"):
        post(new, write_key, [{"event_type": "page_view", "device_id": "laptop", "seq": 5}])
        settle(new, read_key)
        assert answers(new)[0]["totals"]["events"] == 5
        new.succeed("systemctl start customer-journey-backup.service")
        new.succeed("systemctl is-active customer-journey-backup.timer customer-journey-backup-verify.timer")

    with subtest("a database that is made anew, as for a rollback, is filled from the newest set"):
        after = answers(new)
        timers = "customer-journey-backup.timer customer-journey-backup-verify.timer"
        new.succeed(f"systemctl stop customer-journey {timers}")
        new.succeed("sudo -u postgres psql -d postgres -c 'DROP DATABASE customer_journey WITH (FORCE)'")
        new.succeed("systemctl restart postgresql")
        new.succeed("systemctl restart customer-journey-timescaledb-update customer-journey-database customer-journey")
        new.succeed(f"customer-journey-restore {sets(new)[-1]} 2>&1")
        settle(new, read_key)
        assert answers(new) == after
        new.succeed(f"systemctl start {timers}")
  '';
}
