# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kept releases: one file each, named by identity."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils._state import RELEASE, Records


def names(records: Records) -> set[str]:
    """Return every identity a file stands for, those set aside included."""
    folder = Path(records.path("releases"))
    if not folder.is_dir():
        return set()
    found = [path.name for path in folder.iterdir()]
    return {name.split(".json")[0] for name in found if ".json" in name and not name.startswith(".")}


def read(records: Records, read_only: bool = False) -> dict[str, dict[str, t.Any]]:
    """Return the records by identity; one that does not parse is set aside and reported."""
    result: dict[str, dict[str, t.Any]] = {}
    for identity in sorted(names(records)):
        if not RELEASE.match(identity):
            continue
        record = records.read("releases", identity + ".json", read_only=read_only)
        if record is not None and record.get("identity") == identity and record.get("hash"):
            result[identity] = record
    return result
