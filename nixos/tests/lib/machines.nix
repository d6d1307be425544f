# Machines of the tests of data safety.
{ pkgs, lib }:

let
  domain = "journey.test";

  certificate =
    pkgs.runCommand "journey-test-certificate" { nativeBuildInputs = [ pkgs.openssl ]; }
      ''
        mkdir $out
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 \
          -subj /CN=${domain} -addext subjectAltName=DNS:${domain} -keyout $out/key.pem -out $out/certificate.pem
      '';

  # The certificate is its own authority.
  trust = {
    environment.etc."journey-test.pem".source = "${certificate}/certificate.pem";
    security.pki.certificateFiles = [ "${certificate}/certificate.pem" ];
  };
in
{
  inherit domain;

  # Where programs find it that do not look among the machine's authorities.
  authority = "/etc/journey-test.pem";

  # The appliance, as small as it comes.
  appliance = {
    imports = [ ../../module.nix ];
    virtualisation = {
      memorySize = 1536;
      cores = 2;
    };
    # As a host has one. The tests' PostgreSQL may read /etc/localtime, which there is not without.
    time.timeZone = "UTC";
    services.customer-journey = {
      enable = true;
      ramMB = lib.mkDefault 1024;
    };
  };

  withoutNginx.services.customer-journey.nginx.enable = false;

  withNginx = {
    imports = [ trust ];
    services.customer-journey = {
      inherit domain;
      nginx.sslCertificate = "${certificate}/certificate.pem";
      nginx.sslCertificateKey = "/etc/journey-test-key.pem";
    };
    networking.hosts."127.0.0.1" = [ domain ];
    # Copied out of the store, as the module wants it.
    environment.etc."journey-test-key.pem" = {
      source = "${certificate}/key.pem";
      mode = "0400";
      user = "nginx";
      group = "nginx";
    };
  };

  # A machine that speaks to `server`, by its name.
  clientOf = server: {
    imports = [ trust ];
    networking.hosts.${server.networking.primaryIPAddress} = [ domain ];
    environment.etc."load.py".source = ./load.py;
    environment.systemPackages = [ pkgs.python3 ];
  };

  # What the test scripts have in common.
  script = builtins.readFile ./journey.py;
}
