# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that drops, ends or removes. Nothing else in the program does.

A database or role is destroyed only if this program created it: its oid and its comment must be those that were
recorded at its creation, and both are checked again in the session that destroys it. A check that cannot be made is a
refusal. A database must also have a scratch name, so no statement here can name one of a user.
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from evenkeel_backup import safepath
from evenkeel_backup.database import Server, identifier, literal
from evenkeel_backup.faults import BackupFailure

SCRATCH_NAME = re.compile(r"evenkeel_restore_[0-9a-f]{16}")
STAGE = "restore"
END_SECONDS = 30


@dataclass(frozen=True)
class OwnDatabase:
    """A database that a run created: oid, current name, and the comment that marks it."""

    oid: int
    name: str
    mark: str

    def named(self, name: str) -> OwnDatabase:
        """Return the same database under another name."""
        return replace(self, name=name)


@dataclass(frozen=True)
class OwnRole:
    """A role that a run created: oid, name, and the comment that marks it."""

    oid: int
    name: str
    mark: str


@dataclass(frozen=True)
class OwnFolder:
    """A folder that a run created: path, device and inode."""

    path: Path
    device: int
    inode: int


def check_of(own: OwnDatabase | OwnRole) -> str:
    """Return the SQL condition that is true only for this object under this name. Pure."""
    # Comments of roles are stored for pg_authid, which only a superuser can read.
    source, catalogue, name = (
        ("pg_database", "pg_database", "datname")
        if isinstance(own, OwnDatabase)
        else ("pg_roles", "pg_authid", "rolname")
    )
    return (
        f"exists (select from pg_catalog.{source} o where o.oid = {int(own.oid)} and o.{name} = {literal(own.name)}"
        f" and pg_catalog.shobj_description(o.oid, '{catalogue}') = {literal(own.mark)})"
    )


def named(oid: int, name: str) -> str:
    """Return the SQL condition that a database has this oid and this name. Pure."""
    return f"exists (select from pg_catalog.pg_database where oid = {int(oid)} and datname = {literal(name)})"


def guarded(server: Server, checks: Iterable[str], statements: str, subject: str) -> None:
    """Run statements only if all checks hold in the same session; raise if one does not, or cannot be made."""
    script = f"select {_all(checks)} as ours \\gset\n\\if :ours\n{statements}\n\\echo done\n\\endif"
    _need_done(server, script, subject)


def guarded_renames(
    server: Server, checks: Iterable[str], statements: Iterable[str], after: Iterable[str], subject: str
) -> None:
    """Run statements in one transaction, and commit only if the checks hold before and those of *after* hold then.

    The renamed rows are locked until the commit, so nobody can put another database in their place in between.
    """
    script = (
        f"begin;\nselect {_all(checks)} as ours \\gset\n\\if :ours\n{_joined(statements)}\n"
        f"select {_all(after)} as ours \\gset\n\\if :ours\ncommit;\n\\echo done\n\\endif\n\\endif"
    )
    _need_done(server, script, subject)


def _all(checks: Iterable[str]) -> str:
    return " and ".join(f"({check})" for check in checks)


def _joined(statements: Iterable[str]) -> str:
    return "\n".join(f"{statement};" for statement in statements)


def _need_done(server: Server, script: str, subject: str) -> None:
    if server.run(script).splitlines()[-1:] != ["done"]:
        raise BackupFailure(
            "target_live",
            "the object is not the one that this run created",
            subject,
            "another oid, name or comment",
            "those of its creation",
            "It was not changed; look at who renamed or replaced it",
            STAGE,
        )


def drop_database(server: Server, own: OwnDatabase) -> None:
    """Drop a scratch database of this program, with its sessions; raise unless it is that one."""
    if not SCRATCH_NAME.fullmatch(own.name):
        raise BackupFailure(
            "target_live",
            "the database is not dropped",
            own.name,
            "a name of its own",
            "a scratch name",
            "Drop it by hand once it is not needed",
            STAGE,
        )
    _forget_subscriptions(server, own)
    name = identifier(own.name)
    guarded(
        server,
        [check_of(own)],
        # Programs of a killed run may still be connected. WITH (FORCE) is of PostgreSQL 13 and later.
        "select pg_catalog.current_setting('server_version_num')::int >= 130000 as forced \\gset\n"
        f"\\if :forced\ndrop database {name} with (force);\n\\else\ndrop database {name};\n\\endif",
        own.name,
    )


def _forget_subscriptions(server: Server, own: OwnDatabase) -> None:
    """Drop the subscriptions in a scratch database without their remote slots; they prevent the drop."""
    names = server.ask(
        "select coalesce(json_agg(subname), '[]') from pg_catalog.pg_subscription"
        f" where subdbid = {int(own.oid)} and {check_of(own)}"
    )
    for name in map(identifier, names):
        guarded(
            server.at(own.name),
            [check_of(own), f"current_database() = {literal(own.name)}"],
            f"alter subscription {name} disable;\nalter subscription {name} set (slot_name = none);\n"
            f"drop subscription {name};",
            own.name,
        )


def drop_role(server: Server, own: OwnRole) -> None:
    """Drop a role that this program created; PostgreSQL refuses it while the role owns anything."""
    guarded(server, [check_of(own)], f"drop role {identifier(own.name)};", own.name)


def end_sessions(server: Server, own: OwnDatabase) -> None:
    """End the sessions of a database of this program."""
    guarded(
        server,
        [check_of(own)],
        "select pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) as ended from pg_catalog.pg_stat_activity"
        f" where datid = {int(own.oid)} and pid <> pg_catalog.pg_backend_pid() \\gset",
        own.name,
    )
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        if not server.ask(
            "select to_json(count(*)) from pg_catalog.pg_stat_activity"
            f" where datid = {int(own.oid)} and pid <> pg_catalog.pg_backend_pid()"
        ):
            return
        time.sleep(0.2)


def new_folder(path: Path) -> OwnFolder | None:
    """Create a folder; return None if something has that name already, which is then never removed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return None
    found = path.lstat()
    return OwnFolder(path, found.st_dev, found.st_ino)


def remove_folder(own: OwnFolder) -> None:
    """Remove a folder that this run created, unless another one has its place."""
    try:
        found = own.path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode) and (found.st_dev, found.st_ino) == (own.device, own.inode):
        safepath.remove(own.path)


# Removes a file or folder of the program's own work folder; of a link only the link.
remove = safepath.remove
