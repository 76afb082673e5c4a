# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query a server: single statements, or a session that holds a snapshot open."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from evenkeel_backup import command, trust
from evenkeel_backup.faults import BackupFailure, fault_of
from evenkeel_backup.where import NONE, SERVER, Where

PSQL = ("-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-")

# User tables only: no catalogue, toast or temporary schema, and no table of an extension.
OURS = r"""
  n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend x
    where x.classid = 'pg_class'::regclass and x.objid = c.oid and x.deptype = 'e')
"""
# pg_dump leaves out invalid indexes, unless they are partitioned, and the indexes of an extension's tables.
INDEXES = """
  not exists (select from pg_index i where i.indexrelid = c.oid and c.relkind = 'i' and not (
    i.indisvalid and i.indisready and not exists (select from pg_depend x
      where x.classid = 'pg_class'::regclass and x.objid = i.indrelid and x.deptype = 'e')))
"""
# Unambiguous, whatever the names hold.
TABLE_KEY = """
  case when n.nspname || c.relname like '%.%' then format('%I.%I', n.nspname, c.relname)
    else n.nspname || '.' || c.relname end
"""
# What the text of a value depends on, and what pg_dump does not set itself.
STABLE = (
    "timezone=UTC",
    "datestyle=ISO",
    "intervalstyle=postgres",
    "extra_float_digits=3",
    "bytea_output=hex",
    "quote_all_identifiers=off",
)

# Properties of the database itself, which its archive does not hold; d is its row of pg_database.
PROPERTIES = """
  'comment', coalesce(pg_catalog.shobj_description(d.oid, 'pg_database'), ''),
  'tablespace', (select spcname from pg_catalog.pg_tablespace t where t.oid = d.dattablespace),
  'is_template', d.datistemplate, 'allow_connections', d.datallowconn, 'grants_default', d.datacl is null
"""

_FACTS = rf"""
select json_build_object(
  'name', d.datname, 'owner', pg_get_userbyid(d.datdba), 'encoding', pg_encoding_to_char(d.encoding),
  'collate', d.datcollate, 'ctype', d.datctype, 'provider', coalesce(to_jsonb(d)->>'datlocprovider', 'c'),
  'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale', ''),
  'bytes', pg_database_size(d.oid), 'connection_limit', d.datconnlimit, {PROPERTIES},
  'settings', (select coalesce(json_agg(json_build_object(
      'role', case s.setrole when 0 then '' else pg_get_userbyid(s.setrole) end, 'setting', one) order by 1), '[]')
      from pg_db_role_setting s, unnest(s.setconfig) one where s.setdatabase = d.oid),
  'grants', (select coalesce(json_agg(json_build_object(
      'role', case a.grantee when 0 then '' else pg_get_userbyid(a.grantee) end,
      'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]') from aclexplode(d.datacl) a),
  'extensions', (select coalesce(json_agg(json_build_object(
      'name', extname, 'version', extversion, 'schema', n.nspname,
      'owns_schema', exists (select from pg_depend x where x.classid = 'pg_namespace'::regclass and x.objid = n.oid
        and x.deptype = 'e' and x.refobjid = e.oid)) order by extname), '[]')
      from pg_extension e join pg_namespace n on n.oid = e.extnamespace),
  'owned', (select coalesce(json_agg(json_build_object(
      'type', a.type, 'names', a.object_names, 'args', a.object_args, 'owner', r.rolname)), '[]')
      from pg_shdepend s join pg_roles r on r.oid = s.refobjid,
        lateral pg_identify_object_as_address(s.classid, s.objid, s.objsubid) a
      where s.deptype = 'o' and s.refclassid = 'pg_authid'::regclass and s.dbid = d.oid and not r.rolsuper
        and r.oid <> d.datdba
        and not exists (select from pg_depend x where x.classid = s.classid and x.objid = s.objid
          and (x.deptype = 'e' or x.deptype in ('a', 'i') and x.refclassid = 'pg_class'::regclass
            and exists (select from pg_class c where c.oid = x.objid and c.relkind = 'S')))),
  'default_privileges', (select coalesce(json_agg(json_build_object('role', pg_get_userbyid(p.defaclrole),
      'schema', coalesce((select nspname from pg_namespace where oid = p.defaclnamespace), ''),
      'kind', p.defaclobjtype, 'grants', (select coalesce(json_agg(json_build_object(
        'role', case a.grantee when 0 then '' else pg_get_userbyid(a.grantee) end,
        'privilege', a.privilege_type, 'grantable', a.is_grantable)), '[]') from aclexplode(p.defaclacl) a))), '[]')
      from pg_default_acl p),
  'relations', (select coalesce(json_object_agg(kind, many), '{{}}') from (
      select case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'i' then 'index'
        when 'I' then 'partitioned index' when 'v' then 'view' when 'm' then 'materialized view'
        when 'S' then 'sequence'        when 'f' then 'foreign table' else 'type' end as kind, count(*) as many
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where {OURS} and {INDEXES} group by 1) k))
from pg_database d where d.datname = current_database()
"""

# Planning a query evaluates the expressions of indexes and statistics, and so runs functions of the database's users.
_EXPRESSIONS = """
c.oid in (select coalesce(i.indrelid, s.stxrelid) from pg_depend x
    left join pg_index i on x.classid = 'pg_class'::regclass and i.indexrelid = x.objid
    left join pg_statistic_ext s on x.classid = 'pg_statistic_ext'::regclass and s.oid = x.objid
  where x.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
    and coalesce(i.indrelid, s.stxrelid) is not null)
"""

_TABLES = rf"""
select coalesce(json_agg(json_build_object(
  'key', {TABLE_KEY}, 'name', format('%I.%I', n.nspname, c.relname),
  'unlogged', c.relpersistence = 'u', 'expressions', {_EXPRESSIONS}) order by 1), '[]')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and {OURS}
"""

_SERVER = """
select json_build_object('version', current_setting('server_version'),
  'major', current_setting('server_version_num')::int / 10000,
  'system', (select system_identifier::text from pg_control_system()),
  'checksums', current_setting('data_checksums') = 'on', 'standby', pg_is_in_recovery(),
  'data_dir', current_setting('data_directory'),
  'segment_bytes', (select setting::bigint from pg_settings where name = 'wal_segment_size'),
  'preload', current_setting('shared_preload_libraries'),
  'bootstrap', (select rolname from pg_roles where oid = 10),
  'superuser', (select rolsuper from pg_roles where rolname = current_user),
  'bypassrls', (select rolbypassrls from pg_roles where rolname = current_user),
  'reads_all', coalesce((select pg_has_role(oid, 'usage') from pg_roles where rolname = 'pg_read_all_data'), false),
  'reads_passwords', has_table_privilege('pg_authid', 'select'))
"""

DATABASES = """
select coalesce(json_agg(datname order by datname), '[]') from pg_database
where datallowconn and datname not in ('template0', 'template1')
"""
ROLES = "select coalesce(json_agg(rolname order by rolname), '[]') from pg_roles where rolname !~ '^pg_'"
TABLESPACES = "select coalesce(json_agg(spcname order by spcname), '[]') from pg_tablespace where spcname !~ '^pg_'"
CHUNK = 200


def literal(text: str) -> str:
    """Quote a text as an SQL literal."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in quoted else f"'{quoted}'"


def identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def conninfo(name: str) -> str:
    """Return the connection string of a database, in which its name is not parsed again as one."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


@dataclass(frozen=True)
class Server:
    """Connection settings of one server."""

    where: Where
    host: str
    port: int
    user: str
    database: str
    password_file: str = ""
    isolated: bool = False
    # Whether programs run next to the server's data, where its Unix socket is.
    inside: bool = False

    def at(self, database: str) -> Server:
        """Return the same server with another database."""
        return replace(self, database=database)

    @property
    def env(self) -> dict[str, str]:
        """Return the environment for libpq; never contains a password."""
        found = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
            "PGAPPNAME": "evenkeel-backup",
            "PGCONNECT_TIMEOUT": "10",
            "PGOPTIONS": " ".join(f"-c {option}" for option in (*trust.OPTIONS, *STABLE)),
        }
        if self.password_file:
            found["PGPASSFILE"] = self.password_file
        return found

    def argv(self, program: str, *arguments: str) -> list[str]:
        """Return the command of a client program."""
        if self.inside:
            return self.where.inside(program, *arguments, env=self.env)
        return self.where.argv(program, *arguments, network=NONE if self.isolated else SERVER, env=self.env)

    def tool(self, program: str, *arguments: str, **more: Any) -> command.Done:
        """Run a client program against the server."""
        return command.run(self.argv(program, *arguments), env=self.env, **more)

    def run(self, sql: str, seconds: float = 600) -> str:
        """Run SQL, and return its output as text."""
        done = self.tool("psql", *PSQL, given=f"{trust.PRELUDE}\n{sql}", seconds=seconds)
        command.need(
            done,
            "SQL failed",
            f"{self.database} at {self.host}",
            "an answer",
            "Look at the server's log",
            "server_unreachable" if done.code == 2 else "failed",
        )
        return done.out.strip()

    def ask(self, sql: str, seconds: float = 600) -> Any:
        """Run SQL that returns one JSON value, and return that value."""
        return json.loads(self.run(sql, seconds))

    def facts(self) -> dict[str, Any]:
        """Return the facts of the server that a backup records."""
        return dict(self.ask(_SERVER))


class Session:
    """A running psql, which holds a transaction and its snapshot."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the session
        self.process = subprocess.Popen(
            server.argv("psql", *PSQL),
            env=command.environment(server.env),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,
        )
        self.count = 0

    def run(self, sql: str) -> str:
        """Run SQL in this session, and return its output."""
        self.count += 1
        marker = f"--evenkeel-{self.count}--"
        lines: list[str] = []
        if self.process.stdin is None or self.process.stdout is None:
            raise AssertionError("a session has pipes")
        try:
            self.process.stdin.write(f"{sql};\n\\echo {marker}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        for line in self.process.stdout:
            if line.rstrip("\n") == marker:
                return "".join(lines).strip()
            lines.append(line)
        self.errors.seek(0)
        text = self.errors.read().strip()
        raise BackupFailure(
            fault_of(text, "server_unreachable"),
            "the session ended",
            f"{self.server.database} at {self.server.host}",
            text or "no message",
            "an answer",
            "Look at the server's log",
        )

    def close(self) -> None:
        """Close the session and its transaction."""
        command.end(self.process)
        self.errors.close()


@contextmanager
def session(server: Server) -> Iterator[Session]:
    """Open a session, and close it at the end."""
    opened = Session(server)
    try:
        opened.run(trust.PRELUDE)
        yield opened
    finally:
        opened.close()


def releasing(held: Session) -> Callable[[str], str]:
    """Return a function that runs SQL in the session's snapshot, and releases its locks at once.

    Otherwise counting would hold a lock on each table and index as long as the snapshot is held.
    """
    return lambda sql: held.run(f"savepoint counting;\n{sql};\nrollback to savepoint counting")


def described(server: Server, seconds: float, *, unlogged: bool = True) -> dict[str, Any]:
    """Describe the content of one database; counting rows may take as long as the whole run."""
    return describe(partial(server.run, seconds=seconds), unlogged=unlogged)


def describe(run: Any, *, unlogged: bool = True) -> dict[str, Any]:
    """Return the manifest's entry of one database; run executes SQL in it."""
    facts: dict[str, Any] = json.loads(run(_FACTS))
    tables = [entry for entry in json.loads(run(_TABLES)) if unlogged or not entry["unlogged"]]
    rows: dict[str, int] = {}
    plain = [entry for entry in tables if not entry.get("expressions")]
    for start in range(0, len(plain), CHUNK):
        parts = [
            f"select {literal(entry['key'])} as key, count(*) as rows from only {entry['name']}"
            for entry in plain[start : start + CHUNK]
        ]
        rows.update(json.loads(run(f"select json_object_agg(key, rows) from ({' union all '.join(parts)}) counted")))
    for entry in tables:
        if entry.get("expressions"):
            # COPY plans no query, and prints one line for each row.
            rows[entry["key"]] = int(run(f"\\o |wc -l\ncopy {entry['name']} to stdout;\n\\o\n"))
    facts["rows"] = rows
    facts["canary"] = None
    if any(entry["key"] == "evenkeel_backup.canary" for entry in tables) and trust.trusted(
        json.loads(run(trust.STATE))
    ):
        facts["canary"] = json.loads(run(NEWEST_CANARY))
    return facts


NEWEST_CANARY = (
    "select coalesce((select json_build_object('sequence', sequence, 'token', token) from only evenkeel_backup.canary"
    " where sequence > 0 order by written desc limit 1), 'null')"
)


def create_statements(entry: dict[str, Any], name: str) -> str:
    """Return SQL that creates an empty database with the properties in the manifest, under another name. Pure."""
    locale = (
        f" locale_provider { ({'i': 'icu', 'b': 'builtin'}[entry['provider']]) }"
        if entry.get("provider", "c") != "c"
        else ""
    )
    if locale:
        locale += f" {'icu_locale' if entry['provider'] == 'i' else 'builtin_locale'} {literal(entry['locale'])}"
    return (
        f"create database {identifier(name)} template template0 owner {identifier(entry['owner'])}"
        f" encoding {literal(entry['encoding'])} lc_collate {literal(entry['collate'])}"
        f" lc_ctype {literal(entry['ctype'])}{locale}"
    )
