# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database's owner and the server's user try to have the backup or the restore act for them.

What is planted calls a function that writes the acting role to the server's log. Each test has a control that shows
that the function does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
import typing as t
from pathlib import Path

import jinja2
import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import (
    KEY,
    Cluster,
    Instance,
    Shim,
    as_server,
    links,
    missing,
)

REASON = missing("restic")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")
TEMPLATES = Path(__file__).parents[3] / "roles" / "postgres_backup" / "templates"
KEEPER = "keeper"
COLUMNS = (
    "written bigint generated always as identity primary key, sequence bigint not null, token text not null,"
    " at timestamptz not null default clock_timestamp()"
)
SPY = """
create function public.spy() returns bigint language plpgsql immutable as
  $$ begin raise log 'caught % %', current_user, current_database(); return 1; end $$;
create function public.spy_trigger() returns trigger language plpgsql as
  $$ begin raise log 'caught % %', current_user, current_database(); return new; end $$;
"""
OWN = f"create schema evenkeel_backup; create table evenkeel_backup.canary ({COLUMNS});"
# What the owner of a database plants, each in a database of its own.
ATTACKS = {
    "trigger": f"{OWN} create trigger x before insert on evenkeel_backup.canary for each row execute function spy_trigger()",
    "rule": f"{OWN} create rule x as on insert to evenkeel_backup.canary do also select public.spy()",
    "view": "create schema evenkeel_backup; create view evenkeel_backup.canary as"
    " select public.spy() as written, 1::bigint as sequence, ''::text as token, now() as at",
    "default": f"{OWN} alter table evenkeel_backup.canary alter at set default now() + interval '1 s' * public.spy()",
    "generated": f"{OWN} alter table evenkeel_backup.canary add x bigint generated always as (public.spy()) stored",
    "check": f"{OWN} alter table evenkeel_backup.canary add check (public.spy() > 0)",
    "index": f"{OWN} create index on evenkeel_backup.canary ((sequence + public.spy()))",
    "policy": f"{OWN} alter table evenkeel_backup.canary enable row level security, force row level security;"
    " create policy x on evenkeel_backup.canary using (public.spy() > 0) with check (public.spy() > 0)",
    "child": f"{OWN} create table public.child () inherits (evenkeel_backup.canary);"
    " create trigger x before delete on public.child for each row execute function spy_trigger();"
    " insert into public.child (written, sequence, token) values (-9000, 1, 'x')",
    "domain": "create schema evenkeel_backup; create domain public.checked as bigint check (public.spy() > 0);"
    " create table evenkeel_backup.canary (written bigint generated always as identity primary key,"
    " sequence public.checked, token text, at timestamptz)",
    # Settings of the database.
    "path": "create function public.format(text, name, name) returns text language sql immutable"
    " as $$ select public.spy()::text $$; alter database t_path set search_path = public, pg_catalog",
    "role": "alter database t_role set role = 'shop'",
    "library": "alter database t_library set local_preload_libraries = 'nowhere'",
    "timeouts": "alter database t_timeouts set idle_in_transaction_session_timeout = '1ms';"
    " alter database t_timeouts set statement_timeout = '1ms'; alter database t_timeouts set row_security = off",
    # Objects that a plan would evaluate.
    "expression": "create function public.part(bigint) returns bigint language sql immutable"
    " as $$ select $1 * public.spy() $$; create index on items (public.part(id)) where public.part(1) > 0",
    "statistics": "create statistics x on (id + public.spy()), id from items",
}
CANARIES = ("trigger", "rule", "view", "default", "generated", "check", "index", "policy", "child", "domain")


def role_statements(user: str, **server: t.Any) -> str:
    """Return what the role runs to create the account for backups."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), trim_blocks=True, keep_trailing_newline=True
    )
    templates.filters |= {"to_json": json.dumps, "comment": lambda text, *_style, **_words: f"-- {text}"}
    item = {"engine": "logical", "server": {"user": user, "password": "x", **server}}
    return templates.get_template("database_role.sql.j2").render(
        ansible_managed="x",
        ansible_check_mode=False,
        __postgres_backup_item=item,
        __postgres_backup_password_wrong=True,
    )


def create_account(cluster: Cluster, user: str = KEEPER) -> str:
    argv = cluster.client("psql", "-XAtq", "-d", "postgres", "-f", "-")
    return subprocess.run(argv, input=role_statements(user), text=True, check=True, capture_output=True).stdout


def as_user(cluster: Cluster, user: str, sql: str, database: str) -> None:
    argv = [str(cluster.bin / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(cluster.socket), "-U", user]
    done = subprocess.run([*argv, "-d", database, "-c", sql], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def caught(cluster: Cluster, since: int = 0) -> set[tuple[str, str]]:
    """Return who ran a planted function, and in which database; but for its owner, as which autovacuum runs it."""
    text = (cluster.folder / "live.log").read_text()[since:]
    return {found for found in re.findall(r"LOG:  caught (\S+) (\S+)", text) if found[0] != "shop"}


def logged(cluster: Cluster) -> int:
    return len((cluster.folder / "live.log").read_text())


def reload(cluster: Cluster) -> None:
    cluster.sql("select pg_reload_conf()", "postgres")
    time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> t.Iterator[Cluster]:
    made = Cluster(folder, max_connections="24", superuser_reserved_connections="3")
    made.sql("create role shop login createdb; create role reader", "postgres")
    yield made
    made.stop()


def owned(cluster: Cluster, name: str, sql: str, options: str = "") -> None:
    """Create a database of the role shop with a table, and run its owner's statements in it."""
    cluster.sql(f"create database {name} owner shop template template0 {options}", "postgres")
    cluster.sql(f"grant create on database {name} to evenkeel_backup", "postgres")
    as_user(cluster, "shop", f"{SPY} create table items (id bigint, note text);", name)
    as_user(cluster, "shop", f"insert into items select i, md5(i::text) from generate_series(1, 50) i; {sql}", name)


@pytest.fixture(scope="module")
def shop(folder: Path, cluster: Cluster) -> Instance:
    assert "changed: created the role" in create_account(cluster)
    assert create_account(cluster).count("changed:") == 1  # the password
    cluster.sql("create database shop owner shop", "postgres")
    programs = links(folder, cluster)
    made = Instance(
        folder,
        "shop",
        "logical",
        where={"kind": "host", "bin_dir": str(programs), "user": "postgres"},
        server={"host": str(cluster.socket), "user": KEEPER, "admin_user": "postgres", "data_dir": str(cluster.data)},
    )
    settings = made.good("prepare")["settings"]
    assert all(one["ok"] for one in settings), settings
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


def apart(shop: Instance, name: str, *databases: str) -> Instance:
    """Return an instance of the same server, whose backups nothing else is compared with."""
    options = {**shop.options, "server": {**shop.options["server"]}, "databases": list(databases)}
    kept = {key: options[key] for key in ("where", "server", "databases")}
    made = Instance(shop.folder, name, "logical", **kept)
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


def test_the_account_reads_passwords_and_is_no_superuser(shop: Instance, cluster: Cluster) -> None:
    assert (
        cluster.sql(f"select rolsuper or rolcreaterole or rolcreatedb from pg_roles where rolname = '{KEEPER}'") == "f"
    )
    cluster.sql("alter role shop password 'known'", "postgres")
    argv = [str(cluster.bin / "pg_dumpall"), "--roles-only", "-h", str(cluster.socket), "-U", KEEPER]
    dumped = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert re.search(r"ALTER ROLE shop .* PASSWORD 'SCRAM-SHA-256", dumped)


@pytest.mark.parametrize("user", [KEEPER, "postgres"])
def test_nothing_that_a_databases_owner_planted_runs_in_a_backup(shop: Instance, cluster: Cluster, user: str) -> None:
    present = cluster.sql("select string_agg(datname, ' ') from pg_database").split()
    for name, sql in ATTACKS.items():
        if f"t_{name}" not in present:
            owned(cluster, f"t_{name}", sql)
    shop.options["server"]["user"] = user
    shop.write()
    since = logged(cluster)
    try:
        done = shop.good("backup")
    finally:
        shop.options["server"]["user"] = KEEPER
        shop.write()
    assert caught(cluster, since) == set()
    assert done["backup"]["level"] == 2
    unwritten = {one["sentence"].split(" on ")[1].split(":")[0]: one["sentence"] for one in done["warnings"]}
    assert set(unwritten) == {f"t_{name}" for name in CANARIES}
    assert "owned by shop" in unwritten["t_trigger"]
    manifest = json.loads((shop.folder / "state" / "shop" / "backups" / f"{done['backup']['id']}.json").read_text())
    rows = {entry["name"]: entry["rows"] for entry in manifest["databases"]}
    assert {name: rows[f"t_{name}"]["public.items"] for name in ATTACKS} == dict.fromkeys(ATTACKS, 50)


def test_what_was_planted_does_run_without_that_care(cluster: Cluster) -> None:
    """The control: what a backup did before."""
    since = logged(cluster)
    insert = "insert into evenkeel_backup.canary (sequence, token) values (1, 'x')"
    for name in ("trigger", "rule", "generated", "check", "index"):
        cluster.sql(insert, f"t_{name}")
    cluster.sql("select count(*) from items", "t_expression")
    cluster.sql("select format('%I.%I', relname, relname) from pg_class limit 1", "t_path")
    ran = {
        ("postgres", f"t_{name}") for name in ("trigger", "rule", "generated", "check", "index", "expression", "path")
    }
    assert ran <= caught(cluster, since)
    assert "nowhere" in subprocess.run(
        cluster.client("psql", "-d", "t_library", "-c", "select 1"), capture_output=True, text=True, check=False
    ).stderr  # fmt: skip


def test_an_event_trigger_is_not_run_by_creating_the_canary(shop: Instance, cluster: Cluster) -> None:
    """Only a superuser makes one, but its function may be another's."""
    owned(cluster, "events", "")
    cluster.sql(
        "create function public.event() returns event_trigger language plpgsql as"
        " $$ begin raise log 'caught % %', current_user, current_database(); end $$;"
        "create event trigger x on ddl_command_start execute function public.event();"
        "alter function public.event() owner to shop",
        "events",
    )
    here = apart(shop, "events", "events")
    since = logged(cluster)
    done = here.good("backup", "--reason", "events")
    assert [one["fault"] for one in done["warnings"]] == ["canary_unwritten"]
    assert "event trigger x, whose function is not a superuser's" in done["warnings"][0]["sentence"]
    assert caught(cluster, since) == set()
    # Nor is what somebody added to our own table.
    cluster.sql("alter event trigger x disable", "events")
    here.good("backup")
    cluster.sql(
        "create trigger x before insert on evenkeel_backup.canary for each row execute function spy_trigger()", "events"
    )
    done = here.good("backup")
    assert "evenkeel_backup.canary with triggers" in done["warnings"][0]["sentence"]
    assert caught(cluster, since) == set()
    cluster.sql("alter event trigger x enable", "events")
    cluster.sql("create table public.control ()", "events")
    assert caught(cluster, since) == {("postgres", "events")}


@pytest.mark.parametrize(
    ("sql", "undo", "reason"),
    [
        pytest.param(
            "alter database still set default_transaction_read_only = on",
            "alter database still reset default_transaction_read_only",
            "default_transaction_read_only on",
            id="a read-only database",
        ),
        pytest.param(
            "alter system set default_transaction_read_only = on",
            "alter system reset default_transaction_read_only",
            "default_transaction_read_only on",
            id="a read-only server",
        ),
        pytest.param(
            "create function no() returns event_trigger language plpgsql as $$ begin raise 'no DDL here'; end $$;"
            "create event trigger no on ddl_command_start execute function no()",
            "drop event trigger no; drop function no()",
            "no DDL here",
            id="an event trigger that refuses",
        ),
    ],
)
def test_a_canary_that_cannot_be_written_is_a_warning(
    shop: Instance, cluster: Cluster, sql: str, undo: str, reason: str
) -> None:
    if not cluster.sql("select 1 from pg_database where datname = 'still'", "postgres"):
        owned(cluster, "still", "")
    cluster.sql(sql, "still")
    reload(cluster)
    here = apart(shop, "still", "still")
    try:
        done = here.good("backup")
    finally:
        cluster.sql(undo, "postgres" if "alter database" in undo else "still")
        reload(cluster)
    assert [one["fault"] for one in done["warnings"]] == ["canary_unwritten"]
    assert reason in done["warnings"][0]["sentence"]


def test_what_a_restore_runs_is_no_superusers(shop: Instance, cluster: Cluster) -> None:
    """A check of the owner's runs while its rows are loaded; it tries to make its owner a superuser."""
    owned(cluster, "checked", "")
    cluster.sql("create extension pgcrypto; create schema ext; create extension pageinspect schema ext", "checked")
    as_user(
        cluster,
        "shop",
        "create function public.grab() returns boolean language plpgsql as $$ begin"
        "  raise log 'caught % %', current_user, current_database();"
        "  begin execute 'reset role; reset session authorization'; exception when others then null; end;"
        "  begin execute 'set role postgres'; exception when others then null; end;"
        "  begin execute 'alter role shop superuser'; exception when others then null; end;"
        "  return true; end $$;"
        "create table kept (id bigint primary key, check (public.grab())); insert into kept values (1), (2);"
        "grant select on kept to reader; comment on table kept is 'kept'",
        "checked",
    )
    here = apart(shop, "checked", "checked")
    assert not here.good("backup")["warnings"]
    since = logged(cluster)
    name = here.good("restore")["restored"]["at"]
    actors = {user for user, database in caught(cluster, since) if database.startswith("evenkeel_restore_")}
    assert len(actors) == 1
    assert actors.pop().startswith("evenkeel_restore_")
    assert cluster.sql("select string_agg(rolname, ' ') from pg_roles where rolsuper", "postgres") == "postgres"
    assert cluster.sql("select count(*) from pg_roles where rolname like 'evenkeel_restore_%'", "postgres") == "0"
    assert (
        cluster.sql("select pg_get_userbyid(datdba) from pg_database where datname = current_database()", name)
        == "shop"
    )
    owners = "select string_agg(relname || ' ' || pg_get_userbyid(relowner), ', ' order by relname) from pg_class"
    assert cluster.sql(f"{owners} where relname in ('kept', 'canary') and relkind = 'r'", name) == (
        "canary evenkeel_backup, kept shop"
    )
    assert cluster.sql("select has_table_privilege('reader', 'kept', 'select')", name) == "t"
    extensions = (
        "select string_agg(extname || ' ' || extnamespace::regnamespace, ', ' order by extname) from pg_extension"
    )
    assert cluster.sql(extensions, name) == "pageinspect ext, pgcrypto public, plpgsql pg_catalog"
    # The account for backups alone may not restore into the server.
    here.options["server"].pop("admin_user")
    here.write()
    try:
        assert here.faults("restore", "--as", "again") == {("target", "settings_wrong")}
    finally:
        here.options["server"]["admin_user"] = "postgres"
        here.write()


def test_several_owners_come_back(shop: Instance, cluster: Cluster) -> None:
    owned(cluster, "shared", "grant create on schema public to reader; create table theirs (id bigint)")
    cluster.sql("alter table theirs owner to reader", "shared")
    here = apart(shop, "shared", "shared")
    here.good("backup")
    name = here.good("restore")["restored"]["at"]
    assert cluster.sql("select pg_get_userbyid(relowner) from pg_class where relname = 'theirs'", name) == "reader"
    assert cluster.sql("select pg_get_userbyid(relowner) from pg_class where relname = 'items'", name) == "shop"


def test_default_privileges_come_back_and_those_of_superusers_are_named(shop: Instance, cluster: Cluster) -> None:
    owned(cluster, "later", "")
    as_user(
        cluster,
        "shop",
        "create schema s; alter default privileges grant select on tables to reader;"
        "alter default privileges in schema s grant insert, update on tables to reader with grant option;"
        "alter default privileges revoke execute on functions from public",
        "later",
    )
    cluster.sql("alter default privileges grant select on tables to shop", "later")
    here = apart(shop, "later", "later")
    here.good("backup")
    assert here.good("drill")["drill"]["level"] == 5
    restored = here.good("restore")["restored"]
    assert restored["complete"], restored["failed"]
    wanted = (
        "select string_agg(concat_ws(' ', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype, defaclacl),"
        " ', ' order by defaclnamespace, defaclobjtype) from pg_default_acl where defaclrole = 'shop'::regrole"
    )
    have = cluster.sql(wanted, restored["at"])
    assert have == cluster.sql(wanted, "later")
    assert have.count("reader=") == 2
    assert (
        cluster.sql("select count(*) from pg_default_acl where defaclrole = 'postgres'::regrole", restored["at"]) == "0"
    )
    assert (
        "later: default privileges of superusers (postgres) are not restored into a live server" in restored["left_out"]
    )


def test_what_needs_a_superuser_is_named_before_it_is_restored(shop: Instance, cluster: Cluster) -> None:
    owned(cluster, "special", "")
    cluster.sql(
        "create table kept (i int); alter table kept owner to postgres;"
        "create publication everything for all tables;"
        "create subscription far connection 'dbname=none' publication p with (connect = false, slot_name = none);"
        "create function f() returns event_trigger language plpgsql as 'begin end';"
        "create event trigger watch on ddl_command_end execute function f()",
        "special",
    )
    here = apart(shop, "special", "special")
    here.good("backup")
    found = here.good("drill")["drill"]["compared"]["left_out"]
    for text in (
        "what superusers own (public.kept) belongs to the owner of the database in a live server",
        "event triggers (watch) need a superuser, and no restore into a live server has them",
        "publications (everything) need a superuser, and no restore into a live server has them",
        "subscriptions (far) need a superuser, and no restore into a live server has them",
    ):
        assert f"special: {text}" in found


def test_large_objects_that_cannot_be_read_are_named(shop: Instance, cluster: Cluster) -> None:
    owned(cluster, "large", "select lo_from_bytea(7001, 'x'), lo_from_bytea(7002, 'y')")
    here = apart(shop, "large", "large")
    code, done = here.run("backup")
    assert code == 3
    assert [one["fault"] for one in done["failures"]] == ["large_objects_missing"]
    assert "found 2 that only shop may read" in done["failures"][0]["sentence"]
    as_user(cluster, "shop", "grant select on large object 7001, 7002 to evenkeel_backup", "large")
    here.good("backup")
    name = here.good("restore")["restored"]["at"]
    assert cluster.sql("select convert_from(lo_get(7002), 'UTF8')", name) == "y"


def test_databases_of_every_kind_are_backed_up_or_named(shop: Instance, cluster: Cluster) -> None:
    for name in cluster.sql("select string_agg(datname, ' ') from pg_database where datallowconn", "postgres").split():
        if name not in {"postgres", "template1", "shop"}:
            cluster.sql(f"drop database {name} with (force)", "postgres")
    cluster.sql("create database pattern owner shop is_template true", "postgres")
    cluster.sql("create table kept as select 1 as id", "pattern")
    owned(cluster, "closed", "")
    cluster.sql("alter database closed allow_connections false", "postgres")
    owned(cluster, "latin", "", "encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    cluster.sql("set client_encoding = 'UTF8'; create table größe as select 'ü'::text as note", "latin")
    owned(cluster, "bytes", "", "encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
    argv = cluster.client("psql", "-XAtq", "-d", "bytes", "-f", "-")
    subprocess.run(argv, input=b"create table \"gr\xf6sse\" as select E'\\xfc'::text as note;", check=True)
    owned(cluster, "unlogged", "create unlogged table fast as select generate_series(1, 7) as id")
    here = apart(shop, "kinds")
    assert [one["fault"] for one in here.good("prepare")["warnings"]] == ["database_left_out"]
    done = here.good("backup")
    assert {one["fault"] for one in done["warnings"]} == {"database_left_out"}
    assert "closed: found allow_connections false" in done["warnings"][0]["sentence"]
    drilled = here.good("drill")
    assert drilled["drill"]["level"] == 5
    names = {entry["name"] for entry in drilled["manifest"]["databases"]}
    assert {"pattern", "latin", "bytes", "unlogged", "shop", "postgres"} <= names


def test_more_relations_than_the_server_has_locks_for_are_named(shop: Instance, cluster: Cluster) -> None:
    owned(cluster, "many", "")
    cluster.sql("select set_config('x.y', '', false)", "many")
    script = "".join(f"create table t{number} ();" for number in range(4000))
    argv = cluster.client("psql", "-XAtq", "-d", "many", "-f", "-")
    subprocess.run(argv, input=script, text=True, check=True)
    here = apart(shop, "many", "many")
    code, done = here.run("backup")
    if code:
        assert {one["fault"] for one in done["failures"]} == {"too_many_relations"}
    else:
        assert done["backup"]["level"] == 2
    cluster.sql("drop database many", "postgres")


def test_a_dropped_database_is_acknowledged_once(shop: Instance, cluster: Cluster) -> None:
    owned(cluster, "old", "")
    here = apart(shop, "dropped")
    here.good("backup")
    assert here.faults("acknowledge", "--gone", "old") == {("server", "target_unknown")}
    assert here.faults("acknowledge", "--gone", "never") == {("server", "target_unknown")}
    cluster.sql("drop database old", "postgres")
    assert ("L0", "empty_database") in here.faults("backup")
    assert here.good("acknowledge", "--gone", "old")["changed"]
    assert not here.good("acknowledge", "--gone", "old")["changed"]
    assert here.good("backup")["backup"]["level"] == 2
    owned(cluster, "old", "")
    here.good("backup")
    cluster.sql("drop database old", "postgres")
    assert ("L0", "empty_database") in here.faults("backup")
    here.good("acknowledge", "--gone", "old")


def test_a_backup_fits_the_connections_that_are_left(shop: Instance, cluster: Cluster) -> None:
    here = apart(shop, "room", "shop")

    def busy(count: int) -> list[subprocess.Popen[bytes]]:
        argv = cluster.client("psql", "-X", "-d", "postgres", "-c", "select pg_sleep(100)")
        found = [subprocess.Popen(argv, stdout=subprocess.DEVNULL) for _number in range(count)]
        counted = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'"
        for _attempt in range(300):
            if cluster.sql(counted, "postgres") == str(count):
                break
        return found

    # Of 24 connections 3 are reserved for superusers.
    for count, fault in ((19, ""), (20, "too_many_connections"), (21, "too_many_connections")):
        held = busy(count)
        try:
            if fault:
                assert {one[1] for one in here.faults("backup")} == {fault}
            else:
                assert here.good("backup")["backup"]["level"] == 2
        finally:
            for one in held:
                one.kill()
                one.wait()
            cluster.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'", "postgres"
            )


def test_a_lock_that_is_held_is_named_by_its_message(cluster: Cluster) -> None:
    from evenkeel_backup.faults import fault_of

    argv = cluster.client("psql", "-X", "-d", "shop", "-f", "-")
    holder = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin
    assert holder.stdout
    try:
        cluster.sql("create table if not exists locked ()")
        holder.stdin.write("begin; lock table locked; select 'held';\n")
        holder.stdin.flush()
        while "held" not in holder.stdout.readline():
            pass
        dump = cluster.client("pg_dump", "--lock-wait-timeout=500ms", "-d", "shop")
        done = subprocess.run(dump, capture_output=True, text=True, check=False)
        assert fault_of(done.stderr) == "lock_timeout", done.stderr
        done = subprocess.run(
            cluster.client("psql", "-X", "-d", "shop", "-c", "set lock_timeout = '100ms'", "-c", "table locked"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert fault_of(done.stderr) == "lock_timeout", done.stderr
    finally:
        holder.kill()
        holder.wait()


def test_a_certificate_for_another_name_is_named(folder: Path) -> None:
    """The messages are those of the tools; the server is openssl's."""
    from ansible_collections.evenkeel.platform.benchmarks.store import free_port
    from evenkeel_backup.faults import fault_of

    key, certificate, port = folder / "tls.key", folder / "tls.pem", free_port()
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=other.lab", "-addext", "subjectAltName=DNS:other.lab"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *words, *names, *files], check=True, capture_output=True)
    argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-key", str(key), "-cert", str(certificate), "-www"]
    server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    env = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "RESTIC_PASSWORD": "z"}
    store = [f"s3:https://localhost:{port}/bucket"]
    s3 = ["--repo1-type=s3", f"--repo1-s3-endpoint=localhost:{port}", "--repo1-s3-bucket=bucket", "--repo1-s3-region=r"]
    more = ["--repo1-s3-uri-style=path", "--io-timeout=2"]
    env |= {"PGBACKREST_REPO1_S3_KEY": "x", "PGBACKREST_REPO1_S3_KEY_SECRET": "y"}
    calls = [
        ["restic", "--no-cache", "--cacert", str(certificate), "-r", *store, "cat", "config"],
        ["pgbackrest", *s3, *more, f"--repo1-storage-ca-file={certificate}", "--log-path=/tmp", "repo-ls"],
    ]
    for _attempt in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.1)
    try:
        for call in calls:
            try:
                done = subprocess.run(call, env=env, capture_output=True, text=True, check=False, timeout=25)
                text = done.stderr + done.stdout
            except subprocess.TimeoutExpired as late:
                text = (late.stderr or b"").decode()
            assert fault_of(text) == "certificate_wrong", text
    finally:
        server.kill()
        server.wait()


def test_the_servers_user_plants_links_in_vain(shop: Instance, cluster: Cluster) -> None:
    here = apart(shop, "planted", "shop")
    precious = shop.folder / "precious"
    precious.mkdir()
    (precious / "server.log").write_text("kept")
    work = Path(here.options["work_dir"])
    assert (work.stat().st_uid, work.stat().st_mode & 0o777) == (0, 0o711)
    newest = here.good("backup")["backup"]["id"]
    for name in (f"drill-{newest[-6:]}", f"s-{newest[-6:]}", f"c-{newest[-6:]}", "part-000001"):
        planted = subprocess.run(
            as_server("ln", "-s", str(precious), str(work / name)), capture_output=True, check=False
        )
        assert planted.returncode != 0
        # As a former version left it, whose work folder was the server's user's.
        (work / name).symlink_to(precious)
    assert here.good("drill")["drill"]["level"] == 5
    assert (precious / "server.log").read_text() == "kept"
    assert [path.name for path in precious.iterdir()] == ["server.log"]
    assert precious.stat().st_uid == 0


def test_links_among_the_files_of_a_dump_are_not_followed(shop: Instance, cluster: Cluster) -> None:
    here = apart(shop, "linked", "shop")
    secret = shop.folder / "secret"
    secret.write_text("of root\n")
    secret.chmod(0o600)
    script = (
        'for word; do case $word in --file=*) out=${word#--file=};; esac; done\n$real "$@" || exit\n'
        f"ln -s {secret} $out/9999.dat; ln -s {secret.parent} $out/folder; mkfifo $out/9998.dat"
    )
    with Shim(here, cluster, "pg_dump", script):
        assert here.good("backup")["backup"]["level"] == 2
    assert (secret.read_text(), secret.stat().st_uid, secret.stat().st_mode & 0o777) == ("of root\n", 0, 0o600)
    assert here.good("drill")["drill"]["level"] == 5
