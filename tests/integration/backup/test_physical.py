# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base backups and WAL of a real server with pgBackRest: exact recovery, and each fault reported."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    KEY,
    Cluster,
    Instance,
    archiving,
    as_server,
    biggest_bundle,
    flip,
    kept,
    missing,
    physical,
    scratch,
)

REASON = missing("pgbackrest")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder, **archiving(folder, "wal"))
    made.sql("create database shop", "postgres")
    made.sql(
        "create table orders (id bigint generated always as identity primary key, note text, at timestamptz default clock_timestamp())"
    )
    made.sql("insert into orders (note) select md5(i::text) from generate_series(1, 5000) i")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def wal(folder: Path, cluster: Cluster) -> Instance:
    made = physical(folder, "wal", cluster)
    document = made.good("prepare")
    assert document["changed"]
    assert all(one["ok"] for one in document["settings"]), document["settings"]
    assert not made.good("prepare")["changed"]
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


def test_a_base_backup_is_recovered_to_exactly_the_canary(wal: Instance, cluster: Cluster) -> None:
    document = wal.good("backup", "--type", "full")
    assert document["backup"]["level"] == 2
    cluster.sql("insert into orders (note) select 'later' from generate_series(1, 10)")
    drilled = wal.good("drill", "--key-file", str(wal.key))
    assert drilled["drill"]["level"] == 5
    assert not list(Path(wal.options["work_dir"]).iterdir())


def recovered(cluster: Cluster, wal: Instance, *words: str) -> tuple[Cluster, Path]:
    """Restore to a folder, start the server, and return it."""
    into = wal.folder / "beside"
    shutil.rmtree(into, ignore_errors=True)
    document = wal.good("restore", "--mode", "pitr", "--into", str(into), *words)
    assert document["restored"]["at"] == str(into / "data")
    return Cluster.of(into, into / "data", cluster.bin), into


def test_points_in_time_are_met_to_the_second(wal: Instance, cluster: Cluster) -> None:
    def write(note: str) -> str:
        return cluster.sql(f"insert into orders (note) values ('{note}'); select clock_timestamp()").splitlines()[-1]

    write("before")
    time.sleep(1)
    target = cluster.sql("select clock_timestamp()")
    time.sleep(1)
    write("after")
    cluster.sql("select pg_create_restore_point('release')")
    lsn = cluster.sql("select pg_current_wal_insert_lsn()")
    xid = cluster.sql(
        "begin; insert into orders (note) values ('by xid'); select pg_current_xact_id(); commit"
    ).splitlines()[-1]
    write("last")
    cluster.archived()
    for words, there in (
        (("--target-time", target), ["before"]),
        (("--target-name", "release"), ["before", "after"]),
        (("--target-lsn", lsn), ["before", "after"]),
        (("--target-xid", xid), ["before", "after", "by xid"]),
    ):
        beside, into = recovered(cluster, wal, *words)
        try:
            notes = beside.sql(
                "select string_agg(note, ',' order by id) from orders where note in ('before', 'after', 'by xid', 'last')"
            )
            assert notes.split(",") == there, words
        finally:
            beside.stop()
            shutil.rmtree(into)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("--target-time", "2020-01-01 00:00:00+00"), id="before the first backup"),
        pytest.param(("--target-time", "2099-01-01 00:00:00+00"), id="in the future"),
        pytest.param(("--target-lsn", "0/1000000"), id="before the backup's end"),
        pytest.param(("--target-lsn", "FF/0"), id="beyond the archive"),
        pytest.param(("--target-name", "never-made"), id="a restore point that is not there"),
    ],
)
def test_a_point_that_cannot_be_reached_is_refused(wal: Instance, words: tuple[str, ...]) -> None:
    into = wal.folder / "unreached"
    code, document = wal.run("restore", "--mode", "pitr", "--into", str(into), *words)
    assert code == 1
    assert [failure["fault"] for failure in document["failures"]] == ["target_out_of_range"]
    assert not into.exists()


def test_the_live_folder_is_no_target(wal: Instance, cluster: Cluster) -> None:
    for into in (cluster.data, cluster.data / "base"):
        assert wal.faults("restore", "--into", str(into)) == {("target", "target_live")}


def test_differential_backups_keep_what_they_need(wal: Instance, cluster: Cluster) -> None:
    wal.good("backup", "--type", "diff")
    cluster.sql("insert into orders (note) values ('more')")
    wal.good("backup", "--type", "diff")
    wal.options["repositories"][0]["retention"] = {"last": 1}
    wal.write()
    wal.good("retain")
    backups = wal.good("status")["status"]["backups"]
    # The newest depends on the full one, and the full one was restored; nothing depends on the one between.
    assert [entry["level"] for entry in backups] == [5, 2]
    drilled = wal.good("drill")
    assert drilled["drill"]["backup"] == backups[-1]["id"]


def test_what_a_broken_run_left_in_the_store_goes(wal: Instance) -> None:
    tool = as_server("pgbackrest", f"--config={wal.options['pgbackrest']['config_file']}", "--stanza=wal")

    def labels() -> list[str]:
        done = subprocess.run([*tool, "--output=json", "info"], check=True, capture_output=True, text=True)
        return [entry["label"] for entry in json.loads(done.stdout, strict=False)[0]["backup"]]

    before = labels()
    for annotation in ("evenkeel-id=broken", "whose=another"):
        subprocess.run([*tool, "--type=full", "--no-expire-auto", f"--annotation={annotation}", "backup"], check=True)
    wal.good("retain")
    broken, foreign = labels()[-2:]
    # The next backup depends on the newest.
    assert len(labels()) == len(before) + 2
    wal.good("backup", "--type", "full")
    left = labels()
    assert broken not in left
    assert foreign in left
    subprocess.run([*tool, "expire", f"--set={foreign}"], check=True)


def test_a_backup_under_load_is_proven_within_the_tolerance(wal: Instance, cluster: Cluster) -> None:
    bench = ["nice", "-n", "10", str(cluster.bin / "pgbench"), "-h", str(cluster.socket), "-U", "postgres"]
    subprocess.run([*bench, "-i", "-q", "-s", "1", "shop"], check=True, capture_output=True)
    load = subprocess.Popen(
        [*bench, "-n", "-R", "100", "-T", "120", "shop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        time.sleep(1)
        wal.good("backup", "--type", "incr")
        assert load.poll() is None
    finally:
        load.terminate()
        load.wait()
    assert wal.good("drill")["drill"]["level"] == 5


def test_the_recovery_point_is_measured_from_the_canary(wal: Instance, cluster: Cluster) -> None:
    wal.good("metrics")
    cluster.archived()
    wal.good("metrics")
    figures = wal.metrics()
    labels = 'backup="wal",engine="physical"'
    assert figures[f"evenkeel_backup_recovery_point_seconds{{{labels}}}"] < 60
    assert figures[f"evenkeel_backup_archive_failed{{{labels}}}"] == 0
    assert figures[f"evenkeel_backup_wal_bytes{{{labels}}}"] > 0


def test_a_wrong_key_is_named(wal: Instance) -> None:
    assert wal.faults("escrow-check", "--key-file", "-", given="another key") == {("escrow", "wrong_key")}


def test_pages_that_are_corrupt_in_the_live_server_are_named(wal: Instance, cluster: Cluster) -> None:
    # Nothing may read its pages: a hint bit that is set makes the server write the page again, over what is spoiled.
    cluster.sql(
        "create table doomed with (autovacuum_enabled = off) as"
        " select repeat('x', 500) as x from generate_series(1, 500)"
    )
    cluster.sql("vacuum (freeze) doomed")
    cluster.sql("checkpoint")
    path = cluster.data / cluster.sql("select pg_relation_filepath('doomed')")
    with path.open("r+b") as stream:
        stream.seek(8192 + 4000)
        stream.write(b"spoiled")
    faults = wal.faults("backup", "--type", "full")
    cluster.sql("drop table doomed")
    assert ("L1", "corrupt_pages") in faults
    backups = wal.run("status")[1]["status"]["backups"]
    assert max(entry["level"] for entry in backups) == 5
    wal.good("backup", "--type", "full")


def test_a_database_that_makes_the_backup_unreadable_is_named_before(wal: Instance, cluster: Cluster) -> None:
    cluster.sql('create database "two\nlines"', "postgres")
    try:
        code, document = wal.run("backup", "--type", "full")
    finally:
        cluster.sql('drop database "two\nlines"', "postgres")
    assert code == 1
    assert [(one["stage"], one["fault"]) for one in document["failures"]] == [("server", "settings_wrong")]
    assert r"'two\nlines'" in document["failures"][0]["sentence"]
    wal.good("backup", "--type", "full")


def newest(wal: Instance) -> dict[str, t.Any]:
    """Return the copy of the newest backup."""
    manifest = wal.folder / "state" / "wal" / "backups" / f"{newest_id(wal)}.json"
    return json.loads(manifest.read_text())["copies"][0]


def newest_id(wal: Instance) -> str:
    return wal.run("status")[1]["status"]["backups"][-1]["id"]


@pytest.fixture
def spoiled(wal: Instance) -> t.Iterator[Path]:
    """Provide the repository, and restore it afterwards."""
    with kept(wal.folder / "repo" / "wal") as repository:
        yield repository


def test_a_missing_segment_is_named(wal: Instance, spoiled: Path) -> None:
    segments = sorted(path for path in (spoiled / "archive").rglob("0000000*-*") if path.is_file())
    copy = newest(wal)
    gone = next(
        path
        for path in segments
        if path.name.startswith("00000001")
        and int(path.name[16:24], 16) == int(copy["start_lsn"].split("/")[1], 16) >> 24
    )
    gone.unlink()
    code, document = wal.run("verify")
    assert code == 3
    faults = {failure["fault"] for failure in document["failures"]}
    assert faults & {"missing_wal", "partial_upload"}
    assert gone.name[:24] in str(document["failures"])


def test_a_hole_between_two_backups_is_named_and_the_newest_stays_proven(wal: Instance, cluster: Cluster) -> None:
    cluster.sql("insert into orders (note) values ('in the hole')")
    cluster.archived()
    cluster.archived()
    older = cluster.sql("select last_archived_wal from pg_stat_archiver")
    cluster.sql("insert into orders (note) values ('behind it')")
    cluster.archived()
    wal.good("backup", "--type", "full")
    with kept(wal.folder / "repo" / "wal") as repository:
        next((repository / "archive").rglob(f"{older}-*")).unlink()
        code, document = wal.run("verify")
        assert code == 3
        assert [(one["stage"], one["fault"]) for one in document["failures"]] == [("archive", "missing_wal")]
        assert older in document["failures"][0]["sentence"]
        assert wal.run("status")[1]["status"]["backups"][-1]["level"] == 2
    assert wal.good("verify")


def test_the_state_is_told_where_nothing_was_ever_done(wal: Instance) -> None:
    bare = Instance(
        wal.folder, "bare", "physical", **{key: wal.options[key] for key in ("where", "server", "pgbackrest")}
    )
    bare.options |= {"instance": "wal", "repositories": wal.options["repositories"]}
    bare.configs, bare.name = wal.folder / "bare", "wal"
    bare.configs.mkdir()
    bare.write()
    code, document = bare.run("status")
    assert code == 3
    assert {one["fault"] for one in document["failures"]} == {"key_not_escrowed", "stale_schedule"}
    assert document["status"]["repositories"]["local"]["range"]["from"]


def test_a_flipped_byte_is_named_where_the_tool_ends_well(wal: Instance, spoiled: Path) -> None:
    flip(biggest_bundle(spoiled / "backup" / "wal" / newest(wal)["snapshot"]))
    config = wal.options["pgbackrest"]["config_file"]
    raw = subprocess.run(
        as_server("pgbackrest", f"--config={config}", "--stanza=wal", "verify"), capture_output=True, check=False
    )
    assert raw.returncode == 0
    assert wal.faults("verify") == {("L1", "flipped_byte")}
    assert wal.run("status")[1]["status"]["backups"][-1]["level"] == 0


def test_a_damaged_older_backup_is_believed_no_longer_and_the_newest_is(wal: Instance, spoiled: Path) -> None:
    wal.good("verify")
    older = wal.good("status")["status"]["backups"][-2]
    label = json.loads((wal.folder / "state" / "wal" / "backups" / f"{older['id']}.json").read_text())["copies"][0][
        "snapshot"
    ]
    flip(biggest_bundle(spoiled / "backup" / "wal" / label[:16]))
    code, document = wal.run("verify")
    assert code == 3
    assert {(one["stage"], one["fault"]) for one in document["failures"]} == {("copies", "flipped_byte")}
    assert label[:16] in document["ladder"]["local"][1]["evidence"]
    levels = {entry["id"]: entry["level"] for entry in wal.run("status")[1]["status"]["backups"]}
    assert levels[newest_id(wal)] == 2
    assert levels[older["id"]] == 0


def test_an_older_backup_whose_folder_is_gone_is_found_though_the_list_has_it(wal: Instance, spoiled: Path) -> None:
    wal.good("verify")
    backups = wal.good("status")["status"]["backups"]
    manifests = {
        one["id"]: json.loads((wal.folder / "state" / "wal" / "backups" / f"{one['id']}.json").read_text())
        for one in backups
    }
    fulls = [one["id"] for one in backups if manifests[one["id"]]["copies"][0]["type"] == "full"]
    older = fulls[-2]
    label = manifests[older]["copies"][0]["snapshot"]
    shutil.rmtree(spoiled / "backup" / "wal" / label)
    config = wal.options["pgbackrest"]["config_file"]
    listed = subprocess.run(
        as_server("pgbackrest", f"--config={config}", "--stanza=wal", "info"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert label in listed.stdout, "the list is the control: it does not see that the folder is gone"
    for verb in ("verify", "retain"):
        code, document = wal.run(verb)
        assert code == 3
        said = {one["fault"] for one in document["failures"] if one["stage"] == "copies"}
        assert said == {"partial_upload"}, verb
    levels = {one["id"]: one["level"] for one in wal.run("status")[1]["status"]["backups"]}
    # Retention may have removed it, as a bad copy takes no place of a good one.
    assert levels.get(older, 0) == 0
    assert levels[newest_id(wal)] == 2


def test_a_server_that_cannot_be_stopped_goes_on_serving(wal: Instance, cluster: Cluster) -> None:
    wal.options["hooks"] = {"stop_server": [["false"]], "start_server": [["false"]]}
    wal.write()
    code, document = wal.run("restore", "--mode", "in_place", "--confirm", "wal")
    assert code == 5
    assert {one["fault"] for one in document["failures"]} == {"hook_failed"}
    assert cluster.sql("select 1") == "1"


def test_in_place_exchanges_the_data_folder(wal: Instance, cluster: Cluster) -> None:
    pg_ctl = [
        "setpriv",
        "--reuid=postgres",
        "--regid=postgres",
        "--init-groups",
        "--",
        str(cluster.bin / "pg_ctl"),
        "-D",
        str(cluster.data),
        "-w",
    ]
    wal.options["hooks"] = {
        "stop_server": [[*pg_ctl, "stop", "-m", "fast"]],
        "start_server": [[*pg_ctl, "-l", str(cluster.data / "again.log"), "start"]],
    }
    wal.write()
    cluster.sql("insert into orders (note) values ('lost in place')")
    document = wal.good(
        "restore",
        "--mode",
        "in_place",
        "--confirm",
        "wal",
        "--backup",
        wal.good("status")["status"]["backups"][-1]["id"],
    )
    try:
        assert cluster.sql("select count(*) from orders where note = 'lost in place'") == "0"
        assert Path(document["restored"]["before"], "PG_VERSION").exists()
        wal.good("backup", "--type", "full")
        assert wal.good("drill")["drill"]["level"] == 5
    finally:
        subprocess.run([*pg_ctl, "stop", "-m", "fast"], check=False, capture_output=True)


@pytest.mark.long
def test_a_server_made_anew_archives_behind_the_old_one_only_when_that_is_said() -> None:
    with scratch() as folder:
        old = Cluster(folder, **archiving(folder, "anew"))
        instance = physical(folder, "anew", old)
        try:
            instance.good("prepare")
            instance.good("escrow-check", "--key-file", "-", given=KEY)
            instance.good("backup", "--type", "full")
        finally:
            old.stop()
        for path in (old.socket, old.data):
            shutil.rmtree(path)
        new = Cluster(folder, **archiving(folder, "anew"))
        try:
            code, document = instance.run("prepare")
            assert code == 1
            assert "set postgres_backup_new_servers to [anew]" in document["failures"][0]["sentence"]
            assert instance.good("prepare", "--new-server")["changed"]
            assert not instance.good("prepare", "--new-server")["changed"]
            document = instance.good("backup", "--type", "incr")
            assert (document["backup"]["type"], document["backup"]["level"]) == ("full", 2)
            instance.good("verify", "--read-data")
            # The old server's backups are kept, and can be restored.
            first = json.loads(min((folder / "state" / "anew" / "backups").glob("*.json")).read_text())["id"]
            assert instance.good("drill", "--backup", first)["drill"]["level"] == 5
            assert instance.good("drill")["drill"]["level"] == 5
        finally:
            new.stop()
