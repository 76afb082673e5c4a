# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The defects of the broken releases, selected by the build argument FAULT."""

from __future__ import annotations

import asyncio
import logging
import os

from shop import build

BASE_WORK = 0.010
MOST_WITHOUT_LIMIT = 2 << 30
_STEP = 32 << 20
_GOLDEN = 0.6180339887498949

log = logging.getLogger("shop.faults")


def work(fault: str = build.FAULT) -> float:
    """Return the seconds of work for every /api request."""
    return BASE_WORK * 5 if fault == "slow" else BASE_WORK


def fails(count: int, fault: str = build.FAULT) -> bool:
    """Whether the count-th /api request is answered 500: one in five, evenly spread
    and in no rhythm that a client's own rhythm could hide."""
    return fault == "errors" and count * _GOLDEN % 1 < 0.2


async def run() -> None:
    """Start the defects that occur some time after the API's start."""
    if build.FAULT == "crash20":
        await asyncio.sleep(20)
        log.critical("fault crash20: exit 3")
        os._exit(3)
    if build.FAULT == "oom":
        # Earlier than the end of any gate; later defects are found only by observation.
        log.critical("fault oom: allocating")
        hoard = []
        while len(hoard) * _STEP < MOST_WITHOUT_LIMIT:
            hoard.append(b"\x01" * _STEP)
            await asyncio.sleep(0.01)
        log.critical("fault oom: no memory limit in force up to 2 GiB: exit 137, to spare the machine")
        os._exit(137)
