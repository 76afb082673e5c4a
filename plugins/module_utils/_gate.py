# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a target has passed or failed the gate. Pure decisions on one observation at a time."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import sentence

KEPT = 20


@dataclasses.dataclass
class Target:
    """What was seen of one target so far."""

    name: str
    url: str
    row: int = 0
    answered: bool = False
    restarted: bool = False
    last: str = "no probe yet"
    why: str = "no probe yet"
    transcript: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)


def observe(target: Target, *, at: float, problem: str, brief: str, refused: bool, answered: bool) -> None:
    """Take one probe into account: a failure starts the row again, a restart ends the gate.

    A program that answered and then refuses connections has ended; what comes back is another
    process, whatever it says.
    """
    if refused and target.answered:
        target.restarted = True
    target.answered = target.answered or answered
    target.row = 0 if problem else target.row + 1
    target.last = brief
    target.why = problem
    target.transcript.append({"at_seconds": round(at, 3), "ok": not problem, "problem": problem, "answer": brief})
    del target.transcript[:-KEPT]


def passed(target: Target, successes: int) -> bool:
    return target.row >= successes and not target.restarted


def verdict(targets: t.Sequence[Target], successes: int) -> str:
    """Return C(passed), C(failed) or C(waiting)."""
    if any(target.restarted for target in targets):
        return "failed"
    return "passed" if all(passed(target, successes) for target in targets) else "waiting"


def sentences(targets: t.Sequence[Target], successes: int, seconds: float) -> list[str]:
    """Return one sentence for each target that did not pass."""
    result = []
    for target in targets:
        if passed(target, successes):
            continue
        if target.restarted:
            found = "a refused connection after it had answered, so it ended or started again"
            remedy = "Read the exit code and the last log lines of its container"
        else:
            found = f"{target.row} after {seconds:.1f} s, last answer {target.last}"
            if target.why and target.why != target.last:
                found += f" ({target.why})"
            remedy = "Read its log; raise timeout_seconds when it only starts slowly"
        result.append(
            sentence(
                "health_gate",
                "the gate is not passed",
                f"{target.name} ({target.url})",
                found,
                f"{successes} successes in a row",
                remedy,
            )
        )
    return result
