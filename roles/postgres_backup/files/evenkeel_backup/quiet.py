# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A position in the WAL at which a recovery shows exactly what snapshots of a live server show.

A snapshot and a position agree if no transaction that writes is between them. Such moments are frequent, because most
transactions are short, so they are waited for; nothing is locked. At such a moment

- the snapshots of all databases have no running transaction,
- the position was read after them,
- and after the position, a new snapshot is the same and no backend holds a transaction id. A transaction that had
  written its commit record before the position would have changed the snapshot, or would still hold its id.

A prepared transaction is running for an unlimited time, so there is no quiet moment while there is one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from evenkeel_backup.database import Server, Session, session
from evenkeel_backup.faults import BackupFailure

QUIET_SECONDS = 10.0
# Each database needs a connection.
MOST_SESSIONS = 10
PAUSE_SECONDS = 0.01
HOLD = "rollback; begin isolation level repeatable read read only; select txid_current_snapshot()"
# The position first: each statement has a snapshot of its own.
CHECK = """
select pg_current_wal_insert_lsn();
select json_build_object('snapshot', txid_current_snapshot()::text, 'writers', (select count(*) from pg_locks
  where locktype = 'transactionid' and mode = 'ExclusiveLock' and granted))
"""
# Older snapshots see a table as empty that was truncated or rewritten since. The function reads the current catalogue.
REWRITTEN = """
select coalesce(json_agg(oid::regclass::text), '[]') from pg_class where relkind in ('r', 'm') and relfilenode <> 0
  and relpersistence = 'p' and pg_relation_filenode(oid) is distinct from relfilenode
"""


@dataclass
class Held:
    """Snapshots of databases, and the position that they belong to; an empty position if there was no quiet moment."""

    sessions: dict[str, Session]
    position: str = ""
    attempts: int = 0


def agrees(snapshots: list[str], after: dict[str, Any]) -> bool:
    """Return whether snapshots, as 'xmin:xmax:running', agree with a position read between them and *after*. Pure."""
    one = set(snapshots)
    if len(one) != 1 or after["snapshot"] not in one or after["writers"]:
        return False
    least, most, running = after["snapshot"].split(":")
    return least == most and not running


def until_quiet(held: Held, check: Callable[[str], str], seconds: float = QUIET_SECONDS) -> None:
    """Take snapshots until they agree with a position, and hold them."""
    deadline = time.monotonic() + seconds
    while not held.position:
        held.attempts += 1
        snapshots = [one.run(HOLD).splitlines()[-1] for one in held.sessions.values()]
        position, after = check(CHECK).splitlines()
        if agrees(snapshots, json.loads(after)):
            held.position = position
        elif time.monotonic() >= deadline:
            return
        else:
            time.sleep(PAUSE_SECONDS)


@contextmanager
def moment(server: Server, names: list[str], seconds: float = QUIET_SECONDS) -> Iterator[Held]:
    """Hold snapshots of databases of a quiet moment, as long as the block runs."""
    with ExitStack() as stack:
        held = Held({})
        if names and len(names) <= MOST_SESSIONS:
            held.sessions = {name: stack.enter_context(session(server.at(name))) for name in names}
            # Without room for the connections there is no such moment.
            with suppress(BackupFailure), session(server) as checking:
                until_quiet(held, checking.run, seconds)
        yield held
