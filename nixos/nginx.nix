# The web server before the service: certificate, limits, headers, the SDK's files. What it says is in nginx/site.nix.
{
  config,
  lib,
  ...
}:

let
  cfg = config.services.customer-journey;
  nginx = config.services.nginx;
  refusedLog = "/var/log/nginx/customer-journey-refused.log";
  virtualHost = nginx.virtualHosts.${cfg.domain};
  hasOwnCertificate = cfg.nginx.sslCertificate != null;
  site = import ./nginx/site.nix {
    upstream = cfg.settings.server.listen;
    sdk = cfg.sdkPackage;
    bodyBytesMax = cfg.settings.ingest.body_bytes_max;
    requestTimeoutSeconds = cfg.settings.server.request_timeout_seconds;
    inherit (cfg.nginx) apiRequestsPerSecond eventRequestsPerSecond;
    inherit refusedLog;
  };
in
{
  config = lib.mkIf (cfg.enable && cfg.nginx.enable) {
    assertions = [
      {
        assertion = hasOwnCertificate == (cfg.nginx.sslCertificateKey != null);
        message = ''
          services.customer-journey.nginx: sslCertificate and sslCertificateKey belong together. Set both, or neither to
          have a certificate made by ACME.
        '';
      }
      {
        assertion = !(cfg.acme.enable && hasOwnCertificate);
        message = ''
          services.customer-journey.acme.enable is set beside a certificate of your own. Remove nginx.sslCertificate, or
          set acme.enable = false.
        '';
      }
      {
        # nginx can also have one that was made for another name of this machine, as for a wildcard.
        assertion = hasOwnCertificate || virtualHost.enableACME || virtualHost.useACMEHost != null;
        message = ''
          services.customer-journey: nginx has no certificate. Leave acme.enable on, or set nginx.sslCertificate and
          nginx.sslCertificateKey, or services.nginx.virtualHosts."${cfg.domain}".useACMEHost.
        '';
      }
    ];

    services.nginx = {
      enable = true;
      recommendedTlsSettings = lib.mkDefault true;
      recommendedOptimisation = lib.mkDefault true;
      # nginx' own defaults are one process with 512 connections, and each proxied request takes two.
      appendConfig = lib.mkDefault ''
        worker_processes auto;
        worker_rlimit_nofile 16384;
      '';
      eventsConfig = lib.mkDefault "worker_connections 4096;";
      commonHttpConfig = site.http;
      virtualHosts.${cfg.domain} = {
        forceSSL = true;
        # Unlike 301, it leaves a POST a POST.
        redirectCode = 308;
        enableACME = cfg.acme.enable;
        sslCertificate = lib.mkIf hasOwnCertificate cfg.nginx.sslCertificate;
        sslCertificateKey = lib.mkIf hasOwnCertificate cfg.nginx.sslCertificateKey;
        extraConfig = site.server;
        locations = lib.mapAttrs (_: text: { extraConfig = text; }) site.locations;
      };
    };

    security.acme = lib.mkIf cfg.acme.enable {
      acceptTerms = true;
      defaults.email = lib.mkIf (cfg.acmeEmail != "") (lib.mkDefault cfg.acmeEmail);
    };

    # fail2ban does not start without the file it reads, and may come before nginx.
    systemd.tmpfiles.settings."10-customer-journey-nginx" = {
      "/var/log/nginx".d = {
        inherit (nginx) user group;
        mode = "0750";
      };
      ${refusedLog}.f = {
        inherit (nginx) user group;
        mode = "0640";
      };
    };

    # NixOS rotates all logs of nginx by one rule. Addresses are gone after a week; a flood fills no disk before the day ends.
    services.logrotate.settings.nginx = lib.mapAttrs (_: lib.mkOverride 900) {
      frequency = "daily";
      rotate = 7;
      maxage = 7;
      maxsize = "50M";
    };
  };
}
