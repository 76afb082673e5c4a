# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at random moments of each verb, and whether the next run puts everything right.

An app writes rows all the time unless a hook stopped it. Each row whose write was acknowledged must be found
afterwards, live or in the data that was live before. Half of the kills meet the runner alone, whose programs may go on
for a moment, and half all of its processes, as the end of a unit does.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import backup_rig
from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    RUNNER,
    Cluster,
    Instance,
    Unexpected,
    as_server,
)
from ansible_collections.evenkeel.platform.benchmarks.figures.backup import need, number, say, versions
from ansible_collections.evenkeel.platform.benchmarks.load import quantiles
from ansible_collections.evenkeel.platform.benchmarks.result import Measured

VERBS = ("backup", "verify", "retain", "drill", "restore", "in_place")
ENGINES = ("logical", "physical")
ROWS = 5_000
# Small, so that retain has something to remove.
RETENTION = {"last": 2, "daily": 0, "weekly": 0, "monthly": 0}
HOOK_SECONDS = 0.3
WRITE_SECONDS = 0.4
# A run that is told to go on may have to wait for programs of the killed one.
RECOVER_SECONDS = 600
JOURNAL = "exchange.json"


@dataclass
class App:
    """Writes a row every moment while it is not stopped, and remembers those that the server acknowledged."""

    cluster: Cluster
    file: Path
    acknowledged: set[int] = field(default_factory=set)
    last: int = ROWS
    ended: bool = False

    def __post_init__(self) -> None:
        self.file.write_text("up")
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def hooks(self) -> dict[str, list[list[str]]]:
        """Return hooks that take their time, so that a kill meets them."""
        return {
            f"{name}_app": [["sh", "-c", f"echo {state} >{self.file}; sleep {HOOK_SECONDS}"]]
            for name, state in (("stop", "down"), ("start", "up"))
        }

    @property
    def down(self) -> bool:
        return self.file.read_text().strip() == "down"

    def _work(self) -> None:
        while not self.ended:
            if not self.down:
                self.last += 1
                with contextlib.suppress(Unexpected):
                    self.cluster.sql(f"insert into orders values ({self.last}, md5('{self.last}'))")
                    self.acknowledged.add(self.last)
            time.sleep(WRITE_SECONDS)

    def end(self) -> None:
        self.ended = True
        self.thread.join(30)


@dataclass
class Ground:
    """One engine with its server and app."""

    engine: str
    cluster: Cluster
    instance: Instance
    app: App
    # Seconds of each verb without a kill.
    takes: dict[str, float] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        return Path(self.instance.options["state_dir"], JOURNAL)

    def words(self, verb: str) -> list[str]:
        """Return the words of a verb of this figure."""
        if verb == "backup":
            return ["backup", "--type", "incr"] if self.engine == "physical" else ["backup"]
        if verb == "restore":
            into = ["--into", str(self.beside)] if self.engine == "physical" else []
            return ["restore", *into]
        if verb == "in_place":
            name = "shop" if self.engine == "logical" else self.instance.name
            return ["restore", "--mode", "in_place", "--confirm", name, "--backup", self.newest]
        return [verb]

    @property
    def beside(self) -> Path:
        return self.instance.folder / "beside"

    @property
    def newest(self) -> str:
        return str(self.instance.run("status")[1]["status"]["newest_good"])

    def unalerted(self) -> list[str]:
        """Return what is down while the metrics and the status do not say so; asked before any other run."""
        down = [name for name, is_down in (("app", self.app.down), ("server", not answers(self.cluster))) if is_down]
        if not down:
            return []
        figure = next((value for name, value in self.instance.metrics().items() if "exchange_unfinished" in name), 0)
        _, document = self.instance.run("status")
        told = {one["fault"] for one in document["failures"]}
        return [] if figure == 1 and "exchange_unfinished" in told else down

    def lost(self, finished: bool) -> list[int]:
        """Return the acknowledged rows that are in no data any more, or not live though nothing was replaced."""
        wanted = set(self.app.acknowledged) | set(range(1, ROWS + 1))
        found = ids(self.cluster, "shop")
        if finished:
            found |= self.former()
        return sorted(wanted - found)

    def former(self) -> set[int]:
        """Return the rows of the data that was live before an exchange."""
        if self.engine == "logical":
            names = [name for name in databases(self.cluster) if name.startswith("shop_before_")]
            return set().union(*(ids(self.cluster, name) for name in names))
        found: set[int] = set()
        for path in self.kept_folders():
            other = self.instance.folder / "former"
            other.mkdir()
            former = Cluster.of(other, path, self.cluster.bin)
            try:
                found |= ids(former, "shop")
            finally:
                former.stop()
                shutil.rmtree(other)
        return found

    def kept_folders(self) -> list[Path]:
        return sorted(self.cluster.data.parent.glob(f"{self.cluster.data.name}.before-*"))

    def tidied(self) -> None:
        """Remove what a finished restore kept, as a person does once it is not needed; the app has its rows again."""
        names = [name for name in databases(self.cluster) if name not in {"postgres", "shop"}]
        for name in names:
            self.cluster.sql(f'drop database "{name}" with (force)', "postgres")
        for path in self.kept_folders():
            shutil.rmtree(path)
        shutil.rmtree(self.beside, ignore_errors=True)
        live = ids(self.cluster, "shop")
        gone = sorted((set(self.app.acknowledged) | set(range(1, ROWS + 1))) - live)
        if gone:
            values = ", ".join(f"({one}, md5('{one}'))" for one in gone)
            self.cluster.sql(f"insert into orders values {values}")

    def left_over(self) -> list[str]:
        """Return what a killed run left that no run removed."""
        found = [name for name in databases(self.cluster) if name.startswith("evenkeel_restore_")]
        found += [path.name for path in Path(self.instance.options["work_dir"]).iterdir()]
        found += [path.name for path in self.cluster.data.parent.glob(f"{self.cluster.data.name}.restored-*")]
        return found


def answers(cluster: Cluster) -> bool:
    try:
        return cluster.sql("select 1", "postgres") == "1"
    except Unexpected:
        return False


def databases(cluster: Cluster) -> list[str]:
    return cluster.sql("select datname from pg_database where not datistemplate", "postgres").splitlines()


def ids(cluster: Cluster, database: str) -> set[int]:
    """Return the rows whose content is what was written."""
    return set(map(int, cluster.sql("select id from orders where note = md5(id::text)", database).split()))


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started; none that became a child of another."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name before the state is in parentheses and may hold blanks.
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def serves(pid: int, data: Path) -> bool:
    """Return whether a process is the live server, which is no part of the killed unit though a hook started it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"/postgres") and os.fsencode(data) in words


def killed(ground: Ground, verb: str, after: float, everything: bool, exchange: bool = False) -> bool:
    """Start a verb, and end it after some seconds; return whether it was still at work.

    With *exchange*, the seconds count from the moment at which its journal is there.
    """
    argv = [sys.executable, str(RUNNER), *ground.words(verb)[:1], ground.instance.name]
    run = subprocess.Popen(
        [*argv, "--config-dir", str(ground.instance.configs), *ground.words(verb)[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while exchange and run.poll() is None and not ground.journal.exists():
        time.sleep(0.005)
    time.sleep(after)
    if run.poll() is not None:
        return False
    if everything:
        # Stopped first, so that it starts nothing while its processes are counted.
        run.send_signal(signal.SIGSTOP)
        for pid in descendants(run.pid)[1:]:
            if not serves(pid, ground.cluster.data):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    return True


def ground_of(stack: ExitStack, engine: str) -> Ground:
    folder = stack.enter_context(backup_rig.scratch())
    settings = backup_rig.archiving(folder, "wal") if engine == "physical" else {}
    cluster = Cluster(folder, **settings)
    pg_ctl = as_server(str(cluster.bin / "pg_ctl"), "-D", str(cluster.data), "-w")
    stack.callback(stopped, cluster, pg_ctl)
    cluster.sql("create database shop", "postgres")
    cluster.sql(f"create table orders as select i as id, md5(i::text) as note from generate_series(1, {ROWS}) i")
    app = App(cluster, folder / "app")
    stack.callback(app.end)
    if engine == "logical":
        made = backup_rig.logical(folder, "shop", cluster, databases=["shop"], hooks=app.hooks())
    else:
        log = str(cluster.data.parent / "again.log")
        Path(log).touch()
        shutil.chown(log, backup_rig.USER)
        hooks = {
            **app.hooks(),
            "stop_server": [[*pg_ctl, "stop", "-m", "fast"]],
            "start_server": [[*pg_ctl, "-l", log, "start"]],
        }
        made = backup_rig.physical(folder, "wal", cluster, hooks=hooks)
    made.options["repositories"][0]["retention"] = RETENTION
    made.limit_seconds = RECOVER_SECONDS
    made.write()
    made.ready()
    ground = Ground(engine, cluster, made, app)
    for one in range(2):
        made.good("backup", *(["--type", "full"] if engine == "physical" and not one else []))
    for verb in VERBS:
        ground.takes[verb] = measured(ground, verb)
        ground.tidied()
    # The exchange is what follows the safety backup.
    ground.takes["exchange"] = max(1.0, ground.takes["in_place"] - ground.takes["backup"])
    say(f"{engine}: {', '.join(f'{verb} {seconds:.1f} s' for verb, seconds in ground.takes.items())}")
    return ground


def measured(ground: Ground, verb: str) -> float:
    words, began = ground.words(verb), time.monotonic()
    ground.instance.good(*words)
    return time.monotonic() - began


def stopped(cluster: Cluster, pg_ctl: list[str]) -> None:
    """Stop the server, whether the rig or a hook started it."""
    subprocess.run([*pg_ctl, "stop", "-m", "immediate"], check=False, capture_output=True)
    cluster.process = None


@dataclass
class Found:
    """What one kill led to."""

    engine: str
    verb: str
    everything: bool
    follow: str = ""
    step: str = ""
    settled: str = ""
    lost: int = 0
    unalerted: str = ""
    person: str = ""
    seconds: float = 0.0


def one_kill(ground: Ground, verb: str, chance: random.Random) -> Found:
    """Kill a verb at a random moment, let the next run put it right, and look."""
    everything = chance.random() < 0.5
    share = chance.random()
    # Most restores in place are met once the app is to be stopped.
    exchange = verb == "in_place" and chance.random() < 0.8
    takes = ground.takes["exchange" if exchange else verb]
    # What runs next: the unit at boot, the timer, or the person who started it once more.
    follow = chance.choice(("settle", "settle", "backup", verb))
    for attempt in range(12):
        # Sooner, if it ended faster than when it was measured.
        if killed(ground, verb, share * takes * 0.7**attempt, everything, exchange):
            break
        ground.tidied()
    else:
        raise Unexpected(f"{verb} of {ground.engine} was never met at work")
    found = Found(ground.engine, verb, everything, follow)
    with contextlib.suppress(FileNotFoundError):
        found.step = str(json.loads(ground.journal.read_text())["step"])
    found.unalerted = ", ".join(ground.unalerted())
    began = time.monotonic()
    problems = recovered(ground, follow, found)
    found.seconds = time.monotonic() - began
    if not problems:
        found.lost = len(ground.lost(found.settled == "finished" or follow == "in_place"))
        # Other verbs leave it to the next backup or restore, after which it is looked for.
        problems = ground.left_over() if follow in {"backup", "restore", "in_place"} else []
    found.person = "; ".join(problems)
    return found


def recovered(ground: Ground, verb: str, found: Found) -> list[str]:
    """Run the next verb, which knows nothing of the kill; return what a person would have to do something about."""
    code, document = ground.instance.run(*ground.words(verb))
    found.settled = document.get("settled", {}).get("result", "")
    if code != 0:
        return [one["sentence"].replace(f"{ground.instance.folder}/", "scratch:") for one in document["failures"]] or [
            f"{verb} ended with {code}"
        ]
    problems = []
    if ground.journal.exists():
        problems.append("the journal is still open")
    if ground.app.down:
        problems.append("the app is down")
    if not answers(ground.cluster):
        problems.append("the server does not answer")
    if any(value for name, value in ground.instance.metrics().items() if "exchange_unfinished" in name):
        problems.append("the alert is still on")
    return problems


def in_turn(kills: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yield engine and verb of each kill: all of them in turn, in a random order, in_place three times. Pure."""
    pairs = [(engine, verb) for engine in ENGINES for verb in (*VERBS, "in_place", "in_place")]
    for start in range(0, kills, len(pairs)):
        chance.shuffle(pairs)
        yield from pairs[: kills - start]


@contextmanager
def grounds() -> Iterator[dict[str, Ground]]:
    with ExitStack() as stack:
        yield {engine: ground_of(stack, engine) for engine in ENGINES}


def backup_kills(_folder: Path) -> Measured:
    need("restic", "pgbackrest")
    kills, seed, limit = number("KILLS", 200), number("SEED", 13), number("KILL_SECONDS", 0)
    chance = random.Random(seed)
    found: list[Found] = []
    began = time.monotonic()
    with grounds() as here:
        for engine, verb in in_turn(kills, chance):
            if limit and time.monotonic() - began > limit:
                break
            ground = here[engine]
            one = one_kill(ground, verb, chance)
            found.append(one)
            words = [word for word in (one.step, one.settled, one.unalerted, one.person) if word]
            all_of_it = " with all its processes" if one.everything else ""
            say(
                f"{len(found)} of {kills}: {engine} {verb}{all_of_it}, {one.follow} next: {', '.join(words) or 'right'}"
            )
            if one.person:
                helped(ground)
            ground.tidied()
        # What all of them left is still a good backup.
        drills = {engine: ground.instance.good("drill")["drill"]["level"] for engine, ground in here.items()}
        acknowledged = sum(len(ground.app.acknowledged) for ground in here.values())
    return Measured(
        results={
            "kills": len(found),
            "planned": kills,
            "seed": seed,
            "of_the_runner_alone": sum(not one.everything for one in found),
            "of_all_its_processes": sum(one.everything for one in found),
            "rows_acknowledged_meanwhile": acknowledged,
            "live_rows_lost": sum(one.lost for one in found),
            "down_without_an_alert": sum(bool(one.unalerted) for one in found),
            "needs_a_person": sum(bool(one.person) for one in found),
            "settled": dict(Counter(one.settled or "nothing to settle" for one in found)),
            "at_step": dict(Counter(one.step or "no exchange open" for one in found)),
            "until_right_again": quantiles([one.seconds for one in found]),
            "drill_after_all": drills,
            "by_verb": by_verb(found),
            "what_a_person_had_to_do": sorted({one.person for one in found if one.person}) or ["nothing"],
        },
        bar=[
            {"of": "results.kills", "at_least": kills},
            {"of": "results.live_rows_lost", "at_most": 0},
            {"of": "results.down_without_an_alert", "at_most": 0},
            {"of": "results.needs_a_person", "at_most": 0},
            {"of": "results.drill_after_all.logical", "at_least": 5},
            {"of": "results.drill_after_all.physical", "at_least": 5},
        ],
        versions=versions("postgres", "restic", "pgbackrest"),
    )


def by_verb(found: list[Found]) -> dict[str, dict[str, Any]]:
    """Return the counts of each engine and verb. Pure."""
    return {
        f"{engine} {verb}": {
            "kills": len(here),
            "rows_lost": sum(one.lost for one in here),
            "down_without_an_alert": sum(bool(one.unalerted) for one in here),
            "needs_a_person": sum(bool(one.person) for one in here),
            "finished": sum(one.settled == "finished" for one in here),
            "undone": sum(one.settled == "undone" for one in here),
        }
        for engine in ENGINES
        for verb in VERBS
        if (here := [one for one in found if (one.engine, one.verb) == (engine, verb)])
    }


def helped(ground: Ground) -> None:
    """Do what a person would, so that the next kill starts from a good state."""
    shutil.rmtree(ground.beside, ignore_errors=True)
    if not answers(ground.cluster):
        pg_ctl = as_server(str(ground.cluster.bin / "pg_ctl"), "-D", str(ground.cluster.data), "-w")
        log = str(ground.cluster.data.parent / "again.log")
        subprocess.run([*pg_ctl, "-l", log, "start"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _attempt in range(3):
        ground.instance.run("settle")
        code, document = ground.instance.run("backup", *(["--type", "full"] if ground.engine == "physical" else []))
        if code == 0:
            return
        time.sleep(5)
    raise Unexpected(f"{ground.engine} does not come back: {document['failures']}")
