# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers of an edge that a restart takes out, on a real HAProxy."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import sys
import threading
import time
import types
import typing as t
from pathlib import Path

import pytest

from .conftest import Haproxy

Run = t.Callable[..., dict[str, t.Any]]
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def server(run: Run, haproxy: Haproxy) -> Run:
    def call(state: str, name: str = "app1_1", **params: t.Any) -> dict[str, t.Any]:
        about = {"colour": "green", "service": "api", "server": name, "adapter_options": haproxy.options}
        return run("edge_servers", state=state, **{"token": 1, "run": "r", **about, **params})

    return call


def states(run: Run, haproxy: Haproxy) -> dict[str, str]:
    rows = run("blue_green_info", adapter_options=haproxy.options)["backends"]["green"]["api"]
    return {row["server"]: row["status"] for row in rows}


def record(haproxy: Haproxy) -> dict[str, int]:
    return t.cast(dict[str, int], json.loads((haproxy.folder / "draining.json").read_text())["servers"])


def test_server_is_taken_out_and_put_back(server: Run, run: Run, haproxy: Haproxy) -> None:
    planned = server("drained", _check=True)
    assert (planned["changed"], planned["others"]) == (True, 1)
    assert states(run, haproxy) == {"app1_1": "UP", "app2_1": "UP"}
    out = server("drained", move=0, limit_seconds=60)
    assert (out["changed"], out["drained"], out["sessions"], out["others"]) == (True, True, 0, 1)
    assert planned.keys() == out.keys()
    assert states(run, haproxy) == {"app1_1": "DRAIN", "app2_1": "UP"}
    [(name, until)] = record(haproxy).items()
    assert name == "green/api/app1_1"
    assert 50 < until - time.time() <= 60
    back = server("ready", timeout_seconds=5)
    assert (back["changed"], back["actions"]) == (True, ["set app1_1 of api ready"])
    assert states(run, haproxy) == {"app1_1": "UP", "app2_1": "UP"}
    assert record(haproxy) == {}
    assert not server("ready")["changed"]


def test_last_server_of_a_service_stays_unless_errors_are_accepted(server: Run, run: Run, haproxy: Haproxy) -> None:
    server("drained", "app2_1")
    refused = server("drained")
    assert refused["failed"]
    assert "found none that is healthy, need one, or users get errors" in refused["msg"]
    assert states(run, haproxy)["app1_1"] == "UP"
    assert server("drained", alone=True)["changed"]


def test_run_that_was_overtaken_and_a_move_that_came_between_are_refused(
    server: Run, run: Run, haproxy: Haproxy
) -> None:
    run("blue_green", state="raised", token=5, run="newer", adapter_options=haproxy.options)
    assert "the run was overtaken" in server("drained")["msg"]
    assert "found move 0, need move 3" in server("drained", token=6, move=3)["msg"]
    assert "no such server" in server("drained", "app9_1", token=6)["msg"]
    assert states(run, haproxy) == {"app1_1": "UP", "app2_1": "UP"}


def test_requests_of_a_server_are_waited_for(server: Run, run: Run, haproxy: Haproxy) -> None:
    run("blue_green", state="moved", colour="green", release="1.1", move=0, token=1, run="r", **_options(haproxy))
    haproxy.green.delay = 0.6
    threads = [threading.Thread(target=haproxy.get, args=("/slow",)) for _number in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    early = server("drained", move=1, timeout_seconds=0)
    assert (early["drained"], early["sessions"]) == (False, 1)
    out = server("drained", move=1, timeout_seconds=5)
    assert (out["drained"], out["sessions"]) == (True, 0)
    for thread in threads:
        thread.join()
    haproxy.green.delay = 0
    for _number in range(4):
        assert haproxy.get() == (200, '{"release": "1.1"}')


def _options(haproxy: Haproxy) -> dict[str, t.Any]:
    return {"adapter_options": haproxy.options}


def test_server_that_does_not_get_well_is_named(server: Run, haproxy: Haproxy) -> None:
    server("drained")
    haproxy.green.status = 503
    haproxy.until(lambda: haproxy.healthy("green") == 0)
    failed = server("ready", timeout_seconds=0.2)
    assert failed["failed"]
    assert "the server is not healthy on app1_1 of api of app shop: found " in failed["msg"]
    assert "need UP. Read the log of its container." in failed["msg"]


@pytest.fixture
def edge_sync(monkeypatch: pytest.MonkeyPatch, haproxy: Haproxy) -> types.ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("edge_sync", str(ROOT / "roles" / "edge" / "files" / "edge-sync"))
    spec = importlib.util.spec_from_loader("edge_sync", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    monkeypatch.setattr(module, "STATE", haproxy.root)
    monkeypatch.setattr(module, "LOCKS", haproxy.root / "lock")
    monkeypatch.setattr(module, "MASTER", haproxy.master)
    return module


def test_timer_puts_back_what_a_dead_run_left_out(
    server: Run, run: Run, haproxy: Haproxy, edge_sync: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    server("drained", limit_seconds=60)
    assert edge_sync.main(["withdraw"]) == 0
    assert states(run, haproxy)["app1_1"] == "DRAIN"
    server("drained", limit_seconds=-1)
    assert edge_sync.main(["withdraw"]) == 0
    assert "put green/api/app1_1 back, as nobody did after a restart" in capsys.readouterr().out
    assert states(run, haproxy) == {"app1_1": "UP", "app2_1": "UP"}
    assert record(haproxy) == {}
