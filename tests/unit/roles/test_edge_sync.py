# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edge-sync makes of the answers of HAProxy."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
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
