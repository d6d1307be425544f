# PostgreSQL 17 with TimescaleDB: a socket only, peer authentication, sizes from ramMB.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  cfg = config.services.customer-journey;
  derived = import ./derived.nix { inherit lib; };
  postgresql = config.services.postgresql;
  # As the unit of the server has it, with its extensions.
  finalPackage =
    postgresql.finalPackage or (
      if postgresql.extraPlugins == [ ] then
        postgresql.package
      else
        postgresql.package.withPackages postgresql.extraPlugins
    );

  hasTimescale = cfg.database.timescaledb != "none";
  timescaleOf =
    packages:
    lib.optional hasTimescale (
      if cfg.database.timescaledb == "community" then
        packages.timescaledb
      else
        packages.timescaledb-apache
    );

  clamp =
    low: high: value:
    lib.max low (lib.min high value);
  megabytes = value: "${toString value}MB";
  ram = cfg.ramMB;

  memory = {
    shared_buffers = megabytes (ram / 4);
    # Not reserved: what the planner may expect to find in the page cache.
    effective_cache_size = megabytes (ram / 2);
    maintenance_work_mem = megabytes (clamp 64 2048 (ram / 16));
    autovacuum_work_mem = megabytes (clamp 64 512 (ram / 32));
    # Each sort or hash of each of a few busy connections may take this much.
    work_mem = megabytes (clamp 4 64 (ram / 256));
  };

  # Commits are durable: fsync, full_page_writes and synchronous_commit stay on, and the service's doctor checks that.
  log = {
    wal_buffers = "16MB";
    wal_compression = "lz4";
    min_wal_size = "512MB";
    max_wal_size = megabytes (clamp 1024 8192 (ram / 2));
    checkpoint_timeout = "15min";
    checkpoint_completion_target = 0.9;
  };

  planner = {
    # Solid-state disks: a page anywhere costs about what the next one does.
    random_page_cost = 1.1;
    effective_io_concurrency = 200;
    # Compiling costs more than it saves on queries of milliseconds.
    jit = "off";
  };

  # The events are only appended to: without these, their first vacuum would wait for a fifth of all rows and then take hours.
  vacuum = {
    autovacuum_naptime = "30s";
    autovacuum_vacuum_scale_factor = 0.05;
    autovacuum_vacuum_insert_scale_factor = 0.05;
    autovacuum_analyze_scale_factor = 0.02;
    autovacuum_vacuum_cost_limit = 1000;
  };

  connections = {
    # The service, a backup and its verification, TimescaleDB's workers, and an administrator.
    max_connections = lib.max 60 (cfg.settings.database.connections_max + 40);
    max_worker_processes = 20;
  };

  diagnosis = {
    log_checkpoints = true;
    log_lock_waits = true;
    log_min_duration_statement = "1s";
    log_autovacuum_min_duration = "10s";
  };

  # A server that is late must not leave the service down for good: units that need these wait on.
  untilItWorks = {
    Restart = "on-failure";
    RestartMode = "direct";
    RestartSec = 5;
  };

  # Statements of these units connect once the server is up and its databases and roles are there. The second one exists
  # in newer releases of NixOS; elsewhere systemd passes over it.
  servers = [
    "postgresql.service"
    "postgresql-setup.service"
  ];
in
{
  config = lib.mkIf (cfg.enable && cfg.database.createLocally) (
    lib.mkMerge [
      {
        services.postgresql = {
          enable = true;
          package = lib.mkOverride 900 pkgs.postgresql_17;
          # Checksums find what a disk corrupts. The collation is built in: that of the C library changes with its releases
          # and would leave indexes in a wrong order.
          initdbArgs = [
            "--data-checksums"
            "--encoding=UTF8"
            "--locale=C"
            "--locale-provider=builtin"
            "--builtin-locale=C.UTF-8"
          ];
          ensureDatabases = [ "customer_journey" ];
          ensureUsers = [
            {
              name = "customer-journey";
              # The verification of a backup restores it into a database of its own.
              ensureClauses.createdb = true;
            }
          ];
          settings = lib.mkMerge [
            (lib.mapAttrs (_: lib.mkDefault) (memory // log // vacuum // connections // diagnosis))
            # The module of PostgreSQL has defaults of its own for these.
            (lib.mapAttrs (_: lib.mkOverride 900) planner)
            # No TCP unless somebody asks for it with enableTCPIP.
            { listen_addresses = lib.mkIf (!postgresql.enableTCPIP) (lib.mkOverride 90 ""); }
          ];
        };

        systemd.services.postgresql.serviceConfig = {
          Restart = lib.mkDefault "always";
          # Short of memory, the kernel ends the service, which loses nothing, before the database.
          OOMScoreAdjust = lib.mkDefault (-500);
          # A crash recovery may take minutes on a small machine.
          TimeoutStartSec = lib.mkDefault 900;
        };

        # The role's name is not the database's, so that ensureDBOwnership does not apply.
        systemd.services.customer-journey-database = {
          description = "Database of the customer journey service";
          wantedBy = [ "multi-user.target" ];
          wants = servers;
          after = servers ++ lib.optional hasTimescale "customer-journey-timescaledb-update.service";
          requires = lib.optional hasTimescale "customer-journey-timescaledb-update.service";
          before = [ "customer-journey.service" ];
          path = [ finalPackage ];
          startLimitIntervalSec = 0;
          serviceConfig = untilItWorks // {
            Type = "oneshot";
            RemainAfterExit = true;
            User = "postgres";
          };
          # The extension is made here since the service's role may not. It is the session's first statement, so that the
          # loader has not loaded another version before.
          script = ''
            run() { psql -X --quiet --set ON_ERROR_STOP=1 --port ${toString postgresql.settings.port} --dbname "$1" --command "$2"; }
            run postgres 'ALTER DATABASE customer_journey OWNER TO "customer-journey"'
            # The service asks which libraries are loaded, which ordinary roles may not know.
            run postgres 'GRANT pg_read_all_settings TO "customer-journey"'
            ${lib.optionalString hasTimescale "run customer_journey 'CREATE EXTENSION IF NOT EXISTS timescaledb'"}
          '';
        };

        systemd.services.customer-journey = {
          requires = [ "customer-journey-database.service" ];
          after = servers ++ [ "customer-journey-database.service" ];
          # A new release of the server or of TimescaleDB: the service steps aside until the extension is updated. A mere
          # crash of the server it sits out, taking events to the queue.
          restartTriggers = [ finalPackage ];
        };

        services.customer-journey.derivedSettings = derived "database.url" {
          "database.url" =
            "postgres:///customer_journey?host=/run/postgresql&port=${toString postgresql.settings.port}&user=customer-journey";
        };
      }

      (lib.mkIf hasTimescale {
        services.postgresql = {
          # Named anew in later releases of NixOS.
          ${if options.services.postgresql ? extensions then "extensions" else "extraPlugins"} = timescaleOf;
          settings = {
            shared_preload_libraries = [ "timescaledb" ];
            "timescaledb.telemetry_level" = "off";
            "timescaledb.max_background_workers" = lib.mkDefault 8;
          };
        };

        # A library newer than the extension refuses every statement but this one, and a database may be connected to by a
        # backup or a person as well as by the service. So it is done for all databases, before anything of ours connects.
        systemd.services.customer-journey-timescaledb-update = {
          description = "Update of the TimescaleDB extension in every database";
          wantedBy = [ "multi-user.target" ];
          wants = servers;
          after = servers;
          before = [ "customer-journey.service" ];
          restartTriggers = [ finalPackage ];
          path = [ finalPackage ];
          environment.PGPORT = toString postgresql.settings.port;
          startLimitIntervalSec = 0;
          serviceConfig = untilItWorks // {
            Type = "oneshot";
            RemainAfterExit = true;
            User = "postgres";
            TimeoutStartSec = "30min";
          };
          script = builtins.readFile ./timescaledb-update.sh;
        };
      })
    ]
  );
}
