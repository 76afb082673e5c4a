# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""L5: compare restored databases with the manifest, and say what was compared and what was not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from evenkeel_backup import content, left_out, manifest
from evenkeel_backup.database import Server, described
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.manifest import Manifest


@dataclass
class Compared:
    """Findings by name, none if the copy is equal; figures of what was compared; what is equal but for that."""

    problems: list[BackupFailure] = field(default_factory=list)
    tables: int = 0
    rows: int = 0
    sums: int = 0
    large_objects: int = 0
    left_out: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return what was compared, as evidence."""
        text = f"{self.rows} rows in {self.tables} tables"
        if self.sums:
            text += f", the content of {self.sums} by their sums"
        if self.large_objects:
            text += f", {self.large_objects} large objects"
        return text

    @property
    def but_for(self) -> str:
        """Return what is not equal or not compared, as the end of the evidence."""
        return f"; equal but for: {'; '.join(self.left_out)}" if self.left_out else ""

    @property
    def figures(self) -> dict[str, Any]:
        """Return the figures for the report."""
        return {
            "tables": self.tables,
            "rows": self.rows,
            "sums": self.sums,
            "large_objects": self.large_objects,
            "left_out": self.left_out,
        }


def compare(
    job: Job,
    made: Manifest,
    servers: dict[str, Server],
    roles: list[str] | None,
    tolerance: float = 0.0,
) -> Compared:
    """Compare databases of a manifest with restored ones, given by the name in the manifest.

    Returns all findings; raises only where a server does not answer. Without roles, those are not compared, and neither
    are the databases that are not given.
    """
    found = Compared()
    unlogged = made["engine"] == "logical"
    entries = [entry for entry in made["databases"] if roles is not None or entry["name"] in servers]
    restored = []
    for entry in entries:
        server = servers.get(entry["name"])
        if server is None:
            continue
        have = {**described(server, job.config["timeout_seconds"], unlogged=unlogged), "name": entry["name"]}
        apart: list[str] = []
        if "sums" in entry:
            apart = _content(job, server, entry, have, found)
        found.left_out += left_out.sentences(made, entry, apart)
        found.tables += len(entry["rows"])
        found.rows += sum(have["rows"].values())
        restored.append(have)
    wanted = {**made, "roles": made["roles"] if roles is not None else [], "databases": entries}
    found.problems += manifest.differences(wanted, {"roles": roles or [], "databases": restored}, tolerance)
    return found


def _content(job: Job, server: Server, entry: dict[str, Any], have: dict[str, Any], found: Compared) -> list[str]:
    """Add the sums of a restored database; return what could not be compared."""
    read = content.of_database(server, entry, job.config["jobs"], job.config["timeout_seconds"])
    have["sums"] = {key: value[1] for key, value in read["sums"].items()}
    have["unread"] = read["problems"]
    have["objects"] = read["objects"]
    found.sums += sum(1 for key in have["sums"] if key in entry["sums"])
    found.large_objects += read["objects"].get("count", 0)
    return [f"{key} was not compared ({reason})" for key, reason in read["apart"].items()]
