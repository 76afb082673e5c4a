# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs through the agent into each log store, as the role sets both up, as plain processes of this machine.

Loki runs only where EVENKEEL_LOKI_BINARY names its program; nothing here builds or fetches it.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.log_rig import Logs, get, missing
from ansible_collections.evenkeel.platform.docs import dashboards
from ansible_collections.evenkeel.platform.plugins.module_utils import _log_store

CANARY = "canary-4711"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

LOKI = pytest.param("loki", marks=pytest.mark.skipif(bool(missing("loki")), reason=missing("loki") or "there"))
VICTORIALOGS = pytest.param(
    "victorialogs", marks=pytest.mark.skipif(bool(missing("victorialogs")), reason=missing("victorialogs") or "there")
)


@pytest.fixture(params=[VICTORIALOGS, LOKI])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path, request.param)
    yield made
    for program in (made.agent, made.store):
        with contextlib.suppress(ProcessLookupError):
            program.stop(signal.SIGKILL)


def test_store_is_ready_within_the_seconds_a_change_has(logs: Logs) -> None:
    logs.store.start()
    logs.store.stop()
    assert logs.store.start() < 10


def test_line_has_its_names_and_no_secret(logs: Logs) -> None:
    logs.store.start()
    logs.agent.start()
    line = {"level": "error", "release": "1.0", "message": f"no, token={CANARY}", "trace_id": TRACE, "span_id": SPAN}
    logs.write(json.dumps(line) + "\n")
    logs.write("first half, ")
    logs.write("second half\n")
    found = rig.until(lambda: len(lines := logs.read("host.name", "app1")) == 2 and lines, 30)
    (fields, text), (_fields, joined) = sorted(found or [], key=lambda one: "level" not in one[1])
    assert CANARY not in str(found)
    assert json.loads(text)["message"] == "no, ****"
    assert joined == "first half, second half"
    level = {"severity_number": "17"} if logs.kind.name == "victorialogs" else {"detected_level": "error"}
    assert {
        "service.namespace": "shop",
        "service.name": "api",
        "colour": "blue",
        "release": "1.0",
        "trace_id": TRACE,
        **level,
    }.items() <= fields.items()
    if logs.kind.name == "victorialogs":
        # What is no part of its name would make a stream of every trace.
        assert fields["_stream"] == '{host.name="app1",service.name="api",service.namespace="shop"}'


def test_every_panel_of_the_logs_has_an_answer(logs: Logs) -> None:
    """The queries of the dashboard, in the language of the store; errors and other lines are told apart."""
    logs.store.start()
    logs.agent.start()
    for number in range(20):
        logs.write(json.dumps({"level": "error" if number < 5 else "info", "message": f"line {number}"}) + "\n")
    assert rig.until(lambda: logs.count("service.name", "api") == 20, 30)
    panels = {panel.title: panel for panel in dashboards.boards(logs.kind.name)["logs"].panels}

    def highest(title: str) -> float:
        (query,) = panels[title].queries.values()
        found = logs.query(query, panels[title].kind)
        return max((float(value) for one in found for _at, value in one["values"]), default=0.0)

    # A rate over minutes takes in the lines as they come.
    assert rig.until(lambda: highest("Lines") > 0, 30)
    assert rig.until(lambda: highest("Errors") > 0, 30)
    assert highest("Errors") < highest("Lines")
    newest = panels["Newest lines"]
    assert "line 19" in str(logs.query(next(iter(newest.queries.values())), newest.kind))


def test_every_panel_has_both_forms_of_its_query() -> None:
    assert dashboards.LogQuery._fields == tuple(_log_store.STORES)
    for name, query in dashboards.LOG_QUERIES.items():
        assert all(query), name


def test_no_line_is_lost_while_the_store_is_down_and_the_agent_is_killed(logs: Logs) -> None:
    logs.agent.start()
    for number in range(1000):
        logs.write(f"line {number}\n", "shop-background", "worker")
    figures = f"http://127.0.0.1:{logs.ports['figures']}/metrics"
    waiting = f'otelcol_exporter_queue_size{{data_type="logs",exporter="otlp_http/{logs.kind.name}"}}'

    def waits() -> bool:
        found = [line for line in get(figures)[1].splitlines() if line.startswith(waiting)]
        return bool(found) and float(found[0].split()[-1]) > 0

    assert rig.until(waits, 20), get(figures)[1]
    logs.agent.stop(signal.SIGKILL)
    for number in range(1000, 2000):
        logs.write(f"line {number}\n", "shop-background", "worker")
    logs.agent.start()
    logs.store.start()

    def numbers() -> list[int]:
        return sorted(int(line.split()[1]) for _fields, line in logs.read("service.name", "worker"))

    found = rig.until(lambda: set(read := numbers()) == set(range(2000)) and read, 60)
    assert found, numbers()
    # What had been sent when the agent was killed, and its place in the file not yet kept, is sent again.
    assert [number for number in found if number >= 1000] == list(range(1000, 2000))


@pytest.mark.parametrize("name", [VICTORIALOGS])
def test_victorialogs_refuses_what_is_older_than_its_retention_and_counts_it(name: str, tmp_path: Path) -> None:
    logs = Logs(tmp_path, name, days=1)
    dropped = 'vl_rows_dropped_total{reason="too_small_timestamp"}'

    def value(metric: str) -> float:
        found = [line for line in get(f"{logs.url}/metrics")[1].splitlines() if line.startswith(metric)]
        return float(found[0].split()[-1])

    try:
        logs.store.start()
        assert value(dropped) == 0
        logs.push("old", time.time() - 3 * 86400, "a line of three days ago")
        logs.push("new", time.time(), "a line of today")
        assert rig.until(lambda: logs.read("service.name", "new"), 20)
        assert logs.read("service.name", "old", days=6) == []
        assert value(dropped) == 1
    finally:
        logs.store.stop(signal.SIGKILL)


@pytest.mark.parametrize("name", [VICTORIALOGS])
def test_victorialogs_deletes_what_is_older_than_its_retention(name: str, tmp_path: Path) -> None:
    logs = Logs(tmp_path, name, days=7)
    days = tmp_path / "store" / "partitions"
    try:
        logs.store.start()
        logs.push("old", time.time() - 3 * 86400, "a line of three days ago")
        logs.push("new", time.time(), "a line of today")
        assert rig.until(lambda: logs.read("service.name", "old", days=6), 20)
        assert len(list(days.iterdir())) == 2
    finally:
        logs.store.stop()
    shorter = Logs(tmp_path / "again", name, days=1)
    # The same data, with less to keep.
    (tmp_path / "store").rename(tmp_path / "again" / "store")
    try:
        shorter.store.start()
        assert rig.until(lambda: len(list((tmp_path / "again" / "store" / "partitions").iterdir())) == 1, 90)
        assert shorter.read("service.name", "old", days=6) == []
        assert [line for _fields, line in shorter.read("service.name", "new")] == ["a line of today"]
    finally:
        shorter.store.stop(signal.SIGKILL)


@pytest.mark.parametrize("name", [LOKI])
def test_loki_deletes_what_is_older_than_its_retention(name: str, tmp_path: Path) -> None:
    logs = Logs(tmp_path, name, days=1)
    # The waits of a day's work, made short; what is kept is the role's own.
    hurry = ["-compactor.compaction-interval=2s", "-compactor.retention-delete-delay=1s"]
    hurry += ["-compactor.apply-retention-interval=2s", "-validation.reject-old-samples=false"]

    def kept() -> int:
        return len([path for path in (tmp_path / "store" / "chunks" / "fake").rglob("*") if path.is_file()])

    try:
        logs.store.start(*hurry)
        logs.push("old", time.time() - 3 * 86400, "a line of three days ago")
        logs.push("new", time.time(), "a line of today")
        # The compactor looks at what is on the disk, and gets the index at a start.
        flush = urllib.request.Request(f"{logs.url}/flush", b"", method="POST")
        urllib.request.urlopen(flush, timeout=5).close()
        assert rig.until(lambda: kept() == 2, 90)
        logs.store.stop()
        logs.store.start(*hurry)
        assert rig.until(lambda: kept() == 1, 180)
        logs.store.stop()
        logs.store.start(*hurry)
        assert logs.read("service.name", "old", days=6) == []
        assert [line for _fields, line in logs.read("service.name", "new")] == ["a line of today"]
    finally:
        logs.store.stop(signal.SIGKILL)
