# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plain tools and faults: pg_dump with gzip, restic, and pgbackrest verify, each as in its manual.

A pipe's code is that of its last program, as in a plain shell. Nobody looks but at codes: a fault that stands in
the text alone is told beside, and was not detected.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import USER, Cluster, as_server

LIMIT_SECONDS = 120
PASSWORD = "plain-restic-password"
STANZA = "wal"
SHELL_DISK = 'mount -t tmpfs -o size=$0,mode=777 tmpfs "$1" && cd "$1" && shift && exec "$@"'
Told = dict[str, Any]


def small_disk(size: str, folder: Path) -> list[str]:
    """Return a command prefix that makes a folder a separate small disk."""
    folder.mkdir(exist_ok=True)
    return ["unshare", "--mount", "sh", "-c", SHELL_DISK, size, str(folder)]


def call(argv: list[str], env: dict[str, str] | None = None) -> tuple[int, str]:
    """Code and the last line of what was said; a call that does not end is ended, with a code of its own."""
    process = subprocess.Popen(
        argv,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return 124, f"not finished within {LIMIT_SECONDS} s"
    lines = (err.strip() or out.strip()).splitlines()
    telling = [line for line in lines if re.search("fatal|error|no space", line, re.IGNORECASE)] or lines[-1:]
    return process.returncode, " ".join(telling[0].split())[:160] if telling else ""


def outcome_of(backup: tuple[int, str] | None, check: tuple[int, str] | None) -> Told:
    """The result of one tool for one fault."""
    codes = {"backup": backup, "check": check}
    asked = {name: answer for name, answer in codes.items() if answer is not None}
    says = next((text for code, text in asked.values() if code != 0), "") or next(
        (text for _code, text in reversed(asked.values()) if text), ""
    )
    return {
        **{f"{name}_code": answer[0] if answer else None for name, answer in codes.items()},
        "says": says,
        "detected": any(code != 0 for code, _text in asked.values()),
    }


def none(why: str) -> Told:
    """A fault that does not apply to a tool."""
    return {"backup_code": None, "check_code": None, "says": why, "detected": None}


class Peers:
    """The three tools on one server."""

    def __init__(self, folder: Path, cluster: Cluster, bin_: Path) -> None:
        self.folder, self.cluster, self.bin = folder / "peers", cluster, bin_
        self.folder.mkdir()
        self.folder.chmod(0o777)
        self.archive = self.folder / "shop.sql.gz"
        self.repository = self.folder / "restic"
        self.config = self.folder / "pgbackrest.conf"

    def pipe(self, rest: str) -> list[str]:
        return ["sh", "-c", f"{self.bin}/pg_dump -h {self.cluster.socket} -U postgres shop | {rest}"]

    # pg_dump and gzip

    def dump(self, *prefix: str, to: Path | str = "") -> tuple[int, str]:
        return call([*prefix, *self.pipe(f"gzip >{to or self.archive}")])

    def tested(self, path: Path | None = None) -> tuple[int, str]:
        return call(["gzip", "-t", str(path or self.archive)])

    # restic

    def env(self, **more: str) -> dict[str, str]:
        base = {"RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD": PASSWORD}
        return {**base, "RESTIC_CACHE_DIR": str(self.folder / "cache"), **more}

    def store(self, *words: str, **env: str) -> tuple[int, str]:
        line = " ".join(["restic backup --stdin --stdin-filename shop.sql", *words])
        return call(self.pipe(line), self.env(**env))

    def checked(self, *words: str, **env: str) -> tuple[int, str]:
        return call(["restic", "check", *words], self.env(**env))

    def make(self, *words: str, **env: str) -> tuple[int, str]:
        return call(["restic", "init", *words], self.env(**env))

    # pgBackRest

    def configure(self, *lines: str, path: Path | None = None, cipher: str = PASSWORD) -> Path:
        """Configure a separate repository; the server archives to another."""
        path = path or self.config
        fixed = [
            "[global]",
            *(lines or (f"repo1-path={self.folder / 'pgbackrest'}",)),
            "repo1-cipher-type=aes-256-cbc",
            f"repo1-cipher-pass={cipher}",
            "repo1-retention-full=9",
            "repo1-bundle=y",
            "start-fast=y",
            "log-level-file=off",
            f"lock-path={self.folder / 'lock'}",
            f"[{STANZA}]",
            f"pg1-path={self.cluster.data}",
            f"pg1-socket-path={self.cluster.socket}",
            "pg1-user=postgres",
        ]
        path.write_text("\n".join(fixed) + "\n")
        shutil.chown(path, USER, USER)
        path.chmod(0o600)
        return path

    def pgbackrest(self, *words: str, config: Path | None = None, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
        argv = as_server("pgbackrest", f"--config={config or self.config}", f"--stanza={STANZA}", *words)
        return call([*prefix, *argv])

    def based(self, config: Path | None = None, prefix: tuple[str, ...] = ()) -> tuple[int, str]:
        """Take a base backup; its WAL is in another repository."""
        return self.pgbackrest("--type=full", "--no-archive-check", "backup", config=config, prefix=prefix)

    def verified(self, config: Path | None = None) -> tuple[int, str]:
        code, last = self.pgbackrest("--output=text", "--verbose", "verify", config=config)
        _, text = call(
            [
                "sh",
                "-c",
                '"$@" 2>&1 | grep -m1 "status: error\\|ERROR"',
                "sh",
                *as_server(
                    "pgbackrest",
                    f"--config={config or self.config}",
                    f"--stanza={STANZA}",
                    "--output=text",
                    "--verbose",
                    "verify",
                ),
            ]
        )
        return code, text or last
