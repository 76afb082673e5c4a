# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed of backups and restores compared with raw tools and the disk, and their effect on the app.

A rate is the size of the database over the seconds of the whole command: for Evenkeel that holds the hooks, the counts,
encryption, the copy's check (L0 to L2) and retention, none of which a raw tool does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import backup_rig
from ansible_collections.evenkeel.platform.benchmarks.backup_rig import Cluster, Instance, Unexpected, as_server
from ansible_collections.evenkeel.platform.benchmarks.figures.backup import need, number, say, versions
from ansible_collections.evenkeel.platform.benchmarks.load import quantiles
from ansible_collections.evenkeel.platform.benchmarks.result import Measured

SIZES = "0.1,1,5"
LIMIT_SECONDS = 7200.0
# Priority of backups by timer.
UNIT = ("nice", "-n", "10", "ionice", "-c", "3")
# What a server of some GB is set to, with every write on the disk.
SETTINGS = {"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB", "archive_timeout": "60"}
WIDE = """
create table wide (id bigint, {columns});
insert into wide select i, {values} from generate_series(1, {rows}) i;
"""
WIDE_COLUMNS, WIDE_BYTES = 12, 12 * 33 + 36
SCALE_BYTES = 15_000_000


def sizes() -> list[float]:
    """Return the sizes in GB, or EVENKEEL_BENCH_SIZES."""
    return sorted(float(word) for word in (os.environ.get("EVENKEEL_BENCH_SIZES") or SIZES).split(","))


def fill(cluster: Cluster, gigabytes: float) -> int:
    """Half of it by pgbench, half wide rows; the size that the server then says."""
    half = gigabytes * 1e9 / 2
    scale = str(max(1, round(half / SCALE_BYTES)))
    subprocess.run(cluster.client("pgbench", "-i", "-q", "-s", scale, "shop"), check=True, capture_output=True)
    columns = ", ".join(f"c{one} text" for one in range(WIDE_COLUMNS))
    values = ", ".join(f"md5((i * 31 + {one})::text)" for one in range(WIDE_COLUMNS))
    cluster.sql(WIDE.format(columns=columns, values=values, rows=max(1, int(half / WIDE_BYTES))))
    cluster.sql("vacuum analyze")
    cluster.sql("checkpoint", "postgres")
    return int(cluster.sql("select pg_database_size('shop')"))


class Ground:
    """A server with one instance for each engine."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder, self.cluster = folder, cluster
        cluster.sql("create database shop", "postgres")
        self.wal = backup_rig.physical(folder, "wal", cluster, jobs=number("JOBS", os.cpu_count() or 2))
        jobs = number("JOBS", os.cpu_count() or 2)
        self.shop = backup_rig.logical(folder, "shop", cluster, databases=["shop"], jobs=jobs)
        for instance in (self.wal, self.shop):
            instance.limit_seconds = LIMIT_SECONDS
            instance.ready()
        self.raw = folder / "raw"
        self.raw.mkdir()
        shutil.chown(self.raw, backup_rig.USER, backup_rig.USER)

    def timed(self, *argv: str, prefix: tuple[str, ...] = ()) -> float:
        """Seconds of a command of the server's user, until what it wrote is on the disk."""
        began = time.monotonic()
        done = subprocess.run([*prefix, *as_server(*argv)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unexpected(f"{argv[0]}: {done.stderr[-500:]}")
        subprocess.run(["sync", "-f", str(self.raw)], check=True)
        return time.monotonic() - began

    def dump(self, prefix: tuple[str, ...] = ()) -> float:
        target = self.raw / "dump"
        shutil.rmtree(target, ignore_errors=True)
        jobs = f"--jobs={self.shop.options['jobs']}"
        words = ("--format=directory", "--compress=0", jobs, f"--file={target}", "shop")
        return self.timed(*self.cluster.client("pg_dump", *words), prefix=prefix)

    def load(self) -> float:
        self.cluster.sql("create database raw_restored", "postgres")
        words = ("--exit-on-error", f"--jobs={self.shop.options['jobs']}", "--dbname=raw_restored")
        seconds = self.timed(*self.cluster.client("pg_restore", *words, str(self.raw / "dump")))
        self.cluster.sql("drop database raw_restored", "postgres")
        return seconds

    def base(self, prefix: tuple[str, ...] = ()) -> float:
        target = self.raw / "base"
        shutil.rmtree(target, ignore_errors=True)
        words = ("--checkpoint=fast", "--wal-method=fetch", "-D", str(target))
        return self.timed(*self.cluster.client("pg_basebackup", *words), prefix=prefix)

    def copied(self) -> float:
        target = self.raw / "copy"
        seconds = self.timed("cp", "-a", str(self.raw / "base"), str(target))
        shutil.rmtree(target)
        return seconds

    def disk(self, count: int) -> float:
        target = self.raw / "zero"
        blocks = max(1, count // 1048576)
        seconds = self.timed("dd", "if=/dev/zero", f"of={target}", "bs=1M", f"count={blocks}", "conv=fsync")
        target.unlink()
        return seconds

    def ours(self, instance: Instance, verb: str, *words: str) -> float:
        began = time.monotonic()
        code, document = instance.run(verb, *words, prefix=UNIT if verb == "backup" else ())
        if code != 0:
            raise Unexpected(f"{verb} of {instance.name}: {document['failures']}")
        seconds = time.monotonic() - began
        place = (document.get("restored") or {}).get("at", "")
        if place.startswith("/"):
            shutil.rmtree(Path(place).parent)
        elif place:
            self.cluster.sql(f"drop database {place}", "postgres")
        return seconds


@contextmanager
def ground_of() -> Any:
    with backup_rig.scratch() as folder:
        settings = {**backup_rig.archiving(folder, "wal"), **SETTINGS}
        cluster = Cluster(folder, "0", **settings)
        try:
            yield Ground(folder, cluster)
        finally:
            cluster.stop()


def rates(gigabytes: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Measure Evenkeel and the raw tools with one size, on a new server."""
    with ground_of() as ground:
        size = fill(ground.cluster, gigabytes)

        def rate(seconds: float) -> dict[str, float]:
            return {"seconds": round(seconds, 2), "mb_per_second": round(size / 1e6 / seconds, 1)}

        ours: dict[str, Any] = {"gigabytes": gigabytes, "database_bytes": size}
        raw = {
            "disk_write": rate(ground.disk(size)),
            "pg_dump": rate(ground.dump()),
            "pg_restore": rate(ground.load()),
            "pg_basebackup": rate(ground.base()),
            "copy_of_the_base_backup": rate(ground.copied()),
        }
        ours["logical_backup"] = rate(ground.ours(ground.shop, "backup"))
        ours["logical_restore"] = rate(ground.ours(ground.shop, "restore"))
        ours["physical_backup"] = rate(ground.ours(ground.wal, "backup", "--type", "full"))
        into = ground.folder / "restored"
        ours["physical_restore"] = rate(ground.ours(ground.wal, "restore", "--into", str(into)))
        say(f"{gigabytes:g} GB: {ours} beside {raw}")
        return ours, raw


# Effect on the app


def latencies(ground: Ground, seconds: float, beside: Callable[[], object] | None) -> list[float]:
    """Seconds of each transaction of pgbench at a fixed rate, while something runs beside it again and again."""
    prefix = ground.raw / "log"
    # pgbench leaves its log where it is told, as the user it runs as.
    rate, clients = number("PGBENCH_RATE", 100), number("PGBENCH_CLIENTS", 4)
    words = ["-n", "-c", str(clients), "-R", str(rate), "-T", "86400", "-l", f"--log-prefix={prefix}", "shop"]
    bench = subprocess.Popen(
        as_server(*ground.cluster.client("pgbench", *words)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        time.sleep(3)
        began, until = time.time(), time.monotonic() + seconds
        while time.monotonic() < until:
            if beside is None:
                time.sleep(1)
            else:
                beside()
        ended = time.time()
        if bench.poll() is not None:
            raise Unexpected("pgbench ended beside what was measured")
    finally:
        bench.terminate()
        bench.wait(30)
    found = []
    for path in ground.raw.glob("log.*"):
        for line in path.read_text().splitlines():
            words = line.split()
            # Client, transaction, microseconds with what it was late, script, second, microsecond, lateness.
            if len(words) >= 6 and words[2].isdigit() and began <= int(words[4]) + int(words[5]) / 1e6 <= ended:
                found.append(int(words[2]) / 1e6)
        path.unlink()
    return found


def impact(gigabytes: float, seconds: int) -> dict[str, Any]:
    """Measure p95 alone, during backups of each engine, and with the raw tools, on one server."""
    with ground_of() as ground:
        fill(ground.cluster, gigabytes)
        besides: dict[str, Callable[[], object] | None] = {
            "before": None,
            "logical": lambda: ground.ours(ground.shop, "backup"),
            "physical": lambda: ground.ours(ground.wal, "backup", "--type", "full"),
            "pg_dump": lambda: ground.dump(UNIT),
            "pg_basebackup": lambda: ground.base(UNIT),
            "after": None,
        }
        found: dict[str, Any] = {}
        quiet: list[float] = []
        latencies(ground, seconds / 2, None)  # let checkpoints and autovacuum finish
        for name, beside in besides.items():
            seen = latencies(ground, seconds, beside)
            quiet += seen if beside is None else []
            found[name] = quantiles(seen)
            say(f"pgbench beside {name}: {found[name]}")
        return {**found, "quiet": quantiles(quiet)}


def backup_rates(_folder: Path) -> Measured:
    need("restic", "pgbackrest", "pgbench")
    measured = [(size, *rates(size)) for size in sizes()]
    beside = impact(float(os.environ.get("EVENKEEL_BENCH_IMPACT_SIZE") or min(sizes())), number("IMPACT_SECONDS", 60))
    quiet = beside["quiet"]["p95"]
    largest, raw = measured[-1][1], measured[-1][2]
    return Measured(
        results={
            "largest_gigabytes": largest["gigabytes"],
            "logical_backup_mb_per_second": largest["logical_backup"]["mb_per_second"],
            "logical_restore_mb_per_second": largest["logical_restore"]["mb_per_second"],
            "physical_backup_mb_per_second": largest["physical_backup"]["mb_per_second"],
            "physical_restore_mb_per_second": largest["physical_restore"]["mb_per_second"],
            "logical_backup_times_pg_dump": times(largest["logical_backup"], raw["pg_dump"]),
            "physical_backup_times_pg_basebackup": times(largest["physical_backup"], raw["pg_basebackup"]),
            "disk_write_mb_per_second": raw["disk_write"]["mb_per_second"],
            "by_size": [one for _size, one, _raw in measured],
            "pgbench_seconds_while_a_logical_backup_runs": beside["logical"],
            "pgbench_seconds_while_a_physical_backup_runs": beside["physical"],
            "logical_p95_ratio": round(beside["logical"]["p95"] / quiet, 3),
            "physical_p95_ratio": round(beside["physical"]["p95"] / quiet, 3),
        },
        control={
            "what": "pgbench with no backup beside it, before and after",
            **{name: beside[name] for name in ("quiet", "before", "after")},
        },
        peers={
            "raw tools, largest size": raw,
            "pgbench seconds while a raw tool runs": {name: beside[name] for name in ("pg_dump", "pg_basebackup")},
            "by size": {f"{size:g} GB": one for size, _ours, one in measured},
        },
        bar=[
            {"of": "results.logical_backup_mb_per_second", "at_least": 200},
            {"of": "results.physical_backup_mb_per_second", "at_least": 400},
            {"of": "results.logical_p95_ratio", "at_most": 1.1},
            {"of": "results.physical_p95_ratio", "at_most": 1.1},
        ],
        versions=versions("postgres", "restic", "pgbackrest"),
    )


def times(ours: dict[str, float], raw: dict[str, float]) -> float:
    """How many times as long ours took."""
    return round(ours["seconds"] / raw["seconds"], 2)
