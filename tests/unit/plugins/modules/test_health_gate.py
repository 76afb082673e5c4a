# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate over real connections."""

from __future__ import annotations

import threading
import time
import typing as t

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
