# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs verify, drill and escrow-check: test stored backups."""

from __future__ import annotations

from typing import Any

from evenkeel_backup import backup, escrow, report, survey
from evenkeel_backup.config import Repository
from evenkeel_backup.engine import Engine
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job, host_entry
from evenkeel_backup.ladder import Ladder
from evenkeel_backup.manifest import Manifest, stamp
from evenkeel_backup.outcome import UNPROVEN, Outcome
from evenkeel_backup.state import now


def learn(job: Job, engine: Engine, repository: Repository, key: bytes | None) -> None:
    """Add the repository's backups that this host does not know."""
    known = {entry["id"]: entry for entry in job.state.backups()}
    for entry in engine.catalogue(repository, key):
        if known.get(entry["id"]) != entry:
            job.state.keep(entry)


def find(job: Job, engine: Engine, repository: Repository, name: str, key: bytes | None) -> Manifest:
    """Find a backup; query the repository if this host does not know it."""
    try:
        found = job.state.find(name, repository.name)
    except BackupFailure:
        found = None
    if found is None or name == "latest":
        try:
            learn(job, engine, repository, key)
        except BackupFailure as failure:
            failure.stage = "store"
            raise
        found = job.state.find(name, repository.name)
    return found


def verify(job: Job, outcome: Outcome, name: str, repository: str, read_data: bool) -> None:
    """Verify one backup in one or all repositories, levels L0 to L2, and look at every other copy there."""
    engine = engine_of(job)
    for one in job.config.repositories if not repository else [job.config.repository(repository)]:
        made = find(job, engine, one, name, None)
        only = {**made, "copies": [copy for copy in made["copies"] if copy["repository"] == one.name]}
        before = outcome.more.get("ladder", {})
        backup.prove(job, engine, only, outcome, read_data)
        steps = outcome.more["ladder"][one.name]
        fault = next((step["faults"][0] for step in steps if step["step"] in {"L1", "L2"} and step["faults"]), "")
        if one.name not in engine.doubts:
            _others(job, engine, one, outcome, {made["id"]: fault})
        gaps = engine.gaps(one)
        job.state.note("archive", not gaps, now(), fault=gaps[0].fault if gaps else "")
        outcome.fail(UNPROVEN if gaps else 0, *gaps)
        outcome.more["ladder"] = {**before, **outcome.more["ladder"]}


def _others(job: Job, engine: Engine, repository: Repository, outcome: Outcome, judged: dict[str, str]) -> None:
    """Look at every other copy; a store that does not answer says nothing of them."""
    try:
        survey.everything(job, engine, repository, outcome, judged, any(judged.values()))
    except BackupFailure as failure:
        failure.stage = failure.stage or "store"
        outcome.fail(UNPROVEN, failure)


def drill(job: Job, outcome: Outcome, name: str, repository: str, key: bytes | None) -> None:
    """Verify one copy by a restore, levels L0 to L5, and write the report page."""
    engine = engine_of(job)
    one = job.config.repository(repository)
    made = find(job, engine, one, name, key)
    ladder = Ladder(f"drill of {made['id']} in {one.name}")
    if key is not None:
        ladder.step("L0", lambda: _escrowed(job, engine, one, key, outcome))
    else:
        ladder.step("L0", lambda: f"{made['bytes']} bytes, opened with the key of this host")
    ladder.step("L1", lambda: engine.stored(made, one, key, False))
    ladder.step("L2", lambda: engine.readable(made, one, key))
    restored = engine.drill(made, one, key, ladder)
    level = max(0, ladder.level)
    job.state.prove(made["id"], one.name, level, job.host, now(), failed=bool(ladder.failures))
    backup.note(job, ladder)
    outcome.fail(UNPROVEN if ladder.failures else 0, *ladder.failures)
    result: dict[str, Any] = host_entry(
        job,
        {
            "backup": made["id"],
            "repository": one.name,
            "level": level,
            "at": stamp(now()),
            "seconds": round(restored.seconds, 3),
            "bytes": restored.bytes,
            "rate": round(restored.bytes / restored.seconds) if restored.seconds else 0,
            "same_host": made["host"] == job.host,
            "backup_at": made["started_at"],
            **restored.figures,
        },
    )
    last = job.state.last()
    last["drill"] = (
        result
        | ({} if ladder.failures else {"ok_at": result["at"]})
        | ({"ok_at": last["drill"].get("ok_at", "")} if ladder.failures else {})
    )
    job.state.write_last(last)
    outcome.changed = True
    outcome.more |= {"drill": result, "ladder": {one.name: ladder.steps}, "manifest": made}
    outcome.more["page"] = str(report.write(job, outcome))


def _escrowed(job: Job, engine: Engine, repository: Repository, key: bytes, outcome: Outcome) -> str:
    check(job, outcome, key, repository.name, engine)
    return f"{repository.name} opened with the key's copy kept elsewhere"


def check(job: Job, outcome: Outcome, key: bytes, repository: str = "", engine: Engine | None = None) -> None:
    """Open every repository with the external copy of the key, and record the proof."""
    engine = engine or engine_of(job)
    if not key.strip():
        raise BackupFailure(
            "wrong_key",
            "the key's copy is empty",
            job.config.instance,
            "nothing",
            "the copy kept outside this host",
            "Hand it over by --key-file - on standard input",
            "escrow",
        )
    noted = job.state.escrow()
    failures = []
    for one in job.config.repositories:
        if repository not in {"", one.name}:
            continue
        try:
            proven = escrow.proof(one, key, engine.opens(one, key), now(), job.host)
            news = escrow.news(job.config, one, noted, proven, key, now())
            outcome.changed = outcome.changed or news
            noted[one.name] = proven
            job.actions.append(f"opened {one.name} with the key's copy")
        except BackupFailure as failure:
            failure.stage = "escrow"
            failures.append(failure)
    job.state.write_escrow(noted)
    job.state.note("escrow", not failures, now(), fault=failures[0].fault if failures else "")
    outcome.fail(UNPROVEN if failures else 0, *failures)
    if failures and repository:
        raise failures[0]
