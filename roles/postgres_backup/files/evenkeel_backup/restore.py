# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb restore: side by side by default; in place only with a confirmation and a way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from evenkeel_backup import buckets, exchange, identity, latest, owned, proof, target, wal
from evenkeel_backup.beside import Beside, files_beside, logical_beside, physical_beside
from evenkeel_backup.config import Repository
from evenkeel_backup.engine import Engine
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job
from evenkeel_backup.logical import Logical
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.outcome import UNPROVEN, Outcome
from evenkeel_backup.physical import Physical
from evenkeel_backup.recovery import archive_of, candidate
from evenkeel_backup.state import now
from evenkeel_backup.target import Point

MODES = ("side_by_side", "pitr", "in_place", "drill")


@dataclass(frozen=True)
class Request:
    """Options of a restore."""

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
    strict: bool = False


def point_of(time: str, lsn: str, name: str, xid: str) -> Point:
    """Return the recovery point of the options; at most one may be set."""
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


def run(job: Job, outcome: Outcome, request: Request) -> None:
    """Restore a backup."""
    engine = engine_of(job)
    repository = job.config.repository(request.repository)
    job.remove_leftovers()
    if request.mode == "drill":
        proof.drill(job, outcome, request.backup, request.repository, request.key)
        return
    if request.mode == "pitr" and not request.pointed:
        raise BackupFailure(
            "target_unknown",
            "there is no target",
            "--mode pitr",
            "none",
            "a point in time",
            "Set one of --target-time, --target-lsn, --target-name, --target-xid",
            "target",
        )
    if request.pointed and not isinstance(engine, Physical):
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
        _physical(job, engine, outcome, repository, request)
    elif isinstance(engine, Logical):
        _logical(job, engine, outcome, repository, request)
    else:
        _files(job, engine, outcome, repository, request)


def _folder(job: Job, request: Request, made: Manifest) -> Path:
    """Return the default target: the work folder, which programs in containers can see."""
    return Path(request.into) if request.into else job.config.work_dir / f"restored-{made['sequence']}"


def _chosen(
    job: Job, engine: Engine, outcome: Outcome, repository: Repository, request: Request, database: str = ""
) -> Manifest:
    """Return the backup to restore, and report which one and why."""
    choice = latest.choose(job, engine, repository, request.backup, request.key, database)
    job.actions.append(choice.sentence)
    outcome.more["chosen"] = choice.as_dict()
    return choice.made


def _plan(outcome: Outcome, request: Request, made: Manifest, steps: list[str]) -> bool:
    outcome.more["plan"] = {"backup": made["id"], "mode": request.mode, "steps": steps}
    return request.plan


def _logical(job: Job, engine: Logical, outcome: Outcome, repository: Repository, request: Request) -> None:
    made = _chosen(job, engine, outcome, repository, request, request.database)
    names = [entry["name"] for entry in made["databases"]]
    database = request.database or (names[0] if len(names) == 1 else "")
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
    name = request.name or target.beside(database, f"_restored_{made['sequence']}")
    if request.mode == "in_place":
        target.confirmed(request.confirm, database)
    else:
        target.name_that_fits(name)
        target.refuse_live(job.live(), job.config.instance, database=name)
    steps = [
        f"restore {database} of {made['id']} under a scratch name, and list the statements that fail",
        "compare it with the manifest",
    ]
    if request.mode == "in_place":
        before = target.beside(database, f"_before_{made['sequence']}")
        steps = [
            "take a safety backup",
            "stop_app",
            *steps,
            f"rename {database} to {before} and the restored one to {database} in one transaction, if it is whole",
            "start_app",
        ]
    else:
        steps.append(f"rename it to {name}, or to {target.beside(name, '_incomplete')} if it is not whole")
    if _plan(outcome, request, made, steps):
        return
    owned.settle(job)
    if request.mode == "in_place":
        if exchange.databases(job, outcome, made, repository, database, request.key, strict=request.strict):
            # Typing the name of a database on a new server confirms that server, too.
            identity.check(job, engine, new_server=True)
        return
    brought = logical_beside(job, made, repository, database, name, request.key, strict=request.strict)
    _failures_of(outcome, brought)


def _physical(job: Job, engine: Physical, outcome: Outcome, repository: Repository, request: Request) -> None:
    made, point = choose(job, engine, outcome, repository, request)
    folder = _folder(job, request, made)
    live = job.live()
    if request.mode == "in_place":
        target.confirmed(request.confirm, job.config.instance)
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
        exchange.refuse_fixed(Path(live.data_dir), made.get("tablespaces", []), job.config.instance)
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
    # The manifest describes the point of the backup; at another point, the rows differ.
    compare = "see that it takes queries" if request.pointed else "compare it with the manifest"
    steps = [f"restore {made['id']} to {folder / 'data'}", "recover with no network", compare]
    if request.mode == "in_place":
        steps = [
            "take a safety backup",
            "stop_app",
            *steps,
            "stop_server",
            f"exchange {live.data_dir}",
            "start_server",
            "start_app",
        ]
    if _plan(outcome, request, made, steps):
        return
    if request.mode == "in_place":
        exact = not request.pointed
        exchange.folders(job, engine, outcome, made, repository, point, folder, request.key, exact)
        return
    job.where.reach(folder)
    brought = physical_beside(job, engine, made, repository, point, folder, request.key, exact=not request.pointed)
    _failures_of(outcome, brought)


def choose(
    job: Job, engine: Physical, outcome: Outcome, repository: Repository, request: Request
) -> tuple[Manifest, Point]:
    """Choose backup and point; check timeline and archive before anything starts."""
    if not request.pointed:
        made = _chosen(job, engine, outcome, repository, request)
        return made, Point(lsn=wal.lsn(made["wal"]["canary_lsn"]))
    proof.learn(job, engine, repository, request.key)
    by_label = {
        copy["snapshot"]: entry
        for entry in job.state.backups()
        for copy in entry["copies"]
        if copy["repository"] == repository.name
    }
    with engine.tool(request.key) as tool:
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
        if request.backup != "latest":
            entries = [entry for entry in entries if by_label[entry["label"]]["id"] == request.backup]
        chosen = target.choose(
            [candidate(entry) for entry in entries], request.point, last.end - 1, min(now(), last.end_at)
        )
    return by_label[chosen.label], request.point


def _files(job: Job, engine: object, outcome: Outcome, repository: Repository, request: Request) -> None:
    if not isinstance(engine, Folders):
        raise AssertionError("the third engine is that of files")
    if request.mode == "in_place":
        _bucket(job, engine, outcome, repository, request)
        return
    made = _chosen(job, engine, outcome, repository, request)
    folder = _folder(job, request, made)
    for path in [*job.config["paths"], *made.get("buckets", {}).values()]:
        target.refuse_live(target.Live(frozenset(), path, "", 0), job.config.instance, data_dir=str(folder))
    if _plan(outcome, request, made, [f"restore {made['id']} below {folder}", "compare it with the manifest"]):
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _failures_of(outcome, files_beside(job, engine, made, repository, folder, request.key))


def _bucket(job: Job, engine: Folders, outcome: Outcome, repository: Repository, request: Request) -> None:
    """Return the bucket to replace; folders are refused, because other writers are unknown."""
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
    bucket = buckets.chosen(job.config.buckets, request.confirm)
    made = _chosen(job, engine, outcome, repository, request)
    steps = [
        "take a safety backup",
        f"restore {made['id']} beside, and compare it with the manifest",
        "stop_app",
        f"make bucket {bucket.name} at {bucket.location} hold its objects and no others, and read them back",
        "start_app",
    ]
    if not _plan(outcome, request, made, steps):
        exchange.bucket(job, engine, outcome, made, repository, bucket, request.key)


def _failures_of(outcome: Outcome, brought: Beside) -> None:
    outcome.changed = True
    outcome.more["restored"] = brought.as_dict()
    outcome.fail(UNPROVEN if brought.problems else 0, *brought.problems)
