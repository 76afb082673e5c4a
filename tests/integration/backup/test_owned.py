# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only what a run created is dropped or renamed, on a real server, whatever has its name meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
import types
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import Cluster, missing
from evenkeel_backup import destroy, owned
from evenkeel_backup.database import Server
from evenkeel_backup.destroy import OwnDatabase
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.where import Host

REASON = missing()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")

ENTRY = {
    "name": "shop",
    "owner": "shop",
    "encoding": "UTF8",
    "collate": "C",
    "ctype": "C",
    "comment": "the shop's",
    "extensions": [],
}


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder)
    made.sql("create role shop login", "postgres")
    made.sql("create database shop owner shop", "postgres")
    yield made
    made.stop()


@pytest.fixture
def server(cluster: Cluster) -> Server:
    return Server(Host(str(cluster.bin), "postgres"), str(cluster.socket), 5432, "postgres", "postgres")


@pytest.fixture
def job(server: Server, tmp_path: Path) -> t.Any:
    """Provide what owned.py uses of a job."""
    config = types.SimpleNamespace(instance="shop", state_dir=tmp_path, server={"admin_user": ""})
    return types.SimpleNamespace(config=config, host="data1", actions=[], server=lambda: contextlib.nullcontext(server))


@pytest.fixture
def records(job: t.Any) -> owned.Records:
    return owned.Records.of(job)


@pytest.fixture
def begun(job: t.Any, records: owned.Records) -> owned.Begun:
    return owned.begin(records, job, ENTRY, "shop_restored_1")


@pytest.fixture
def own(server: Server, records: owned.Records, begun: owned.Begun) -> OwnDatabase:
    return owned.create(server, records, begun, ENTRY)


@pytest.fixture(autouse=True)
def only_the_shop(cluster: Cluster) -> t.Iterator[None]:
    yield
    for name in there(cluster) - {"postgres", "shop", "template0", "template1"}:
        cluster.sql(f'drop database "{name}" with (force)', "postgres")


def there(cluster: Cluster) -> set[str]:
    return set(cluster.sql("select datname from pg_database", "postgres").split("\n"))


def test_a_database_gets_its_name_when_it_is_whole(
    cluster: Cluster, server: Server, records: owned.Records, own: OwnDatabase
) -> None:
    assert len(own.name.encode()) <= 63
    assert [record["oid"] for record in records.all()] == [own.oid]
    # Nobody else connects to half a database.
    assert cluster.sql(f"select has_database_privilege('public', {own.oid}::oid, 'connect')", "postgres") == "f"
    owned.finish(server, records, own, ENTRY, "back")
    assert (
        cluster.sql(
            f"select datname, shobj_description(oid, 'pg_database') from pg_database where oid = {own.oid}", "postgres"
        )
        == "back|the shop's"
    )
    assert records.all() == []
    with pytest.raises(BackupFailure, match="a name of its own"):
        destroy.drop_database(server, own.named("back"))
    with pytest.raises(BackupFailure, match="not the one that this run created"):
        destroy.drop_database(server, own)
    assert "back" in there(cluster)


def test_a_name_taken_meanwhile_is_refused(
    cluster: Cluster, server: Server, records: owned.Records, own: OwnDatabase
) -> None:
    with pytest.raises(BackupFailure, match="a database that was created meanwhile") as refusal:
        owned.finish(server, records, own, ENTRY, "shop")
    assert refusal.value.fault == "target_live"
    assert there(cluster) >= {"shop", own.name}
    assert records.all()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"oid": 1}, id="another oid"),
        pytest.param({"mark": "evenkeel-backup: unfinished restore"}, id="another mark"),
        pytest.param({"name": "evenkeel_restore_0123456789abcdef"}, id="another name"),
        pytest.param({"name": "shop"}, id="the live name"),
        pytest.param({"name": "postgres"}, id="the name of this session's database"),
    ],
)
def test_what_differs_in_anything_is_not_dropped(
    cluster: Cluster, server: Server, own: OwnDatabase, change: dict[str, t.Any]
) -> None:
    before = there(cluster)
    other = dataclasses.replace(own, **change)
    for harm in (destroy.drop_database, destroy.end_sessions):
        with pytest.raises(BackupFailure) as refusal:
            harm(server, other)
        assert refusal.value.fault == "target_live"
    assert there(cluster) == before


def test_another_database_with_the_scratch_name_and_mark_stays(
    cluster: Cluster, server: Server, own: OwnDatabase
) -> None:
    cluster.sql(f"alter database {own.name} rename to moved", "postgres")
    cluster.sql(f"create database {own.name}", "postgres")
    cluster.sql(f"comment on database {own.name} is '{own.mark}'", "postgres")
    with pytest.raises(BackupFailure, match="not the one that this run created"):
        destroy.drop_database(server, own)
    assert there(cluster) >= {own.name, "moved"}


def test_a_server_that_does_not_answer_drops_nothing(server: Server, own: OwnDatabase) -> None:
    gone = dataclasses.replace(server, host="/nowhere")
    for harm in (destroy.drop_database, destroy.end_sessions):
        with pytest.raises(BackupFailure) as refusal:
            harm(gone, own)
        assert refusal.value.fault == "server_unreachable"


def test_a_database_with_sessions_and_a_subscription_is_dropped(
    cluster: Cluster, server: Server, own: OwnDatabase
) -> None:
    cluster.sql(
        "create subscription feed connection 'host=/nowhere dbname=shop' publication all_of_it"
        " with (connect = false, slot_name = 'live_slot')",
        own.name,
    )
    destroy.drop_database(server, own)
    assert own.name not in there(cluster)


def test_the_next_run_settles_what_a_killed_one_left(
    cluster: Cluster, server: Server, job: t.Any, records: owned.Records, own: OwnDatabase
) -> None:
    owned.settle(job)
    assert own.name not in there(cluster)
    assert job.actions == [f"dropped database {own.name}, left by a restore of shop_restored_1 that did not end"]
    assert records.all() == []


def test_a_run_killed_before_the_mark_is_settled(
    cluster: Cluster, job: t.Any, records: owned.Records, begun: owned.Begun
) -> None:
    cluster.sql(f"create database {begun.name}", "postgres")
    owned.settle(job)
    assert begun.name not in there(cluster)
    assert records.all() == []


def test_a_run_killed_before_the_database_leaves_nothing(
    job: t.Any, records: owned.Records, begun: owned.Begun
) -> None:
    owned.settle(job)
    assert job.actions == []
    assert records.all() == []


def test_a_leftover_that_lost_its_mark_is_named_and_stays(
    cluster: Cluster, job: t.Any, records: owned.Records, own: OwnDatabase
) -> None:
    cluster.sql(f"comment on database {own.name} is 'mine now'", "postgres")
    owned.settle(job)
    assert own.name in there(cluster)
    assert "drop it by hand" in job.actions[0]
    assert len(records.all()) == 1


def test_an_unreachable_server_keeps_the_records(
    job: t.Any, server: Server, records: owned.Records, own: OwnDatabase
) -> None:
    job.server = lambda: contextlib.nullcontext(dataclasses.replace(server, host="/nowhere"))
    with pytest.raises(BackupFailure):
        owned.settle(job)
    assert len(records.all()) == 1


def test_an_exchange_goes_by_oid_and_can_be_undone(
    cluster: Cluster, server: Server, records: owned.Records, own: OwnDatabase
) -> None:
    names = ("shop", "shop_before_1")
    live = owned.oid_of(server, "shop")
    with pytest.raises(BackupFailure, match="not the one"):
        owned.exchange(server, own, live + 1, names, ENTRY)
    assert owned.oid_of(server, "shop") == live
    owned.exchange(server, own, live, names, {**ENTRY, "is_template": True})
    assert (owned.oid_of(server, "shop"), owned.oid_of(server, "shop_before_1")) == (own.oid, live)
    owned.exchange_back(server, own, live, names)
    assert (owned.oid_of(server, "shop"), owned.oid_of(server, own.name)) == (live, own.oid)
    destroy.drop_database(server, own)


def test_a_database_that_is_gone_is_put_in_its_place(
    cluster: Cluster, server: Server, records: owned.Records, own: OwnDatabase
) -> None:
    names = ("gone", "gone_before_1")
    owned.exchange(server, own, 0, names, ENTRY)
    owned.exchange_back(server, own, 0, names)
    owned.exchange(server, own, 0, names, ENTRY)
    owned.finish_exchange(server, records, own, ENTRY, "gone")
    assert owned.oid_of(server, "gone") == own.oid
    assert records.all() == []


def test_an_exchange_that_was_not_finished_is_finished_by_the_next_run(
    cluster: Cluster, server: Server, job: t.Any, records: owned.Records, own: OwnDatabase
) -> None:
    live = owned.oid_of(server, "shop")
    owned.exchange(server, own, live, ("shop", "shop_before_1"), ENTRY)
    owned.settle(job)
    assert (
        cluster.sql(
            f"select datname, shobj_description(oid, 'pg_database') from pg_database where oid = {own.oid}", "postgres"
        )
        == "shop|the shop's"
    )
    assert records.all() == []
    cluster.sql("alter database shop rename to gone; alter database shop_before_1 rename to shop", "postgres")


def test_roles_of_a_run_go_with_its_database(cluster: Cluster, server: Server, job: t.Any, own: OwnDatabase) -> None:
    cluster.sql(f"create role made; comment on role made is '{own.mark}'; create role theirs", "postgres")
    cluster.sql("comment on role theirs is 'evenkeel-backup: unfinished restore'", "postgres")
    owned.settle(job)
    assert (
        cluster.sql("select string_agg(rolname, ' ') from pg_roles where rolname in ('made', 'theirs')", "postgres")
        == "theirs"
    )


def test_a_folder_is_removed_only_by_the_run_that_created_it(tmp_path: Path) -> None:
    path = tmp_path / "data"
    created = destroy.new_folder(path)
    assert created
    assert destroy.new_folder(path) is None
    path.rename(tmp_path / "moved")
    path.mkdir()
    (path / "theirs").touch()
    destroy.remove_folder(created)
    assert (path / "theirs").exists()
    (path / "theirs").unlink()
    path.rmdir()
    path.symlink_to(tmp_path / "moved")
    destroy.remove_folder(created)
    assert (tmp_path / "moved").is_dir()
    path.unlink()
    (tmp_path / "moved").rename(path)
    destroy.remove_folder(created)
    assert not path.exists()
