# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs of an edge share: its lock, its files, its HAProxy."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

LOCK = Path("/run/lock/evenkeel-edge.lock")
MASTER = "/run/haproxy-master.sock"


class EdgeError(Exception):
    """One sentence for the journal."""


class Processes(NamedTuple):
    """What the master knows of its processes."""

    current: tuple[int, ...]
    old: tuple[int, ...]
    failed: int


@contextmanager
def edge_lock(seconds: float, required: bool, path: Path = LOCK) -> Iterator[None]:
    """Hold the lock that every move, reload and start on this edge takes, or another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                elif required:
                    raise EdgeError(
                        f"lock on {path}: found it held for {seconds:g} s, need it free. "
                        "See who holds it with 'fuser -v' and try again."
                    ) from None
                else:
                    print(f"{path} is still held after {seconds:g} s, going on", file=sys.stderr)
                    break
        yield
    finally:
        os.close(handle)


def ask(command: str, timeout: float = 5) -> str:
    """Send one command to the master and return its whole answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(MASTER)
        client.sendall(command.encode() + b"\n")
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
            if parts[0].startswith(b"Can't find the target PID"):
                # HAProxy 3.0 says so and leaves the stream open.
                raise ConnectionError(f"no worker for '{command}'")
    return b"".join(parts).decode(errors="replace")


def processes() -> Processes:
    """Read the table of processes from the master."""
    current: list[tuple[int, int]] = []
    old: list[tuple[int, int]] = []
    failed = 0
    target: list[tuple[int, int]] | None = None
    for line in ask("show proc").splitlines():
        if line.startswith("#"):
            target = {"# workers": current, "# old workers": old}.get(line.strip())
            continue
        words = line.split()
        if len(words) < 3 or not words[0].isdigit():
            continue
        if words[1] == "master":
            marks = line.partition("[failed:")[2].partition("]")[0].strip()
            failed = int(marks) if marks.isdigit() else 0
        elif target is not None and words[1] == "worker":
            # The third column counts the reloads a worker has seen: the newest comes first.
            target.append((int(words[2]), int(words[0])))
    return Processes(
        tuple(pid for _, pid in sorted(current)),
        tuple(pid for _, pid in sorted(old)),
        failed,
    )


def running() -> Processes | None:
    """Return the processes of a running HAProxy, or nothing."""
    try:
        found = processes()
    except OSError:
        return None
    return found if found.current or found.old else None


def write(path: Path, content: str, mode: int = 0o600) -> None:
    """Replace a file so that a crash leaves the old one or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
