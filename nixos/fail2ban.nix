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
  options.services.customer-journey.fail2ban.maxRefused = lib.mkOption {
    type = lib.types.ints.positive;
    default = 300;
    example = 1000;
    description = ''
      Answers 401 and 429 within `findTime` before a ban from ports 80 and 443. Far more than at SSH: many people can
      share an address, and one browser that meets a limit, or a script with an old key, must not shut all of them out.
      The SDK and other clients that wait as `Retry-After` says do not come near it, a loop that does not wait is there
      within seconds.
    '';
  };

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
