# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the engines that store with restic: copies, their catalogue, and the first levels of proof."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evenkeel_backup import disk, manifest
from evenkeel_backup.config import Repository
from evenkeel_backup.destroy import remove
from evenkeel_backup.engine import Engine
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.job import Job, key_copy
from evenkeel_backup.manifest import Manifest
from evenkeel_backup.progress import Progress
from evenkeel_backup.restic import TAG, Restic
from evenkeel_backup.state import copy_of, now

# The store does not answer, or not to us: nothing is known of the copies.
OF_STORE = frozenset({"store_unreachable", "store_denied", "wrong_key", "lock_held", "tool_missing"})


def opened(job: Job, repository: Repository, key: bytes | None = None) -> Restic:
    """Return a repository, with the configured key or its external copy."""
    return Restic(repository, job.cache, job.config["timeout_seconds"], key_copy(job, key, repository))


def prepare(job: Job, check: bool) -> bool:
    """Create missing repositories; return whether there were any."""
    repositories = [opened(job, repository) for repository in job.config.repositories]
    # Side by side: restic takes half a second of one core to derive the key.
    with ThreadPoolExecutor(max(1, len(repositories))) as pool:
        there = list(pool.map(Restic.exists, repositories))
    missing = [one for one, exists in zip(repositories, there, strict=True) if not exists]
    for restic in missing:
        job.actions.append(f"made repository {restic.repository.name} at {restic.repository.location}")
        if not check:
            restic.make()
    return bool(missing)


def store(
    job: Job, made: Manifest, folder: Path, paths: Iterable[str] = ()
) -> tuple[list[dict[str, Any]], list[BackupFailure]]:
    """Store a folder in every repository; a failing one does not affect the others."""
    copies, failures = [], []
    for repository in job.config.repositories:
        progress = Progress(f"store in {repository.name}", made["bytes"], 30)
        try:
            restic = opened(job, repository)
            tags = [TAG, f"instance={job.config.instance}", f"id={made['id']}"]
            summary = restic.backup([str(folder), *paths], tags, job.config["exclude"])
            progress.show(made["bytes"], last=True)
            copies.append(
                {
                    "repository": repository.name,
                    "snapshot": summary["snapshot_id"],
                    "bytes": summary.get("data_added", 0),
                    "root": str(folder),
                    "stored_at": manifest.stamp(now()),
                    "needs": [],
                }
            )
        except BackupFailure as failure:
            failure.stage = "store"
            failures.append(failure)
    return copies, failures


def catalogue(job: Job, repository: Repository, key: bytes | None = None) -> list[Manifest]:
    """List the backups in a repository; a bare host knows no other source."""
    restic = opened(job, repository, key)
    known = {entry["id"]: entry for entry in job.state.backups()}
    found = []
    for snapshot in restic.snapshots(f"instance={job.config.instance}"):
        tags = dict(tag.partition("=")[::2] for tag in snapshot.get("tags", []))
        root = next((path for path in snapshot["paths"] if path.endswith("/" + tags.get("id", "-"))), "")
        if not root:
            continue
        entry = known.get(tags["id"])
        if entry is None:
            entry = json.loads(restic.text(snapshot["id"], f"{root}/manifest.json"))
            entry.update({"copies": [], "proofs": []})
        if not any(copy["repository"] == repository.name for copy in entry["copies"]):
            copy = {
                "repository": repository.name,
                "snapshot": snapshot["id"],
                "bytes": 0,
                "root": root,
                "stored_at": snapshot["time"],
                "needs": [],
            }
            entry["copies"] = [*entry["copies"], copy]
        found.append(entry)
    return found


def sizes(job: Job, made: Manifest, repository: Repository, key: bytes | None) -> None:
    """Compare the sizes in the snapshot with the manifest."""
    copy = copy_of(made, repository.name)
    listing = opened(job, repository, key).listing(copy["snapshot"])
    root = copy["root"] + "/"
    here = {path.removeprefix(root): entry for path, entry in listing.items() if path.startswith(root)}
    wanted = {**made, "files": {name: entry for name, entry in made["files"].items() if not name.startswith("/")}}
    problems = manifest.file_problems(wanted, here, f"{repository.name} {made['id']}")
    outside = {name: entry for name, entry in made["files"].items() if name.startswith("/")}
    problems += [
        failure
        for failure in manifest.file_problems({**made, "files": outside}, listing, f"{repository.name} {made['id']}")
        if failure.fault == "partial_upload"
    ]
    if problems:
        raise Failures(problems)


def fetch(
    job: Job, made: Manifest, repository: Repository, key: bytes | None, target: Path, only: Iterable[str] = ()
) -> Path:
    """Restore a copy, compare every file with the manifest, and return its folder."""
    copy = copy_of(made, repository.name)
    progress = Progress("fetch", made["bytes"])
    restic = opened(job, repository, key)
    include = [f"{copy['root']}/{name}" for name in only]
    restic.restore(copy["snapshot"], target, include, watch=lambda: progress.show(disk.size_below(target)))
    progress.show(disk.size_below(target), last=True)
    return target / str(copy["root"]).lstrip("/")


def forget(job: Job, repository: Repository, snapshots: list[str]) -> None:
    """Remove copies from a repository; restic refuses one that is gone already."""
    restic = opened(job, repository)
    there = [str(one["id"]) for one in restic.snapshots(f"instance={job.config.instance}")]
    present = [name for name in snapshots if any(one.startswith(name) for one in there)]
    if present:
        restic.forget(present)


def clear(folder: Path) -> None:
    """Remove a staged backup."""
    remove(folder)


class SnapshotEngine(Engine):
    """Methods that do not depend on the content of snapshots."""

    def catalogue(self, repository: Repository, key: bytes | None) -> list[Manifest]:
        return catalogue(self.job, repository, key)

    def forget(self, repository: Repository, copies: list[dict[str, Any]]) -> None:
        forget(self.job, repository, [copy["snapshot"] for copy in copies])

    def stored(self, made: Manifest, repository: Repository, key: bytes | None, read_data: bool) -> str:
        """L1: compare the sizes with the manifest, and check the repository, or if that fails this snapshot alone."""
        sizes(self.job, made, repository, key)
        restic = opened(self.job, repository, key)
        files = f"{len(made['files'])} files of the size they were made with"
        try:
            restic.check(read_data)
        except BackupFailure as failure:
            if failure.fault in OF_STORE:
                raise
            try:
                restic.read(copy_of(made, repository.name)["snapshot"])
            except BackupFailure:
                raise failure from None
            self.doubts[repository.name] = failure
            return f"every byte of this snapshot, but not of the repository, and {files}"
        all_bytes = f", every byte of {repository.name} read" if read_data else ""
        return f"restic check, and {files}{all_bytes}"

    def absent(self, repository: Repository, entries: list[Manifest]) -> set[str]:
        restic = opened(self.job, repository)
        there = [str(one["id"]) for one in restic.snapshots(f"instance={self.job.config.instance}")]
        # Older versions of restic print the start of an id only.
        return {
            entry["id"]
            for entry in entries
            if not any(one.startswith(copy_of(entry, repository.name)["snapshot"]) for one in there)
        }

    def examine(self, repository: Repository, entries: list[Manifest], doubt: bool) -> dict[str, BackupFailure]:
        found: dict[str, BackupFailure] = {}
        for entry in entries:
            try:
                sizes(self.job, entry, repository, None)
                if doubt:
                    opened(self.job, repository).read(copy_of(entry, repository.name)["snapshot"])
            except BackupFailure as failure:
                if failure.fault in OF_STORE:
                    raise
                found[entry["id"]] = failure
            except Failures as several:
                found[entry["id"]] = several.failures[0]
        return found

    def opens(self, repository: Repository, key: bytes) -> str:
        restic = opened(self.job, repository, key)
        try:
            return restic.identity()
        finally:
            remove(restic.key_file)
