# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the role edge in a real HAProxy on loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
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

    def __init__(self, folder: Path, backend: int, play: Play) -> None:
        self.folder = folder
        self.play = play
        self.backend = backend
        self.ports = {name: free_port() for name in ("http", "https", "preview", "status")}
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("etc/certs", "state/edge", "state/shop", "programs"):
            (folder / name).mkdir(parents=True)
        # Nothing runs yet that a certificate would be loaded into.
        (folder / "programs" / "edge-certificate").symlink_to("/bin/true")

    def render(self, options: dict[str, Any]) -> None:
        """Run the role's own tasks on this machine."""
        colours = {"blue": [{"name": "a", "address": "127.0.0.1", "port": self.backend}], "green": []}
        health = {"path": "/", "status": 200, "host": "shop.test", "interval_seconds": 1}
        routes = {colour: [{"host": "*", "path": "/", "service": "api"}] for colour in colours}
        record = {
            "schema": 1,
            "app": "shop",
            "hosts": ["shop.test"],
            "services": {"api": {"health": health, "servers": colours}},
            "routes": routes,
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
        self, before: bytes = b"", source: str = "127.0.0.1", headers: str = "", host: str = "shop.test"
    ) -> Answer:
        context = ssl._create_unverified_context()
        return ask(self.ports["https"], "/", context=context, before=before, source=source, headers=headers, host=host)


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
    """A replica that answers with the headers it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def edge(backend: int, play: Play, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge with a certificate from files, behind proxies that speak the PROXY protocol."""
    folder = tmp_path_factory.mktemp("edge")
    subprocess.run(
        ["openssl", "req", "-x509", *SUBJECT, "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=from-files.test"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    found = Edge(folder, backend, play)
    found.render(
        {
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


def test_unconfirmed_entry_is_not_served_and_said(edge: Edge) -> None:
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
