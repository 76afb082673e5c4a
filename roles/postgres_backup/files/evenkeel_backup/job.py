# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The context of a run: configuration, state, server, folders and hooks of an instance."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenkeel_backup import command, destroy, safepath, unfinished, where
from evenkeel_backup.config import Config, Repository
from evenkeel_backup.database import DATABASES, ROLES, Server
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.state import State
from evenkeel_backup.target import Live

# Temporary secrets carry the id of their process.
SECRET = re.compile(r"\.(key|pgpass)-(.+-)?(?P<pid>\d+)(\.conf)?")


@dataclass
class Job:
    """The context of a verb."""

    config: Config
    state: State
    where: where.Where
    actions: list[str]

    @classmethod
    def of(cls, config: Config) -> Job:
        """Return the job of an instance."""
        return cls(config, State(config.state_dir), where.of(config), [])

    @property
    def host(self) -> str:
        """Return the name of this host."""
        return socket.gethostname()

    @property
    def cache(self) -> Path:
        """Return restic's cache folder."""
        return self.config.state_dir / "cache"

    def folders(self) -> None:
        """Create the folders of state and work."""
        for folder in (self.config.state_dir, self.config.state_dir / "backups", self.config.state_dir / "reports"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        parent = self.config.work_dir.parent
        if not parent.exists():
            parent.mkdir(parents=True)
            # The server's user needs to pass through to its own folder.
            parent.chmod(0o711)
        # Root's own, so that the server's user cannot plant links in it; folders for that user are made below.
        safepath.make(self.config.work_dir, 0o700 if self.where.uid == os.geteuid() else 0o711)

    def remove_leftovers(self) -> None:
        """Remove leftovers of killed runs; the lock ensures that no other run is active."""
        for argv in self.where.leftovers():
            self.actions.append(f"ended container {argv[-1]}, left by a run that did not end")
            command.run(argv, seconds=120)
        for path in self.config.work_dir.glob("*"):
            if (
                path.name.endswith(".partial")
                or path.name.startswith(("drill-", "s-", "c-", "part-"))
                or ((match := SECRET.fullmatch(path.name)) is not None and not Path("/proc", match["pid"]).exists())
                or path.name[:8].isdigit()
            ):
                self.actions.append(f"removed {path.name}, left by a run that did not end")
                remove(path)
        for own in unfinished.left(self.config.state_dir):
            if working := unfinished.working_in(own.path):
                self.actions.append(f"kept {own.path}, left by a restore that did not end: process {working} uses it")
                continue
            unfinished.abandon(self.config.state_dir, [own])
            self.actions.append(f"removed {own.path}, left by a restore that did not end")

    def remove_secrets(self) -> None:
        """Remove the temporary secrets of this run; other verbs may be running with their own."""
        for path in self.config.work_dir.glob(".*"):
            match = SECRET.fullmatch(path.name)
            if match is not None and match["pid"] == str(os.getpid()):
                remove(path)

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """Connect to the live server; its password is in a temporary file that its user can read."""
        options = self.config.server
        password = ""
        copy = self.config.work_dir / f".pgpass-{os.getpid()}"
        try:
            if options["password_file"]:
                password = str(self.where.secret(Path(options["password_file"]), copy))
            yield Server(
                self.where, options["host"], options["port"], options["user"], options["maintenance_database"], password
            )
        finally:
            copy.unlink(missing_ok=True)

    def live(self) -> Live:
        """Return the live databases and connection settings, for the check of restore targets."""
        databases: frozenset[str] = frozenset()
        # Folders can be compared without the server. Names cannot, and then no name is free.
        if self.config.engine == "logical":
            with self.server() as server:
                databases = frozenset(server.ask("select coalesce(json_agg(datname), '[]') from pg_database"))
        options = self.config.server
        return Live(databases, options["data_dir"], str(options["host"]), options["port"])

    def hook(self, name: str) -> None:
        """Run the commands of a hook, in order."""
        for argv in self.config["hooks"][name]:
            # It ends with the run: the run that settles a killed one must not meet its hooks.
            ending = ["setpriv", "--pdeathsig=TERM", "--", *argv]
            done = command.run(ending, seconds=self.config["hook_timeout_seconds"])
            if done.code != 0:
                raise BackupFailure(
                    "hook_failed",
                    f"the hook {name} failed",
                    self.config.instance,
                    f"{argv[0]} ending with code {done.code}: {done.tail}",
                    "code 0",
                    f"Run it by hand, or change hooks.{name}",
                    "hooks",
                )
            self.actions.append(f"ran hook {name}: {argv[0]}")

    def databases(self, server: Server) -> list[str]:
        """Return the databases to back up; refuse missing ones."""
        present = list(server.ask(DATABASES))
        wanted = list(self.config["databases"]) or present
        absent = sorted(set(wanted) - set(present))
        if absent:
            raise BackupFailure(
                "empty_database",
                "a database is missing",
                self.config.instance,
                f"no {', '.join(absent)}",
                "every database that the option names",
                "Restore the database, or change databases",
                "server",
            )
        return wanted

    def roles(self, server: Server) -> list[str]:
        """Return the roles of the server."""
        return list(server.ask(ROLES))


remove = destroy.remove


def key_copy(job: Job, key: bytes | None, repository: Repository) -> Path:
    """Return the configured key file, or a temporary one with the external copy, for `remove_leftovers` to remove."""
    if key is None:
        return repository.key_file
    path = job.config.work_dir / f".key-{repository.name}-{os.getpid()}"
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(key)
    return path


def parse(moment: str) -> datetime:
    """Parse a time of state or manifest."""
    return datetime.fromisoformat(moment).astimezone(UTC)


def host_entry(job: Job, entry: dict[str, Any]) -> dict[str, Any]:
    """Return a report's entry with the data of this host."""
    return {"host": job.host, "kernel": os.uname().release, **entry}
