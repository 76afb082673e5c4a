# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What evenkeel-metrics makes of the engine's answers and of an edge's entries."""

from __future__ import annotations

import contextlib
import http.server
import importlib.machinery
import importlib.util
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[4] / "roles" / "monitoring" / "files"
PROMTOOL = shutil.which("promtool")
CONTAINER: dict[str, Any] = {
    "Name": "/shop.blue.api.1",
    "Config": {"Labels": {"com.docker.compose.project": "shop-blue", "com.docker.compose.service": "api.1"}},
    "State": {
        "Status": "running",
        "Health": {"Status": "healthy"},
        "OOMKilled": False,
        "StartedAt": "2026-01-02T03:04:05.123456789Z",
    },
    "RestartCount": 2,
    "HostConfig": {"Memory": 268435456},
}
STATS = {
    "memory_stats": {"usage": 1000, "stats": {"inactive_file": 400}},
    "cpu_stats": {"cpu_usage": {"total_usage": 2500000000}},
}


@pytest.fixture(scope="module")
def program() -> types.ModuleType:
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("evenkeel_metrics", str(FILES / "evenkeel-metrics"))
    spec = importlib.util.spec_from_loader("evenkeel_metrics", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def of(program, container, stats=None):
    return {name: (labels, value) for name, labels, value in program.container_samples(container, stats)}


def changed(**state):
    return {**CONTAINER, "State": {**CONTAINER["State"], **state}}


def test_container_is_told_with_its_app_and_side(program):
    found = of(program, CONTAINER, STATS)
    labels = {
        "container": "shop.blue.api.1",
        "stack": "shop-blue",
        "service": "api",
        "app": "shop",
        "colour": "blue",
    }
    assert found["container_running"] == (labels, 1)
    assert found["container_restarts_total"][1] == 2
    assert found["container_memory_bytes"][1] == 600
    assert found["container_cpu_seconds_total"][1] == 2.5
    assert found["container_start_time_seconds"][1] == 1767323045


@pytest.mark.parametrize(
    ("project", "service", "expected"),
    [
        pytest.param("shop-background", "bot", {"app": "shop", "service": "bot"}, id="background"),
        pytest.param("shop-background", "worker.2", {"app": "shop", "service": "worker"}, id="worker"),
        pytest.param("my-shop-green", "api.1", {"app": "my-shop", "colour": "green", "service": "api"}, id="hyphen"),
        pytest.param("shop-data", "redis", {"stack": "shop-data", "service": "redis"}, id="stack that is no app"),
        pytest.param("blue", "x", {"stack": "blue"}, id="stack of that name"),
        pytest.param("", "", {}, id="no stack"),
    ],
)
def test_name_of_the_stack_tells_the_app(program, project, service, expected):
    labels = {"com.docker.compose.project": project, "com.docker.compose.service": service}
    found = program.labels_of({**CONTAINER, "Config": {"Labels": labels}})
    assert expected.items() <= found.items()
    assert ("app" in found) == ("app" in expected)


@pytest.mark.parametrize(
    ("state", "running", "healthy"),
    [
        pytest.param({"Health": {"Status": "unhealthy"}}, 1, 0, id="unhealthy"),
        pytest.param({"Health": {"Status": "starting"}}, 1, 1, id="starting"),
        pytest.param({"Health": None}, 1, None, id="no check"),
        pytest.param({"Status": "exited", "Health": {"Status": "none"}}, 0, None, id="stopped"),
        pytest.param({"Status": "restarting"}, 0, 1, id="restarting"),
    ],
)
def test_state_of_a_container(program, state, running, healthy):
    found = of(program, changed(**state))
    assert found["container_running"][1] == running
    assert found.get("container_healthy", (None, None))[1] == healthy


def test_health_of_a_container_that_runs_a_command_once_is_nobodys(program):
    labels = {**CONTAINER["Config"]["Labels"], "com.docker.compose.oneoff": "True"}
    found = of(program, {**CONTAINER, "Config": {"Labels": labels}})
    assert "container_healthy" not in found
    assert found["container_running"][1] == 1


@pytest.mark.parametrize(
    ("text", "sides", "weight"),
    [
        pytest.param("shop blue:0:1.0:\n", {("blue", "1.0", "live")}, 0, id="first release"),
        pytest.param(
            "shop green:10:1.1+2:1.0\n", {("green", "1.1+2", "live"), ("blue", "1.0", "other")}, 10, id="canary"
        ),
        pytest.param("shop none:0::\n", set(), None, id="no release yet"),
        pytest.param("torn", set(), None, id="torn"),
    ],
)
def test_entry_of_an_edge(program, text, sides, weight):
    samples = list(program.entry_samples(text))
    found = {(one["colour"], one["release"], one["side"]) for name, one, _value in samples if name == "app_side"}
    assert found == sides
    assert next((value for name, _labels, value in samples if name == "app_weight"), None) == weight


def volumes(folder):
    """One of the stack that watches, unless it is gone, and one of an app."""
    found = []
    gone = (folder / "gone").exists()
    for project, name in (("other" if gone else "monitoring", "loki"), ("shop-data", "postgres")):
        place = folder / "volumes" / name
        (place / "within").mkdir(parents=True, exist_ok=True)
        (place / "within" / "chunk").write_bytes(b"x" * 100_000)
        labels = {"com.docker.compose.project": project, "com.docker.compose.volume": name}
        found.append({"Name": f"{project}_{name}", "Mountpoint": str(place), "Labels": labels})
    return found


@pytest.fixture
def engine(tmp_path):
    """An engine with one container, on a socket."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = [{"Id": "c1"}, {"Id": "gone"}] if self.path.startswith("/containers/json") else CONTAINER
            answer = STATS if "/stats" in self.path else answer
            answer = {"Volumes": volumes(tmp_path)} if self.path == "/volumes" else answer
            broken = "gone" in self.path or (self.path == "/volumes" and (tmp_path / "broken").exists())
            self.send_response(404 if broken else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments):
            pass

        def address_string(self):
            return ""

    server = socketserver.ThreadingUnixStreamServer(str(tmp_path / "docker.sock"), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path / "docker.sock"
    server.shutdown()
    server.server_close()


def run(tmp_path, socket, *more):
    argv = [sys.executable, "-B", str(FILES / "evenkeel-metrics"), "--file", str(tmp_path / "out.prom")]
    subprocess.run([*argv, "--socket", str(socket), "--state", str(tmp_path / "state"), *more], check=True)
    return (tmp_path / "out.prom").read_text()


def test_whole_file(tmp_path, engine):
    (tmp_path / "state" / "shop").mkdir(parents=True)
    (tmp_path / "state" / "shop" / "live.map").write_text("shop blue:0:1.0:\n")
    (tmp_path / "state" / "shop" / "maintenance.map").write_text("shop on\n")
    text = run(tmp_path, engine)
    assert "evenkeel_docker_up 1\n" in text
    assert text.count("evenkeel_container_running{") == 1
    assert 'evenkeel_app_side{app="shop",colour="blue",release="1.0",side="live"} 1\n' in text
    assert 'evenkeel_app_maintenance{app="shop"} 1\n' in text
    assert "volume_bytes" not in text
    apart = (tmp_path / "out_volumes.prom").read_text()
    (taken,) = (line for line in apart.splitlines() if not line.startswith("#"))
    assert taken.startswith('evenkeel_volume_bytes{stack="monitoring",volume="loki"} ')
    assert 100_000 <= float(taken.split()[-1]) < 200_000
    for name in ("out.prom", "out_volumes.prom"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644
        assert not (tmp_path / f".{name}.new").exists()
    if PROMTOOL:
        checked = subprocess.run(
            [PROMTOOL, "check", "metrics"], input=text + apart, capture_output=True, text=True, check=False
        )
        assert "error" not in checked.stderr, checked.stderr


def test_engine_that_does_not_answer_is_down(tmp_path):
    (tmp_path / "docker.sock").touch()
    assert "evenkeel_docker_up 0\n" in run(tmp_path, tmp_path / "docker.sock")


def test_host_without_an_engine_says_nothing_of_it(tmp_path):
    assert "docker_up" not in run(tmp_path, tmp_path / "none.sock")


def aged(path, seconds):
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.fixture
def walks(program, engine, tmp_path, monkeypatch):
    """Run the program here; a walk is stopped before it ends. Tells how many were begun."""
    begun = []

    def walk(folder):
        begun.append(folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(program.os, "walk", walk)

    def run_here(*more):
        argv = ["evenkeel-metrics", "--file", str(tmp_path / "out.prom"), "--socket", str(engine)]
        monkeypatch.setattr(sys, "argv", [*argv, "--state", str(tmp_path / "state"), *more])
        begun.clear()
        with contextlib.suppress(KeyboardInterrupt):
            program.main()
        return len(begun)

    return run_here


def test_walk_that_does_not_end_leaves_the_rest_fresh(walks, tmp_path):
    main, apart = aged(tmp_path / "out.prom", 999), aged(tmp_path / "out_volumes.prom", 999)
    assert walks() == 1
    assert "evenkeel_docker_up 1\n" in main.read_text()
    assert time.time() - main.stat().st_mtime < 100
    assert time.time() - apart.stat().st_mtime > 900


def test_walk_that_did_not_end_is_tried_again_in_its_time_and_not_at_once(walks, tmp_path):
    assert [walks(), walks(), walks()] == [1, 0, 0]
    aged(tmp_path / ".out_volumes.prom.new", 601)
    assert [walks(), walks()] == [1, 0]


@pytest.mark.parametrize(
    ("age", "more", "expected"),
    [
        pytest.param(500, [], 0, id="young"),
        pytest.param(700, [], 1, id="old"),
        pytest.param(40, ["--volumes-seconds", "30"], 1, id="old by the option"),
        pytest.param(700, ["--volumes-seconds", "900"], 0, id="young by the option"),
        pytest.param(-9999, [], 1, id="of a time to come"),
    ],
)
def test_volumes_are_walked_when_their_file_is_old(walks, tmp_path, age, more, expected):
    aged(tmp_path / "out_volumes.prom", age)
    assert walks(*more) == expected


def test_what_volumes_take_is_written_again_when_it_is_old(tmp_path, engine):
    apart = aged(tmp_path / "out_volumes.prom", 700)
    aged(tmp_path / ".out_volumes.prom.new", 700)
    run(tmp_path, engine)
    assert "evenkeel_volume_bytes{" in apart.read_text()
    assert not (tmp_path / ".out_volumes.prom.new").exists()


def test_what_volumes_took_stays_while_the_engine_does_not_tell(tmp_path, engine):
    apart = aged(tmp_path / "out_volumes.prom", 700)
    (tmp_path / "broken").touch()
    assert "evenkeel_docker_up 1\n" in run(tmp_path, engine)
    assert apart.exists()


@pytest.mark.parametrize("engine_too", [False, True], ids=["the stack", "and the engine"])
def test_what_volumes_took_goes_with_the_stack(tmp_path, engine, engine_too):
    (tmp_path / "gone").touch()
    files = [aged(tmp_path / name, 700) for name in ("out_volumes.prom", ".out_volumes.prom.new")]
    run(tmp_path, tmp_path / "none.sock" if engine_too else engine)
    assert not any(path.exists() for path in files)


def test_host_without_the_stack_writes_nothing_of_volumes(tmp_path, engine):
    (tmp_path / "gone").touch()
    run(tmp_path, engine)
    assert not list(tmp_path.glob("*out_volumes*"))
