# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of the checkout: tracked files, and untracked files that are not ignored."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def copy_to(target: Path, left_out: Iterable[str] = ()) -> None:
    """Copy the checkout to target, with symlinks, without paths that match a pattern of left_out."""
    patterns = tuple(left_out)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    shutil.rmtree(target, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, target / name
        # git still lists a removed file before the removal is committed.
        there = source.is_file() or source.is_symlink()
        if there and not any(fnmatch(name, pattern) for pattern in patterns):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
