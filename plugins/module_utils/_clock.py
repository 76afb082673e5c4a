# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wall clock and boot clock as plain data, so that decisions can be tested with any time."""

from __future__ import annotations

import dataclasses
import datetime
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Instant:
    """One moment: wall clock for people, boot id and monotonic clock against clock steps."""

    wall: float
    monotonic: float
    boot: str


def now() -> Instant:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return Instant(wall=time.time(), monotonic=time.clock_gettime(time.CLOCK_MONOTONIC), boot=boot)


def iso(wall: float) -> str:
    stamp = datetime.datetime.fromtimestamp(wall, tz=datetime.UTC)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
