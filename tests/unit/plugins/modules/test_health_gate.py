# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate over real connections."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import pytest

from .conftest import App

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def apps() -> t.Iterator[tuple[App, App]]:
    pair = (App("1.1"), App("1.1"))
    yield pair
    for app in pair:
        app.stop()


def targets(*apps: App) -> list[dict[str, str]]:
    return [
        {"name": f"app{number}", "url": f"http://127.0.0.1:{app.port}/readyz", "host": "shop.example.com"}
        for number, app in enumerate(apps)
    ]


def test_passes_when_all_answer_in_a_row(run: Run, apps: tuple[App, App]) -> None:
    passed = run("health_gate", targets=targets(*apps), release="1.1", interval_seconds=0.02)
    assert (passed["passed"], passed["failed_targets"], passed["changed"]) == (True, [], False)
    assert {name: len(lines) for name, lines in passed["transcript"].items()} == {"app0": 3, "app1": 3}


def test_another_release_does_not_pass(run: Run, apps: tuple[App, App]) -> None:
    apps[1].release = "1.0"
    failed = run("health_gate", targets=targets(*apps), release="1.1", interval_seconds=0.02, timeout_seconds=0.3)
    assert failed["failed"]
    assert "app1" in failed["msg"]
    assert "app0" not in failed["msg"]
    assert "release is '1.0' instead of '1.1'" in failed["msg"]
    assert len(failed["transcript"]["app1"]) <= 20


def test_a_target_that_ends_fails_the_gate_at_once(run: Run, apps: tuple[App, App]) -> None:
    apps[0].status = 503
    timer = threading.Timer(0.3, apps[0].stop)
    timer.start()
    started = time.monotonic()
    failed = run("health_gate", targets=targets(*apps), interval_seconds=0.05, timeout_seconds=20)
    timer.join()
    assert time.monotonic() - started < 5
    assert "a refused connection after it had answered" in failed["msg"]


def test_a_target_may_start_late(run: Run, apps: tuple[App, App]) -> None:
    apps[0].stop()
    timer = threading.Timer(0.3, apps[0].start)
    timer.start()
    assert run("health_gate", targets=targets(*apps), release="1.1", interval_seconds=0.05)["passed"]
    timer.join()


def test_check_mode_asks_nothing(run: Run, apps: tuple[App, App]) -> None:
    passed = run("health_gate", targets=targets(*apps), interval_seconds=0.02)
    planned = run("health_gate", targets=targets(*apps), _check=True)
    assert planned.keys() == passed.keys()
    assert (planned["passed"], planned["transcript"], planned["changed"]) == (False, {}, False)


@pytest.fixture
def http2(tmp_path: Path) -> t.Iterator[int]:
    """The port of a server that speaks HTTP/2 without TLS alone, and serves files."""
    program = shutil.which("nghttpd")
    if not program:
        pytest.skip("there is no nghttpd on this machine; Debian has it in nghttp2")
    for name, content in {"ready": b'{"release": "1.1"}', "grpc.health.v1.Health/Check": b"\0\0\0\0\2\x08\1"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([program, "--no-tls", "--address=127.0.0.1", f"--htdocs={tmp_path}", str(port)])
    yield port
    process.terminate()
    process.wait(10)


def test_targets_over_http2_and_grpc_pass(run: Run, http2: int, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{http2}"
    asked = [
        {"name": "h2", "url": f"{address}/ready", "protocol": "h2"},
        {"name": "grpc", "url": address, "protocol": "grpc", "release_key": ""},
    ]
    options = {"targets": asked, "release": "1.1", "interval_seconds": 0.02}
    assert run("health_gate", **options, timeout_seconds=20)["passed"]
    # Not serving any more, and another release.
    (tmp_path / "grpc.health.v1.Health/Check").write_bytes(b"\0\0\0\0\2\x08\2")
    (tmp_path / "ready").write_text('{"release": "1.0"}')
    failed = run("health_gate", **options, timeout_seconds=0.3)
    assert "status 503 instead of 200" in failed["msg"]
    assert "release is '1.0' instead of '1.1'" in failed["msg"]


def test_target_is_asked_as_the_edge_asks(run: Run, apps: tuple[App, App]) -> None:
    asked = {**targets(apps[0])[0], "proto": "https"}
    assert run("health_gate", targets=[asked], interval_seconds=0.02)["passed"]
    seen = {name.lower(): value for name, value in apps[0].headers.items()}
    assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == ("https", "443")
    assert (seen["x-forwarded-host"], seen["host"]) == ("shop.example.com", "shop.example.com")
