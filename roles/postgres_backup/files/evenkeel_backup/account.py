# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account that backs up: what it needs, and what it cannot read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from evenkeel_backup.database import Session
from evenkeel_backup.faults import BackupFailure

NEEDED = "pg_read_all_data, pg_monitor and BYPASSRLS"
# From version 14 on there is pg_read_all_data, which includes the passwords of roles.
READING_SINCE = 14

_UNREADABLE = """
select json_build_object('objects', count(*), 'owners', coalesce(json_agg(distinct pg_get_userbyid(m.lomowner)), '[]'))
from pg_largeobject_metadata m
where not (select rolsuper from pg_roles where rolname = current_user)
  and current_setting('lo_compat_privileges') = 'off' and not pg_has_role(m.lomowner, 'usage')
  and not exists (select from aclexplode(m.lomacl) a where a.privilege_type = 'SELECT'
    and (a.grantee = 0 or pg_has_role(a.grantee, 'usage')))
"""


def lacking(facts: Mapping[str, Any]) -> list[str]:
    """Return what the account lacks for a whole logical backup. Pure."""
    if facts["superuser"]:
        return []
    found = []
    if facts["major"] < READING_SINCE:
        return [f"SUPERUSER, which PostgreSQL {facts['major']} needs for the passwords of roles"]
    if not facts["reads_all"]:
        found.append("pg_read_all_data")
    elif not facts["reads_passwords"]:
        found.append("SELECT on pg_authid, where the passwords of roles are")
    if not facts["bypassrls"]:
        found.append("BYPASSRLS")
    return found


def setting(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of the account, as a setting of `prepare`. Pure."""
    missing = lacking(facts)
    found = f"no {' and no '.join(missing)}" if missing else "superuser" if facts["superuser"] else NEEDED
    return {"name": "account", "found": found, "need": NEEDED, "ok": not missing}


def check(facts: Mapping[str, Any], user: str) -> None:
    """Refuse an account that cannot read everything, because roles without passwords lock the app out."""
    missing = lacking(facts)
    if missing:
        raise BackupFailure(
            "settings_wrong",
            "the account for backups may not read everything",
            user,
            f"no {' and no '.join(missing)}",
            NEEDED,
            "Set server.admin_user, with which the role postgres_backup grants it, or grant it by hand",
            "server",
        )


def unreadable(held: Session, database: str) -> list[BackupFailure]:
    """Return the failure that large objects of a database cannot be read; pg_read_all_data does not include them."""
    found = json.loads(held.run(_UNREADABLE))
    if not found["objects"]:
        return []
    return [
        BackupFailure(
            "large_objects_missing",
            "large objects are not in the backup",
            database,
            f"{found['objects']} that only {', '.join(found['owners'])} may read",
            "SELECT on each large object of the database",
            "Have their owner run GRANT SELECT ON LARGE OBJECT ... TO evenkeel_backup, or back up as a superuser",
            "dump",
        )
    ]
