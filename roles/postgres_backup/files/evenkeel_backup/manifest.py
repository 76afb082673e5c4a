# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a backup: recorded once, compared after each restore. Pure."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from evenkeel_backup.faults import BackupFailure

SCHEMA = 1
STAGE = "compare"
SHOWN = 5
# Reason of the backup that an in-place restore takes first.
SAFETY = "safety"

Manifest = dict[str, Any]


def identity(at: datetime, sequence: int) -> str:
    """Return the id of a backup: time and sequence, so that two in one second differ."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{sequence:06d}"


def clock_problem(
    newest_at: datetime | None, now: datetime, instance: str, tolerance: float = 300
) -> BackupFailure | None:
    """Return the problem that the clock is behind the newest backup."""
    if newest_at is None or (newest_at - now).total_seconds() <= tolerance:
        return None
    return BackupFailure(
        "clock_jump",
        "the clock was set back",
        instance,
        f"now {now.isoformat()}, a newest backup of {newest_at.isoformat()}",
        "a clock ahead of it",
        "Set the clock; until then nothing is removed",
        "clock",
    )


def size_problem(manifest: Manifest, good: Manifest | None, minimum: int, ratio: float) -> BackupFailure | None:
    """L0: compare the size with the minimum and with the newest good backup."""
    name = manifest["id"]
    if manifest["bytes"] < minimum:
        return BackupFailure(
            "size_anomaly",
            "the backup is too small",
            name,
            f"{manifest['bytes']} bytes",
            f"{minimum}",
            "Check whether the data is complete; set minimum_bytes if it is",
            "L0",
        )
    if good and manifest["bytes"] < good["bytes"] * ratio:
        return BackupFailure(
            "size_anomaly",
            "the backup has shrunk",
            name,
            f"{manifest['bytes']} bytes after {good['bytes']} of {good['id']}",
            f"{ratio:.0%} of it",
            "Check whether data was lost; set shrink_ratio if the backup is expected to shrink",
            "L0",
        )
    return None


def empty_problems(manifest: Manifest, good: Manifest | None) -> list[BackupFailure]:
    """L0: find databases that are missing or empty, but had rows in the newest good backup."""
    found = []
    before = {entry["name"]: entry for entry in (good or {}).get("databases", [])}
    now = {entry["name"]: entry for entry in manifest.get("databases", [])}
    for name, entry in before.items():
        had = _rows(entry)
        has = _rows(now[name]) if name in now else 0
        if had and not has:
            found.append(
                BackupFailure(
                    "empty_database",
                    "the database is empty" if name in now else "the database is missing",
                    name,
                    "no row in any table",
                    f"rows, of which the backup before had {had}",
                    "Check whether its data was lost; earlier good backups are kept",
                    "L0",
                )
            )
    if manifest["engine"] != "files" and not now:
        found.append(
            BackupFailure(
                "empty_database",
                "there is no database",
                manifest["id"],
                "none",
                "at least one",
                "Look at the server's databases and the option databases",
                "L0",
            )
        )
    return found


def _rows(entry: Mapping[str, Any]) -> int:
    """Count the rows of a database, without the canary."""
    return sum(count for name, count in entry["rows"].items() if not name.startswith("evenkeel_backup."))


def file_problems(manifest: Manifest, found: Mapping[str, Mapping[str, Any]], subject: str) -> list[BackupFailure]:
    """L1: find files that are missing, or of another size or content than in the manifest."""
    problems = []
    for name, wanted in manifest["files"].items():
        have = found.get(name)
        if have is None:
            fault, text = "partial_upload", "no file"
        elif have["bytes"] != wanted["bytes"]:
            fault, text = "truncated_dump", f"{have['bytes']} bytes"
        elif "sha256" in have and have["sha256"] != wanted["sha256"]:
            fault, text = "flipped_byte", f"sha256 {have['sha256'][:12]}"
        else:
            continue
        problems.append(
            BackupFailure(
                fault,
                "a file is not what was made",
                f"{subject}: {name}",
                text,
                f"{wanted['bytes']} bytes with sha256 {wanted['sha256'][:12]}",
                "Take a new backup now and look at the disk and the store",
                "L1",
            )
        )
    return problems


def differences(manifest: Manifest, restored: Manifest, tolerance: float = 0.0) -> list[BackupFailure]:
    """L5: find all differences between a restored server and the manifest; counts within a tolerance."""
    problems: list[BackupFailure] = []

    def add(fault: str, subject: str, found: object, need: object) -> None:
        problems.append(
            BackupFailure(
                fault,
                "the restored content differs",
                subject,
                str(found),
                str(need),
                f"Do not rely on {manifest['id']}: take a new backup, drill it, and look at what wrote meanwhile",
                "L5",
            )
        )

    roles = set(restored.get("roles", []))
    for role in manifest.get("roles", []):
        if role not in roles:
            add("missing_role", f"role {role}", "none", "the role")
    here = {entry["name"]: entry for entry in restored["databases"]}
    for wanted in manifest["databases"]:
        name = wanted["name"]
        if name not in here:
            add("content_mismatch", f"database {name}", "none", "the database")
            continue
        _database(wanted, here[name], tolerance, add)
    return problems


def _database(wanted: Mapping[str, Any], have: Mapping[str, Any], tolerance: float, add: Any) -> None:
    name = wanted["name"]
    # Of the position that a recovery ends at, everything can be exact.
    tolerance = 0.0 if wanted.get("exact") else tolerance
    extensions = {entry["name"]: entry["version"] for entry in have["extensions"]}
    for entry in wanted["extensions"]:
        if entry["name"] not in extensions:
            add("missing_extension", f"{name}: extension {entry['name']}", "none", entry["version"])
    for kind in ("encoding", "owner"):
        if wanted.get(kind) != have.get(kind):
            add("content_mismatch", f"{name}: {kind}", have.get(kind), wanted.get(kind))
    for kind, count in wanted["relations"].items():
        if not _near(count, have["relations"].get(kind, 0), tolerance):
            add("content_mismatch", f"{name}: {kind}s", have["relations"].get(kind, 0), count)
    if _rows(wanted) and not _rows(have):
        add("empty_database", name, "no row", f"{_rows(wanted)} rows")
        return
    for table, count in wanted["rows"].items():
        if table.startswith("evenkeel_backup."):
            continue
        if table not in have["rows"]:
            add("content_mismatch", f"{name}: table {table}", "none", f"{count} rows")
        elif not _near(count, have["rows"][table], tolerance):
            add("content_mismatch", f"{name}: rows of {table}", have["rows"][table], count)
    for subject, found, need in have.get("unread", []):
        add("content_mismatch", f"{name}: {subject}", found, need)
    for table, total in wanted.get("sums", {}).items():
        found = have.get("sums", {}).get(table, total)
        if found != total and wanted["rows"].get(table) == have["rows"].get(table):
            need = f"the sum {total[:12]}, as in the backup"
            add("content_mismatch", f"{name}: content of {table}", f"other values, sum {found[:12]}", need)
    objects, restored = wanted.get("content", {}).get("objects", {}), have.get("objects")
    if restored and (restored["count"], restored["sum"]) != (objects["count"], objects["sum"]):
        found = f"{restored['count']} with the sum {restored['sum'][:12]}"
        add("content_mismatch", f"{name}: large objects", found, f"{objects['count']} with {objects['sum'][:12]}")
    if wanted.get("canary") and wanted["canary"] != have.get("canary"):
        add("canary_missing", f"{name}: newest canary row", have.get("canary"), wanted["canary"])


def _near(wanted: int, have: int, tolerance: float) -> bool:
    return abs(wanted - have) <= tolerance * max(wanted, 20) if tolerance else wanted == have


def pack(manifest: Manifest) -> str:
    """Encode a manifest as short text, for the annotation of a pgBackRest backup."""
    data = zlib.compress(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode(), 9)
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unpack(annotation: str) -> Manifest:
    """Decode a manifest from an annotation."""
    return dict(json.loads(zlib.decompress(base64.urlsafe_b64decode(annotation + "=" * (-len(annotation) % 4)))))


def moment(text: str) -> datetime:
    """Parse a time of the manifest."""
    return datetime.fromisoformat(text)


def stamp(at: datetime) -> str:
    """Format a time for the manifest."""
    return at.astimezone(UTC).isoformat(timespec="seconds")
