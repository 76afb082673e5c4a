# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of an instance on this host: backups, proofs, escrow, and the last result of each stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenkeel_backup import disk
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.manifest import SAFETY, Manifest, stamp

STAGES = (
    "config",
    "lock",
    "clock",
    "schedule",
    "hooks",
    "server",
    "dump",
    "store",
    "L0",
    "L1",
    "L2",
    "L3",
    "L4",
    "L5",
    "escrow",
    "copies",
    "retain",
    "archive",
    "target",
    "restore",
)


@dataclass(frozen=True)
class State:
    """The state folder of an instance."""

    folder: Path

    @property
    def _backups(self) -> Path:
        return self.folder / "backups"

    def backups(self) -> list[Manifest]:
        """Return all known backups, oldest first by sequence, independent of the clock."""
        found = [disk.read_json(path) for path in self._backups.glob("*.json")]
        return sorted((entry for entry in found if entry), key=lambda entry: entry["sequence"])

    def keep(self, manifest: Manifest) -> None:
        """Write a backup's manifest."""
        disk.write_json(self._backups / f"{manifest['id']}.json", manifest)

    def drop(self, name: str) -> None:
        """Remove a backup without copies."""
        (self._backups / f"{name}.json").unlink(missing_ok=True)

    def next_sequence(self) -> int:
        """Return the next sequence number, which was never used before."""
        last = int((disk.read_json(self.folder / "sequence.json") or {}).get("sequence", 0))
        number: int = max([last, *(entry["sequence"] for entry in self.backups())]) + 1
        disk.write_json(self.folder / "sequence.json", {"sequence": number})
        return number

    def find(self, name: str, repository: str) -> Manifest:
        """Find a backup by its id, or the newest one with a copy in the repository.

        A safety backup counts as newest only if there is no other, because its data was replaced on purpose.
        """
        having = [
            entry for entry in self.backups() if any(copy["repository"] == repository for copy in entry["copies"])
        ]
        wanted = [entry for entry in having if entry["reason"] != SAFETY] or having
        for entry in reversed(wanted if name == "latest" else having):
            if name in {"latest", entry["id"]}:
                return entry
        raise BackupFailure(
            "target_unknown",
            "there is no such backup",
            f"repository {repository}",
            ", ".join(entry["id"] for entry in having) or "none at all",
            name,
            "See 'evenkeel-backup status', or take a backup first",
        )

    def good(self, level: int = 2, before: int = 0) -> Manifest | None:
        """Return the newest backup that is proven to a level."""
        for entry in reversed(self.backups()):
            if level_of(entry) >= level and (not before or entry["sequence"] < before):
                return entry
        return None

    def prove(self, name: str, repository: str, level: int, host: str, at: datetime, failed: bool) -> None:
        """Record the proven level of a copy. A failed check lowers it; a shorter successful one does not."""
        for entry in self.backups():
            if entry["id"] == name:
                others = [proof for proof in entry.get("proofs", []) if proof["repository"] != repository]
                if not failed and level < level_of(entry, repository):
                    continue
                entry["proofs"] = [*others, {"repository": repository, "level": level, "host": host, "at": stamp(at)}]
                self.keep(entry)

    def note(self, stage: str, ok: bool, at: datetime, **more: Any) -> None:
        """Record the result of a stage."""
        last = self.last()
        entry = last["stages"].get(stage, {"ok_at": "", "failed_at": ""})
        entry.update({"ok": ok, "ok_at" if ok else "failed_at": stamp(at), **more})
        if ok:
            entry["fault"] = ""
        last["stages"][stage] = entry
        self.write_last(last)

    def last(self) -> dict[str, Any]:
        """Return the last results."""
        found = disk.read_json(self.folder / "last.json") or {}
        return {"schema": 1, "stages": {}, "verbs": {}, "drill": {}, **found}

    def write_last(self, last: dict[str, Any]) -> None:
        """Replace that."""
        disk.write_json(self.folder / "last.json", last)

    def archive(self) -> dict[str, Any]:
        """Return the last measurement of the archive; in a separate file, because measuring takes no lock."""
        return dict(disk.read_json(self.folder / "archive.json") or {})

    def write_archive(self, archive: dict[str, Any]) -> None:
        """Replace that."""
        disk.write_json(self.folder / "archive.json", archive)

    def server(self) -> str:
        """Return the system identifier of the server; empty before the first backup."""
        return str((disk.read_json(self.folder / "server.json") or {}).get("system", ""))

    def write_server(self, system: str) -> None:
        """Replace that."""
        disk.write_json(self.folder / "server.json", {"system": system})

    def gone(self) -> dict[str, str]:
        """Return the databases that a person said were dropped on purpose, with the time of that."""
        return dict(disk.read_json(self.folder / "gone.json") or {})

    def write_gone(self, gone: dict[str, str]) -> None:
        """Replace that."""
        disk.write_json(self.folder / "gone.json", gone)

    def escrow(self) -> dict[str, Any]:
        """Return the proofs of the external copies of keys."""
        return dict(disk.read_json(self.folder / "escrow.json") or {})

    def write_escrow(self, escrow: dict[str, Any]) -> None:
        """Replace that."""
        disk.write_json(self.folder / "escrow.json", escrow)


def level_of(manifest: Manifest, repository: str = "") -> int:
    """Return the proven level of a backup, in one repository or the best one."""
    return max(
        (proof["level"] for proof in manifest.get("proofs", []) if repository in {"", proof["repository"]}), default=0
    )


def copy_of(manifest: Manifest, repository: str) -> dict[str, Any]:
    """Return the copy of a backup in a repository."""
    for copy in manifest["copies"]:
        if copy["repository"] == repository:
            return dict(copy)
    raise BackupFailure(
        "target_unknown",
        "there is no copy",
        f"{manifest['id']} in {repository}",
        "none",
        "one",
        "Choose another --repository",
    )


def now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)
