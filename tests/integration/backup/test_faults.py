# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault table: each fault is planted from outside, and reported before the last good copy is removed."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    GONE,
    KEY,
    OUT,
    RUNNER,
    SMALL_DISK,
    Cluster,
    Instance,
    Shim,
    flip,
    kept,
    lacking,
    links,
    logical,
    missing,
    packs,
)

REASON = missing("restic", "faketime")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder)
    made.sql("create database shop", "postgres")
    made.sql(
        "create role shop; create extension pgcrypto; create table orders (id bigint, note text); alter table orders owner to shop"
    )
    made.sql("insert into orders select i, md5(i::text) from generate_series(1, 20000) i")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shop(folder: Path, cluster: Cluster) -> Instance:
    made = logical(folder, "shop", cluster, folder / "bin", databases=["shop"])
    links(folder, cluster)
    assert made.faults("backup") == {("store", "store_unreachable")}
    made.good("prepare")
    assert made.faults("backup") == {("escrow", "key_not_escrowed")}
    made.good("escrow-check", "--key-file", "-", given=KEY)
    made.good("backup")
    return made


@pytest.mark.parametrize(
    ("program", "script", "faults"),
    [
        pytest.param(
            "pg_dump",
            f'{OUT}"$real" "$@" && for f in "$out"/[0-9]*.dat; do truncate -s -100 "$f"; done',
            {("dump", "truncated_dump")},
            id="a truncated dump with code 0",
        ),
        pytest.param("pg_dump", f'{OUT}"$real" "$@"; exit 1', {("dump", "failed")}, id="a dump that ends with 1"),
        pytest.param(
            "pg_dump",
            f'{OUT}"$real" "$@" && truncate -s 40 "$out/toc.dat"',
            {("dump", "truncated_dump")},
            id="a cut catalogue",
        ),
        pytest.param("pg_dumpall", '"$real" "$@" | head -5', {("dump", "truncated_dump")}, id="cut roles with code 0"),
        pytest.param(
            "pg_dump",
            'echo "pg_dump: error: aborting because of server version mismatch" >&2; exit 1',
            {("dump", "major_mismatch")},
            id="a client of another version",
        ),
    ],
)
def test_a_bad_dump_is_named(
    shop: Instance, cluster: Cluster, program: str, script: str, faults: set[tuple[str, str]]
) -> None:
    with Shim(shop, cluster, program, script):
        assert shop.faults("backup") == faults
    assert not list(Path(shop.options["work_dir"]).glob("*-*/"))[1:]


def test_a_missing_role_is_named_by_the_drill(shop: Instance, cluster: Cluster) -> None:
    with Shim(shop, cluster, "pg_dumpall", '"$real" "$@" | grep -v "ROLE shop"'):
        shop.good("backup")
    assert shop.faults("drill") == {("L3", "missing_role")}
    assert shop.metrics()['evenkeel_backup_fault{backup="shop",engine="logical",fault="missing_role",stage="L3"}'] == 1


def test_a_missing_extension_is_named_by_the_drill(shop: Instance, cluster: Cluster) -> None:
    shop.good("backup")
    without = lacking(shop.folder, cluster, "pgcrypto")
    before = shop.options["where"]
    shop.options["where"] = {**before, "bin_dir": str(without)}
    shop.write()
    try:
        assert shop.faults("drill") == {("L3", "missing_extension")}
    finally:
        shop.options["where"] = before
        shop.write()


@pytest.fixture
def spoiled(shop: Instance) -> t.Iterator[Path]:
    """Provide the repository, and restore it afterwards."""
    with kept(shop.folder / "repo" / "shop") as repository:
        yield repository


def test_a_flipped_byte_is_named(shop: Instance, spoiled: Path) -> None:
    for pack in packs(spoiled)[-3:]:
        flip(pack, 1 / 3)
    assert ("L1", "flipped_byte") in shop.faults("verify", "--read-data")
    assert {fault for _stage, fault in shop.faults("drill")} <= {"flipped_byte", "partial_upload"}


@pytest.mark.parametrize("place", [0.05, 1 / 3, 2 / 3])
def test_a_damaged_key_file_is_no_wrong_key(shop: Instance, spoiled: Path, place: float) -> None:
    (key,) = (spoiled / "keys").iterdir()
    flip(key, place)
    assert ("store", "flipped_byte") in shop.faults("verify")


@pytest.mark.long
def test_an_upload_that_lost_a_part_is_named(shop: Instance, spoiled: Path) -> None:
    packs(spoiled)[-1].unlink()
    # Older backups share what is gone.
    assert shop.faults("verify") == {("L1", "partial_upload"), ("copies", "partial_upload")}


def test_a_wrong_key_is_named(shop: Instance) -> None:
    assert shop.faults("escrow-check", "--key-file", "-", given="another") == {("escrow", "wrong_key")}
    assert shop.faults("drill", "--key-file", "-", given="another") == {("store", "wrong_key")}
    shop.key.write_text("another\n")
    try:
        assert ("store", "wrong_key") in shop.faults("backup")
        assert ("store", "wrong_key") in shop.faults("verify")
    finally:
        shop.key.write_text(KEY + "\n")


def test_a_store_that_is_gone_is_named_and_the_other_has_its_copy(shop: Instance) -> None:
    repository = str(shop.folder / "repo" / "shop")
    second = {"name": "second", "location": str(shop.folder / "repo" / "second"), "key_file": str(shop.key)}
    shop.options["repositories"].append(second)
    shop.write()
    try:
        shop.good("prepare")
        shop.good("escrow-check", "--key-file", "-", given=KEY)
        code, document = shop.run("backup", prefix=(*GONE, repository))
        assert code == 3
        assert ("store", "store_unreachable") in {
            (failure["stage"], failure["fault"]) for failure in document["failures"]
        }
        assert [copy["repository"] for copy in document["backup"]["copies"]] == ["second"]
    finally:
        shop.options["repositories"].pop()
        shop.write()


def test_a_full_disk_is_named_before_and_during_the_dump(shop: Instance) -> None:
    work = str(shop.folder / "work")
    assert shop.faults("backup", prefix=(*SMALL_DISK, "300k", work)) == {("dump", "disk_full")}
    state = shop.folder / "state" / "shop" / "backups"
    away = shop.folder / "backups"
    state.rename(away)
    try:
        assert shop.faults("backup", prefix=(*SMALL_DISK, "300k", work)) == {("dump", "disk_full")}
    finally:
        shutil.rmtree(state, ignore_errors=True)
        away.rename(state)


def test_no_space_is_computed_before_a_restore(shop: Instance) -> None:
    assert shop.faults("drill", prefix=(*SMALL_DISK, "4m", str(shop.folder / "work"))) == {("L3", "no_space")}


def test_a_clock_that_went_back_is_named_and_removes_nothing(shop: Instance) -> None:
    before = [entry["id"] for entry in shop.run("status")[1]["status"]["backups"]]
    faults = shop.faults("backup", prefix=("faketime", "-f", "-3d"))
    assert ("clock", "clock_jump") in faults
    after = [entry["id"] for entry in shop.run("status")[1]["status"]["backups"]]
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_a_clock_that_jumps_ahead_expires_nothing(shop: Instance) -> None:
    now = shop.run("retain", "--plan")[1]["plan"]["local"]
    code, document = shop.run("retain", "--plan", prefix=("faketime", "-f", "+900d"))
    assert code == 0
    assert document["plan"]["local"] == now


def test_a_stale_schedule_is_named(shop: Instance) -> None:
    shop.options["max_age_seconds"] = 1
    shop.write()
    try:
        time.sleep(1.5)
        assert ("schedule", "stale_schedule") in shop.faults("status")
        shop.run("metrics")
        assert (
            shop.metrics()[
                'evenkeel_backup_fault{backup="shop",engine="logical",fault="stale_schedule",stage="schedule"}'
            ]
            == 1
        )
    finally:
        del shop.options["max_age_seconds"]
        shop.write()


def test_two_at_once_are_one(shop: Instance) -> None:
    with Path(shop.options["lock_file"]).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        code, document = shop.run("backup")
    assert code == 4
    assert document["failures"][0]["fault"] == "lock_held"


def test_an_empty_database_is_named_and_the_good_backup_stays(shop: Instance, cluster: Cluster) -> None:
    shop.good("backup")
    good = shop.run("status")[1]["status"]["newest_good"]
    cluster.sql("create table kept as table orders; truncate orders; alter table kept rename to gone; drop table gone")
    faults = shop.faults("backup")
    assert faults == {("L0", "empty_database"), ("L0", "size_anomaly")}
    assert shop.run("status")[1]["status"]["newest_good"] == good
    figures = shop.metrics()
    assert figures['evenkeel_backup_fault{backup="shop",engine="logical",fault="empty_database",stage="L0"}'] == 1
    cluster.sql("insert into orders select i, md5(i::text) from generate_series(1, 20000) i")


def test_a_server_that_is_down_is_named(shop: Instance, cluster: Cluster) -> None:
    cluster.stop()
    try:
        assert {fault for _stage, fault in shop.faults("backup")} == {"server_unreachable"}
    finally:
        cluster.start()


def test_a_run_that_was_killed_leaves_nothing_that_counts(shop: Instance, cluster: Cluster) -> None:
    before = shop.run("status")[1]["status"]["backups"]
    argv = [sys.executable, str(RUNNER), "backup", shop.name, "--config-dir", str(shop.configs)]
    with Shim(shop, cluster, "pg_dump", f'{OUT}"$real" "$@"; touch "$out/made"; exec sleep 60'):
        run = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        work = Path(shop.options["work_dir"])
        deadline = time.monotonic() + 60
        while not list(work.glob("*.partial/databases/*/made")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        run.kill()
        run.wait()
    assert shop.run("status")[1]["status"]["backups"] == before
    document = shop.good("backup")
    assert any("left by a run that did not end" in action for action in document["actions"])


def test_no_secret_is_left_anywhere(shop: Instance, cluster: Cluster) -> None:
    found = [
        path
        for path in shop.folder.rglob("*")
        if path.is_file()
        and path.suffix != ".key"
        and "live" not in path.parts
        and "lacking" not in path.parts
        and KEY.encode() in path.read_bytes()
    ]
    assert not found
    assert not list(Path(shop.options["work_dir"]).iterdir())
    for path in (shop.folder / "state").rglob("*"):
        assert path.suffix == ".html" or "cache" in path.parts or path.stat().st_mode & 0o077 == 0, path
    assert json.loads((shop.folder / "state" / "shop" / "escrow.json").read_text())["local"]["fingerprint"]
