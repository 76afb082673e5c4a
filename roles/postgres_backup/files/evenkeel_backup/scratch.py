# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary server for drills, in its own folder, on a Unix socket, without network."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from evenkeel_backup import command, isolation, safepath
from evenkeel_backup.database import Server
from evenkeel_backup.destroy import remove
from evenkeel_backup.faults import BackupFailure, fault_of
from evenkeel_backup.job import Job
from evenkeel_backup.progress import say
from evenkeel_backup.where import NONE

SUPERUSER = "evenkeel_drill"
PORT = 5432
HBA = "local all all trust\n"
# Settings that a standby needs at least as high as its origin, and their names in pg_controldata.
INHERITED = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
READY_SECONDS = 60


class Scratch:
    """A temporary server."""

    def __init__(self, job: Job, folder: Path, data: Path | None = None) -> None:
        self.job, self.folder = job, folder
        self.data = data or folder / "data"
        # Short, because the path of a socket is limited to about 100 bytes.
        self.sockets = job.config.work_dir / f"s-{folder.name[-6:]}"
        # Root's files for the server, apart from all that the server's user may write.
        self.settings_dir = job.config.work_dir / f"c-{folder.name[-6:]}"
        self.log = self.settings_dir / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def tool(self, program: str, *arguments: str, seconds: float = 3600, given: str | None = None) -> command.Done:
        """Run a program next to the server, without network."""
        return command.run(self.job.where.argv(program, *arguments, network=NONE), seconds=seconds, given=given)

    def server(self, database: str = "template1", user: str = SUPERUSER) -> Server:
        """Return the connection settings."""
        return Server(self.job.where, str(self.sockets), PORT, user, database, isolated=True)

    def make(self) -> None:
        """Create an empty cluster."""
        self.job.where.own(self.data)
        done = self.tool(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "-k",
        )
        command.need(
            done,
            "no scratch server",
            str(self.data),
            "one",
            "Look at where.bin_dir and work_dir",
            "tool_missing" if done.code == 127 else "failed",
        )

    def start(self, settings: Mapping[str, str], ready_seconds: float = READY_SECONDS, user: str = SUPERUSER) -> None:
        """Start the server, and wait until it accepts writes."""
        self.job.where.own(self.sockets)
        safepath.make(self.settings_dir, 0o711)
        for name, text in (("hba.conf", HBA), ("ident.conf", ""), ("server.conf", "")):
            safepath.create(self.settings_dir / name, text, 0o400, self.job.where.uid, self.job.where.gid)
        fixed = {
            "config_file": str(self.settings_dir / "server.conf"),
            "hba_file": str(self.settings_dir / "hba.conf"),
            "ident_file": str(self.settings_dir / "ident.conf"),
            "data_directory": str(self.data),
            "unix_socket_directories": str(self.sockets),
            "port": str(PORT),
            "cluster_name": "evenkeel-drill",
        }
        major = int((self.data / "PG_VERSION").read_text(encoding="ascii").split(".")[0])
        every = {**fixed, **settings, **isolation.settings(major)}
        arguments = [argument for name, value in every.items() for argument in ("-c", f"{name}={value}")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.job.where.argv("postgres", "-D", str(self.data), *arguments, network=NONE),
                env=command.environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait(ready_seconds, user)

    def _wait(self, seconds: float, user: str) -> None:
        deadline, printed = time.monotonic() + seconds, time.monotonic()
        server = self.server(user=user)
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise self._failure(f"it ending with code {self.process.returncode}: {self.log_tail()}")
            done = server.tool("psql", "-XAtq", "-c", "select pg_is_in_recovery()", seconds=15)
            if done.code == 0 and done.out.strip() == "f":
                return
            if time.monotonic() - printed > 5:
                printed = time.monotonic()
                say(f"recovery: {seconds - (deadline - printed):.0f} s, {self.log_tail()[-120:]}")
            time.sleep(0.2)
        raise self._failure(f"no answer after {seconds:g} s: {self.log_tail()}")

    def _failure(self, found: str) -> BackupFailure:
        return BackupFailure(
            fault_of(found),
            "the restored server does not start",
            str(self.data),
            found,
            "a server that takes queries",
            f"Read {self.log} while the drill is kept, or the report",
        )

    def log_tail(self) -> str:
        """Return the end of its log, errors first."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            bad = [line for line in lines if re.search(r"FATAL|PANIC|ERROR", line)]
            return " ".join(" ".join((bad or lines)[-3:]).split())[-500:]
        return "no log"

    def stop(self) -> None:
        """Shut the server down cleanly, so that its files can be checked."""
        if self.process is None:
            return
        # To its group, because the process is the wrapper that isolates the server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait(30)
        self.process = None

    def control(self) -> dict[str, str]:
        """Return the output of pg_controldata for the data folder."""
        done = command.need(
            self.tool("pg_controldata", "-D", str(self.data)),
            "the control file cannot be read",
            str(self.data),
            "it",
            "Restore again",
            "corrupt_pages",
        )
        pairs = (line.partition(":") for line in done.out.splitlines())
        return {name.strip(): value.strip() for name, _, value in pairs}

    def inherited(self) -> dict[str, str]:
        """Return the settings that must not be lower in recovery."""
        control = self.control()
        return {name: control[label] for name, label in INHERITED.items() if label in control}

    def checksums(self) -> str:
        """L4: verify the checksum of every page of the stopped server."""
        if self.control().get("Data page checksum version", "0") == "0":
            return "the server was made without page checksums, none to check"
        done = self.tool("pg_checksums", "--check", "-D", str(self.data), seconds=self.job.config["timeout_seconds"])
        command.need(
            done,
            "pages are corrupt",
            str(self.data),
            "every checksum right",
            "Do not rely on this backup: drill an older one",
            "corrupt_pages",
        )
        match = re.search(r"Blocks scanned:\s+(\d+)", done.out)
        return f"{match[1] if match else 'all'} pages with the right checksum"

    def amcheck(self, user: str = SUPERUSER, jobs: int = 1) -> str:
        """L4: check tables and indexes, and that each table's rows are in its indexes."""
        server = self.server(user=user)
        # It creates its extension in each database, which may be read-only by its settings, or whose event triggers may
        # refuse that.
        more = "-c default_transaction_read_only=off -c session_replication_role=replica"
        env = {**server.env, "PGOPTIONS": f"{server.env['PGOPTIONS']} {more}"}
        words = ("--all", "--install-missing", "--heapallindexed", f"--jobs={jobs}")
        done = command.run(server.argv("pg_amcheck", *words), env=env, seconds=36000)
        if done.code != 0 and "amcheck" in done.err and ("not available" in done.err or "control file" in done.err):
            raise BackupFailure(
                "tool_missing",
                "amcheck is missing",
                "the drill's server",
                done.tail,
                "the extension",
                "Install PostgreSQL's contrib package where drills run",
            )
        unread = unread_indexes(done.out) if done.code == 2 and not done.err.strip() else []
        if unread:
            return f"pg_amcheck found nothing; it cannot run the functions of {', '.join(unread)}"
        command.need(
            done,
            "tables or indexes are corrupt",
            str(self.data),
            "no finding of pg_amcheck",
            "Do not rely on this backup: drill an older one",
            "corrupt_pages",
        )
        return "pg_amcheck found nothing"


def unread_indexes(findings: str) -> list[str]:
    """Return the indexes whose expressions pg_amcheck cannot evaluate without a search_path, if that is all it found.

    Empty if there is any other finding. Pure.
    """
    blocks = re.split(r'(?m)^(?=(?:btree index|heap table|index) ")', findings.strip())
    found = []
    for block in filter(None, map(str.strip, blocks)):
        match = re.match(
            r'btree index "([^\n]+)":\s+ERROR:\s+(?:function|type|relation|operator|schema) [^\n]+ does not exist',
            block,
        )
        if match is None or len(re.findall(r"(?m)^\s*ERROR:", block)) != 1:
            return []
        found.append(match[1])
    return found


@contextmanager
def place(job: Job, name: str, *, passable: bool = False) -> Iterator[Path]:
    """Create a folder of root in the work folder, and remove it afterwards.

    The server's user can pass through a passable one, to folders in it that it owns.
    """
    folder = job.config.work_dir / name
    remove(folder)
    safepath.make(folder, 0o711 if passable else 0o700)
    try:
        yield folder
    finally:
        for path in (folder, *(job.config.work_dir / f"{kind}-{name[-6:]}" for kind in "sc")):
            remove(path)


@contextmanager
def running(scratch: Scratch) -> Iterator[Scratch]:
    """Stop the server at the end in any case."""
    try:
        yield scratch
    finally:
        scratch.stop()
