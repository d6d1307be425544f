# The machine around the appliance: firewall, journal, clock.
{
  config,
  lib,
  options,
  ...
}:

let
  cfg = config.services.customer-journey;

  journal = {
    SystemMaxUse = "1G";
    SystemKeepFree = "2G";
    MaxRetentionSec = "30day";
  };
in
{
  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      (lib.mkIf cfg.firewall.enable {
        networking.nftables.enable = true;
        networking.firewall = {
          enable = true;
          # SSH stays open even where its module is set up elsewhere: a closed one could not be opened again.
          allowedTCPPorts =
            config.services.openssh.ports
            ++ lib.optionals cfg.nginx.enable [
              80
              443
            ];
        };
      })

      (lib.mkIf cfg.journald.enable {
        # Newer releases of NixOS have settings in place of the text.
        services.journald =
          if options.services.journald ? settings then
            { settings.Journal = lib.mapAttrs (_: lib.mkDefault) journal; }
          else
            {
              extraConfig = lib.concatStrings (lib.mapAttrsToList (name: value: "${name}=${value}\n") journal);
            };
      })

      # NixOS has a firewall and a clock of its own by default: whoever turns ours off, has their own.
      (lib.mkIf (!cfg.firewall.enable) { networking.firewall.enable = lib.mkDefault false; })

      # Sessions and retention are cut by the clock.
      { services.timesyncd.enable = lib.mkOverride 900 cfg.timeSync.enable; }
    ]
  );
}
