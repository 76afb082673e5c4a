# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every recorded copy of a repository; one that is missing or damaged loses its level until it is whole again.

A copy's entry in the state then has `bad`, the fault. Such a copy takes no place of a good one in retention.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenkeel_backup.config import Repository
from evenkeel_backup.engine import Engine
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.outcome import UNPROVEN, Outcome
from evenkeel_backup.state import copy_of, now

STAGE = "copies"


def problem(job: Job, made: Manifest, repository: str, fault: str, found: str) -> BackupFailure:
    """Return a bad copy as a failure."""
    return BackupFailure(
        fault,
        "a copy is missing or damaged",
        f"{made['id']} in {repository}",
        found,
        "the copy as it was stored",
        "Look at the store and take a new backup; if it is lost, "
        f"'evenkeel-backup retain {job.config.instance} --lost' forgets it",
        STAGE,
    )


def entries_of(job: Job, repository: Repository) -> list[Manifest]:
    """Return all backups with a copy in a repository, oldest first."""
    return [
        entry for entry in job.state.backups() if any(copy["repository"] == repository.name for copy in entry["copies"])
    ]


def with_dependants(entries: list[Manifest], repository: str, bad: Mapping[str, BackupFailure]) -> dict[str, str]:
    """Return what is wrong with each bad copy by backup id, and with those that need it. Pure."""
    found = {name: failure.fault for name, failure in bad.items()}
    labels = {copy_of(entry, repository)["snapshot"]: found.get(entry["id"], "") for entry in entries}
    for entry in entries:
        needs = [labels[label] for label in copy_of(entry, repository)["needs"] if labels.get(label)]
        if needs and entry["id"] not in found:
            found[entry["id"]] = needs[0]
    return found


def record(
    job: Job, outcome: Outcome, repository: Repository, entries: list[Manifest], bad: Mapping[str, BackupFailure]
) -> None:
    """Record which of the entries are bad, tell each one, and give back what became whole."""
    faults = with_dependants(entries_of(job, repository), repository.name, bad)
    report = outcome.more.setdefault("copies", {}).setdefault(repository.name, {})
    for entry in entries:
        name, fault = entry["id"], faults.get(entry["id"], "")
        was = mark(job, name, repository.name, fault)
        report[name] = fault or "good"
        if fault:
            failure = bad.get(name) or problem(job, entry, repository.name, fault, "a damaged backup that it needs")
            failure.stage = STAGE
            outcome.fail(UNPROVEN, failure)
            job.state.prove(name, repository.name, 0, job.host, now(), failed=True)
        elif was:
            job.state.prove(name, repository.name, 1, job.host, now(), failed=False)
    note(job)


def mark(job: Job, name: str, repository: str, fault: str) -> str:
    """Set or clear the mark of a copy; return the former one."""
    for entry in job.state.backups():
        if entry["id"] != name:
            continue
        for copy in entry["copies"]:
            if copy["repository"] == repository:
                was = str(copy.pop("bad", ""))
                if fault:
                    copy["bad"] = fault
                if was != fault:
                    job.state.keep(entry)
                return was
    return ""


def marked(job: Job) -> list[tuple[Manifest, dict[str, Any]]]:
    """Return all copies that are marked as bad."""
    return [(entry, copy) for entry in job.state.backups() for copy in entry["copies"] if copy.get("bad")]


def note(job: Job) -> None:
    """Record for the metrics whether any copy of any repository is bad."""
    found = marked(job)
    job.state.note(STAGE, not found, now(), fault=found[0][1]["bad"] if found else "")


def presence(job: Job, engine: Engine, repository: Repository, outcome: Outcome) -> None:
    """Find recorded copies that the repository no longer has; cheap enough for each run."""
    entries = entries_of(job, repository)
    missing = engine.absent(repository, entries)
    bad = {
        entry["id"]: problem(job, entry, repository.name, "partial_upload", "no such backup")
        for entry in entries
        if entry["id"] in missing
    }
    # Damage that a full look found is not healed by presence.
    there = [
        entry
        for entry in entries
        if entry["id"] in bad or entry["id"] in with_dependants(entries, repository.name, bad)
    ]
    record(job, outcome, repository, there, bad)


def everything(
    job: Job, engine: Engine, repository: Repository, outcome: Outcome, judged: Mapping[str, str], doubt: bool
) -> None:
    """Look at every copy but those already judged (by id, with their fault or ""); *doubt* reads the data of each."""
    entries = entries_of(job, repository)
    others = [entry for entry in entries if entry["id"] not in judged]
    for name, fault in judged.items():
        mark(job, name, repository.name, fault)
    bad = dict(engine.examine(repository, others, doubt))
    faults = {name: fault for name, fault in judged.items() if fault}
    for entry in others:
        needs = set(copy_of(entry, repository.name)["needs"])
        for other in entries:
            if other["id"] in faults and copy_of(other, repository.name)["snapshot"] in needs:
                found = f"{other['id']} damaged, which it needs"
                bad.setdefault(entry["id"], problem(job, entry, repository.name, faults[other["id"]], found))
    record(job, outcome, repository, others, bad)
