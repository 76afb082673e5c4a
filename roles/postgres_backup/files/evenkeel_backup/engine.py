# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface of all backup engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenkeel_backup.config import Repository
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.ladder import Ladder
from evenkeel_backup.manifest import Manifest


@dataclass
class Restored:
    """Figures of a drill's restore, for the report."""

    seconds: float = 0.0
    bytes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


class Engine(ABC):
    """A way to back up an instance."""

    def __init__(self, job: Job) -> None:
        self.job = job
        # What `prepare` found to be left out of backups.
        self.warnings: list[BackupFailure] = []
        # By repository: damage that was found beside the copy that was to be proven.
        self.doubts: dict[str, BackupFailure] = {}

    def system(self) -> str:
        """Return the system identifier of the server; empty without a server."""
        return ""

    @abstractmethod
    def prepare(self, check: bool, new_server: bool = False) -> tuple[bool, list[dict[str, Any]]]:
        """Create missing repositories; return whether any was created, and the state of the server's settings."""

    @abstractmethod
    def backup(self, made: Manifest, kind: str) -> list[BackupFailure]:
        """Take a backup and complete the manifest; return the failures of single repositories."""

    @abstractmethod
    def stored(self, made: Manifest, repository: Repository, key: bytes | None, read_data: bool) -> str:
        """L1: verify that the stored data equals the backup."""

    @abstractmethod
    def readable(self, made: Manifest, repository: Repository, key: bytes | None) -> str:
        """L2: read back the catalogue."""

    def gaps(self, repository: Repository) -> list[BackupFailure]:  # noqa: ARG002 - engines without WAL have none
        """Return the gaps between the backups of a repository."""
        return []

    @abstractmethod
    def absent(self, repository: Repository, entries: list[Manifest]) -> set[str]:
        """Return the ids of backups whose copy the repository no longer has."""

    @abstractmethod
    def examine(self, repository: Repository, entries: list[Manifest], doubt: bool) -> dict[str, BackupFailure]:
        """Return what is wrong with the copies of backups, by id; *doubt* means that the repository has damage."""

    @abstractmethod
    def drill(self, made: Manifest, repository: Repository, key: bytes | None, ladder: Ladder) -> Restored:
        """Run levels L3 to L5."""

    @abstractmethod
    def catalogue(self, repository: Repository, key: bytes | None) -> list[Manifest]:
        """List the backups in a repository."""

    @abstractmethod
    def forget(self, repository: Repository, copies: list[dict[str, Any]]) -> None:
        """Remove copies."""

    def orphans(self, repository: Repository) -> list[str]:  # noqa: ARG002 - restic's snapshots are complete or absent
        """Return copies without a manifest from interrupted runs, which no tier of retention counts."""
        return []

    @abstractmethod
    def opens(self, repository: Repository, key: bytes) -> str:
        """Open a repository with another copy of the key; return the repository's identity."""

    def needed_bytes(self, made: Manifest) -> int:
        """Return the disk space that a restore needs."""
        return int(made["bytes"]) + sum(int(entry["bytes"]) for entry in made.get("databases", []))

    def restored_folder(self, made: Manifest) -> Path:
        """Return the folder of a drill."""
        return self.job.config.work_dir / f"drill-{made['sequence']:06d}"
