# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real faults in the lab: each alert reaches a real receiver, and so does its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.alert_rig import (
    FACTOR,
    FILL,
    FILLED,
    WATCHED,
    Fault,
    Told,
    batches,
    come_and_go,
    drive,
    ends_told,
    firing,
    received,
    silence_after,
    told,
    waits,
)
from ansible_collections.evenkeel.platform.benchmarks.panels import clock
from ansible_collections.evenkeel.platform.tests import shop

MAINTENANCE = "playbooks/maintenance.yml"


BATCHES = batches()


def skipped() -> list[Any]:
    entries = yaml.safe_load((rig.ROOT / "tests/faults/alerts.yml").read_text(encoding="utf-8"))
    return [
        pytest.param(alert, marks=pytest.mark.skip(reason=entry["skip"]))
        for alert, entry in entries.items()
        if "skip" in entry
    ]


@pytest.fixture(scope="module", autouse=True)
def watched(folder: Path) -> rig.Play:
    for words in WATCHED:
        # Compiles the monitoring programs first.
        run = rig.play(*words, folder=folder, limit_seconds=1800)
        assert run.code == 0, run.tail()
    return run


@pytest.fixture(scope="module")
def seconds(folder: Path) -> Iterator[dict[str, dict[str, float]]]:
    """Record the time of each delivery, for the benchmark."""
    found: dict[str, dict[str, float]] = {}
    yield found
    (folder / "alert-seconds.json").write_text(json.dumps(found, indent=2), encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def filling(watched: rig.Play) -> Iterator[float]:
    """Start filling a file system with the first test, because its alert covers half an hour; return the start."""
    rig.on_hosts("app2", FILL)
    yield clock()
    rig.on_hosts("app2", FILLED)


# An idle client holds the transaction open, without a row lock or a snapshot.
LEFT_OPEN = r"""
systemd-run --unit=fault-open docker exec shop-data-postgres-1 psql --username=shop --dbname=shop \
    --command 'begin' --command '\! sleep 7200'
"""
LEFT_OPEN_NO_MORE = "docker exec shop-data-postgres-1 pkill sleep; systemctl stop fault-open"


@pytest.fixture(scope="module", autouse=True)
def left_open(driven: Callable[[str], dict[str, Told]]) -> Iterator[float]:
    """Open a transaction with the first test, because its alert takes an hour; return the start.

    Runs after the batch that stops the database.
    """
    driven("stores")
    began = clock()
    rig.on_hosts("data1", LEFT_OPEN)
    yield began
    rig.on_hosts("data1", LEFT_OPEN_NO_MORE)


def test_second_run_changes_nothing(watched: rig.Play, folder: Path) -> None:
    again = rig.play(*WATCHED[-1], folder=folder)
    assert again.code == 0, again.tail()
    assert again.changed == {}, "\n".join(again.changed_tasks)


def test_healthy_lab_is_quiet(watched: rig.Play) -> None:
    time.sleep(90)
    # The tests keep the machine's cores busy.
    assert firing() - {"HostBusy", "HostMemoryLow"} == {"Watchdog"}


@pytest.fixture(scope="module")
def driven(seconds: dict[str, dict[str, float]]) -> Callable[[str], dict[str, Told]]:
    """Return a function that runs a batch once, and returns its results."""
    kept: dict[str, dict[str, Told]] = {}

    def outcome(batch: str) -> dict[str, Told]:
        if batch not in kept:
            kept[batch] = drive(BATCHES[batch])
            seconds.update({name: vars(told_of) for name, told_of in kept[batch].items()})
        return kept[batch]

    return outcome


@pytest.mark.parametrize(
    ("batch", "alert"),
    [pytest.param(name, fault.alert, id=fault.alert) for name, faults in BATCHES.items() for fault in faults],
)
def test_fault_is_told_and_its_end_too(batch: str, alert: str, driven: Callable[[str], dict[str, Told]]) -> None:
    outcome = driven(batch)[alert]
    assert outcome.fired is not None, f"{alert}: nothing reached the receiver; firing: {sorted(firing())}"
    assert outcome.resolved is not None, f"{alert}: its end was not told; firing: {sorted(firing())}"


@pytest.mark.parametrize("alert", skipped())
def test_fault_that_is_not_planted(alert: str) -> None:
    """Skip each with its reason."""


@pytest.mark.parametrize(
    ("alerts", "release"),
    [
        pytest.param(["HighErrorRate", "SLOBurnsFast", "SLOBurnsSlowly", "SLOBudgetSpent"], "1.2-errors", id="errors"),
        pytest.param(["HighResponseTime"], "1.2-slow", id="slow"),
    ],
)
def test_bad_release_is_told_with_its_name(
    alerts: list[str], release: str, folder: Path, seconds: dict[str, dict[str, float]]
) -> None:
    """The load starts after the deploy, so that a fifth of all answers is bad until the rollback."""
    shop.put_live(shop.OLD, folder)
    faults = [Fault(alert, "", "", "", 480, 840) for alert in alerts]
    run = shop.deploy(release, folder, retry=release)
    assert run.code == 0, run.tail()
    with rig.Traffic(folder, shop.RATE, seconds=1800, timeout_seconds=shop.TIMEOUT_SECONDS):
        found = come_and_go(faults)
        back = rig.play(shop.ROLLBACK, folder=folder)
        assert back.code == 0, back.tail()
        ends_told(faults, found)
    seconds.update({name: vars(told_of) for name, told_of in found.items()})
    assert not [name for name, told_of in found.items() if told_of.fired is None], f"firing: {sorted(firing())}"
    assert not [name for name, told_of in found.items() if told_of.resolved is None], f"firing: {sorted(firing())}"
    named = {
        one["labels"].get("release", "").partition("+")[0]
        for line in told(alerts[0], "firing", found[alerts[0]].began)
        for one in line["body"]["alerts"]
    }
    assert release in named


def test_maintenance_page_that_is_left_up_is_told(folder: Path, seconds: dict[str, dict[str, float]]) -> None:
    """All other alerts of the app are silenced while the page is up."""
    since = clock()
    up = rig.play(MAINTENANCE, folder=folder)
    assert up.code == 0, up.tail()
    try:
        found = rig.until(lambda: told("AppInMaintenance", "firing", since), waits()["AppInMaintenance"] * FACTOR + 120)
    finally:
        ended = clock()
        down = rig.play(MAINTENANCE, "-e", "app_deploy_maintenance_enabled=false", folder=folder)
    assert down.code == 0, down.tail()
    assert found, f"AppInMaintenance: nothing reached the receiver; firing: {sorted(firing())}"
    over = rig.until(lambda: told("AppInMaintenance", "resolved", ended), 240)
    assert over, f"AppInMaintenance: its end was not told; firing: {sorted(firing())}"
    seconds["AppInMaintenance"] = {"fired": found[0]["at"] - since, "resolved": over[0]["at"] - ended}


@pytest.mark.parametrize("part", ["prometheus", "alertmanager"])
def test_dead_man_falls_silent_when_either_dies(part: str) -> None:
    """The dead man's switch notices that Watchdog is missing."""
    assert rig.until(lambda: received("/deadman", clock() - 30), 120)
    last = silence_after(f"monitoring-{part}-1")
    # Alertmanager resolves an alert after four missing resends of Prometheus.
    assert last < 180, f"still called {last:.0f} s after the {part} died"
    assert rig.until(lambda: received("/deadman", clock() - 10), 180)


def test_transaction_left_open_is_told(left_open: float, seconds: dict[str, dict[str, float]]) -> None:
    """Runs late, after nearly an hour."""
    alert = "DatabaseTransactionOld"
    found = rig.until(lambda: told(alert, "firing", left_open), left_open + 3900 - clock(), 5)
    ended = clock()
    rig.on_hosts("data1", LEFT_OPEN_NO_MORE)
    assert found, f"{alert}: nothing reached the receiver; firing: {sorted(firing())}"
    over = rig.until(lambda: told(alert, "resolved", ended), 240)
    assert over, f"{alert}: its end was not told; firing: {sorted(firing())}"
    seconds[alert] = {"fired": found[0]["at"] - left_open, "resolved": over[0]["at"] - ended}


def test_disk_that_fills_is_told(filling: float, seconds: dict[str, dict[str, float]]) -> None:
    """Runs last, after the time range of the rule."""

    def of_this_one(status: str, since: float) -> list[dict[str, Any]]:
        # The machine's own disk may fill up, too.
        return [
            line
            for line in received("/team", since)
            for one in line["body"]["alerts"]
            if (one["labels"]["alertname"], one["labels"].get("mountpoint"), one["status"])
            == ("HostDiskFills", "/srv/filling", status)
        ]

    found = rig.until(lambda: of_this_one("firing", filling), filling + 2100 - clock())
    ended = clock()
    rig.on_hosts("app2", FILLED)
    assert found, f"HostDiskFills: nothing reached the receiver; firing: {sorted(firing())}"
    over = rig.until(lambda: of_this_one("resolved", ended), 180)
    assert over, f"HostDiskFills: its end was not told; firing: {sorted(firing())}"
    seconds["HostDiskFills"] = {"fired": found[0]["at"] - filling, "resolved": over[0]["at"] - ended}
