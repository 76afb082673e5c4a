# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of an in-place restore on a real server: the next run finishes or undoes it, and until then it is told."""

from __future__ import annotations

import json
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
    archiving,
    as_server,
    logical,
    missing,
    physical,
    scratch,
)

REASON = missing("restic", "pgbackrest")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


class App:
    """An app with hooks that take their time, so that a kill meets them; *down* is whether it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "app"
        self.file.write_text("up")

    def hooks(self) -> dict[str, list[list[str]]]:
        return {
            f"{name}_app": [["sh", "-c", f"echo {state} >{self.file}; sleep 0.3"]]
            for name, state in (("stop", "down"), ("start", "up"))
        }

    @property
    def down(self) -> bool:
        return self.file.read_text().strip() == "down"


def killed_at(instance: Instance, step: str, delay: float, *words: str) -> None:
    """Start a restore, and end it with SIGKILL some seconds after it recorded a step."""
    argv = [sys.executable, str(RUNNER), "restore", instance.name, "--config-dir", str(instance.configs)]
    run = subprocess.Popen(
        [*argv, "--mode", "in_place", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    journal = Path(instance.options["state_dir"]) / "exchange.json"
    deadline = time.monotonic() + 150
    while True:
        try:
            if json.loads(journal.read_text())["step"] == step:
                break
        except FileNotFoundError:
            pass
        assert run.poll() is None, f"it ended before {step}"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(delay)
    assert run.poll() is None, f"it ended within {delay} s of {step}"
    run.kill()
    run.wait()


def told(instance: Instance) -> None:
    """Until it is settled, the alert is on and status names the next command."""
    figure = next(value for name, value in instance.metrics().items() if "exchange_unfinished" in name)
    assert figure == 1
    code, document = instance.run("status")
    assert code == 3
    said = [one["sentence"] for one in document["failures"] if one["fault"] == "exchange_unfinished"]
    assert f"Run 'evenkeel-backup settle {instance.name}'" in said[0]


def at_rest(instance: Instance) -> None:
    assert not (Path(instance.options["state_dir"]) / "exchange.json").exists()
    assert next(value for name, value in instance.metrics().items() if "exchange_unfinished" in name) == 0
    assert not [one for one in instance.run("status")[1]["failures"] if one["fault"] == "exchange_unfinished"]
    left = [path.name for path in Path(instance.options["work_dir"]).iterdir()]
    assert not left
    named = (instance.options["work_dir"].encode(), b".restored-")
    here = [_content(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [text for text in here if str(instance.folder).encode() in text and any(one in text for one in named)]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def shop(folder: Path) -> t.Iterator[tuple[Instance, Cluster, App]]:
    cluster = Cluster(folder)
    cluster.sql("create database shop", "postgres")
    cluster.sql(
        "create table orders as select i as id, repeat(md5(i::text), 20) as note from generate_series(1, 20000) i"
    )
    app = App(folder)
    made = logical(folder, "shop", cluster, databases=["shop"], hooks=app.hooks()).ready()
    made.good("backup")
    cluster.sql("insert into orders values (0, 'only live')")
    yield made, cluster, app
    cluster.stop()


@pytest.mark.parametrize(
    ("step", "delay", "result"),
    [
        pytest.param("stop_app", 0.0, "undone", id="before the app is stopped"),
        pytest.param("stop_app", 0.2, "undone", id="while the app is stopped"),
        pytest.param("restore", 0.0, "undone", id="before the copy is made"),
        pytest.param("restore", 1.5, "undone", id="while the copy is made"),
        pytest.param("exchange", 0.0, "", id="at the swap, by what the server committed"),
        pytest.param("start_app", 0.1, "finished", id="while the app is started"),
    ],
)
def test_a_killed_restore_of_a_database_is_settled(
    shop: tuple[Instance, Cluster, App], step: str, delay: float, result: str
) -> None:
    made, cluster, app = shop
    first = made.run("status")[1]["status"]["backups"][0]["id"]
    killed_at(made, step, delay, "--confirm", "shop", "--backup", first)
    if app.down or delay:
        told(made)
    document = made.good("settle")
    assert document["settled"]["step"] == step
    assert document["settled"]["result"] in {result or "finished", result or "undone"}
    assert document["settled"]["backup"] == first
    assert not app.down
    at_rest(made)
    names = set(
        cluster.sql("select string_agg(datname, ' ') from pg_database where not datistemplate", "postgres").split()
    )
    finished = document["settled"]["result"] == "finished"
    assert names == {"postgres", "shop", *(["shop_before_1"] if finished else [])}
    assert cluster.sql("select count(*) from orders") == ("20000" if finished else "20001")
    if finished:
        cluster.sql("drop database shop", "postgres")
        cluster.sql("alter database shop_before_1 rename to shop", "postgres")


def test_a_second_restore_settles_the_first(shop: tuple[Instance, Cluster, App]) -> None:
    made, cluster, app = shop
    first = made.run("status")[1]["status"]["backups"][0]["id"]
    words = ("--confirm", "shop", "--backup", first)
    killed_at(made, "restore", 0.5, *words)
    assert app.down
    plan = made.good("restore", "--mode", "in_place", *words, "--plan")["plan"]["steps"]
    assert "stopped at step restore" in plan[0]
    assert app.down
    document = made.good("restore", "--mode", "in_place", *words)
    assert document["settled"]["result"] == "undone"
    assert not app.down
    at_rest(made)
    assert cluster.sql("select count(*) from orders") == "20000"
    assert cluster.sql("select count(*) from orders", document["restored"]["before"]) == "20001"
    cluster.sql("drop database shop", "postgres")
    cluster.sql(f"alter database {document['restored']['before']} rename to shop", "postgres")


def test_a_backup_settles_a_restore_whose_app_does_not_take_the_restored_data(
    shop: tuple[Instance, Cluster, App],
) -> None:
    made, cluster, app = shop
    first = made.run("status")[1]["status"]["backups"][0]["id"]
    killed_at(made, "start_app", 0.1, "--confirm", "shop", "--backup", first)
    asked = " ".join(cluster.client("psql", "-XAtq", "-d", "shop", "-c", "'select count(*) from orders where id = 0'"))
    picky = f'test "$({asked})" = 1 && echo up >{app.file}'
    made.options["hooks"] = {**app.hooks(), "start_app": [["sh", "-c", picky]]}
    made.write()
    try:
        document = made.good("backup")
        assert document["settled"]["result"] == "undone"
        assert not app.down
        at_rest(made)
        assert cluster.sql("select count(*) from orders") == "20001"
    finally:
        made.options["hooks"] = app.hooks()
        made.write()


@pytest.fixture(scope="module")
def wal() -> t.Iterator[tuple[Instance, Cluster, App]]:
    with scratch() as folder:
        cluster = Cluster(folder, **archiving(folder, "wal"))
        cluster.sql("create database shop", "postgres")
        cluster.sql("create table orders as select i as id, md5(i::text) as note from generate_series(1, 20000) i")
        app = App(folder)
        pg_ctl = as_server(str(cluster.bin / "pg_ctl"), "-D", str(cluster.data), "-w")
        made = physical(
            folder,
            "wal",
            cluster,
            hooks={
                **app.hooks(),
                "stop_server": [[*pg_ctl, "stop", "-m", "fast"], ["sleep", "0.3"]],
                "start_server": [["sleep", "0.3"], [*pg_ctl, "-l", str(cluster.data / "again.log"), "start"]],
            },
        )
        try:
            made.good("prepare")
            made.good("escrow-check", "--key-file", "-", given=KEY)
            made.good("backup", "--type", "full")
            cluster.sql("insert into orders values (0, 'only live')")
            cluster.archived()
            yield made, cluster, app
        finally:
            subprocess.run([*pg_ctl, "stop", "-m", "immediate"], check=False, capture_output=True)
            if cluster.process:
                cluster.process.wait(30)


def first_of(made: Instance) -> str:
    return str(made.run("status")[1]["status"]["backups"][0]["id"])


def beside(cluster: Cluster) -> set[str]:
    return {path.name for path in cluster.data.parent.glob("live*")} - {"live", "live.log"}


@pytest.mark.parametrize(
    ("step", "delay", "result"),
    [
        pytest.param("stop_app", 0.1, "undone", id="while the app is stopped"),
        pytest.param("restore", 2.5, "undone", id="while the server recovers"),
        pytest.param("stop_server", 0.0, "undone", id="before the server is stopped"),
        pytest.param("stop_server", 0.3, "undone", id="while the server is stopped"),
        pytest.param("exchange", 0.0, "", id="between the renames, by what is on the disk"),
        pytest.param("start_server", 0.1, "finished", id="before the server is started"),
        pytest.param("start_app", 0.1, "finished", id="while the app is started"),
    ],
)
def test_a_killed_restore_of_a_server_is_settled(
    wal: tuple[Instance, Cluster, App], step: str, delay: float, result: str
) -> None:
    made, cluster, app = wal
    killed_at(made, step, delay, "--confirm", "wal", "--backup", first_of(made))
    told(made)
    document = made.good("settle")
    assert document["settled"]["step"] == step
    assert document["settled"]["result"] in {result or "finished", result or "undone"}
    finished = document["settled"]["result"] == "finished"
    assert not app.down
    at_rest(made)
    assert cluster.sql("select count(*) from orders") == ("20000" if finished else "20001")
    assert beside(cluster) == ({"live.before-1"} if finished else set())
    if finished:
        pg_ctl = as_server(str(cluster.bin / "pg_ctl"), "-D", str(cluster.data), "-w")
        subprocess.run([*pg_ctl, "stop", "-m", "fast"], check=True, capture_output=True)
        subprocess.run(["rm", "-rf", str(cluster.data)], check=True)
        (cluster.data.parent / "live.before-1").rename(cluster.data)
        subprocess.run(
            [*pg_ctl, "-l", str(cluster.data / "again.log"), "start"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert cluster.sql("select count(*) from orders") == "20001"


@pytest.mark.parametrize("existed", [False, True], ids=["new folder", "empty folder"])
def test_a_killed_restore_beside_does_not_stand_in_the_way_of_the_next(
    wal: tuple[Instance, Cluster, App], existed: bool
) -> None:
    made, _cluster, _app = wal
    into = made.folder / f"beside{existed}"
    if existed:
        into.mkdir()
    argv = [sys.executable, str(RUNNER), "restore", made.name, "--config-dir", str(made.configs), "--into", str(into)]
    run = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 150
    while not (into / "data" / "PG_VERSION").exists():
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.kill()
    run.wait()
    document = made.good("restore", "--into", str(into))
    assert [one for one in document["actions"] if f"removed {into}" in one]
    assert document["restored"]["at"] == str(into / "data")
    # A whole one is not the program's any more.
    made.good("backup")
    assert (into / "data" / "PG_VERSION").exists()


def test_a_server_that_differs_from_the_manifest_is_not_put_in_place(wal: tuple[Instance, Cluster, App]) -> None:
    made, cluster, app = wal
    first = first_of(made)
    path = Path(made.options["state_dir"]) / "backups" / f"{first}.json"
    good = path.read_text()
    changed = json.loads(good)
    shop = next(one for one in changed["databases"] if one["name"] == "shop")
    shop["rows"]["public.orders"] = 99999
    path.write_text(json.dumps(changed))
    try:
        plan = made.good("restore", "--mode", "in_place", "--confirm", "wal", "--backup", first, "--plan")
        assert "compare it with the manifest" in plan["plan"]["steps"]
        code, document = made.run("restore", "--mode", "in_place", "--confirm", "wal", "--backup", first)
    finally:
        path.write_text(good)
    assert code == 1
    assert {one["fault"] for one in document["failures"]} == {"content_mismatch"}
    assert "rows of public.orders" in document["failures"][0]["sentence"]
    assert not app.down
    at_rest(made)
    assert cluster.sql("select count(*) from orders") == "20001"
    assert beside(cluster) == set()


def test_tablespaces_are_refused_in_place_by_name(wal: tuple[Instance, Cluster, App]) -> None:
    made, cluster, app = wal
    place = made.folder / "fast"
    place.mkdir()
    subprocess.run(["chown", "postgres:postgres", str(place)], check=True)
    cluster.sql(f"create tablespace fast location '{place}'", "postgres")
    cluster.sql("create table placed tablespace fast as select 1 as one")
    made.good("backup", "--type", "full")
    app.file.write_text("up: nobody stopped it")
    code, document = made.run("restore", "--mode", "in_place", "--confirm", "wal")
    assert (code, [one["fault"] for one in document["failures"]]) == (1, ["target_live"])
    assert "the tablespaces fast" in document["failures"][0]["sentence"]
    assert app.file.read_text() == "up: nobody stopped it"
    assert beside(cluster) == set()


def test_recovery_does_not_write_to_a_live_tablespace(wal: tuple[Instance, Cluster, App]) -> None:
    """WAL that creates a tablespace names the live folder, where the live server has its files."""
    made, cluster, _app = wal
    place = made.folder / "later"
    place.mkdir()
    subprocess.run(["chown", "postgres:postgres", str(place)], check=True)
    cluster.sql(f"create tablespace later location '{place}'", "postgres")
    cluster.sql("create table late tablespace later as select i from generate_series(1, 1000) i")
    cluster.sql("select pg_create_restore_point('after')", "postgres")
    cluster.archived()
    cluster.sql("insert into late select i from generate_series(1001, 2000) i; checkpoint")
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    into = made.folder / "beside"
    code, document = made.run("restore", "--mode", "pitr", "--target-name", "after", "--into", str(into))
    assert code == 1
    assert str(place) in document["failures"][0]["sentence"]
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before
    assert cluster.sql("select count(*) from late") == "2000"
    assert not into.exists()
