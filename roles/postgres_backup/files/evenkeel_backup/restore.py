# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb restore: beside what is live by default, over it only with its name typed and a way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from evenkeel_backup import buckets, exchange, identity, proof, target, wal
from evenkeel_backup.beside import Beside, files_beside, logical_beside, physical_beside
from evenkeel_backup.config import Repository
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job
from evenkeel_backup.logical import Logical
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.outcome import Outcome
from evenkeel_backup.physical import Physical
from evenkeel_backup.recovery import archive_of, candidate
from evenkeel_backup.state import now
from evenkeel_backup.target import Point

MODES = ("side_by_side", "pitr", "in_place", "drill")


@dataclass(frozen=True)
class Wish:
    """What was asked for."""

    mode: str = "side_by_side"
    backup: str = "latest"
    repository: str = ""
    database: str = ""
    name: str = ""
    into: str = ""
    confirm: str = ""
    point: Point = field(default_factory=Point)
    pointed: bool = False
    plan: bool = False
    key: bytes | None = None


def point_of(time: str, lsn: str, name: str, xid: str) -> Point:
    """The point that the options name; at most one of them."""
    given = [text for text in (time, lsn, name, xid) if text]
    if len(given) > 1:
        raise BackupFailure(
            "target_unknown",
            "the target is not one",
            "--target-*",
            f"{len(given)} targets",
            "one",
            "Set one of --target-time, --target-lsn, --target-name, --target-xid",
            "target",
        )
    try:
        return Point(target.parse_time(time) if time else None, wal.lsn(lsn) if lsn else None, name, xid)
    except ValueError as failure:
        raise BackupFailure(
            "target_unknown",
            "the target cannot be read",
            "--target-*",
            str(failure),
            "a time such as 2026-01-31 10:00:00+01, or an LSN such as 0/3000060",
            "Set it so",
            "target",
        ) from None


def run(job: Job, outcome: Outcome, wish: Wish) -> None:
    """Bring a backup back as asked."""
    engine = engine_of(job)
    repository = job.config.repository(wish.repository)
    job.sweep()
    if wish.mode == "drill":
        proof.drill(job, outcome, wish.backup, wish.repository, wish.key)
        return
    if wish.mode == "pitr" and not wish.pointed:
        raise BackupFailure(
            "target_unknown",
            "there is no target",
            "--mode pitr",
            "none",
            "a point in time",
            "Set one of --target-time, --target-lsn, --target-name, --target-xid",
            "target",
        )
    if wish.pointed and not isinstance(engine, Physical):
        raise BackupFailure(
            "target_out_of_range",
            "a point in time needs WAL",
            job.config.instance,
            f"the engine {job.config.engine}",
            "physical",
            "Restore a whole backup, or set engine to physical",
            "target",
        )
    if isinstance(engine, Physical):
        _physical(job, engine, outcome, repository, wish)
    elif isinstance(engine, Logical):
        _logical(job, engine, outcome, repository, wish)
    else:
        _files(job, engine, outcome, repository, wish)


def _folder(job: Job, wish: Wish, made: Manifest) -> Path:
    """Where a restore goes that names no place: the work folder, which programs in containers see too."""
    return Path(wish.into) if wish.into else job.config.work_dir / f"restored-{made['sequence']}"


def _plan(outcome: Outcome, wish: Wish, made: Manifest, steps: list[str]) -> bool:
    outcome.more["plan"] = {"backup": made["id"], "mode": wish.mode, "steps": steps}
    return wish.plan


def _logical(job: Job, engine: Logical, outcome: Outcome, repository: Repository, wish: Wish) -> None:
    made = proof.find(job, engine, repository, wish.backup, wish.key)
    names = [entry["name"] for entry in made["databases"]]
    database = wish.database or (names[0] if len(names) == 1 else "")
    if database not in names:
        raise BackupFailure(
            "target_unknown",
            "no such database in the backup",
            made["id"],
            repr(database),
            " or ".join(names),
            "Set --database",
            "target",
        )
    name = wish.name or target.beside(database, f"_restored_{made['sequence']}")
    live = job.live()
    if wish.mode == "in_place":
        target.confirmed(wish.confirm, database)
    target.refuse_live(live, job.config.instance, database=name)
    steps = [f"restore {database} of {made['id']} as {name}", "compare it with the manifest"]
    if wish.mode == "in_place":
        before = target.beside(database, f"_before_{made['sequence']}")
        steps = [
            "take a safety backup",
            "stop_app",
            *steps,
            f"rename {database} to {before} and {name} to {database} in one transaction",
            "start_app",
        ]
    if _plan(outcome, wish, made, steps):
        return
    if wish.mode == "in_place":
        exchange.databases(job, outcome, made, repository, database, name, wish.key)
        # Who types the name of a database of a server made anew has said that this server is the one from now on.
        identity.check(job, engine, new_server=True)
        return
    brought = logical_beside(job, made, repository, database, name, wish.key)
    _told(outcome, brought)


def _physical(job: Job, engine: Physical, outcome: Outcome, repository: Repository, wish: Wish) -> None:
    made, point = choose(job, engine, repository, wish)
    folder = _folder(job, wish, made)
    live = job.live()
    if wish.mode == "in_place":
        target.confirmed(wish.confirm, job.config.instance)
        if job.config.where["kind"] == "container":
            raise BackupFailure(
                "target_live",
                "a container's data folder cannot be exchanged",
                job.config.instance,
                "where.kind container",
                "a data folder of the host",
                "Restore side_by_side with --into, and mount that folder in the stack",
                "target",
            )
        folder = Path(live.data_dir + f".restored-{made['sequence']}")
        if not job.config["hooks"]["stop_server"] or not job.config["hooks"]["start_server"]:
            raise BackupFailure(
                "config_wrong",
                "the server cannot be stopped",
                job.config.instance,
                "no hooks stop_server and start_server",
                "both",
                "Set them in the role",
                "target",
            )
    target.refuse_live(live, job.config.instance, data_dir=str(folder / "data"))
    if folder.exists() and any(folder.iterdir()):
        raise BackupFailure(
            "target_live",
            "the folder is not empty",
            str(folder),
            "files in it",
            "an empty or new folder",
            "Set --into",
            "target",
        )
    steps = [f"restore {made['id']} to {folder / 'data'}", "recover with no network", "compare"]
    if wish.mode == "in_place":
        steps = [
            "take a safety backup",
            "stop_app",
            *steps,
            "stop_server",
            f"exchange {live.data_dir}",
            "start_server",
            "start_app",
        ]
    if _plan(outcome, wish, made, steps):
        return
    if wish.mode == "in_place":
        exchange.folders(job, engine, outcome, made, repository, point, folder, wish.key)
        return
    job.where.reach(folder)
    brought = physical_beside(job, engine, made, repository, point, folder, wish.key, exact=not wish.pointed)
    _told(outcome, brought)


def choose(job: Job, engine: Physical, repository: Repository, wish: Wish) -> tuple[Manifest, Point]:
    """The backup to start from, and the point; checked against timeline and archive before anything starts."""
    if not wish.pointed:
        made = proof.find(job, engine, repository, wish.backup, wish.key)
        return made, Point(lsn=wal.lsn(made["wal"]["canary_lsn"]))
    proof.learn(job, engine, repository, wish.key)
    by_label = {
        copy["snapshot"]: entry
        for entry in job.state.backups()
        for copy in entry["copies"]
        if copy["repository"] == repository.name
    }
    with engine.tool(wish.key) as tool:
        info = tool.info(repository)
        entries = [entry for entry in info["backup"] if entry["label"] in by_label]
        if not entries:
            raise BackupFailure(
                "target_unknown",
                "there is no backup",
                f"repository {repository.name}",
                "none",
                "one",
                "Take a backup first",
                "target",
            )
        size = by_label[entries[-1]["label"]]["server"]["segment_bytes"]
        archive = archive_of(tool, repository, entries[0], info, size)
        last = archive if not archive.hole else archive_of(tool, repository, entries[-1], info, size)
        if wish.backup != "latest":
            entries = [entry for entry in entries if by_label[entry["label"]]["id"] == wish.backup]
        chosen = target.choose(
            [candidate(entry) for entry in entries], wish.point, last.end - 1, min(now(), last.end_at)
        )
    return by_label[chosen.label], wish.point


def _files(job: Job, engine: object, outcome: Outcome, repository: Repository, wish: Wish) -> None:
    if not isinstance(engine, Folders):
        raise AssertionError("the third engine is that of files")
    if wish.mode == "in_place":
        _bucket(job, engine, outcome, repository, wish)
        return
    made = proof.find(job, engine, repository, wish.backup, wish.key)
    folder = _folder(job, wish, made)
    for path in [*job.config["paths"], *made.get("buckets", {}).values()]:
        target.refuse_live(target.Live(frozenset(), path, "", 0), job.config.instance, data_dir=str(folder))
    if _plan(outcome, wish, made, [f"restore {made['id']} below {folder}", "compare it with the manifest"]):
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _told(outcome, files_beside(job, engine, made, repository, folder, wish.key))


def _bucket(job: Job, engine: Folders, outcome: Outcome, repository: Repository, wish: Wish) -> None:
    """Only a bucket is replaced: what else writes to a folder is not known here."""
    if not job.config.buckets:
        raise BackupFailure(
            "target_live",
            "files are not replaced",
            job.config.instance,
            "--mode in_place",
            "side_by_side",
            "Restore beside with --into and move the files yourself",
            "target",
        )
    bucket = buckets.chosen(job.config.buckets, wish.confirm)
    made = proof.find(job, engine, repository, wish.backup, wish.key)
    steps = [
        "take a safety backup",
        f"restore {made['id']} beside, and compare it with the manifest",
        "stop_app",
        f"make bucket {bucket.name} at {bucket.location} hold its objects and no others, and read them back",
        "start_app",
    ]
    if not _plan(outcome, wish, made, steps):
        exchange.bucket(job, engine, outcome, made, repository, bucket, wish.key)


def _told(outcome: Outcome, brought: Beside) -> None:
    outcome.changed = True
    outcome.more["restored"] = {
        "backup": brought.backup,
        "at": brought.at,
        "compared": brought.compared,
        "seconds": brought.seconds,
    }
