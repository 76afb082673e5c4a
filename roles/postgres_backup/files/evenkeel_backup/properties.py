# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of a database itself, which no statement of its archive holds: settings, grants, limit and others.

Pure, but for the query. Entries of older manifests lack some properties; what is not recorded is neither set nor
compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evenkeel_backup.database import PROPERTIES, identifier, literal

# Settings that hold a list of names. PostgreSQL stores each name quoted, and reads one literal as one name:
# https://www.postgresql.org/docs/current/sql-set.html. Taken from pg_dump of PostgreSQL 17.
LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')
# Set last: a closed database takes no sessions, so it could not be compared any more.
CLOSING = ("connection_limit", "is_template", "allow_connections")

_PRESENT = """
select json_build_object('connection_limit', d.datconnlimit,
  'settings', (select coalesce(json_agg(json_build_object(
      'role', case s.setrole when 0 then '' else pg_get_userbyid(s.setrole) end, 'setting', one)), '[]')
      from pg_db_role_setting s, unnest(s.setconfig) one where s.setdatabase = d.oid),
  'grants', (select coalesce(json_agg(json_build_object(
      'role', case a.grantee when 0 then '' else pg_get_userbyid(a.grantee) end,
      'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]')
      from aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a),
  {facts})
from pg_database d where d.oid = {oid}
"""


def query(oid: int) -> str:
    """Return SQL for the properties of a database, by its oid from any other one. Grants are those in force."""
    return _PRESENT.format(facts=PROPERTIES, oid=int(oid))


def names_of(value: str) -> list[str]:
    """Return the names in the stored value of a list setting."""
    found, at = [], 0
    while match := _NAME.match(value, at):
        quoted, plain = match.groups()
        found.append(quoted.replace('""', '"') if quoted is not None else plain)
        at = match.end()
        if at >= len(value):
            break
    return found or [""]


def setting_statement(subject: str, setting: str) -> str:
    """Return the statement for one stored setting, such as search_path="a b", public."""
    key, _, value = setting.partition("=")
    name = key if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", key) else identifier(key)
    text = ", ".join(map(literal, names_of(value))) if key.lower() in LISTS else literal(value)
    return f"alter {subject} set {name} to {text}"


def statements(entry: Mapping[str, Any], name: str) -> list[tuple[str, str]]:
    """Return a label and SQL for each property of a database, but for its comment and what closes it."""
    database = f"database {identifier(name)}"
    found = []
    for one in entry.get("settings", []):
        subject = f"role {identifier(one['role'])} in {database}" if one["role"] else database
        label = f"setting {one['setting'].partition('=')[0]} of {one['role'] or 'all'}"
        found.append((label, setting_statement(subject, one["setting"])))
    grants = entry.get("grants", [])
    if grants or entry.get("grants_default") is False:
        found.append(("grants", f"revoke all on {database} from public, {identifier(entry['owner'])}"))
    else:
        # Until it is whole, only its owner may connect to a restored database.
        found.append(("grants", f"grant connect, temporary on {database} to public"))
    for grant in grants:
        role = identifier(grant["role"]) if grant["role"] else "public"
        option = " with grant option" if grant["grantable"] else ""
        label = f"grant of {grant['privilege']} to {grant['role'] or 'public'}"
        found.append((label, f"grant {grant['privilege']} on {database} to {role}{option}"))
    return found


def closing_statements(entry: Mapping[str, Any], name: str) -> list[str]:
    """Return SQL that limits the connections of a database, or makes it a template or closed, if it was."""
    database = f"database {identifier(name)}"
    found = []
    if entry.get("connection_limit", -1) != -1:
        found.append(f"alter {database} connection limit {int(entry['connection_limit'])}")
    if entry.get("is_template"):
        found.append(f"alter {database} is_template true")
    if entry.get("allow_connections") is False:
        found.append(f"alter {database} allow_connections false")
    return found


def differences(entry: Mapping[str, Any], have: Mapping[str, Any], without: tuple[str, ...] = ()) -> list[str]:
    """Return what differs, each as 'property: found x, need y'."""
    found = []
    for key in ("comment", "tablespace", *CLOSING):
        if key in entry and key not in without and entry[key] != have[key]:
            found.append(f"{key}: found {have[key]!r}, need {entry[key]!r}")
    wanted = {(one["role"], one["setting"]) for one in entry.get("settings", [])}
    there = {(one["role"], one["setting"]) for one in have["settings"]}
    found += [f"setting: found none, need {setting} of {role or 'all'}" for role, setting in sorted(wanted - there)]
    if "grants_default" in entry and not entry["grants_default"]:
        rights = {(one["role"], one["privilege"], one["grantable"]) for one in entry["grants"]}
        granted = {(one["role"], one["privilege"], one["grantable"]) for one in have["grants"]}
        found += [
            f"grant: found {'one' if right in granted else 'none'}, need {'none' if right in granted else 'one'}"
            f" of {right[1]} to {right[0] or 'public'}"
            for right in sorted(rights ^ granted)
        ]
    return found
