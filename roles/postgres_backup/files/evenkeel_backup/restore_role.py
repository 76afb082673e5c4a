# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts for restores into a live server: one that creates databases, and one that runs what a backup contains.

A restore runs code of the database's users: checks, domains, generated columns, index expressions. The role that runs
it is made for one restore, is no superuser, and is a member of no role but the owners of the restored objects.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from evenkeel_backup import safepath
from evenkeel_backup.database import Server, identifier, literal
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.target import STAGE

SOCKET_DIR = "/var/run/postgresql"
# Group of the roles that are made, to be named in pg_hba.conf.
GROUP = "evenkeel_restore"
# Event triggers of the restored database must not run as the administrator.
QUIET = "set session_replication_role = 'replica';\n"
# Kinds of objects with an owner, as PostgreSQL calls them in addresses, and in ALTER.
KEYWORDS = {
    **{
        kind: kind
        for kind in (
            *("table", "view", "materialized view", "foreign table", "sequence", "schema", "function", "procedure"),
            *("aggregate", "type", "operator", "operator class", "operator family", "collation", "conversion"),
            *("text search dictionary", "text search configuration", "large object"),
        )
    },
    "statistics object": "statistics",
}
# The name of each object as SQL, quoted by the server.
_ADDRESSES = "select json_agg(json_build_object('type', o.type, 'identity', i.identity, 'owner', o.owner))"
_RECORD = (
    "as o(type text, names text[], args text[], owner text),"
    " lateral pg_get_object_address(o.type, o.names, o.args) a,"
    " lateral pg_identify_object(a.classid, a.objid, a.objsubid) i"
)


@contextlib.contextmanager
def administrator(job: Job) -> Iterator[Server]:
    """Connect as the role that may create databases and roles: server.admin_user, or else the account for backups."""
    options = job.config.server
    if not options["admin_user"]:
        with job.server() as server:
            yield server
        return
    host = options["host"] if str(options["host"]).startswith("/") else SOCKET_DIR
    database = options["maintenance_database"]
    yield Server(job.where, host, options["port"], options["admin_user"], database, inside=True)


def may_restore(admin: Server) -> BackupFailure | None:
    """Return the problem that an account cannot create databases and roles."""
    if admin.run("select rolsuper from pg_roles where rolname = current_user") == "t":
        return None
    return BackupFailure(
        "settings_wrong",
        "the account may not restore into the server",
        admin.user,
        "no superuser",
        "one, to create the database and a role for the restore",
        "Set server.admin_user",
        STAGE,
    )


@dataclass(frozen=True)
class Restorer:
    """The role of one restore, and its connection to the new database."""

    server: Server
    role: str


@contextlib.contextmanager
def restorer(job: Job, admin: Server, database: str, entry: Mapping[str, Any]) -> Iterator[Restorer]:
    """Make the role for a restore into a new database, which it owns meanwhile; at the end drop the role.

    It is a member of no role, and owns all that it restores (pg_restore --no-owner). At the end the owners in *entry*,
    the database in the manifest, get what is theirs, and the owner of the database all else.
    """
    role, password = f"{GROUP}_{secrets.token_hex(4)}", secrets.token_hex(16)
    try:
        if admin.run(f"select count(*) from pg_roles where rolname = '{GROUP}'") == "0":
            admin.run(f"create role {GROUP} nologin")
        admin.run(
            "set log_statement = 'none'; set log_min_duration_statement = -1; set log_min_error_statement = 'panic';\n"
            f"create role {role} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls"
            f" password {literal(password)} in role {GROUP};\n"
            f"alter database {identifier(database)} owner to {role}"
        )
        path = job.config.work_dir / f".pgpass-restore-{os.getpid()}"
        safepath.create(path, f"*:*:*:{role}:{password}\n", 0o600, job.where.uid, job.where.gid)
        try:
            yield Restorer(_reachable(job, role, database, str(path)), role)
        finally:
            safepath.remove(path)
        _hand_over(replace(admin, database=database), entry)
    finally:
        _drop(admin, database, role, entry["owner"])


def _reachable(job: Job, role: str, database: str, password_file: str) -> Server:
    """Return the connection of the role: where the account for backups connects, or on the host's own address."""
    options = job.config.server
    tried = []
    for host in dict.fromkeys((str(options["host"]), "127.0.0.1")):
        server = Server(job.where, host, options["port"], role, database, password_file)
        done = server.tool("psql", "-XAtq", "-c", "select 1", seconds=60)
        if done.code == 0:
            return server
        tried.append(done.tail)
    raise BackupFailure(
        "settings_wrong",
        "the role for the restore cannot log in",
        role,
        "; ".join(tried),
        "a login with a password",
        f"Add 'host all +{GROUP} 127.0.0.1/32 scram-sha-256' to pg_hba.conf",
        STAGE,
    )


def _hand_over(inner: Server, entry: Mapping[str, Any]) -> None:
    """Give objects to their owners other than that of the database; superusers get none.

    Code of the database ran as the role that owned them meanwhile, and may have changed them.
    """
    known = set(inner.ask("select coalesce(json_agg(rolname), '[]') from pg_roles where not rolsuper"))
    owned = [one for one in entry.get("owned", []) if one["owner"] in known and one["type"] in KEYWORDS]
    if not owned:
        return
    try:
        _give(inner, owned)
    except BackupFailure:
        # At least one was not restored.
        for one in owned:
            with contextlib.suppress(BackupFailure):
                _give(inner, [one])


def _give(inner: Server, owned: list[Mapping[str, Any]]) -> None:
    found = inner.ask(f"{_ADDRESSES} from json_to_recordset({literal(json.dumps(owned))}) {_RECORD}")
    statements = [
        f"alter {KEYWORDS[one['type']]} {one['identity']} owner to {identifier(one['owner'])}" for one in found
    ]
    inner.run(QUIET + ";\n".join(statements))


def _drop(admin: Server, database: str, role: str, owner: str) -> None:
    """Give everything of the role to the owner of the database, and drop the role."""
    if admin.run(f"select count(*) from pg_roles where rolname = '{role}'") == "0":
        return
    admin.run(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'")
    if admin.run(f"select count(*) from pg_database where datname = {literal(database)}") == "1":
        inner = replace(admin, database=database)
        inner.run(f"{QUIET}alter database {identifier(database)} owner to {identifier(owner)}")
        inner.run(f"{QUIET}reassign owned by {role} to {identifier(owner)}; drop owned by {role}")
    admin.run(f"drop role {role}")


def extension_statements(entry: Mapping[str, Any], role: str) -> list[str]:
    """Return SQL that creates the extensions of a database before its objects, while it is still empty. Pure.

    Most extensions need a superuser, whose statements must not meet objects of users. A manifest without the schemas
    of its extensions has none.
    """
    found = []
    for schema in _schemas(entry):
        found.append(f"create schema {identifier(schema)} authorization {role}")
    for one in _extensions(entry):
        schema = "" if one["schema"] == "pg_catalog" else f" with schema {identifier(one['schema'])}"
        found.append(f"create extension {identifier(one['name'])}{schema} cascade")
    return found


def _extensions(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [one for one in entry["extensions"] if one["name"] != "plpgsql"]
    return found if all("schema" in one for one in found) else []


def _schemas(entry: Mapping[str, Any]) -> list[str]:
    """Return the schemas that extensions are in, and do not create themselves."""
    own = {one["schema"] for one in _extensions(entry) if one.get("owns_schema")}
    return sorted({one["schema"] for one in _extensions(entry)} - own - {"public", "pg_catalog"})


def chosen(listing: str, entry: Mapping[str, Any]) -> str:
    """Return the list of an archive for pg_restore --use-list, without what `extension_statements` created. Pure."""
    if not _extensions(entry):
        return listing
    made = "|".join(re.escape(name) for name in _schemas(entry))
    pattern = r"EXTENSION - .*|COMMENT - EXTENSION .*" + (rf"|SCHEMA - (?:{made}) \S+" if made else "")
    return "".join(
        f"{line}\n" for line in listing.splitlines() if not re.fullmatch(rf"\d+; \d+ \d+ (?:{pattern})", line)
    )
