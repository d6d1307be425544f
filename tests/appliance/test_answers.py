"""What nginx adds to the answers of the service, and what it answers itself."""

import json
import ssl
import subprocess
import unittest

from cases import Case, ServiceCase, StubCase
from support import BODY_BYTES_MAX, DOMAIN, Service, eventually

# Every answer has these, whoever made it.
SECURITY_HEADERS = {
    "strict-transport-security": "max-age=31536000",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "strict-origin-when-cross-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class SecurityHeaders(StubCase):
    def assert_secure(self, answer):
        headers = {name: answer.header(name) for name in SECURITY_HEADERS}
        self.assertEqual(headers, SECURITY_HEADERS)
        self.assertIsNotNone(answer.header("x-request-id"))
        self.assertNotIn("/", answer.header("server"), "the version is nobody's business")

    def test_answers_and_errors_of_the_service_have_them(self):
        for path in ("/", "/api/v1/404", "/api/v1/401", "/api/v1/500"):
            self.assert_secure(self.edge.ask(path))

    def test_answers_of_nginx_itself_have_them(self):
        too_large = self.edge.announce("/api/v1/events", BODY_BYTES_MAX + 1)
        too_many = self.edge.ask_often(10, "/api/v1/sessions", client="192.0.2.1")[-1]
        file = self.edge.ask("/sdk/customer-journey.min.js")
        hidden = self.edge.ask("/metrics")
        for answer, status in ((too_large, 413), (too_many, 429), (file, 200), (hidden, 404)):
            self.assertEqual(answer.status, status)
            self.assert_secure(answer)


class Requests(StubCase):
    def arrived(self, path="/api/v1/sessions", **more):
        """Returns the headers that the service gets to see."""
        headers = self.edge.ask(path, **more).json()["headers"]
        return {name: [value for other, value in headers if other == name] for name, _ in headers}

    def test_the_service_learns_the_address_of_the_client(self):
        self.assertEqual(self.arrived(client="203.0.113.7")["x-forwarded-for"], ["203.0.113.7"])
        self.assertEqual(self.arrived(client="2001:db8::7")["x-forwarded-for"], ["2001:db8::7"])

    def test_what_the_client_claims_to_be_its_address_is_not_passed_on(self):
        headers = {"X-Forwarded-For": "10.0.0.1, 10.0.0.2"}
        self.assertEqual(self.arrived(client="203.0.113.7", headers=headers)["x-forwarded-for"], ["203.0.113.7"])

    def test_the_service_learns_the_scheme_and_the_host(self):
        arrived = self.arrived()
        self.assertEqual(arrived["x-forwarded-proto"], ["https"])
        self.assertEqual(arrived["host"], [DOMAIN])

    def test_each_request_gets_an_id_and_the_answer_names_it(self):
        answers = [self.edge.ask("/api/v1/sessions") for _ in range(2)]
        ids = [answer.header("x-request-id") for answer in answers]
        arrived = [dict(answer.json()["headers"])["x-request-id"] for answer in answers]
        self.assertEqual(ids, arrived)
        self.assertNotEqual(ids[0], ids[1])
        self.assertRegex(ids[0], "^[0-9a-f]{32}$")

    def test_a_sane_id_of_the_client_is_kept_and_any_other_replaced(self):
        answer = self.edge.ask("/api/v1/sessions", headers={"X-Request-Id": "trace:1.a_b-c"})
        self.assertEqual(answer.header("x-request-id"), "trace:1.a_b-c")
        self.assertEqual(dict(answer.json()["headers"])["x-request-id"], "trace:1.a_b-c")
        for bad in ('a"b', "a b", "x" * 65, "$host"):
            answer = self.edge.ask("/metrics", headers={"X-Request-Id": bad})
            self.assertRegex(answer.header("x-request-id"), "^[0-9a-f]{32}$")
            self.assertEqual(answer.json()["instance"], answer.header("x-request-id"))

    def test_an_answer_larger_than_the_buffers_arrives_whole(self):
        self.assertEqual(len(self.edge.ask("/api/v1/long").body), 5_000_000)

    def test_what_the_service_left_uncompressed_is_compressed_for_who_takes_it(self):
        padding = {"X-Padding": "much of the same " * 40}
        answer = self.edge.ask("/api/v1/sessions", headers={"Accept-Encoding": "gzip", **padding})
        self.assertEqual(answer.header("content-encoding"), "gzip")
        self.assertEqual(answer.header("vary"), "Accept-Encoding")
        self.assertEqual(json.loads(answer.text())["path"], "/api/v1/sessions")
        self.assertIsNone(self.edge.ask("/api/v1/sessions", headers=padding).header("content-encoding"))


class Transport(StubCase):
    def test_clients_get_http_2(self):
        printed = subprocess.run(
            [
                *("curl", "--silent", "--show-error", "--http2", "--cacert", self.edge.certificate),
                *("--resolve", f"{DOMAIN}:{self.edge.port}:127.0.0.1", "--output", "/dev/null"),
                *("--write-out", "%{http_version} %{http_code}", f"https://{DOMAIN}:{self.edge.port}/"),
            ],
            capture_output=True,
            text=True,
        )
        self.assertEqual(printed.stdout, "2 200", printed.stderr)

    def test_the_protocol_is_agreed_on_in_the_handshake(self):
        context = ssl.create_default_context(cafile=self.edge.certificate)
        context.set_alpn_protocols(["h2", "http/1.1"])
        connection = self.edge.connect()
        with context.wrap_socket(connection._create_connection(None), server_hostname=DOMAIN) as wrapped:
            self.assertEqual(wrapped.selected_alpn_protocol(), "h2")


class Problems(StubCase):
    def assert_problem(self, answer, status, code):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(answer.header("content-type"), "application/problem+json")
        self.assertEqual(answer.header("cache-control"), "no-store")
        document = answer.json()
        self.assertEqual(document["code"], code)
        self.assertEqual(document["type"], f"urn:customer-journey:problem:{code}")
        self.assertEqual(document["status"], status)
        self.assertEqual(document["instance"], answer.header("x-request-id"))
        self.assertEqual(answer.header("access-control-allow-origin"), "*", "a page must be able to read it")
        self.assertEqual(answer.header("access-control-expose-headers"), "x-request-id,retry-after")

    def test_a_body_that_is_too_large_is_refused_when_its_length_is_known(self):
        largest = self.edge.ask("/api/v1/events", "POST", body=b"x" * BODY_BYTES_MAX)
        self.assertEqual(largest.status, 200)
        self.assert_problem(self.edge.announce("/api/v1/events", BODY_BYTES_MAX + 1), 413, "body_too_large")

    def test_a_body_that_turns_out_to_be_too_large_is_refused(self):
        answer = self.edge.ask("/api/v1/events", "POST", body=iter([b"x" * 65536] * 9))
        self.assert_problem(answer, 413, "body_too_large")

    def test_a_client_that_asks_too_often_is_told_when_to_come_back(self):
        answer = self.edge.ask_often(10, "/api/v1/sessions", client="192.0.2.2")[-1]
        self.assert_problem(answer, 429, "too_many_requests")
        self.assertEqual(answer.header("retry-after"), "1")

    def test_metrics_are_not_for_the_public_however_they_are_written(self):
        for path in ("/metrics", "/metrics?a", "//metrics", "/%6detrics", "/docs/../metrics"):
            self.assert_problem(self.edge.ask(path), 404, "route_not_found")


class SlowService(StubCase):
    # nginx waits 15 seconds longer than the service takes at most: one second here.
    values = {"requestTimeoutSeconds": -14}

    def test_an_answer_that_does_not_come_is_a_504_with_the_time_to_try_again(self):
        answer = self.edge.ask("/api/v1/slow")
        self.assertEqual(answer.status, 504)
        self.assertEqual(answer.json()["code"], "service_timeout")
        self.assertEqual(answer.header("retry-after"), "5")
        self.assertEqual(answer.header("access-control-allow-origin"), "*")


class RealService(ServiceCase):
    """In front of the service itself: what both say is the same, and what one says is there once."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.write_key = cls.service.create_key("write")
        cls.secret_key = cls.service.create_key("secret", "--scope", "read")

    def send(self, body, **headers):
        return self.edge.ask(f"/api/v1/events/batch?key={self.write_key}", "POST", body=body, headers=headers)

    def assert_same(self, mine, theirs):
        """Asserts that nginx and service give the same document; the id aside, which is a new one each time."""
        self.assertEqual(mine.status, theirs.status)
        mine, theirs = mine.json(), theirs.json()
        self.assertNotEqual(mine.pop("instance"), theirs.pop("instance"))
        self.assertEqual(mine, theirs)

    def test_a_page_sends_events_and_reads_the_answer(self):
        event = {"event_type": "page_view", "device_id": "laptop-1", "page_url": "https://shop.test/tents"}
        answer = self.send(json.dumps({"events": [event]}), Origin="https://shop.test")
        self.assertEqual(answer.status, 202, answer.body)
        self.assertEqual(answer.json()["accepted"], 1)
        self.assertEqual(answer.header("access-control-allow-origin"), "https://shop.test")

    def test_what_was_sent_can_be_read(self):
        event = {"event_type": "page_view", "device_id": "laptop-2", "page_url": "https://shop.test/"}
        sent = self.send(json.dumps(event)).json()["event_ids"][0]
        bearer = {"Authorization": f"Bearer {self.secret_key}"}

        def is_stored():
            answer = self.edge.ask("/api/v1/events?format=ndjson", headers=bearer)
            self.assertEqual(answer.status, 200, answer.body)
            return sent in {json.loads(line)["event_id"] for line in answer.body.splitlines()}

        eventually("the event is stored", is_stored)

    def test_a_page_of_the_service_keeps_the_policy_it_needs(self):
        policy = self.edge.ask("/docs").header("content-security-policy")
        self.assertEqual(policy, self.service.plain.ask("/docs").header("content-security-policy"))
        self.assertIn("script-src 'self'", policy)

    def test_a_refused_key_keeps_the_answer_of_the_service(self):
        answer = self.edge.ask("/api/v1/sessions", headers={"X-Request-Id": "of-a-test"})
        self.assertEqual((answer.status, answer.json()["code"]), (401, "invalid_key"))
        self.assertEqual(answer.json()["instance"], "of-a-test")
        self.assertEqual(answer.header("x-request-id"), "of-a-test")

    def test_nginx_refuses_a_large_body_in_the_words_of_the_service(self):
        request = (f"/api/v1/events?key={self.write_key}", BODY_BYTES_MAX + 1)
        mine, theirs = self.edge.announce(*request), self.service.plain.announce(*request)
        self.assertEqual(mine.status, 413)
        self.assert_same(mine, theirs)

    def test_metrics_are_there_and_look_as_if_they_were_not(self):
        self.assertEqual(self.service.plain.ask("/metrics").status, 200)
        self.assert_same(self.edge.ask("/metrics"), self.service.plain.ask("/nothing"))


class ServiceAway(Case):
    def test_a_service_that_is_away_is_a_502_with_the_time_to_try_again(self):
        service = Service(self.folder("service")).start()
        self.addCleanup(service.stop)
        self.start_edge(service.plain.port)
        self.assertEqual(self.edge.ask("/health").status, 200)
        service.kill()
        answer = self.edge.ask("/api/v1/events", "POST", body=b"{}", client="192.0.2.90")
        self.assertEqual(answer.status, 502)
        self.assertEqual(answer.header("content-type"), "application/problem+json")
        self.assertEqual(answer.json()["code"], "service_unavailable")
        self.assertEqual(answer.header("retry-after"), "5")
        self.assertEqual(answer.header("access-control-allow-origin"), "*")
        self.assertEqual(self.edge.ask("/sdk/customer-journey.min.js").status, 200, "files need no service")
        self.assertNotIn("192.0.2.90", self.edge.error_log())


if __name__ == "__main__":
    unittest.main()
