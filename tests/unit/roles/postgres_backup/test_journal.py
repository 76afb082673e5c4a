# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An in-place restore that ends before or after any of its steps is finished or undone by the next run."""

from __future__ import annotations

import json
import os
import re
import shutil
import typing as t
from collections.abc import Callable
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from evenkeel_backup import (
    buckets,
    cli,
    config,
    destroy,
    disk,
    exchange,
    identity,
    journal,
    lock,
    metrics,
    owned,
    restore_role,
    settle,
    snapshots,
    status,
    swap,
    target,
)
from evenkeel_backup.beside import Beside
from evenkeel_backup.destroy import OwnDatabase
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.outcome import FAILED, MANUAL_WORK, OK, ROLLED_BACK, UNPROVEN, Outcome
from evenkeel_backup.state import State

FORMER, RESTORED = {"1": b"former", "2": b"former"}, {"1": b"restored", "3": b"restored"}
MADE: dict[str, t.Any] = {
    "id": "b7", "sequence": 7, "buckets": {"uploads": "/mirror"}, "databases": [{"name": "shop"}],
}  # fmt: skip


class Killed(BaseException):
    """The process ended here; nothing of it runs any more."""


class Fuse:
    """Ends the process at one of the moments before and after each effect."""

    def __init__(self) -> None:
        self.left, self.passed = -1, 0

    def light(self, moments: int) -> None:
        self.left, self.passed = moments, 0

    def tick(self) -> None:
        self.passed += 1
        if self.left == 0:
            raise Killed
        self.left -= 1

    @contextmanager
    def around(self) -> t.Iterator[None]:
        self.tick()
        yield
        self.tick()


class World:
    """What outlives a process: server, bucket, app, disk."""

    def __init__(self, folder: Path, kind: str, app_refuses: str = "") -> None:
        self.folder, self.kind, self.app_refuses = folder, kind, app_refuses
        self.fuse = Fuse()
        self.app_up = self.server_up = True
        self.databases = {"postgres": 5, "shop": 100}
        # What the state folder knows of databases that are not finished.
        self.records: list[dict[str, t.Any]] = []
        self.live, self.restoring = folder / "pg" / "data", folder / "pg" / "data.restored-7"
        self.live.mkdir(parents=True)
        (self.live / "is").write_text("former")
        self.bucket = dict(FORMER)
        self.mirror = folder / "mirror"
        self.mirror.mkdir()
        for name, content in FORMER.items():
            (self.mirror / name).write_bytes(content)
        engine = {"databases": "logical", "folders": "physical", "bucket": "files"}[kind]
        more: dict[str, t.Any] = {"server": {"data_dir": str(self.live)}}
        if kind == "bucket":
            more = {"buckets": [{"name": "uploads", "location": "s3:https://store.lab/uploads"}]}
        key = folder / "key"
        key.write_text("key")
        self.config = config.complete(
            {
                "instance": "shop",
                "engine": engine,
                "repositories": [{"name": "local", "location": "/srv", "key_file": str(key)}],
                "state_dir": str(folder / "state"),
                "work_dir": str(folder / "work"),
                "lock_file": str(folder / "lock"),
                "metrics_file": str(folder / "shop.prom"),
                **more,
            }
        )

    def data(self) -> object:
        """Return what the app would meet."""
        if self.kind == "databases":
            return {100: "former"}.get(self.databases.get("shop", 0), "restored" if "shop" in self.databases else "")
        if self.kind == "folders":
            return (self.live / "is").read_text() if (self.live / "is").exists() else ""
        return {str(FORMER): "former", str(RESTORED): "restored"}.get(str(dict(sorted(self.bucket.items()))), "mixed")

    def unfinished(self) -> float:
        text = self.config.metrics_file.read_text()
        return float(re.findall(r"(?m)^evenkeel_backup_exchange_unfinished\{.*\} (\d)", text)[0])


class Server:
    """The statements that an exchange sends."""

    def __init__(self, world: World) -> None:
        self.world = world

    database = "postgres"

    def at(self, _database: str) -> Server:
        return self

    def ask(self, _sql: str, seconds: float = 0) -> t.Any:
        self._up()
        return 0

    def run(self, sql: str, seconds: float = 0) -> str:
        self._up()
        return "f" if "pg_is_in_recovery" in sql else ""

    def _up(self) -> None:
        if not self.world.server_up:
            raise BackupFailure("server_unreachable", "x", "y", "z", "a", "b")


SCRATCH = "evenkeel_restore_0123456789abcdef"
COPY = OwnDatabase(200, SCRATCH, "mark")


class Owned:
    """What owned.py does on a server, on the databases of a world."""

    def __init__(self, world_now: Callable[[], World]) -> None:
        self.world_now = world_now

    @property
    def here(self) -> dict[str, int]:
        return self.world_now().databases

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("oid_of", "named_by", "exchange", "exchange_back", "finish_exchange", "settle"):
            monkeypatch.setattr(owned, name, getattr(self, name))
        monkeypatch.setattr(owned.Records, "of", lambda _job: SimpleNamespace(all=lambda: self.world_now().records))
        monkeypatch.setattr(destroy, "end_sessions", lambda *_words: None)
        monkeypatch.setattr(restore_role, "administrator", lambda job: job.server())

    def oid_of(self, _server: Server, name: str) -> int:
        return self.here.get(name, 0)

    def named_by(self, _server: Server, oid: int) -> str:
        return next((name for name, found in self.here.items() if found == oid), "")

    def rename(self, *names: tuple[str, str]) -> None:
        with self.world_now().fuse.around():
            for old, new in names:
                assert new not in self.here
                self.here[new] = self.here.pop(old)

    def exchange(self, _server: Server, own: OwnDatabase, _live: int, names: tuple[str, str], _entry: object) -> None:
        self.rename(names, (own.name, names[0]))

    def exchange_back(self, _server: Server, own: OwnDatabase, _live: int, names: tuple[str, str]) -> None:
        self.rename((names[0], own.name), (names[1], names[0]))

    def finish_exchange(self, *_words: object) -> None:
        with self.world_now().fuse.around():
            self.world_now().records.clear()

    def settle(self, _job: object) -> None:
        with self.world_now().fuse.around():
            self.here.pop(SCRATCH, None)
            self.world_now().records.clear()


class FakeJob:
    """A process of the program."""

    def __init__(self, world: World) -> None:
        self.world, self.config, self.actions = world, world.config, t.cast("list[str]", [])
        self.state = State(world.config.state_dir)
        self.host = "data1"
        self.where = SimpleNamespace(own=lambda path, *_mode: path.mkdir(parents=True, exist_ok=True))

    @contextmanager
    def server(self) -> t.Iterator[Server]:
        yield Server(self.world)

    def live(self) -> t.Any:
        return target.Live(frozenset(self.world.databases), str(self.world.live), "/run", 5432)

    def remove_leftovers(self) -> None:
        shutil.rmtree(self.world.config.work_dir, ignore_errors=True)

    def hook(self, name: str) -> None:
        world = self.world
        with world.fuse.around():
            if name == "start_app":
                if world.app_refuses == world.data():
                    raise BackupFailure("hook_failed", "x", "y", "z", "a", "b")
                assert world.kind != "folders" or world.server_up, "the app was started without its server"
                world.app_up = True
            elif name == "stop_app":
                world.app_up = False
            elif name == "start_server":
                assert world.live.exists(), "the server was started without data"
                world.server_up = True
            elif name == "stop_server":
                world.server_up = False


def job_of(world: World) -> Job:
    return t.cast("Job", FakeJob(world))


class Store:
    """A bucket that is replaced object by object."""

    world: World

    def __init__(self, *_options: object) -> None:
        pass

    def push(self, folder: Path) -> str:
        here, wanted = self.world.bucket, {path.name: path.read_bytes() for path in folder.iterdir()}
        for name in [name for name in here if name not in wanted]:
            self.world.fuse.tick()
            del here[name]
        for name, content in wanted.items():
            self.world.fuse.tick()
            here[name] = content
        self.world.fuse.tick()
        return "all"


@pytest.fixture
def world_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    numbers = count()
    held: list[World] = []

    def fused(original: t.Any) -> t.Any:
        def call(*words: t.Any, **more: t.Any) -> t.Any:
            with held[-1].fuse.around():
                return original(*words, **more)

        return call

    def rename(path: Path, to: Path) -> Path:
        if path.parent == held[-1].live.parent:
            assert not held[-1].server_up, "data of a running server was moved"
        with held[-1].fuse.around():
            shutil.move(path, to)
        return to

    def safety(job: Job, _outcome: Outcome) -> dict[str, t.Any]:
        mirror = held[-1].mirror
        files = {str(path): {"bytes": 6, "sha256": disk.sha256(path)} for path in mirror.iterdir()}
        made = {
            "id": "safe", "sequence": 8, "files": files, "proofs": [], "bytes": 1,
            "copies": [{"repository": "local", "snapshot": "s8", "needs": []}],
            "buckets": {"uploads": str(mirror)}, "started_at": "2026-01-01T00:00:00+00:00",
            "finished_at": "2026-01-01T00:00:00+00:00", "keep": True, "reason": "safety", "server": {},
        }  # fmt: skip
        job.state.keep(made)
        return made

    def logical(job: Job, *_words: object, **_more: object) -> Beside:
        world = held[-1]
        world.fuse.tick()
        world.records.append({"name": SCRATCH, "comment": ""})
        world.databases[SCRATCH] = COPY.oid
        world.fuse.tick()
        return Beside("b7", SCRATCH, "rows", copy=COPY)

    def physical(job: Job, *_words: object, **_more: object) -> Beside:
        world = held[-1]
        world.fuse.tick()
        (world.restoring / "data").mkdir(parents=True)
        (world.restoring / "data" / "is").write_text("restored")
        (world.restoring / "server.log").touch()
        world.fuse.tick()
        return Beside("b7", "there", "rows")

    def files(job: Job, _engine: object, _made: object, _repository: object, folder: Path, _key: object) -> Beside:
        (folder / "mirror").mkdir(parents=True)
        for name, content in RESTORED.items():
            (folder / "mirror" / name).write_bytes(content)
        return Beside("b7", "there", "files")

    monkeypatch.setattr(exchange, "_safety", safety)
    monkeypatch.setattr(exchange, "logical_beside", logical)
    monkeypatch.setattr(exchange, "physical_beside", physical)
    monkeypatch.setattr(exchange, "files_beside", files)
    monkeypatch.setattr(buckets, "ObjectStore", Store)
    Owned(lambda: held[-1]).patch(monkeypatch)
    monkeypatch.setattr(identity, "check", lambda *_words, **_more: False)
    monkeypatch.setattr(swap, "START_SECONDS", 0)
    # Thousands of runs; that a file is flushed, the kernel would have to forget to show.
    monkeypatch.setattr(os, "fsync", lambda _handle: None)
    monkeypatch.setattr(journal.Journal, "step", fused(journal.Journal.step))
    monkeypatch.setattr(journal.Journal, "close", fused(journal.Journal.close))
    monkeypatch.setattr("evenkeel_backup.swap.remove", fused(destroy.remove))

    def make(kind: str, app_refuses: str = "") -> World:
        held.append(World(tmp_path / str(next(numbers)), kind, app_refuses))
        Store.world = held[-1]
        # Only the renames of an exchange are steps; those of the journal's own writing have theirs.
        monkeypatch.setattr(swap.DataFolder, "move", staticmethod(rename))
        return held[-1]

    return make


def restore_by(job: Job, outcome: Outcome, world: World) -> None:
    nothing: t.Any = None
    repository = world.config.repositories[0]
    if world.kind == "databases":
        exchange.databases(job, outcome, MADE, repository, "shop", None)
    elif world.kind == "folders":
        exchange.folders(job, nothing, outcome, MADE, repository, nothing, world.restoring, None, True)
    else:
        exchange.bucket(job, nothing, outcome, MADE, repository, world.config.buckets[0], None)


def restore(world: World) -> Outcome:
    outcome = Outcome("restore", "shop")
    restore_by(job_of(world), outcome, world)
    return outcome


def settled(world: World) -> Outcome:
    outcome = Outcome("settle", "shop")
    assert settle.run(job_of(world), outcome) is (outcome.exit != MANUAL_WORK)
    return outcome


def died(world: World, act: Callable[[World], Outcome], moments: int) -> bool:
    """Run until the fuse burns through; return whether it did."""
    world.fuse.light(moments)
    try:
        act(world)
    except Killed:
        return True
    finally:
        world.fuse.left = -1
    return False


def well(world: World, data: str) -> None:
    assert world.app_up
    assert world.server_up
    assert world.data() == data
    assert world.unfinished() == 0
    assert not journal.path_of(world.config.state_dir).exists()
    assert set(world.databases) - {"shop_before_7"} == {"postgres", "shop"}
    assert not world.restoring.exists()
    assert ("shop_before_7" in world.databases) is (world.kind == "databases" and data == "restored")
    assert world.live.with_name("data.before-7").exists() is (world.kind == "folders" and data == "restored")


KINDS = ("databases", "folders", "bucket")


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchange_that_nothing_interrupts_leaves_no_journal(kind: str, world_of: Callable[..., World]) -> None:
    world = world_of(kind)
    outcome = restore(world)
    assert outcome.exit == OK, [failure.sentence for failure in outcome.failures]
    well(world, "restored")


@pytest.mark.parametrize("reboot", [False, True], ids=["killed", "rebooted"])
@pytest.mark.parametrize("refuses", ["", "restored"], ids=["app starts", "app refuses the restored data"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_that_ends_at_any_moment_is_settled_by_the_next_run(
    kind: str, refuses: str, reboot: bool, world_of: Callable[..., World]
) -> None:
    results: set[object] = set()
    for first in count():
        # The run that settles may end at any moment, too; a third of the pairs is seen, to save time.
        for second in [1000] if reboot else count(first % 3, 3):
            world = world_of(kind, refuses)
            if not died(world, restore, first):
                assert first > 10, "no step was interrupted"
                assert results == ({"former"} if refuses else {"former", "restored"})
                return
            down = not (world.app_up and world.server_up) or world.data() not in {"former", "restored"}
            if down:
                assert journal.path_of(world.config.state_dir).exists(), "the app is down and nothing says so"
                assert world.unfinished() == 1, "the app is down without an alert"
            if reboot:
                world.server_up = world.live.exists()
            again = died(world, settled, second)
            outcome = settled(world)
            assert outcome.exit == OK
            assert world.data() in {"former", "restored"}
            # As each verb does at its end.
            metrics.write(job_of(world))
            well(world, str(world.data()))
            results.add(world.data())
            if not again:
                break


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_interrupted_is_said_with_its_step(kind: str, world_of: Callable[..., World]) -> None:
    world = world_of(kind)
    assert died(world, restore, 3)
    outcome = settled(world)
    assert outcome.more["settled"]["result"] == "undone"
    assert outcome.more["settled"]["backup"] == "b7"
    assert outcome.changed


@pytest.mark.parametrize("kind", KINDS)
def test_an_app_that_never_starts_keeps_the_journal_and_the_alert(kind: str, world_of: Callable[..., World]) -> None:
    world = world_of(kind, "former")
    broken = BackupFailure("hook_failed", "the app", "shop", "code 1", "code 0", "Look")
    job = t.cast("t.Any", job_of(world))
    hook = job.hook

    def refusing(name: str) -> None:
        if name == "start_app":
            raise broken
        hook(name)

    job.hook = refusing
    outcome = Outcome("restore", "shop")
    restore_by(job, outcome, world)
    assert outcome.exit == MANUAL_WORK
    assert "evenkeel-backup settle shop" in outcome.failures[-1].sentence
    assert world.data() == "former"
    assert world.unfinished() == 1
    assert settled(world).exit == MANUAL_WORK
    world.app_refuses = ""
    assert settled(world).exit == OK
    well(world, "former")


def test_a_failure_before_the_swap_is_no_rollback(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_words: object, **_more: object) -> Beside:
        raise BackupFailure("content_mismatch", "x", "y", "a", "b", "c")

    for kind, name in (("databases", "logical_beside"), ("folders", "physical_beside")):
        monkeypatch.setattr(exchange, name, fails)
        world = world_of(kind)
        outcome = restore(world)
        assert (outcome.exit, [one.fault for one in outcome.failures]) == (FAILED, ["content_mismatch"])
        well(world, "former")


def test_a_failure_after_the_swap_is_a_rollback(world_of: Callable[..., World]) -> None:
    for kind in KINDS:
        world = world_of(kind, "restored")
        assert restore(world).exit == ROLLED_BACK
        well(world, "former")


def test_a_former_database_that_is_gone_is_not_guessed(world_of: Callable[..., World]) -> None:
    world = world_of("databases")
    assert died(world, restore, 3)
    world.databases["shop"] = 101
    outcome = settled(world)
    assert outcome.exit == MANUAL_WORK
    assert "oid 100" in outcome.failures[0].sentence
    assert journal.path_of(world.config.state_dir).exists()


def test_a_third_data_folder_is_not_guessed(world_of: Callable[..., World]) -> None:
    world = world_of("folders")
    restored = count()
    while died(world, restore, next(restored)) and not world.live.with_name("data.before-7").exists():
        world = world_of("folders")
    world.live.mkdir(exist_ok=True)
    outcome = settled(world)
    assert outcome.exit == MANUAL_WORK
    assert "data.before-7" in outcome.failures[0].sentence


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2, "kind": "databases", "step": "back"}'])
def test_a_journal_that_cannot_be_read_is_told_and_kept(text: str, world_of: Callable[..., World]) -> None:
    world = world_of("databases")
    path = journal.path_of(world.config.state_dir)
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BackupFailure) as caught:
        settled(world)
    assert caught.value.fault == "exchange_unfinished"
    assert path.read_text() == text
    metrics.write(job_of(world))
    assert world.unfinished() == 1


def test_a_mirror_that_changed_since_is_not_what_goes_back(
    world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of("bucket")
    restored = count()
    while died(world, restore, next(restored)) and world.data() != "mixed":
        world = world_of("bucket")
    (world.mirror / "1").write_bytes(b"another")

    def fetch(_job: object, safety: dict, _repository: object, _key: object, folder: Path) -> None:
        assert safety["id"] == "safe"
        root = folder / str(world.mirror).lstrip("/")
        root.mkdir(parents=True)
        for name, content in FORMER.items():
            (root / name).write_bytes(content)

    monkeypatch.setattr(snapshots, "fetch", fetch)
    assert settled(world).exit == OK
    well(world, "former")


def test_status_names_the_next_command_unless_a_run_works_on_it(world_of: Callable[..., World]) -> None:
    world = world_of("databases")
    assert died(world, restore, 4)
    outcome = Outcome("status", "shop")
    status.run(job_of(world), outcome)
    assert outcome.exit == UNPROVEN
    said = [failure for failure in outcome.failures if failure.fault == "exchange_unfinished"]
    assert "Run 'evenkeel-backup settle shop'" in said[0].sentence
    assert outcome.more["status"]["exchange"]["running"] is False
    with lock.held(world.config.lock_file, "shop"):
        busy = Outcome("status", "shop")
        status.run(job_of(world), busy)
    assert busy.more["status"]["exchange"]["running"] is True
    assert not [failure for failure in busy.failures if failure.fault == "exchange_unfinished"]


def test_every_run_but_a_look_settles_first(world_of: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_of("databases")
    assert died(world, restore, 4)
    configs = world.folder / "etc"
    configs.mkdir()
    (configs / "shop.json").write_text(json.dumps({"schema": 1}))
    monkeypatch.setattr(config, "load", lambda *_words: world.config)
    monkeypatch.setattr(Job, "of", lambda _config: job_of(world))
    monkeypatch.setattr(FakeJob, "folders", lambda _self: None, raising=False)
    monkeypatch.setattr(FakeJob, "remove_secrets", lambda _self: None, raising=False)
    options = cli.parser().parse_args(["retain", "shop", "--plan"])
    outcome = Outcome("retain", "shop")
    job = job_of(world)
    cli.act(job, outcome, options)
    assert journal.path_of(world.config.state_dir).exists()
    assert "stopped at step" in job.actions[0]
    cli.act(job_of(world), Outcome("settle", "shop"), cli.parser().parse_args(["settle", "shop"]))
    assert not journal.path_of(world.config.state_dir).exists()
    well(world, "former")


@pytest.mark.parametrize(
    ("tablespaces", "link", "said"),
    [(["fast", "slow"], False, "the tablespaces fast, slow"), ([], True, "a symbolic link"), ([], False, "")],
)
def test_a_data_folder_that_cannot_be_renamed_is_refused(
    tablespaces: list[str], link: bool, said: str, tmp_path: Path
) -> None:
    live = tmp_path / "data"
    if link:
        live.symlink_to(tmp_path / "elsewhere")
    else:
        live.mkdir()
    if not said:
        exchange.refuse_fixed(live, tablespaces, "shop")
        return
    with pytest.raises(BackupFailure, match=said) as caught:
        exchange.refuse_fixed(live, tablespaces, "shop")
    assert caught.value.fault == "target_live"
