# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of a real server to a real repository: verified, restored, and each fault reported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    KEY,
    RUNNER,
    Cluster,
    Instance,
    as_server,
    flip,
    kept,
    logical,
    missing,
    packs,
)

REASON = missing("restic")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")

SCHEMA = """
create role shop login password 'shop-password-canary';
create role reader;
alter role shop set work_mem = '8MB';
create table orders (id bigint generated always as identity primary key, note text not null, at timestamptz default now());
insert into orders (note) select repeat(md5(i::text), 8) from generate_series(1, 4000) i;
create index orders_note on orders (note);
create view newest as select * from orders order by id desc limit 5;
create materialized view summed as select count(*) from orders;
create extension pgcrypto;
alter table orders owner to shop;
grant select on orders to reader;
alter database shop set search_path to public, pg_catalog;
grant create on database shop to reader;
"""


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder)
    made.sql("create database shop", "postgres")
    made.sql(SCHEMA)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shop(folder: Path, cluster: Cluster) -> Instance:
    return logical(folder, "shop", cluster, databases=["shop"]).ready()


def test_a_backup_is_proven_to_the_last_row(shop: Instance, cluster: Cluster) -> None:
    document = shop.good("backup")
    assert document["backup"]["level"] == 2
    drilled = shop.good("drill", "--key-file", str(shop.key))
    assert [step["step"] for step in drilled["ladder"]["local"]] == ["L0", "L1", "L2", "L3", "L4", "L5"]
    assert drilled["drill"]["level"] == 5
    page = Path(drilled["page"]).read_text()
    assert "public.orders" in page
    assert "http" not in page
    figures = shop.metrics()
    assert figures['evenkeel_backup_proof_level{backup="shop",engine="logical",repository="local"}'] == 5
    assert not list(Path(shop.options["work_dir"]).iterdir())


def test_a_database_comes_back_beside_the_live_one(shop: Instance, cluster: Cluster) -> None:
    cluster.sql("insert into orders (note) values ('after the backup')")
    document = shop.good("restore")
    name = document["restored"]["at"]
    assert name == "shop_restored_1"
    assert cluster.sql("select count(*) from orders", name) == "4000"
    assert cluster.sql("show search_path", name) == "public, pg_catalog"
    assert cluster.sql("select has_database_privilege('reader', current_database(), 'create')", name) == "t"
    assert cluster.sql("select count(*) from orders") == "4001"
    assert shop.faults("restore") == {("target", "target_live")}
    cluster.sql(f"drop database {name}", "postgres")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        pytest.param(("--as", "shop"), "target_live", id="the live name"),
        pytest.param(("--as", "postgres"), "target_live", id="another live name"),
        pytest.param(("--mode", "in_place"), "confirmation_missing", id="no confirmation"),
        pytest.param(("--mode", "in_place", "--confirm", "Shop"), "confirmation_missing", id="another name typed"),
        pytest.param(("--mode", "pitr"), "target_unknown", id="no target"),
        pytest.param(("--mode", "pitr", "--target-time", "2026-01-01"), "target_out_of_range", id="no WAL in dumps"),
        pytest.param(("--mode", "pitr", "--target-lsn", "x"), "target_unknown", id="not an LSN"),
        pytest.param(("--backup", "nonsense"), "target_unknown", id="no such backup"),
        pytest.param(("--repository", "nowhere"), "config_wrong", id="no such repository"),
        pytest.param(("--database", "nowhere"), "target_unknown", id="no such database"),
    ],
)
def test_a_restore_that_could_hurt_is_refused(
    shop: Instance, cluster: Cluster, words: tuple[str, ...], fault: str
) -> None:
    code, document = shop.run("restore", *words)
    assert code == 1
    assert [failure["fault"] for failure in document["failures"]] == [fault]
    assert cluster.sql("select count(*) from orders") == "4001"


def hooked(shop: Instance, **hooks: list[list[str]]) -> Path:
    log = shop.folder / "hooks.log"
    log.unlink(missing_ok=True)
    names = ("before_backup", "after_backup", "stop_app", "start_app")
    logging = {name: [["sh", "-c", f"echo {name} >> {log}"]] for name in names}
    shop.options["hooks"] = {**logging, **hooks}
    shop.write()
    return log


def test_in_place_goes_over_the_live_database_and_keeps_it(shop: Instance, cluster: Cluster) -> None:
    log = hooked(shop)
    plan = shop.good("restore", "--mode", "in_place", "--confirm", "shop", "--plan")
    assert "safety backup" in plan["plan"]["steps"][0]
    assert not log.exists()
    document = shop.good("restore", "--mode", "in_place", "--confirm", "shop")
    assert log.read_text().split() == ["before_backup", "after_backup", "stop_app", "start_app"]
    assert cluster.sql("select count(*) from orders") == "4000"
    assert cluster.sql("select count(*) from orders", document["restored"]["before"]) == "4001"
    assert document["safety"]["level"] == 2
    cluster.sql(f"drop database {document['restored']['before']}", "postgres")


def test_in_place_goes_back_where_the_app_does_not_come_up(shop: Instance, cluster: Cluster) -> None:
    cluster.sql("insert into orders (note) values ('only live')")
    flag = shop.folder / "started-once"
    hooked(shop, start_app=[["sh", "-c", f"test -e {flag} || {{ touch {flag}; exit 1; }}"]])
    code, document = shop.run("restore", "--mode", "in_place", "--confirm", "shop")
    assert code == 5
    assert [failure["fault"] for failure in document["failures"]] == ["hook_failed"]
    assert cluster.sql("select count(*) from orders where note = 'only live'") == "1"
    assert (
        cluster.sql(
            "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate", "postgres"
        )
        == "postgres shop"
    )
    hooked(shop)


def test_a_database_in_use_is_not_replaced(shop: Instance, cluster: Cluster) -> None:
    argv = [
        str(cluster.bin / "psql"),
        "-X",
        "-h",
        str(cluster.socket),
        "-U",
        "postgres",
        "-d",
        "shop",
        "-c",
        "select pg_sleep(60)",
    ]
    busy = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, "PGAPPNAME": "busy"})
    try:
        code, document = shop.run("restore", "--mode", "in_place", "--confirm", "shop")
        assert code == 1
        assert document["failures"][0]["fault"] == "connections_open"
        assert "busy" in document["failures"][0]["sentence"]
    finally:
        busy.kill()
        busy.wait()
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'busy'", "postgres")
    assert cluster.sql("select count(*) from orders where note = 'only live'") == "1"


def test_a_restore_that_is_ended_from_outside_brings_the_app_back(shop: Instance, cluster: Cluster) -> None:
    log = hooked(shop, stop_app=[["sh", "-c", f"echo stopped >> {shop.folder}/hooks.log; sleep 60"]])
    argv = [sys.executable, str(RUNNER), "restore", shop.name, "--config-dir", str(shop.configs)]
    run = subprocess.Popen(
        [*argv, "--mode", "in_place", "--confirm", "shop"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 120
    while not log.exists() or "stopped" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.terminate()
    document = json.loads(run.communicate(timeout=60)[0])
    assert run.returncode == document["exit"] == 1
    assert "Interrupted: SIGTERM" in document["failures"][0]["sentence"]
    assert log.read_text().split()[-2:] == ["stopped", "start_app"]
    assert cluster.sql("select count(*) from orders where note = 'only live'") == "1"
    assert not list(Path(shop.options["work_dir"]).iterdir())
    hooked(shop)


def test_retention_keeps_what_was_restored(shop: Instance) -> None:
    shop.options["repositories"][0]["retention"] = {"last": 1}
    shop.options["hooks"] = {}
    shop.write()
    drilled = shop.good("status")["status"]["drill"]["backup"]
    shop.good("backup")
    shop.good("backup")
    left = [entry["id"] for entry in shop.good("status")["status"]["backups"]]
    assert drilled in left
    assert len([entry for entry in shop.good("status")["status"]["backups"] if not entry["keep"]]) == 2


def test_a_key_that_is_proven_again_changes_nothing(shop: Instance) -> None:
    assert not shop.good("escrow-check", "--key-file", "-", given=KEY)["changed"]


def test_a_role_that_may_not_read_passwords_is_refused(shop: Instance, cluster: Cluster) -> None:
    cluster.sql("create role keeper login in role pg_read_all_data, pg_monitor")
    live = shop.options["server"]
    shop.options["server"] = {**live, "user": "keeper"}
    shop.write()
    try:
        assert [one["ok"] for one in shop.good("prepare")["settings"] if one["name"] == "account"] == [False]
        assert shop.faults("backup") == {("server", "settings_wrong")}
    finally:
        shop.options["server"] = live
        shop.write()


def test_a_replica_is_watched_and_backed_up(shop: Instance, cluster: Cluster) -> None:
    slot = "select pg_create_physical_replication_slot('data2')"
    cluster.sql(slot)
    copy = shop.folder / "replica"
    copy.mkdir()
    shutil.chown(copy, "postgres")
    words = ["-D", str(copy / "data"), "-R", "-S", "data2", "--checkpoint=fast"]
    subprocess.run(as_server(*cluster.client("pg_basebackup", *words)), check=True, capture_output=True)
    replica = Cluster.of(copy, copy / "data", cluster.bin)
    here = Instance(
        shop.folder,
        "replica",
        "logical",
        where=shop.options["where"],
        server={"host": str(replica.socket), "user": "postgres", "data_dir": str(replica.data)},
        databases=["shop"],
    )
    labels = 'backup="shop",engine="logical",replica="data2"'
    try:
        shop.good("metrics")
        assert shop.metrics()[f"evenkeel_backup_replica_connected{{{labels}}}"] == 1
        here.good("prepare")
        here.good("escrow-check", "--key-file", "-", given=KEY)
        made = here.good("backup")
        assert made["backup"]["level"] == 2
        assert here.good("drill")["drill"]["level"] == 5
        here.good("metrics")
        lags = {name: value for name, value in here.metrics().items() if "replica_lag_seconds" in name}
        assert list(lags.values()) == [0]
    finally:
        replica.stop()
    shop.good("metrics")
    cluster.sql("insert into orders (note) values ('while it was gone')")
    shop.good("metrics")
    time.sleep(1.1)
    shop.good("metrics")
    figures = shop.metrics()
    assert figures[f"evenkeel_backup_replica_connected{{{labels}}}"] == 0
    assert figures[f"evenkeel_backup_replica_lag_seconds{{{labels}}}"] >= 1
    assert figures[f"evenkeel_backup_replica_lag_bytes{{{labels}}}"] > 0
    cluster.sql("select pg_drop_replication_slot('data2')")
    shop.good("metrics")
    assert not any("replica" in name for name in shop.metrics())


def test_a_bare_host_needs_configuration_key_and_store(shop: Instance, cluster: Cluster) -> None:
    bare = Instance(
        shop.folder,
        "bare",
        "logical",
        **{key: value for key, value in shop.options.items() if key in {"where", "repositories"}},
    )
    bare.options |= {
        "instance": "shop",
        "server": {"host": str(shop.folder / "nowhere"), "user": "postgres"},
        "databases": ["shop"],
    }
    bare.configs = shop.folder / "bare"
    bare.configs.mkdir()
    bare.name = "shop"
    bare.write()
    drilled = bare.good("drill", "--key-file", str(shop.key))
    assert drilled["drill"]["level"] == 5


def snapshot_files(shop: Instance) -> set[Path]:
    return {path for path in (shop.folder / "repo" / "shop" / "snapshots").iterdir() if path.is_file()}


def test_an_older_copy_that_is_gone_or_damaged_is_found_and_the_good_one_is_kept(
    shop: Instance, cluster: Cluster
) -> None:
    shop.options["repositories"][0]["retention"] = {"last": 3}
    shop.write()
    before = snapshot_files(shop)
    # Only the older backup has these bytes.
    cluster.sql("create table big as select gen_random_bytes(1000) as noise from generate_series(1, 1000)")
    older = shop.good("backup")["backup"]["id"]
    (file,) = snapshot_files(shop) - before
    pack = packs(shop.folder / "repo" / "shop")[-1]
    cluster.sql("drop table big")
    shop.options["shrink_ratio"] = 0.01
    shop.write()
    newest = shop.good("backup")["backup"]["id"]

    def levels() -> dict[str, int]:
        return {one["id"]: one["level"] for one in shop.run("status")[1]["status"]["backups"]}

    with kept(shop.folder / "repo" / "shop"):
        flip(pack)
        assert shop.faults("verify", "--read-data") == {("copies", "flipped_byte")}
        assert (levels()[older], levels()[newest]) == (0, 2)
    with kept(shop.folder / "repo" / "shop"):
        file.unlink()
        assert shop.faults("verify") == {("copies", "partial_upload")}
        assert shop.run("status")[0] == 3
        bad = {one["id"]: one["bad"] for one in shop.run("status")[1]["status"]["backups"]}
        assert bad[older] == ["local"]
        assert bad[newest] == []
        figures = shop.metrics()
        assert figures['evenkeel_backup_copies_bad{backup="shop",engine="logical",repository="local"}'] == 1
        shop.options["repositories"][0]["retention"] = {"last": 1}
        shop.write()
        # It is told each time, and takes no place of a good one.
        assert shop.faults("retain") == {("copies", "partial_upload")}
        assert newest not in levels() or levels()[newest] == 2
        assert max(levels().values()) >= 2
        shop.good("retain", "--lost")
        assert older not in levels()
    shop.options["repositories"][0]["retention"] = {"last": 3}
    del shop.options["shrink_ratio"]
    shop.write()
    shop.good("verify", "--read-data")
