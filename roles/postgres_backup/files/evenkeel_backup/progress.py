# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress on standard error: amount, speed, remaining time."""

from __future__ import annotations

import sys
import time


def line(what: str, done: int, total: int, seconds: float) -> str:
    """Format one line of progress. Pure."""
    rate = done / seconds if seconds > 0 else 0.0
    text = f"{what}: {done / 1e6:.1f} MB"
    if total > 0:
        text += f" of {total / 1e6:.1f} MB ({min(100, 100 * done // total)} %)"
    text += f", {rate / 1e6:.1f} MB/s"
    if total > done and rate > 0:
        text += f", {(total - done) / rate:.0f} s left"
    return text


class Progress:
    """Prints at most one line in *every* seconds."""

    def __init__(self, what: str, total: int = 0, every: float = 5) -> None:
        self.what, self.total, self.every = what, total, every
        self.began = time.monotonic()
        self.last = self.began

    def show(self, done: int, last: bool = False) -> None:
        """Print the progress, if it is due."""
        now = time.monotonic()
        if last or now - self.last >= self.every:
            self.last = now
            say(line(self.what, done, self.total, now - self.began))


def say(text: str) -> None:
    """Print one line."""
    print(text, file=sys.stderr, flush=True)
