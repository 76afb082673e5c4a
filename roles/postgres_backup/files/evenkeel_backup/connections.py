# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many connections a backup may open, so that it fits what the server has left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evenkeel_backup.database import Server
from evenkeel_backup.faults import BackupFailure

# The session that holds the snapshot, and pg_dump; each further job of pg_dump takes one more.
LEAST = 2

_COUNTS = """
select json_build_object('max', current_setting('max_connections')::int,
  'superusers', current_setting('superuser_reserved_connections')::int,
  'reserved', coalesce(current_setting('reserved_connections', true), '0')::int,
  'used', (select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()),
  'superuser', (select rolsuper from pg_roles where rolname = current_user),
  'may_reserved', coalesce((select pg_has_role(oid, 'usage') from pg_roles
    where rolname = 'pg_use_reserved_connections'), false))
"""


def free(counts: Mapping[str, Any]) -> int:
    """Return how many connections this account can still open. Pure."""
    if counts["superuser"]:
        return int(counts["max"] - counts["used"])
    kept = counts["superusers"] + (0 if counts["may_reserved"] else counts["reserved"])
    return int(counts["max"] - kept - counts["used"])


def needed(jobs: int) -> int:
    """Return the connections of a dump: with several jobs pg_dump keeps one for itself. Pure."""
    return LEAST if jobs == 1 else LEAST + jobs


def fitting(room: int, jobs: int) -> int:
    """Return the number of jobs that fit, at most as many as wanted; 0 if not even one does. Pure."""
    return next((count for count in range(jobs, 0, -1) if needed(count) <= room), 0)


def jobs(server: Server, wanted: int) -> int:
    """Return the number of jobs for pg_dump, or raise if there is no room for one."""
    counts = server.ask(_COUNTS)
    count = fitting(free(counts), wanted)
    if not count:
        raise _failure(counts, server)
    return count


def setting(server: Server, wanted: int) -> dict[str, Any]:
    """Return the room for connections, as a setting of `prepare`; a smaller number of jobs is still well."""
    counts = server.ask(_COUNTS)
    room = free(counts)
    need = f"{needed(wanted)}, and {LEAST} at least"
    return {"name": "connections", "found": f"{max(0, room)} free", "need": need, "ok": bool(fitting(room, wanted))}


def _failure(counts: Mapping[str, Any], server: Server) -> BackupFailure:
    kept = counts["superusers"] + counts["reserved"]
    return BackupFailure(
        "too_many_connections",
        "there are not enough connections left",
        server.host,
        f"{max(0, free(counts))} of max_connections {counts['max']}, {counts['used']} in use and {kept} reserved",
        f"{LEAST}",
        "Raise max_connections, or from PostgreSQL 16 on set reserved_connections, which the account may use",
        "server",
    )
