# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values compared on a real server: each change is found by table, and no kind of value raises a false alarm."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    KEY,
    Cluster,
    Instance,
    Shim,
    as_server,
    links,
    logical,
    missing,
)
from evenkeel_backup import comparison, config
from evenkeel_backup.job import Job

REASON = missing("restic")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")

# Settings of the database that change the text of values; a restored one may have others.
SETTINGS = """
alter database shop set timezone to 'Asia/Tokyo';
alter database shop set datestyle to 'SQL, DMY';
alter database shop set intervalstyle to 'sql_standard';
alter database shop set extra_float_digits to '-2';
alter database shop set bytea_output to 'escape';
alter database shop set quote_all_identifiers to on;
alter database shop set search_path to odd, public;
"""
SCHEMA = r"""
create schema odd;
create table orders (id bigint generated always as identity primary key, note text, at timestamptz);
insert into orders (note, at) select md5(i::text), timestamptz '2026-01-01 12:00+00' + i * interval '1 s 1 us'
  from generate_series(1, 3000) i;
create table plain (id int, note text);
insert into plain select i, 'note ' || i from generate_series(1, 50) i;
create table texts (id int, value text);
insert into texts values (1, E'a\nb'), (2, E'a\\nb'), (3, E'\\N'), (4, null), (5, ''), (6, E'\\.'), (7, E'\\.\n\\.'),
  (8, E'tab\there'), (9, E'\r\v\f\b'), (10, 'Grüße, 世界, 🐘'), (11, E'\\\\x00'), (12, 'null'), (13, E'end\\');
create table numbers (f4 real, f8 double precision, n numeric, b bytea, bits bit(3), ids oid);
insert into numbers values ('NaN', '-Infinity', 'NaN', '\x00ff5c0a', '101', 4294967295),
  (0.1, 0.1 + 0.2::double precision, 0.100, '', '000', 0), ('-0', '-0', -0.0, null, null, null),
  (1e-45, 5e-324, 1e100, E'\\x5c2e', '111', 1);
create table times (ts timestamp, tz timestamptz, d date, ti time, tt timetz, i interval);
insert into times values ('infinity', '-infinity', '0044-03-15 BC', '24:00', '04:05:06.789-08', '-1 y 2 mons -3 d 4 h'),
  ('2026-03-29 02:30', '2026-03-29 02:30:00.000001 Europe/Berlin', '2026-01-31', '00:00:00.000001', '00:00+00', '1 us');
create type mood as enum ('sad', 'it''s "ok"');
create type pair as (a int, b text);
create domain short as text check (length(value) < 9);
create table kinds (a int[], t text[], m mood, p pair, pp pair[], j json, jb jsonb, u uuid, r int4range, s tsvector,
  x xml, sh short, c char(5), ip inet, pt point, rc regclass, rt regtype);
insert into kinds values ('[2:3]={1,null}', E'{"a,b","\\\\",null,"null"}', 'it''s "ok"', '(1,"x ""y"", \\")',
  array[row(1, null)::pair, row(null, '')::pair], '{"b": 1,  "a": [1.0, 2e3]}', '{"b": 1, "a": {"ü": null}}',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[1,5)', 'a fat cat', '<a>ü</a>', 'kürz', 'x', '::1/64', '(0.1,-0)',
  'public.orders', 'public.mood[]');
create table empty (id int);
create table bare (id int);
insert into bare values (1), (2), (3);
alter table bare drop column id;
create table shrunk (a int, b text, c int default 7, d int generated always as (a * 2) stored);
insert into shrunk (a, b) values (1, 'x'), (2, 'y');
alter table shrunk drop column b;
alter table shrunk add column e text default 'late';
create table wide (id int, data text);
insert into wide select i, repeat(md5(i::text), 100000) from generate_series(1, 2) i;
create table parent (a int, b text);
create table child (own int, b text, a int);
insert into parent values (1, 'parent');
insert into child values (9, 'child', 2);
alter table child inherit parent;
create table roots (k int, v text) partition by list (k);
create table leaf (v text, gone int, k int);
alter table leaf drop column gone;
alter table roots attach partition leaf for values in (1);
create table leaf_2 partition of roots for values in (2);
insert into roots values (1, 'one'), (2, 'two');
create table odd."Tab.le ""x"" 名" ("Col, umn" int, "ü" text, "order" int);
insert into odd."Tab.le ""x"" 名" values (1, 'ü', 2);
create table public."odd.Tab" (id int);
insert into public."odd.Tab" values (5);
create unlogged table scratch (id int);
insert into scratch values (1), (2);
create table doubled (id int);
insert into doubled values (1), (1), (2);
create extension pgcrypto;
create table member (id int primary key);
create index on member (id, (id + 1));
alter extension pgcrypto add table member;
create materialized view summed as select count(*) from orders;
create sequence counter start 5;
select lo_from_bytea(0, decode(repeat('00ff5c0a', 1500), 'hex')), lo_from_bytea(0, ''), lo_put(lo_create(0), 5000, 'a');
"""


def job_of(instance: Instance) -> Job:
    return Job.of(config.load(instance.configs, instance.name))


def newest(instance: Instance) -> dict[str, t.Any]:
    folder = instance.folder / "state" / instance.name / "backups"
    return json.loads(max(folder.glob("*.json")).read_text())


def compared(instance: Instance, name: str, database: str = "shop") -> comparison.Compared:
    """Compare a database of the live server with the newest manifest, as a restore does."""
    job = job_of(instance)
    with job.server() as server:
        return comparison.compare(job, newest(instance), {database: server.at(name)}, None)


def found(instance: Instance, name: str) -> list[str]:
    """Return the subjects of all differences."""
    return [
        one.sentence.partition(" on shop: ")[2].partition(": found")[0] for one in compared(instance, name).problems
    ]


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder, max_prepared_transactions="2")
    made.sql("create database shop", "postgres")
    made.sql(SCHEMA)
    for statement in SETTINGS.strip().splitlines():
        made.sql(statement, "postgres")
    made.sql("create database latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'", "postgres")
    made.sql(
        "set client_encoding to 'UTF8'; create table größe (ä text); insert into größe values ('é'), ('ß')", "latin"
    )
    made.sql("alter database latin set client_encoding to 'UTF8'", "postgres")
    made.sql("create database bytes template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'", "postgres")
    made.sql(r"create table raw (t text); insert into raw values (E'\xff\xe9'), (E'\xc3\xa9')", "bytes")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shop(folder: Path, cluster: Cluster) -> Instance:
    return logical(folder, "shop", cluster, links(folder, cluster), databases=["shop", "latin", "bytes"]).ready()


@pytest.mark.parametrize("compress", [1, 0])
def test_no_kind_of_value_raises_a_false_alarm(shop: Instance, compress: int) -> None:
    shop.options["compress"] = compress
    shop.write()
    shop.good("backup")
    made = newest(shop)
    for entry in made["databases"]:
        assert set(entry["sums"]) == set(entry["rows"]), entry["name"]
    entry = made["databases"][0]
    assert entry["rows"]["public.bare"] == 3
    assert entry["rows"]['public."odd.Tab"'] == 1
    assert entry["rows"]['odd."Tab.le ""x"" 名"'] == 1
    assert entry["content"]["objects"]["count"] == 3
    assert entry["content"]["columns"] == {
        "public.child": ["own", "b", "a"],
        "public.leaf": ["v", "k"],
        "public.leaf_2": ["k", "v"],
    }
    document = shop.good("drill")
    assert document["drill"]["level"] == 5
    figures = document["drill"]["compared"]
    assert (figures["sums"], figures["large_objects"]) == (sum(len(one["sums"]) for one in made["databases"]), 3)
    evidence = document["ladder"]["local"][-1]["evidence"]
    assert f"the content of {figures['sums']} by their sums, 3 large objects" in evidence
    assert "shop: materialized views (public.summed) were filled anew and not compared" in evidence
    assert "generated columns of public.shrunk were computed anew" in evidence
    page = Path(document["page"]).read_text()
    assert "every value" in page
    assert "Equal but for" in page


@pytest.fixture(scope="module")
def copy(shop: Instance, cluster: Cluster) -> str:
    document = shop.good("restore", "--database", "shop", "--as", "shop_copy")
    assert any("sequences were not compared" in one for one in document["restored"]["left_out"])
    assert not found(shop, "shop_copy")
    return "shop_copy"


CHANGES = [
    pytest.param(
        "update orders set note = overlay(note placing 'X' from 7 for 1) where id = 1500", ["orders"], id="byte"
    ),
    pytest.param(
        "update plain a set note = b.note from plain b where (a.id, b.id) in ((3, 4), (4, 3))",
        ["plain"],
        id="values of two rows exchanged",
    ),
    pytest.param(
        "delete from plain where id = 9; insert into plain select * from plain where id = 10",
        ["plain"],
        id="a row lost, another twice",
    ),
    pytest.param("update doubled set id = 2 where ctid = (select min(ctid) from doubled)", ["doubled"], id="a pair"),
    pytest.param("update orders set at = at + interval '1 us' where id = 3", ["orders"], id="a microsecond"),
    pytest.param("update numbers set f8 = 0.3 where f4 = 0.1::real", ["numbers"], id="the last digit of a float"),
    pytest.param("update numbers set f8 = 0 where f4 = 0", ["numbers"], id="minus zero"),
    pytest.param(r"update numbers set b = '\x00ff5c0b' where bits = '101'", ["numbers"], id="a bit of bytea"),
    pytest.param("update texts set value = null where id = 3", ["texts"], id="null for a text that looks like it"),
    pytest.param("update texts set value = '' where id = 4", ["texts"], id="empty for null"),
    pytest.param(r"update texts set value = E'a\nb' where id = 2", ["texts"], id="a newline for its escape"),
    pytest.param("update kinds set a = '{1,null}'", ["kinds"], id="the lower bound of an array"),
    pytest.param("""update kinds set jb = '{"b": 1, "a": {"u": null}}'""", ["kinds"], id="a key of jsonb"),
    pytest.param(
        "update wide set data = overlay(data placing 'X' from 3199999 for 1) where id = 2", ["wide"], id="wide"
    ),
    pytest.param("update child set a = 3", ["child"], id="a child whose columns moved"),
    pytest.param("update roots set v = 'eins' where k = 1", ["leaf"], id="a partition"),
    pytest.param("update shrunk set e = 'early' where a = 1", ["shrunk"], id="beside a dropped column"),
    pytest.param("update scratch set id = 3 where id = 2", ["scratch"], id="an unlogged table"),
    pytest.param("alter table plain rename column note to other", [], id="another name of a column is not a value"),
    pytest.param("alter table child drop column own", ["columns of child"], id="a column less"),
    pytest.param("insert into plain values (51, 'more')", ["rows of plain"], id="a row more"),
    pytest.param("delete from bare where ctid = (select min(ctid) from bare)", ["rows of bare"], id="a row of nothing"),
    pytest.param(
        "select lo_put(oid, 2047, 'X') from pg_largeobject_metadata order by oid limit 1",
        ["large objects"],
        id="object",
    ),
    pytest.param(
        "select lo_unlink(max(oid)), lo_create(0) from pg_largeobject_metadata", ["large objects"], id="another object"
    ),
    pytest.param(
        "update orders set note = 'x' where id = 1; update plain set note = 'x' where id = 1; truncate texts",
        ["rows of texts", "orders", "plain"],
        id="all are named",
    ),
]


@pytest.mark.parametrize(("sql", "subjects"), CHANGES)
def test_each_change_is_found_by_table(
    shop: Instance, cluster: Cluster, copy: str, sql: str, subjects: list[str]
) -> None:
    cluster.sql(f"create database changed template {copy}", "postgres")
    try:
        cluster.sql(f"set search_path to public; {sql}", "changed")
        wanted = []
        for one in subjects:
            kind, _of, table = one.rpartition(" of ")
            plain = one == "large objects"
            wanted.append(one if plain else f"{kind or 'content'} of public.{table}")
        assert sorted(found(shop, "changed")) == sorted(wanted)
    finally:
        cluster.sql("drop database changed", "postgres")


def test_rows_in_another_order_are_the_same(shop: Instance, cluster: Cluster, copy: str) -> None:
    cluster.sql(f"create database changed template {copy}", "postgres")
    try:
        for statement in (
            "create index by_note on public.plain (note desc)",
            "cluster public.plain using by_note",
            "drop index public.by_note",
            "update public.doubled set id = id where ctid = '(0,1)'",
        ):
            cluster.sql(statement, "changed")
        assert not found(shop, "changed")
    finally:
        cluster.sql("drop database changed", "postgres")


def test_an_invalid_index_does_not_spoil_a_backup(shop: Instance, cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="could not create unique index"):
        cluster.sql("create unique index concurrently doubled_id on public.doubled (id)")
    assert cluster.sql("select count(*) from pg_index where not indisvalid") == "1"
    held = subprocess.Popen(
        cluster.client(
            "psql",
            "-XAtq",
            "-d",
            "shop",
            "-c",
            "create temp table t (id int primary key)",
            "-c",
            "select pg_sleep(300)",
        ),
        stdout=subprocess.DEVNULL,
    )
    try:
        shop.good("backup")
        document = shop.good("drill")
        assert document["drill"]["level"] == 5
        assert "invalid indexes (public.doubled_id) are not in the dump" in document["ladder"]["local"][-1]["evidence"]
        restored = shop.good("restore", "--database", "shop", "--as", "shop_again")
        assert any("public.doubled_id" in one for one in restored["restored"]["left_out"])
        assert held.poll() is None
    finally:
        held.terminate()
        held.wait()
        cluster.sql("drop index public.doubled_id")
        cluster.sql("drop database if exists shop_again", "postgres")


def test_a_dump_with_a_row_less_than_its_snapshot_is_refused(shop: Instance, cluster: Cluster) -> None:
    shop.options["compress"] = 0
    shop.write()
    script = (
        '"$real" "$@" || exit\nfor word; do case $word in --file=*) out=${word#--file=};; esac; done\n'
        'if test "$1" != --version && grep -q "note 17" "$out"/*.dat; then sed -i "/note 17$/d" "$out"/*.dat; fi'
    )
    with Shim(shop, cluster, "pg_dump", script):
        code, document = shop.run("backup")
    assert code == 1
    assert [one["fault"] for one in document["failures"]] == ["truncated_dump"]
    assert "a table has another number of rows on shop: public.plain: found 49, need 50" in str(document["failures"])
    shop.good("backup")


def test_sums_can_be_switched_off(shop: Instance) -> None:
    shop.options["content_sums"] = False
    shop.write()
    try:
        shop.good("backup")
        assert all("sums" not in entry for entry in newest(shop)["databases"])
        document = shop.good("drill")
        assert document["drill"]["compared"]["sums"] == 0
        assert "rows were counted, and their values not compared" in document["ladder"]["local"][-1]["evidence"]
        assert "number of rows" in Path(document["page"]).read_text()
    finally:
        del shop.options["content_sums"]
        shop.write()


def test_a_standby_with_unlogged_tables_is_backed_up(shop: Instance, cluster: Cluster) -> None:
    folder = shop.folder / "standby"
    folder.mkdir()
    shutil.chown(folder, "postgres")
    words = ["-D", str(folder / "data"), "-R", "--checkpoint=fast"]
    subprocess.run(as_server(*cluster.client("pg_basebackup", *words)), check=True, capture_output=True)
    standby = Cluster.of(folder, folder / "data", cluster.bin)
    here = Instance(
        shop.folder,
        "standby",
        "logical",
        where=shop.options["where"],
        server={"host": str(standby.socket), "user": "postgres", "data_dir": str(standby.data)},
        databases=["shop"],
    )
    try:
        here.good("prepare")
        here.good("escrow-check", "--key-file", "-", given=KEY)
        here.good("backup")
        document = here.good("drill")
        assert document["drill"]["level"] == 5
        words_ = "shop: unlogged tables (public.scratch) are empty, because the dump is of a standby"
        assert words_ in document["drill"]["compared"]["left_out"]
    finally:
        standby.stop()
