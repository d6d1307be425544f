# Bans addresses that guess passwords at SSH, or that do not stop when the service refuses them.
{
  config,
  lib,
  ...
}:

let
  cfg = config.services.customer-journey;
in
{
  config = lib.mkIf (cfg.enable && cfg.fail2ban.enable) {
    services.fail2ban = {
      enable = true;
      maxretry = cfg.fail2ban.maxRetry;
      bantime = cfg.fail2ban.banTime;
      bantime-increment = {
        enable = lib.mkDefault true;
        maxtime = lib.mkDefault "1w";
      };
      jails = {
        DEFAULT.settings.findtime = cfg.fail2ban.findTime;
        customer-journey = lib.mkIf cfg.nginx.enable {
          settings = {
            # The filter is the file of the jail's name below.
            logpath = "/var/log/nginx/customer-journey-refused.log";
            # NixOS' default is the journal. Looking at the file once a second needs nothing else, and outlives rotation.
            backend = "polling";
            maxretry = cfg.fail2ban.maxRefused;
            # Otherwise as many lines as maxretry are kept for each address, with nothing in them that is not known.
            maxmatches = 1;
            port = "80,443";
          };
        };
      };
    };
    environment.etc."fail2ban/filter.d/customer-journey.conf" = lib.mkIf cfg.nginx.enable {
      source = ./fail2ban/customer-journey.conf;
    };
    # The jail's definition is a restart trigger in NixOS already, a filter is not.
    systemd.services.fail2ban.restartTriggers = lib.mkIf cfg.nginx.enable [
      ./fail2ban/customer-journey.conf
    ];
  };
}
