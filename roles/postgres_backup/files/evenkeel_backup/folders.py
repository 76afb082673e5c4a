# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine for files: volumes, uploads, configuration and buckets with restic, between two hooks.

A file that was written during the backup has another modification time than in the manifest. Such files count
towards the tolerance; all others are compared byte for byte.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from evenkeel_backup import buckets, disk, ladder, manifest, snapshots, target
from evenkeel_backup.config import Repository
from evenkeel_backup.engine import Restored
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.ladder import Ladder
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.scratch import place
from evenkeel_backup.state import now


class Folders(snapshots.SnapshotEngine):
    """Back up folders, and buckets through their mirrored folders."""

    def prepare(self, check: bool, new_server: bool = False) -> tuple[bool, list[dict[str, Any]]]:  # noqa: ARG002 - the interface of all engines
        settings = [
            {"name": f"path {path}", "found": Path(path).exists(), "need": True, "ok": Path(path).exists()}
            for path in self.job.config["paths"]
        ]
        for bucket in self.job.config.buckets:
            # A bucket that cannot be listed raises a failure with its name.
            buckets.ObjectStore(bucket, self.job.config["timeout_seconds"]).size()
        return snapshots.prepare(self.job, check), settings

    def backup(self, made: Manifest, kind: str) -> list[BackupFailure]:  # noqa: ARG002 - the interface of all engines
        job = self.job
        files: dict[str, Any] = {}
        made["buckets"] = {}
        for bucket in job.config.buckets:
            folder = buckets.mirror_of(job.config.work_dir, bucket.name)
            buckets.ObjectStore(bucket, job.config["timeout_seconds"]).pull(folder)
            made["buckets"][bucket.name] = str(folder)
        paths = [*job.config["paths"], *made["buckets"].values()]
        for path in paths:
            if not Path(path).exists():
                raise BackupFailure(
                    "empty_database",
                    "a folder is missing",
                    path,
                    "nothing",
                    "the folder",
                    "Restore the folder, or change paths",
                    "dump",
                )
            below = [Path(path)] if Path(path).is_file() else disk.files_below(Path(path))
            for one in below:
                try:
                    files[str(one)] = {
                        "bytes": one.stat().st_size,
                        "sha256": disk.sha256(one),
                        "mtime_ns": one.stat().st_mtime_ns,
                    }
                except FileNotFoundError:
                    continue
        made.update({"server": {}, "roles": [], "databases": [], "tablespaces": []})
        excluded = job.config["exclude"]
        made["files"] = {
            name: entry for name, entry in files.items() if not any(Path(name).match(one) for one in excluded)
        }
        made["bytes"] = sum(entry["bytes"] for entry in made["files"].values())
        staged = job.config.work_dir / made["id"]
        job.where.own(staged)
        made["finished_at"] = manifest.stamp(now())
        disk.write_json(
            staged / "manifest.json", {key: value for key, value in made.items() if key not in {"copies", "proofs"}}
        )
        made["copies"], failures = snapshots.store(job, made, staged, paths)
        snapshots.clear(staged)
        return failures

    def readable(self, made: Manifest, repository: Repository, key: bytes | None) -> str:
        with place(self.job, f"part-{made['sequence']:06d}") as folder:
            root = snapshots.fetch(self.job, made, repository, key, folder, ["manifest.json"])
            stored = disk.read_json(root / "manifest.json")
            if not stored or stored["files"] != made["files"]:
                raise BackupFailure(
                    "catalogue_unreadable",
                    "the stored manifest differs",
                    made["id"],
                    "another list of files",
                    "the one of this host",
                    "Take a new backup now",
                )
        return f"the manifest read back from {repository.name}"

    def drill(self, made: Manifest, repository: Repository, key: bytes | None, climb: Ladder) -> Restored:
        restored = Restored()
        with place(self.job, f"drill-{made['sequence']:06d}") as folder:
            began = time.monotonic()

            def restore() -> str:
                ladder.refuse(
                    [
                        problem
                        for problem in [target.space_problem(made["bytes"], disk.free_bytes(folder), str(folder))]
                        if problem
                    ]
                )
                snapshots.fetch(self.job, made, repository, key, folder / "copy")
                restored.seconds, restored.bytes = time.monotonic() - began, made["bytes"]
                return f"{len(made['files'])} files restored in {restored.seconds:.1f} s"

            climb.step("L3", restore)
            climb.step("L4", lambda: "files have no structure of their own to check")
            climb.step("L5", lambda: self.compare(made, folder / "copy"))
        return restored

    def compare(self, made: Manifest, copy: Path) -> str:
        """L5: compare every file that did not change during the backup, byte for byte."""
        found: dict[str, Any] = {}
        moving = 0
        for name, wanted in made["files"].items():
            path = copy / name.lstrip("/")
            if not path.is_file():
                continue
            if path.stat().st_mtime_ns != wanted["mtime_ns"]:
                moving += 1
                found[name] = wanted
            else:
                found[name] = {"bytes": path.stat().st_size, "sha256": disk.sha256(path)}
        problems = manifest.file_problems(made, found, made["id"])
        allowed = max(1, int(len(made["files"]) * self.job.config["tolerance"]))
        if moving > allowed:
            problems.append(
                BackupFailure(
                    "content_mismatch",
                    "files changed while they were read",
                    made["id"],
                    f"{moving} of them",
                    f"{allowed} at most",
                    "Set hooks.before_backup so that the service rests",
                )
            )
        ladder.refuse(problems)
        return f"{len(made['files']) - moving} files byte for byte, {moving} were being written"
