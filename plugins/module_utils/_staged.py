# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions about a set of settings that is checked beside the present one. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import re
import typing as t
from pathlib import PurePosixPath


def identity(files: t.Mapping[str, str]) -> str:
    """The name of a set: a hash over its paths and contents."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0{content}\0".encode())
    return total.hexdigest()[:16]


def odd_paths(files: t.Iterable[str]) -> list[str]:
    """The paths that would leave the folder, or are no names of files."""
    return sorted(
        name
        for name in files
        if not name or name.startswith("/") or name.endswith("/") or ".." in PurePosixPath(name).parts
    )


def last_reading(text: str, prefix: str) -> float:
    """When the program last loaded its settings, by its own metrics; 0 if they lack it."""
    return _value(text, f"{prefix}_last_reload_success_timestamp_seconds") or 0


def taken(text: str, prefix: str, before: float) -> str:
    """Return why the metrics do not show a successful reload after the one before, or an empty string.

    Prometheus and Alertmanager both expose whether their last reload succeeded, and when the last successful one was.
    """
    well = _value(text, f"{prefix}_last_reload_successful")
    when = last_reading(text, prefix)
    if well is None or not when:
        return f"no figure {prefix}_last_reload_successful"
    if well != 1:
        return "that it refused the settings"
    return "" if when > before else "that it has not read the settings yet"


def _value(text: str, name: str) -> float | None:
    found = re.search(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else None


def expired(kept: t.Iterable[tuple[float, str]], needed: t.Collection[str], keep: int) -> list[str]:
    """The sets to delete: all but the newest, and never one that is needed."""
    newest = [name for _when, name in sorted(kept, reverse=True)]
    return [name for name in newest[keep:] if name not in needed]
