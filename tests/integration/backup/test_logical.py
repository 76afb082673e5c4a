# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps of a real server into a real repository: proven, restored, and each fault named."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from .conftest import KEY, Cluster, Instance, missing

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
    made = Instance(
        folder,
        "shop",
        "logical",
        where={"kind": "host", "bin_dir": str(cluster.bin), "user": "postgres"},
        server={"host": str(cluster.socket), "user": "postgres", "data_dir": str(cluster.data)},
        databases=["shop"],
    )
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


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
    assert figures['evenkeel_backup_proof_level{engine="logical",instance="shop",repository="local"}'] == 5
    assert not list(Path(shop.options["work_dir"]).iterdir())
