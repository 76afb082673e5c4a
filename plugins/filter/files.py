# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters for files and folders of a role on a host."""

from __future__ import annotations

import hashlib
import re
from typing import Any

STAT = re.compile(r"(?P<mode>[0-7]+) (?P<owner>\S+) (?P<group>\S+) (?P<path>/.*)")
SUM = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<path>/.*)")


def differing_files(files: list[dict[str, Any]], listing: list[str], mode: str) -> list[dict[str, Any]]:
    """Return the files that differ on the host in owner (root), content or mode."""
    stats = {match["path"]: match for line in listing if (match := STAT.fullmatch(line))}
    sums = {match["path"]: match["sum"] for line in listing if (match := SUM.fullmatch(line))}

    def same(file: dict[str, Any]) -> bool:
        stat = stats.get(file["path"])
        return (
            stat is not None
            and int(stat["mode"], 8) == int(mode, 8)
            and (stat["owner"], stat["group"]) == ("root", "root")
            and sums.get(file["path"]) == hashlib.sha256(file["content"].encode()).hexdigest()
        )

    return [file for file in files if not same(file)]


def differing_folders(folders: list[dict[str, str]], listing: list[str]) -> list[dict[str, str]]:
    """Return the folders that differ on the host in owner (root) or mode."""
    stats = {match["path"]: match for line in listing if (match := STAT.fullmatch(line))}

    def same(folder: dict[str, str]) -> bool:
        stat = stats.get(folder["path"])
        return (
            stat is not None
            and int(stat["mode"], 8) == int(folder["mode"], 8)
            and (stat["owner"], stat["group"]) == ("root", "root")
        )

    return [folder for folder in folders if not same(folder)]


class FilterModule:
    """Filters for files and folders of a role on a host."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"differing_files": differing_files, "differing_folders": differing_folders}
