"""How much one client may ask, who is one client, and what is remembered of those that were refused."""

import subprocess

from cases import StubCase
from support import BODY_BYTES_MAX, FILTER, REPOSITORY, eventually

EVENTS = "/api/v1/events/batch"
API = "/api/v1/sessions"


def statuses(answers):
    return [answer.status for answer in answers]


class Limits(StubCase):
    def assert_shared(self, first, second, is_shared):
        """Asserts that two addresses count as one client, or that they do not."""
        # On one connection: a second's pause gives a client its next request.
        connection = self.edge.connect()
        self.addCleanup(connection.close)
        self.assertEqual(self.edge.ask_often(8, API, first, connection)[-1].status, 429)
        self.assertEqual(self.edge.ask(API, client=second, connection=connection).status, 429 if is_shared else 200)

    def test_a_burst_of_a_second_is_let_through_at_once(self):
        self.assertEqual(statuses(self.edge.ask_often(2, API, client="192.0.2.10")), [200] * 2)
        self.assertEqual(statuses(self.edge.ask_often(6, EVENTS, "192.0.2.10", method="POST")), [200] * 6)

    def test_what_exceeds_it_is_refused(self):
        self.assertIn(429, statuses(self.edge.ask_often(10, API, client="192.0.2.11")))
        self.assertIn(429, statuses(self.edge.ask_often(30, EVENTS, "192.0.2.11", method="POST")))

    def test_sending_events_and_reading_do_not_take_from_each_other(self):
        self.assertEqual(self.edge.ask_often(10, API, client="192.0.2.12")[-1].status, 429)
        self.assertEqual(self.edge.ask(EVENTS, "POST", client="192.0.2.12").status, 200)
        self.assertEqual(self.edge.ask(EVENTS, "OPTIONS", client="192.0.2.12").status, 200)
        self.assertEqual(self.edge.ask("/sdk/customer-journey.min.js", client="192.0.2.12").status, 200)

    def test_reading_events_counts_as_reading(self):
        connection = self.edge.connect()
        self.addCleanup(connection.close)
        self.assertEqual(self.edge.ask_often(10, "/api/v1/events", "192.0.2.13", connection)[-1].status, 429)
        self.assertEqual(self.edge.ask(API, client="192.0.2.13", connection=connection).status, 429)

    def test_whatever_the_service_answers_is_limited(self):
        for place, path in enumerate(("/", "/health", "/docs", "/ready", "/sdk/versions.json", "/api/v1/eventsx")):
            self.assertIn(429, statuses(self.edge.ask_often(10, path, client=f"192.0.2.{20 + place}")), path)
        for place, path in enumerate(("/sdk/customer-journey.min.js", "/sdk/9/customer-journey.min.js")):
            self.assertIn(429, statuses(self.edge.ask_often(30, path, client=f"192.0.2.{30 + place}")), path)

    def test_addresses_of_ipv4_are_clients_of_their_own(self):
        self.assert_shared("192.0.2.40", "192.0.2.41", is_shared=False)

    def test_a_network_of_ipv6_is_one_client(self):
        self.assert_shared("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:fffe", is_shared=True)
        self.assert_shared("2001:db8:0:2::1", "2001:db8:0:3::1", is_shared=False)

    def test_bytes_that_are_line_breaks_are_bytes_as_any(self):
        self.assert_shared("2001:a0a:a0a:a0a::a0a", "2001:a0a:a0a:a0a:a0a::", is_shared=True)

    def test_an_address_of_ipv4_is_one_client_also_through_an_ipv6_socket(self):
        self.assert_shared("::ffff:192.0.2.50", "::ffff:192.0.2.51", is_shared=False)
        self.assert_shared("::ffff:192.0.2.52", "192.0.2.52", is_shared=True)


class RefusedLog(StubCase):
    def match(self, log):
        """Runs fail2ban's own reader; returns the addresses it finds, one for each line that matches."""
        command = ["fail2ban-regex", "--out", "ip", str(log), str(FILTER)]
        printed = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(printed.stderr, "")
        return printed.stdout.split()

    def wait_for_line(self, line):
        """Waits for a line of the log: nginx writes it after the answer."""
        eventually(line, lambda: line in self.edge.refused())

    def test_ordinary_requests_leave_nothing(self):
        paths = ("/", API, "/api/v1/404", "/api/v1/403", "/api/v1/500", "/sdk/customer-journey.min.js", "/metrics")
        addresses = [f"203.0.113.{place}" for place, _ in enumerate(paths)]
        for path, address in zip(paths, addresses):
            self.edge.ask(path, client=address)
        self.edge.ask("/api/v1/events/401", "POST", client=addresses[0])
        self.edge.ask("/sdk/9.9.9/customer-journey.min.js", client=addresses[0])
        self.edge.ask("/api/v1/events", "POST", body=b"x" * (BODY_BYTES_MAX + 1), client=addresses[0])
        self.edge.plain.ask("/")
        # What comes after them is written after them.
        self.edge.ask("/api/v1/401", client="192.0.2.60")
        self.wait_for_line("192.0.2.60 401 api")
        written = self.edge.refused_log.read_text() + self.edge.error_log()
        for address in (*addresses, "127.0.0.1"):
            self.assertNotIn(address, written)

    def test_refused_ones_leave_the_address_and_nothing_the_client_chose(self):
        self.edge.ask("/api/v1/customers/anna@example.com/401", client="192.0.2.61", headers={"User-Agent": "Anna"})
        self.edge.ask_often(8, API, client="2001:db8:1::61")
        self.edge.ask_often(30, EVENTS, client="192.0.2.62", method="POST")
        for line in ("192.0.2.61 401 api", "2001:db8:1::61 429 api", "192.0.2.62 429 visitors"):
            self.wait_for_line(line)
        self.assertNotIn("anna", self.edge.refused_log.read_text().lower())
        self.assertNotIn("192.0.2.62", self.edge.error_log())

    def test_fail2ban_understands_every_line_of_it(self):
        self.edge.ask("/api/v1/401", client="192.0.2.63")
        self.edge.ask_often(8, API, client="2001:db8:2::63")
        self.edge.ask("/api/v1/401", client="192.0.2.64")
        self.wait_for_line("192.0.2.64 401 api")
        lines = self.edge.refused()
        found = self.match(self.edge.refused_log)
        self.assertEqual(found, [line.split(" ")[0] for line in lines])
        self.assertIn("2001:db8:2::63", found)

    def test_fail2ban_takes_nothing_else_for_a_refusal(self):
        log = self.root / "other.log"
        moment = "2026-11-24T00:00:00+00:00"
        log.write_text(
            f"{moment} 192.0.2.64 200 api\n"
            f"{moment} 192.0.2.64 403 api\n"
            f"{moment} 192.0.2.64 429 api 192.0.2.65\n"
            f"{moment} GET /192.0.2.64 429 api\n"
            f"{moment} shop.test 401 api\n"
        )
        self.assertEqual(self.match(log), [])

    def test_the_jail_reads_the_log_that_nginx_writes(self):
        path = "/var/log/nginx/customer-journey-refused.log"
        for file in ("nixos/nginx.nix", "nixos/fail2ban.nix"):
            self.assertIn(f'"{path}"', (REPOSITORY / file).read_text())
