# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the role edge in a real HAProxy on loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _edges
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Shown, Status
from ansible_collections.evenkeel.platform.tests.unit.roles.conftest import Play

ROOT = Path(__file__).resolve().parents[3]
HAPROXY = shutil.which("haproxy") or "/usr/sbin/haproxy"
pytestmark = pytest.mark.skipif(not Path(HAPROXY).exists(), reason="there is no haproxy program on this machine")
NGHTTP, NGHTTPD = shutil.which("nghttp"), shutil.which("nghttpd")
CUT = (ConnectionError, ssl.SSLError)
SUBJECT = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
# What a role's run does on a host, but for units, folders of the system and the user that HAProxy becomes.
PLAY = [
    {
        "hosts": "edges",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {
                    "name": "evenkeel.platform.edge",
                    "tasks_from": "certificate_files",
                },
                "loop": "{{ edge_certificates }}",
                "loop_control": {"loop_var": "__edge_certificate"},
            },
            {"ansible.builtin.include_role": {"name": "evenkeel.platform.edge", "tasks_from": "apps"}},
        ],
    }
]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Edge:
    """One rendered edge: its ports, its folder, its process."""

    def __init__(self, folder: Path, backend: int, play: Play, http2: int = 1) -> None:
        self.folder = folder
        self.play = play
        self.backend = backend
        self.http2 = http2
        self.ports = {name: free_port() for name in ("http", "https", "preview", "status")}
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("etc/certs", "state/edge", "state/shop", "programs"):
            (folder / name).mkdir(parents=True)
        # Nothing runs yet that a certificate would be loaded into.
        (folder / "programs" / "edge-certificate").symlink_to("/bin/true")

    def render(self, options: dict[str, Any]) -> None:
        """Run the role's own tasks on this machine."""

        def service(port: int, protocol: str = "http1", **health: Any) -> dict[str, Any]:
            check = {"path": "/ready", "status": 200, "host": "shop.test", "interval_seconds": 1, **health}
            server = {"name": "a", "address": "127.0.0.1", "port": port}
            return {
                "health": {"blue": check, "green": check},
                "protocol": {"blue": protocol, "green": protocol},
                "servers": {"blue": [server], "green": [server]},
            }

        routes = [
            {"host": "*", "path": "/", "service": "api"},
            {"host": "shop.test", "path": "/docs", "service": "docs"},
            {"host": "shop.test", "path": "/docs/old/", "service": "unaware"},
            {"host": "shop.test", "path": "/h2", "service": "h2"},
            {"host": "shop.test", "path": "/test.Echo", "service": "grpc"},
        ]
        record = {
            "schema": 2,
            "app": "shop",
            "hosts": ["shop.test", "www.shop.test"],
            "services": {
                "api": service(self.backend, proto="https"),
                "docs": service(self.backend, proto="https"),
                "unaware": service(self.backend),
                "h2": service(self.http2, "h2", path="/h2", proto="https"),
                "grpc": service(self.http2, "grpc"),
            },
            "routes": {"blue": routes, "green": routes},
        }
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "platform_address": "127.0.0.1",
            "__edge_config": str(self.folder / "etc"),
            "__edge_certificates_folder": str(self.folder / "etc" / "certs"),
            "__edge_state": str(self.folder / "state"),
            "__edge_programs": str(self.folder / "programs"),
            "__edge_restart_follows": True,
            "edge_public_addresses": ["127.0.0.1"],
            **{f"edge_{name}_port": port for name, port in self.ports.items()},
            "edge_app": record,
            **options,
        }
        internal = {name: value for name, value in variables.items() if name.startswith("__")}
        self.play(self.folder, PLAY, {"edges": {"hosts": {"here": variables}}}, internal)

    def start(self) -> None:
        config = self.folder / "etc" / "haproxy.cfg"
        system = ("chroot ", "user ", "group ", "stats socket ", "log /dev")
        lines = config.read_text().splitlines()
        config.write_text("\n".join(line for line in lines if not line.strip().startswith(system)) + "\n")
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [HAPROXY, "-W", "-f", str(config), "-f", str(self.folder / "etc" / "conf.d")], stdout=log, stderr=log
            )
        assert until(lambda: self.status("/live/shop").status == 200), (self.folder / "log").read_text()

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)

    def say(self, name: str, value: str) -> None:
        """Change what a file of the app holds, and have HAProxy read it."""
        self.stop()
        (self.folder / "state" / "shop" / name).write_text(f"shop {value}\n")
        self.start()

    def status(self, path: str) -> Answer:
        return ask(self.ports["status"], path)

    def public(
        self,
        before: bytes = b"",
        source: str = "127.0.0.1",
        headers: str = "",
        host: str = "shop.test",
        path: str = "/",
    ) -> Answer:
        context = ssl._create_unverified_context()
        return ask(self.ports["https"], path, context=context, before=before, source=source, headers=headers, host=host)

    def check(self, service: str) -> str:
        """The result of the last health check of the only server of a service."""
        pattern = rf'haproxy_server_check_status{{proxy="shop_blue_{service}",server="a",state="([A-Z0-9]+)"}} 1'
        found = re.search(pattern, self.status("/metrics").body)
        return found[1] if found else ""

    def curl(self, path: str, *options: str) -> str:
        """What curl prints for a request over HTTP/2, with the headers before the body."""
        address = f"shop.test:{self.ports['https']}"
        command = ["curl", "-sk", "--http2", "-i", "--max-time", "10", "--resolve", f"{address}:127.0.0.1", *options]
        done = subprocess.run([*command, f"https://{address}{path}"], capture_output=True, text=True, check=False)
        return done.stdout.replace("\r", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def ask(
    port: int,
    path: str,
    context: ssl.SSLContext | None = None,
    before: bytes = b"",
    source: str = "127.0.0.1",
    headers: str = "",
    host: str = "shop.test",
) -> Answer:
    """Send one request, with bytes before it as a proxy would send them."""
    with socket.create_connection(("127.0.0.1", port), 5, source_address=(source, 0)) as plain:
        plain.sendall(before)
        stream = context.wrap_socket(plain, server_hostname="shop.test") if context else plain
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n".encode())
        data = b""
        while part := stream.recv(65536):
            data += part
    head, _end, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    if not lines[0]:
        raise ConnectionResetError("closed without an answer")
    pairs = (line.partition(": ") for line in lines[1:])
    return Answer(int(lines[0].split()[1]), {name.lower(): value for name, _colon, value in pairs}, body.decode())


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    """A replica that answers with the headers it was sent, and is ready for requests that came over TLS alone."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = [name.lower() for name in self.headers]
            headers = {name: ", ".join(self.headers.get_all(name, [])) for name in names}
            body = json.dumps({**headers, "path": self.requestline.split()[1]}).encode()
            plain = headers.get("x-forwarded-proto") != "https"
            self.send_response(301 if self.path == "/ready" and plain else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A check hangs up once it has the status."""

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def http2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A replica that speaks HTTP/2 without TLS alone: its log, and its port in a file beside it."""
    folder = tmp_path_factory.mktemp("http2")
    port = free_port()
    (folder / "port").write_text(str(port))
    if not NGHTTPD:
        yield folder / "log"
        return
    files = folder / "files"
    for name, content in {
        "h2": b"over http2\n",
        "test.Echo/Say": b"\0\0\0\0\2hi",
        # The standard health service says SERVING.
        "grpc.health.v1.Health/Check": b"\0\0\0\0\2\x08\x01",
    }.items():
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(content)
    command = [NGHTTPD, "--no-tls", "--verbose", "--address=127.0.0.1", "--trailer=grpc-status: 0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--htdocs={files}", str(port)], stdout=log, stderr=log)
    yield folder / "log"
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def edge(backend: int, http2: Path, play: Play, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge with a certificate from files, behind proxies that speak the PROXY protocol."""
    folder = tmp_path_factory.mktemp("edge")
    subprocess.run(
        ["openssl", "req", "-x509", *SUBJECT, "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=from-files.test"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    found = Edge(folder, backend, play, int((http2.parent / "port").read_text()))
    found.render(
        {
            "edge_removed_request_headers": ["X-Tenant"],
            "edge_certificates": [
                {
                    "name": "given",
                    "names": ["shop.test"],
                    "mode": "files",
                    "certificate": (folder / "cert.pem").read_text(),
                    "private_key": (folder / "key.pem").read_text(),
                }
            ],
            "edge_trusted_proxies": ["127.0.0.5/32"],
            "edge_client_address_from": "proxy_protocol",
            "edge_sites": [
                {
                    "name": "watch",
                    "hosts": ["watch.test"],
                    "servers": [{"address": "127.0.0.1", "port": backend}],
                    "users": [{"name": "ann", "hash": hash_of("canary-4711")}],
                },
                {
                    "name": "open",
                    "hosts": ["open.test"],
                    "servers": [{"address": "127.0.0.1", "port": backend}],
                    "own_login": True,
                },
            ],
        }
    )
    (folder / "state" / "shop" / "live.map").write_text("shop blue:0:1.0:\n")
    found.start()
    yield found
    found.stop()


def hash_of(word: str) -> str:
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=word, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def login(word: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'ann:{word}'.encode()).decode()}\r\n"


def test_site_asks_for_its_login_and_keeps_it_from_the_program(edge: Edge) -> None:
    assert edge.public(host="watch.test").status == 401
    assert edge.public(host="watch.test", headers=login("something else")).status == 401
    assert until(lambda: edge.public(host="watch.test", headers=login("canary-4711")).status == 200)
    assert "authorization" not in json.loads(edge.public(host="watch.test", headers=login("canary-4711")).body)


def test_site_with_a_login_of_its_own_gets_what_was_sent(edge: Edge) -> None:
    assert until(lambda: edge.public(host="open.test").status == 200)
    assert "authorization" in json.loads(edge.public(host="open.test", headers=login("canary-4711")).body)


def test_site_answers_over_tls_alone(edge: Edge) -> None:
    answer = ask(edge.ports["http"], "/", host="watch.test", headers=login("canary-4711"))
    assert answer.status == 308
    assert answer.headers["location"].startswith("https://watch.test:")


def test_certificate_from_files_is_served(edge: Edge) -> None:
    file = edge.folder / "etc" / "certs" / "given.pem"
    assert file.stat().st_mode & 0o777 == 0o600
    context = ssl.create_default_context(cafile=str(edge.folder / "cert.pem"))
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", edge.ports["https"]), 5) as plain, context.wrap_socket(plain) as link:
        shown = link.getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert((edge.folder / "cert.pem").read_text())


def test_proxy_protocol_tells_the_client_where_it_is_trusted(edge: Edge) -> None:
    told = b"PROXY TCP4 192.0.2.66 192.0.2.1 40000 443\r\n"
    answer = edge.public(before=told, source="127.0.0.5")
    assert answer.status == 200
    assert json.loads(answer.body)["x-forwarded-for"] == "192.0.2.66"
    # The header that others send is not believed beside it.
    answer = edge.public(before=told, source="127.0.0.5", headers="X-Forwarded-For: 192.0.2.77\r\n")
    assert json.loads(answer.body)["x-forwarded-for"] == "192.0.2.66"


def test_proxy_protocol_is_asked_of_trusted_proxies_and_refused_from_others(edge: Edge) -> None:
    assert json.loads(edge.public().body)["x-forwarded-for"] == "127.0.0.1"
    with pytest.raises(CUT):
        edge.public(source="127.0.0.5")
    with pytest.raises(CUT):
        edge.public(before=b"PROXY TCP4 192.0.2.66 192.0.2.1 40000 443\r\n")


STATUS = Status(True, 7, Pair(7, "a"), {"green": 7}, ("edge2",))


def test_status_address_shows_entry_status_and_record(edge: Edge) -> None:
    edge.say("status.map", STATUS.text())
    assert edge.status("/live/shop").body == "blue:0:1.0:\n"
    address = f"http://127.0.0.1:{edge.ports['status']}/live"
    shown = _edges.ask([{"name": name, "url": f"{address}/{name}"} for name in ("nothing", "shop")])
    record = json.loads((edge.folder / "state" / "shop" / "edge.json").read_text())
    expected = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    assert shown == {"nothing": None, "shop": Shown("blue:0:1.0:", STATUS, expected)}


def test_unconfirmed_entry_is_not_served_and_reported(edge: Edge) -> None:
    assert edge.status("/healthz")[:1] == (200,)
    edge.say("status.map", STATUS._replace(confirmed=False).text())
    try:
        assert edge.public().status == 503
        answer = edge.status("/healthz")
        assert (answer.status, answer.body) == (503, "the entry of shop is unconfirmed\n")
        # It still shows what it would serve: nothing may stop that colour.
        assert edge.status("/live/shop").body == "blue:0:1.0:\n"
    finally:
        edge.say("status.map", STATUS.text())
    assert edge.public().status == 200


# -- what reaches the app -------------------------------------------------------

FORGED = [
    *("Forwarded: for=192.0.2.66", "X-Forwarded: 192.0.2.66", "X-Forwarded-For: 192.0.2.66"),
    *("X-Forwarded-For: 192.0.2.67", "X_Forwarded_For: 192.0.2.66", "X.Forwarded.For: 192.0.2.66"),
    *("x-FORWARDED-proto: http", "X-Forwarded-Host: evil.test", "X-Forwarded-Port: 9", "X-Forwarded-Prefix: /evil"),
    *("X-Forwarded-Server: evil.test", "X-Forwarded-Ssl: off", "X-Forwarded-User: root", "X-Real-IP: 192.0.2.66"),
    *("X_Real_IP: 192.0.2.66", "X-Client-IP: 192.0.2.66", "True-Client-IP: 192.0.2.66", "Client-IP: 192.0.2.66"),
    *("CF-Connecting-IP: 192.0.2.66", "X-Cluster-Client-IP: 192.0.2.66", "X-ProxyUser-Ip: 192.0.2.66"),
    *("X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-Original-Host: evil.test", "X-Host: evil.test"),
    *("Front-End-Https: off", "X-Url-Scheme: http", "X-Scheme: http", "X-SSL-Client-Verify: SUCCESS"),
    *("Remote-User: root", "REMOTE_USER: root", "Proxy: http://evil.test", "HTTP2-Settings: AAMAAABk"),
    *("X-Tenant: other", "X_Tenant: other", "Proxy-Connection: keep-alive"),
]
KEPT = ["X-Request-Id: 7", "X-Forward: 1", "Proxy-Authorization: Basic eA==", "api_key: secret", "X-Real-IPs: 1"]


def sent(names: list[str]) -> str:
    return "".join(f"{line}\r\n" for line in names)


def test_app_gets_only_what_the_edge_says_of_the_client(edge: Edge) -> None:
    seen = json.loads(edge.public(headers=sent(FORGED + KEPT)).body)
    assert {name: seen[name] for name in seen if name not in ("host", "path")} == {
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "shop.test",
        "x-forwarded-port": str(edge.ports["https"]),
        **{name.lower(): value for name, _colon, value in (line.partition(": ") for line in KEPT)},
    }


def test_preview_and_sites_are_as_strict(edge: Edge) -> None:
    expected = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "x-real-ip": "127.0.0.1"}
    for answer in (
        ask(edge.ports["preview"], "/", headers=sent(FORGED)),
        edge.public(host="open.test", headers=sent(FORGED)),
    ):
        seen = json.loads(answer.body)
        assert set(seen) == {*expected, "x-forwarded-host", "x-forwarded-port", "host", "path"}
        assert expected.items() <= seen.items()
    assert seen["x-forwarded-host"] == "open.test"


@pytest.mark.parametrize("connection", ["X-Forwarded-For", "keep-alive, X-Forwarded-For, X-Real-IP", "Upgrade"])
def test_connection_header_of_a_client_ends_at_the_edge(edge: Edge, connection: str) -> None:
    """A next hop would drop what it names; and an upgrade to HTTP/2 would lead past every rule of the edge."""
    seen = json.loads(edge.public(headers=f"Connection: {connection}\r\nUpgrade: h2c\r\n").body)
    assert not {"connection", "upgrade", "http2-settings"} & set(seen)
    assert seen["x-forwarded-for"] == "127.0.0.1"


def test_websocket_is_upgraded_and_names_no_other_header(edge: Edge) -> None:
    seen = json.loads(
        edge.public(
            headers="Connection: Upgrade, X-Forwarded-For\r\nUpgrade: h2c, WebSocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        ).body
    )
    assert (seen["connection"].lower(), seen["upgrade"]) == ("upgrade", "websocket")
    assert seen["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize(
    "body", ["0\r\nX-Real-IP: 192.0.2.66\r\n\r\n", "2\r\nhi\r\n0\r\nX-Real-IP: 192.0.2.66\r\n\r\n"]
)
def test_trailers_of_a_chunked_request_do_not_reach_the_app(edge: Edge, body: str) -> None:
    answer = edge.public(headers=f"Transfer-Encoding: chunked\r\nTrailer: X-Real-IP\r\n\r\n{body}")
    assert answer.status == 411


def test_large_cookies_reach_the_app(edge: Edge) -> None:
    cookie = f"session={'x' * 20000}"
    assert json.loads(edge.public(headers=f"Cookie: {cookie}\r\n").body)["cookie"] == cookie
    # All that the default promises, in one header and in many.
    line = len("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
    assert edge.public(headers=f"Cookie: {'x' * (32768 - line - 10)}\r\n").status == 200
    many = "".join(f"X-{number:02}: {'x' * 340}\r\n" for number in range(93))
    assert edge.public(headers=many).status == 200
    assert edge.public(headers=f"Cookie: {'x' * 60000}\r\n").status == 400


def test_many_cookies_reach_the_app_over_http2(edge: Edge) -> None:
    crumbs = [f"n{number}={'x' * 100}" for number in range(180)]
    answer = edge.curl("/", *[word for crumb in crumbs for word in ("-H", f"Cookie: {crumb}")])
    assert answer.startswith("HTTP/2 200"), answer[:500]
    assert json.loads(answer.partition("\n\n")[2])["cookie"] == "; ".join(crumbs)


# -- checks ----------------------------------------------------------------------


def test_check_is_the_request_a_user_makes(edge: Edge) -> None:
    assert until(lambda: edge.check("api") == "L7OK"), edge.check("api")
    # The same replica, asked as no user does.
    assert until(lambda: edge.check("unaware") == "L7STS"), edge.check("unaware")


# -- HTTP/2 to the app -------------------------------------------------------------

needs_http2_server = pytest.mark.skipif(
    not (NGHTTP and NGHTTPD), reason="there is no nghttp or nghttpd on this machine; Debian has both in nghttp2"
)


@needs_http2_server
def test_app_over_http2_is_checked_and_served(edge: Edge, http2: Path) -> None:
    assert until(lambda: edge.check("h2") == "L7OK"), edge.check("h2")
    assert edge.public(path="/h2").body == "over http2\n"
    answer = edge.curl("/h2", "-H", "X-Forwarded-For: 192.0.2.66")
    assert answer.startswith("HTTP/2 200")
    log = http2.read_text()
    assert "x-forwarded-for: 127.0.0.1" in log
    assert "192.0.2.66" not in log


@needs_http2_server
def test_grpc_call_of_unknown_length_passes_with_its_trailers(edge: Edge, http2: Path) -> None:
    assert until(lambda: edge.check("grpc") == "L7OK"), edge.check("grpc")
    (http2.parent / "message").write_bytes(b"\0\0\0\0\0")

    def call(path: str) -> str:
        headers = ["POST", "application/grpc", "trailers", "shop.test"]
        names = [":method", "content-type", "te", ":authority"]
        words = [f"-H{name}: {value}" for name, value in zip(names, headers, strict=True)]
        command = [str(NGHTTP), "-v", f"-d{http2.parent / 'message'}", "--no-content-length", *words]
        url = f"https://127.0.0.1:{edge.ports['https']}{path}"
        done = subprocess.run([*command, url], capture_output=True, check=True, timeout=10)
        return done.stdout.decode(errors="replace")

    answer = call("/test.Echo/Say")
    assert ":status: 200" in answer
    assert "\0\0\0\0\2hi" in answer
    assert "grpc-status: 0" in answer
    assert "te: trailers" in http2.read_text()
    # Another service needs to know the length.
    assert ":status: 411" in call("/")


# -- routes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/docs", "docs"),
        ("/docs/", "docs"),
        ("/docs?x=/docs/old", "docs"),
        ("/docs/oldest", "docs"),
        ("/docs/old", "unaware"),
        ("/docs/old/x", "unaware"),
        ("/docsx", "api"),
        ("/DOCS", "api"),
        ("/", "api"),
        ("/x/docs/", "api"),
        # What is encoded is not a separator: the app decodes it, and the edge does not guess.
        ("/docs%2Fold", "api"),
        ("/docs/old%2Fx", "docs"),
        ("/%64ocs", "api"),
        ("/docs;x=1", "api"),
        ("//docs", "api"),
        ("/docs/../x", "docs"),
        ("/docs//old", "docs"),
    ],
)
def test_path_leads_to_its_service(edge: Edge, path: str, service: str) -> None:
    frontend = f'haproxy_backend_http_requests_total{{proxy="shop_blue_{service}"}} '

    def count() -> int:
        return int(edge.status("/metrics").body.partition(frontend)[2].split()[0])

    before = count()
    answer = edge.public(path=path)
    assert count() == before + 1
    if answer.status == 200:
        assert json.loads(answer.body)["path"] == path


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("shop.test", True),
        ("SHOP.Test", True),
        ("shop.test.", True),
        ("shop.test:443", True),
        ("shop.test:8443", True),
        ("shop.test.:443", True),
        ("www.shop.test", True),
        ("xshop.test", False),
        ("shop.test.evil.test", False),
        ("evil.test:shop.test", False),
        ("shop.test/docs", False),
        ("[::1]", False),
        ("[2001:db8::1]:443", False),
        ("127.0.0.1", False),
        ("", False),
    ],
)
def test_host_leads_to_its_app(edge: Edge, host: str, served: bool) -> None:
    assert edge.public(host=host).status in ((200,) if served else (400, 404))
