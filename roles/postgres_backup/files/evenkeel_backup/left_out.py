# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restored copy has not, or has otherwise, although the backup is good; and what no comparison covers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from evenkeel_backup.database import OURS, TABLE_KEY
from evenkeel_backup.manifest import Manifest

SHOWN = 5
KEPT = 50

FACTS = rf"""
with ours as (select c.*, {TABLE_KEY} as key from pg_class c join pg_namespace n on n.oid = c.relnamespace where {OURS})
select json_build_object(
  'unlogged', (select coalesce(json_agg(key order by key), '[]') from ours
      where relkind = 'r' and relpersistence = 'u'),
  'invalid_indexes', (select coalesce(json_agg(key order by key), '[]') from ours join pg_index i on i.indexrelid = oid
      where relkind = 'i' and not (indisvalid and indisready)),
  'foreign_tables', (select coalesce(json_agg(key order by key), '[]') from ours where relkind = 'f'),
  'materialized_views', (select coalesce(json_agg(key order by key), '[]') from ours where relkind = 'm'),
  'generated_columns', (select coalesce(json_agg(key order by key), '[]') from ours where relkind = 'r' and exists (
      select from pg_attribute a where a.attrelid = ours.oid and coalesce(to_jsonb(a)->>'attgenerated', '') <> '')),
  'moved_columns', (select coalesce(json_agg(key order by key), '[]') from ours
      where relkind = 'r' and not relispartition and exists (
        select from pg_attribute a join pg_attribute b on b.attrelid = a.attrelid and b.attnum > a.attnum
        where a.attrelid = ours.oid and a.attnum > 0 and not a.attisdropped and not b.attisdropped
        and b.attinhcount > 0 and (a.attinhcount = 0 or exists (
          select from pg_inherits i join pg_attribute p on p.attrelid = i.inhparent and p.attname = a.attname
          join pg_attribute q on q.attrelid = i.inhparent and q.attname = b.attname
          where i.inhrelid = ours.oid and p.attnum > q.attnum)))),
  'of_superusers', (select coalesce(json_agg(key order by key), '[]') from ours join pg_roles r on r.oid = relowner
      join pg_database d on d.datname = current_database() join pg_roles o on o.oid = d.datdba
      where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and r.rolsuper and not o.rolsuper),
  'event_triggers', (select coalesce(json_agg(evtname order by evtname), '[]') from pg_event_trigger e
      where not exists (select from pg_depend p where p.classid = 'pg_event_trigger'::regclass and p.objid = e.oid
        and p.deptype = 'e')),
  'publications', (select coalesce(json_agg(pubname order by pubname), '[]') from pg_publication where puballtables),
  'defaults_of_superusers', (select coalesce(json_agg(distinct rolname order by rolname), '[]') from pg_default_acl
      join pg_roles on pg_roles.oid = defaclrole where rolsuper),
  'subscriptions', (select coalesce(json_agg(subname order by subname), '[]') from pg_subscription s
      join pg_database d on d.oid = s.subdbid where d.datname = current_database()),
  'extension_tables', (select coalesce(json_agg(t.oid::regclass::text order by t.oid::regclass::text), '[]')
      from pg_extension e, unnest(e.extconfig) t(oid)),
  'tablespaces', (select coalesce(json_agg(distinct s.spcname), '[]') from pg_tablespace s where s.spcname !~ '^pg_'
      and (s.oid in (select reltablespace from ours)
        or s.oid = (select dattablespace from pg_database where datname = current_database()))),
  'sequences', (select count(*) from ours where relkind = 'S'))
"""


def facts(run: Callable[[str], str]) -> dict[str, Any]:
    """Return what the database at hand has of such things: lists of at most KEPT names, '...' for more."""
    found = json.loads(run(FACTS))
    return {
        key: [*value[:KEPT], "..."] if isinstance(value, list) and len(value) > KEPT else value
        for key, value in found.items()
        if value
    }


def sentences(made: Manifest, entry: dict[str, Any], apart: Iterable[str] = ()) -> list[str]:
    """Return what is not equal or not compared in a restored database, as parts of a sentence. Pure."""
    found: list[str] = []
    here = entry.get("left_out", {})
    physical = made["engine"] == "physical"

    def add(key: str, text: str) -> None:
        if here.get(key):
            found.append(text.format(_names(here[key])))

    if physical:
        add("unlogged", "unlogged tables ({}) are empty, as after a crash")
        add("invalid_indexes", "invalid indexes ({}) are still invalid and are not counted")
        add("tablespaces", "tablespaces ({}) are in a folder beside the data")
    else:
        if made.get("server", {}).get("standby"):
            add("unlogged", "unlogged tables ({}) are empty, because the dump is of a standby")
        add("invalid_indexes", "invalid indexes ({}) are not in the dump")
        add("tablespaces", "what was in tablespaces ({}) is in the default one")
        add("materialized_views", "materialized views ({}) were filled anew and not compared")
        add("moved_columns", "columns of {} are in another order, those of their parents first")
        add("of_superusers", "what superusers own ({}) belongs to the owner of the database in a live server")
        add("defaults_of_superusers", "default privileges of superusers ({}) are not restored into a live server")
        for kind in ("event_triggers", "publications", "subscriptions"):
            add(kind, f"{kind.replace('_', ' ')} ({{}}) need a superuser, and no restore into a live server has them")
        add("generated_columns", "generated columns of {} were computed anew and not compared")
    add("foreign_tables", "foreign tables ({}) are definitions without rows")
    add("extension_tables", "tables of extensions ({}) were not compared")
    if here.get("sequences"):
        found.append(f"the values of {here['sequences']} sequences were not compared")
    if "sums" not in entry:
        found.append("rows were counted, and their values not compared")
    found += apart
    return [f"{entry['name']}: {text}" for text in found]


def _names(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
