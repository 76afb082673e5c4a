# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write the program's own files, and measure disks."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any


def fsync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file atomically, so that a crash leaves either the old or the new content."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Metrics and a backup may write this file at the same time, so each process uses its own temporary file.
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        if not Path("/proc", left.name.split(".")[-2]).exists():
            left.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise
    fsync_folder(path.parent)


def write_json(path: Path, data: Any, mode: int = 0o600) -> None:
    """Replace a JSON file."""
    write_atomic(path, json.dumps(data, indent=1, sort_keys=True) + "\n", mode)


def read_json(path: Path) -> Any:
    """Return the data of a JSON file, or None without a file. A broken file is renamed and ignored."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}.broken"))
        return None


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Return all regular files below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def inventory(folder: Path, sync: bool = False) -> dict[str, dict[str, Any]]:
    """Return size and hash of all files below a folder by relative name; sync flushes them to the disk first."""
    found: dict[str, dict[str, Any]] = {}
    for path in files_below(folder):
        if sync:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        found[str(path.relative_to(folder))] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    if sync:
        for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
            fsync_folder(inner)
    return found


def size_below(folder: Path) -> int:
    """Return the size of all files below a folder, ignoring files that vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total


def free_bytes(folder: Path) -> int:
    """Return the free space at a folder, or at its nearest existing parent."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
