# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only writer of files: temp file, fsync, rename, fsync of the folder; and flock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import time
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

RESERVE = ".reserve"
RESERVE_BYTES = 128 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)
_Result = t.TypeVar("_Result")


def reserve(folder: str) -> bool:
    """Set room aside in a folder, for the records that are written when its disk is full; tell whether it is new."""
    path = Path(folder, RESERVE)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size >= RESERVE_BYTES:
            return False
    ensure_folder(folder)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            # No zeros: a file system may store those without taking room.
            stream.write(os.urandom(RESERVE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _with_reserve(folder: str, act: t.Callable[[], _Result]) -> _Result:
    """Act; on a full disk give up the room set aside in the folder and act once more."""
    try:
        return act()
    except OSError as exc:
        if exc.errno not in _FULL:
            raise
        try:
            Path(folder, RESERVE).unlink()
        except FileNotFoundError:
            raise exc from None
        return act()


def fsync_folder(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def ensure_folder(path: str, mode: int = 0o700) -> None:
    """Create the folder, and its parents, when it is absent; an existing one keeps its mode."""
    folder = Path(path)
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        ensure_folder(str(folder.parent), mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode)
        folder.chmod(mode)  # whatever the umask is
        fsync_folder(str(folder.parent))


def read_text(path: str) -> str | None:
    try:
        # As it is: reading as text would turn each CRLF into a newline.
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def write_atomic(path: str, text: str, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Replace the file so that a crash at any point leaves the old or the new content, whole."""
    folder = str(Path(path).parent)
    ensure_folder(folder)
    _with_reserve(folder, lambda: _replace(path, folder, text, mode, owner))


def _replace(path: str, folder: str, text: str, mode: int, owner: tuple[int, int] | None) -> None:
    # One name, as there is one writer at a time: what a killed one left is overwritten by the next.
    temporary = str(Path(folder, f".{Path(path).name}.new"))
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            if owner is not None:
                os.fchown(stream.fileno(), *owner)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    fsync_folder(folder)


def append_line(path: str, line: str, mode: int = 0o600) -> None:
    """Append one line with one write and wait until it is on the disk."""
    folder = str(Path(path).parent)
    ensure_folder(folder)
    fresh = not Path(path).exists()
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, mode)
    try:
        data = (line.rstrip("\n") + "\n").encode("utf-8", "surrogateescape")
        while data:
            data = data[_with_reserve(folder, functools.partial(os.write, handle, data)) :]
        _with_reserve(folder, functools.partial(os.fsync, handle))
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
    Path(path).rename(target)
    fsync_folder(str(Path(path).parent))
    return target


@contextlib.contextmanager
def lock(path: str, wait_seconds: float, module: str) -> t.Iterator[None]:
    """Hold an exclusive flock; it ends with the process, so a crash never leaves it behind."""
    ensure_folder(str(Path(path).parent), 0o755)
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
