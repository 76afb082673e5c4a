# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base backups compared by value at their exact position, on a quiet and on a busy server."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import typing as t
from contextlib import contextmanager
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    KEY,
    Cluster,
    Instance,
    archiving,
    missing,
    physical,
)
from evenkeel_backup import comparison, config, quiet
from evenkeel_backup.database import Server
from evenkeel_backup.job import Job

REASON = missing("pgbackrest")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder, max_prepared_transactions="2", **archiving(folder, "wal"))
    made.sql("create database shop", "postgres")
    made.sql("create table orders (id int, note text)")
    made.sql("insert into orders select i, md5(i::text) from generate_series(1, 5000) i")
    made.sql("create unlogged table cache (id int); insert into cache values (1)")
    made.sql("select lo_from_bytea(0, 'object')")
    fast = folder / "fast"
    fast.mkdir()
    shutil.chown(fast, "postgres", "postgres")
    made.sql(f"create tablespace fast location '{fast}'", "postgres")
    made.sql("create table moved tablespace fast as select generate_series(1, 10) as id")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def wal(folder: Path, cluster: Cluster) -> Instance:
    made = physical(folder, "wal", cluster)
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


def newest(instance: Instance) -> dict[str, t.Any]:
    folder = instance.folder / "state" / instance.name / "backups"
    return json.loads(max(folder.glob("*.json")).read_text())


def entry_of(instance: Instance, name: str = "shop") -> dict[str, t.Any]:
    return next(entry for entry in newest(instance)["databases"] if entry["name"] == name)


@contextmanager
def load(cluster: Cluster, rate: str) -> t.Iterator[None]:
    """Write to the server with short transactions until the end of the block."""
    bench = ["nice", "-n", "10", str(cluster.bin / "pgbench"), "-h", str(cluster.socket), "-U", "postgres"]
    subprocess.run([*bench, "-i", "-q", "-s", "1", "shop"], check=True, capture_output=True)
    running = subprocess.Popen(
        [*bench, "-n", "-R", rate, "-c", "2", "-T", "150", "shop"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1)
        yield
        assert running.poll() is None
    finally:
        running.terminate()
        running.wait()


def test_a_quiet_server_is_compared_by_value_and_what_differs_is_said(wal: Instance, cluster: Cluster) -> None:
    wal.good("backup", "--type", "full")
    entry = entry_of(wal)
    assert entry["exact"]
    assert set(entry["sums"]) == set(entry["rows"]) == {"public.orders", "public.moved", "evenkeel_backup.canary"}
    assert entry["content"]["objects"]["count"] == 1
    document = wal.good("drill")
    assert document["drill"]["level"] == 5
    figures = document["drill"]["compared"]
    assert (figures["sums"], figures["large_objects"]) == (4, 1)
    assert "shop: unlogged tables (public.cache) are empty, as after a crash" in figures["left_out"]
    assert "shop: tablespaces (fast) are in a folder beside the data" in figures["left_out"]
    assert "unlogged tables (public.cache)" in Path(document["page"]).read_text()


def test_a_busy_server_is_compared_by_value_at_its_position(wal: Instance, cluster: Cluster) -> None:
    for _time in range(2):
        with load(cluster, "200"):
            wal.good("backup", "--type", "full")
        assert entry_of(wal)["exact"]
        assert "public.pgbench_accounts" in entry_of(wal)["sums"]
        document = wal.good("drill")
        assert document["drill"]["level"] == 5
        assert not any("may differ" in one for one in document["drill"]["compared"]["left_out"])


def test_an_incremental_backup_counts_exactly_and_reads_no_values(wal: Instance, cluster: Cluster) -> None:
    cluster.sql("insert into orders values (0, 'more')")
    wal.good("backup", "--type", "incr")
    entry = entry_of(wal)
    assert entry["exact"]
    assert "sums" not in entry
    document = wal.good("drill")
    words = "shop: rows were counted, and their values not compared"
    assert words in document["drill"]["compared"]["left_out"]


def test_a_prepared_transaction_leaves_the_tolerance(wal: Instance, cluster: Cluster) -> None:
    cluster.sql("begin; insert into orders values (-1, 'prepared'); prepare transaction 'open'")
    try:
        wal.good("backup", "--type", "incr")
        assert "exact" not in entry_of(wal)
        document = wal.good("drill")
        assert document["drill"]["level"] == 5
        assert any("may differ by 5%" in one for one in document["drill"]["compared"]["left_out"])
    finally:
        cluster.sql("rollback prepared 'open'")


def test_a_changed_value_of_a_recovered_server_is_named(wal: Instance, cluster: Cluster) -> None:
    wal.good("backup", "--type", "full")
    into = wal.folder / "beside"
    restored = wal.good("restore", "--into", str(into))["restored"]
    assert "as in the manifest" in restored["compared"]
    assert any("public.cache" in one for one in restored["left_out"])
    beside = Cluster.of(into, into / "data", cluster.bin)
    job = Job.of(config.load(wal.configs, wal.name))
    server = Server(job.where, str(beside.socket), 5432, "postgres", "postgres")

    def found() -> list[str]:
        compared = comparison.compare(job, newest(wal), {"shop": server.at("shop")}, None, 0.05)
        return [one.sentence.partition(" on shop: ")[2].partition(": found")[0] for one in compared.problems]

    try:
        assert not found()
        beside.sql("update orders set note = overlay(note placing 'X' from 3 for 1) where id = 2500")
        beside.sql("update moved set id = 11 where id = 10")
        beside.sql("select lo_put(oid, 0, 'O') from pg_largeobject_metadata")
        assert sorted(found()) == ["content of public.moved", "content of public.orders", "large objects"]
    finally:
        beside.stop()
        shutil.rmtree(into)


def test_a_table_truncated_after_the_snapshot_is_noticed(wal: Instance, cluster: Cluster) -> None:
    # An older snapshot sees a truncated table as empty, and would count no row of it.
    cluster.sql("create table doomed as select generate_series(1, 100) as id")
    job = Job.of(config.load(wal.configs, wal.name))

    with job.server() as server, quiet.moment(server, ["shop"]) as held:
        assert held.position
        one = held.sessions["shop"]
        assert json.loads(one.run(quiet.REWRITTEN)) == []
        assert one.run("select count(*) from public.doomed") == "100"
    with job.server() as server, quiet.moment(server, ["shop"]) as held:
        cluster.sql("truncate doomed")
        one = held.sessions["shop"]
        assert one.run("select count(*) from public.doomed") == "0"
        assert json.loads(one.run(quiet.REWRITTEN)) == ["public.doomed"]
    cluster.sql("drop table doomed")
