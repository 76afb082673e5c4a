# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Which process runs a playbook, so that the next run on the same controller sees at once that it is gone.

Every plugin of one ansible-playbook finds the same answer: workers are forks of one main process.
"""

from __future__ import annotations

import datetime
import hashlib
import multiprocessing
import os
import platform
import typing as t
from pathlib import Path

Controller = dict[str, t.Any]


def this() -> Controller:
    """Return C(run), C(machine), C(boot), C(pid) and C(started) (clock ticks since the boot) of the main process."""
    parent = multiprocessing.parent_process()
    pid = (parent.pid if parent is not None else None) or os.getpid()
    ticks = started(pid)
    machine = _read("/etc/machine-id") or platform.node()
    boot = _read("/proc/sys/kernel/random/boot_id")
    began = _began(ticks)
    mark = hashlib.sha256(f"{machine} {boot} {pid} {ticks}".encode()).hexdigest()[:6]
    return {
        "run": f"{began:%Y%m%dT%H%M%SZ}-{mark}",
        "machine": hashlib.sha256(machine.encode()).hexdigest()[:12],
        "boot": boot,
        "pid": pid,
        "started": ticks,
    }


def gone(other: Controller) -> bool:
    """Tell whether another run's process is known to be gone: it ran on this machine, and no such process is left."""
    mine = this()
    if not other or not mine["boot"] or other.get("machine") != mine["machine"]:
        return False
    return other.get("boot") != mine["boot"] or started(int(other.get("pid") or 0)) != other.get("started")


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot; 0 where that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The second field is the name in parentheses and may hold spaces.
        fields = text.rpartition(")")[2].split()
        return 0 if fields[0] == "Z" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0


def _began(ticks: int) -> datetime.datetime:
    """Return when the process started; the boot's own moment is a constant, so every call gives the same second."""
    boot = [line.split()[1] for line in _read("/proc/stat").splitlines() if line.startswith("btime ")]
    if not boot or not ticks:
        return datetime.datetime.now(datetime.UTC)
    seconds = int(boot[0]) + ticks // os.sysconf("SC_CLK_TCK")
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
