# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of a server: which are backed up, and which are left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from evenkeel_backup.database import Server
from evenkeel_backup.faults import BackupFailure

_ALL = """
select coalesce(json_agg(json_build_object('name', datname, 'template', datistemplate, 'open', datallowconn,
  'limit', datconnlimit, 'bytes', pg_database_size(oid)) order by datname), '[]') from pg_database
"""
# template1 has its own objects if it is larger than template0 by more than our schema.
OWN_BYTES = 256 * 1024
# datconnlimit of a database whose DROP was interrupted.
INVALID = -2

_UNLOGGED = """
select coalesce(json_agg(n.nspname || '.' || c.relname order by n.nspname, c.relname), '[]')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and c.relpersistence = 'u'
"""
SHOWN = 5


def reasons(databases: Iterable[Mapping[str, Any]], chosen: Iterable[str]) -> dict[str, str]:
    """Return why a database is not backed up, by name. Pure; those that the option databases leaves out are meant."""
    taken = set(chosen)
    known = {entry["name"]: entry for entry in databases}
    plain = known.get("template0", {"bytes": 0})["bytes"]
    found = {}
    for name, entry in known.items():
        if name in taken or name == "template0":
            continue
        if name == "template1":
            if entry["bytes"] > plain + OWN_BYTES:
                found[name] = "template1 with objects of its own; create them by a script, or in another template"
        elif entry["limit"] == INVALID:
            found[name] = "a DROP DATABASE that was interrupted; drop it"
        elif not entry["open"]:
            found[name] = f'allow_connections false; ALTER DATABASE "{name}" ALLOW_CONNECTIONS true for a backup'
    return found


def left_out(server: Server, chosen: Iterable[str]) -> dict[str, str]:
    """Return the databases of the server that are not backed up, with the reason."""
    return reasons(server.ask(_ALL), chosen)


def unlogged(server: Server) -> list[BackupFailure]:
    """Return a warning if a database has unlogged tables, which are empty after a physical restore."""
    names = server.ask(_UNLOGGED)
    if not names:
        return []
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return [
        BackupFailure(
            "unlogged_tables",
            "unlogged tables are not in the backup",
            server.database,
            shown,
            "logged tables, whose changes are in the WAL",
            "Set them to LOGGED if their rows are wanted after a restore",
            "dump",
        )
    ]


def warnings(left: Mapping[str, str]) -> list[BackupFailure]:
    """Return a warning for each database that is left out. Pure."""
    return [
        BackupFailure(
            "database_left_out",
            "a database is not in the backup",
            name,
            reason.partition("; ")[0],
            "a database that takes connections",
            reason.partition("; ")[2][:1].upper() + reason.partition("; ")[2][1:],
            "dump",
        )
        for name, reason in left.items()
    ]
