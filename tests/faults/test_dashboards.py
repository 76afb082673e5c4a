# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every panel of the watched lab moved while faults came and went, and falls empty when its exporters stop.

Runs after test_alerts.py, whose faults are what there is to see.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ansible_collections.evenkeel.platform.benchmarks import panels, rig
from ansible_collections.evenkeel.platform.docs import dashboards

LOOKED_BACK_SECONDS = 5400
# The longest range that a panel's query averages over, and the time after which Prometheus forgets a figure. Those over
# hours and days are of budgets, which are meant to outlive an exporter.
EMPTY_SECONDS = 660
LONG = {"slo"}
# They count what is missing, and so show most when everything is.
OF_WHAT_IS_MISSING = {"Alerts that fire", "Targets that do not answer"}
# What an objective says of itself is the same as long as nobody changes it.
CONSTANT = {"Objective"}
STOP = """
systemctl stop prometheus-node-exporter.service evenkeel-metrics.timer 2>/dev/null
docker stop $(docker ps --quiet --filter name=monitoring-) 2>/dev/null
systemctl stop haproxy.service 2>/dev/null
docker pause $(docker ps --quiet --filter name=shop-) 2>/dev/null
docker start monitoring-prometheus-1 2>/dev/null
true
"""
START = """
docker unpause $(docker ps --all --quiet --filter status=paused) 2>/dev/null
systemctl start haproxy.service 2>/dev/null
docker start $(docker ps --all --quiet --filter name=monitoring-) 2>/dev/null
systemctl start prometheus-node-exporter.service evenkeel-metrics.timer 2>/dev/null
true
"""
EVERY = [
    pytest.param(board, panel.title, id=f"{board} {panel.title}")
    for board, one in dashboards.BOARDS.items()
    for panel in one.panels
]


def needs_loki(board: str) -> bool:
    return all(panel.kind != "timeseries" for panel in dashboards.BOARDS[board].panels)


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str], panels.Shown]:
    """What every panel showed over the last hour and a half."""
    end = panels.clock()
    return {(one.board, one.panel.title): one for one in panels.shown(end - LOOKED_BACK_SECONDS, end, 360)}


@pytest.fixture(scope="module")
def silent(seen: dict[tuple[str, str], panels.Shown]) -> Iterator[dict[tuple[str, str], panels.Shown]]:
    """What every panel shows once nothing tells its figures any more."""
    assert seen
    rig.on_hosts("machines", STOP, 240)
    try:
        time.sleep(EMPTY_SECONDS)
        end = panels.clock()
        yield {(one.board, one.panel.title): one for one in panels.shown(end - 10, end, 2)}
    finally:
        rig.on_hosts("machines", START, 240)


@pytest.mark.parametrize(("board", "title"), EVERY)
def test_panel_shows_what_moves(board: str, title: str, seen: dict[tuple[str, str], panels.Shown]) -> None:
    one = seen[board, title]
    if needs_loki(board) and "refused" in one.error:
        pytest.skip("no Loki in this lab: its image is built for monitoring_alternative, which asks these queries")
    assert not one.error
    assert one.series, "no series in an hour and a half"
    if title not in CONSTANT:
        # One that comes or goes has changed as well.
        most = max(len(line.points) for seen_of in seen.values() for line in seen_of.series)
        assert any(line.moves or len(line.points) < most for line in one.series), "no series changed"


@pytest.mark.parametrize(("board", "title"), EVERY)
def test_panel_falls_empty_without_its_exporters(
    board: str, title: str, silent: dict[tuple[str, str], panels.Shown]
) -> None:
    one = silent[board, title]
    if needs_loki(board) and "refused" in one.error:
        pytest.skip("no Loki in this lab: its image is built for monitoring_alternative, which asks these queries")
    if title in OF_WHAT_IS_MISSING:
        assert one.series, "it counts what is missing, and everything is"
    elif board not in LONG:
        assert not one.series, f"still there: {', '.join(line.legend for line in one.series)}"
