# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb status: list backups and their level of proof. Changes nothing."""

from __future__ import annotations

from typing import Any

from evenkeel_backup import escrow, journal, lock, survey
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job, parse
from evenkeel_backup.outcome import UNPROVEN, Outcome
from evenkeel_backup.physical import Physical
from evenkeel_backup.state import level_of, now


def run(job: Job, outcome: Outcome) -> None:
    """Collect the status."""
    backups = job.state.backups()
    last = job.state.last()
    noted = job.state.escrow()
    engine = engine_of(job)
    repositories: dict[str, Any] = {}
    exchange = _exchange(job, outcome)
    for repository in job.config.repositories:
        here = [entry for entry in backups if any(copy["repository"] == repository.name for copy in entry["copies"])]
        unsafe = escrow.problem(job.config, repository, noted, repository.key_file.read_bytes(), now())
        if unsafe:
            outcome.fail(UNPROVEN, unsafe)
        entry: dict[str, Any] = {
            "backups": len(here),
            "newest": here[-1]["id"] if here else "",
            "level": level_of(here[-1], repository.name) if here else -1,
            "escrow": unsafe is None,
        }
        if isinstance(engine, Physical):
            try:
                entry["range"] = engine.range(repository)
            except BackupFailure as failure:
                outcome.fail(UNPROVEN, failure)
        repositories[repository.name] = entry
    for made, copy in survey.marked(job):
        outcome.fail(UNPROVEN, survey.problem(job, made, copy["repository"], copy["bad"], "it at the last look"))
    good = [entry for entry in backups if level_of(entry) >= 2]
    age = (now() - parse(good[-1]["finished_at"])).total_seconds() if good else None
    if age is None or age > job.config["max_age_seconds"]:
        outcome.fail(
            UNPROVEN,
            BackupFailure(
                "stale_schedule",
                "there is no fresh backup",
                job.config.instance,
                f"one of {age:.0f} s ago" if age is not None else "none",
                f"one within {job.config['max_age_seconds']} s",
                "Look at the timer and its last report",
                "schedule",
            ),
        )
    outcome.more["status"] = {
        "repositories": repositories,
        "newest_good": good[-1]["id"] if good else "",
        "age_seconds": age,
        "drill": last["drill"],
        "stages": last["stages"],
        "exchange": exchange,
        "backups": [
            {
                "id": entry["id"],
                "level": level_of(entry),
                "bytes": entry["bytes"],
                "keep": entry["keep"],
                "reason": entry["reason"],
                "bad": [copy["repository"] for copy in entry["copies"] if copy.get("bad")],
            }
            for entry in backups
        ],
    }


def _exchange(job: Job, outcome: Outcome) -> dict[str, Any]:
    """Return an unfinished in-place restore; without a run that works on it, it is a problem."""
    try:
        log = journal.opened(job.config.state_dir)
    except BackupFailure as failure:
        outcome.fail(UNPROVEN, failure)
        return {}
    if log is None:
        return {}
    running = lock.busy(job.config.lock_file)
    if not running:
        outcome.fail(UNPROVEN, journal.problem(log.noted, job.config.instance))
    return {key: log.noted[key] for key in ("kind", "backup", "step", "began", "at")} | {"running": running}
