# Who does not stop when refused is shut out for a time, from what was attacked and nothing else; everybody else is not.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };
  # The client is two: it can ask from either address.
  attacker = "192.168.1.66";
  neighbour = "192.168.1.77";
in
{
  name = "customer-journey-fail2ban";

  nodes.server = {
    imports = [
      machines.appliance
      machines.withNginx
    ];
    services.openssh.enable = true;
    # An sshd built elsewhere than in nixpkgs wants this folder.
    systemd.tmpfiles.rules = [ "d /run/sshd 0755 root root -" ];
  };
  nodes.client =
    { nodes, ... }:
    {
      imports = [ (machines.clientOf nodes.server) ];
      virtualisation.memorySize = 512;
      networking.interfaces.eth1.ipv4.addresses =
        map
          (address: {
            inherit address;
            prefixLength = 24;
          })
          [
            attacker
            neighbour
          ];
      environment.systemPackages = [ pkgs.openssh ];
    };

  testScript =
    { nodes, ... }:
    ''
      attacker, neighbour = "${attacker}", "${neighbour}"
      service = "https://${machines.domain}"


      def ask(address: str, url: str = service + "/health", options: str = "--fail --max-time 10") -> str:
          return f"curl --silent --show-error --output /dev/null {options} --interface {address} '{url}'"


      def counted(jail: str) -> int:
          status = server.succeed(f"fail2ban-client status {jail}")
          return int(status.split("Total failed:")[1].split()[0])


      def is_banned(jail: str, address: str) -> bool:
          return address in server.succeed(f"fail2ban-client get {jail} banip").split()


      def refused(times: int) -> str:
          """Asks with a key that there is not, again and again on one connection."""
          options = "--header 'X-API-Key: sk_wrong' --write-out '%{http_code}\\n' --max-time 120"
          return ask(attacker, f"{service}/api/v1/sessions?[1-{times}]", options)


      # Refused by the server, or not let near it.
      guess = (
          f"ssh -b {attacker} -o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=20"
          " nobody-there@${machines.domain} true 2>&1"
      )

      for unit in ["customer-journey", "nginx", "fail2ban", "sshd"]:
          server.wait_for_unit(f"{unit}.service")
      client.wait_for_unit("multi-user.target")
      for address in [attacker, neighbour]:
          client.wait_until_succeeds(ask(address), timeout=120)

      with subtest("both jails watch"):
          jails = server.wait_until_succeeds("fail2ban-client status", timeout=60)
          assert "customer-journey" in jails and "sshd" in jails, jails
          # The machine cannot shut out itself.
          ignored = server.succeed("fail2ban-client get customer-journey ignoreip")
          assert "127.0.0.0/8" in ignored and "::1" in ignored, ignored

      with subtest("a handful of refusals is counted and bans nobody"):
          codes = client.succeed(refused(20)).split()
          assert codes == ["401"] * 20, codes
          retry(lambda _: counted("customer-journey") == 20, 60)
          client.succeed(ask(attacker))
          assert not is_banned("customer-journey", attacker)

      with subtest("who does not stop is shut out of both ports, and nobody else is"):
          client.execute(refused(400))
          retry(lambda _: is_banned("customer-journey", attacker), 60)
          client.wait_until_fails(ask(attacker), timeout=30)
          client.fail(ask(attacker, "http://${machines.domain}/", "--max-time 10"))
          client.succeed(ask(neighbour))
          client.succeed(ask(neighbour, "http://${machines.domain}/", "--max-time 10"))
          # fail2ban has what it bans in a table of its own, which a reload of the firewall leaves alone.
          server.succeed("systemctl reload nftables.service")
          client.fail(ask(attacker))

      with subtest("a ban for the web leaves SSH, where an administrator can end it"):
          answer = client.execute(guess)[1]
          assert "Permission denied" in answer, answer
          server.succeed(f"fail2ban-client set customer-journey unbanip {attacker}")
          client.wait_until_succeeds(ask(attacker), timeout=30)

      with subtest("who guesses at SSH is shut out there"):
          for _ in range(${toString nodes.server.services.customer-journey.fail2ban.maxRetry}):
              client.execute(guess)
          retry(lambda _: is_banned("sshd", attacker), 60)
          answer = client.execute(guess)[1]
          assert "Permission denied" not in answer, answer
          client.succeed(ask(attacker))

      with subtest("only refusals are remembered with their address"):
          log = server.succeed("cat /var/log/nginx/customer-journey-refused.log")
          assert attacker in log and neighbour not in log, log
          server.fail(f"grep -rF {neighbour} /var/log/nginx")
          server.fail("test -e /var/log/nginx/access.log")
          server.fail("runuser -u nobody -- cat /var/log/nginx/customer-journey-refused.log")
    '';
}
