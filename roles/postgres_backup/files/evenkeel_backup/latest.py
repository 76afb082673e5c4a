# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the backup to restore: the newest good one, and another only by its name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from evenkeel_backup import manifest, proof
from evenkeel_backup.config import Config, Repository
from evenkeel_backup.engine import Engine
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.job import Job
from evenkeel_backup.manifest import SAFETY, Manifest
from evenkeel_backup.progress import say
from evenkeel_backup.state import level_of

# Stored as it was made, with a catalogue that can be read.
GOOD = 2
LATEST = "latest"


@dataclass
class Choice:
    """The chosen backup, its level, and why each newer one was passed over."""

    made: Manifest
    level: int
    passed_over: list[dict[str, str]] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """Return what was chosen, in one sentence."""
        text = f"chose {self.made['id']} of {self.made['started_at']}, proven to L{self.level}"
        if self.passed_over:
            text += "; passed over " + ", ".join(f"{one['backup']} ({one['why']})" for one in self.passed_over)
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as it appears in reports."""
        return {"backup": self.made["id"], "level": self.level, "passed_over": self.passed_over}


def choose(
    job: Job, engine: Engine, repository: Repository, name: str, key: bytes | None, database: str = ""
) -> Choice:
    """Return the backup with a name, or the newest good one that holds a database; raise if none is good.

    A host that has no proof of a backup, such as a bare one, verifies it to L2 first.
    """
    if name != LATEST:
        made = proof.find(job, engine, repository, name, key)
        return Choice(made, level_of(made, repository.name))
    newest = proof.find(job, engine, repository, name, key)
    having = [
        entry for entry in job.state.backups() if any(copy["repository"] == repository.name for copy in entry["copies"])
    ]
    known = [entry for entry in having if (entry["reason"] == SAFETY) == (newest["reason"] == SAFETY)]
    problems = content_problems(known, job.config)
    passed: list[dict[str, str]] = []
    for made in reversed(known):
        level = level_of(made, repository.name)
        why = _missing(made, database)
        if not why and level < GOOD:
            why = problems[made["id"]] or _unreadable(engine, made, repository, key)
            level = GOOD
        if not why:
            return Choice(made, level, passed)
        passed.append({"backup": made["id"], "why": why})
        say(f"passed over {made['id']}: {why}")
    raise BackupFailure(
        "target_unknown",
        "no backup is good",
        f"repository {repository.name}",
        "; ".join(f"{one['backup']}: {one['why']}" for one in passed),
        f"one that is proven to L{GOOD}" + (f" and holds {database}" if database else ""),
        "Name one with --backup to restore it all the same",
        "target",
    )


def _missing(made: Manifest, database: str) -> str:
    names = [entry["name"] for entry in made.get("databases", [])]
    return f"it has no database {database}" if database and database not in names else ""


def content_problems(known: Iterable[Manifest], config: Config) -> dict[str, str]:
    """Return why each backup is not good by its content alone, oldest first, as L0 decided after each of them. Pure."""
    found: dict[str, str] = {}
    good: Manifest | None = None
    for made in known:
        problems = manifest.empty_problems(made, good)
        shrunk = (
            manifest.size_problem(made, good, config["minimum_bytes"], config["shrink_ratio"])
            if made["type"] == "full"
            else None
        )
        faults = sorted({problem.fault for problem in [*problems, *([shrunk] if shrunk else [])]})
        trusted = not faults or level_of(made) >= GOOD
        found[made["id"]] = "" if trusted else ", ".join(faults)
        good = made if trusted else good
    return found


def _unreadable(engine: Engine, made: Manifest, repository: Repository, key: bytes | None) -> str:
    """Return why a backup cannot be read back; empty if it can, to L2."""
    try:
        engine.stored(made, repository, key, False)
        engine.readable(made, repository, key)
    except BackupFailure as failure:
        return failure.fault
    except Failures as several:
        return ", ".join(sorted({failure.fault for failure in several.failures}))
    return ""
