# Options of the parts around the service: web server, host, backup.
{
  config,
  lib,
  ...
}:

let
  cfg = config.services.customer-journey;
  inherit (lib) mkOption literalExpression types;

  switch =
    description:
    mkOption {
      type = types.bool;
      default = true;
      example = false;
      inherit description;
    };

  calendar =
    { default, description }:
    mkOption {
      type = types.str;
      inherit default description;
      example = "Mon,Thu 03:30";
    };

  file =
    { example, description }:
    mkOption {
      type = types.nullOr types.str;
      default = null;
      inherit example description;
    };
in
{
  options.services.customer-journey = {
    nginx = {
      enable = mkOption {
        type = types.bool;
        default = cfg.role != "worker";
        defaultText = literalExpression ''role != "worker"'';
        example = false;
        description = ''
          Whether nginx runs in front of the service. Without it, your own proxy has to set `X-Forwarded-For` and to
          hand requests to `settings.server.listen`.
        '';
      };
      sslCertificate = file {
        example = "/var/lib/certificates/journey.pem";
        description = "Your own certificate with its chain; without one it comes from the ACME authority.";
      };
      sslCertificateKey = file {
        example = "/var/lib/certificates/journey.key";
        description = "The key of your own certificate, readable for the user nginx and not in the store.";
      };
      apiRequestsPerSecond = mkOption {
        type = types.ints.positive;
        default = 100;
        example = 50;
        description = "Requests of one address to the API in a second; what is more is answered with 429.";
      };
      eventRequestsPerSecond = mkOption {
        type = types.ints.positive;
        default = 1000;
        example = 200;
        description = "Requests of one address that bring events in a second; what is more is answered with 429.";
      };
    };

    acme.enable = mkOption {
      type = types.bool;
      default = cfg.nginx.enable && cfg.nginx.sslCertificate == null;
      defaultText = literalExpression "nginx.enable && nginx.sslCertificate == null";
      example = false;
      description = ''
        Whether the certificate comes from an ACME authority (Let's Encrypt unless `security.acme.defaults.server` says
        otherwise). Being enabled means that its terms are accepted.
      '';
    };

    firewall.enable = switch ''
      Whether nftables closes every port but those of SSH and of nginx. Without it no firewall runs, unless
      `networking.firewall.enable` says so; ports are then for you to open.
    '';
    journald.enable = switch "Whether the journal is limited to 1 GB and 30 days, and kept on disk.";
    timeSync.enable = switch "Whether the clock is kept right over NTP.";

    fail2ban = {
      enable = switch "Whether addresses that fail at SSH, or collect 401 and 429 answers, are banned for a time.";
      maxRetry = mkOption {
        type = types.ints.positive;
        default = 5;
        example = 10;
        description = "Failures at SSH within `findTime` before a ban.";
      };
      maxRefused = mkOption {
        type = types.ints.positive;
        default = 300;
        example = 1000;
        description = ''
          Answers 401 and 429 within `findTime` before a ban from ports 80 and 443. Far more than at SSH: many people can
          share an address, and one browser that meets a limit, or a script with an old key, must not shut all of them out.
          The SDK and other clients that wait as `Retry-After` says do not come near it, a loop that does not wait is there
          within seconds.
        '';
      };
      banTime = mkOption {
        type = types.str;
        default = "1h";
        example = "10m";
        description = "How long a ban lasts; a repeated one lasts longer.";
      };
      findTime = mkOption {
        type = types.str;
        default = "10m";
        example = "1h";
        description = "Time in which failures are counted.";
      };
    };

    backup = {
      enable = mkOption {
        type = types.bool;
        default = cfg.database.createLocally;
        defaultText = literalExpression "database.createLocally";
        example = false;
        description = "Whether backups are made and verified on this machine.";
      };
      directory = mkOption {
        type = types.str;
        default = "/var/backup/customer-journey";
        example = "/mnt/backup/customer-journey";
        description = "Folder of the backup sets, best on another disk than the database.";
      };
      schedule = calendar {
        default = "02:00";
        description = "When a backup is made, as `systemd.time(7)` writes it.";
      };
      jitter = mkOption {
        type = types.str;
        default = "30min";
        example = "5min";
        description = "Random delay after `schedule` and `verifySchedule`, so that many machines do not start at once.";
      };
      retentionDays = mkOption {
        type = types.ints.positive;
        default = 7;
        example = 14;
        description = "Days a backup set is kept. The newest one always stays.";
      };
      verifySchedule = calendar {
        default = "Sun 04:00";
        description = "When the newest set is restored into a scratch database and compared with what its manifest says.";
      };
      include = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "/var/lib/customer-journey/vault" ];
        description = "Further files and folders that belong to a backup set.";
      };
      offsite = mkOption {
        default = null;
        example = literalExpression ''
          {
            repository = "sftp:backup@storage.example.com:/customer-journey";
            passwordFile = "/run/keys/restic-password";
          }
        '';
        description = "Where `services.restic` takes the backup sets to; `null` leaves them on this machine.";
        type = types.nullOr (
          types.submodule {
            options = {
              repository = mkOption {
                type = types.str;
                example = "s3:https://s3.example.com/journey-backup";
                description = "The restic repository.";
              };
              passwordFile = mkOption {
                type = types.str;
                example = "/run/keys/restic-password";
                description = "File with the repository's password.";
              };
              environmentFile = file {
                example = "/run/keys/restic-environment";
                description = "File with further variables, such as `AWS_ACCESS_KEY_ID`.";
              };
              schedule = calendar {
                default = "03:30";
                description = "When the sets are taken there.";
              };
            };
          }
        );
      };
    };
  };
}
