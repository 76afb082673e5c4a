# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders that a side-by-side restore is filling; known by device and inode until the restore is complete.

A killed restore leaves part of a data folder where the whole one was wanted, and the next restore to that place would
be refused. So the next run removes it, if it is still the folder that was created.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import asdict
from pathlib import Path

from evenkeel_backup import destroy, disk
from evenkeel_backup.destroy import OwnFolder

FILE = "unfinished_folders.json"
# What a recovery creates in its folder.
PARTS = ("data", "wal", "tablespaces")
STOP_SECONDS = 60


def begin(state_dir: Path, folder: Path) -> list[OwnFolder]:
    """Create a folder and record it; in an empty one that exists, create and record its parts instead."""
    top = destroy.new_folder(folder)
    created = [top] if top else [part for name in PARTS if (part := destroy.new_folder(folder / name))]
    _write(state_dir, [*_read(state_dir), *created])
    return created


def finish(state_dir: Path, created: list[OwnFolder]) -> None:
    """Forget folders: what is in them is complete."""
    _write(state_dir, [own for own in _read(state_dir) if own not in created])


def abandon(state_dir: Path, created: list[OwnFolder]) -> None:
    """Remove folders and forget them."""
    for own in created:
        destroy.remove_folder(own)
    finish(state_dir, created)


def left(state_dir: Path) -> list[OwnFolder]:
    """Return the folders of killed runs; no other run is at work, because the caller holds the lock."""
    return _read(state_dir)


def _read(state_dir: Path) -> list[OwnFolder]:
    found = (disk.read_json(state_dir / FILE) or {}).get("folders", [])
    return [OwnFolder(Path(one["path"]), one["device"], one["inode"]) for one in found]


def _write(state_dir: Path, folders: list[OwnFolder]) -> None:
    disk.write_json(state_dir / FILE, {"folders": [{**asdict(own), "path": str(own.path)} for own in folders]})


def programs_in(folder: Path) -> list[int]:
    """Return the processes that name a folder in their arguments, but for this run and what called it."""
    found = []
    callers = _callers()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if int(path.parent.name) not in callers and os.fsencode(folder) in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _callers() -> set[int]:
    """Return this process and its ancestors: their arguments name the folder that is wanted."""
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            break
        # The name before the state is in parentheses and may hold blanks.
        pid = int(text.rpartition(")")[2].split()[1])
    return found


def working_in(folder: Path) -> int:
    """Return a program that is still at work in a folder, or 0; one of a killed run ends in a moment."""
    deadline = time.monotonic() + STOP_SECONDS
    while working := programs_in(folder):
        if time.monotonic() > deadline:
            return working[0]
        time.sleep(0.2)
    return 0
