# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restored server acts on nothing outside: a live publisher, a foreign server and a scheduled job stand beside it."""

from __future__ import annotations

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
    missing,
    physical,
)
from evenkeel_backup import config
from evenkeel_backup.database import Server
from evenkeel_backup.job import Job
from evenkeel_backup.scratch import Scratch, place, running

REASON = missing("pgbackrest")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


def has_cron(cluster: Cluster) -> bool:
    version = cluster.bin.parent.name
    return Path(f"/usr/share/postgresql/{version}/extension/pg_cron.control").exists()


@pytest.fixture(scope="module")
def publisher(folder: Path) -> t.Iterator[Cluster]:
    own = folder / "pub"
    own.mkdir(0o711)
    own.chmod(0o711)
    made = Cluster(own, wal_level="logical", log_connections="on", log_replication_commands="on")
    made.sql("create database shop", "postgres")
    made.sql("create table orders (id bigint primary key); create publication p for table orders")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def cluster(folder: Path, publisher: Cluster) -> t.Iterator[Cluster]:
    settings = {}
    if Path("/usr/share/postgresql/15/extension/pg_cron.control").exists():
        settings = {
            "shared_preload_libraries": "pg_cron",
            "cron.database_name": "shop",
            "cron.host": str(folder / "sock"),
        }
    made = Cluster(folder, **archiving(folder, "wal"), **settings)
    made.sql("create database shop", "postgres")
    there = f"host={publisher.socket} user=postgres dbname=shop"
    made.sql("create table orders (id bigint primary key)")
    made.sql(f"create subscription s connection '{there}' publication p")
    made.sql(
        "create extension dblink; create extension postgres_fdw;"
        f"create server away foreign data wrapper postgres_fdw options (host '{publisher.socket}', dbname 'shop');"
        "create user mapping for postgres server away options (user 'postgres');"
        "create foreign table far (id bigint) server away options (table_name 'orders')"
    )
    if settings:
        made.sql("create extension pg_cron; create table ticks (at timestamptz)")
        made.sql("select cron.schedule('* * * * *', 'insert into ticks select now()')")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def wal(folder: Path, cluster: Cluster) -> Instance:
    made = physical(folder, "wal", cluster)
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


def until(check: t.Callable[[], bool], seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.2)
    return False


def slot(publisher: Cluster) -> str:
    return publisher.sql("select confirmed_flush_lsn from pg_replication_slots where slot_name = 's'")


def connections(publisher: Cluster) -> int:
    """Count what came from elsewhere than these tests."""
    text = (publisher.folder / "live.log").read_text()
    return sum("connection authorized" in line and "application_name=psql" not in line for line in text.splitlines())


def test_a_drill_and_a_recovery_leave_the_publisher_alone(wal: Instance, cluster: Cluster, publisher: Cluster) -> None:
    publisher.sql("insert into orders select generate_series(1, 10)")
    assert until(lambda: cluster.sql("select count(*) from orders") == "10")
    assert cluster.sql("select count(*) from far") == "10"
    wal.good("backup", "--type", "full")
    # The live subscriber is away, so the slot is free for whoever comes.
    cluster.sql("alter subscription s disable")
    free = "select not active from pg_replication_slots where slot_name = 's'"
    assert until(lambda: publisher.sql(free) == "t")
    publisher.sql("insert into orders select generate_series(11, 30)")
    before, came = slot(publisher), connections(publisher)
    drilled = wal.good("drill")
    assert drilled["drill"]["level"] == 5
    into = wal.folder / "beside"
    wal.good("restore", "--into", str(into))
    assert connections(publisher) == came
    assert slot(publisher) == before
    # The control: the same data started as it is takes the rows of the live subscriber.
    control = Cluster.of(into, into / "data", cluster.bin)
    try:
        assert control.sql("select subenabled from pg_subscription") == "t"
        assert until(lambda: slot(publisher) != before), "the control took nothing, so the test shows nothing"
        assert until(lambda: control.sql("select count(*) from orders") == "30")
    finally:
        control.stop()
        shutil.rmtree(into)
    cluster.sql("alter subscription s enable")


def job_of(wal: Instance) -> Job:
    return Job.of(config.load(wal.configs, wal.name))


def refused(server: Server, sql: str) -> str:
    done = server.tool("psql", "-XAtq", "-c", sql, seconds=60)
    assert done.code != 0, done.out
    return done.err


def test_what_a_restored_server_is_asked_to_reach_is_not_there(wal: Instance, publisher: Cluster) -> None:
    """Asked by its superuser, over each way out: socket, network, program, file."""
    job = job_of(wal)
    job.folders()
    with place(job, "drill-000099", passable=True) as folder, running(Scratch(job, folder)) as scratch:
        scratch.make()
        scratch.start({})
        server = scratch.server()
        server.run("create extension dblink with schema public")
        there = f"host={publisher.socket} user=postgres dbname=shop"
        assert "No such file" in refused(server, f"select * from public.dblink('{there}', 'select 1') as x(a int)")
        said = refused(
            server, "select * from public.dblink('host=127.0.0.1 port=1 user=x dbname=x', 'select 1') as x(a int)"
        )
        assert "Network is unreachable" in said
        psql = " ".join(publisher.client("psql", "-d", "shop", "-c", "'insert into orders values (0)'"))
        # What a program says of its end goes to the server's log.
        assert "failed" in refused(server, f"copy (select 1) to program $x${psql}$x$")
        assert f'connection to server on socket "{publisher.socket}' in scratch.log.read_text()
        assert "No such file" in refused(server, f"copy (select 1) to '{publisher.data}/planted'")
        # It cannot see, and so not signal, the processes of the host, though they are of the same user.
        listed = server.run("select string_agg(name, ' ') from pg_ls_dir('/proc') name where name ~ '^[0-9]+$'").split()
        assert max(map(int, listed)) < 1000
        kill = f"copy (select 1) to program 'kill -0 {publisher.process.pid if publisher.process else 0}'"
        assert "failed" in refused(server, kill)
        assert "No such process" in scratch.log.read_text()
    assert publisher.sql("select count(*) from orders where id = 0") == "0"


WORKERS = (
    "select coalesce(string_agg(backend_type, ', '), '') from pg_stat_activity where backend_type not in"
    " ('client backend', 'checkpointer', 'background writer', 'walwriter', 'startup')"
)


def test_a_restored_server_has_no_worker_of_its_own(wal: Instance, cluster: Cluster) -> None:
    preload = cluster.sql("show shared_preload_libraries")
    assert "logical replication launcher" in cluster.sql(WORKERS)
    into = wal.folder / "workers"
    wal.good("restore", "--into", str(into))
    job = job_of(wal)
    job.where.reach(into)
    try:
        with running(Scratch(job, into, into / "data")) as scratch:
            # As in a drill: what was preloaded stays so, and what was set by ALTER SYSTEM does not count.
            with (into / "data" / "postgresql.auto.conf").open("a") as stream:
                stream.write("max_worker_processes = 20\nrecovery_end_command = 'touch /tmp/evenkeel-never'\n")
            scratch.start({**scratch.inherited(), "shared_preload_libraries": preload}, user="postgres")
            server = scratch.server("shop", user="postgres")
            assert server.run(WORKERS) == ""
            assert server.run("show shared_preload_libraries") == preload
            for name, value in {
                "archive_mode": "off", "listen_addresses": "", "max_worker_processes": "0", "recovery_end_command": "",
                "hot_standby_feedback": "off", "primary_slot_name": "",
            }.items():  # fmt: skip
                assert server.run(f"show {name}") == value, name
    finally:
        shutil.rmtree(into)


def test_a_scheduled_job_does_not_run_in_a_restored_server(wal: Instance, cluster: Cluster) -> None:
    if not has_cron(cluster):
        pytest.skip("needs the extension pg_cron: apt-get install postgresql-15-cron")
    assert until(lambda: cluster.sql("select count(*) > 0 from ticks") == "t", 130), "the control: no job ran live"
    into = wal.folder / "cron"
    wal.good("restore", "--into", str(into))
    job = job_of(wal)
    job.where.reach(into)
    try:
        with running(Scratch(job, into, into / "data")) as scratch:
            scratch.start({**scratch.inherited(), "shared_preload_libraries": "pg_cron"}, user="postgres")
            server = scratch.server("shop", user="postgres")
            assert server.run("select count(*) from cron.job where active") == "1"
            before = server.run("select count(*) from public.ticks")
            time.sleep(75)
            assert server.run("select count(*) from public.ticks") == before
            assert (
                server.run("select count(*) from cron.job_run_details where start_time > now() - interval '70 s'")
                == "0"
            )
    finally:
        shutil.rmtree(into)


def test_a_killed_run_leaves_no_server(wal: Instance) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from evenkeel_backup import config\nfrom evenkeel_backup.job import Job\n"
        "from evenkeel_backup.scratch import Scratch\n"
        "job = Job.of(config.load(Path(sys.argv[1]), 'wal'))\nfolder = job.config.work_dir / 'drill-000098'\n"
        "folder.mkdir(0o711)\nscratch = Scratch(job, folder)\nscratch.make()\nscratch.start({})\nprint('up', flush=True)\ntime.sleep(600)\n"
    )
    import evenkeel_backup

    env = {"PYTHONPATH": str(Path(evenkeel_backup.__file__).parents[1]), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    run = subprocess.Popen(
        ["/usr/bin/python3", "-c", script, str(wal.configs)], stdout=subprocess.PIPE, text=True, env=env
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "up\n"

    def here() -> bool:
        return any(
            b"drill-000098" in path.read_bytes() and b"postgres" in path.read_bytes()
            for path in Path("/proc").glob("[0-9]*/cmdline")
            if path.exists()
        )

    assert here()
    run.kill()
    run.wait()
    assert until(lambda: not here(), 20)
    shutil.rmtree(Path(wal.options["work_dir"]) / "drill-000098")
