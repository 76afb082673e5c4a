# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base backups and WAL of a real server by pgBackRest: recovered to the row, and each fault named."""

from __future__ import annotations

import shutil
import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from .conftest import KEY, Cluster, Instance, as_server, missing

REASON = missing("pgbackrest")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    config = folder / "etc" / "wal.pgbackrest.conf"
    made = Cluster(
        folder,
        archive_mode="on",
        wal_level="replica",
        archive_command=f"pgbackrest --config={config} --stanza=wal archive-push %p",
    )
    made.sql("create database shop", "postgres")
    made.sql("create table orders (id bigint generated always as identity primary key, note text, at timestamptz default clock_timestamp())")
    made.sql("insert into orders (note) select md5(i::text) from generate_series(1, 5000) i")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def wal(folder: Path, cluster: Cluster) -> Instance:
    made = Instance(
        folder,
        "wal",
        "physical",
        where={"kind": "host", "bin_dir": str(cluster.bin), "user": "postgres"},
        server={"host": str(cluster.socket), "user": "postgres", "data_dir": str(cluster.data)},
        pgbackrest={"config_file": str(folder / "etc" / "wal.pgbackrest.conf"), "lock_path": str(folder / "sock" / "pgbackrest")},
    )
    made.configs.chmod(0o711)
    (folder / "repo").mkdir(exist_ok=True)
    (folder / "repo").chmod(0o711)
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
