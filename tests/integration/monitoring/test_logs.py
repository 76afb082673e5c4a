# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines through the agent into Loki, as the role sets both up, as plain processes of this machine."""

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
from ansible_collections.evenkeel.platform.benchmarks.log_rig import MISSING, Logs, get

CANARY = "canary-4711"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "all there")


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path)
    yield made
    for program in (made.agent, made.loki):
        with contextlib.suppress(ProcessLookupError):
            program.stop(signal.SIGKILL)


def test_loki_is_ready_within_the_seconds_a_change_has(logs: Logs) -> None:
    logs.loki.start()
    logs.loki.stop()
    assert logs.loki.start() < 10


def test_line_has_its_names_and_no_secret(logs: Logs) -> None:
    logs.loki.start()
    logs.agent.start()
    told = {"level": "error", "release": "1.0", "message": f"no, token={CANARY}", "trace_id": TRACE, "span_id": SPAN}
    logs.write(json.dumps(told) + "\n")
    logs.write("first half, ")
    logs.write("second half\n")
    found = rig.until(lambda: len(lines := logs.read('{host_name="app1"}')) == 2 and lines, 30)
    (names, line), (_names, joined) = sorted(found or [], key=lambda one: "level" not in one[1])
    assert CANARY not in str(found)
    assert json.loads(line)["message"] == "no, ****"
    assert joined == "first half, second half"
    assert {
        "service_namespace": "shop",
        "service_name": "api",
        "colour": "blue",
        "release": "1.0",
        "trace_id": TRACE,
        "detected_level": "error",
    }.items() <= names.items()


def test_nothing_is_lost_while_loki_is_away_and_the_agent_is_killed(logs: Logs) -> None:
    logs.agent.start()
    for number in range(1000):
        logs.write(f"line {number}\n", "shop-background", "worker")
    figures = f"http://127.0.0.1:{logs.ports['figures']}/metrics"
    waiting = 'otelcol_exporter_queue_size{data_type="logs",exporter="otlp_http/loki"}'

    def waits() -> bool:
        found = [line for line in get(figures)[1].splitlines() if line.startswith(waiting)]
        return bool(found) and float(found[0].split()[-1]) > 0

    assert rig.until(waits, 20), get(figures)[1]
    logs.agent.stop(signal.SIGKILL)
    for number in range(1000, 2000):
        logs.write(f"line {number}\n", "shop-background", "worker")
    logs.agent.start()
    logs.loki.start()

    def numbers() -> list[int]:
        return sorted(int(line.split()[1]) for _names, line in logs.read('{service_name="worker"}'))

    found = rig.until(lambda: set(read := numbers()) == set(range(2000)) and read, 60)
    assert found, numbers()
    # What had been sent when the agent was killed, and its place in the file not yet kept, is sent again.
    assert [number for number in found if number >= 1000] == list(range(1000, 2000))


def test_what_is_older_than_its_days_is_deleted(tmp_path: Path) -> None:
    logs = Logs(tmp_path, days=1)
    # The waits of a day's work, made short; what is kept is the role's own.
    hurry = ["-compactor.compaction-interval=2s", "-compactor.retention-delete-delay=1s"]
    hurry += ["-compactor.apply-retention-interval=2s", "-validation.reject-old-samples=false"]

    def kept() -> int:
        return len([path for path in (tmp_path / "loki" / "chunks" / "fake").rglob("*") if path.is_file()])

    try:
        logs.loki.start(*hurry)
        logs.push("old", time.time() - 3 * 86400, "a line of three days ago")
        logs.push("new", time.time(), "a line of today")
        # The compactor looks at what is on the disk, and gets the index at a start.
        flush = urllib.request.Request(f"{logs.url}/flush", b"", method="POST")
        urllib.request.urlopen(flush, timeout=5).close()
        assert rig.until(lambda: kept() == 2, 90)
        logs.loki.stop()
        logs.loki.start(*hurry)
        assert rig.until(lambda: kept() == 1, 180)
        logs.loki.stop()
        logs.loki.start(*hurry)
        assert logs.read('{service_name="old"}', days=6) == []
        assert [line for _names, line in logs.read('{service_name="new"}')] == ["a line of today"]
    finally:
        logs.loki.stop(signal.SIGKILL)
