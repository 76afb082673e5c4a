# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finish or undo the exchange of live and restored data: databases, a data folder, a bucket.

All of it can be repeated after an interruption at any point, because it starts from what the server or the disk
shows, not from what an earlier run intended.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evenkeel_backup import buckets, destroy, disk, owned, restore_role, snapshots, unfinished
from evenkeel_backup.database import Server, literal
from evenkeel_backup.destroy import OwnDatabase, remove
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.journal import BACK, Journal
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.scratch import place

STAGE = "restore"
START_SECONDS = 300
STOP_SECONDS = 60
ANSWER_SECONDS = 20
# Attempts to undo a swap, because an app may connect again between the end of its sessions and the swap.
ATTEMPTS = 5


class Swap(ABC):
    """One exchange; the journal holds its names and step."""

    def __init__(self, job: Job, log: Journal) -> None:
        self.job, self.log = job, log

    @property
    def noted(self) -> dict[str, Any]:
        """Return what the journal records."""
        return self.log.noted

    @property
    @abstractmethod
    def kept(self) -> str:
        """Return where the former data is."""

    @abstractmethod
    def touched(self) -> bool:
        """Return whether live data may have been changed."""

    @abstractmethod
    def exchanged(self) -> bool:
        """Return whether the restored data is complete and the former data was moved away."""

    @abstractmethod
    def finish(self) -> None:
        """Make the restored data live, and start the app."""

    @abstractmethod
    def undo(self) -> None:
        """Make the former data live, and start the app."""

    def back(self) -> None:
        """Undo the exchange; recorded first, so that the next run goes on undoing it."""
        self.log.step(BACK)
        self.undo()

    def _unclear(self, found: str, need: str) -> BackupFailure:
        return BackupFailure(
            "exchange_unfinished",
            "the interrupted restore cannot be settled",
            self.job.config.instance,
            found,
            need,
            f"Put {self.kept} back by hand, start the app, then remove {self.log.path}",
            STAGE,
        )


class Databases(Swap):
    """A database and its restored copy, which exchange their names in one transaction; known by their oids."""

    @property
    def kept(self) -> str:
        return f"database {self.noted['before']}"

    @property
    def names(self) -> tuple[str, str]:
        """Return the name of the live database, and the one that the former database gets."""
        return self.noted["database"], self.noted["before"]

    @property
    def copy(self) -> OwnDatabase | None:
        """Return the restored database, if it was whole."""
        return OwnDatabase(**self.noted["copy"]) if self.noted.get("copy") else None

    def touched(self) -> bool:
        return self.exchanged()

    def exchange(self, entry: Mapping[str, Any]) -> None:
        """Give the copy the name of the live database; refuse one that is in use."""
        if self.copy is None:
            raise AssertionError("only a whole copy is exchanged")
        with restore_role.administrator(self.job) as server:
            refuse_used(server, self.names[0])
            owned.exchange(owned.elsewhere(server, self.names[0]), self.copy, self.noted["live"], self.names, entry)

    def exchanged(self) -> bool:
        with self.job.server() as server:
            return self._exchanged(server)

    def _exchanged(self, server: Server) -> bool:
        # A transaction of the interrupted run may still be committing; a connection waits for its lock on the database.
        with contextlib.suppress(BackupFailure):
            server.at(self.names[0]).run("select 1", seconds=120)
        there, live = owned.elsewhere(server, self.names[0]), self.noted["live"]
        copy = owned.named_by(there, self.copy.oid) if self.copy else ""
        former = owned.named_by(there, live) if live else ""
        scratch = self.copy.name if self.copy else ""
        done = (self.names[0], self.names[1] if live else "")
        not_done = [(name, self.names[0] if live else "") for name in ("", scratch)]
        if (copy, former) not in [done, *not_done]:
            raise self._unclear(
                f"the former database (oid {live}) as {former or 'none'}, the restored one as {copy or 'none'}",
                f"{self.names[0]} and {scratch or 'none'}, or {self.names[1]} and {self.names[0]}",
            )
        return (copy, former) == done

    def finish(self) -> None:
        self.log.step("start_app")
        self.job.hook("start_app")
        # If this fails, its record stays, and the next run does it.
        with contextlib.suppress(BackupFailure), restore_role.administrator(self.job) as server:
            records = owned.Records.of(self.job)
            for record in records.all():
                if self.copy and record["name"] == self.copy.name:
                    there = owned.elsewhere(server, self.names[0])
                    owned.finish_exchange(there, records, self.copy, record, self.names[0])

    def undo(self) -> None:
        with restore_role.administrator(self.job) as server:
            there = owned.elsewhere(server, self.names[0])
            if self.copy is not None and self._exchanged(server):
                with contextlib.suppress(BackupFailure):
                    self.job.hook("stop_app")
                for attempt in range(ATTEMPTS):
                    destroy.end_sessions(there, self.copy.named(self.names[0]))
                    try:
                        owned.exchange_back(there, self.copy, self.noted["live"], self.names)
                        break
                    except BackupFailure:
                        if attempt == ATTEMPTS - 1:
                            raise
        owned.settle(self.job)
        self.job.hook("start_app")


def refuse_used(server: Server, database: str) -> None:
    """Refuse to rename a database that is in use."""
    many = server.ask(
        "select to_json(count(*)) from pg_stat_activity"
        f" where datname = {literal(database)} and pid <> pg_backend_pid()"
    )
    if many:
        who = server.run(
            "select string_agg(distinct coalesce(nullif(application_name, ''), usename), ', ')"
            f" from pg_stat_activity where datname = {literal(database)}"
        )
        raise BackupFailure(
            "connections_open",
            "the database is in use",
            database,
            f"{many} connections ({who})",
            "none",
            "Stop what uses it, or name that in hooks.stop_app",
            STAGE,
        )


class DataFolder(Swap):
    """The data folder of a stopped server, exchanged by two renames."""

    @property
    def live(self) -> Path:
        """Return the server's data folder."""
        return Path(self.noted["live"])

    @property
    def before(self) -> Path:
        """Return the former data after it was moved away."""
        return Path(self.noted["before"])

    @property
    def data(self) -> Path:
        """Return the restored data before it is moved to its place."""
        return Path(self.noted["folder"]) / "data"

    @property
    def kept(self) -> str:
        return str(self.before)

    def touched(self) -> bool:
        return bool(self.noted.get("stopped")) or self.before.exists()

    def exchanged(self) -> bool:
        there = (self.live.exists(), self.before.exists(), self.data.exists())
        if there in {(True, False, True), (True, False, False)}:
            return False
        if there in {(False, True, True), (True, True, False)}:
            return True
        names = {self.live: there[0], self.before: there[1], self.data: there[2]}
        found = ", ".join(str(name) for name, is_there in names.items() if is_there) or "no data folder"
        raise self._unclear(found, f"{self.live}, and at most one of the others")

    @staticmethod
    def move(source: Path, to: Path) -> None:
        """Rename a folder within its file system."""
        source.rename(to)

    def exchange(self) -> None:
        """Move the former data away and the restored data to its place; the server is stopped."""
        self.log.step("exchange")
        self.move(self.live, self.before)
        self._place()

    def _place(self) -> None:
        self.move(self.data, self.live)
        disk.fsync_folder(self.data.parent)
        disk.fsync_folder(self.live.parent)

    def finish(self) -> None:
        if self.data.exists():
            self._place()
        self.log.step("start_server")
        self._started()
        self.log.step("start_app")
        self.job.hook("start_app")
        self.tidy()

    def _started(self) -> None:
        """Start the server unless one runs already, as after a reboot, or is starting."""
        if not running_in(self.live) and not answers(self.job):
            try:
                self.job.hook("start_server")
            except BackupFailure:
                # The killed run may have started it at the same moment.
                if not running_in(self.live):
                    raise
        wait_for_answer(self.job)

    def undo(self) -> None:
        if self.before.exists():
            with contextlib.suppress(BackupFailure):
                self.job.hook("stop_server")
            self._stopped()
            if self.live.exists():
                self.move(self.live, self._failed())
            self.move(self.before, self.live)
            disk.fsync_folder(self.live.parent)
        elif self.noted.get("stopped"):
            # The stop may still be under way; a server that cannot be stopped goes on serving.
            with contextlib.suppress(BackupFailure):
                self.job.hook("stop_server")
                self._stopped()
        if self.noted.get("stopped"):
            self._started()
        self.job.hook("start_app")
        self.tidy()

    def _failed(self) -> Path:
        """Return a free name for restored data that was not accepted; it is kept."""
        name = f"{self.live.name}.failed-{self.noted['sequence']}"
        for number in range(1, 1000):
            path = self.live.with_name(name if number == 1 else f"{name}-{number}")
            if not path.exists():
                self.job.actions.append(f"kept the restored data as {path}")
                return path
        raise self._unclear(f"{name} to {name}-999", "a free name")

    def _stopped(self) -> None:
        """Wait until no server runs in the folder; data of a running one is never moved."""
        deadline = time.monotonic() + STOP_SECONDS
        while pid := running_in(self.live):
            if time.monotonic() > deadline:
                raise self._unclear(f"the server still running in {self.live} as process {pid}", "it stopped")
            time.sleep(0.2)

    def tidy(self) -> None:
        """Remove the folder of the recovery; its data is live, was kept under another name, or is not wanted."""
        # It did not exist, or was empty, before the exchange.
        folder = Path(self.noted["folder"])
        # A program of a killed run would write to the folder after it was removed.
        if working := unfinished.working_in(folder):
            raise self._unclear(f"process {working} still at work in {folder}", "it at its end")
        remove(folder)


def running_in(data: Path) -> int:
    """Return the process of the server that runs in a data folder, or 0. A stale postmaster.pid is none."""
    try:
        pid = int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        here = Path("/proc", str(pid), "cwd").resolve(strict=True)
    except (OSError, ValueError):
        return 0
    return pid if here == data.resolve() else 0


def answers(job: Job) -> bool:
    """Return whether the server takes queries and is not in recovery."""
    try:
        with job.server() as server:
            return bool(server.run("select pg_is_in_recovery()", seconds=ANSWER_SECONDS) == "f")
    except BackupFailure:
        return False


def wait_for_answer(job: Job) -> None:
    """Wait until the server takes queries."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(job):
        if time.monotonic() > deadline:
            raise BackupFailure(
                "server_unreachable",
                "the server does not answer",
                job.config.instance,
                f"no answer within {START_SECONDS} s",
                "a server that takes queries",
                "Look at the server's log",
                STAGE,
            )
        time.sleep(0.5)


class Objects(Swap):
    """The objects of a bucket, replaced one by one; the former ones are in the safety backup and its mirror."""

    @property
    def kept(self) -> str:
        return f"the objects of backup {self.noted['safety']}"

    def touched(self) -> bool:
        return bool(self.noted.get("pushing"))

    def exchanged(self) -> bool:
        # Objects were read back before this step was recorded.
        return bool(self.noted["step"] == "start_app")

    def finish(self) -> None:
        self.log.step("start_app")
        self.job.hook("start_app")

    def undo(self) -> None:
        if self.touched():
            # Parts of the app may be running already and would write to the bucket during the rollback.
            with contextlib.suppress(BackupFailure):
                self.job.hook("stop_app")
            with self._former() as objects:
                self.store().push(objects)
        self.job.hook("start_app")

    def store(self) -> buckets.ObjectStore:
        """Return the bucket."""
        for bucket in self.job.config.buckets:
            if bucket.name == self.noted["bucket"]:
                return buckets.ObjectStore(bucket, self.job.config["timeout_seconds"])
        raise self._unclear(f"no bucket {self.noted['bucket']} in the configuration", "it")

    @contextmanager
    def _former(self) -> Iterator[Path]:
        """Provide the former objects: the mirror if it is still what was backed up, else the safety backup."""
        mirror = Path(self.noted["mirror"])
        safety = next((one for one in self.job.state.backups() if one["id"] == self.noted["safety"]), None)
        if safety is None:
            raise self._unclear(f"no backup {self.noted['safety']}", "the safety backup")
        if self._same(safety, mirror):
            yield mirror
            return
        with place(self.job, f"part-{safety['sequence']:06d}") as folder:
            repository = self.job.config.repository(safety["copies"][0]["repository"])
            snapshots.fetch(self.job, safety, repository, None, folder)
            yield folder / str(mirror).lstrip("/")

    def _same(self, safety: Manifest, mirror: Path) -> bool:
        wanted = {name: entry["sha256"] for name, entry in safety["files"].items() if Path(name).is_relative_to(mirror)}
        here = {str(path): path for path in disk.files_below(mirror)} if mirror.is_dir() else {}
        return set(here) == set(wanted) and all(disk.sha256(path) == wanted[name] for name, path in here.items())


KINDS: dict[str, type[Swap]] = {"databases": Databases, "folders": DataFolder, "bucket": Objects}
