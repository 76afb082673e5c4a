# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In-place restore: take a safety backup, restore side by side, swap, and roll back on a failure.

Each step from the stop of the app on is in the journal before it is done; swap.py finishes or undoes the rest.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evenkeel_backup import backup, buckets, journal, metrics, owned, settle, target
from evenkeel_backup.beside import files_beside, logical_beside, physical_beside
from evenkeel_backup.config import Bucket, Repository
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job
from evenkeel_backup.manifest import SAFETY, Manifest
from evenkeel_backup.outcome import FAILED, MANUAL_WORK, ROLLED_BACK, UNPROVEN, Outcome
from evenkeel_backup.physical import Physical
from evenkeel_backup.scratch import place
from evenkeel_backup.state import level_of
from evenkeel_backup.swap import Databases, DataFolder, Objects, Swap, running_in
from evenkeel_backup.target import Point

STAGE = "restore"


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


def _begin(job: Job, kind: str, made: Manifest, **facts: Any) -> journal.Journal:
    """Open the journal, and raise its alert, before the app is stopped."""
    log = journal.begin(job.config.state_dir, kind, backup=made["id"], sequence=made["sequence"], **facts)
    metrics.write(job)
    return log


def _back(job: Job, outcome: Outcome, way: Swap, why: Exception) -> None:
    """Roll back to the former data; if that fails too, keep the journal and report where the data is."""
    failures = settle.failures_of(job.config.instance, why)
    try:
        touched = way.touched()
        way.back()
    except Exception as worse:  # noqa: BLE001 - any error must be reported
        outcome.fail(MANUAL_WORK, *failures, *settle.way_back_failed(job, way, worse))
        return
    settle.close(job, way)
    outcome.fail(ROLLED_BACK if touched else FAILED, *failures)
    job.actions.append("rolled back to the former data" if touched else "the live data was not changed")


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
        live = owned.oid_of(owned.elsewhere(server, database), database)
    _safety(job, outcome)
    log = _begin(job, "databases", made, database=database, before=before, live=live)
    way = Databases(job, log)
    try:
        job.hook("stop_app")
        log.step("restore")
        brought = logical_beside(job, made, repository, database, database, key, strict=strict, exchange=True)
        copy = brought.copy if brought.complete else None
        if copy:
            log.step("exchange", copy=asdict(copy))
            way.exchange(entry)
            outcome.changed = True
        way.finish()
    except Exception as failure:  # noqa: BLE001 - the app must be started again after any error
        _back(job, outcome, way, failure)
        return False
    settle.close(job, way)
    outcome.more["restored"] = {**brought.as_dict(), "at": database if copy else brought.at}
    outcome.fail(UNPROVEN if brought.problems else 0, *brought.problems)
    if not copy:
        job.actions.append(
            f"{database} is unchanged; what was restored of {made['id']} is not whole, and is {brought.at}"
        )
        return False
    kept = f"what was live is kept as {before}" if live else "there was no such database"
    job.actions.append(f"{database} is {made['id']}; {kept}")
    outcome.more["restored"]["before"] = before if live else ""
    return True


def refuse_fixed(live: Path, tablespaces: list[str], instance: str) -> None:
    """Refuse a data folder that cannot be exchanged by a rename, before anything starts."""
    if tablespaces:
        raise BackupFailure(
            "target_live",
            "tablespaces cannot be exchanged in place",
            instance,
            f"the tablespaces {', '.join(tablespaces)}",
            "a server without any",
            "Restore side_by_side with --into, where their folders lie beside the data folder",
            "target",
        )
    if os.path.ismount(live) or live.is_symlink():
        raise BackupFailure(
            "target_live",
            "the data folder cannot be renamed",
            str(live),
            "a mount point" if os.path.ismount(live) else "a symbolic link",
            "a folder below a mount point",
            "Restore side_by_side with --into, and point the server to that folder",
            "target",
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
    exact: bool,
) -> None:
    """Swap the data folder of the stopped server with the recovered one; compared with the manifest if *exact*."""
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
    log = _begin(job, "folders", made, live=str(live), before=str(before), folder=str(folder))
    way = DataFolder(job, log)
    try:
        job.hook("stop_app")
        log.step("restore")
        brought = physical_beside(job, engine, made, repository, point, folder, key, exact=exact, exchange=True)
        log.step("stop_server", stopped=True)
        job.hook("stop_server")
        if (live / "postmaster.pid").exists() or running_in(live):
            raise BackupFailure(
                "connections_open",
                "the server still runs",
                str(live),
                "its postmaster.pid",
                "a stopped server",
                "Correct hooks.stop_server",
                STAGE,
            )
        way.exchange()
        outcome.changed = True
        way.finish()
    except Exception as failure:  # noqa: BLE001 - the app must be started again after any error
        _back(job, outcome, way, failure)
        return
    settle.close(job, way)
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
    """Replace the objects of a bucket with those of a backup; roll back from the safety backup."""
    store = buckets.ObjectStore(one, job.config["timeout_seconds"])
    safe = _safety(job, outcome)
    with place(job, f"part-{made['sequence']:06d}") as folder:
        brought = files_beside(job, engine, made, repository, folder, key)
        objects = folder / made.get("buckets", {}).get(one.name, one.name).lstrip("/")
        log = _begin(job, "bucket", made, bucket=one.name, safety=safe["id"], mirror=safe["buckets"][one.name])
        way = Objects(job, log)
        try:
            job.hook("stop_app")
            log.step("exchange", pushing=True)
            compared = store.push(objects)
            outcome.changed = True
            way.finish()
        except Exception as failure:  # noqa: BLE001 - the app must be started again after any error
            _back(job, outcome, way, failure)
            return
        settle.close(job, way)
    job.actions.append(f"bucket {one.name} is {made['id']}; what was live is in backup {safe['id']}")
    outcome.more["restored"] = {
        "backup": made["id"],
        "at": one.location,
        "before": safe["id"],
        "compared": f"{brought.compared}; in the bucket {compared}",
        "seconds": brought.seconds,
    }
