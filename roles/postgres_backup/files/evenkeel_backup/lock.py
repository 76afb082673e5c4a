# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Allow one run at a time for an instance, by flock, which ends with the process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evenkeel_backup.faults import BackupFailure


def _opened(path: Path) -> int:
    """Open the lock file, and require that it is ours, because every user can create files in /run/lock."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(FileNotFoundError):
        if path.is_symlink() or path.lstat().st_uid != os.geteuid():
            path.unlink()
    return os.open(path, flags, 0o600)


def busy(path: Path) -> bool:
    """Return whether a run holds the lock; read from the kernel's list, because trying it could refuse a run."""
    try:
        inode = str(path.stat().st_ino)
        held_locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    words = [line.split() for line in held_locks.splitlines()]
    return any("FLOCK" in one and inode in {word.rpartition(":")[2] for word in one if ":" in word} for one in words)


@contextmanager
def held(path: Path, instance: str) -> Iterator[None]:
    """Hold the lock of an instance, or report its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _opened(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 100, 0).decode(errors="replace").strip() or "unknown"
            raise BackupFailure(
                "lock_held",
                "another run holds the lock",
                instance,
                f"process {holder} at work",
                "none",
                f"Wait until it ends; '{path}' names it",
                "lock",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
