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

from evenkeel_backup import (
    command,
    destroy,
    disk,
    ladder,
    load,
    manifest,
    owned,
    restore_role,
    safepath,
    snapshots,
    target,
    unfinished,
)
from evenkeel_backup.config import Repository
from evenkeel_backup.database import ROLES, Server, identifier, literal
from evenkeel_backup.destroy import OwnDatabase, remove
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job
from evenkeel_backup.load import Statement
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
    failed: tuple[Statement, ...] = ()
    problems: tuple[BackupFailure, ...] = ()
    notes: tuple[str, ...] = ()
    # The database under its scratch name, for an exchange.
    copy: OwnDatabase | None = None

    @property
    def complete(self) -> bool:
        """Return whether all of it was restored and equals the manifest."""
        return not self.failed and not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return it as it appears in reports."""
        return {
            "backup": self.backup,
            "at": self.at,
            "compared": self.compared,
            "seconds": self.seconds,
            "complete": self.complete,
            "left_out": self.left_out,
            "failed": [one.as_dict() for one in self.failed],
            "notes": list(self.notes),
        }


def logical_beside(
    job: Job,
    made: Manifest,
    repository: Repository,
    database: str,
    name: str,
    key: bytes | None,
    *,
    strict: bool = False,
    exchange: bool = False,
) -> Beside:
    """Restore one database on the live server under a scratch name, and give it its name once it is whole.

    One that is not whole is kept under a name that says so, or, if *strict*, dropped. With *exchange*, a whole one
    keeps its scratch name, for the caller to exchange and finish.
    """
    began = time.monotonic()
    entry = next(one for one in made["databases"] if one["name"] == database)
    records = owned.Records.of(job)
    with restore_role.administrator(job) as server, place(job, f"part-{made['sequence']:06d}") as folder:
        absent, anew = _preconditions(job, server, made, entry, folder)
        wanted = (archive_of(database), *(["roles.sql"] if anew and absent else []))
        root = snapshots.fetch(job, made, repository, key, folder, wanted)
        part = {
            file: value
            for file, value in made["files"].items()
            if file.startswith(archive_of(database) + "/") or file in wanted
        }
        ladder.refuse(manifest.file_problems({**made, "files": part}, disk.inventory(root), made["id"]))
        begun = owned.begin(records, job, entry, name)
        with owned.abandoning(server, records, begun):
            if anew and absent:
                _create_roles(server, made, root, absent, begun.mark)
            give(job, folder)
            loaded = load.load(job, server, records, begun, entry, root / archive_of(database), live=True)
            if strict:
                ladder.refuse(load.failures(database, loaded.failed))
            with job.server() as reader:
                found = load.compared(job, server, reader, made, entry, loaded)
            problems = found.problems
            if strict:
                ladder.refuse(problems)
            if loaded.failed or problems:
                at = owned.keep_incomplete(server, records, loaded.own, entry, name)
            elif exchange:
                at = loaded.own.name
            else:
                at, taken = _finished(server, records, loaded.own, entry, name)
                problems += taken
    text = f"{len(problems)} differences from the manifest" if problems else f"{found.text} as in the manifest"
    return Beside(
        made["id"],
        at,
        text + found.but_for,
        round(time.monotonic() - began, 3),
        found.left_out,
        tuple(loaded.failed),
        (*load.failures(database, loaded.failed), *problems),
        tuple(loaded.notes),
        loaded.own,
    )


def _finished(
    server: Server, records: owned.Records, own: OwnDatabase, entry: dict[str, Any], name: str
) -> tuple[str, list[BackupFailure]]:
    """Give a whole database its name; if that was taken meanwhile, another one, and return the failure."""
    try:
        return owned.finish(server, records, own, entry, name).name, []
    except BackupFailure as failure:
        if failure.fault != "target_live" or owned.name_of(server, own) != own.name:
            raise
        at = owned.finish(server, records, own, entry, target.beside(name, own.name[-7:])).name
        failure.sentence += f" What was restored is whole, and is {at}."
        return at, [failure]


def _preconditions(
    job: Job, server: Server, made: Manifest, entry: dict[str, Any], folder: Path
) -> tuple[list[str], bool]:
    """Check version, space and owner; return the missing roles, and whether the server is another than the backup's."""
    facts = server.facts()
    problems = [
        restore_role.may_restore(server),
        target.major_problem(made["server"]["major"], facts["major"], "logical"),
        target.space_problem(made["bytes"], disk.free_bytes(folder), str(folder)),
    ]
    data = Path(facts["data_dir"])
    if job.config.where["kind"] == "host" and data.exists():
        problems.append(target.space_problem(entry["bytes"], disk.free_bytes(data), str(data)))
    # A new server gets the roles back. On the server of the backup, a missing role was removed on purpose.
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
    return absent, anew


def _create_roles(server: Server, made: Manifest, root: Path, names: list[str], mark: str) -> None:
    """Create missing roles with their passwords, settings and the mark of this run, all of them or none."""
    text = grants_of_the_first(
        (root / "roles.sql").read_text(encoding="utf-8", errors="surrogateescape"), made["server"].get("bootstrap", "")
    )
    text = roles_of(text, names)
    # A role that roles.sql does not hold was not created by this run.
    created = [name for name in names if "CREATE ROLE " in roles_of(text, [name])]
    text += "".join(f"comment on role {identifier(name)} is {literal(mark)};\n" for name in created)
    command.need(
        server.tool(
            *("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", "-f", "-"),
            given=text,
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
    *,
    exchange: bool = False,
) -> Beside:
    """Restore a separate data folder, recover it without network, check it and stop the server.

    With *exchange*, the journal knows the folder, and decides after a kill what becomes of it.
    """
    began, state_dir = time.monotonic(), job.config.state_dir
    created = [own for own in [destroy.new_folder(folder)] if own] if exchange else unfinished.begin(state_dir, folder)
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
        unfinished.abandon(state_dir, created)
        raise
    finally:
        remove(scratch.sockets)
        remove(scratch.settings_dir)
    remove(folder / "wal")
    with contextlib.suppress(OSError):
        # It stays if the backup has tablespaces.
        (folder / "tablespaces").rmdir()
    _announce_timeline(job, scratch.data)
    unfinished.finish(state_dir, created)
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
