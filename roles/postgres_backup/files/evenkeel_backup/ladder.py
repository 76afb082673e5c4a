# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The levels of proof: run in order, each with its evidence, until one fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.progress import say

STEPS = ("L0", "L1", "L2", "L3", "L4", "L5")


class Ladder:
    """The levels of one copy."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.steps: list[dict[str, Any]] = []
        self.failures: list[BackupFailure] = []

    def step(self, name: str, prove: Callable[[], str]) -> bool:
        """Run one step, unless an earlier one failed; *prove* returns its evidence or raises."""
        if self.failures:
            return False
        began = time.monotonic()
        found: list[BackupFailure] = []
        evidence = ""
        try:
            evidence = prove()
        except BackupFailure as single:
            found = [single]
        except Failures as failures:
            found = failures.failures
        for failure in found:
            failure.stage = name
        self.failures += found
        seconds = round(time.monotonic() - began, 3)
        faults = sorted({failure.fault for failure in found})
        self.steps.append({"step": name, "ok": not found, "seconds": seconds, "evidence": evidence, "faults": faults})
        say(f"{self.subject} {name}: {evidence if not found else 'FAILED, ' + ', '.join(faults)}")
        return not found

    @property
    def level(self) -> int:
        """Return the highest level that passed; -1 if none did."""
        passed = [STEPS.index(step["step"]) for step in self.steps if step["ok"]]
        failed = [STEPS.index(step["step"]) for step in self.steps if not step["ok"]]
        return min([max(passed, default=-1), *(number - 1 for number in failed)])


def refuse(problems: list[BackupFailure]) -> None:
    """Raise all problems of a step at once, if any."""
    if problems:
        raise Failures(problems)
