# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores of databases that are hard to restore: by name, by content, by their properties, and half-way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    RUNNER,
    Cluster,
    Instance,
    Shim,
    bin_dir,
    links,
    logical,
    missing,
)
from evenkeel_backup.database import identifier, literal

REASON = missing("restic")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")

LONG = "a" * 63
NAMES = (
    "a=b",
    "postgresql://x",
    "..",
    "-x",
    "dbname=postgres host=/nowhere",
    "q'u\"o\\te",
    "two\nlines of it",
    ":x %s *?[",
    "ä" * 31,
    LONG,
)

# Objects that pg_restore cannot create with the empty search_path that it sets.
PATHS = """
create extension cube; create extension earthdistance; create extension unaccent;
create table places (lat float, long float); insert into places select i, i from generate_series(1, 50) i;
create index places_at on places using gist (ll_to_earth(lat, long));
create function plain(text) returns text language sql immutable as $$select unaccent('unaccent', $1)$$;
create table people (name text); insert into people values ('Zoë'), ('Ann');
create index people_plain on people (plain(name));
create table limits (least int); insert into limits values (0);
create function allowed(int) returns boolean language sql as $$select $1 >= least from limits$$;
create table amounts (amount int check (allowed(amount))); insert into amounts select i from generate_series(1, 100) i;
create function counted() returns bigint language sql as $$select count(*) from people$$;
create materialized view people_count as select counted() as many;
"""


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder)
    made.sql("create role shop login", "postgres")
    made.sql("create database shop owner shop", "postgres")
    made.sql(
        "create table orders (id int); alter table orders owner to shop; insert into orders select generate_series(1, 500)"
    )
    yield made
    made.stop()


def ask(cluster: Cluster, sql: str, name: str) -> str:
    """Query a database with any name."""
    done = subprocess.run(
        cluster.client("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"),
        input=sql,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PGDATABASE": name},
    )
    return done.stdout.strip()


def there(cluster: Cluster) -> set[str]:
    return set(json.loads(cluster.sql("select json_agg(datname) from pg_database", "postgres")))


@pytest.fixture(scope="module")
def instance(folder: Path, cluster: Cluster) -> t.Callable[..., Instance]:
    links(folder, cluster)

    def made(name: str, *databases: str) -> Instance:
        return logical(folder, name, cluster, folder / "bin", databases=list(databases)).ready()

    return made


@pytest.fixture(scope="module")
def shop(instance: t.Callable[..., Instance]) -> Instance:
    made = instance("shop", "shop")
    made.good("backup")
    return made


def dropped(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster.sql(f"drop database {identifier(name)}", "postgres")


# -- names ---------------------------------------------------------------------------


def test_a_name_is_never_a_connection_string_a_path_or_an_option(
    instance: t.Callable[..., Instance], cluster: Cluster
) -> None:
    for number, name in enumerate(NAMES):
        cluster.sql(f"create database {identifier(name)}", "postgres")
        ask(cluster, f"create table marked as select {number} as number", name)
        # pg_restore starts with the database's own settings.
        cluster.sql(f"alter database {identifier(name)} set search_path = ''", "postgres")
    odd = instance("odd", *NAMES)
    odd.good("backup")
    assert odd.good("drill")["drill"]["level"] == 5
    for number, name in enumerate(NAMES):
        at = odd.good("restore", f"--database={name}")["restored"]["at"]
        assert ask(cluster, "select number from public.marked", at) == str(number)
        assert ask(cluster, "show search_path", at) == '""'
        assert len(at.encode()) <= 63
        dropped(cluster, at)
    assert there_without_scratch(cluster) >= set(NAMES[-1:])
    # The database with the longest name lives, and no copy can take its name by being cut.
    assert odd.faults("restore", f"--database={LONG}", f"--as={LONG}_copy") == {("target", "target_unknown")}
    assert ask(cluster, "select number from public.marked", LONG) == str(len(NAMES) - 1)
    replaced = odd.good("restore", "--database=a=b", "--mode=in_place", "--confirm=a=b")["restored"]
    assert ask(cluster, "select number from public.marked", "a=b") == "0"
    dropped(cluster, replaced["before"], *NAMES)


def there_without_scratch(cluster: Cluster) -> set[str]:
    found = there(cluster)
    assert not [name for name in found if name.startswith("evenkeel_restore_")]
    return found


# -- only what a run created is dropped -----------------------------------------------


def test_a_name_that_is_created_during_the_restore_stays(shop: Instance, cluster: Cluster) -> None:
    script = (
        f"[[ $* == *--list* ]] || {cluster.bin}/psql -Xq -h {cluster.socket} -U postgres -d postgres -c 'create database late'\n"
        '"$real" "$@"'
    )
    with Shim(shop, cluster, "pg_restore", script):
        code, document = shop.run("restore", "--as", "late")
    assert code == 3
    assert [failure["fault"] for failure in document["failures"]] == ["target_live"]
    at = document["restored"]["at"]
    assert at in document["failures"][0]["sentence"]
    assert cluster.sql("select count(*) from orders", at) == "500"
    assert cluster.sql("select count(*) from pg_class where relname = 'orders'", "late") == "0"
    assert at != "late"
    dropped(cluster, "late", at)


def test_no_target_is_free_where_the_server_cannot_be_asked(shop: Instance, cluster: Cluster) -> None:
    cluster.stop()
    try:
        for words in ((), ("--mode", "in_place", "--confirm", "shop"), ("--as", "shop")):
            assert {fault for _stage, fault in shop.faults("restore", *words)} == {"server_unreachable"}
    finally:
        cluster.start()
    assert cluster.sql("select count(*) from orders") == "500"


def test_a_restore_that_is_killed_leaves_a_scratch_name_that_the_next_run_removes(
    shop: Instance, cluster: Cluster
) -> None:
    before = there(cluster)
    flag = shop.folder / "loading"
    argv = [sys.executable, str(RUNNER), "restore", shop.name, "--config-dir", str(shop.configs)]
    script = f'[[ $* == *--list* ]] && exec "$real" "$@"; "$real" "$@"; echo >{flag}; exec sleep 60'
    flag.touch(0o666)
    flag.chmod(0o666)
    for words in ((), ("--mode", "in_place", "--confirm", "shop")):
        flag.write_text("")
        with Shim(shop, cluster, "pg_restore", script):
            run = subprocess.Popen([*argv, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 120
            while not flag.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.1)
            run.kill()
            run.wait()
        (left,) = there(cluster) - before
        assert left.startswith("evenkeel_restore_")
        assert cluster.sql("select count(*) from orders") == "500"
        # Another host's or a person's database with such a name is not removed.
        cluster.sql("create database evenkeel_restore_0123456789abcdef", "postgres")
        document = shop.good("backup")
        assert any(left in action and "did not end" in action for action in document["actions"])
        assert there(cluster) == before | {"evenkeel_restore_0123456789abcdef"}
        assert cluster.sql("select count(*) from pg_roles where rolname like 'evenkeel_restore_%'", "postgres") == "0"
        dropped(cluster, "evenkeel_restore_0123456789abcdef")


# -- what can be restored is restored -----------------------------------------------------


@pytest.fixture(scope="module")
def traps(instance: t.Callable[..., Instance], cluster: Cluster) -> Instance:
    cluster.sql("create database traps owner shop", "postgres")
    cluster.sql(PATHS, "traps")
    made = instance("traps", "traps")
    made.good("backup")
    return made


def test_what_lacks_a_search_path_is_tried_again_with_it(traps: Instance, cluster: Cluster) -> None:
    assert traps.good("drill")["drill"]["level"] == 5
    for words in ((), ("--strict",)):
        restored = traps.good("restore", *words)["restored"]
        assert restored["complete"]
        at = restored["at"]
        assert cluster.sql("select count(*) from amounts", at) == "100"
        assert cluster.sql("select many from people_count", at) == "2"
        valid = "select count(*) from pg_index where indisvalid and indexrelid::regclass::text in ('places_at', 'people_plain')"
        assert cluster.sql(valid, at) == "2"
        dropped(cluster, at)


def test_what_cannot_be_restored_is_named_and_the_rest_is_kept(traps: Instance, cluster: Cluster) -> None:
    cluster.sql(
        "create function homely() returns int language plpgsql as $$ begin"
        " if current_database() <> 'traps' then raise exception 'only at home'; end if; return 1; end $$;"
        " create materialized view near as select homely() as id; create index near_id on near (id)",
        "traps",
    )
    traps.good("backup")
    before = there(cluster)
    code, document = traps.run("restore", "--as", "traps_back")
    assert code == 3
    restored = document["restored"]
    assert restored["at"] == "traps_back_incomplete"
    assert not restored["complete"]
    assert [one["name"].rpartition(" ")[0] for one in restored["failed"]] == ["MATERIALIZED VIEW DATA public near"]
    assert restored["failed"][0]["reason"] == "only at home"
    assert [failure["fault"] for failure in document["failures"]] == ["statement_failed"]
    assert "MATERIALIZED VIEW DATA public near" in document["failures"][0]["sentence"]
    assert cluster.sql("select count(*) from amounts", "traps_back_incomplete") == "100"
    assert cluster.sql("select count(*) from pg_class where relname = 'near_id'", "traps_back_incomplete") == "1"
    comment = "select shobj_description(oid, 'pg_database') from pg_database where datname = 'traps_back_incomplete'"
    assert "incomplete restore of traps" in cluster.sql(comment, "postgres")
    # A second one is kept beside it, a strict one is not.
    second = traps.run("restore", "--as", "traps_back")[1]["restored"]["at"]
    assert second.startswith("traps_back_incomplete_")
    assert traps.run("restore", "--as", "traps_back", "--strict")[0] == 1
    assert there(cluster) == before | {"traps_back_incomplete", second}
    dropped(cluster, "traps_back_incomplete", second)
    # The drill is strict: it names the same statement.
    assert traps.faults("drill") == {("L3", "statement_failed")}


def test_what_is_not_whole_never_takes_the_place_of_the_live_database(traps: Instance, cluster: Cluster) -> None:
    oid = cluster.sql("select oid from pg_database where datname = 'traps'", "postgres")
    code, document = traps.run("restore", "--mode", "in_place", "--confirm", "traps")
    assert code == 3
    assert document["restored"]["at"] == "traps_incomplete"
    assert cluster.sql("select oid from pg_database where datname = 'traps'", "postgres") == oid
    dropped(cluster, "traps_incomplete")
    cluster.sql("drop materialized view near", "traps")
    traps.good("backup")
    assert traps.good("restore", "--mode", "in_place", "--confirm", "traps")["restored"]["at"] == "traps"
    assert cluster.sql("select count(*) from amounts", "traps") == "100"


def test_a_view_over_a_server_that_is_gone_costs_nothing_else(
    instance: t.Callable[..., Instance], cluster: Cluster
) -> None:
    for name in ("abroad", "remote"):
        cluster.sql(f"create database {name}", "postgres")
    cluster.sql("create table far as select generate_series(1, 10) as id", "remote")
    cluster.sql(
        "create table plain as select generate_series(1, 5) as id; create extension postgres_fdw;"
        f" create server there foreign data wrapper postgres_fdw options (host '{cluster.socket}', dbname 'remote');"
        " create user mapping for public server there options (user 'postgres', password_required 'false');"
        " create foreign table far (id int) server there; create materialized view near as select * from far",
        "abroad",
    )
    made = instance("abroad", "abroad")
    made.good("backup")
    dropped(cluster, "remote")
    code, document = made.run("restore")
    assert code == 3
    at = document["restored"]["at"]
    assert at.endswith("_incomplete")
    assert any(" near " in one["name"] for one in document["restored"]["failed"])
    assert cluster.sql("select count(*) from plain", at) == "5"
    dropped(cluster, at)


# -- properties ----------------------------------------------------------------------------


def test_the_properties_of_a_database_come_back(
    instance: t.Callable[..., Instance], cluster: Cluster, folder: Path
) -> None:
    place = folder / "live" / "fast"
    place.mkdir(0o700)
    subprocess.run(["chown", "postgres:postgres", str(place)], check=True)
    comment = "it's the \\ one\nof two lines"
    cluster.sql("create role reader; create role writer; create role app", "postgres")
    cluster.sql(f"create tablespace fast location '{place}'", "postgres")
    cluster.sql("create database props owner app tablespace fast connection limit 7", "postgres")
    cluster.sql("create table things as select 1 as id", "props")
    for statement in (
        "revoke all on database props from public",
        "grant connect on database props to reader",
        "grant create on database props to writer with grant option",
        "revoke temporary on database props from app",
        "alter database props set search_path = 'odd path', \"$user\", public",
        "alter database props set temp_tablespaces = fast",
        "alter database props set \"my.own\" = 'a, b'",
        "alter database props set default_transaction_read_only = on",
        "alter database props set datestyle = 'ISO, DMY'",
        "alter role reader in database props set search_path = ''",
        f"comment on database props is {literal(comment)}",
    ):
        cluster.sql(statement, "postgres")
    facts = (
        "select d.datconnlimit, d.datdba::regrole, spcname, shobj_description(d.oid, 'pg_database'), d.datistemplate,"
        " (select string_agg(r.setrole || one, ';' order by r.setrole, one) from pg_db_role_setting r, unnest(setconfig) one where setdatabase = d.oid),"
        " (select string_agg(a.grantee || a.privilege_type || a.is_grantable, ';' order by a.grantee, a.privilege_type) from aclexplode(datacl) a)"
        " from pg_database d join pg_tablespace s on s.oid = dattablespace where datname = '{}'"
    )
    props = instance("props", "props")
    props.options["canary"] = False
    props.write()
    props.good("backup")
    assert props.good("drill")["drill"]["level"] == 5
    at = props.good("restore")["restored"]["at"]
    assert cluster.sql(facts.format(at), "postgres") == cluster.sql(facts.format("props"), "postgres")
    before = cluster.sql(facts.format("props"), "postgres")
    document = props.good("restore", "--mode", "in_place", "--confirm", "props")
    assert cluster.sql(facts.format("props"), "postgres") == before
    dropped(cluster, at, document["restored"]["before"])


# -- the latest is the newest good one --------------------------------------------------------


def test_the_latest_is_the_newest_good_one(shop: Instance, cluster: Cluster) -> None:
    good = shop.good("backup")["backup"]["id"]
    cluster.sql("create table kept as table orders; truncate orders; drop table kept")
    code, document = shop.run("backup")
    assert code == 3
    empty = document["backup"]["id"]
    document = shop.good("restore")
    assert document["chosen"]["backup"] == good
    assert [(one["backup"], "empty_database" in one["why"]) for one in document["chosen"]["passed_over"]] == [
        (empty, True)
    ]
    assert any(good in action and empty in action for action in document["actions"])
    assert cluster.sql("select count(*) from orders", document["restored"]["at"]) == "500"
    dropped(cluster, document["restored"]["at"])
    named = shop.good("restore", "--backup", empty)
    assert named["chosen"] == {"backup": empty, "level": 0, "passed_over": []}
    assert cluster.sql("select count(*) from orders", named["restored"]["at"]) == "0"
    dropped(cluster, named["restored"]["at"])
    cluster.sql("insert into orders select generate_series(1, 500)")


def test_a_host_without_proofs_verifies_before_it_chooses(shop: Instance, cluster: Cluster) -> None:
    bare = Instance(
        shop.folder, "shop", "logical", **{key: shop.options[key] for key in ("where", "server", "repositories")}
    )
    bare.configs = shop.folder / "bare"
    bare.configs.mkdir()
    bare.options |= {"state_dir": str(shop.folder / "state" / "bare"), "databases": ["shop"]}
    bare.write()
    document = bare.good("restore", "--plan")
    known = [entry["id"] for entry in shop.run("status")[1]["status"]["backups"] if entry["level"] >= 2]
    assert document["chosen"]["backup"] == known[-1]
    assert ["empty_database" in one["why"] for one in document["chosen"]["passed_over"]] == [True]
    shop.write()


# -- extensions with needs of their own --------------------------------------------------------


def lacking(*names: str) -> str:
    """Return why extensions cannot be tested here; empty if they can."""
    share = Path("/usr/share/postgresql") / (bin_dir() or Path("none/bin")).parent.name / "extension"
    absent = [name for name in names if not (share / f"{name}.control").exists()]
    return f"needs the extension {', '.join(absent)} of this PostgreSQL" if absent else ""


@pytest.fixture
def extended(cluster: Cluster, instance: t.Callable[..., Instance]) -> t.Iterator[Instance]:
    cluster.sql("create database extended", "postgres")
    yield instance("extended", "extended")
    cluster.sql("drop database extended", "postgres")


EXTENSIONS = {
    "pg_partman": """
create schema partman; create extension pg_partman schema partman;
create table events (at timestamptz not null) partition by range (at);
select partman.create_parent('public.events', 'at', 'native', 'daily'); insert into events values (now());
""",
    "postgis": """
create extension postgis; create table spots (id int, at geometry(Point, 4326));
insert into spots select i, st_setsrid(st_makepoint(i, i), 4326) from generate_series(1, 20) i;
create index spots_at on spots using gist (at);
insert into spatial_ref_sys (srid, srtext) values (990001, 'local');
""",
    "vector": """
create extension vector; create table words (id int, at vector(3)); insert into words values (1, '[1,2,3]');
create index words_at on words using hnsw (at vector_l2_ops);
""",
    "timescaledb": """
create extension timescaledb; create table metrics (at timestamptz not null, value float);
select create_hypertable('metrics', 'at'); insert into metrics select now() - i * interval '1 day', i from generate_series(1, 60) i;
""",
}


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_database_with_the_extension_comes_back(extended: Instance, cluster: Cluster, extension: str) -> None:
    if reason := lacking(extension):
        pytest.skip(reason)
    cluster.sql(EXTENSIONS[extension], "extended")
    extended.good("backup")
    assert extended.good("drill")["drill"]["level"] == 5
    restored = extended.run("restore")[1]["restored"]
    # The role of a restore is no superuser, and may not write to an extension's own tables.
    assert all("permission denied" in one["reason"] for one in restored["failed"])
    dropped(cluster, restored["at"])


@pytest.mark.skipif(bool(lacking("pg_cron")), reason=lacking("pg_cron") or "all there")
def test_a_copy_runs_no_scheduled_job(folder: Path) -> None:
    place = folder / "cron"
    place.mkdir(0o711)
    server = Cluster(place, shared_preload_libraries="pg_cron", **{"cron.use_background_workers": "on"})
    try:
        server.sql("create extension pg_cron; create table runs (at timestamptz)", "postgres")
        server.sql("select cron.schedule('each', '* * * * *', 'insert into runs values (now())')", "postgres")
        made = logical(place, "cron", server, databases=["postgres"]).ready()
        made.good("backup")
        assert made.good("drill")["drill"]["level"] == 5
        restored = made.good("restore")["restored"]
        assert restored["complete"]
        assert "extension pg_cron is left out" in restored["notes"][0]
        assert server.sql("select count(*) from pg_extension where extname = 'pg_cron'", restored["at"]) == "0"
        assert server.sql("select count(*) from cron.job", "postgres") == "1"
    finally:
        server.stop()


def test_a_drill_checks_a_database_whose_event_trigger_refuses_ddl(
    instance: t.Callable[..., Instance], cluster: Cluster
) -> None:
    cluster.sql("create database guarded", "postgres")
    cluster.sql(
        "create table kept as select 1 as one; create function refuse() returns event_trigger language plpgsql"
        " as $$begin raise 'no DDL here'; end$$;"
        " create event trigger no_ddl on ddl_command_start execute function refuse()",
        "guarded",
    )
    made = instance("guarded", "guarded")
    made.good("backup")
    assert made.good("drill")["drill"]["level"] == 5
    dropped(cluster, "guarded")
