# Data of the release before outlives the upgrade: its migrations are carried on, and where the installed
# TimescaleDB is newer than the one the data was made with, the extension is updated before anybody needs it.
#
# There is one TimescaleDB library here. So the catalogue is made to say that the databases were made with the
# release before it, whose library is not installed; everything then fails as it does after a real upgrade, and is
# put right by the same update script. With two releases of nixpkgs the way is the same one.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };
in
{
  name = "customer-journey-upgrade";

  nodes.server = {
    imports = [
      machines.appliance
      machines.withoutNginx
    ];
    environment.etc."migrations".source = ../../migrations;
    environment.etc."as-previous-release.sh".source = ./lib/as-previous-release.sh;
  };

  testScript = machines.script + ''
    def sql(database: str, statement: str) -> str:
        command = f"psql -X -At -v ON_ERROR_STOP=1 -d {database} -c \"{statement}\""
        return server.succeed(f"sudo -u postgres {command}").strip()


    def journeys() -> list[Any]:
        return [get(server, read_key, f"/api/v1/customers/{device}/journey?events=all") for device in devices]


    def migrations() -> int:
        return int(sql("customer_journey", "SELECT count(*) FROM _sqlx_migrations WHERE success"))


    def situation() -> str:
        return get(server, read_key, "/api/v1/system")["storage"]["situation"]


    def started_at(unit: str) -> int:
        return int(server.succeed(f"systemctl show -P ExecMainStartTimestampMonotonic {unit}.service"))


    server.wait_for_unit("customer-journey.service")
    write_key = new_key(server, "write")
    read_key = new_key(server, "secret", "read", "admin")
    devices = ["laptop", "phone", "tablet"]
    for device in devices:
        post(server, write_key, shop_visit(device))
    settle(server, read_key)
    before = journeys()
    storage = situation()
    assert all(journey["totals"]["conversions"] == 1 for journey in before), before

    with subtest("the schema of the release before is migrated, and nothing is lost"):
        newest = migrations()
        server.succeed("systemctl stop customer-journey.service")
        server.succeed("sudo -u postgres bash /etc/as-previous-release.sh /etc/migrations")
        assert migrations() == newest - 1
        server.succeed("systemctl start customer-journey.service")
        assert migrations() == newest
        assert journeys() == before
        assert situation() == storage != "plain", situation()
        # The person goes on where the release before left off.
        post(server, write_key, [{"event_type": "page_view", "device_id": "laptop", "seq": 5}])
        settle(server, read_key)
        before = journeys()
        assert before[0]["totals"]["events"] == 5 and before[0]["totals"]["sessions"] == 1, before[0]

    with subtest("a newer TimescaleDB updates every database before the service connects"):
        installed = sql("customer_journey", "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        old = sql(
            "customer_journey",
            "SELECT source FROM pg_extension_update_paths('timescaledb')"
            f" WHERE target = '{installed}' AND path = source || '--' || target"
            " ORDER BY string_to_array(source, '.')::int[] DESC LIMIT 1",
        )
        sql("postgres", "CREATE DATABASE reports")
        sql("reports", "CREATE EXTENSION timescaledb")
        sql("reports", "CREATE TABLE figures (day date NOT NULL, figure int)")
        sql("reports", "SELECT create_hypertable('figures', 'day')")
        sql("reports", "INSERT INTO figures SELECT date '2026-01-01' + n, n FROM generate_series(1, 60) n")
        server.succeed("systemctl stop customer-journey.service")
        for database in ["customer_journey", "reports"]:
            sql(
                database,
                f"UPDATE pg_proc SET probin = replace(probin, '{installed}', '{old}') WHERE probin LIKE '%/timescaledb-%';"
                f"UPDATE _timescaledb_catalog.metadata SET value = '{old}' WHERE key = 'timescaledb_version';"
                f"UPDATE pg_extension SET extversion = '{old}' WHERE extname = 'timescaledb';",
            )
            complaint = server.fail(f"sudo -u postgres psql -X -d {database} -c 'SELECT 1' 2>&1")
            assert f"timescaledb-{old}" in complaint, complaint

        # As a switch to the new system does: stop what has changed, then start it, in one go each.
        changed = "postgresql.service customer-journey-timescaledb-update.service customer-journey.service"
        server.succeed(f"systemctl stop {changed}")
        server.succeed(f"systemctl start {changed}")
        assert started_at("postgresql") < started_at("customer-journey-timescaledb-update") < started_at("customer-journey")
        for database in ["customer_journey", "reports"]:
            assert sql(database, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'") == installed
            assert sql(database, f"SELECT count(*) FROM pg_proc WHERE probin LIKE '%timescaledb-{old}'") == "0"
        assert journeys() == before
        assert sql("reports", "SELECT count(*), sum(figure) FROM figures") == "60|1830"
        # It never met the library's absence.
        server.fail(f"journalctl --unit=customer-journey.service | grep timescaledb-{old}")
  '';
}
