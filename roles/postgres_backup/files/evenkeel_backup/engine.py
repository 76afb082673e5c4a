# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine can do, in one shape."""

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
    """What a drill brought back, for the report."""

    seconds: float = 0.0
    bytes: int = 0
    figures: dict[str, Any] = field(default_factory=dict)


class Engine(ABC):
    """One way to back an instance up."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def system(self) -> str:
        """The identifier of the server's data; empty where there is no server."""
        return ""

    @abstractmethod
    def prepare(self, check: bool, new_server: bool = False) -> tuple[bool, list[dict[str, Any]]]:
        """Make repositories; whether anything was made, and how the server's settings stand."""

    @abstractmethod
    def backup(self, made: Manifest, kind: str) -> list[BackupFailure]:
        """Take a backup: complete the manifest with content and copies; what went wrong with single repositories."""

    @abstractmethod
    def stored(self, made: Manifest, repository: Repository, key: bytes | None, read_data: bool) -> str:
        """L1: what is stored is what was made."""

    @abstractmethod
    def readable(self, made: Manifest, repository: Repository, key: bytes | None) -> str:
        """L2: the catalogue can be read back."""

    def gaps(self, repository: Repository) -> list[BackupFailure]:  # noqa: ARG002 - engines without WAL have none
        """What is missing between the backups of a repository."""
        return []

    @abstractmethod
    def drill(self, made: Manifest, repository: Repository, key: bytes | None, ladder: Ladder) -> Restored:
        """L3 to L5."""

    @abstractmethod
    def catalogue(self, repository: Repository, key: bytes | None) -> list[Manifest]:
        """The backups a repository holds, by its own word."""

    @abstractmethod
    def forget(self, repository: Repository, copies: list[dict[str, Any]]) -> None:
        """Remove copies."""

    def orphans(self, repository: Repository) -> list[str]:  # noqa: ARG002 - restic's snapshots come whole or not at all
        """Copies that a run of ours left without a manifest: no tier counts them, so that they would stay for good."""
        return []

    @abstractmethod
    def opens(self, repository: Repository, key: bytes) -> str:
        """Open a repository with a key from elsewhere; the repository's identity."""

    def needed_bytes(self, made: Manifest) -> int:
        """What a restore of it needs on the disk."""
        return int(made["bytes"]) + sum(int(entry["bytes"]) for entry in made.get("databases", []))

    def restored_folder(self, made: Manifest) -> Path:
        """Where a drill works."""
        return self.job.config.work_dir / f"drill-{made['sequence']:06d}"
