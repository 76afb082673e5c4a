# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What known extensions need around a restore. Each hook runs only where the database has the extension. Pure.

- timescaledb: its triggers and workers must be off while the data loads:
  https://docs.timescale.com/self-hosted/latest/backup-and-restore/logical-backup/
- pg_cron: exists in one database of a server only, which cron.database_name names, and would run the copied jobs:
  https://github.com/citusdata/pg_cron#setting-up-pg_cron
- postgis, vector, pg_partman and others: pg_dump stores what they need, there is no hook.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evenkeel_backup.database import literal


@dataclass(frozen=True)
class Hook:
    """Statements before and after the archive is loaded, or the reason why the extension is left out of copies."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    # The schema that belongs to the extension although it is no member of it.
    schema: str = ""
    left_out: str = ""


HOOKS: Mapping[str, Hook] = {
    "timescaledb": Hook(
        before=(
            "create extension if not exists timescaledb with version {version}",
            "select public.timescaledb_pre_restore()",
        ),
        after=("select public.timescaledb_post_restore()",),
    ),
    "pg_cron": Hook(
        schema="cron",
        left_out="it exists once on a server and would run the jobs of the copy;"
        " create it in the database of cron.database_name, and load its jobs with pg_restore --use-list",
    ),
}


def before(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return extension and SQL to run in the new database before the archive is loaded."""
    return [
        (one["name"], text.format(version=literal(one["version"])))
        for one in entry["extensions"]
        for text in HOOKS.get(one["name"], Hook()).before
    ]


def after(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return extension and SQL to run once the archive is loaded."""
    return [(one["name"], text) for one in entry["extensions"] for text in HOOKS.get(one["name"], Hook()).after]


def left_out(entry: Mapping[str, Any]) -> list[str]:
    """Return the extensions of a database that a copy must not have."""
    return [one["name"] for one in entry["extensions"] if HOOKS.get(one["name"], Hook()).left_out]


def preload(libraries: str) -> str:
    """Return shared_preload_libraries for the server of a drill, without extensions that are left out of it."""
    names = [name.strip() for name in libraries.split(",")]
    return ",".join(name for name in names if name and not HOOKS.get(name.strip('"'), Hook()).left_out)


def notes(entry: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each extension that is left out."""
    return [f"extension {name} is left out: {HOOKS[name].left_out}" for name in left_out(entry)]


def without(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest's entry as a copy must be, without the extensions that are left out."""
    gone = set(left_out(entry))
    return {**entry, "extensions": [one for one in entry["extensions"] if one["name"] not in gone]}


def lines_without(listing: str, names: Iterable[str]) -> str:
    """Return the list of an archive, as pg_restore --list prints it, without some extensions and their data."""
    patterns = []
    for name in names:
        schema = HOOKS[name].schema
        word = re.escape(name)
        patterns.append(rf"EXTENSION - {word}(?: |$)|COMMENT - EXTENSION {word}(?: |$)")
        if schema:
            # pg_dump stores policies and row security of an extension's tables, too, which CREATE EXTENSION makes.
            patterns.append(rf"[A-Z ]+ {re.escape(schema)} |ACL - SCHEMA {re.escape(schema)}(?: |$)")
    if not patterns:
        return listing
    pattern = re.compile(rf"\d+; \d+ \d+ (?:{'|'.join(patterns)})")
    return "".join(f"{line}\n" for line in listing.splitlines() if not pattern.match(line))
