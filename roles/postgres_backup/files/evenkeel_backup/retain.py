# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb retain: remove backups that no tier keeps from each repository."""

from __future__ import annotations

from evenkeel_backup import survey
from evenkeel_backup.config import Repository
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job, parse
from evenkeel_backup.outcome import UNPROVEN, Outcome
from evenkeel_backup.retention import Copy, Verdict, decide
from evenkeel_backup.state import copy_of, level_of, now


def verdict(job: Job, repository: Repository) -> Verdict:
    """Apply the rule to one repository."""
    having = [
        entry for entry in job.state.backups() if any(copy["repository"] == repository.name for copy in entry["copies"])
    ]
    by_label = {copy_of(entry, repository.name)["snapshot"]: entry["id"] for entry in having}
    copies = [
        Copy(
            entry["id"],
            entry["sequence"],
            parse(entry["started_at"]),
            level_of(entry, repository.name),
            bool(entry["keep"]),
            tuple(by_label[label] for label in copy_of(entry, repository.name)["needs"] if label in by_label),
            bool(copy_of(entry, repository.name).get("bad")),
        )
        for entry in having
    ]
    return decide(copies, repository.retention, now())


def run(job: Job, outcome: Outcome, plan: bool = False, lost: bool = False) -> None:
    """Remove backups, or report them with plan; with lost also those that are missing or damaged."""
    planned = {}
    engine = engine_of(job)
    for repository in job.config.repositories:
        try:
            # What is gone cannot be what retention keeps.
            if not plan:
                seen = Outcome(outcome.verb, outcome.instance) if lost else outcome
                survey.presence(job, engine, repository, seen)
        except BackupFailure as unseen:
            unseen.stage = "retain"
            job.state.note("retain", False, now(), fault=unseen.fault)
            outcome.fail(UNPROVEN, unseen)
            continue
        found = verdict(job, repository)
        if lost:
            found = _without_lost(job, repository, found)
        planned[repository.name] = {
            "keep": {name: list(why) for name, why in found.keep.items()},
            "remove": list(found.remove),
        }
        if found.clock_jump:
            failure = BackupFailure(
                "clock_jump",
                "nothing is removed",
                repository.name,
                "backups newer than the clock",
                "a right clock",
                "Set the clock",
                "retain",
            )
            outcome.fail(UNPROVEN, *([] if any(one.fault == "clock_jump" for one in outcome.failures) else [failure]))
        if plan or repository.append_only:
            continue
        gone = [entry for entry in job.state.backups() if entry["id"] in found.remove]
        try:
            orphans = engine.orphans(repository)
            if not gone and not orphans:
                continue
            engine.forget(
                repository,
                [copy_of(entry, repository.name) for entry in gone] + [{"snapshot": label} for label in orphans],
            )
        except BackupFailure as failure:
            failure.stage = "retain"
            job.state.note("retain", False, now(), fault=failure.fault)
            outcome.fail(UNPROVEN, failure)
            continue
        job.state.note("retain", True, now())
        outcome.changed = True
        job.actions.append(f"removed {', '.join([*found.remove, *orphans])} from {repository.name}")
        for entry in gone:
            entry["copies"] = [copy for copy in entry["copies"] if copy["repository"] != repository.name]
            if entry["copies"]:
                job.state.keep(entry)
            else:
                job.state.drop(entry["id"])
    if not plan:
        survey.note(job)
    outcome.more["plan"] = planned


def _without_lost(job: Job, repository: Repository, found: Verdict) -> Verdict:
    """Return the verdict that removes all bad copies, too."""
    bad = {entry["id"] for entry, copy in survey.marked(job) if copy["repository"] == repository.name}
    keep = {name: why for name, why in found.keep.items() if name not in bad}
    return Verdict(keep, (*found.remove, *sorted(bad - set(found.remove))), found.clock_jump)
