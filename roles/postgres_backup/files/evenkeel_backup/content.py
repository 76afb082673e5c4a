# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of tables as sums: of the dump's data files at the backup, of the restored tables at the comparison.

`content_hash` has the formula. Both sides hash the text form of COPY, so they need the same settings (database.STABLE),
the database's own encoding, and the same order of columns.
"""

from __future__ import annotations

import json
import re
import secrets
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenkeel_backup import command, content_hash, manifest, trust
from evenkeel_backup.content_hash import MODULUS, SALT
from evenkeel_backup.database import OURS, PSQL, TABLE_KEY, Server, literal
from evenkeel_backup.faults import BackupFailure, Failures, fault_of
from evenkeel_backup.manifest import Manifest

METHOD = "blake2b-128-sum"
# Linux takes at most 128 KiB in one argument.
ARGUMENT_BYTES = 120_000
WORKER = (sys.executable, "-I", "-B", content_hash.__file__)
# The number of the large objects' tables in a stream, which no table has.
OBJECTS, PAGES = "objects", "pages"

# An inherited column may move: a restored child has its parents' columns first. So those tables' columns are recorded.
TABLES = rf"""
select coalesce(json_agg(json_build_object(
  'key', {TABLE_KEY}, 'oid', c.oid::bigint, 'bytes', coalesce(pg_relation_size(c.oid), 0),
  'unlogged', c.relpersistence = 'u',
  'money', exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and a.atttypid in ('money'::regtype, 'money[]'::regtype)),
  'columns', case when exists (select from pg_inherits i where i.inhrelid = c.oid) then (
      select json_agg(json_build_array(a.attnum, a.attname) order by a.attnum) from pg_attribute a
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and coalesce(to_jsonb(a)->>'attgenerated', '') = '') end)), '[]')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and {OURS}
"""
SESSION = """
select json_build_object('money', current_setting('lc_monetary'), 'page_bytes', current_setting('block_size')::int / 4,
  'objects', (select count(*) from pg_largeobject_metadata),
  'pages', has_table_privilege('pg_catalog.pg_largeobject', 'select'))
"""
# The form of pg_dump: columns that are neither dropped nor generated; a table without columns has empty lines.
COPY = """
select format('copy %I.%I%s to stdout', n.nspname, c.relname, (
  select ' (' || string_agg(quote_ident(a.attname), ', ' order by {order}) || ')' from pg_attribute a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  and coalesce(to_jsonb(a)->>'attgenerated', '') = ''))
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = {oid} \\gexec
"""
COPY_OBJECTS = "copy (select oid from pg_catalog.pg_largeobject_metadata) to stdout;\n"
COPY_PAGES = "copy (select loid, pageno, data from pg_catalog.pg_largeobject) to stdout;\n"

Sums = dict[str, tuple[int, str]]
Run = Callable[[str], str]


@dataclass(frozen=True)
class Survey:
    """The tables of a database (key, oid, bytes, unlogged, money, columns where they may move), and its session."""

    tables: list[dict[str, Any]]
    session: dict[str, Any]


def survey(run: Run, *, unlogged: bool = True) -> Survey:
    """Return what a comparison needs to know of a database; run executes SQL in it."""
    tables = [table for table in json.loads(run(TABLES)) if unlogged or not table["unlogged"]]
    return Survey(tables, json.loads(run(SESSION)))


def shares(items: Iterable[tuple[str, int]], count: int) -> list[list[str]]:
    """Divide named sizes among processes, so that each gets about the same. Pure."""
    found: list[tuple[int, list[str]]] = [(0, []) for _ in range(max(1, count))]
    for name, size in sorted(items, key=lambda item: (-item[1], item[0])):
        least = min(range(len(found)), key=lambda index: found[index][0])
        found[least] = (found[least][0] + size + 1, [*found[least][1], name])
    return [names for _, names in found if names]


def data_entries(listing: str) -> dict[int, int]:
    """Return the dump's number of each table's data by the table's oid, from the output of pg_restore --list. Pure.

    Names are not parsed, because the list does not quote them.
    """
    return {int(match[2]): int(match[1]) for match in re.finditer(r"(?m)^(\d+); 0 (\d+) TABLE DATA ", listing)}


def data_files(folder: Path) -> dict[str, Path]:
    """Return the data files of a dump by name without suffix: '<number>' of a table, 'blob_<oid>' of a large object."""
    found = {}
    for path in folder.iterdir():
        match = re.fullmatch(r"((?:blob_)?\d+)\.dat(?:\.gz)?", path.name)
        if match and stat.S_ISREG(path.lstat().st_mode):
            found[match[1]] = path
    return found


def added(one: str, other: str) -> str:
    """Return the sum of two sums. Pure."""
    return f"{(int(one, 16) + int(other, 16)) % MODULUS:032x}"


def _failure(what: str, subject: str, found: str, need: str) -> BackupFailure:
    remedy = "Take a new backup; if it happens again, run pg_amcheck on the live server"
    return BackupFailure("truncated_dump", what, subject, found, need, remedy, "dump")


def add_dump(
    entry: dict[str, Any], here: Survey, listing: str, objects_dumped: bool, folder: Path, options: Any
) -> None:
    """Add the sums of a dump to its entry in the manifest; raise each table whose data is not what was counted.

    They are computed from the finished files and not through a pipe, because pg_dump writes several at a time, and a
    pipe would slow it down to the speed of one hash. The files are still in the page cache.
    """
    salt, tables, session = secrets.token_bytes(16), here.tables, here.session
    numbers, files = data_entries(listing), data_files(folder)
    name, problems = entry["name"], []
    paths: dict[str, Path] = {}
    for table in tables:
        number = numbers.get(table["oid"])
        path = files.get(str(number))
        if path is None:
            problems.append(_failure("a table is not in the dump", f"{name}: {table['key']}", "no data", "its rows"))
        else:
            paths[table["key"]] = path
    objects = {key: path for key, path in files.items() if key.startswith("blob_")}
    found = _of_files(paths, objects, session["page_bytes"], salt, options["jobs"], options["timeout_seconds"])
    sums: dict[str, str] = {}
    for table in tables:
        key = table["key"]
        value = found.get(key)
        if isinstance(value, str):
            problems.append(_failure("a dump file cannot be read", f"{name}: {key}", value, "its rows"))
        elif value is not None:
            sums[key] = value[1]
            if value[0] != entry["rows"].get(key):
                need = f"{entry['rows'].get(key)}, as counted in the same snapshot"
                problems.append(_failure("a table has another number of rows", f"{name}: {key}", str(value[0]), need))
    if objects_dumped and len(objects) != session["objects"]:
        need = f"{session['objects']}, as counted in the same snapshot"
        problems.append(_failure("large objects are missing from the dump", name, str(len(objects)), need))
    if problems:
        raise Failures(problems)
    entry["sums"] = sums
    entry["content"] = form(here, salt)
    if not objects_dumped:
        entry["content"]["objects"] = {}
    elif objects:
        entry["content"]["objects"] |= {"count": len(objects), "sum": found[OBJECTS][1]}


def form(here: Survey, salt: bytes) -> dict[str, Any]:
    """Return how the sums of a database were computed, for the manifest. Pure."""
    return {
        "method": METHOD,
        "salt": salt.hex(),
        "columns": {table["key"]: [one[1] for one in table["columns"]] for table in here.tables if table["columns"]},
        "money": {table["key"]: here.session["money"] for table in here.tables if table["money"]},
        "objects": {"count": 0, "sum": "0" * 32, "page": here.session["page_bytes"]},
    }


def _of_files(
    tables: Mapping[str, Path],
    objects: Mapping[str, Path],
    page_bytes: int,
    salt: bytes,
    jobs: int,
    seconds: float,
) -> dict[str, Any]:
    """Compute the sums of data files in parallel processes."""
    everything = [(f"t{key}", path) for key, path in tables.items()]
    everything += [(f"o{key}", path) for key, path in objects.items()]
    sizes = [(name, path.lstat().st_size) for name, path in everything]
    tasks = [
        {
            "tables": {name[1:]: str(tables[name[1:]]) for name in share if name[0] == "t"},
            "objects": {name[6:]: str(objects[name[1:]]) for name in share if name[0] == "o"},
            "page_bytes": page_bytes,
        }
        for share in shares(sizes, jobs)
    ]

    def work(task: dict[str, Any]) -> dict[str, Any]:
        done = command.run(WORKER, env={SALT: salt.hex()}, given=json.dumps(task), seconds=seconds)
        command.need(done, "the sums were not computed", "the dump", "code 0", "Look at the message")
        return dict(json.loads(done.out))

    found: dict[str, Any] = {}
    total = "0"
    with ThreadPoolExecutor(max(1, len(tasks))) as pool:
        for part in pool.map(work, tasks):
            # A table's key has a dot.
            if OBJECTS in part:
                total = added(total, part.pop(OBJECTS)[1])
            found |= part
    if objects:
        found[OBJECTS] = [len(objects), total]
    return found


def add_live(entry: dict[str, Any], server: Server, run: Run, snapshot: str, options: Any) -> None:
    """Add the sums of a live database in an exported snapshot, which *run* holds; leave them out if one is missing."""
    salt = secrets.token_bytes(16)
    here = survey(run, unlogged=False)
    made = {**entry, "sums": dict.fromkeys(entry["rows"], ""), "content": form(here, salt)}
    found = of_database(server, made, options["jobs"], options["timeout_seconds"], snapshot)
    objects = found["apart"].pop("large objects", "")
    counted = {key: value[0] for key, value in found["sums"].items()}
    if found["problems"] or found["apart"] or counted != entry["rows"]:
        return
    entry["sums"] = {key: value[1] for key, value in found["sums"].items()}
    entry["content"] = made["content"]
    entry["content"]["objects"] = {} if objects else entry["content"]["objects"] | found["objects"]


def pack(made: Manifest) -> str:
    """Encode a manifest for pgBackRest; without sums if there are too many for one argument of a program. Pure."""
    text = manifest.pack(made)
    if len(text) > ARGUMENT_BYTES:
        for entry in made["databases"]:
            entry.pop("sums", None)
            entry.pop("content", None)
        text = manifest.pack(made)
    return text


def copy_script(tables: Iterable[tuple[str, int, list[int]]], encoding: str, objects: bool, snapshot: str = "") -> str:
    """Return the script for psql that writes tables as COPY text, each ended by a line with its number. Pure.

    A table is its number in the stream, its oid, and the order of its columns if it is not that of the catalogue.
    Names are not in the script, because psql would read them in the encoding of the data.
    """
    parts = [
        "begin transaction isolation level repeatable read read only;\n",
        f"set transaction snapshot {literal(snapshot)};\n" if snapshot else "",
        "set local search_path to pg_catalog;\nset local row_security to off;\n",
        f"set client_encoding to {literal(encoding)};\n",
    ]
    for number, oid, columns in tables:
        order = f"array_position('{{{','.join(map(str, columns))}}}'::int2[], a.attnum)" if columns else "a.attnum"
        # The lock of a table ends with its rows, so that no ALTER TABLE waits for all of them.
        parts.append(f"savepoint one;\n{COPY.format(order=order, oid=oid)}rollback to savepoint one;\n{_end(number)}")
    if objects:
        parts += [COPY_OBJECTS, _end(OBJECTS), COPY_PAGES, _end(PAGES)]
    return "".join(parts)


def _end(name: str) -> str:
    return f"\\echo '\\\\.{name}'\n"


def of_database(
    server: Server,
    entry: Mapping[str, Any],
    jobs: int,
    seconds: float,
    snapshot: str = "",
) -> dict[str, Any]:
    """Compute the sums of a database as recorded in a manifest's entry; return what differs from it by subject.

    Returns sums, problems as pairs of subject and text, and the keys of tables that cannot be compared.
    """
    wanted = entry["content"]
    here = survey(server.run)
    tables = {table["key"]: table for table in here.tables if table["key"] in entry["sums"]}
    session = here.session
    found: dict[str, Any] = {"sums": {}, "problems": [], "apart": {}, "objects": {}}
    orders: dict[str, list[int]] = {}
    for key, table in tables.items():
        if key in wanted["money"] and wanted["money"][key] != session["money"]:
            found["apart"][key] = f"money in lc_monetary {session['money']}, dumped in {wanted['money'][key]}"
        elif key in wanted["columns"]:
            numbers = {name: number for number, name in table["columns"] or []}
            if set(numbers) != set(wanted["columns"][key]):
                text = f"columns {', '.join(sorted(numbers)) or 'none'}"
                found["problems"].append((f"columns of {key}", text, f"columns {', '.join(wanted['columns'][key])}"))
                found["apart"][key] = "other columns"
            else:
                orders[key] = [numbers[name] for name in wanted["columns"][key]]
    read = [key for key in tables if key not in found["apart"]]
    objects = bool(wanted["objects"] and (wanted["objects"]["count"] or session["objects"]))
    if not wanted["objects"]:
        found["apart"]["large objects"] = "no privilege to read them at the backup"
    elif objects and not session["pages"]:
        objects, found["apart"]["large objects"] = False, "no privilege to read pg_largeobject"
    elif objects and session["page_bytes"] != wanted["objects"]["page"]:
        objects, found["apart"]["large objects"] = False, "another block size"
    parts = shares([(key, tables[key]["bytes"]) for key in read], jobs) or ([[]] if objects else [])
    numbered = {key: str(number) for number, key in enumerate(read)}

    def work(index: int) -> dict[str, Any]:
        rows = [(numbered[key], tables[key]["oid"], orders.get(key, [])) for key in parts[index]]
        script = copy_script(rows, entry["encoding"], objects and index == len(parts) - 1, snapshot)
        return _of_stream(server, script, bytes.fromhex(wanted["salt"]), seconds)

    streams: dict[str, Any] = {}
    with ThreadPoolExecutor(max(1, len(parts))) as pool:
        for number in [pool.submit(work, index) for index in range(len(parts))]:
            try:
                streams |= number.result()
            except BackupFailure as failure:
                found["problems"].append(("tables", failure.sentence, "every row to be readable"))
    found["sums"] = {key: streams[number] for key, number in numbered.items() if number in streams}
    if OBJECTS in streams and PAGES in streams:
        found["objects"] = {"count": streams[OBJECTS][0], "sum": added(streams[OBJECTS][1], streams[PAGES][1])}
    return found


def _of_stream(server: Server, script: str, salt: bytes, seconds: float) -> dict[str, Any]:
    """Run a script by psql, and hash its output in another process; constant memory, whatever the rows' size."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(f"{trust.PRELUDE}\n{script}".encode("ascii"))
        given.seek(0)
        reader = subprocess.Popen(
            server.argv("psql", *PSQL),
            env=command.environment(server.env),
            cwd="/",
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        worker = subprocess.Popen(
            [*WORKER, "stream"],
            env=command.environment({SALT: salt.hex()}),
            cwd="/",
            stdin=reader.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if reader.stdout is not None:
            # psql must notice if the worker ends.
            reader.stdout.close()
        try:
            out, _ = worker.communicate(timeout=seconds)
            reader.wait(60)
        except subprocess.TimeoutExpired:
            raise _unread(server, f"no end within {seconds:g} s") from None
        finally:
            for process in (reader, worker):
                if process.poll() is None:
                    command.end(process)
        errors.seek(0)
        text = errors.read().decode("utf-8", "replace").strip()
    if reader.returncode != 0 or worker.returncode != 0:
        raise _unread(server, text or f"psql ending with code {reader.returncode}")
    return dict(json.loads(out))


def _unread(server: Server, text: str) -> BackupFailure:
    return BackupFailure(
        fault_of(text),
        "the restored rows cannot be read",
        server.database,
        text,
        "every row",
        "Do not rely on this backup: drill an older one",
    )
