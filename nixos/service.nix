# The service: its user, configuration, secrets and unit.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.customer-journey;
  derived = import ./derived.nix { inherit lib; };
  program = lib.getExe' cfg.package "customer-journey";

  madeDirectory = "/var/lib/customer-journey-secrets";
  # Secrets that are made where none is given.
  made = lib.filter (name: cfg.secrets.${name} == null) [
    "apiKeySalt"
    "dashboardPassword"
  ];
  credentialNames = {
    apiKeySalt = "api-key-salt";
    dashboardPassword = "dashboard-password";
    anthropicApiKey = "anthropic-api-key";
    databaseUrl = "database-url";
    redisQueueUrl = "redis-queue-url";
    slackWebhookUrl = "slack-webhook-url";
    alertWebhookUrl = "alert-webhook-url";
    alertWebhookSecret = "alert-webhook-secret";
    smtpPassword = "smtp-password";
  };
  given = lib.filterAttrs (_: path: path != null) cfg.secrets;

  settings = lib.foldl' lib.recursiveUpdate cfg.settings (
    lib.mapAttrsToList (
      path: derived: lib.setAttrByPath (lib.splitString "." path) derived.value
    ) cfg.derivedSettings
  );
  rawFile = (pkgs.formats.toml { }).generate "customer-journey.toml" settings;
  # Checked by the program that will read it, so that a typing error stops the build and not the service. When the system is
  # built for another architecture, the program cannot run here; it checks at its start then.
  checkedFile =
    if pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform then
      pkgs.runCommand "customer-journey.toml" { } ''
        ${program} config check ${rawFile}
        cp ${rawFile} $out
      ''
    else
      rawFile;

  # Shares of the machine: less where PostgreSQL is on it, too.
  highMB = if cfg.database.createLocally then cfg.ramMB / 4 else cfg.ramMB / 2;
  maxMB = highMB * 3 / 2;
in
{
  config = lib.mkIf cfg.enable {
    users.users.customer-journey = {
      isSystemUser = true;
      group = "customer-journey";
      description = "Customer journey service";
    };
    users.groups.customer-journey = { };

    services.customer-journey = {
      configFile = checkedFile;
      credentials =
        lib.mapAttrs' (name: path: lib.nameValuePair credentialNames.${name} path) given
        // lib.genAttrs (map (name: credentialNames.${name}) made) (name: "${madeDirectory}/${name}");

      # At rest; while it is filled from the store, the index takes up to five times as much, which must fit below the
      # unit's limits. A fifth of 1 GB holds 12 million events.
      settings.index.memory_mb = lib.mkDefault (highMB / 5);

      derivedSettings = lib.mkMerge [
        (lib.mkIf (cfg.domain != "") (derived "domain" { "server.public_url" = "https://${cfg.domain}"; }))
        (lib.mkIf (cfg.corsOrigins != [ ]) (
          derived "corsOrigins" { "server.cors_origins" = cfg.corsOrigins; }
        ))
        (lib.mkIf cfg.nginx.enable (derived "nginx.enable" { "server.trusted_proxy_hops" = 1; }))
        (lib.mkIf (cfg.role == "ingest") (
          derived "role" {
            "writer.workers" = 0;
            "jobs.enabled" = false;
          }
        ))
        (lib.mkIf (cfg.database.url != null) (
          derived "database.url" { "database.url" = cfg.database.url; }
        ))
        (lib.mkIf (cfg.redis.queueUrl != null) (
          derived "redis.queueUrl" { "redis.queue_url" = cfg.redis.queueUrl; }
        ))
        (lib.mkIf (cfg.redis.cacheUrl != null) (
          derived "redis.cacheUrl" { "redis.cache_url" = cfg.redis.cacheUrl; }
        ))
      ];
    };

    environment.etc."customer-journey/config.toml".source = checkedFile;

    systemd.services.customer-journey-secrets = {
      description = "Secrets of the customer journey service";
      wantedBy = [ "multi-user.target" ];
      before = [ "customer-journey.service" ];
      path = [ pkgs.openssl ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        StateDirectory = "customer-journey-secrets";
        StateDirectoryMode = "0700";
        UMask = "0077";
        PrivateNetwork = true;
        ProtectSystem = "strict";
      };
      # What nobody gives is made, once: the name appears with the whole content or not at all.
      script = ''
        ${lib.concatStrings (
          lib.mapAttrsToList (name: path: ''
            if [ ! -s ${lib.escapeShellArg path} ]; then
              echo "<3>services.customer-journey.secrets.${name}: there is nothing in" ${lib.escapeShellArg path} \
                "yet; the service starts once there is." >&2
            fi
          '') given
        )}
        cd ${madeDirectory}
        for name in ${toString (map (name: credentialNames.${name}) made)}; do
          if [ -s "$name" ]; then continue; fi
          new=$(mktemp "$PWD/.$name.XXXXXX")
          openssl rand -hex 32 > "$new"
          chmod 0400 "$new"
          sync "$new"
          mv "$new" "$name"
          sync .
          echo "$name was made: keep a copy of ${madeDirectory} elsewhere."
        done
      '';
    };

    systemd.services.customer-journey = {
      description = "Customer journey service";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      requires = [ "customer-journey-secrets.service" ];
      after = [
        "network-online.target"
        "customer-journey-secrets.service"
      ]
      ++ lib.optionals cfg.redis.createLocally [
        "redis-customer-journey-queue.service"
        "redis-customer-journey-cache.service"
      ];
      # It never gives up: a database that is away for an hour is no reason to stay down afterwards.
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        WatchdogSec = 30;
        ExecStart = "${program} --config ${checkedFile} serve";
        User = "customer-journey";
        Group = "customer-journey";
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
        Restart = "always";
        RestartSec = 1;
        RestartSteps = 6;
        RestartMaxDelaySec = 60;
        # Migrations of a large database take their time.
        TimeoutStartSec = 1800;
        TimeoutStopSec = settings.server.shutdown_timeout_seconds + 15;
        MemoryHigh = "${toString highMB}M";
        MemoryMax = "${toString maxMB}M";
        # A connection, and with it a descriptor, for each client that nginx has at a time.
        LimitNOFILE = 65536;
        StateDirectory = "customer-journey";
        StateDirectoryMode = "0750";
        WorkingDirectory = "/var/lib/customer-journey";
      }
      // import ./hardening.nix;
    };
  };
}
