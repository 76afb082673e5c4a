# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL and evenkeel-backup as processes of this machine, for tests and benchmarks.

All files are in a temporary folder; restic and pgBackRest come from the distribution. Faults are planted from outside:
a replaced program, a separate mount, changed bytes of a file.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUNNER = Path(__file__).parents[1] / "roles" / "postgres_backup" / "files" / "evenkeel-backup"
KEY = "correct-horse-battery-staple-canary"
USER = "postgres"
# Mounts for one call: a small disk, and an empty folder over an existing one.
SMALL_DISK = (
    "unshare",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=$0 tmpfs "$1" && chmod 711 "$1" && shift && exec "$@"',
)
GONE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"')
# In the script that replaces pg_dump: its output folder.
OUT = "for word; do case $word in --file=*) out=${word#--file=};; esac; done\n"


class Unexpected(AssertionError):
    """A server or program failed, and later steps depend on it."""


def bin_dir() -> Path | None:
    """Return the folder of the distribution's newest PostgreSQL."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def missing(*programs: str) -> str:
    """Return why this rig cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root, to run a server as its own user in a network namespace"
    if bin_dir() is None:
        return "needs the package postgresql"
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return f"needs the user {USER}"
    absent = [name for name in (*programs, "unshare", "setpriv") if shutil.which(name) is None]
    if absent:
        return f"needs {', '.join(absent)}"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        return "needs the right to make a network namespace"
    return ""


def as_server(*argv: str) -> list[str]:
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--", *argv]


class Cluster:
    """A server on a Unix socket."""

    def __init__(self, folder: Path, nice: str = "10", **settings: str) -> None:
        self.folder, self.data, self.bin = folder, folder / "live", t.cast("Path", bin_dir())
        self.nice = nice
        self.socket = folder / "sock"
        for path in (self.socket, self.data):
            path.mkdir(0o700)
            shutil.chown(path, USER, USER)
        self.socket.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket),
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_wal_size": "256MB",
            "archive_timeout": "60",
            **settings,
        }
        argv = [
            self.bin / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-k",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        subprocess.run(as_server(*map(str, argv)), check=True, capture_output=True)
        with (self.data / "postgresql.conf").open("a") as stream:
            stream.writelines(f"{name} = '{value}'\n" for name, value in self.settings.items())
        self.start()

    def start(self) -> None:
        with (self.folder / "live.log").open("ab") as log:
            self.process = subprocess.Popen(
                as_server("nice", "-n", self.nice, str(self.bin / "postgres"), "-D", str(self.data)),
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        for _attempt in range(200):
            if self._psql("select 1", "postgres").returncode == 0:
                return
            time.sleep(0.1)
        raise Unexpected((self.folder / "live.log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(2)
            self.process.wait(30)
        self.process = None

    @classmethod
    def of(cls, folder: Path, data: Path, bin_: Path) -> Cluster:
        """Return a server with an existing data folder, such as a restored one."""
        made = cls.__new__(cls)
        made.folder, made.data, made.bin, made.socket, made.process, made.nice = (
            folder,
            data,
            bin_,
            folder / "sock",
            None,
            "10",
        )
        made.socket.mkdir()
        shutil.chown(made.socket, USER, USER)
        with (data / "postgresql.auto.conf").open("a") as stream:
            stream.write(f"unix_socket_directories = '{made.socket}'\narchive_mode = off\n")
        made.start()
        return made

    def client(self, program: str, *words: str) -> list[str]:
        """Return the command of a client program for this server."""
        return [str(self.bin / program), "-h", str(self.socket), "-U", "postgres", *words]

    def _psql(self, sql: str, database: str) -> subprocess.CompletedProcess[str]:
        argv = self.client("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql)
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def sql(self, sql: str, database: str = "shop") -> str:
        done = self._psql(sql, database)
        if done.returncode != 0:
            raise Unexpected(done.stderr)
        return done.stdout.strip()

    def archived(self) -> None:
        """Wait until all WAL so far is archived."""
        name = self.sql("select pg_walfile_name(pg_switch_wal())", "postgres")
        for _attempt in range(300):
            if self.sql("select coalesce(last_archived_wal, '') from pg_stat_archiver", "postgres") >= name:
                return
            time.sleep(0.1)
        raise Unexpected("the archive does not follow")


class Instance:
    """One configuration, with calls of the program."""

    def __init__(self, folder: Path, name: str, engine: str, **more: t.Any) -> None:
        self.folder, self.name, self.configs = folder, name, folder / "etc"
        self.limit_seconds = 170.0
        self.configs.mkdir(exist_ok=True)
        self.key = folder / f"{name}.key"
        self.key.write_text(KEY + "\n")
        self.key.chmod(0o600)
        self.options: dict[str, t.Any] = {
            "schema": 1,
            "instance": name,
            "engine": engine,
            "state_dir": str(folder / "state" / name),
            "work_dir": str(folder / "work" / name),
            "lock_file": str(folder / "lock" / name),
            "metrics_file": str(folder / "metrics" / f"{name}.prom"),
            "repositories": [{"name": "local", "location": str(folder / "repo" / name), "key_file": str(self.key)}],
            **more,
        }
        self.write()

    def write(self) -> None:
        path = self.configs / f"{self.name}.json"
        path.write_text(json.dumps(self.options))
        path.chmod(0o600)

    def run(
        self, verb: str, *words: str, given: str = "", env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> tuple[int, dict[str, t.Any]]:
        argv = [*prefix, sys.executable, str(RUNNER), verb, self.name, "--config-dir", str(self.configs), *words]
        done = subprocess.run(
            argv,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **(env or {})},
            timeout=self.limit_seconds,
        )
        sys.stderr.write(done.stderr)
        if not done.stdout:
            raise Unexpected(done.stderr)
        document = json.loads(done.stdout)
        if document["exit"] != done.returncode or KEY in done.stdout + done.stderr:
            raise Unexpected(f"{verb} ended with {done.returncode} and said {document['exit']}, or printed the key")
        return done.returncode, document

    def good(self, verb: str, *words: str, given: str = "") -> dict[str, t.Any]:
        code, document = self.run(verb, *words, given=given)
        if code != 0:
            raise Unexpected(f"{verb} of {self.name}: {document['failures']}")
        return document

    def faults(
        self, verb: str, *words: str, given: str = "", env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> set[tuple[str, str]]:
        code, document = self.run(verb, *words, given=given, env=env, prefix=prefix)
        if code == 0:
            raise Unexpected(f"{verb} of {self.name} found no fault")
        return {(failure["stage"], failure["fault"]) for failure in document["failures"]}

    def ready(self) -> Instance:
        """Prepare it and prove its key, so that backups count."""
        self.good("prepare")
        self.good("escrow-check", "--key-file", "-", given=KEY)
        return self

    def metrics(self) -> dict[str, float]:
        lines = Path(self.options["metrics_file"]).read_text().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@contextmanager
def scratch() -> Iterator[Path]:
    """Create a temporary folder with a path short enough for sockets, accessible to the server's user."""
    path = Path(tempfile.mkdtemp(prefix="ekb", dir="/tmp"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def archiving(folder: Path, name: str) -> dict[str, str]:
    """Return the settings of a server that archives for an instance."""
    config = folder / "etc" / f"{name}.pgbackrest.conf"
    command = f"pgbackrest --config={config} --stanza={name} archive-push %p"
    return {"archive_mode": "on", "wal_level": "replica", "archive_command": command}


def logical(folder: Path, name: str, cluster: Cluster, bin_dir: Path | None = None, **more: t.Any) -> Instance:
    """Configure an instance of a server for dumps, with its own programs or those of a folder."""
    return Instance(
        folder,
        name,
        "logical",
        where={"kind": "host", "bin_dir": str(bin_dir or cluster.bin), "user": USER},
        server={"host": str(cluster.socket), "user": "postgres", "data_dir": str(cluster.data)},
        **more,
    )


def physical(folder: Path, name: str, cluster: Cluster, **more: t.Any) -> Instance:
    """Prepare an instance of an archiving server for backups."""
    made = Instance(
        folder,
        name,
        "physical",
        where={"kind": "host", "bin_dir": str(cluster.bin), "user": USER},
        server={"host": str(cluster.socket), "user": "postgres", "data_dir": str(cluster.data)},
        pgbackrest={
            "config_file": str(folder / "etc" / f"{name}.pgbackrest.conf"),
            "lock_path": str(folder / "sock" / f"pgbackrest-{name}"),
        },
        **more,
    )
    made.configs.chmod(0o711)
    (folder / "repo").mkdir(exist_ok=True)
    (folder / "repo").chmod(0o711)
    return made


def links(folder: Path, cluster: Cluster) -> Path:
    """Create a folder of links to the server's programs, to replace one at a time."""
    made = folder / "bin"
    made.mkdir()
    for path in cluster.bin.iterdir():
        (made / path.name).symlink_to(path)
    return made


class Shim:
    """Replaces one program until it is removed."""

    def __init__(self, instance: Instance, cluster: Cluster, program: str, script: str) -> None:
        self.link, self.real = instance.folder / "bin" / program, cluster.bin / program
        self.script = script

    def __enter__(self) -> None:
        self.link.unlink()
        self.link.write_text(f"#!/bin/bash\nreal={self.real}\n{self.script}\n")
        self.link.chmod(0o755)

    def __exit__(self, *_why: object) -> None:
        self.link.unlink()
        self.link.symlink_to(self.real)


def lacking(folder: Path, cluster: Cluster, extension: str) -> Path:
    """Return the programs of a server without one extension."""
    version = cluster.bin.parent.name
    root = folder / "lacking" / "usr"
    shutil.copytree(cluster.bin, root / "lib/postgresql" / version / "bin")
    (root / "lib/postgresql" / version / "lib").symlink_to(cluster.bin.parent / "lib")
    shutil.copytree(f"/usr/share/postgresql/{version}", root / "share/postgresql" / version)
    for path in (root / "share/postgresql" / version / "extension").glob(f"{extension}*"):
        path.unlink()
    (root / "share/postgresql-common").symlink_to("/usr/share/postgresql-common")
    return root / "lib/postgresql" / version / "bin"


@contextmanager
def kept(repository: Path) -> Iterator[Path]:
    """Provide a repository to damage, and restore it afterwards."""
    copy = repository.with_name(f"{repository.name}-kept")
    subprocess.run(["cp", "-a", str(repository), str(copy)], check=True)
    try:
        yield repository
    finally:
        shutil.rmtree(repository)
        copy.rename(repository)


def packs(repository: Path) -> list[Path]:
    """Return the packs of a restic repository, the largest last."""
    found = [path for path in (repository / "data").rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_size)


def biggest_bundle(folder: Path) -> Path:
    """Return the largest bundle of a pgBackRest backup."""
    found = [path for path in folder.rglob("*") if path.parent.name == "bundle"]
    return max(found, key=lambda path: path.stat().st_size)


def flip(path: Path, share: float = 0.5) -> None:
    """Change a byte in the middle of a file."""
    path.chmod(path.stat().st_mode | 0o200)
    with path.open("r+b") as stream:
        stream.seek(int(path.stat().st_size * share))
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 0xFF]))
