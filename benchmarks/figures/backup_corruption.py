# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random damage to repositories of both engines, and who notices it.

After each damage verify reads everything. What it does not notice, a drill of every copy may. What no drill notices is
restored, every copy and for WAL the newest point in time, and compared with what was recorded before: equal content
proves that nothing reads those bytes, and all else is silent damage.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import backup_rig
from ansible_collections.evenkeel.platform.benchmarks.backup_rig import KEY, Cluster, Instance
from ansible_collections.evenkeel.platform.benchmarks.figures.backup import need, number, say, versions
from ansible_collections.evenkeel.platform.benchmarks.result import Measured

KINDS = ("flip", "truncate", "delete", "swap")
POINT = "newest"
# One control for so many damages, and drills and restores of all copies in two of so many controls.
DAMAGES_PER_CONTROL, CONTROLS_PER_DRILL = 2, 50
CONTENT = (
    "select md5(string_agg(id || note, ',' order by id)) || ' ' || count(*)"
    " || ' ' || (select coalesce(sum(hashtext(encode(data, 'hex'))), 0) from pg_largeobject) from orders"
)


@dataclass
class Ground:
    """One engine with its repositories, and the content of each backup."""

    engine: str
    cluster: Cluster
    instance: Instance
    content: dict[str, str] = field(default_factory=dict)
    # At the named point behind all backups.
    newest: str = ""

    @property
    def repositories(self) -> list[tuple[str, Path]]:
        return [(one["name"], Path(one["location"])) for one in self.instance.options["repositories"]]

    @property
    def state(self) -> Path:
        return Path(self.instance.options["state_dir"])


@dataclass
class Damage:
    """One damage, and what came of it."""

    engine: str
    repository: str
    kind: str
    file: str
    area: str
    by: str = ""
    faults: tuple[str, ...] = ()
    text: str = ""


def files_of(repository: Path) -> list[Path]:
    return sorted(path for path in repository.rglob("*") if path.is_file() and not path.is_symlink())


def chosen(sizes: dict[str, int], chance: random.Random) -> str:
    """Choose a file: half of the time each as likely, half of the time each byte. Pure."""
    names = sorted(name for name, size in sizes.items() if size)
    if chance.random() < 0.5:
        return chance.choice(names)
    return chance.choices(names, [sizes[name] for name in names])[0]


def area_of(engine: str, name: str) -> str:
    """Return the part of a repository that a file belongs to. Pure."""
    parts = name.split("/")
    if engine == "logical":
        return parts[0]
    if parts[-1].partition(".copy")[0] in {"archive.info", "backup.info", "backup.manifest"}:
        return parts[-1]
    if parts[0] == "archive":
        return "WAL"
    return "history of manifests" if "backup.history" in parts else "files"


def damaged(path: Path, kind: str, others: list[Path], chance: random.Random) -> str:
    """Damage a file, and return how; the kind changes where it could not change anything."""
    data = path.read_bytes()
    different = [one for one in others if one != path and one.parent.parent == path.parent.parent]
    different = [one for one in different if one.read_bytes() != data] if kind == "swap" else []
    if kind == "swap" and not different:
        kind = "delete"
    path.chmod(path.stat().st_mode | 0o200)
    if kind == "flip":
        at, bit = chance.randrange(len(data)), 1 << chance.randrange(8)
        write(path, data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        return f"flip of bit {bit:#04x} at {at} of {len(data)}"
    if kind == "truncate":
        length = chance.randrange(len(data))
        write(path, data[:length])
        return f"truncate from {len(data)} to {length}"
    if kind == "swap":
        other = chance.choice(different)
        other.chmod(other.stat().st_mode | 0o200)
        write(path, other.read_bytes())
        write(other, data)
        return f"swap with {other.name}"
    path.unlink()
    return "delete"


def write(path: Path, data: bytes) -> None:
    """Replace the content, and leave owner and mode."""
    with path.open("r+b") as stream:
        stream.write(data)
        stream.truncate(len(data))


def told(instance: Instance, *words: str) -> tuple[str, ...]:
    """Return what a verb finds; empty if it calls everything good."""
    code, document = instance.run(*words)
    found = tuple(sorted({f"{one['stage']} {one['fault']}" for one in document["failures"]}))
    return found or ((f"code {code}",) if code else ())


def wrong(ground: Ground) -> str:
    """Restore every copy and the newest point, and return the first that is not what was recorded; empty if all are."""
    # As on another host, which has no cache.
    shutil.rmtree(ground.state / "cache", ignore_errors=True)
    for repository, _path in ground.repositories:
        for backup, content in ground.content.items():
            words = ("--backup", backup, "--repository", repository)
            found = restored_database(ground, *words) if ground.engine == "logical" else restored_server(ground, *words)
            if found != content:
                return f"{backup} in {repository}: {found}"
        if ground.newest:
            found = restored_server(ground, "--repository", repository, "--mode", "pitr", "--target-name", POINT)
            if found != ground.newest:
                return f"point {POINT} in {repository}: {found}"
    return ""


def restored_database(ground: Ground, *words: str) -> str:
    code, document = ground.instance.run("restore", "--as", "probe", *words)
    try:
        return ground.cluster.sql(CONTENT, "probe") if code == 0 else sentence(document)
    finally:
        for name in ("probe", "probe_incomplete"):
            ground.cluster.sql(f"drop database if exists {name} with (force)", "postgres")


def restored_server(ground: Ground, *words: str) -> str:
    into = ground.instance.folder / "probe"
    code, document = ground.instance.run("restore", "--into", str(into), *words)
    try:
        if code != 0:
            return sentence(document)
        server = Cluster.of(into, into / "data", ground.cluster.bin)
        try:
            return server.sql(CONTENT)
        finally:
            server.stop()
    finally:
        shutil.rmtree(into, ignore_errors=True)


def sentence(document: dict[str, Any]) -> str:
    return next((str(one["sentence"])[:300] for one in document["failures"]), "no restore, and nothing said")


def judged(ground: Ground, *, drills: bool = True, proof: bool = True) -> tuple[str, tuple[str, ...], str]:
    """Return who finds something in the repositories as they are, what, and the text of a wrong restore."""
    faults = told(ground.instance, "verify", "--read-data")
    if faults:
        return "verify", faults, ""
    for repository, _path in ground.repositories if drills else []:
        for backup in ground.content:
            faults = told(ground.instance, "drill", "--backup", backup, "--repository", repository)
            if faults:
                return "drill", faults, ""
    text = wrong(ground) if proof else ""
    return ("silent" if text else "nothing reads it"), (), text


def one_damage(ground: Ground, kind: str, chance: random.Random) -> Damage:
    name, repository = chance.choice(ground.repositories)
    with backup_rig.kept(ground.state), backup_rig.kept(repository):
        files = files_of(repository)
        sizes = {str(path.relative_to(repository)): path.stat().st_size for path in files}
        file = chosen(sizes, chance)
        how = damaged(repository / file, kind, files, chance)
        by, faults, text = judged(ground)
    return Damage(ground.engine, name, how.split()[0], f"{file}: {how}", area_of(ground.engine, file), by, faults, text)


def one_control(ground: Ground, drills: bool) -> tuple[str, ...]:
    """Return what is found, or restored otherwise, where nothing was damaged."""
    with backup_rig.kept(ground.state):
        _by, faults, text = judged(ground, drills=drills, proof=drills)
    return (*faults, *([text] if text else []))


def ground_of(stack: ExitStack, engine: str) -> Ground:
    folder = stack.enter_context(backup_rig.scratch())
    # Nothing is archived later on: what arrived beside a damage would be lost when the repository is put back.
    settings = {**backup_rig.archiving(folder, "wal"), "archive_timeout": "0"} if engine == "physical" else {}
    cluster = Cluster(folder, **settings)
    stack.callback(cluster.stop)
    cluster.sql("create database shop", "postgres")
    cluster.sql("create table orders as select i as id, md5(i::text) as note from generate_series(1, 20000) i")
    cluster.sql("create index on orders (note); select lo_from_bytea(0, decode(repeat('ab', 5000), 'hex'))")
    if engine == "logical":
        made = backup_rig.logical(folder, "shop", cluster, databases=["shop"])
        second = {"name": "second", "location": str(folder / "repo" / "second"), "key_file": str(made.key)}
        made.options["repositories"].append(second)
        made.write()
    else:
        made = backup_rig.physical(folder, "wal", cluster)
    made.limit_seconds = 900
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    ground = Ground(engine, cluster, made)
    # A full one with one that needs it, and another: three tiers of age.
    for one, kind in enumerate(("full", "incr", "full")):
        document = made.good("backup", *(("--type", kind) if engine == "physical" else ()))
        ground.content[document["backup"]["id"]] = cluster.sql(CONTENT)
        cluster.sql(f"insert into orders select i, md5(i::text) from generate_series({one}00001, {one}05000) i")
        cluster.sql(f"delete from orders where id % 17 = {one}")
    if engine == "physical":
        ground.newest = cluster.sql(CONTENT)
        cluster.sql(f"select pg_create_restore_point('{POINT}')", "postgres")
        cluster.archived()
    return ground


@contextmanager
def grounds() -> Iterator[list[Ground]]:
    with ExitStack() as stack:
        yield [ground_of(stack, engine) for engine in ("logical", "physical")]


def backup_corruption(_folder: Path) -> Measured:
    need("restic", "pgbackrest")
    damages, controls, seed = number("DAMAGES", 200), number("CONTROLS", 100), number("SEED", 13)
    limit = number("DAMAGE_SECONDS", 0)
    chance, found, alarms, looked, drilled = random.Random(seed), list[Damage](), list[str](), 0, 0
    began = time.monotonic()
    with grounds() as here:
        while len(found) < damages or looked < controls:
            if limit and time.monotonic() - began > limit:
                break
            if looked < controls and (len(found) >= damages or looked * DAMAGES_PER_CONTROL <= len(found)):
                ground = here[looked % len(here)]
                drills = looked % CONTROLS_PER_DRILL >= CONTROLS_PER_DRILL - len(here)
                alarms += [f"{ground.engine}: {one}" for one in one_control(ground, drills)]
                looked, drilled = looked + 1, drilled + drills
                continue
            ground = here[len(found) % len(here)]
            one = one_damage(ground, KINDS[len(found) // len(here) % len(KINDS)], chance)
            found.append(one)
            say(f"{len(found)} of {damages}: {one.engine} {one.file}: {one.by} {', '.join(one.faults)}{one.text}")
    return Measured(
        results={
            "damages": len(found),
            "planned": damages,
            "seed": seed,
            "copies": {ground.engine: len(ground.content) * len(ground.repositories) for ground in here},
            **{f"found_by_{by}": sum(one.by == by for one in found) for by in ("verify", "drill")},
            "of_bytes_that_nothing_reads": sum(one.by == "nothing reads it" for one in found),
            "silent": sum(one.by == "silent" for one in found),
            "by_kind": table(found, lambda one: f"{one.engine} {one.kind}"),
            "by_place": table(found, lambda one: f"{one.engine} {one.area}"),
            "faults": dict(Counter(fault for one in found for fault in one.faults)),
            "nothing_reads": [f"{one.engine} {one.file}" for one in found if one.by == "nothing reads it"] or ["none"],
            "silent_damages": [f"{one.engine} {one.file}: {one.text}" for one in found if one.by == "silent"]
            or ["none"],
        },
        control={
            "what": "verify of every byte with nothing damaged",
            "controls": looked,
            "planned": controls,
            "with_drills_and_restores": drilled,
            "alarms": len(alarms),
            "found": alarms or ["nothing"],
        },
        bar=[
            {"of": "results.damages", "at_least": damages},
            {"of": "results.silent", "at_most": 0},
            {"of": "control.controls", "at_least": controls},
            {"of": "control.alarms", "at_most": 0},
        ],
        versions=versions("postgres", "restic", "pgbackrest"),
    )


def table(found: list[Damage], key: Callable[[Damage], str]) -> dict[str, dict[str, int]]:
    """Return the counts by a key. Pure."""
    return {
        name: {
            "damages": len(here),
            **{by.replace(" ", "_"): sum(one.by == by for one in here) for by in ("verify", "drill")},
            "nothing_reads_it": sum(one.by == "nothing reads it" for one in here),
            "silent": sum(one.by == "silent" for one in here),
        }
        for name in sorted({key(one) for one in found})
        if (here := [one for one in found if key(one) == name])
    }
