# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the canary: a row for each backup, by which a drill recognizes the content."""

from __future__ import annotations

import json

from evenkeel_backup import trust
from evenkeel_backup.database import Server, Session, literal, session
from evenkeel_backup.faults import BackupFailure

KEPT = 1000
_TABLE = """
create table evenkeel_backup.canary (
  written bigint generated always as identity primary key, sequence bigint not null, token text not null,
  at timestamptz not null default clock_timestamp())
"""
_MEMBER = f"select coalesce((select pg_has_role(oid, 'member') from pg_roles where rolname = '{trust.ROLE}'), false)"


def write(server: Server, sequence: int, token: str) -> str:
    """Write a row, and remove old ones; return the reason if that is not possible here.

    No statement of the database's users runs: the table is locked and its definition is checked before the insert.
    """
    try:
        with session(server) as held:
            return _write(held, sequence, token)
    except BackupFailure as failure:
        return failure.found


def _write(held: Session, sequence: int, token: str) -> str:
    state = json.loads(held.run(trust.STATE))
    problem = trust.write_problem(state)
    if problem:
        return problem
    held.run("begin; set local lock_timeout = '10s'")
    if state["table"]:
        held.run("lock table only evenkeel_backup.canary in share row exclusive mode")
    else:
        _create(held, with_schema=not state["schema"])
    # Nobody can change the table any more.
    problem = trust.table_problem(json.loads(held.run(trust.STATE)))
    if problem:
        return problem
    held.run(
        "insert into evenkeel_backup.canary (sequence, token, at)"
        f" values ({sequence}, {literal(token)}, clock_timestamp());"
        "delete from only evenkeel_backup.canary"
        f" where written < (select max(written) - {KEPT} from only evenkeel_backup.canary); commit"
    )
    return ""


def _create(held: Session, *, with_schema: bool) -> None:
    """Create schema and table without IF NOT EXISTS, so that objects of others are never taken over."""
    # If several roles back up one server, the table belongs to the role that they share.
    if held.run(_MEMBER) == "t":
        held.run(f"set local role {trust.ROLE}")
    if with_schema:
        held.run(f"create schema {trust.SCHEMA}")
    held.run(_TABLE)
    held.run("set local role none")


def warning(database: str, reason: str) -> BackupFailure:
    """Return the warning that a database has no canary of this backup."""
    return BackupFailure(
        "canary_unwritten",
        "no canary was written",
        database,
        reason,
        "a schema that the account for backups may write to",
        "The backup counts without it; remove the cause, or set canary to false",
        "dump",
    )
