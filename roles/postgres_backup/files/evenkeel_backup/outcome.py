# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a verb: one JSON document and one exit code."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.manifest import stamp
from evenkeel_backup.state import now

OK, FAILED, USAGE, UNPROVEN, LOCKED, ROLLED_BACK, MANUAL_WORK = 0, 1, 2, 3, 4, 5, 6
# A failed run is more severe than an unproven backup.
GRAVITY = (OK, UNPROVEN, FAILED, USAGE, LOCKED, ROLLED_BACK, MANUAL_WORK)


@dataclass
class Outcome:
    """The result of one verb."""

    verb: str
    instance: str
    exit: int = OK
    changed: bool = False
    actions: list[str] = field(default_factory=list)
    failures: list[BackupFailure] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    started_at: str = field(default_factory=lambda: stamp(now()))
    began: float = field(default_factory=time.monotonic)

    def fail(self, code: int, *failures: BackupFailure) -> None:
        """Add failures, and keep the most severe exit code."""
        self.failures += failures
        self.exit = max(self.exit, code, key=GRAVITY.index)

    def as_dict(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "schema": 1,
            "verb": self.verb,
            "instance": self.instance,
            "ok": self.exit == OK,
            "exit": self.exit,
            "changed": self.changed,
            "started_at": self.started_at,
            "seconds": round(time.monotonic() - self.began, 3),
            "actions": self.actions,
            "failures": [failure.as_dict() for failure in self.failures],
            **self.more,
        }
