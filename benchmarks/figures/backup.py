# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time, the recovery point, and what retention keeps, on a server of this machine."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import backup_rig
from ansible_collections.evenkeel.platform.benchmarks.backup_rig import KEY, Cluster, Instance
from ansible_collections.evenkeel.platform.benchmarks.load import quantiles
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

ARCHIVE_TIMEOUT = 60
PROPERTY = "ansible_collections.evenkeel.platform.tests.unit.roles.postgres_backup.test_retention"


def number(name: str, default: int) -> int:
    """Return a size of the run, or EVENKEEL_BENCH_<NAME>."""
    return int(os.environ.get(f"EVENKEEL_BENCH_{name}") or default)


def say(text: str) -> None:
    print(text, flush=True)


def need(*programs: str) -> None:
    reason = backup_rig.missing(*programs)
    if reason:
        raise NotMeasured(reason)


def versions(*programs: str) -> dict[str, str]:
    """Return the versions of the programs."""
    found = {}
    for name in programs:
        path = Path(backup_rig.bin_dir() or "", name) if name == "postgres" else name
        word = "version" if name in {"restic", "pgbackrest"} else "--version"
        done = subprocess.run([path, word], capture_output=True, text=True, check=False)
        match = re.search(r"\d+(\.\d+)+", done.stdout)
        found[name] = match[0] if match else ""
    return found


@contextmanager
def archived_server(**settings: str) -> Iterator[tuple[Cluster, Instance]]:
    """Prepare a server that archives for the instance `wal`, with a verified key."""
    with backup_rig.scratch() as folder:
        cluster = Cluster(folder, **{**backup_rig.archiving(folder, "wal"), **settings})
        try:
            cluster.sql("create database shop", "postgres")
            wal = backup_rig.physical(folder, "wal", cluster)
            wal.good("prepare")
            wal.good("escrow-check", "--key-file", "-", given=KEY)
            yield cluster, wal
        finally:
            cluster.stop()


@contextmanager
def load(cluster: Cluster, rate: int) -> Iterator[None]:
    """Run pgbench in parallel."""
    subprocess.run(cluster.client("pgbench", "-i", "-q", "-s", "1", "shop"), check=True, capture_output=True)
    words = ["-n", "-R", str(rate), "-T", "86400", "shop"]
    bench = subprocess.Popen(
        cluster.client("pgbench", *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
        if bench.poll() is not None:
            raise NotMeasured("pgbench ended beside what was measured")
    finally:
        bench.terminate()
        bench.wait(20)


# backup_pitr


def backup_pitr(_folder: Path) -> Measured:
    need("pgbackrest", "pgbench")
    rounds, seconds, rate = number("PITR", 20), number("RPO_SECONDS", 300), number("PITR_RATE", 50)
    with archived_server(archive_timeout=str(ARCHIVE_TIMEOUT)) as (cluster, wal):
        cluster.sql("create table points (round int, side text); create table beats (at timestamptz)")
        wal.good("backup", "--type", "full")
        with load(cluster, rate):
            targets = [written(cluster, wal, one) for one in range(rounds)]
        cluster.archived()
        exact, took = 0, []
        for one, target in enumerate(targets):
            right, spent = restored(cluster, wal, one, target)
            exact += right
            took.append(spent)
            say(f"target {one + 1} of {rounds}: {'exact' if right else 'WRONG'} in {spent:.1f} s")
        ages = recovery_point(cluster, wal, seconds)
    return Measured(
        results={
            "targets": rounds,
            "exact": exact,
            "wrong": rounds - exact,
            "load_transactions_per_second": rate,
            "restore_seconds": quantiles(took),
            "archive_timeout_seconds": ARCHIVE_TIMEOUT,
            "recovery_point_seconds": quantiles(ages["sampled"]),
            "recovery_point_by_metrics_seconds": quantiles(ages["told"]),
            "recovery_point_sampled_for_seconds": seconds,
        },
        bar=[
            {"of": "results.wrong", "at_most": 0},
            {"of": "results.exact", "at_least": rounds},
            {"of": "results.recovery_point_seconds.p95", "at_most": 60},
        ],
        versions=versions("postgres", "pgbackrest"),
    )


def written(cluster: Cluster, wal: Instance, one: int) -> datetime:
    """Write a row 1 s before and 1 s after each target, with backups in between."""
    if one and one % 5 == 0:
        wal.good("backup", "--type", "incr")
    at = row(cluster, one, "before")
    time.sleep(2)
    row(cluster, one, "after")
    time.sleep(0.2)
    return at + timedelta(seconds=1)


def row(cluster: Cluster, one: int, side: str) -> datetime:
    text = cluster.sql(f"insert into points values ({one}, '{side}') returning clock_timestamp()")
    return datetime.fromisoformat(re.sub(r"([+-]\d\d)$", r"\1:00", text))


def restored(cluster: Cluster, wal: Instance, one: int, target: datetime) -> tuple[bool, float]:
    """Check that a recovery has all rows up to the target and none later; return the seconds, too."""
    into = wal.folder / "beside"
    began = time.monotonic()
    wal.good("restore", "--mode", "pitr", "--into", str(into), "--target-time", target.isoformat(sep=" "))
    spent = time.monotonic() - began
    beside = Cluster.of(into, into / "data", cluster.bin)
    try:
        found = beside.sql("select coalesce(string_agg(round || side, ' ' order by round, side desc), '') from points")
    finally:
        beside.stop()
        shutil.rmtree(into)
    wanted = [f"{earlier}{side}" for earlier in range(one) for side in ("before", "after")] + [f"{one}before"]
    return found.split() == wanted, spent


def recovery_point(cluster: Cluster, wal: Instance, seconds: int) -> dict[str, list[float]]:
    """The age of the newest row that is in the archive, each second; and what the metrics tell each ten.

    Only these rows are written, so that segments end by archive_timeout and not because they are full.
    """
    cluster.archived()
    began = time.monotonic()
    waiting: list[tuple[float, str]] = []
    newest = began
    sampled, told = [], []
    labels = 'evenkeel_backup_recovery_point_seconds{backup="wal",engine="physical"}'
    while time.monotonic() - began < seconds:
        moment = time.monotonic()
        segment, last = cluster.sql(
            "with beat as (insert into beats values (clock_timestamp()) returning at)"
            " select pg_walfile_name(pg_current_wal_insert_lsn()), (select last_archived_wal from pg_stat_archiver)"
            " from beat"
        ).split("|")
        waiting.append((moment, segment))
        while waiting and waiting[0][1] <= last[:24]:
            newest = waiting.pop(0)[0]
        sampled.append(round(time.monotonic() - newest, 3))
        if len(sampled) % 10 == 1:
            wal.good("metrics")
            if labels in (figures := wal.metrics()):
                told.append(figures[labels])
        time.sleep(max(0, 1 - (time.monotonic() - moment)))
    return {"sampled": sampled, "told": told}


# backup_retention


def backup_retention(_folder: Path) -> Measured:
    """Count the results of the property test's schedules, compared with a rule that ignores proofs."""
    sys.path.insert(0, str(backup_rig.RUNNER.parent))
    try:
        from hypothesis import HealthCheck, given, settings

        judged: Any = importlib.import_module(PROPERTY)
        rule: Any = importlib.import_module("evenkeel_backup.retention")
    except ImportError as exc:
        raise NotMeasured(f"needs the tools of the tests: {exc}") from None
    schedules = number("SCHEDULES", 10_000)
    seen = {"schedules": 0, "broken": 0, "with_a_verified_copy": 0, "lost": 0, "most_kept": 0, "over_bound": 0}
    naive = {"lost": 0}

    def look(rows: list[tuple[int, int, bool]], tiers: dict[str, int]) -> None:
        seen["schedules"] += 1
        try:
            judged.test_no_schedule_loses_its_last_proven_copy.hypothesis.inner_test(rows, tiers)
        except AssertionError:
            seen["broken"] += 1
        copies = judged.schedule(rows)
        kept = rule.decide(copies, tiers, judged.LATER).keep
        counted = [name for name, why in kept.items() if any(not one.startswith("needed by") for one in why)]
        seen["most_kept"] = max(seen["most_kept"], len(counted))
        seen["over_bound"] += len(counted) > rule.bound(tiers)
        verified = [copy.id for copy in copies if copy.level >= rule.FULL_PROOF]
        if verified:
            seen["with_a_verified_copy"] += 1
            seen["lost"] += verified[-1] not in kept
            naive["lost"] += verified[-1] not in [copy.id for copy in copies][-sum(tiers.values()) :]

    settings(max_examples=schedules, deadline=None, database=None, suppress_health_check=list(HealthCheck))(
        given(judged.COPIES, judged.COUNTS)(look)
    )()
    return Measured(
        results=seen,
        control={"what": "keep as many of the newest, whatever is proven", **naive},
        bar=[
            {"of": "results.schedules", "at_least": schedules},
            {"of": "results.lost", "at_most": 0},
            {"of": "results.broken", "at_most": 0},
            {"of": "results.over_bound", "at_most": 0},
            {"of": "control.lost", "at_least": 1},
        ],
    )
