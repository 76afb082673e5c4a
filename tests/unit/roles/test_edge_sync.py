# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge-sync makes of the answers of HAProxy and of other edges."""

from __future__ import annotations

import http.server
import importlib.machinery
import importlib.util
import json
import sys
import threading
import time
import types
from pathlib import Path
from typing import NamedTuple

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Status, parse_status

FILES = Path(__file__).parents[3] / "roles" / "edge" / "files"
HEAD = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ...\n"
ROW = "10 {backend} 1 {name} 192.0.2.21 2 {admin} 1 1 896 15 3 3 6 0 0 0 - {port} - 0 0 - - 0\n"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
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
    monkeypatch.setattr(program, "CONFIG", tmp_path)
    assert program.configured() == {("old", "a"): "1", ("b", "a"): "2", ("c", "a"): "3"}


OLD, NEW = "blue:0:1.0:", "green:0:1.1:1.0"
SHOWN = Status(True, 3, Pair(3, "a"), {}, ())


class Peer:
    """The status address of another edge."""

    def __init__(self) -> None:
        self.apps: dict[str, tuple[str, Status, str]] = {}
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shown = peer.apps.get(self.path.removeprefix("/live/"))
                body = f"{shown[0]}\n".encode() if shown else b"not found\n"
                self.send_response(200 if shown else 404)
                if shown:
                    self.send_header("Evenkeel-Status", shown[1].text())
                    self.send_header("Evenkeel-Record", shown[2])
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peer():
    """Another edge that answers."""
    found = Peer()
    yield found
    found.stop()


class Folder(NamedTuple):
    path: Path

    def text(self, name: str, app: str = "shop") -> str:
        return (self.path / app / name).read_text().strip()

    def status(self, app: str = "shop") -> Status:
        return parse_status(self.text("status.map", app).split()[1])

    def state(self, app: str = "shop") -> dict:
        return json.loads(self.text("state.json", app))

    def shows(self, status: Status, app: str = "shop") -> None:
        (self.path / app / "status.map").write_text(f"{app} {status.text()}\n")


@pytest.fixture
def edge(program: types.ModuleType, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The folder of an edge that was away with blue live at move 3, and an app that no other edge has."""
    monkeypatch.setattr(program, "STATE", tmp_path)
    monkeypatch.setattr(program, "PEERS", tmp_path / "edge" / "peers.json")
    monkeypatch.setattr(program, "LOCKS", tmp_path / "lock")
    monkeypatch.setattr(program, "MASTER", str(tmp_path / "master.sock"))
    (tmp_path / "edge").mkdir()
    peers = [{"name": "edge2", "address": peer.address}]
    (tmp_path / "edge" / "peers.json").write_text(json.dumps({"schema": 2, "name": "edge1", "peers": peers}))
    folder = Folder(tmp_path)
    for app in ("shop", "alone"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "edge.json").write_text(json.dumps({"app": app}))
        (tmp_path / app / "live.map").write_text(f"{app} {OLD}\n")
        folder.shows(SHOWN, app)
        warm = {"colour": "green", "release": "0.9", "until": 0, "move": 3}
        state = {"schema": 2, "app": app, "entry": OLD, "move": 3, "moved_by": {"token": 3, "run": "a"}, "warm": warm}
        (tmp_path / app / "state.json").write_text(json.dumps(state))
    return folder


def test_start_takes_over_the_move_it_missed(program: types.ModuleType, peer: Peer, edge: Folder) -> None:
    newer = SHOWN._replace(move=4, pair=Pair(4, "b"), withdrawn={"blue": 4}, out=("edge3",))
    peer.apps["shop"] = (NEW, newer, program.record_of("shop"))
    assert program.settle()
    assert edge.text("live.map") == f"shop {NEW}"
    assert edge.status() == newer
    state = edge.state()
    assert (state["entry"], state["move"], state["previous"], state["withdrawn"]) == (NEW, 4, OLD, {"blue": 4})
    # Only those that made the move know what it left warm.
    assert state["warm"] == {}
    assert json.loads(edge.text("pair.json"))["token"] == 4
    assert edge.text("live.map", "alone") == f"alone {OLD}"


@pytest.mark.parametrize(
    ("clock", "token"), [pytest.param("2099-01-01T00:00:00.000Z", 3, id="clock-ahead"), pytest.param("", 9, id="token")]
)
def test_only_the_move_orders_entries(
    program: types.ModuleType, peer: Peer, edge: Folder, clock: str, token: int
) -> None:
    """The clock of this edge is ahead and it has met a higher token, and yet it missed the newer move."""
    state = {**edge.state(), "moved_at": clock, "moved_by": {"token": token, "run": "a"}}
    (edge.path / "shop" / "state.json").write_text(json.dumps(state))
    edge.shows(SHOWN._replace(pair=Pair(token, "a")))
    peer.apps["shop"] = (NEW, SHOWN._replace(move=4), program.record_of("shop"))
    assert program.settle()
    assert edge.text("live.map") == f"shop {NEW}"
    assert edge.status().pair == Pair(token, "a")


def test_a_newer_move_of_a_record_not_known_here_is_unconfirmed(
    program: types.ModuleType, peer: Peer, edge: Folder
) -> None:
    newer = SHOWN._replace(move=4)
    peer.apps["shop"] = (NEW, newer, "another record")
    assert not program.settle()
    assert edge.status() == newer._replace(confirmed=False)
    # The record came: now the same answer is enough.
    peer.apps["shop"] = (NEW, newer, program.record_of("shop"))
    assert program.settle()
    assert edge.status() == newer


def test_two_entries_of_one_move_are_unconfirmed(program: types.ModuleType, peer: Peer, edge: Folder) -> None:
    peer.apps["shop"] = (NEW, SHOWN, program.record_of("shop"))
    assert not program.settle()
    assert edge.text("live.map") == f"shop {OLD}"
    assert not edge.status().confirmed


def test_an_edge_declared_out_stays_unconfirmed_until_the_controller_trusts_it(
    program: types.ModuleType, peer: Peer, edge: Folder
) -> None:
    newer = SHOWN._replace(move=4, out=("edge1",))
    peer.apps["shop"] = (NEW, newer, program.record_of("shop"))
    assert not program.settle()
    assert not edge.status().confirmed
    assert edge.status().out == (), "an edge does not show itself as out"
    assert not program.settle(), "asking again does not confirm it"
    program.settle(trusted=True)
    assert edge.status().confirmed
    assert edge.text("live.map") == f"shop {NEW}"


def test_start_with_no_edge_to_ask_serves_and_asks_later(program: types.ModuleType, peer: Peer, edge: Folder) -> None:
    peer.stop()
    assert not program.settle()
    assert edge.text("live.map") == f"shop {OLD}"
    assert edge.status().confirmed


def test_what_another_edge_shows_and_cannot_be_read_is_left_out(
    program: types.ModuleType, peer: Peer, edge: Folder
) -> None:
    peer.apps["shop"] = ("purple;rm -rf", SHOWN._replace(move=9), "x")
    program.settle()
    assert edge.text("live.map") == f"shop {OLD}"
    assert edge.status() == SHOWN


def test_controller_confirms_what_no_other_edge_contradicts(
    program: types.ModuleType, peer: Peer, edge: Folder
) -> None:
    for app in ("shop", "alone"):
        edge.shows(SHOWN._replace(confirmed=False), app)
    peer.apps["shop"] = (NEW, SHOWN._replace(move=4), "another record")
    assert not program.settle(trusted=True)
    assert not edge.status().confirmed
    assert edge.status("alone").confirmed


def test_an_edge_without_others_asks_none(program: types.ModuleType, edge: Folder) -> None:
    (edge.path / "edge" / "peers.json").write_text('{"schema": 2, "name": "edge1", "peers": []}')
    assert program.settle()
    assert edge.text("live.map") == f"shop {OLD}"


def test_a_damaged_state_keeps_the_higher_move(program: types.ModuleType, peer: Peer, edge: Folder) -> None:
    (edge.path / "shop" / "state.json").write_text('{"schema": 2, "mo')
    peer.apps["shop"] = (NEW, SHOWN._replace(move=2), program.record_of("shop"))
    program.settle()
    assert edge.text("live.map") == f"shop {OLD}"
    assert edge.status().move == 3


def test_records_of_one_app_that_make_no_sense_keep_no_other_from_starting(
    program: types.ModuleType, peer: Peer, edge: Folder
) -> None:
    (edge.path / "alone" / "state.json").write_text('{"schema": 2, "move": "x"}')
    peer.apps["shop"] = (NEW, SHOWN._replace(move=4), program.record_of("shop"))
    assert not program.settle()
    assert edge.text("live.map") == f"shop {NEW}"


@pytest.mark.parametrize(
    ("until", "entry", "withdrawn"),
    [
        pytest.param(-1, OLD, {"green": 3}, id="over"),
        pytest.param(60, OLD, {}, id="warm"),
        pytest.param(-1, "green:0:0.9:1.0", {}, id="serves"),
        pytest.param(-1, "blue:10:1.0:0.9", {}, id="serves-by-weight"),
    ],
)
def test_a_side_whose_warm_time_is_over_is_withdrawn(
    program: types.ModuleType, edge: Folder, until: int, entry: str, withdrawn: dict
) -> None:
    (edge.path / "shop" / "live.map").write_text(f"shop {entry}\n")
    state = edge.state()
    state["warm"]["until"] = int(time.time()) + until
    (edge.path / "shop" / "state.json").write_text(json.dumps(state))
    assert program.main(["withdraw"]) == 0
    assert edge.status().withdrawn == withdrawn
    assert bool(edge.state()["warm"]) == (until > 0)
    # A crash came before it was shown: the next run shows it.
    edge.shows(SHOWN)
    assert program.main(["withdraw"]) == 0
    assert edge.status().withdrawn == withdrawn


def test_an_unreadable_app_keeps_no_other_from_its_withdrawal(program: types.ModuleType, edge: Folder, capsys) -> None:
    (edge.path / "alone" / "live.map").write_text("alone purple\n")
    assert program.main(["withdraw"]) == 1
    assert "the live entry is not readable on alone" in capsys.readouterr().err
    assert edge.status().withdrawn == {"green": 3}
