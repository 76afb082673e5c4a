# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL server, restic and pgBackRest as plain processes of this machine, in a scratch folder."""

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
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[3] / "roles" / "postgres_backup" / "files" / "evenkeel-backup"
KEY = "correct-horse-battery-staple-canary"
USER = "postgres"


def bin_dir() -> Path | None:
    """The programs of the newest PostgreSQL of the distribution."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def missing(*programs: str) -> str:
    """Why these tests cannot run here; empty where they can."""
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

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.data, self.bin = folder, folder / "live", t.cast("Path", bin_dir())
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
                as_server("nice", "-n", "10", str(self.bin / "postgres"), "-D", str(self.data)),
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        for _attempt in range(200):
            if self._psql("select 1", "postgres").returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "live.log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(2)
            self.process.wait(30)
        self.process = None

    def _psql(self, sql: str, database: str) -> subprocess.CompletedProcess[str]:
        argv = [
            str(self.bin / "psql"),
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.socket),
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            sql,
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def sql(self, sql: str, database: str = "shop") -> str:
        done = self._psql(sql, database)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class Instance:
    """One configuration, and the program run on it."""

    def __init__(self, folder: Path, name: str, engine: str, **more: t.Any) -> None:
        self.folder, self.name, self.configs = folder, name, folder / "etc"
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
            timeout=170,
        )
        sys.stderr.write(done.stderr)
        assert done.stdout, done.stderr
        document = json.loads(done.stdout)
        assert document["exit"] == done.returncode
        assert KEY not in done.stdout + done.stderr
        return done.returncode, document

    def good(self, verb: str, *words: str, given: str = "") -> dict[str, t.Any]:
        code, document = self.run(verb, *words, given=given)
        assert code == 0, document["failures"]
        return document

    def faults(
        self, verb: str, *words: str, given: str = "", env: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> set[tuple[str, str]]:
        code, document = self.run(verb, *words, given=given, env=env, prefix=prefix)
        assert code != 0, document
        return {(failure["stage"], failure["fault"]) for failure in document["failures"]}

    def metrics(self) -> dict[str, float]:
        lines = Path(self.options["metrics_file"]).read_text().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@pytest.fixture(scope="module")
def folder() -> t.Iterator[Path]:
    """Short, as a socket's path is; and open to the server's user."""
    path = Path(tempfile.mkdtemp(prefix="ekb", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)
