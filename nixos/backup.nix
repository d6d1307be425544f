# Backups of the database, the queue, the salt and the settings: made every night, read back and restored into
# a scratch database every week, copied off-site when asked, and put in place by one command.
#
# A failed run leaves the older sets as they are. It is loud by being a failed unit with an error in the
# journal; `systemd.services.customer-journey-backup.onFailure` hooks in whatever wakes the operator.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.customer-journey;
  derived = import ./derived.nix { inherit lib; };
  inherit (cfg) backup;
  program = lib.getExe' cfg.package "customer-journey";
  service = config.systemd.services.customer-journey;

  # The secrets that a backup works with; those of other parts of the service stay away from it.
  credentials = lib.filterAttrs (
    name: _:
    lib.elem name [
      "api-key-salt"
      "database-url"
      "redis-queue-url"
    ]
  ) cfg.credentials;

  command =
    {
      description,
      arguments,
      after,
      serviceConfig ? { },
    }:
    {
      inherit description;
      inherit (service) requires wants;
      after = service.after ++ after;
      unitConfig.RequiresMountsFor = backup.directory;
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${program} --config ${cfg.configFile} ${arguments}";
        User = "customer-journey";
        Group = "customer-journey";
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") credentials;
        # A run that hangs has failed, and must say so.
        TimeoutStartSec = "6h";
        # The service goes first.
        Nice = 10;
        CPUWeight = 20;
        IOSchedulingClass = "idle";
        # Rows are streamed; what grows beyond this is a fault, and must not take the database's memory.
        MemoryMax = "512M";
      }
      // import ./hardening.nix
      // serviceConfig;
    };

  timer = OnCalendar: {
    wantedBy = [ "timers.target" ];
    timerConfig = {
      inherit OnCalendar;
      RandomizedDelaySec = backup.jitter;
      # Made up for after the machine was off.
      Persistent = true;
    };
  };

  restore = pkgs.writeShellScriptBin "customer-journey-restore" ''
    set -euo pipefail
    PATH=${
      lib.makeBinPath [
        config.systemd.package
        config.services.postgresql.package
        pkgs.coreutils
        pkgs.diffutils
        pkgs.findutils
        pkgs.util-linux
      ]
    }
    port=${toString config.services.postgresql.settings.port}
    directory=${lib.escapeShellArg backup.directory}
    salt=${lib.escapeShellArg cfg.credentials.api-key-salt}
    salt_is_given=${lib.boolToString (cfg.secrets.apiKeySalt != null)}
    ${builtins.readFile ./backup/restore.sh}
  '';
in
{
  config = lib.mkIf (cfg.enable && backup.enable) (
    lib.mkMerge [
      {
        services.customer-journey.derivedSettings =
          derived "backup.directory" { "backup.directory" = backup.directory; }
          // derived "backup.retentionDays" { "backup.retention_days" = backup.retentionDays; }
          // derived "backup.include" { "backup.include" = backup.include; };

        systemd.tmpfiles.settings."10-customer-journey-backup".${backup.directory}.d = {
          user = "customer-journey";
          group = "customer-journey";
          # A set holds the salt and everything that is known of people.
          mode = "0700";
        };

        systemd.services.customer-journey-backup = command {
          description = "Backup of the customer journey service";
          arguments = "backup";
          # The service migrates the database when a new release starts.
          after = [ "customer-journey.service" ];
          serviceConfig.ReadWritePaths = [ backup.directory ];
        };
        systemd.timers.customer-journey-backup = timer backup.schedule;

        systemd.services.customer-journey-backup-verify = command {
          description = "Trial restore of the newest backup of the customer journey service";
          arguments = "backups verify --restore";
          after = [ "customer-journey-backup.service" ];
        };
        systemd.timers.customer-journey-backup-verify = timer backup.verifySchedule;

        environment.systemPackages = [ restore ];
      }

      (lib.mkIf (backup.offsite != null) {
        services.restic.backups.customer-journey = {
          inherit (backup.offsite) repository passwordFile environmentFile;
          paths = [ backup.directory ];
          # Sets that are being written or restored.
          exclude = [
            "${backup.directory}/.partial-*"
            "${backup.directory}/.restore-*"
          ];
          initialize = lib.mkDefault true;
          # Off-site is where one goes when the days kept on the machine are not enough.
          pruneOpts = lib.mkDefault [
            "--keep-daily 7"
            "--keep-weekly 5"
            "--keep-monthly 12"
          ];
          timerConfig = {
            OnCalendar = backup.offsite.schedule;
            RandomizedDelaySec = backup.jitter;
            Persistent = true;
          };
        };
        # It waits for a backup that takes long.
        systemd.services.restic-backups-customer-journey.after = [ "customer-journey-backup.service" ];
      })
    ]
  );
}
