# Three machines: one takes events in, one writes them, one keeps the queue and the database. What one of them misses
# waits in the queue.
#
# The database machine does not use the module: it is what docs/deployment.md tells the operator of an own database
# to set up, here without TimescaleDB.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };

  # In a real machine secrets come from the operator's secret management, never from the store.
  secret = text: {
    inherit text;
    mode = "0400";
  };

  node =
    role:
    { nodes, ... }:
    let
      # By its address: the name stands for an IPv6 address as well, which the firewall does not let through.
      database = nodes.database.networking.primaryIPAddress;
    in
    {
      imports = [ machines.appliance ];
      environment.etc = {
        "secrets/api-key-salt" = secret "the salt of all three machines";
        "secrets/database-url" = secret "postgres://customer-journey:elephant@${database}/customer_journey";
        "secrets/redis-queue-url" = secret "redis://:antelope@${database}:6379";
      };
      services.customer-journey = {
        inherit role;
        secrets = {
          apiKeySalt = "/etc/secrets/api-key-salt";
          databaseUrl = "/etc/secrets/database-url";
          redisQueueUrl = "/etc/secrets/redis-queue-url";
        };
      };
    };
in
{
  name = "customer-journey-scale-out";

  nodes.database =
    { nodes, ... }:
    let
      partners = [
        nodes.ingest.networking.primaryIPAddress
        nodes.worker.networking.primaryIPAddress
      ];
    in
    {
      virtualisation.memorySize = 1024;
      services.postgresql = {
        enable = true;
        package = pkgs.postgresql_17;
        enableTCPIP = true;
        ensureDatabases = [ "customer_journey" ];
        ensureUsers = [ { name = "customer-journey"; } ];
        authentication = lib.concatMapStrings (
          address: "host customer_journey customer-journey ${address}/32 scram-sha-256\n"
        ) partners;
      };
      services.redis.servers.queue = {
        enable = true;
        port = 6379;
        bind = null;
        requirePassFile = "/etc/secrets/redis-password";
        appendOnly = true;
        appendFsync = "always";
        settings.maxmemory-policy = "noeviction";
      };
      environment.etc."secrets/redis-password" = secret "antelope" // {
        user = "redis-queue";
      };
      networking.nftables.enable = true;
      networking.firewall.extraInputRules = ''
        ip saddr { ${lib.concatStringsSep ", " partners} } tcp dport { 5432, 6379 } accept
      '';
    };

  nodes.ingest.imports = [
    (node "ingest")
    machines.withNginx
  ];
  nodes.worker = {
    imports = [ (node "worker") ];
    environment.systemPackages = [
      pkgs.netcat
      pkgs.postgresql_17
    ];
  };

  testScript =
    { nodes, ... }:
    let
      address = nodes.database.networking.primaryIPAddress;
    in
    machines.script
    + ''
      FRONT = "https://${machines.domain}"


      def sql(statement: str) -> str:
          return database.succeed(f"sudo -u postgres psql -X -At -d customer_journey -c \"{statement}\"").strip()


      def send(device: str) -> list[str]:
          return post(ingest, write_key, shop_visit(device), FRONT)


      database.wait_for_unit("postgresql.service")
      database.wait_for_unit("redis-queue.service")
      sql("ALTER ROLE \\\"customer-journey\\\" PASSWORD 'elephant'")
      sql("ALTER DATABASE customer_journey OWNER TO \\\"customer-journey\\\"")
      # The service looks whether the server has TimescaleDB loaded, and whether its commits are durable.
      sql("GRANT pg_read_all_settings TO \\\"customer-journey\\\"")

      worker.wait_for_unit("customer-journey.service")
      write_key = new_key(worker, "write")
      read_key = new_key(worker, "secret", "read")
      ingest.wait_for_unit("customer-journey.service")
      ingest.wait_for_unit("nginx.service")
      sent: list[str] = []

      with subtest("what one takes in, the other stores"):
          worker.fail("systemctl cat nginx.service")
          sent += send("laptop")
          settle(ingest, read_key, FRONT)
          journey = get(ingest, read_key, "/api/v1/customers/laptop/journey", FRONT)
          assert journey["totals"]["conversions"] == 1 and journey["totals"]["events"] == 4, journey

      with subtest("only the two reach the database and the queue"):
          for port in [5432, 6379]:
              worker.succeed(f"nc -z -w 5 ${address} {port}")
              # The same machine under an address that nobody has let in.
              worker.succeed("ip address replace 192.168.1.99/24 dev eth1")
              worker.fail(f"nc -z -w 5 -s 192.168.1.99 ${address} {port}")
          for password, may in [("elephant", worker.succeed), ("guessed", worker.fail)]:
              may(f"PGPASSWORD={password} psql -h ${address} -U customer-journey customer_journey -c 'SELECT 1'")

      with subtest("without the worker, events wait"):
          worker.succeed("systemctl stop customer-journey.service")
          sent += send("phone")
          balance = get(ingest, read_key, "/api/v1/ledger/balance", FRONT)
          assert balance["total"]["queued"] == 4 and balance["difference"] == 0, balance
          assert sql("SELECT count(*) FROM events") == "4"
          worker.succeed("systemctl start customer-journey.service")
          settle(ingest, read_key, FRONT)

      with subtest("without the database, events are taken in"):
          database.succeed("systemctl stop postgresql.service")
          sent += send("tablet")
          database.succeed("systemctl start postgresql.service")
          settle(ingest, read_key, FRONT)

      with subtest("nothing is lost, nothing is twice"):
          stored = stored_ids(ingest, read_key, FRONT)
          assert sorted(stored) == sorted(sent), (stored, sent)
    '';
}
