# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the lines of containers get through the agent into the log store, beside a plain file on the same disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from ansible_collections.evenkeel.platform.benchmarks import log_rig, rig
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

LINES = 200_000
LIMIT_SECONDS = 300
MEGA = 1e6


def text_of(number: int) -> str:
    """A line of an app as it is: JSON with a level, a route and a duration."""
    return json.dumps(
        {
            "level": "info",
            "release": "1.0",
            "message": f"GET /api/orders/{number} took {number % 97} ms",
            "route": "/api/orders",
            "request_id": f"{number:032x}",
        }
    )


def plain_file(folder: Path) -> float:
    """Seconds in which the same lines are on the disk as a plain file."""
    began = time.monotonic()
    with (folder / "plain.log").open("w", encoding="utf-8") as kept:
        for number in range(LINES):
            kept.write(text_of(number) + "\n")
        kept.flush()
        os.fsync(kept.fileno())
    return time.monotonic() - began


def processor_seconds(process: subprocess.Popen[bytes] | None) -> float:
    """What a process used of the cores so far."""
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(process: subprocess.Popen[bytes] | None) -> int:
    """The most memory that a process had."""
    if process is None:
        return 0
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def log_ingest(folder: Path) -> Measured:
    if missing := log_rig.missing("victorialogs"):
        raise NotMeasured(missing)
    size = sum(len(text_of(number)) + 1 for number in range(LINES))
    plain = plain_file(folder)
    logs = log_rig.Logs(folder)
    try:
        logs.store.start()
        logs.agent.start()
        began = time.monotonic()
        for number in range(LINES):
            logs.write(text_of(number) + "\n")
        written = time.monotonic() - began
        arrived = rig.until(lambda: logs.count("host.name", "app1") >= LINES, LIMIT_SECONDS, 0.2)
        seconds = time.monotonic() - began
        programs = {"victorialogs": logs.store.process, "agent": logs.agent.process}
        used = {name: round(processor_seconds(process), 1) for name, process in programs.items()}
        most = {name: memory_bytes(process) for name, process in programs.items()}
        found = logs.count("host.name", "app1")
        stored = sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file())
    finally:
        for program in (logs.agent, logs.store):
            with contextlib.suppress(ProcessLookupError):
                program.stop(signal.SIGKILL)
    if not arrived:
        raise NotMeasured(f"{found} of {LINES} lines arrived within {LIMIT_SECONDS} s")
    return Measured(
        results={
            "lines": LINES,
            "bytes": size,
            "lost": LINES - found,
            "seconds": round(seconds, 1),
            "written_within_seconds": round(written, 1),
            "lines_per_second": round(LINES / seconds),
            "megabytes_per_second": round(size / seconds / MEGA, 2),
            "processor_seconds": used,
            "most_memory_bytes": most,
            "stored_bytes": stored,
        },
        bar=[{"of": "results.lost", "at_most": 0}],
        peers={
            "plain file": {
                "seconds": round(plain, 2),
                "megabytes_per_second": round(size / plain / MEGA, 1),
                "times_as_fast": round(seconds / plain, 1),
            }
        },
    )
