# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirror a bucket to a folder with rclone before a backup, and back to the bucket on a restore.

Objects are compared by size and time of the last write, and by hash where these differ. Content type and user
metadata are stored as extended attributes, which restic backs up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from evenkeel_backup import command, disk, target
from evenkeel_backup.config import Bucket
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.progress import Progress
from evenkeel_backup.restic import read_credentials

REMOTE = "bucket:"
# Report an unreachable store within minutes; by default rclone retries for a quarter of an hour.
PATIENCE = ("--retries=1", "--low-level-retries=2", "--contimeout=20s")
# Without these, rclone sends a request per object and misses one that was replaced with the same metadata.
SAME = ("--use-server-modtime", "--metadata")


class ObjectStore:
    """One bucket with its credentials."""

    def __init__(self, bucket: Bucket, seconds: float) -> None:
        self.bucket, self.seconds = bucket, seconds
        match = re.fullmatch(r"s3:(https?://[^/]+)/(.+?)/*", bucket.location)
        if not match:
            raise AssertionError("the configuration was judged before")
        self.endpoint, self.place = match[1], REMOTE + match[2]

    def _env(self) -> dict[str, str]:
        if self.bucket.credentials_file is None:
            raise BackupFailure(
                "config_wrong",
                "the bucket cannot be reached",
                self.bucket.name,
                "no credentials on this host",
                "the host that backs it up",
                "Run it there, or restore side_by_side",
                "store",
            )
        found = read_credentials(self.bucket.credentials_file)
        options = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ENDPOINT": self.endpoint,
            "REGION": self.bucket.region,
            "FORCE_PATH_STYLE": "true",
            "NO_CHECK_BUCKET": "true",
            "ACCESS_KEY_ID": found.get("AWS_ACCESS_KEY_ID", ""),
            "SECRET_ACCESS_KEY": found.get("AWS_SECRET_ACCESS_KEY", ""),
            "SESSION_TOKEN": found.get("AWS_SESSION_TOKEN", ""),
        }
        # An empty name keeps rclone from reading and writing a configuration file.
        return {"RCLONE_CONFIG": "", **{f"RCLONE_CONFIG_BUCKET_{name}": value for name, value in options.items()}}

    def run(self, *arguments: str, watch: Callable[[], None] | None = None) -> command.Done:
        """Run rclone; its failures are failures of the store."""
        ca = [f"--ca-cert={self.bucket.ca_file}"] if self.bucket.ca_file else []
        done = command.run(["rclone", *PATIENCE, *ca, *arguments], env=self._env(), seconds=self.seconds, watch=watch)
        return command.need(
            done,
            f"the bucket could not be handled (rclone {arguments[0]})",
            self.bucket.location,
            "every object of it",
            "Look at the store, its bucket and the credentials",
            "store_unreachable",
            store=True,
        )

    def size(self) -> int:
        """Return the size of all objects; a missing or inaccessible bucket is a failure."""
        return int(json.loads(self.run("size", "--json", self.place).out)["bytes"])

    def pull(self, folder: Path) -> None:
        """Mirror the bucket to a folder."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        size = self.size()
        problem = target.space_problem(max(0, size - disk.size_below(folder)), disk.free_bytes(folder), str(folder))
        if problem:
            raise problem
        progress = Progress(f"mirror bucket {self.bucket.name}", size)
        self.run("sync", *SAME, self.place, str(folder), watch=lambda: progress.show(disk.size_below(folder)))
        progress.show(disk.size_below(folder), last=True)

    def push(self, folder: Path) -> str:
        """Mirror a folder to the bucket, and read back every byte."""
        if not folder.is_dir():
            raise BackupFailure(
                "target_unknown", "the backup has no such bucket", self.bucket.name, "none", "its objects",
                "Choose a backup that holds it", "target",
            )  # fmt: skip
        self.run("sync", *SAME, str(folder), self.place)
        self.run("check", "--download", str(folder), self.place)
        return f"{len(disk.files_below(folder))} objects byte for byte"


def mirror_of(work_dir: Path, name: str) -> Path:
    """Return the folder that mirrors a bucket; it is kept, so that only changes are downloaded."""
    return work_dir / "buckets" / name


def chosen(buckets: tuple[Bucket, ...], typed: str) -> Bucket:
    """Return the bucket whose name was typed as confirmation."""
    for bucket in buckets:
        if bucket.name == typed:
            return bucket
    names = " or ".join(f"'{bucket.name}'" for bucket in buckets)
    raise BackupFailure(
        "confirmation_missing",
        "the name is not confirmed",
        names,
        f"--confirm '{typed}'" if typed else "no --confirm",
        f"{names} typed out",
        "Set --confirm to the bucket that is to be replaced",
        target.STAGE,
    )


__all__ = ["ObjectStore", "chosen", "mirror_of"]
