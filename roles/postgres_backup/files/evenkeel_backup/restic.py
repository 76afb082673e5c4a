# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restic repository: exit code and text of every call are checked; key by file, credentials by environment."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from evenkeel_backup import command
from evenkeel_backup.config import Repository, s3_parts
from evenkeel_backup.faults import BackupFailure, fault_of
from evenkeel_backup.progress import say

TAG = "evenkeel"
# Time limit for a response of the store.
ANSWER_SECONDS = 60
# Time limit for a connection to the store.
CONNECT_SECONDS = 10
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
# restic removes a lock of another host once it was not renewed for 30 minutes.
LOCK_SECONDS = 2100
LOCK_POLL_SECONDS = 30


def credentials(repository: Repository) -> dict[str, str]:
    """Read the credentials of the store as environment variables."""
    found = {"AWS_DEFAULT_REGION": repository.region} if repository.kind == "s3" else {}
    return found | (read_credentials(repository.credentials_file) if repository.credentials_file else {})


def read_credentials(path: Path) -> dict[str, str]:
    """Parse a file with a store's credentials, by the names of S3 clients.

    The role writes each value as it is, so quotes belong to it.
    """
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}:
            found[name.strip()] = value
    return found


def unreachable(repository: Repository) -> str:
    """Return why the store of a repository takes no connection; empty if it does, or if a proxy is between.

    restic itself retries a refused connection silently for up to a quarter of an hour.
    """
    parts = s3_parts(repository.location) if repository.kind == "s3" else None
    if not parts or any(os.environ.get(name) for name in PROXIES):
        return ""
    host, port = parts[:2]
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as exc:
        return f"unable to connect to {host}:{port}: {exc.strerror or exc}"
    return ""


class Restic:
    """One repository with one key."""

    def __init__(self, repository: Repository, cache: Path, seconds: float, key_file: Path | None = None) -> None:
        self.repository, self.seconds = repository, seconds
        self.key_file = key_file or repository.key_file
        self.cache = cache

    def _env(self) -> dict[str, str]:
        return {
            "RESTIC_REPOSITORY": self.repository.location,
            "RESTIC_PASSWORD_FILE": str(self.key_file),
            "RESTIC_CACHE_DIR": str(self.cache),
            "RESTIC_PROGRESS_FPS": "0.2",
            **credentials(self.repository),
        }

    def run(self, *arguments: str, seconds: float = 0, watch: Callable[[], None] | None = None) -> command.Done:
        """Run restic, if its store takes a connection."""
        if problem := unreachable(self.repository):
            return command.Done(1, "", problem)
        ca = ["--cacert", self.repository.ca_file] if self.repository.ca_file else []
        return command.run(["restic", *ca, *arguments], env=self._env(), seconds=seconds or self.seconds, watch=watch)

    def unlocked(self, *arguments: str, watch: Callable[[], None] | None = None) -> command.Done:
        """Run restic; wait for the lock of another run, and remove it once it is stale."""
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            done = self.run(*arguments, watch=watch)
            if done.code == 0 or fault_of(done.err) != "store_locked" or time.monotonic() >= deadline:
                return done
            say(f"{self.repository.name} is locked: {done.tail}")
            time.sleep(LOCK_POLL_SECONDS)
            self.run("unlock", seconds=ANSWER_SECONDS)

    def need(self, done: command.Done, what: str, wanted: str, otherwise: str = "failed") -> command.Done:
        """Return the result of a successful call, or raise."""
        if done.code and fault_of(done.err) == "wrong_key" and (damaged := self._damaged_keys()):
            raise BackupFailure(
                "flipped_byte",
                what,
                f"repository {self.repository.name}",
                f"key files with another content than their names say: {', '.join(damaged)}",
                wanted,
                "Put the folder keys back from a copy of the repository",
            )
        return command.need(
            done,
            what,
            f"repository {self.repository.name}",
            wanted,
            "Look at the store, its credentials and its key",
            otherwise,
            store=True,
        )

    def _damaged_keys(self) -> list[str]:
        """Return the key files of a repository on this disk that changed; restic names each by its SHA-256."""
        if self.repository.kind != "local":
            return []
        files = sorted(Path(self.repository.location, "keys").glob("*"))
        return [one.name[:8] for one in files if hashlib.sha256(one.read_bytes()).hexdigest() != one.name]

    def identity(self) -> str:
        """Return the repository's id, which proves that the key opens it."""
        done = self.run("cat", "config", "--no-lock", seconds=120)
        self.need(done, "the repository does not open", "it open with this key", "store_unreachable")
        return str(json.loads(done.out)["id"])

    def exists(self) -> bool:
        """Return whether the repository exists; a wrong key or a denied access is a failure."""
        done = self.run("cat", "config", "--no-lock", seconds=120)
        if done.code == 0:
            return True
        text = f"{done.err}{done.out}".lower()
        if any(
            sign in text
            for sign in ("unable to open config file", "repository does not exist", "is there a repository")
        ):
            if self.repository.kind == "local" and (Path(self.repository.location) / "config").exists():
                self.need(done, "the repository does not open", "it open with this key", "wrong_key")
            if (
                fault_of(text) not in {"store_denied", "wrong_key"}
                and "connection refused" not in text
                and "no such host" not in text
            ):
                return False
        self.need(done, "the repository does not open", "it open with this key", "store_unreachable")
        return False

    def make(self) -> None:
        """Create the repository."""
        self.need(self.run("init", seconds=300), "the repository was not made", "a new one", "store_unreachable")

    def backup(
        self,
        paths: Iterable[str],
        tags: Iterable[str],
        exclude: Iterable[str] = (),
        watch: Callable[[], None] | None = None,
    ) -> dict[str, Any]:
        """Store folders, and return the summary. Code 3, an incomplete snapshot, is a failure."""
        done = self.run("unlock", seconds=ANSWER_SECONDS)
        # Newer versions of restic retry an unreachable store silently for a quarter of an hour.
        if done.code == command.TIMED_OUT or fault_of(done.err) == "store_unreachable":
            self.need(done, "the store does not answer", f"an answer within {ANSWER_SECONDS} s", "store_unreachable")
        arguments = [
            "backup",
            "--json",
            "--host",
            TAG,
            *(f"--tag={tag}" for tag in tags),
            *(f"--exclude={one}" for one in exclude),
            "--",
            *paths,
        ]
        done = self.unlocked(*arguments, watch=watch)
        self.need(done, "the copy was not stored", "every file in it", "partial_upload" if done.code == 3 else "failed")
        for line in reversed(done.out.splitlines()):
            if '"message_type":"summary"' in line.replace(" ", ""):
                return dict(json.loads(line))
        raise BackupFailure(
            "partial_upload", "the copy was not stored", self.repository.name, "no summary", "one", "Take a new backup"
        )

    def snapshots(self, tag: str) -> list[dict[str, Any]]:
        """List all snapshots with a tag."""
        done = self.run("snapshots", "--json", "--no-lock", "--tag", tag, seconds=300)
        self.need(done, "the list of snapshots cannot be read", "the list", "store_unreachable")
        return list(json.loads(done.out or "[]") or [])

    def listing(self, snapshot: str) -> dict[str, dict[str, Any]]:
        """Return the size of every file of a snapshot by its path."""
        done = self.run("ls", "--json", "--no-lock", snapshot, seconds=900)
        self.need(done, "the snapshot cannot be read", "its list of files", "partial_upload")
        found = {}
        for line in done.out.splitlines():
            node = json.loads(line)
            if node.get("struct_type") == "node" and node.get("type") == "file":
                found[node["path"]] = {"bytes": node.get("size", 0)}
        return found

    def text(self, snapshot: str, path: str) -> str:
        """Return the content of one text file of a snapshot."""
        done = self.run("dump", "--no-lock", snapshot, path, seconds=300)
        return self.need(done, "a file cannot be read back", path, "partial_upload").out

    def read(self, snapshot: str) -> None:
        """Read and check every byte of one snapshot."""
        ca = ["--cacert", self.repository.ca_file] if self.repository.ca_file else []
        argv = ["restic", *ca, "dump", "--no-lock", "--archive", "tar", snapshot, "/"]
        # The content goes nowhere, because command.run would hold it in memory.
        done = command.run(["sh", "-c", 'exec "$@" >/dev/null', "sh", *argv], env=self._env(), seconds=self.seconds)
        self.need(done, "the snapshot cannot be read", "every byte of it", "flipped_byte")

    def check(self, read_data: bool = False) -> None:
        """Run restic's check, of every byte on request."""
        done = self.run("check", "--no-lock", *(["--read-data"] if read_data else []))
        self.need(done, "the repository's check failed", "no error", "flipped_byte")

    def restore(
        self, snapshot: str, target: Path, include: Iterable[str] = (), watch: Callable[[], None] | None = None
    ) -> None:
        """Restore a snapshot below a folder. Errors that restic ignores are failures here."""
        done = self.run(
            "restore",
            "--no-lock",
            snapshot,
            "--target",
            str(target),
            *(f"--include={one}" for one in include),
            watch=watch,
        )
        if done.code == 0 and ("ignoring error" in done.err or "There were" in done.err):
            done = command.Done(1, done.out, done.err)
        self.need(done, "the snapshot was not restored", "every file of it", "flipped_byte")

    def forget(self, snapshots: list[str]) -> None:
        """Remove snapshots, and prune their data."""
        self.run("unlock", seconds=120)
        self.need(self.unlocked("forget", "--prune", *snapshots), "old copies were not removed", "them removed")
