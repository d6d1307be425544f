"""nginx hands out the SDK's files as the service itself does (src/http/sdk_files.rs)."""

import json
import os

from cases import ServiceCase
from support import REPOSITORY

CURRENT = json.loads((REPOSITORY / "assets/sdk/versions.json").read_text())["current"]
NAMES = ("customer-journey.min.js", "customer-journey.min.js.map")
PATHS = [f"/sdk/{folder}{name}" for folder in ("", f"{CURRENT}/") for name in NAMES]

# Headers that decide where a file may be used, and for how long.
HEADERS = (
    "access-control-allow-origin",
    "access-control-expose-headers",
    "cache-control",
    "content-type",
    "cross-origin-resource-policy",
    "sourcemap",
    "timing-allow-origin",
    "x-content-type-options",
)


class SdkFiles(ServiceCase):
    def test_a_file_comes_with_the_bytes_and_headers_of_the_service(self):
        for path in PATHS:
            for coding in ("identity", "gzip"):
                request = {"Accept-Encoding": coding, "Origin": "https://any.test"}
                mine = self.edge.ask(path, headers=request)
                theirs = self.service.plain.ask(path, headers=request)
                self.assertEqual(mine.status, 200, path)
                self.assertEqual(mine.text(), theirs.text(), path)
                for name in (*HEADERS, "content-encoding"):
                    self.assertEqual(mine.header(name), theirs.header(name), f"{path} {coding} {name}")
                self.assertEqual(mine.header("vary").lower(), theirs.header("vary"), path)

    def test_a_version_is_kept_for_ever_and_the_current_one_for_an_hour(self):
        # Also here, where it can be read without the sources of the service.
        released, current = (self.edge.ask(f"/sdk/{folder}{NAMES[0]}") for folder in (f"{CURRENT}/", ""))
        self.assertEqual(released.header("cache-control"), "public, max-age=31536000, immutable")
        self.assertEqual(current.header("cache-control"), "public, max-age=3600, stale-while-revalidate=86400")
        self.assertEqual(released.header("sourcemap"), NAMES[1])

    def test_files_come_from_the_folder_and_not_from_the_service(self):
        folder = self.edge.sdk / "9.0.0"
        folder.mkdir()
        (folder / NAMES[0]).write_text("// of the folder\n")
        answer = self.edge.ask(f"/sdk/9.0.0/{NAMES[0]}")
        self.assertEqual((answer.status, answer.body), (200, b"// of the folder\n"))

    def test_who_has_the_file_is_told_so(self):
        for headers in ({}, {"Accept-Encoding": "gzip"}):
            tag = self.edge.ask(PATHS[0], headers=headers).header("etag")
            answer = self.edge.ask(PATHS[0], headers={"If-None-Match": tag, **headers})
            self.assertEqual((answer.status, answer.body), (304, b""))
            self.assertEqual(answer.header("cache-control"), "public, max-age=3600, stale-while-revalidate=86400")
            self.assertEqual(answer.header("access-control-allow-origin"), "*")

    def test_a_date_does_not_stand_for_the_content(self):
        file = self.edge.sdk / NAMES[0]
        os.utime(file, (1, 1))
        # As nginx would take it for unchanged, were it asked.
        answer = self.edge.ask(PATHS[0], headers={"If-Modified-Since": "Thu, 01 Jan 1970 00:00:01 GMT"})
        self.assertEqual(answer.status, 200)
        self.assertIsNone(answer.header("last-modified"))

    def test_the_list_of_versions_and_what_is_not_there_come_from_the_service(self):
        for path, status in (
            ("/sdk/versions.json", 200),
            ("/sdk/9.9.9/customer-journey.min.js", 404),
            ("/sdk/0.1.0/package.json", 404),
            (f"{PATHS[0]}.gz", 404),
        ):
            mine, theirs = self.edge.ask(path), self.service.plain.ask(path)
            self.assertEqual((mine.status, theirs.status), (status, status), path)
            mine, theirs = mine.json(), theirs.json()
            # Each request has an id of its own.
            self.assertEqual("instance" in mine, "instance" in theirs)
            mine.pop("instance", None), theirs.pop("instance", None)
            self.assertEqual(mine, theirs, path)

    def test_nothing_outside_of_the_folder_can_be_named(self):
        (self.edge.folder / "customer-journey.min.js").write_text("outside")
        ways = ("..", "0.1.0/../..", "0.1.0%2f../..", "0/%2e%2e/%2e%2e")
        for path in [f"/sdk/{way}/customer-journey.min.js" for way in ways]:
            answer = self.edge.ask(path)
            self.assertNotIn(b"outside", answer.body)
            self.assertIn(answer.status, (400, 404), path)

    def test_a_file_cannot_be_posted_to(self):
        answer = self.edge.ask(PATHS[0], "POST", body=b"x")
        self.assertEqual((answer.status, answer.json()["code"]), (405, "method_not_allowed"))
