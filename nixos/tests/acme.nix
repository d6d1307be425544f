# The certificate comes from an authority: ordered, put in place and used without anybody's help.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };
  inherit (machines) domain;
  root = "/tmp/root.pem";
in
{
  name = "customer-journey-acme";

  nodes.authority =
    { nodes, ... }:
    {
      imports = [ (pkgs.path + "/nixos/tests/common/acme/server") ];
      # Names come from /etc/hosts: no name server is under test.
      test-support.resolver.enable = lib.mkForce false;
      networking.nameservers = lib.mkForce [ ];
      networking.hosts.${nodes.server.networking.primaryIPAddress} = [ domain ];
    };

  nodes.server =
    { nodes, ... }:
    {
      imports = [ machines.appliance ];
      services.customer-journey = {
        inherit domain;
        acmeEmail = "ops@journey.test";
      };
      security.acme.defaults.server = "https://acme.test/dir";
      security.pki.certificateFiles = [ nodes.authority.test-support.acme.caCert ];
      networking.hosts.${nodes.authority.networking.primaryIPAddress} = [ "acme.test" ];
    };

  nodes.client =
    { nodes, ... }:
    {
      imports = [ (machines.clientOf nodes.server) ];
      networking.hosts.${nodes.authority.networking.primaryIPAddress} = [ "acme.test" ];
      environment.systemPackages = [ pkgs.openssl ];
    };

  testScript = ''
    ask = "curl --silent --show-error --fail --max-time 20 --cacert ${root}"

    # The authority first: without it, the order of the first certificate fails and waits for its next turn.
    authority.wait_for_unit("pebble.service")
    authority.wait_for_open_port(443)
    server.wait_for_unit("nginx.service")
    server.wait_for_unit("customer-journey.service")
    client.wait_for_unit("multi-user.target")

    with subtest("the service answers with a certificate of the authority"):
        # Its root is made anew by each pebble.
        client.succeed("curl --silent --fail --insecure https://acme.test:15000/roots/0 > ${root}")
        client.wait_until_succeeds(f"{ask} https://${domain}/health", timeout=600)
        shown = client.succeed(
            "openssl s_client -connect ${domain}:443 -servername ${domain} -CAfile ${root} -verify_return_error"
            " -verify_hostname ${domain} -showcerts < /dev/null"
        )
        assert "Verify return code: 0 (ok)" in shown, shown
        assert shown.count("BEGIN CERTIFICATE") >= 2, "the intermediate is missing from the chain"
        assert "Pebble Intermediate CA" in shown, shown

    with subtest("who does not trust the authority is told so"):
        client.fail("curl --silent --fail https://${domain}/health")

    with subtest("addresses without TLS lead to those with it"):
        answer = client.succeed("curl --silent --include 'http://${domain}/docs?x=1'")
        assert " 308 " in answer.splitlines()[0], answer
        assert "location: https://${domain}/docs?x=1" in answer.lower(), answer
        # The authority's question is the one thing that is answered without.
        assert client.succeed(
            "curl -so /dev/null -w '%{http_code}' http://${domain}/.well-known/acme-challenge/none"
        ) == "404"

    with subtest("the certificate is renewed before it ends"):
        server.succeed("systemctl list-timers --all --no-pager | grep 'acme.*${domain}'")
        server.fail("runuser -u customer-journey -- cat /var/lib/acme/${domain}/key.pem")
  '';
}
