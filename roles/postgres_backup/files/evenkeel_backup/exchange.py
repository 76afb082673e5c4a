# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In-place restore: take a safety backup, restore side by side, swap, and roll back on a failure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from evenkeel_backup import backup, buckets, destroy, owned, restore_role, target
from evenkeel_backup.beside import files_beside, logical_beside, physical_beside
from evenkeel_backup.config import Bucket, Repository
from evenkeel_backup.database import Server, literal
from evenkeel_backup.destroy import OwnDatabase
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job
from evenkeel_backup.manifest import SAFETY, Manifest
from evenkeel_backup.outcome import FAILED, MANUAL_WORK, ROLLED_BACK, UNPROVEN, Outcome
from evenkeel_backup.physical import Physical
from evenkeel_backup.scratch import place
from evenkeel_backup.state import level_of
from evenkeel_backup.target import Point

STAGE = "restore"
START_SECONDS = 300


def _safety(job: Job, outcome: Outcome) -> Manifest:
    """Take a backup of the live data; it must be stored and readable.

    Retention does not run after it, because it could remove the backup that is about to be restored.
    """
    inner = Outcome("backup", job.config.instance)
    made = backup.run(job, inner, kind="full", reason=SAFETY, keep=True, removing=False)
    if made is None:
        raise Failures(inner.failures)
    bad = [failure for failure in inner.failures if failure.stage in {"L1", "L2", "store"}]
    known = next((entry for entry in job.state.backups() if entry["id"] == made["id"]), None)
    if bad or known is None:
        raise Failures(bad or inner.failures)
    outcome.more["safety"] = {"backup": made["id"], "level": level_of(known)}
    return made


def _failures_of(job: Job, why: Exception) -> list[BackupFailure]:
    """Return the failures of an interrupted exchange."""
    if isinstance(why, Failures):
        return why.failures
    if isinstance(why, BackupFailure):
        return [why]
    found = f"{type(why).__name__}: {why}"
    return [
        BackupFailure(
            "failed", "the exchange failed", job.config.instance, found, "a complete run", "See the report", STAGE
        )
    ]


def _unchanged(job: Job, outcome: Outcome, why: Exception, undo: Callable[[], None]) -> None:
    """Report a failure before any live data was changed, and start the app again."""
    outcome.fail(FAILED, *_failures_of(job, why))
    try:
        undo()
    except Exception as worse:  # noqa: BLE001 - any error must be reported
        outcome.fail(MANUAL_WORK, *_failures_of(job, worse))


def _back(job: Job, outcome: Outcome, why: Exception, undo: Callable[[], None], kept: str) -> None:
    """Roll back to the former data; if that fails too, report where the data is."""
    failures = _failures_of(job, why)
    try:
        undo()
    except Exception as worse:  # noqa: BLE001 - any error must be reported
        outcome.fail(
            MANUAL_WORK,
            *failures,
            BackupFailure(
                "failed",
                "the way back failed",
                job.config.instance,
                str(worse),
                f"{kept} to be live again",
                f"Stop the server and put {kept} back by hand",
                STAGE,
            ),
        )
        return
    outcome.fail(ROLLED_BACK, *failures)
    job.actions.append("rolled back to the former data")


def databases(
    job: Job,
    outcome: Outcome,
    made: Manifest,
    repository: Repository,
    database: str,
    key: bytes | None,
    *,
    strict: bool = False,
) -> bool:
    """Swap the names of a database and its restored copy in one transaction; return whether it is exchanged.

    All that is dropped or renamed is known by its oid. A copy that is not whole is kept, and the live one stays.
    """
    entry = next(one for one in made["databases"] if one["name"] == database)
    before = target.beside(database, f"_before_{made['sequence']}")
    target.refuse_live(job.live(), job.config.instance, database=before)
    with job.server() as server:
        live = owned.oid_of(_other(server, database), database)
    _safety(job, outcome)
    copy: OwnDatabase | None = None
    try:
        job.hook("stop_app")
        brought = logical_beside(job, made, repository, database, database, key, strict=strict, exchange=True)
        if brought.complete and brought.copy:
            copy = brought.copy
            with restore_role.administrator(job) as server:
                _unused(server, database)
                owned.exchange(_other(server, database), copy, live, (database, before), entry)
        outcome.changed = True
        job.hook("start_app")
    except Exception as failure:  # noqa: BLE001 - the app must be started again after any error

        def undo() -> None:
            if copy is not None:
                with restore_role.administrator(job) as server:
                    _withdraw(job, _other(server, database), copy, live, (database, before))
            job.hook("start_app")

        if copy is not None and _may_be_exchanged(job, copy, database):
            _back(job, outcome, failure, undo, f"database {before}")
        else:
            _unchanged(job, outcome, failure, undo)
        return False
    outcome.more["restored"] = {**brought.as_dict(), "at": database if copy else brought.at}
    outcome.fail(UNPROVEN if brought.problems else 0, *brought.problems)
    if copy is None:
        job.actions.append(
            f"{database} is unchanged; what was restored of {made['id']} is not whole, and is {brought.at}"
        )
        return False
    # If this fails, its record stays, and the next run does it.
    with contextlib.suppress(BackupFailure), restore_role.administrator(job) as server:
        owned.finish_exchange(_other(server, database), owned.Records.of(job), copy, entry, database)
    kept = f"what was live is kept as {before}" if live else "there was no such database"
    job.actions.append(f"{database} is {made['id']}; {kept}")
    outcome.more["restored"]["before"] = before if live else ""
    return True


def _other(server: Server, database: str) -> Server:
    """Return a connection to another database than this one, because a session cannot rename its own."""
    return server.at("template1") if server.database == database else server


def _may_be_exchanged(job: Job, copy: OwnDatabase, database: str) -> bool:
    """Return whether the copy has the live name. An interrupted swap may be committed; only the server knows."""
    try:
        with job.server() as server:
            return owned.name_of(_other(server, database), copy) == database
    except BackupFailure:
        # Then the way back fails, too, and is reported as work for a person.
        return True


def _withdraw(job: Job, server: Server, copy: OwnDatabase, live: int, names: tuple[str, str]) -> None:
    """Undo an exchange as far as it happened, and drop the copy."""
    if owned.name_of(server, copy) == names[0]:
        with contextlib.suppress(BackupFailure):
            job.hook("stop_app")
        destroy.end_sessions(server, copy.named(names[0]))
        owned.exchange_back(server, copy, live, names)
    records = owned.Records.of(job)
    for record in records.all():
        if record["name"] == copy.name:
            owned.settle_one(server, records, record)


def _unused(server: Server, database: str) -> None:
    """Refuse to rename a database that is in use."""
    many = server.ask(
        "select to_json(count(*)) from pg_stat_activity"
        f" where datname = {literal(database)} and pid <> pg_backend_pid()"
    )
    if many:
        who = server.run(
            "select string_agg(distinct coalesce(nullif(application_name, ''), usename), ', ')"
            f" from pg_stat_activity where datname = {literal(database)}"
        )
        raise BackupFailure(
            "connections_open",
            "the database is in use",
            database,
            f"{many} connections ({who})",
            "none",
            "Stop what uses it, or name that in hooks.stop_app",
            STAGE,
        )


def folders(
    job: Job,
    engine: Physical,
    outcome: Outcome,
    made: Manifest,
    repository: Repository,
    point: Point,
    folder: Path,
    key: bytes | None,
) -> None:
    """Swap the data folder of the stopped server with the recovered one."""
    live = Path(job.config.server["data_dir"])
    before = live.with_name(f"{live.name}.before-{made['sequence']}")
    if before.exists():
        raise BackupFailure(
            "target_live",
            "a safety copy is there already",
            str(before),
            "a folder",
            "none",
            "Remove it once it is not needed",
            "target",
        )
    _safety(job, outcome)
    stopped = exchanged = False
    try:
        job.hook("stop_app")
        brought = physical_beside(job, engine, made, repository, point, folder, key, exact=False)
        stopped = True
        job.hook("stop_server")
        if (live / "postmaster.pid").exists():
            raise BackupFailure(
                "connections_open",
                "the server still runs",
                str(live),
                "its postmaster.pid",
                "a stopped server",
                "Correct hooks.stop_server",
                STAGE,
            )
        live.rename(before)
        exchanged = True
        (folder / "data").rename(live)
        outcome.changed = True
        job.hook("start_server")
        _answers(job)
        job.hook("start_app")
    except Exception as failure:  # noqa: BLE001 - the app must be started again after any error

        def undo() -> None:
            if exchanged:
                with contextlib.suppress(BackupFailure):
                    job.hook("stop_server")
                if live.exists():
                    live.rename(live.with_name(f"{live.name}.failed-{made['sequence']}"))
                before.rename(live)
            if stopped:
                # The server may still be running if it could not be stopped.
                if exchanged or not (live / "postmaster.pid").exists():
                    job.hook("start_server")
                _answers(job)
            job.hook("start_app")

        exchanged = before.exists()
        if stopped:
            _back(job, outcome, failure, undo, str(before))
        else:
            _unchanged(job, outcome, failure, undo)
        return
    with contextlib.suppress(OSError):
        folder.rmdir()
    job.actions.append(
        f"{live} is {made['id']}; what was live is kept as {before}; take a full backup now, the timeline is a new one"
    )
    outcome.more["restored"] = {
        "backup": made["id"],
        "at": str(live),
        "before": str(before),
        "compared": brought.compared,
        "left_out": brought.left_out,
        "seconds": brought.seconds,
    }


def bucket(
    job: Job,
    engine: Folders,
    outcome: Outcome,
    made: Manifest,
    repository: Repository,
    one: Bucket,
    key: bytes | None,
) -> None:
    """Replace the objects of a bucket with those of a backup; roll back from the safety backup's mirror."""
    store = buckets.ObjectStore(one, job.config["timeout_seconds"])
    safe = _safety(job, outcome)
    before = Path(safe["buckets"][one.name])
    pushing = False
    with place(job, f"part-{made['sequence']:06d}") as folder:
        brought = files_beside(job, engine, made, repository, folder, key)
        objects = folder / made.get("buckets", {}).get(one.name, one.name).lstrip("/")
        try:
            job.hook("stop_app")
            pushing = True
            compared = store.push(objects)
            outcome.changed = True
            job.hook("start_app")
        except Exception as failure:  # noqa: BLE001 - the app must be started again after any error

            def undo() -> None:
                if pushing:
                    # Parts of the app may be running already and would write to the bucket during the rollback.
                    with contextlib.suppress(BackupFailure):
                        job.hook("stop_app")
                    store.push(before)
                job.hook("start_app")

            if pushing:
                _back(job, outcome, failure, undo, f"what {before} holds")
            else:
                _unchanged(job, outcome, failure, undo)
            return
    job.actions.append(f"bucket {one.name} is {made['id']}; what was live is in backup {safe['id']}")
    outcome.more["restored"] = {
        "backup": made["id"],
        "at": one.location,
        "before": safe["id"],
        "compared": f"{brought.compared}; in the bucket {compared}",
        "seconds": brought.seconds,
    }


def _answers(job: Job) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with job.server() as server:
                if server.run("select pg_is_in_recovery()", seconds=20) == "f":
                    return
        except BackupFailure:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)
