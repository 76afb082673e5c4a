# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files and folders in places where another user may plant links. Linux only.

Root follows no link there: folders are opened one below the other by descriptors, without following links, and what
is opened is checked before it is changed. A tree is given away only as a whole, from a folder that root owns.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from evenkeel_backup.faults import BackupFailure

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _refusal(path: Path, found: str) -> BackupFailure:
    return BackupFailure(
        "path_planted",
        "a path is not what this program made",
        str(path),
        found,
        "a file or folder without links",
        "Remove it, and find out who made it",
        "dump",
    )


@contextlib.contextmanager
def folder(path: Path) -> Iterator[int]:
    """Open a folder that must be no link; give its descriptor."""
    try:
        handle = os.open(path, FOLDER)
    except OSError as failure:
        if failure.errno in {20, 40}:  # ENOTDIR, ELOOP
            raise _refusal(path, "a link or a file") from None
        raise
    try:
        yield handle
    finally:
        os.close(handle)


def make(path: Path, mode: int = 0o700, uid: int = -1, gid: int = -1) -> None:
    """Create a folder if there is none, and set mode and owner; by default it belongs to this process."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    with folder(path) as handle:
        if os.geteuid() == 0:
            os.fchown(handle, *((0, 0) if uid == -1 else (uid, gid)))
        os.fchmod(handle, mode)


def create(path: Path, text: str, mode: int = 0o600, uid: int = -1, gid: int = -1) -> None:
    """Write a new file in place of whatever has its name; links are replaced, not followed."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), mode)
        if os.geteuid() == 0 and uid != -1:
            os.fchown(stream.fileno(), uid, gid)


def touch(root: Path, *below: str, uid: int, gid: int) -> None:
    """Create an empty file below a folder of another user; no name on the way may be a link."""
    with contextlib.ExitStack() as stack:
        handle = stack.enter_context(folder(root))
        for name in below[:-1]:
            try:
                handle = os.open(name, FOLDER, dir_fd=handle)
            except OSError:
                raise _refusal(root.joinpath(*below), f"no folder {name}") from None
            stack.callback(os.close, handle)
        with contextlib.suppress(FileExistsError):
            made = os.open(below[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=handle)
            try:
                if os.geteuid() == 0:
                    os.fchown(made, uid, gid)
            finally:
                os.close(made)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read it; neither a link is followed nor a pipe waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno == 40:  # ELOOP
            raise _refusal(path, "a link") from None
        raise
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _refusal(path, "no regular file")
        yield stream


def give(root: Path, uid: int, gid: int) -> None:
    """Change the owner of a tree, its content before its top.

    Until then the top belongs to root alone, so that the new owner cannot change the tree on the way.
    """
    if os.geteuid() != 0:
        return
    for _name, folders, files, handle in os.fwalk(root, topdown=False, follow_symlinks=False):
        for entry in (*files, *folders):
            os.chown(entry, uid, gid, dir_fd=handle, follow_symlinks=False)
    with folder(root) as handle:
        os.fchown(handle, uid, gid)


def take(root: Path) -> None:
    """Make a tree of another user this process's own, from its top down; links and special files are removed."""
    uid, gid = os.geteuid(), os.getegid()
    with folder(root) as handle:
        _take(handle, uid, gid)
    for _name, folders, files, handle in os.fwalk(root, follow_symlinks=False):
        for entry in (*folders, *files):
            found = os.stat(entry, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                inner = os.open(entry, FOLDER, dir_fd=handle)
                try:
                    _take(inner, uid, gid)
                finally:
                    os.close(inner)
            elif not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                os.unlink(entry, dir_fd=handle)
            else:
                os.chown(entry, uid, gid, dir_fd=handle, follow_symlinks=False)


def _take(handle: int, uid: int, gid: int) -> None:
    if uid == 0:
        os.fchown(handle, uid, gid)
    os.fchmod(handle, 0o700)


def remove(path: Path) -> None:
    """Remove a file or a tree; of a link, the link."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        # Uses descriptors, so that a folder which becomes a link meanwhile is not followed.
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
