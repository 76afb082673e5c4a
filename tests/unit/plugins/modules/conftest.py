# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole modules in this process, and a real HAProxy in master-worker mode on loopback."""

from __future__ import annotations

import contextlib
import csv
import http.server
import importlib
import io
import json
import shutil
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _edges
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Status, parse_status

PACKAGE = "ansible_collections.evenkeel.platform.plugins.modules"
Result = dict[str, t.Any]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> t.Callable[..., Result]:
    """Run a module as Ansible does and return its JSON; C(_check) and C(_diff) set the modes."""

    def call(name: str, _check: bool = False, _diff: bool = False, **params: t.Any) -> Result:
        main = importlib.import_module(f"{PACKAGE}.{name}").main
        if name not in ("health_gate", "host_files", "host_programs"):
            params = {"app": "shop", "state_dir": str(tmp_path), "lock_dir": str(tmp_path / "lock"), **params}
        arguments = {**params, "_ansible_check_mode": _check, "_ansible_diff": _diff}
        capsys.readouterr()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return call


class App:
    """A web service that tells its release; it can be made to answer badly, slowly or not at all."""

    def __init__(self, release: str) -> None:
        self.release = release
        self.status = 200
        self.delay = 0.0
        self.headers: dict[str, str] = {}
        self.server: http.server.ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        app = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                app.headers = dict(self.headers.items())
                if self.path == "/slow":
                    time.sleep(app.delay)
                body = json.dumps({"release": app.release}).encode()
                with contextlib.suppress(OSError):
                    self.send_response(app.status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def do_POST(self) -> None:
                body = b""
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                body = json.dumps({"release": app.release, "body": body.decode()}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: t.Any) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *arguments: t.Any) -> None:
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


CONFIG = """
global
  maxconn 500
  hard-stop-after 20s
  {state}
defaults
  mode http
  {load}
  timeout connect 1s
  timeout client 20s
  timeout server 20s
  timeout check 1s
  retry-on conn-failure
frontend public
  bind 127.0.0.1:{port}
  http-request set-var(txn.app) str(shop)
  http-request set-var(txn.maintenance) str(shop),map_str({folder}/maintenance.map,off)
  http-request return status 503 content-type text/plain string maintenance if {{ var(txn.maintenance) -m str on }}
  http-request set-var(txn.entry) str(shop),map_str({folder}/live.map)
  http-request set-var(txn.live) var(txn.entry),field(1,:)
  http-request set-var(txn.colour) var(txn.live)
  http-request set-var(txn.weight) var(txn.entry),field(2,:)
  http-request set-var(txn.left) rand(100),sub(txn.weight)
  acl blue var(txn.live) -m str blue
  acl drawn var(txn.left) -m int lt 0
  http-request set-var(txn.colour) str(green) if drawn blue
  http-request set-var(txn.colour) str(blue) if drawn !blue
  http-request wait-for-body time 10s at-least 1 unless {{ req.hdr(Content-Length) -m found }} or {{ method GET }}
  use_backend %[var(txn.app)]_%[var(txn.colour)]_api
frontend status
  bind 127.0.0.1:{status}
  http-request set-var(txn.entry) str(shop),map_str({folder}/live.map)
  http-request set-var(txn.status) str(shop),map_str({folder}/status.map)
  http-after-response set-header Evenkeel-Status %[var(txn.status)]
  http-request return status 200 content-type text/plain lf-string "%[var(txn.entry)]"
backend shop_blue_api
  option httpchk GET /readyz
  http-check expect status 200
  server app1_1 127.0.0.1:{blue} check inter 300ms
backend shop_green_api
  option httpchk GET /readyz
  http-check expect status 200
  server app1_1 127.0.0.1:{green} check inter 300ms
  server app2_1 127.0.0.1:{green} check inter 300ms
"""


class Haproxy:
    """HAProxy as an edge runs it, but for its port and paths."""

    def __init__(self, folder: Path, blue: App, green: App) -> None:
        self.root, self.folder = folder, folder / "shop"
        self.blue, self.green = blue, green
        self.master = str(folder / "master.sock")
        self.port, self.status_port = free_port(), free_port()
        self.folder.mkdir(mode=0o700)
        self.map = self.folder / "live.map"
        self.map.write_text("shop blue:0:1.0:\n")
        (self.folder / "maintenance.map").write_text("shop off\n")
        (self.folder / "status.map").write_text("shop confirmed,move=0,token=0,run=,withdrawn=,out=\n")
        self.options = {"master_socket": self.master, "timeout_seconds": 3}
        self.process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, state: str = "", load: str = "") -> None:
        (self.root / "haproxy.cfg").write_text(
            CONFIG.format(
                port=self.port,
                status=self.status_port,
                folder=self.folder,
                blue=self.blue.port,
                green=self.green.port,
                state=state,
                load=load,
            )
        )

    def start(self) -> None:
        with (self.root / "haproxy.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["haproxy", "-W", "-S", self.master, "-f", str(self.root / "haproxy.cfg")], stdout=log, stderr=log
            )
        self.until(lambda: self.healthy("blue") == 1 and self.healthy("green") == 2)

    def until(self, condition: t.Callable[[], bool], seconds: float = 8) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, KeyError, ValueError):
                if condition():
                    return
            if time.monotonic() > deadline:
                raise AssertionError("not in time: " + (self.root / "haproxy.log").read_text()[-1500:])
            time.sleep(0.02)

    def ask(self, text: str) -> str:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(3)
            stream.connect(self.master)
            stream.sendall(text.encode() + b"\n")
            stream.shutdown(socket.SHUT_WR)
            answer = b""
            while part := stream.recv(65536):
                answer += part
        return answer.decode()

    def healthy(self, colour: str) -> int:
        rows = csv.DictReader(io.StringIO(self.ask("@1 show stat").lstrip("# ")))
        return sum(
            1
            for row in rows
            if row["pxname"] == f"shop_{colour}_api" and row["status"] == "UP" and row["check_code"] == "200"
        )

    def workers(self) -> list[int]:
        return [int(line.split()[0]) for line in self.ask("show proc").splitlines() if " worker " in line]

    def reload(self) -> None:
        before = self.workers()[0]
        with contextlib.suppress(OSError):
            self.ask("reload")
        self.until(lambda: self.workers()[0] != before)

    def served(self) -> str:
        return self.ask(f"@1 show map {self.map}").split()[2]

    def move(self) -> int:
        """The number of the move that the proxy shows, or that of its file when it does not run."""
        with contextlib.suppress(OSError):
            return parse_status(self.ask(f"@1 show map {self.folder}/status.map").split()[2]).move
        return parse_status((self.folder / "status.map").read_text().split()[1]).move

    @property
    def url(self) -> str:
        """Where it shows the app, as a real edge does."""
        return f"http://127.0.0.1:{self.status_port}/live/shop"

    def shown(self) -> Status:
        answer = _edges.ask([{"name": "edge", "url": self.url}])["edge"]
        assert answer is not None
        return answer.status

    def get(self, path: str = "/") -> tuple[int, str]:
        with socket.create_connection(("127.0.0.1", self.port), 5) as stream:
            return request(stream, path)

    def stop(self) -> None:
        if self.process:
            with contextlib.suppress(OSError):
                workers = self.workers()
                for pid in workers:
                    subprocess.run(["kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)
            self.process.kill()
            self.process.wait()


def request(stream: socket.socket, path: str = "/") -> tuple[int, str]:
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".encode())
    return answer(stream)


def answer(stream: socket.socket) -> tuple[int, str]:
    """Return status and body of one answer on a connection that may go on."""
    stream.settimeout(10)
    data = b""
    while b"\r\n\r\n" not in data:
        part = stream.recv(65536)
        if not part:
            raise ConnectionError("closed before an answer")
        data += part
    head, _sep, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        part = stream.recv(65536)
        if not part:
            raise ConnectionError("closed within an answer")
        body += part
    return int(head.split()[1]), body.decode()


class Edge:
    """The status address of an edge, which shows what it is told to; C(asked) counts the questions."""

    def __init__(self, entry: str, status: Status) -> None:
        self.entry, self.status = entry, status
        self.headers: dict[str, str] | None = None
        self.asked = 0
        self.each: t.Callable[[], object] | None = None
        edge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                edge.asked += 1
                if edge.each:
                    edge.each()
                self.send_response(200)
                headers = {"Evenkeel-Status": edge.status.text()} if edge.headers is None else edge.headers
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(f"{edge.entry}\n".encode())

            def log_message(self, *arguments: t.Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/live/shop"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def about(self) -> dict[str, str]:
        return {"name": "edge1", "url": self.url}

    def shows(self, entry: str, status: Status) -> None:
        self.entry, self.status = entry, status


@pytest.fixture
def edge() -> t.Iterator[Edge]:
    """An edge that serves blue and has withdrawn green for the run with token 7."""
    found = Edge("blue:0:1.0:", Status(move=4, pair=Pair(7, "run-a"), withdrawn={"green": 4}))
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def haproxy(tmp_path: Path) -> t.Iterator[Haproxy]:
    if not shutil.which("haproxy"):
        pytest.skip("there is no haproxy program on this machine")
    blue, green = App("1.0"), App("1.1")
    proxy = Haproxy(tmp_path, blue, green)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()
        blue.stop()
        green.stop()
