"""The edge as it is shipped: nginx with the text of nixos/nginx/site.nix, in front of the real service or of a stub.

nginx is the machine's own, runs without rights on ports of its own, and stands in for the one that NixOS sets up. What is
written around the text here, NixOS writes there; what only NixOS can show (certificates by ACME, the redirect from port 80,
fail2ban at work) is in nixos/tests/.
"""

import gzip
import http.client
import http.server
import itertools
import json
import os
import pwd
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILTER = REPOSITORY / "nixos/fail2ban/customer-journey.conf"
DOMAIN = "journey.test"
BODY_BYTES_MAX = 524288


def eventually(what, condition, seconds=20):
    """Waits for `condition` to hold and returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} seconds: {what}")
        time.sleep(0.05)
    return result


def free_port():
    """Returns one that nobody listens on, and that the system gives to no outgoing connection."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def run(*command, env=None):
    """Runs a program and returns what it printed; its complaint is part of the failure."""
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    if result.returncode != 0:
        raise AssertionError(f"{command[0]} failed: {result.stderr or result.stdout}")
    return result.stdout


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.fields = [(name.lower(), value) for name, value in response.getheaders()]
        self.body = response.read()

    def all(self, name):
        return [value for field, value in self.fields if field == name]

    def header(self, name):
        """Returns the only value of a header; None without one. Two would make browsers refuse some of them."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there more than once: {values}"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def text(self):
        return gzip.decompress(self.body) if self.header("content-encoding") == "gzip" else self.body


class Plain:
    """Asks a server without TLS, as nginx asks the service."""

    def __init__(self, port):
        self.port = port

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, path, method="GET", body=None, headers=None, connection=None):
        own = connection or self.connect()
        try:
            own.request(method, path, body=body, headers=headers or {})
            return Answer(own.getresponse())
        finally:
            if not connection:
                own.close()

    def announce(self, path, length, headers=None):
        """Posts the head of a request and reads the answer before the body is sent: a server that has made up its mind by
        then may hang up on the rest, and the answer would be lost with it."""
        connection = self.connect()
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(length))
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = Answer(connection.getresponse())
        connection.close()
        return answer


class Edge(Plain):
    """An nginx with the shipped text; every request comes from a client address of its own unless it says from which."""

    # RFC 2544 keeps this network for measurements.
    addresses = (f"198.18.{high}.{low}" for high, low in itertools.product(range(256), range(1, 255)))

    def __init__(self, folder, upstream_port, **values):
        super().__init__(free_port())
        self.folder = folder
        self.sdk = folder / "sdk"
        self.refused_log = folder / "refused.log"
        self.plain = Plain(free_port())
        self.certificate = folder / "certificate.pem"
        self.values = {
            "upstream": f"127.0.0.1:{upstream_port}",
            "sdk": str(self.sdk),
            "apiRequestsPerSecond": 100,
            "eventRequestsPerSecond": 1000,
            "bodyBytesMax": BODY_BYTES_MAX,
            "requestTimeoutSeconds": 30,
            "refusedLog": str(self.refused_log),
            **values,
        }

    def start(self):
        self.folder.chmod(0o755)
        self.lay_out_sdk()
        self.make_certificate()
        configuration = self.folder / "nginx.conf"
        configuration.write_text(self.configuration())
        drop = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            shutil.chown(self.folder, user.pw_uid, user.pw_gid)
            shutil.chown(self.folder / "key.pem", user.pw_uid, user.pw_gid)
            drop = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.process = subprocess.Popen(
            ["nginx", "-e", "stderr", "-c", str(configuration), "-p", str(self.folder)],
            stderr=open(self.folder / "error.log", "w"),
            **drop,
        )
        eventually("nginx listens", self.is_up)
        return self

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"nginx ended: {self.error_log()}")
        return accepts(self.port)

    def error_log(self):
        return (self.folder / "error.log").read_text()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def lay_out_sdk(self):
        """Makes the tree of nixos/sdk.nix: the committed files, the current version without number, each compressed."""
        assets = REPOSITORY / "assets/sdk"
        current = json.loads((assets / "versions.json").read_text())["current"]
        shutil.copytree(assets, self.sdk)
        shutil.copytree(assets / current, self.sdk, dirs_exist_ok=True)
        for file in [file for file in self.sdk.rglob("*") if file.is_file()]:
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))

    def make_certificate(self):
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN}"),
            *("-keyout", str(self.folder / "key.pem"), "-out", str(self.certificate)),
        )

    def site(self):
        """Evaluates nixos/nginx/site.nix; the store is not needed, so none is opened."""
        expression = f"{{ values }}: import {REPOSITORY}/nixos/nginx/site.nix (builtins.fromJSON values)"
        return json.loads(
            run(
                *("nix-instantiate", "--store", "dummy://", "--eval", "--strict", "--json"),
                *("--argstr", "values", json.dumps(self.values), "--expr", expression),
            )
        )

    def configuration(self):
        """What NixOS would write, as far as the text depends on it; locations in the order of their names, as there."""
        site = self.site()
        locations = "\n".join(f"location {name} {{\n{text}\n}}" for name, text in sorted(site["locations"].items()))
        # A version since 1.25.1 has a directive of its own for it, and warns about the other.
        version = run("sh", "-c", "nginx -v 2>&1").rsplit("/", 1)[1].split()[0]
        is_new = tuple(map(int, version.split("."))) >= (1, 25, 1)
        temporary = "\n".join(
            f"{name}_temp_path {self.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return f"""
daemon off;
pid {self.folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  {temporary}
  # Lets a test be a client of any address, after nginx has seen that it comes from this machine.
  set_real_ip_from 127.0.0.1;
  real_ip_header X-Test-Client;
  {site["http"]}
  server {{
    listen 127.0.0.1:{self.plain.port};
    server_name {DOMAIN};
    location / {{ return 308 https://$host$request_uri; }}
  }}
  server {{
    listen 127.0.0.1:{self.port} ssl {"" if is_new else "http2"};
    {"http2 on;" if is_new else ""}
    server_name {DOMAIN};
    ssl_certificate {self.certificate};
    ssl_certificate_key {self.folder}/key.pem;
    {locations}
    {site["server"]}
  }}
}}
"""

    def connect(self):
        """Opens a connection to the domain, wherever the domain's name would lead."""
        context = ssl.create_default_context(cafile=self.certificate)
        connection = http.client.HTTPSConnection(DOMAIN, self.port, timeout=30, context=context)
        connection._create_connection = lambda _, *rest: socket.create_connection(("127.0.0.1", self.port), 30)
        return connection

    def ask(self, path, method="GET", body=None, headers=None, connection=None, client=None):
        headers = {"X-Test-Client": client or next(self.addresses), **(headers or {})}
        return super().ask(path, method, body, headers, connection)

    def ask_often(self, times, path, client, connection=None, **more):
        """Asks one thing after another on one connection, as fast as that goes."""
        own = connection or self.connect()
        answers = [self.ask(path, client=client, connection=own, **more) for _ in range(times)]
        if not connection:
            own.close()
        return answers

    def refused(self):
        """Returns the lines of the log of refused requests, each without its time."""
        return [line.split(" ", 1)[1] for line in self.refused_log.read_text().splitlines()]


class Stub(http.server.ThreadingHTTPServer):
    """Stands in for the service where a test has to see what arrives, or needs a certain answer: `/api/…/401` gives that
    status, `/api/…/slow` none in time; anything else is answered with what was asked, as JSON."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), StubHandler)
        self.released = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.released.set()
        self.shutdown()
        self.server_close()


class StubHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        last = self.path.rsplit("/", 1)[1]
        if last == "slow":
            # nginx has hung up by the time this ends.
            self.close_connection = True
            self.server.released.wait(60)
            return
        asked = {"path": self.path, "headers": [[name.lower(), value] for name, value in self.headers.items()]}
        body = b"x" * 5_000_000 if last == "long" else json.dumps(asked).encode()
        self.send_response(int(last) if last.isdigit() else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-Id", "of-the-stub")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_OPTIONS = answer

    def log_message(self, *_):
        pass


class Service:
    """The real service with a database of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.name = f"edge_{uuid.uuid4().hex}"
        self.plain = Plain(free_port())
        self.configuration = folder / "config.toml"

    @staticmethod
    def needed(variable):
        value = os.environ.get(variable)
        if not value:
            raise AssertionError(f"{variable} is not set: run `make test`, or see scripts/test-services.sh")
        return value

    def psql(self, statement):
        program = Path(os.environ.get("PG_BIN", "")) / "psql"
        run(str(program) if program.exists() else "psql", self.needed("DATABASE_URL"), "--quiet", "--command", statement)

    def start(self):
        self.psql(f"CREATE DATABASE {self.name}")
        address = self.needed("DATABASE_URL").rsplit("/", 1)[0]
        settings = {
            "server.listen": f"127.0.0.1:{self.plain.port}",
            "server.trusted_proxy_hops": 1,
            "server.cors_origins": ["https://shop.test"],
            "database.url": f"{address}/{self.name}",
            "database.connections_max": 4,
            "redis.queue_url": self.needed("REDIS_URL"),
            "redis.key_prefix": self.name,
            "ingest.body_bytes_max": BODY_BYTES_MAX,
            "jobs.enabled": False,
            "telemetry.log_format": "text",
            "secrets.api_key_salt": "salt-of-the-edge-tests",
        }
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
        self.configuration.write_text("".join(lines))
        self.process = subprocess.Popen(
            [self.needed("JOURNEY_BINARY"), "serve", "--config", str(self.configuration)],
            stderr=open(self.folder / "service.log", "w"),
            env={},
        )
        eventually("the service listens", self.is_up)
        return self

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended: {(self.folder / 'service.log').read_text()}")
        return accepts(self.plain.port)

    def create_key(self, kind, *more):
        command = ("keys", "create", "--json", "--kind", kind, "--name", kind, *more)
        # The service refuses variables that it does not know, such as JOURNEY_BINARY.
        program = (self.needed("JOURNEY_BINARY"), "--config", str(self.configuration))
        return json.loads(run(*program, *command, env={}))["key"]

    def kill(self):
        self.process.kill()
        self.process.wait(20)

    def stop(self):
        self.kill()
        self.psql(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")
