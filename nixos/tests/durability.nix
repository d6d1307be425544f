# What was acknowledged is stored once, whatever dies.
#
# A power cut is the end of the emulator: all that the machine had not yet handed to its disk is gone, so an answer
# that went out before its flush loses events here. What a disk loses of its own cache is beyond this test.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };
in
{
  name = "customer-journey-durability";

  nodes.server.imports = [
    machines.appliance
    machines.withNginx
  ];
  nodes.client = { nodes, ... }: machines.clientOf nodes.server;

  testScript = machines.script + ''
    def acknowledged() -> list[str]:
        return client.succeed("cat /tmp/acknowledged").split()


    def wait_for_more(events: int) -> None:
        """Waits until that many more events are acknowledged than are now."""
        wanted = len(acknowledged()) + events
        client.wait_until_succeeds(f"test $(wc --lines < /tmp/acknowledged) -ge {wanted}", timeout=600)


    server.wait_for_unit("customer-journey.service")
    server.wait_for_unit("nginx.service")
    write_key = new_key(server, "write")
    read_key = new_key(server, "secret", "read")

    client.wait_for_unit("multi-user.target")
    client.succeed("touch /tmp/acknowledged")
    client.succeed(
        "systemd-run --unit=load python3 /etc/load.py"
        f" https://${machines.domain} {write_key} ${machines.authority} /tmp/acknowledged /tmp/stop"
    )
    wait_for_more(300)

    with subtest("the power is cut"):
        # So that the last events are in the queue and nowhere else.
        hold_writers(server)
        wait_for_more(200)
        server.crash()
        server.start()
        server.wait_for_unit("customer-journey.service")
        wait_for_more(300)

    for unit in ["customer-journey", "redis-customer-journey-queue", "postgresql"]:
        with subtest(f"{unit} is killed"):
            server.succeed(f"systemctl kill --signal=KILL {unit}.service")
            wait_for_more(200)
            server.wait_for_unit(f"{unit}.service")
            server.wait_for_unit("customer-journey.service")

    with subtest("every acknowledged event is stored once"):
        client.succeed("touch /tmp/stop")
        client.wait_until_fails("systemctl is-active load.service", timeout=120)
        balance = settle(server, read_key)
        stored = stored_ids(server, read_key)
        assert len(stored) == len(set(stored)), "an event is stored twice"
        # The client gave nothing up, so each event it made was acknowledged in the end.
        assert set(stored) == set(acknowledged()), set(stored) ^ set(acknowledged())
        assert balance["stored"] == len(stored) > 1000, balance
        print(f"{len(stored)} events, {balance}")
  '';
}
