# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge-sync makes of the answers of HAProxy."""

from __future__ import annotations

import http.server
import importlib.machinery
import importlib.util
import json
import sys
import threading
import types
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "roles" / "edge" / "files"
HEAD = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ...\n"
ROW = "10 {backend} 1 {name} 192.0.2.21 2 {admin} 1 1 896 15 3 3 6 0 0 0 - {port} - 0 0 - - 0\n"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(str(FILES))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("edge_sync", str(FILES / "edge-sync"))
    spec = importlib.util.spec_from_loader("edge_sync", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def row(name: str = "a", port: str = "20000", admin: str = "0", backend: str = "shop_blue_api") -> str:
    return ROW.format(backend=backend, name=name, port=port, admin=admin)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(row(), row(), id="unchanged"),
        pytest.param(row(port="20009"), "", id="moved"),
        pytest.param(row(port="20009", admin="1"), row(admin="1"), id="moved, in maintenance"),
        pytest.param(row(name="gone"), "", id="no longer configured"),
        pytest.param("", "", id="no servers"),
    ],
)
def test_state_of_servers_takes_its_ports_from_the_configuration(
    program: types.ModuleType, state: str, expected: str
) -> None:
    assert program.settled(HEAD + state, {("shop_blue_api", "a"): "20000"}) == HEAD + expected


def test_ports_are_read_from_every_section(
    program: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "haproxy.cfg").write_text("backend old\n    server a 192.0.2.1:1\n")
    (tmp_path / "conf.d" / "50.cfg").write_text(
        "backend b\n    server a [2001:db8::1]:2 check\nlisten c\n  server a h:3\n"
    )
    monkeypatch.setattr(program, "CONFIG", tmp_path / "haproxy.cfg")
    monkeypatch.setattr(program, "FRAGMENTS", tmp_path / "conf.d")
    assert program.configured() == {("old", "a"): "1", ("b", "a"): "2", ("c", "a"): "3"}


def test_newest_worker_comes_first(program: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = (
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "28              master          3 [failed: 1]   0d00h00m10s     3.0.11\n"
        "# workers\n"
        "# old workers\n"
        "30              worker          3               0d00h00m09s     3.0.11\n"
        "40              worker          1               0d00h00m02s     3.0.11\n"
        "# programs\n\n"
    )
    runtime = sys.modules["edge_runtime"]
    monkeypatch.setattr(runtime, "ask", lambda _command: answer)
    found = runtime.processes()
    assert (found.current, found.old, found.failed) == ((), (40, 30), 1)


OLD = ("blue:0:1.0:", "3:2026-11-21T10:00:00.000Z")
NEW = ("green:0:1.1:1.0", "4:2026-11-21T09:00:00.000Z")
LATER = ("blue:10:1.0:1.1", "3:2026-11-21T10:00:05.000Z")
SAME, OTHER = "this record", "another record"
HELD = "unconfirmed:"


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        pytest.param((*OLD, SAME), [], OLD, id="nobody answers: what was confirmed goes on"),
        pytest.param((OLD[0], HELD + OLD[1], SAME), [], (OLD[0], HELD + OLD[1]), id="nobody answers: open stays open"),
        pytest.param((*OLD, SAME), [(*OLD, SAME)], OLD, id="the same word"),
        pytest.param((OLD[0], HELD + OLD[1], SAME), [(*OLD, SAME)], OLD, id="the same word confirms"),
        pytest.param((*OLD, SAME), [(*NEW, SAME)], NEW, id="a higher token is newer, whatever the clock says"),
        pytest.param((*OLD, SAME), [(*LATER, SAME)], LATER, id="a later move of the same run is newer"),
        pytest.param((*OLD, SAME), [(*LATER, SAME), (*NEW, SAME)], NEW, id="the newest of several counts"),
        pytest.param((*NEW, SAME), [(*OLD, SAME)], NEW, id="killed in the middle of a switch: ours is the newer"),
        pytest.param((*OLD, SAME), [(*NEW, OTHER)], (NEW[0], HELD + NEW[1]), id="newer, of backends not known here"),
        pytest.param(
            (NEW[0], HELD + NEW[1], SAME), [(*NEW, OTHER)], (NEW[0], HELD + NEW[1]), id="still of backends not known"
        ),
        pytest.param(("a", "3:", SAME), [("b", "3:", SAME)], ("a", HELD + "3:"), id="two words of one age"),
        pytest.param((*OLD, SAME), [(NEW[0], HELD + NEW[1], SAME)], OLD, id="one that is not sure itself says nothing"),
    ],
)
def test_newest_word_of_the_edges_counts(program: types.ModuleType, own, others, expected) -> None:
    after = program.judged(program.Word(*own), [program.Word(*other) for other in others])
    assert after[:2] == expected
    assert after.record == own[2]


class Peer:
    """The status listener of another edge."""

    def __init__(self) -> None:
        self.words: dict[str, tuple[str, str, str]] = {}
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                word = peer.words.get(self.path.removeprefix("/live/"))
                body = f"{word[0]}\n".encode() if word else b"not found\n"
                self.send_response(200 if word else 404)
                if word:
                    self.send_header("Evenkeel-Moved", word[1])
                    self.send_header("Evenkeel-Record", word[2])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peer():
    """Another edge that answers."""
    found = Peer()
    yield found
    found.stop()


@pytest.fixture
def edge(program: types.ModuleType, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an edge that was away with blue live, and an app nobody else knows."""
    monkeypatch.setattr(program, "STATE", tmp_path)
    monkeypatch.setattr(program, "PEERS", tmp_path / "edge" / "peers.json")
    monkeypatch.setattr(program, "LOCK", tmp_path / "lock" / "edge.lock")
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "peers.json").write_text(json.dumps({"schema": 1, "peers": [peer.address]}))
    for app in ("shop", "alone"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "edge.json").write_text(json.dumps({"app": app}))
        (tmp_path / app / "live.map").write_text(f"{app} {OLD[0]}\n")
        (tmp_path / app / "moved.map").write_text(f"{app} {OLD[1]}\n")
        (tmp_path / app / "state.json").write_text(
            json.dumps({"schema": 1, "app": app, "token": 3, "entry": OLD[0], "warm": {"colour": "green"}})
        )
    return tmp_path


def test_start_takes_the_move_it_missed(program: types.ModuleType, peer: Peer, edge: Path) -> None:
    peer.words["shop"] = (*NEW, program.record_of("shop"))
    assert program.settle(None)
    assert (edge / "shop" / "live.map").read_text() == f"shop {NEW[0]}\n"
    assert (edge / "shop" / "moved.map").read_text() == f"shop {NEW[1]}\n"
    state = json.loads((edge / "shop" / "state.json").read_text())
    assert (state["entry"], state["token"], state["previous"]) == (NEW[0], 4, OLD[0])
    # What is warm was for the entry of before.
    assert state["warm"] == {}
    assert (edge / "alone" / "live.map").read_text() == f"alone {OLD[0]}\n"


def test_start_takes_the_age_of_an_entry_it_has_already(program: types.ModuleType, peer: Peer, edge: Path) -> None:
    peer.words["shop"] = (OLD[0], NEW[1], program.record_of("shop"))
    assert program.settle(None)
    assert (edge / "shop" / "moved.map").read_text() == f"shop {NEW[1]}\n"
    state = json.loads((edge / "shop" / "state.json").read_text())
    # As blue_green compares them; the side that is warm stays so.
    assert f"{state['token']}:{state['moved_at']}" == NEW[1]
    assert state["warm"] == {"colour": "green"}


def test_start_serves_nothing_of_backends_it_was_not_told_of(program: types.ModuleType, peer: Peer, edge: Path) -> None:
    peer.words["shop"] = (*NEW, OTHER)
    assert not program.settle(None)
    assert (edge / "shop" / "moved.map").read_text() == f"shop {HELD}{NEW[1]}\n"
    # The record came: now the same word is enough.
    peer.words["shop"] = (*NEW, program.record_of("shop"))
    assert program.settle(None)
    assert (edge / "shop" / "moved.map").read_text() == f"shop {NEW[1]}\n"


def test_start_with_nobody_to_ask_goes_on_and_asks_later(program: types.ModuleType, peer: Peer, edge: Path) -> None:
    peer.stop()
    assert not program.settle(None)
    assert (edge / "shop" / "live.map").read_text() == f"shop {OLD[0]}\n"
    assert (edge / "shop" / "moved.map").read_text() == f"shop {OLD[1]}\n"


def test_controller_confirms_what_nobody_contradicts(program: types.ModuleType, peer: Peer, edge: Path) -> None:
    for app in ("shop", "alone"):
        (edge / app / "moved.map").write_text(f"{app} {HELD}{OLD[1]}\n")
    peer.words["shop"] = (*NEW, OTHER)
    assert not program.settle(None, trusted=True)
    assert (edge / "shop" / "moved.map").read_text() == f"shop {HELD}{NEW[1]}\n"
    assert (edge / "alone" / "moved.map").read_text() == f"alone {OLD[1]}\n"


def test_running_edge_takes_the_word_into_memory(
    program: types.ModuleType, peer: Peer, edge: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def ask(command: str) -> str:
        said.append(command)
        value = HELD + OLD[1] if "moved.map" in command else OLD[0]
        return f"0x1 shop {value}\n" if "show map" in command and "/shop/" in command else ""

    monkeypatch.setattr(program, "ask", ask)
    peer.words["shop"] = (*NEW, program.record_of("shop"))
    assert program.settle(7)
    assert [command for command in said if "set map" in command] == [
        f"@!7 set map {edge}/shop/live.map shop {NEW[0]}",
        f"@!7 set map {edge}/shop/moved.map shop {NEW[1]}",
    ]


def test_edge_without_others_asks_nobody(program: types.ModuleType, edge: Path) -> None:
    (edge / "edge" / "peers.json").write_text('{"schema": 1, "peers": []}')
    assert program.settle(None)
    assert (edge / "shop" / "live.map").read_text() == f"shop {OLD[0]}\n"
