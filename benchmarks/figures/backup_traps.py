# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sixty databases, each with one thing that is hard to back up or restore, by both engines.

A database is equal if pg_dump writes the same lines for it and for the restored one, and its own properties are the
same. What is not equal must have been named by the backup: in a warning, or as left out in its manifest. What only a
drill names, or only the restore, is counted apart.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import backup_rig
from ansible_collections.evenkeel.platform.benchmarks.backup_rig import KEY, Cluster, Instance, Unexpected
from ansible_collections.evenkeel.platform.benchmarks.figures.backup import need, say, versions
from ansible_collections.evenkeel.platform.benchmarks.result import Measured

ENGINES = ("logical", "physical")
EQUAL, NAMED, DRILL, LATE = "restored equal", "named by the backup", "named by the drill", "found at the restore"
LIMIT_SECONDS = 1800.0
CLOSED = "takes no connections"
Originals = dict[str, tuple[list[bytes], dict[str, Any]]]
ROWS = "create table kept as select i as id, md5(i::text) as note from generate_series(1, 200) i;"


@dataclass(frozen=True)
class Trap:
    """One database: what is in it, what is set about it from outside, and a statement that must fail in it."""

    kind: str
    title: str
    inside: str = ""
    about: str = ""
    name: str = ""
    options: str = ""
    broken: str = ""


def parsed(text: str) -> tuple[Trap, ...]:
    """Return the databases of a file. Pure."""
    found = []
    for block in re.split(r"(?m)^-- (?={)", text)[1:]:
        head, _, sql = block.partition("\n")
        inside, _, about = sql.partition("-- about\n")
        found.append(Trap(**json.loads(head), inside=inside.strip(), about=about.strip()))
    return tuple(found)


TRAPS = parsed((Path(__file__).parent.parent / "traps.sql").read_text(encoding="utf-8"))
PROPERTIES = """
select json_build_object('owner', pg_get_userbyid(datdba), 'limit', datconnlimit, 'encoding', encoding,
  'collate', datcollate, 'ctype', datctype, 'provider', datlocprovider, 'icu', daticulocale,
  'template', datistemplate, 'open', datallowconn, 'acl', (select array_agg(a::text order by a::text)
  from unnest(coalesce(datacl, acldefault('d', datdba))) a), 'comment', shobj_description(oid, 'pg_database'),
  'settings', (select json_agg(json_build_array(setrole::regrole::text, setconfig) order by setrole::regrole::text)
  from pg_db_role_setting where setdatabase = pg_database.oid)) from pg_database where datname = '{}'
"""


@dataclass
class Result:
    """What became of one trap with one engine."""

    trap: Trap
    engine: str
    outcome: str
    text: str = ""


@dataclass
class Ground:
    cluster: Cluster
    instances: dict[str, Instance]
    # The databases by trap.
    names: dict[Trap, str]
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def text_of(name: str) -> str:
    return name.replace("'", "''")


def ask(cluster: Cluster, sql: str, name: str) -> str:
    """Run SQL in a database of any name and setting; a literal backslash is none of psql's."""
    env = {**os.environ, "PGDATABASE": name, "PGOPTIONS": "-c statement_timeout=0 -c search_path=public,pg_catalog"}
    env["PGOPTIONS"] += " -c default_transaction_read_only=off -c client_encoding=UTF8"
    argv = cluster.client("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-")
    done = subprocess.run(argv, input=sql.encode(), capture_output=True, env=env, check=False)
    if done.returncode != 0:
        raise Unexpected(f"{name}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace").strip()


def dumped(cluster: Cluster, name: str) -> list[bytes]:
    """Return the lines that pg_dump writes for a database, in no order, as rows have none."""
    # A setting of the database holds until pg_dump has set its own.
    env = {**os.environ, "PGDATABASE": name, "PGOPTIONS": "-c statement_timeout=0"}
    argv = cluster.client("pg_dump", "--exclude-schema=evenkeel_backup", "--no-sync")
    done = subprocess.run(argv, capture_output=True, env=env, check=False)
    if done.returncode != 0:
        raise Unexpected(done.stderr.decode(errors="replace"))
    lines = [line for line in done.stdout.split(b"\n") if not line.startswith((b"--", b"\\restrict", b"\\unrestrict"))]
    return sorted(line for line in lines if line)


def shown(cluster: Cluster, name: str) -> tuple[list[bytes], dict[str, Any]]:
    """Return the lines and the properties of a database; one that takes no connections is opened for it."""
    properties = json.loads(cluster.sql(PROPERTIES.format(text_of(name)), "postgres"))
    if not properties["open"]:
        cluster.sql(f"alter database {quoted(name)} allow_connections true", "postgres")
    return dumped(cluster, name), properties


def difference(one: tuple[list[bytes], dict[str, Any]], other: tuple[list[bytes], dict[str, Any]]) -> str:
    """Return the first thing in which two databases differ; empty if they are equal. Pure."""
    for key, value in one[1].items():
        if other[1][key] != value:
            return f"{key} {other[1][key]} instead of {value}"
    here, there = Counter(one[0]), Counter(other[0])
    for text, lines in (("no line", here - there), ("another line", there - here)):
        for line in lines:
            return f"{text} {line.decode(errors='replace')[:120]}"
    return ""


@contextmanager
def ground_of() -> Iterator[Ground]:
    with backup_rig.scratch() as folder:
        settings = {**backup_rig.archiving(folder, "wal"), "max_prepared_transactions": "5"}
        cluster = Cluster(folder, **settings)
        try:
            cluster.sql("create role trap_owner; create role trap_reader", "postgres")
            names = {trap: made(cluster, trap, number) for number, trap in enumerate(TRAPS)}
            instances = {
                "logical": backup_rig.logical(folder, "dumps", cluster),
                "physical": backup_rig.physical(folder, "wal", cluster),
            }
            for instance in instances.values():
                instance.limit_seconds = LIMIT_SECONDS
                instance.good("prepare")
                instance.good("escrow-check", "--key-file", "-", given=KEY)
            yield Ground(cluster, instances, names)
        finally:
            cluster.stop()


def made(cluster: Cluster, trap: Trap, number: int) -> str:
    """Create the database of a trap."""
    name = trap.name or f"trap_{number:02}"
    cluster.sql(f"create database {quoted(name)} {trap.options}", "postgres")
    ask(cluster, ROWS, name)
    if trap.inside:
        ask(cluster, trap.inside, name)
    if trap.broken:
        try:
            ask(cluster, trap.broken, name)
        except Unexpected:
            return name
        raise Unexpected(f"no failure: {trap.broken}")
    if trap.about:
        cluster.sql(trap.about.format(quoted(name), text_of(name)), "postgres")
    return name


def backed_up(ground: Ground, engine: str, *words: str) -> dict[Trap, str]:
    """Take the backup; a database for which it is refused gets another name. Return those with what was said."""
    code, document = ground.instances[engine].run("backup", *words)
    refused: dict[Trap, str] = {}
    if "backup" not in document:
        for number, (trap, name) in enumerate(ground.names.items()):
            for one in document["failures"]:
                if f" on {name}: " in one["sentence"] or repr(name) in one["sentence"]:
                    refused[trap] = one["sentence"]
                    ground.names[trap] = f"renamed_{number:02}"
                    ground.cluster.sql(f"alter database {quoted(name)} rename to {ground.names[trap]}", "postgres")
        code, document = ground.instances[engine].run("backup", *words)
    if "backup" not in document:
        raise Unexpected(f"no backup of the traps: {document['failures']}")
    ground.documents[engine] = document
    say(f"{engine} backup: level {document['backup']['level']}, code {code}, refused {len(refused)}")
    return refused


def originals_of(ground: Ground, engine: str) -> Originals:
    """Return the databases as they are; the closed one is opened for it, once all backups are taken."""
    return {
        name: shown(ground.cluster, name)
        for trap, name in ground.names.items()
        if engine == "physical" or trap.title != CLOSED
    }


def said(ground: Ground, engine: str, name: str) -> str:
    """Return what the backup named about a database: in its warnings and failures, or in its manifest."""
    document = ground.documents[engine]
    for one in [*document.get("warnings", []), *document["failures"]]:
        if f" on {' '.join(name.split())}: " in one["sentence"]:
            return str(one["sentence"])
    instance = ground.instances[engine]
    path = Path(instance.options["state_dir"], "backups", f"{document['backup']['id']}.json")
    entries = {entry["name"]: entry for entry in json.loads(path.read_text())["databases"]}
    left = entries.get(name, {}).get("left_out", {})
    facts = {key: value for key, value in left.items() if key != "sequences"}
    return f"left out or made anew: {', '.join(facts)}" if facts else ""


def of_dumps(ground: Ground, originals: Originals) -> Iterator[Result]:
    """Restore each database beside, and compare it."""
    instance = ground.instances["logical"]
    for number, (trap, name) in enumerate(ground.names.items()):
        if trap.title == CLOSED:
            yield result_of(ground, trap, "logical", "not in the backup")
            continue
        code, document = instance.run("restore", f"--database={name}", f"--as=restored_{number:02}")
        at = (document.get("restored") or {}).get("at", "")
        text = "; ".join(one["sentence"] for one in document["failures"])[:300] or ("" if code == 0 else f"code {code}")
        if at:
            text = difference(originals[name], shown(ground.cluster, at)) or text
            ground.cluster.sql(f"alter database {quoted(at)} is_template false", "postgres")
            ground.cluster.sql(f"drop database {quoted(at)} with (force)", "postgres")
        yield result_of(ground, trap, "logical", text)


def of_server(ground: Ground, originals: Originals) -> Iterator[Result]:
    """Restore the server beside, start it, and compare each database."""
    instance = ground.instances["physical"]
    into = instance.folder / "beside"
    document = instance.good("restore", "--into", str(into))
    if not document["restored"]:
        raise Unexpected("nothing was restored")
    server = Cluster.of(into, into / "data", ground.cluster.bin)
    try:
        for trap, name in ground.names.items():
            yield result_of(ground, trap, "physical", difference(originals[name], shown(server, name)))
    finally:
        server.stop()
        shutil.rmtree(into)


def result_of(ground: Ground, trap: Trap, engine: str, text: str) -> Result:
    """Judge one restored database by what differs."""
    if not text:
        return Result(trap, engine, EQUAL)
    why = said(ground, engine, ground.names[trap])
    return Result(trap, engine, NAMED if why else LATE, f"{text} ({why})" if why else text)


def drilled(ground: Ground, found: list[Result]) -> None:
    """Ask a drill of each engine for what nothing named so far."""
    for engine in {one.engine for one in found if one.outcome == LATE}:
        _, document = ground.instances[engine].run("drill")
        sentences = [one["sentence"] for one in document["failures"]]
        for one in found:
            name = " ".join(ground.names[one.trap].split())
            if one.outcome == LATE and one.engine == engine and any(name in text for text in sentences):
                one.outcome = DRILL


def backup_traps(_folder: Path) -> Measured:
    need("restic", "pgbackrest")
    found: list[Result] = []
    with ground_of() as ground:
        for engine, results, words in (("logical", of_dumps, ()), ("physical", of_server, ("--type", "full"))):
            refused = backed_up(ground, engine, *words)
            for one in results(ground, originals_of(ground, engine)):
                if one.trap in refused:
                    one.outcome, one.text = NAMED, refused[one.trap]
                found.append(one)
                say(f"{engine} {one.trap.kind} {one.trap.title}: {one.outcome} {one.text}".rstrip())
        drilled(ground, found)
        levels = {engine: ground.documents[engine]["backup"]["level"] for engine in ENGINES}
    many = {engine: Counter(one.outcome for one in found if one.engine == engine) for engine in ENGINES}
    return Measured(
        results={
            "traps": len(TRAPS),
            "backup_level": levels,
            **{
                f"{engine}_{outcome.replace(' ', '_')}": many[engine][outcome]
                for engine in ENGINES
                for outcome in (EQUAL, NAMED, DRILL, LATE)
            },
            "by_trap": by_trap(found),
        },
        bar=[
            {"of": "results.traps", "at_least": 60},
            *({"of": f"results.{engine}_restored_equal", "at_least": 45} for engine in ENGINES),
            *(
                {"of": f"results.{engine}_{outcome.replace(' ', '_')}", "at_most": 0}
                for engine in ENGINES
                for outcome in (DRILL, LATE)
            ),
        ],
        versions=versions("postgres", "restic", "pgbackrest"),
    )


def by_trap(found: list[Result]) -> dict[str, dict[str, str]]:
    """Return a row of each trap with the outcome of each engine. Pure."""
    rows: dict[str, dict[str, str]] = {}
    for one in found:
        row = rows.setdefault(one.trap.title, {"kind": one.trap.kind})
        row[one.engine] = one.outcome
        if one.text:
            row["said"] = "; ".join(filter(None, [row.get("said", ""), f"{one.engine}: {one.text}"]))
    return {
        title: {**row, "said": row.get("said", "-").replace("|", "/").replace("\n", " ")} for title, row in rows.items()
    }
