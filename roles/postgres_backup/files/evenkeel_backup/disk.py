# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only writer of the runner's own files, and what it asks of a disk."""

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
    """Wait until the names in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file so that a crash leaves the old content or the new one, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Metrics are written beside a backup that writes them too: each has a file of its own until the rename.
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        if not Path("/proc", left.name.split(".")[-2]).exists():
            left.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
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
    """The data of a JSON file; nothing where there is none. One that does not parse is set aside, never guessed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_name(f"{path.name}.broken"))
        return None


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Every plain file below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def inventory(folder: Path, sync: bool = False) -> dict[str, dict[str, Any]]:
    """Size and hash of every file below a folder by its relative name; on the disk before it is listed, if asked."""
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
    """Bytes of all files below a folder, as far as they are still there."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written at a folder, or at the nearest one above that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
