# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Privileges that a role's later objects will have (ALTER DEFAULT PRIVILEGES), in a restore into a live server.

The role of such a restore may set only its own, and no superuser runs what an archive contains. So they stand in the
manifest as data, and an administrator sets them by statements that are written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from evenkeel_backup.database import Server, identifier

# Kinds of objects in pg_default_acl.defaclobjtype.
KINDS = {"r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas", "L": "large objects"}
LINE = re.compile(r"\d+; \d+ \d+ DEFAULT ACL .*")


def without(listing: str) -> str:
    """Return the list of an archive for pg_restore --use-list, without default privileges. Pure."""
    return "".join(f"{line}\n" for line in listing.splitlines() if not LINE.fullmatch(line))


def superusers(server: Server) -> list[str]:
    found: list[str] = server.ask("select coalesce(json_agg(rolname), '[]') from pg_catalog.pg_roles where rolsuper")
    return found


def statements(entry: Mapping[str, Any], superuser: Iterable[str]) -> list[tuple[str, str]]:
    """Return a label and SQL for the default privileges of each role that is no superuser. Pure.

    Without a schema, they stand for all that PostgreSQL grants by itself; within a schema, they are added to it.
    """
    kept = set(superuser)
    found = []
    for one in entry.get("default_privileges", []):
        if one["role"] in kept or one["kind"] not in KINDS:
            continue
        head = f"alter default privileges for role {identifier(one['role'])}"
        if one["schema"]:
            head += f" in schema {identifier(one['schema'])}"
        kind = KINDS[one["kind"]]
        sql = []
        if not one["schema"]:
            sql.append(f"{head} revoke all on {kind} from public, {identifier(one['role'])}")
        for grant in one["grants"]:
            if not re.fullmatch("[A-Z]+", grant["privilege"]):
                continue
            to = identifier(grant["role"]) if grant["role"] else "public"
            option = " with grant option" if grant["grantable"] else ""
            sql.append(f"{head} grant {grant['privilege']} on {kind} to {to}{option}")
        # Event triggers would run as the administrator.
        text = "set session_replication_role = 'replica';\n" + ";\n".join(sql)
        found.append((f"default privileges of {one['role']} on {kind}", text))
    return found
