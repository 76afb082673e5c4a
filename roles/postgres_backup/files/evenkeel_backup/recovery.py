# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore a physical backup to a point in time: fetch and check all needed WAL before the server starts.

The server then recovers with no network, from a folder.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evenkeel_backup import command, disk, safepath, wal
from evenkeel_backup.config import Repository
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.pgbackrest import PgBackRest
from evenkeel_backup.progress import Progress
from evenkeel_backup.scratch import Scratch
from evenkeel_backup.target import Candidate, Point


@dataclass(frozen=True)
class Archive:
    """The WAL of one backup in a repository."""

    path: str
    segments: frozenset[str]
    histories: frozenset[int]
    way: tuple[wal.Leg, ...]
    start: int
    end: int
    end_at: datetime
    hole: str
    size: int

    @property
    def timeline(self) -> int:
        """Return the timeline that a recovery ends on."""
        return self.way[-1].timeline


def backup_entry(info: dict[str, Any], label: str) -> dict[str, Any]:
    """Return pgBackRest's info of one backup."""
    for entry in info["backup"]:
        if entry["label"] == label:
            return dict(entry)
    raise BackupFailure(
        "partial_upload", "the backup is not in the repository", label, "no such label", "it", "Take a new backup now"
    )


def archive_of(
    tool: PgBackRest, repository: Repository, entry: dict[str, Any], info: dict[str, Any], size: int
) -> Archive:
    """Return the WAL since a backup's start, along the newest timeline through the backup."""
    ids = [one["id"] for one in info["archive"] if one["database"]["id"] == entry["database"]["id"]]
    path = f"archive/{tool.job.config.instance}/{ids[-1] if ids else 'none'}"
    listing = tool.listing(repository, path) if ids else {}
    segments, histories = wal.names(listing)
    start, stop = wal.lsn(entry["lsn"]["start"]), wal.lsn(entry["lsn"]["stop"])
    own = int(entry["archive"]["start"][:8], 16)
    way = _way(tool, repository, path, sorted(histories, reverse=True), own, stop)
    end, last = wal.reach(way, start, segments, size)
    times = [one.get("time", 0) for name, one in listing.items() if last and name.rpartition("/")[2].startswith(last)]
    hole = (
        wal.segment_name(way[-1].timeline, end, size) if wal.gap_behind(segments, end, way[-1].timeline, size) else ""
    )
    return Archive(
        path,
        frozenset(segments),
        frozenset(histories),
        tuple(way),
        start,
        end,
        datetime.fromtimestamp(max(times, default=0), UTC),
        hole,
        size,
    )


def _way(
    tool: PgBackRest, repository: Repository, path: str, newest_first: list[int], own: int, stop: int
) -> list[wal.Leg]:
    for timeline in newest_first:
        if timeline <= own:
            break
        done = tool.run(
            "repo-get", f"--repo={repository.number}", f"{path}/{timeline:08X}.history", stanza=False, seconds=120
        )
        tool.need(done, "a timeline's history cannot be read", "it", "partial_upload")
        way = wal.legs(done.out, timeline)
        if any(leg.timeline == own and leg.until is not None and leg.until >= stop for leg in way):
            return way
    return [wal.Leg(own, None)]


def candidate(entry: dict[str, Any]) -> Candidate:
    """Return a backup as a candidate for recovery."""
    return Candidate(
        entry["label"],
        datetime.fromtimestamp(entry["timestamp"]["stop"], UTC),
        wal.lsn(entry["lsn"]["stop"]),
        int(entry["archive"]["stop"][:8], 16),
    )


def needed_wal(archive: Archive, until: int | None) -> list[str]:
    """Return all segments for a recovery, or raise with the first missing one."""
    last = until if until is not None else archive.end - 1
    names = wal.needed(list(archive.way), archive.start, max(last, archive.start), archive.size)
    absent = wal.missing(names, set(archive.segments))
    if absent or (until is None and archive.hole):
        first = absent[0] if absent else archive.hole
        raise BackupFailure(
            "missing_wal",
            "the archive has a hole",
            archive.path,
            f"no {first}" + (f" and {len(absent) - 1} more" if len(absent) > 1 else ""),
            f"every segment from {names[0]} to {names[-1]}",
            "Take a full backup now; what lies before the hole stays recoverable",
        )
    following = wal.segment_name(archive.timeline, (last // archive.size + 1) * archive.size, archive.size)
    return [*names, following] if following in archive.segments else names


def fetch_wal(
    tool: PgBackRest, repository: Repository, archive: Archive, names: list[str], data: Path, folder: Path, jobs: int
) -> None:
    """Fetch segments and histories to a folder by pgBackRest, which decrypts and checks them."""
    tool.job.where.own(folder)
    progress = Progress("fetch WAL", len(names) * archive.size)
    files = names + [f"{number:08X}.history" for number in sorted(archive.histories)]

    def get(name: str) -> command.Done:
        done = tool.run(
            "archive-get", f"--repo={repository.number}", f"--pg1-path={data}", name, str(folder / name), seconds=600
        )
        progress.show(disk.size_below(folder))
        return done

    with ThreadPoolExecutor(jobs) as pool:
        for name, done in zip(files, pool.map(get, files), strict=True):
            # Code 1 without a message means that the archive has no such file.
            tool.need(
                done,
                f"the WAL {name} cannot be fetched",
                "it from the archive",
                "missing_wal" if done.code == 1 else "flipped_byte",
            )


def restore_files(tool: PgBackRest, repository: Repository, label: str, data: Path, watch_total: int) -> None:
    """Restore the backup's files to an empty folder, without pgBackRest's recovery settings."""
    tool.job.where.own(data)
    tool.job.where.own(data.parent / "tablespaces")
    progress = Progress("restore", watch_total)
    done = tool.run(
        "restore",
        f"--repo={repository.number}",
        f"--set={label}",
        f"--pg1-path={data}",
        "--type=preserve",
        f"--tablespace-map-all={data.parent / 'tablespaces'}",
        watch=lambda: progress.show(disk.size_below(data)),
    )
    tool.need(done, "the files were not restored", "pgbackrest restore ending with code 0", "flipped_byte")
    progress.show(disk.size_below(data), last=True)


def settings(point: Point, archive: Archive, wal_folder: Path, preload: str) -> dict[str, str]:
    """Return the settings to recover to a point and then promote. Pure."""
    found = {
        "restore_command": f'cp "{wal_folder}/%f" "%p"',
        # The backup's own timeline needs no history; the first timeline has none.
        "recovery_target_timeline": str(archive.timeline) if len(archive.way) > 1 else "current",
        "recovery_target_action": "promote",
        "hot_standby": "on",
        "shared_preload_libraries": preload,
    }
    if point.lsn is not None:
        # Records before the position, without the record that starts there.
        found |= {"recovery_target_lsn": wal.lsn_text(point.lsn), "recovery_target_inclusive": "off"}
    elif point.time is not None:
        found |= {"recovery_target_time": point.time.isoformat(sep=" "), "recovery_target_inclusive": "on"}
    elif point.name:
        found["recovery_target_name"] = point.name
    elif point.xid:
        found |= {"recovery_target_xid": point.xid, "recovery_target_inclusive": "on"}
    return found


def recover(
    tool: PgBackRest,
    repository: Repository,
    entry: dict[str, Any],
    archive: Archive,
    point: Point,
    scratch: Scratch,
    *,
    preload: str,
    user: str,
    jobs: int,
    ready_seconds: float,
    fetched: Callable[[], None] = lambda: None,
) -> None:
    """Restore files and WAL, and start a server that recovers to the point and promotes."""
    names = needed_wal(archive, point.lsn)
    restore_files(tool, repository, entry["label"], scratch.data, int(entry["info"]["size"]))
    wal_folder = scratch.folder / "wal"
    fetch_wal(tool, repository, archive, names, scratch.data, wal_folder, jobs)
    fetched()
    where = scratch.job.where
    safepath.touch(scratch.data, "recovery.signal", uid=where.uid, gid=where.gid)
    scratch.start({**scratch.inherited(), **settings(point, archive, wal_folder, preload)}, ready_seconds, user)
