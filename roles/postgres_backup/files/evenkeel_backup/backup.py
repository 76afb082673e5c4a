# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb backup: run hooks and engine, verify every copy up to level L2, apply retention."""

from __future__ import annotations

import contextlib
import secrets
from functools import partial

from evenkeel_backup import escrow, gone, identity, manifest, owned, retain, survey
from evenkeel_backup.config import Repository
from evenkeel_backup.engine import Engine
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.job import Job, parse
from evenkeel_backup.ladder import Ladder, refuse
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.outcome import FAILED, UNPROVEN, Outcome
from evenkeel_backup.progress import say
from evenkeel_backup.state import level_of, now


def run(
    job: Job, outcome: Outcome, kind: str = "", reason: str = "schedule", keep: bool = False, removing: bool = True
) -> Manifest | None:
    """Take one backup and verify every copy up to level L2."""
    engine = engine_of(job)
    job.remove_leftovers()
    if job.config.engine == "logical":
        # A server that does not answer is reported by the backup itself.
        with contextlib.suppress(BackupFailure):
            owned.settle(job)
    at = now()
    if not job.state.backups():
        # A new host continues the sequence numbers of the repositories.
        for repository in job.config.repositories:
            with contextlib.suppress(BackupFailure):
                for entry in engine.catalogue(repository, None):
                    job.state.keep(entry)
    before = job.state.backups()
    newest = max((parse(entry["started_at"]) for entry in before), default=None)
    clock = manifest.clock_problem(newest, at, job.config.instance)
    if clock:
        # A wrong clock does not prevent the backup, but is reported.
        outcome.fail(UNPROVEN, clock)
    job.state.note("clock", clock is None, at, fault=clock.fault if clock else "")
    sequence = job.state.next_sequence()
    made: Manifest = {
        "schema": manifest.SCHEMA,
        "id": manifest.identity(at, sequence),
        "sequence": sequence,
        "instance": job.config.instance,
        "engine": job.config.engine,
        "type": kind or "full",
        "reason": reason,
        "keep": keep,
        "needs": [],
        "token": secrets.token_hex(8),
        "started_at": manifest.stamp(at),
        "finished_at": "",
        "host": job.host,
        "wal": {},
        "copies": [],
        "proofs": [],
    }
    if not _take(job, engine, made, kind, outcome):
        return None
    job.state.keep(made)
    outcome.changed = True
    job.actions.append(f"took backup {made['id']} of {made['bytes']} bytes")
    outcome.more["warnings"] = made.get("warnings", [])
    for warning in outcome.more["warnings"]:
        say(warning["sentence"])
    outcome.more["backup"] = {
        key: made[key] for key in ("id", "sequence", "engine", "type", "bytes", "copies", "started_at", "finished_at")
    }
    prove(job, engine, made, outcome)
    outcome.more["backup"]["level"] = level_of(
        next(entry for entry in job.state.backups() if entry["id"] == made["id"])
    )
    if removing:
        retain.run(job, outcome)
    return made


def _take(job: Job, engine: Engine, made: Manifest, kind: str, outcome: Outcome) -> bool:
    """Run the engine between its hooks; the second hook always runs."""
    stage = "hooks"
    try:
        try:
            if made["reason"] != manifest.SAFETY:
                stage = "server"
                identity.check(job, engine)
                stage = "hooks"
            job.hook("before_backup")
            stage = "dump"
            failures = engine.backup(made, kind)
        finally:
            job.hook("after_backup")
    except BackupFailure as single:
        single.stage = single.stage or stage
        outcome.fail(FAILED, single)
    except Failures as several:
        for failure in several.failures:
            failure.stage = failure.stage or stage
        outcome.fail(FAILED, *several.failures)
    else:
        for failure in failures:
            outcome.fail(UNPROVEN if made["copies"] else FAILED, failure)
        if made["copies"]:
            for name in ("hooks", "server", "dump", "archive"):
                job.state.note(name, True, now())
            if not failures:
                job.state.note("store", True, now())
    for failure in outcome.failures:
        job.state.note(failure.stage or stage, False, now(), fault=failure.fault)
    return bool(made["copies"])


def prove(job: Job, engine: Engine, made: Manifest, outcome: Outcome, read_data: bool = False) -> None:
    """Verify every copy, levels L0 to L2."""
    ladders = {}
    noted = job.state.escrow()
    for copy in made["copies"]:
        repository = job.config.repository(copy["repository"])
        ladder = Ladder(f"{made['id']} in {repository.name}")
        good = gone.accepted(job.state.good(before=made["sequence"]), made, job.state.gone())

        def sized(good: Manifest | None = good) -> str:
            problems = manifest.empty_problems(made, good)
            problem = (
                manifest.size_problem(made, good, job.config["minimum_bytes"], job.config["shrink_ratio"])
                if made["type"] == "full"
                else None
            )
            refuse([*problems, *([problem] if problem else [])])
            return f"{made['bytes']} bytes"

        ladder.step("L0", sized)
        ladder.step("L1", partial(engine.stored, made, repository, None, read_data))
        ladder.step("L2", partial(engine.readable, made, repository, None))
        level = ladder.level
        unsafe = (
            escrow.problem(job.config, repository, noted, repository.key_file.read_bytes(), now())
            if job.config["escrow_required"]
            else None
        )
        if unsafe:
            level = min(level, 0)
            outcome.fail(UNPROVEN, unsafe)
        job.state.note("escrow", unsafe is None, now(), fault=unsafe.fault if unsafe else "")
        job.state.prove(
            made["id"], repository.name, max(0, level), job.host, now(), failed=bool(ladder.failures or unsafe)
        )
        note(job, ladder)
        outcome.fail(UNPROVEN if ladder.failures else 0, *ladder.failures)
        if doubt := engine.doubts.get(repository.name):
            _doubted(job, engine, made, repository, outcome, doubt)
        ladders[repository.name] = ladder.steps
    outcome.more["ladder"] = ladders


def _doubted(
    job: Job, engine: Engine, made: Manifest, repository: Repository, outcome: Outcome, doubt: BackupFailure
) -> None:
    """Find the copies that damage of the repository touches; damage is told even if it touches none."""
    survey.everything(job, engine, repository, outcome, {made["id"]: ""}, True)
    if not any(copy["repository"] == repository.name for _entry, copy in survey.marked(job)):
        doubt.stage = survey.STAGE
        job.state.note(survey.STAGE, False, now(), fault=doubt.fault)
        outcome.fail(UNPROVEN, doubt)


def note(job: Job, ladder: Ladder) -> None:
    """Record the result of each step for the metrics."""
    for step in ladder.steps:
        job.state.note(step["step"], step["ok"], now(), fault=step["faults"][0] if step["faults"] else "")
