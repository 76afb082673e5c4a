# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session of ours may touch in a database whose owner may be an attacker. Pure.

Nothing that users may write is trusted: settings of roles and databases are overridden, and our own schema is used
only if it belongs to a role of ours and contains exactly the table that we create.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA = "evenkeel_backup"
ROLE = "evenkeel_backup"

# Options of each connection. They take precedence over ALTER ROLE ... SET and ALTER DATABASE ... SET.
# default_transaction_read_only is missing on purpose: a read-only database is not written to.
OPTIONS = (
    "client_min_messages=warning",
    "statement_timeout=0",
    "lock_timeout=60s",
    "idle_in_transaction_session_timeout=0",
    "search_path=pg_catalog",
    "role=none",
    "row_security=off",
    "local_preload_libraries=",
    "constraint_exclusion=partition",
)

# Settings that not every version has, set at the start of each session of psql:
# restrict_nonsystem_relation_kind prevents that a table which is replaced by a view runs the view's functions,
# event_triggers (version 17, superusers only) that event triggers run.
PRELUDE = r"""
select count(set_config(name, case name when 'restrict_nonsystem_relation_kind' then 'view, foreign-table'
    when 'event_triggers' then 'off' else '0' end, false)) as settings
  from pg_settings where name in ('restrict_nonsystem_relation_kind', 'transaction_timeout', 'idle_session_timeout')
    or name = 'event_triggers' and (select rolsuper from pg_roles where rolname = current_user) \gset
select set_config('client_encoding', case when getdatabaseencoding() in ('SQL_ASCII', 'MULE_INTERNAL')
    then getdatabaseencoding() else 'UTF8' end, false) as settings \gset
"""

_OURS = (
    f"(o.rolsuper or o.rolname = current_user or o.rolname = '{ROLE}' and pg_has_role(current_user, o.oid, 'member'))"
)

COLUMNS = {
    "written": "bigint",
    "sequence": "bigint",
    "token": "text",
    "at": "timestamp with time zone",
}

# What is known about the table of the canary, and about what a statement that creates it would run.
STATE = rf"""
select json_build_object(
  'standby', pg_is_in_recovery(), 'read_only', current_setting('transaction_read_only') = 'on',
  'event_triggers', (select coalesce(json_agg(e.evtname order by e.evtname), '[]')
    from pg_event_trigger e join pg_proc p on p.oid = e.evtfoid join pg_roles o on o.oid = p.proowner
    where e.evtenabled <> 'D' and not o.rolsuper and coalesce(current_setting('event_triggers', true), 'on') = 'on'),
  'schema', (select json_build_object('owner', o.rolname, 'ours', {_OURS})
    from pg_namespace n join pg_roles o on o.oid = n.nspowner where n.nspname = '{SCHEMA}'),
  'table', (select json_build_object('owner', o.rolname, 'ours', {_OURS}, 'kind', c.relkind,
      'persistence', c.relpersistence,
      'columns', (select json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
      'triggers', exists (select from pg_trigger x where x.tgrelid = c.oid),
      'rules', exists (select from pg_rewrite x where x.ev_class = c.oid),
      'row security', c.relrowsecurity,
      'parents or children', exists (select from pg_inherits x where c.oid in (x.inhparent, x.inhrelid)),
      'constraints', exists (select from pg_constraint x where x.conrelid = c.oid and x.contype not in ('p', 'n')),
      'other indexes', exists (select from pg_index x where x.indrelid = c.oid
        and (not x.indisprimary or x.indexprs is not null or x.indpred is not null)),
      'defaults', exists (select from pg_attrdef x join pg_attribute a on a.attrelid = x.adrelid and a.attnum = x.adnum
        where x.adrelid = c.oid and (a.attname <> 'at' or pg_get_expr(x.adbin, x.adrelid) <> 'clock_timestamp()')),
      'statistics', exists (select from pg_statistic_ext x where x.stxrelid = c.oid),
      'another storage', c.relkind = 'r'
        and not exists (select from pg_am x where x.oid = c.relam and x.amname = 'heap'))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
    where n.nspname = '{SCHEMA}' and c.relname = 'canary'))
"""

# Properties of a table that run code of whoever made them.
FOREIGN = (
    "triggers",
    "rules",
    "row security",
    "parents or children",
    "constraints",
    "other indexes",
    "defaults",
    "statistics",
    "another storage",
)
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "p": "a partitioned table"}


def table_problem(state: Mapping[str, Any]) -> str:
    """Return why the schema or table of the canary is not trusted; empty if it is, or if there is none yet."""
    schema, table = state.get("schema"), state.get("table")
    if schema and not schema["ours"]:
        return f"schema {SCHEMA}, owned by {schema['owner']}"
    if not table:
        return ""
    name = f"{SCHEMA}.canary"
    if not table["ours"]:
        return f"{name}, owned by {table['owner']}"
    if table["kind"] != "r":
        return f"{name}, {KINDS.get(table['kind'], 'no table')}"
    if table["persistence"] != "p":
        return f"{name}, which is not permanent"
    if table["columns"] != COLUMNS:
        return f"{name} with the columns {', '.join(table['columns'] or ())}"
    foreign = [what for what in FOREIGN if table[what]]
    return f"{name} with {' and '.join(foreign)}" if foreign else ""


def write_problem(state: Mapping[str, Any]) -> str:
    """Return why no canary is written here; empty if one may be."""
    if state["standby"]:
        return "a standby"
    if state["read_only"]:
        return "default_transaction_read_only on"
    problem = table_problem(state)
    if not problem and not state.get("table") and state["event_triggers"]:
        # CREATE TABLE would run them as this account.
        return f"event trigger {', '.join(state['event_triggers'])}, whose function is not a superuser's"
    return problem


def trusted(state: Mapping[str, Any]) -> bool:
    """Return whether there is a table of ours to read."""
    return bool(state.get("table")) and not table_problem(state)
