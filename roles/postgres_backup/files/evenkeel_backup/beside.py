# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Side-by-side restore: a database under another name, or a separate data folder."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenkeel_backup import command, comparison, disk, ladder, manifest, restore_role, safepath, snapshots, target
from evenkeel_backup.config import Repository
from evenkeel_backup.database import (
    ROLES,
    Server,
    create_statements,
    identifier,
    property_statements,
)
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job, remove
from evenkeel_backup.logical import archive_of, give, grants_of_the_first, roles_of
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.physical import Physical
from evenkeel_backup.scratch import Scratch, place, running
from evenkeel_backup.target import Point


@dataclass(frozen=True)
class Beside:
    """What was restored, where it is, and the result of the comparison."""

    backup: str
    at: str
    compared: str
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)


def logical_beside(
    job: Job, made: Manifest, repository: Repository, database: str, name: str, key: bytes | None
) -> Beside:
    """Restore one database under a new name on the live server; remove it on a failure."""
    began = time.monotonic()
    entry = next(one for one in made["databases"] if one["name"] == database)
    with restore_role.administrator(job) as server, place(job, f"part-{made['sequence']:06d}") as folder:
        facts = server.facts()
        problems = [
            restore_role.may_restore(server),
            target.major_problem(made["server"]["major"], facts["major"], "logical"),
            target.space_problem(made["bytes"], disk.free_bytes(folder), str(folder)),
        ]
        data = Path(facts["data_dir"])
        if job.config.where["kind"] == "host" and data.exists():
            problems.append(target.space_problem(entry["bytes"], disk.free_bytes(data), str(data)))
        # A new server gets the roles back. On the server of the backup, a missing role was removed on
        # purpose.
        absent = sorted(set(made["roles"]) - set(server.ask(ROLES)))
        anew = facts["system"] != made["server"]["system"]
        if entry["owner"] in absent and not anew:
            problems.append(
                BackupFailure(
                    "missing_role",
                    "a role is missing",
                    made["id"],
                    f"no {entry['owner']}",
                    "the owner of the data",
                    "Create it",
                    "target",
                )
            )
        ladder.refuse([problem for problem in problems if problem])
        wanted = (archive_of(database), *(["roles.sql"] if anew and absent else []))
        root = snapshots.fetch(job, made, repository, key, folder, wanted)
        part = {
            file: value
            for file, value in made["files"].items()
            if file.startswith(archive_of(database) + "/") or file in wanted
        }
        ladder.refuse(manifest.file_problems({**made, "files": part}, disk.inventory(root), made["id"]))
        created = absent if anew else []
        try:
            if created:
                _create_roles(server, made, root, created)
            give(job, folder)
            server.run(create_statements(entry, name))
            with restore_role.restorer(job, server, name, entry) as by:
                for statement in restore_role.extension_statements(entry, by.role):
                    server.at(name).run(statement)
                _load(job, by, name, root / archive_of(database), entry)
            for statement in property_statements(entry, name):
                server.run(statement)
            with job.server() as reader:
                compared = comparison.compare(job, made, {database: reader.at(name)}, None)
            ladder.refuse(compared.problems)
        except BaseException:
            with contextlib.suppress(BackupFailure):
                server.run(f"drop database if exists {identifier(name)}")
            for role in created:
                with contextlib.suppress(BackupFailure):
                    server.run(f"drop role if exists {identifier(role)}")
            raise
    return Beside(
        made["id"],
        name,
        f"{compared.text} as in the manifest{compared.but_for}",
        round(time.monotonic() - began, 3),
        compared.left_out,
    )


def _load(job: Job, by: restore_role.Restorer, name: str, archive: Path, entry: dict[str, Any]) -> None:
    """Load an archive as the role of the restore."""
    done = command.run(job.where.argv("pg_restore", "--list", str(archive), network="none"), seconds=600)
    command.need(
        done,
        "the archive's catalogue cannot be read",
        name,
        "pg_restore --list to read it",
        "Restore another backup",
        "catalogue_unreadable",
    )
    listing = job.config.work_dir / "part-list"
    safepath.create(listing, restore_role.chosen(done.out, entry), 0o400, job.where.uid, job.where.gid)
    try:
        done = by.server.tool(
            "pg_restore",
            "--exit-on-error",
            "--no-tablespaces",
            "--no-owner",
            f"--use-list={listing}",
            f"--jobs={job.config['jobs']}",
            f"--dbname={name}",
            str(archive),
            seconds=job.config["timeout_seconds"],
        )
    finally:
        remove(listing)
    command.need(
        done,
        "the archive was not restored",
        name,
        "pg_restore ending with code 0",
        "Fix the problem in the message",
        "truncated_dump",
    )


def _create_roles(server: Server, made: Manifest, root: Path, names: list[str]) -> None:
    """Create missing roles with their passwords and settings."""
    stored = (root / "roles.sql").read_text(encoding="utf-8", errors="surrogateescape")
    text = grants_of_the_first(stored, made["server"].get("bootstrap", ""))
    command.need(
        server.tool(
            *("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", "-"),
            given=roles_of(text, names),
            seconds=600,
        ),
        "the roles were not restored",
        made["id"],
        "no error",
        "Look at the roles of the live server",
    )


def physical_beside(
    job: Job,
    engine: Physical,
    made: Manifest,
    repository: Repository,
    point: Point,
    folder: Path,
    key: bytes | None,
    exact: bool,
) -> Beside:
    """Restore a separate data folder, recover it without network, check it and stop the server."""
    began = time.monotonic()
    existed = folder.exists()
    safepath.make(folder, 0o711)
    job.where.reach(folder)
    scratch = Scratch(job, folder, folder / "data")
    user = job.config.server["user"]
    try:
        with engine.tool(key) as tool, running(scratch):
            engine.bring_back(tool, made, repository, point, scratch)
            server = scratch.server(user=user)
            if exact:
                found = engine.compare(made, server, job.config["tolerance"])
                ladder.refuse(found.problems)
                compared, left_out = f"{found.text} as in the manifest{found.but_for}", found.left_out
            else:
                compared = _opened(
                    server.ask("select json_build_object('size', sum(pg_database_size(oid))) from pg_database")
                )
                compared += f", stopped at {server.run('select pg_last_wal_replay_lsn()') or 'its end'}"
                left_out = ["nothing was compared, because no manifest is of this point"]
    except BaseException:
        if not existed:
            remove(folder)
        raise
    finally:
        remove(scratch.sockets)
        remove(scratch.settings_dir)
    remove(folder / "wal")
    with contextlib.suppress(OSError):
        # It stays if the backup has tablespaces.
        (folder / "tablespaces").rmdir()
    _announce_timeline(job, scratch.data)
    return Beside(made["id"], str(scratch.data), compared, round(time.monotonic() - began, 3), left_out)


def _announce_timeline(job: Job, data: Path) -> None:
    """Mark the history of the new timeline for archiving.

    It was created while archiving was off; without it, no later recovery can follow the timeline.
    """
    for history in (data / "pg_wal").glob("*.history"):
        ready = ("pg_wal", "archive_status", f"{history.name}.ready")
        safepath.touch(data, *ready, uid=job.where.uid, gid=job.where.gid)


def _opened(found: dict[str, int]) -> str:
    return f"it takes queries and holds {found['size']} bytes"


def files_beside(
    job: Job, engine: Folders, made: Manifest, repository: Repository, folder: Path, key: bytes | None
) -> Beside:
    """Restore all files of a backup below a folder, with their former paths."""
    began = time.monotonic()
    problem = target.space_problem(made["bytes"], disk.free_bytes(folder), str(folder))
    if problem:
        raise problem
    snapshots.fetch(job, made, repository, key, folder)
    return Beside(made["id"], str(folder), engine.compare(made, folder), time.monotonic() - began)
