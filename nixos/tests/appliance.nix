# The whole appliance as its clients see it, from a second machine: events in over TLS, journeys out, and nothing else open.
{ pkgs, lib, ... }:

let
  machines = import ./lib/machines.nix { inherit pkgs lib; };
in
{
  name = "customer-journey-appliance";

  nodes.server.imports = [
    machines.appliance
    machines.withNginx
    # A rate that a slow machine can exceed.
    { services.customer-journey.nginx.apiRequestsPerSecond = 10; }
  ];
  nodes.client =
    { nodes, ... }:
    {
      imports = [ (machines.clientOf nodes.server) ];
      environment.systemPackages = [ pkgs.netcat ];
    };

  testScript = machines.script + ''
    import re

    service = "https://${machines.domain}"
    sdk = "customer-journey.min.js"


    def ask(path: str, options: str = "") -> tuple[int, dict[str, str], str]:
        """Returns status, headers and body of an answer, whatever its status, over a connection that is verified."""
        answer = client.succeed(f"curl --silent --show-error --include --max-time 30 {options} '{service}{path}'")
        head, _, body = answer.replace("\r", "").partition("\n\n")
        first, *lines = head.splitlines()
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return int(first.split()[1]), headers, body


    for unit in ["postgresql", "redis-customer-journey-queue", "customer-journey", "nginx", "nftables"]:
        server.wait_for_unit(f"{unit}.service")
    client.wait_for_unit("multi-user.target")

    with subtest("the administrator's command has the service's rights and secrets, and no more"):
        write_key = new_key(server, "write")
        secret_key = new_key(server, "secret", "read", "admin")
        print(server.succeed("customer-journey doctor"))
        server.fail("runuser -u nobody -- customer-journey keys list")
        server.fail("customer-journey import /etc/shadow")

    with subtest("the answers come over HTTP/2 and TLS that is verified"):
        assert client.succeed(f"curl -so /dev/null -w '%{{http_version}}' {service}/health") == "2"
        client.succeed(f"curl -sfo /dev/null --tlsv1.3 {service}/health")
        client.fail(f"curl -sfo /dev/null --tls-max 1.1 {service}/health")
        moved = client.succeed("curl -si http://${machines.domain}/docs")
        assert moved.split()[1] == "308" and "location: https://${machines.domain}/docs" in moved.lower(), moved

    with subtest("every answer has the headers that keep browsers out of trouble"):
        for path, status_wanted in [("/health", 200), ("/api/v1/sessions", 401), ("/nothing", 404)]:
            status, headers, _ = ask(path)
            assert status == status_wanted, (path, status)
            assert headers["strict-transport-security"] == "max-age=31536000", headers
            assert headers["x-content-type-options"] == "nosniff", headers
            assert headers["x-frame-options"] == "deny", headers
            assert headers["x-request-id"], headers
            assert "nginx/" not in headers.get("server", ""), headers
        assert ask("/health", "-H 'X-Request-Id: from-outside'")[1]["x-request-id"] == "from-outside"

    with subtest("a visit goes in, and its journey comes out"):
        ids = post(client, write_key, shop_visit("laptop-1"), service)
        settle(client, secret_key, service)
        assert sorted(stored_ids(client, secret_key, service)) == sorted(ids)
        sessions = get(client, secret_key, "/api/v1/sessions?from=2000-01-01&to=2100-01-01", service)
        assert len(sessions["items"]) == 1, sessions
        journey = get(client, secret_key, "/api/v1/customers/laptop-1/journey", service)
        assert journey["user_id"] == "user-of-laptop-1", journey
        assert journey["totals"]["events"] == 4 and journey["totals"]["revenue"] == {"EUR": "289.00"}, journey

    with subtest("the storage is what the database offers"):
        system = get(client, secret_key, "/api/v1/system", service)
        storage = system["storage"]["situation"]
        extension = server.succeed(
            "runuser -u customer-journey -- psql -At customer_journey"
            " -c \"SELECT coalesce((SELECT current_setting('timescaledb.license') FROM pg_extension"
            " WHERE extname = 'timescaledb'), 'none')\""
        ).strip()
        wanted = {"none": "plain", "apache": "timescale_apache", "timescale": "timescale_community"}[extension]
        assert storage == wanted, (storage, extension)
        if storage != "plain":
            hypertables = "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name = 'events'"
            assert server.succeed(
                f"runuser -u customer-journey -- psql -At customer_journey -c \"{hypertables}\""
            ).strip() == "1"
        assert server.succeed("runuser -u postgres -- psql -Atc 'SHOW data_checksums'").strip() == "on"

    with subtest("the script for sites comes from the store, compressed, to keep for as long as it stays the same"):
        version = json.loads(ask("/sdk/versions.json")[2])["current"]
        for path, caching in [
            (f"/sdk/{version}/{sdk}", "public, max-age=31536000, immutable"),
            (f"/sdk/{sdk}", "public, max-age=3600, stale-while-revalidate=86400"),
        ]:
            status, headers, body = ask(path)
            assert status == 200 and len(body) > 5000, (path, status, len(body))
            assert headers["cache-control"] == caching, headers
            assert headers["access-control-allow-origin"] == "*", headers
            assert headers["cross-origin-resource-policy"] == "cross-origin", headers
            assert headers["sourcemap"] == f"{sdk}.map", headers
            assert headers["content-type"].startswith("text/javascript"), headers
            get_packed = f"curl -sf -H 'Accept-Encoding: gzip' {service}{path}"
            client.succeed(f"test $({get_packed} | gunzip | sha256sum | cut -c1-64) = $(curl -sf {service}{path} | sha256sum | cut -c1-64)")
        assert ask(f"/sdk/9.9.9/{sdk}")[0] == 404

    with subtest("too many requests are refused with a reason, and only the sender's"):
        answers = client.succeed(
            "curl -s --parallel --parallel-max 40 -o '/tmp/answer-#1'"
            " -w '%{http_code} %header{retry-after} %{content_type}\\n'"
            f" '{service}/health?[1-60]'"
        ).splitlines()
        assert [answer for answer in answers if answer.startswith("200 ")], answers
        assert "429 1 application/problem+json" in answers, answers
        refused = json.loads(client.succeed("cat $(grep -l too_many_requests /tmp/answer-* | head -n 1)"))
        assert refused["status"] == 429 and refused["code"] == "too_many_requests", refused
        server.succeed("curl -sf --cacert ${machines.authority} https://${machines.domain}/health")
        client.succeed("sleep 2")
        assert ask("/health")[0] == 200

    with subtest("nothing else is open, and metrics are not for the public"):
        for port in [5432, 6379, 8030]:
            client.fail(f"nc -z -w 3 ${machines.domain} {port}")
        accepted = server.succeed("nft list ruleset | grep 'tcp dport.*accept'")
        assert re.findall(r"\d+", accepted) == ["22", "80", "443"], accepted
        assert ask("/metrics")[0] == 404
        server.succeed("curl -sf http://127.0.0.1:8030/metrics | grep customer_journey_ > /dev/null")
        listening = server.succeed("ss -Htlno").splitlines()
        outside = {line.split()[3].rsplit(":", 1)[1] for line in listening if not line.split()[3].startswith("127.")}
        assert outside <= {"22", "80", "443"}, listening

    with subtest("the service may do little"):
        print(server.succeed("systemd-analyze security customer-journey.service --threshold=15 --no-pager"))
        secrets = "/var/lib/customer-journey-secrets"
        assert server.succeed(f"stat -c %a:%U {secrets} {secrets}/api-key-salt").split() == ["700:root", "400:root"]
        server.fail(f"runuser -u customer-journey -- cat {secrets}/api-key-salt")
        server.fail("runuser -u nginx -- psql -At customer_journey -c 'SELECT 1'")
        server.fail("runuser -u nginx -- redis-cli -s /run/redis-customer-journey-queue/redis.sock ping")
        server.fail("tr '\\0' '\\n' < /proc/$(systemctl show -P MainPID customer-journey)/environ | grep -i salt")

    with subtest("the journal has the service's lines, with fields"):
        lines = server.succeed("journalctl -u customer-journey -o json --no-pager").splitlines()
        entries = [json.loads(line) for line in lines]
        ready = [entry for entry in entries if entry.get("F_STORAGE") == storage]
        assert ready and ready[-1]["SYSLOG_IDENTIFIER"] == "customer-journey", entries[-1]
        assert not [entry for entry in entries if secret_key in str(entry) or write_key in str(entry)]

    with subtest("secrets and data outlive a restart"):
        server.succeed("systemctl restart customer-journey-secrets postgresql redis-customer-journey-queue customer-journey")
        server.wait_for_unit("customer-journey.service")
        assert sorted(stored_ids(client, secret_key, service)) == sorted(ids)
  '';
}
