# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases that a restore creates: under a scratch name until they are whole, then under their own.

A scratch name is unguessable and is written to the state folder before the database exists. So a run that is killed
leaves at most databases that the next run of this host knows, and no half database ever has a name that an app uses.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenkeel_backup import destroy, disk, properties, restore_role, target
from evenkeel_backup.database import Server, create_statements, identifier, literal
from evenkeel_backup.destroy import OwnDatabase, OwnRole, check_of, guarded_renames, named
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job

# Followed by 16 hexadecimal digits: 33 bytes, whatever name the database will get.
PREFIX = "evenkeel_restore_"
STAGE = "restore"


class Records:
    """The objects that runs of this host created and have not finished: a file in the state folder."""

    def __init__(self, path: Path | None) -> None:
        # A drill's server and all that is in it is removed with its folder, and needs no record.
        self.path = path

    @classmethod
    def of(cls, job: Job) -> Records:
        """Return the records of an instance."""
        return cls(job.config.state_dir / "unfinished.json")

    def all(self) -> list[dict[str, Any]]:
        """Return all records, oldest first."""
        found = disk.read_json(self.path) if self.path else None
        return list((found or {}).get("databases", []))

    def keep(self, record: Mapping[str, Any]) -> None:
        """Write a record, which replaces the one of the same name."""
        others = [one for one in self.all() if one["name"] != record["name"]]
        self._write([*others, dict(record)])

    def drop(self, name: str) -> None:
        """Remove a record."""
        self._write([one for one in self.all() if one["name"] != name])

    def _write(self, records: list[dict[str, Any]]) -> None:
        if self.path:
            disk.write_json(self.path, {"databases": records})


@dataclass(frozen=True)
class Begun:
    """A database that is about to be created: its scratch name, and its mark, which the run's roles carry, too."""

    name: str
    mark: str
    wanted: str
    comment: str

    def record(self, oid: int = 0) -> dict[str, Any]:
        """Return what the state folder stores of it."""
        return {"name": self.name, "oid": oid, "mark": self.mark, "wanted": self.wanted, "comment": self.comment}


def begin(records: Records, job: Job, entry: Mapping[str, Any], wanted: str) -> Begun:
    """Choose a scratch name, and record it before anything is created; *wanted* is the name that it will get."""
    token = secrets.token_hex(8)
    mark = (
        f"evenkeel-backup: unfinished restore {token} of {job.config.instance} by {job.host}, removed by its next run"
    )
    begun = Begun(PREFIX + token, mark, wanted, entry.get("comment") or "")
    records.keep(begun.record())
    return begun


def create(server: Server, records: Records, begun: Begun, entry: Mapping[str, Any]) -> OwnDatabase:
    """Create an empty database with a scratch name, which only its owner and superusers can use."""
    name = identifier(begun.name)
    tablespace = _tablespace(server, entry)
    # CREATE DATABASE runs in no transaction; settle() adopts a database that has no mark yet.
    server.run(
        create_statements(dict(entry), begun.name) + (f" tablespace {identifier(tablespace)}" if tablespace else "")
    )
    server.run(
        f"begin;comment on database {name} is {literal(begun.mark)};"
        f"revoke connect, temporary on database {name} from public;commit"
    )
    own = OwnDatabase(oid_of(server, begun.name), begun.name, begun.mark)
    records.keep(begun.record(own.oid))
    return own


def own_roles(server: Server, mark: str) -> list[OwnRole]:
    """Return the roles with the mark of a run."""
    found = server.ask(
        "select coalesce(json_agg(json_build_object('oid', oid::bigint, 'name', rolname)), '[]') from pg_roles"
        f" where pg_catalog.shobj_description(oid, 'pg_authid') = {literal(mark)}"
    )
    return [OwnRole(int(one["oid"]), one["name"], mark) for one in found]


def _tablespace(server: Server, entry: Mapping[str, Any]) -> str:
    """Return the tablespace of the database if this server has it; empty for the default one."""
    name = entry.get("tablespace") or "pg_default"
    if name == "pg_default":
        return ""
    there = server.ask(f"select to_json(count(*)) from pg_tablespace where spcname = {literal(name)}")
    return str(name) if there else ""


def oid_of(server: Server, name: str) -> int:
    """Return the oid of a database; 0 if there is none."""
    source = f"pg_database where datname = {literal(name)}"
    return int(server.ask(f"select to_json(coalesce(max(oid::bigint), 0)) from {source}"))


def name_of(server: Server, own: OwnDatabase) -> str:
    """Return the present name of a database of this program; empty if it is gone or no longer marked."""
    return str(
        server.ask(
            "select to_json(coalesce(max(datname::text), '')) from pg_database"
            f" where oid = {own.oid} and pg_catalog.shobj_description(oid, 'pg_database') = {literal(own.mark)}"
        )
    )


def named_by(server: Server, oid: int) -> str:
    """Return the present name of a database by its oid; empty if it is gone."""
    source = f"pg_database where oid = {int(oid)}"
    return str(server.ask(f"select to_json(coalesce(max(datname::text), '')) from {source}"))


def elsewhere(server: Server, database: str) -> Server:
    """Return a connection to another database than this one, because a session cannot rename its own."""
    return server.at("template1") if server.database == database else server


def rename(server: Server, own: OwnDatabase, name: str, more: Iterable[str] = ()) -> OwnDatabase:
    """Give a database its name, with *more* statements in the same transaction; the server refuses a taken name."""
    statements = [f"alter database {identifier(own.name)} rename to {identifier(name)}", *more]
    try:
        guarded_renames(server, [check_of(own)], statements, [named(own.oid, name)], own.name)
    except BackupFailure as failure:
        if oid_of(server, name) not in {0, own.oid}:
            raise BackupFailure(
                "target_live",
                "the target is live",
                name,
                "a database that was created meanwhile",
                "no database of that name",
                "Restore it under another name (--as)",
                STAGE,
            ) from failure
        raise
    return own.named(name)


def comment_statement(name: str, text: str) -> str:
    """Return SQL that replaces the mark by another comment, or by none. Pure."""
    return f"comment on database {identifier(name)} is {literal(text) if text else 'null'}"


def _finish(server: Server, own: OwnDatabase, comment: str) -> None:
    """Replace the marks of a run."""
    statements = [comment_statement(own.name, comment), *_unmarked(server, own.mark)]
    guarded_renames(server, [check_of(own)], statements, [named(own.oid, own.name)], own.name)


def finish(
    server: Server, records: Records, own: OwnDatabase, entry: Mapping[str, Any], name: str, *, close: bool = True
) -> OwnDatabase:
    """Give a whole database its name, its comment and what closes it at once; from then on it is no scratch one."""
    more = [comment_statement(name, entry.get("comment") or ""), *_unmarked(server, own.mark)]
    done = rename(server, own, name, [*more, *(properties.closing_statements(entry, name) if close else [])])
    records.drop(own.name)
    return done


def _unmarked(server: Server, mark: str) -> list[str]:
    """Return SQL that makes the roles of a run the server's own."""
    return [f"comment on role {identifier(role.name)} is null" for role in own_roles(server, mark)]


def exchange(
    server: Server, own: OwnDatabase, live: int, names: tuple[str, str], entry: Mapping[str, Any]
) -> OwnDatabase:
    """Give a database the name of a live one, which gets another, in one transaction.

    *live* is the oid of the live database, 0 if there is none; *names* are its name and its new one. The mark stays
    until the exchange is finished, so that it can be undone.
    """
    name, before = names
    statements = [
        f"alter database {identifier(own.name)} rename to {identifier(name)}",
        *properties.closing_statements(entry, name),
    ]
    checks, after = [check_of(own)], [named(own.oid, name)]
    if live:
        statements.insert(0, f"alter database {identifier(name)} rename to {identifier(before)}")
        checks.append(named(live, name))
        after.append(named(live, before))
    guarded_renames(server, checks, statements, after, name)
    return own.named(name)


def exchange_back(server: Server, own: OwnDatabase, live: int, names: tuple[str, str]) -> None:
    """Undo an exchange: the former database gets its name back, the restored one its scratch name."""
    name, before = names
    statements = [
        f"alter database {identifier(name)} is_template false",
        f"alter database {identifier(name)} rename to {identifier(own.name)}",
    ]
    checks, after = [check_of(own.named(name))], [named(own.oid, own.name)]
    if live:
        statements.append(f"alter database {identifier(before)} rename to {identifier(name)}")
        checks.append(named(live, before))
        after.append(named(live, name))
    guarded_renames(server, checks, statements, after, name)


def finish_exchange(server: Server, records: Records, own: OwnDatabase, entry: Mapping[str, Any], name: str) -> None:
    """Replace the mark of an exchanged database by its own comment; from then on it is the app's."""
    _finish(server, own.named(name), entry.get("comment") or "")
    records.drop(own.name)


def keep_incomplete(server: Server, records: Records, own: OwnDatabase, entry: Mapping[str, Any], wanted: str) -> str:
    """Keep a database that is not whole under a name that says so, and return that name."""
    token = own.name.removeprefix(PREFIX)
    name = ""
    for suffix in ("_incomplete", f"_incomplete_{token[:6]}"):
        name = target.beside(wanted, suffix)
        if not oid_of(server, name):
            break
    text = f"evenkeel-backup: incomplete restore of {entry['name']}, see the report of the run"
    rename(server, own, name, [comment_statement(name, text), *_unmarked(server, own.mark)])
    records.drop(own.name)
    return name


def settle(job: Job) -> None:
    """Remove what killed runs of this host left on the server, and name it; the lock ensures that no other is active.

    If the server cannot be asked, nothing is removed and the records stay.
    """
    records = Records.of(job)
    found = records.all()
    if not found:
        return
    with restore_role.administrator(job) as server:
        for record in found:
            removed = settle_one(server, records, record)
            if removed:
                job.actions.append(removed)


def settle_one(server: Server, records: Records, record: Mapping[str, Any]) -> str:
    """Remove one unfinished database and the roles created for it; return what was done, empty for nothing."""
    name, mark = record["name"], record["mark"]
    own = OwnDatabase(record["oid"], name, mark)
    if not own.oid:
        own = _adopted(server, own)
    now = name_of(server, own)
    done = ""
    if now == name:
        destroy.drop_database(server, own)
        done = f"dropped database {name}, left by a restore of {record['wanted']} that did not end"
    elif now:
        # It was exchanged, but the run was killed before it replaced the mark.
        _finish(server, own.named(now), record["comment"])
        done = f"database {now} was put in its place by a restore that did not end"
    elif oid_of(server, name):
        # Its owner may have changed its comment; then nothing proves that it may go, and each run says so.
        return f"left database {name}: its comment is no longer that of its run, drop it by hand"
    for role in own_roles(server, mark) if now in {"", name} else ():
        # A role that owns something by now is kept.
        with contextlib.suppress(BackupFailure):
            destroy.drop_role(server, role)
    records.drop(name)
    return done


def _adopted(server: Server, own: OwnDatabase) -> OwnDatabase:
    """Return the database of a run that was killed before it recorded the oid.

    The name is random and was never published before its creation, so a database without a comment that has it was
    created by that run.
    """
    oid = oid_of(server, own.name)
    if not oid:
        return own
    present = server.ask(
        "select to_json(coalesce(pg_catalog.shobj_description(oid, 'pg_database'), ''))"
        f" from pg_database where oid = {oid}"
    )
    if not present:
        server.run(f"comment on database {identifier(own.name)} is {literal(own.mark)}")
    return OwnDatabase(oid, own.name, own.mark)


@contextmanager
def abandoning(server: Server, records: Records, begun: Begun) -> Iterator[None]:
    """Remove what was created if the block raises; if that fails, its record stays for the next run."""
    try:
        yield
    except BaseException:
        for record in records.all():
            if record["name"] == begun.name:
                with contextlib.suppress(BackupFailure):
                    settle_one(server, records, record)
        raise
