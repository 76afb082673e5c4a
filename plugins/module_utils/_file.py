# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only writer of files: temp file, fsync, rename, fsync of the folder; and flock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence


def fsync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def ensure_folder(path: str, mode: int = 0o700) -> None:
    """Create the folder, and its parents, when it is absent; an existing one keeps its mode."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path.rstrip("/"))
    if parent and not os.path.isdir(parent):
        ensure_folder(parent, mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode)
        fsync_folder(parent or ".")


def read_text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def write_atomic(path: str, text: str, mode: int = 0o600) -> None:
    """Replace the file so that a crash at any point leaves the old or the new content, whole."""
    folder = os.path.dirname(path)
    ensure_folder(folder)
    handle, temporary = tempfile.mkstemp(prefix="." + os.path.basename(path) + ".", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_folder(folder)


def append_line(path: str, line: str, mode: int = 0o600) -> None:
    """Append one line with one write and wait until it is on the disk."""
    folder = os.path.dirname(path)
    ensure_folder(folder)
    fresh = not os.path.exists(path)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    try:
        data = (line.rstrip("\n") + "\n").encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(handle, data) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if fresh:
        fsync_folder(folder)


def broken_name(path: str) -> str:
    """Return the first free name under which a file that does not parse is set aside."""
    number = 1
    while os.path.lexists(f"{path}.broken-{number}"):
        number += 1
    return f"{path}.broken-{number}"


def set_aside(path: str) -> str:
    target = broken_name(path)
    os.rename(path, target)
    fsync_folder(os.path.dirname(path))
    return target


@contextlib.contextmanager
def lock(path: str, wait_seconds: float, module: str) -> t.Iterator[None]:
    """Hold an exclusive flock; it ends with the process, so a crash never leaves it behind."""
    ensure_folder(os.path.dirname(path), 0o755)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Failure(
                        sentence(
                            module,
                            "the lock is taken",
                            path,
                            f"another process holding it for {wait_seconds:g} s",
                            "it free",
                            f"See who holds it with 'fuser {path}', or raise lock_seconds",
                        )
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)
