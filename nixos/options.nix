# Every option of services.customer-journey. What they do is in the other files; this one needs only lib and pkgs, so that
# the documentation can be made from it alone.
{ lib, pkgs, ... }:

let
  inherit (lib) mkOption literalExpression types;

  # A path that must not be copied to the store, where everybody can read it; the assertions refuse store paths.
  secretFile =
    description:
    mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/keys/secret";
      inherit description;
    };
in
{
  imports = [
    ./options-data.nix
    ./options-parts.nix
  ];

  options.services.customer-journey = {
    enable = lib.mkEnableOption "the customer journey appliance: service, database, queue and web server";

    package = mkOption {
      type = types.package;
      default = pkgs.customer-journey or (pkgs.callPackage ./package.nix { });
      defaultText = literalExpression "pkgs.customer-journey or (pkgs.callPackage ./package.nix { })";
      example = literalExpression "inputs.customer-journey.packages.x86_64-linux.default";
      description = "The service.";
    };

    sdkPackage = mkOption {
      type = types.package;
      default = pkgs.customer-journey-sdk or (pkgs.callPackage ./sdk.nix { });
      defaultText = literalExpression "pkgs.customer-journey-sdk or (pkgs.callPackage ./sdk.nix { })";
      example = literalExpression "inputs.customer-journey.packages.x86_64-linux.sdk";
      description = "The browser SDK's files, each compressed beside itself, which nginx serves below `/sdk/`.";
    };

    domain = mkOption {
      type = types.strMatching "[a-z0-9.-]*" // {
        description = "name in small letters, without https:// and without a port";
      };
      default = "";
      example = "journey.example.com";
      description = "Name that browsers and clients reach the appliance at. Needed wherever nginx runs.";
    };

    acmeEmail = mkOption {
      type = types.str;
      default = "";
      example = "ops@example.com";
      description = "Address that the certificate authority writes to when a certificate is about to expire.";
    };

    corsOrigins = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "https://shop.example.com" ];
      description = "Origins of the web sites whose browsers may call the API. Write keys add their own.";
    };

    role = mkOption {
      type = types.enum [
        "all"
        "ingest"
        "worker"
      ];
      default = "all";
      example = "ingest";
      description = ''
        What this machine does. `all`: everything. `ingest`: takes events in and answers queries behind nginx, with the
        queue and the database of other machines. `worker`: writes the queue to the database and runs the scheduled
        jobs, without nginx.
      '';
    };

    ramMB = mkOption {
      type = types.ints.positive;
      default = 4096;
      example = 8192;
      description = ''
        Memory of the machine in MiB. The sizes of PostgreSQL and Redis and the limits of the units follow from it.
      '';
    };

    settings = mkOption {
      description = ''
        Settings of the service as `docs/configuration.md` lists them, checked by the service itself while the system is
        built. What an option of this module stands for is set by that option, not here.
      '';
      default = { };
      example = {
        retention.events_days = 30;
        site.timezone = "Europe/Berlin";
      };
      type = types.submodule {
        freeformType = (pkgs.formats.toml { }).type;
        # Typed here is only what other parts of the module follow.
        options = {
          server.listen = mkOption {
            type = types.str;
            default = "127.0.0.1:8030";
            example = "127.0.0.1:9030";
            description = "Address and port of the service, which nginx hands requests to.";
          };
          server.request_timeout_seconds = mkOption {
            type = types.ints.positive;
            default = 30;
            example = 60;
            description = "Time a request may take. nginx waits a little longer.";
          };
          server.shutdown_timeout_seconds = mkOption {
            type = types.ints.positive;
            default = 20;
            example = 60;
            description = "Time a graceful stop may take. systemd waits a little longer.";
          };
          ingest.queue = mkOption {
            type = types.enum [
              "redis"
              "direct"
            ];
            default = "redis";
            example = "direct";
            description = "The way of an accepted event: through Redis, or straight to PostgreSQL.";
          };
          ingest.body_bytes_max = mkOption {
            type = types.ints.positive;
            default = 524288;
            example = 1048576;
            description = "Size of a request body. nginx refuses larger ones.";
          };
          database.connections_max = mkOption {
            type = types.ints.positive;
            default = 20;
            example = 40;
            description = "Connections of the service to PostgreSQL, which allows for them and for an administrator's.";
          };
        };
      };
    };

    derivedSettings = mkOption {
      internal = true;
      default = { };
      example = {
        "server.public_url" = {
          value = "https://journey.example.com";
          option = "domain";
        };
      };
      description = "Settings that follow from options, by their dotted names.";
      type = types.attrsOf (
        types.submodule {
          options = {
            value = mkOption {
              type = types.anything;
              example = "https://journey.example.com";
              description = "What the setting is.";
            };
            option = mkOption {
              type = types.str;
              example = "domain";
              description = "The option of this module to change instead of the setting.";
            };
          };
        }
      );
    };

    configFile = mkOption {
      type = types.path;
      internal = true;
      readOnly = true;
      example = "/etc/customer-journey/config.toml";
      description = "The checked configuration file.";
    };

    credentials = mkOption {
      type = types.attrsOf types.str;
      internal = true;
      readOnly = true;
      example = {
        api-key-salt = "/run/keys/api-key-salt";
      };
      description = "Files of the credentials every process of the service is given.";
    };

    secrets = {
      apiKeySalt = secretFile ''
        File with the salt of every hash, at least 16 characters. Machines that work together need the same one. `null`:
        it is made on the first start, in `/var/lib/customer-journey-secrets/api-key-salt`, and kept.
      '';
      dashboardPassword = secretFile ''
        File with the dashboard's password. `null`: it is made on the first start, in
        `/var/lib/customer-journey-secrets/dashboard-password`, and kept.
      '';
      anthropicApiKey = secretFile "File with the key of the Anthropic API, which the agents need.";
      databaseUrl = secretFile "File with the address of a database elsewhere, where it holds a password.";
      redisQueueUrl = secretFile "File with the address of a queue elsewhere, where it holds a password.";
      slackWebhookUrl = secretFile "File with the address of Slack's incoming webhook that alerts are sent to.";
      alertWebhookUrl = secretFile "File with the address that alerts are posted to as signed JSON.";
      alertWebhookSecret = secretFile "File with the secret, of at least 16 characters, that those are signed with.";
      smtpPassword = secretFile "File with the password of `settings.alerts.smtp_user`.";
    };
  };
}
