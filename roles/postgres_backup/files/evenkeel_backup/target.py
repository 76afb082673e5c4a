# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check restore targets and recovery points. Pure.

All properties that could identify a server are compared, so that a drill can never reach the live one,
whatever is configured or typed.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from evenkeel_backup.faults import BackupFailure

DATABASE_BYTES = 63
STAGE = "target"


@dataclass(frozen=True)
class Live:
    """The live server."""

    databases: frozenset[str]
    data_dir: str
    socket_dir: str
    port: int


@dataclass(frozen=True)
class Point:
    """The recovery target; one of four kinds."""

    time: datetime | None = None
    lsn: int | None = None
    name: str = ""
    xid: str = ""


def live_problems(
    live: Live, *, database: str = "", data_dir: str = "", socket_dir: str = "", port: int = 0
) -> list[str]:
    """Return each property in which a target equals the live server."""
    found = []
    if database and database in live.databases:
        found.append(f"the name '{database}', which a live database has")
    if data_dir and live.data_dir:
        ours, theirs = os.path.realpath(data_dir), os.path.realpath(live.data_dir)
        if ours == theirs or ours.startswith(theirs + "/") or theirs.startswith(ours + "/"):
            found.append(f"the folder {data_dir}, which is, holds or lies in the live {live.data_dir}")
    if (
        socket_dir
        and live.socket_dir.startswith("/")
        and os.path.realpath(socket_dir) == os.path.realpath(live.socket_dir)
    ):
        found.append(f"the socket folder {socket_dir}, where the live server listens")
    if port and not socket_dir and port == live.port:
        found.append(f"port {port}, where the live server listens")
    return found


def refuse_live(live: Live, instance: str, **place: str | int) -> None:
    """Refuse a target that is live in any way."""
    found = live_problems(live, **place)  # type: ignore[arg-type] # the names are those of live_problems
    if found:
        raise BackupFailure(
            "target_live",
            "the target is live",
            instance,
            " and ".join(found),
            "a place that serves nobody",
            "Restore beside it (--as, --into), or use --mode in_place, which asks for the name and keeps a safety copy",
            STAGE,
        )


def beside(name: str, suffix: str) -> str:
    """Return a name for a copy of a database, within PostgreSQL's length limit."""
    room = DATABASE_BYTES - len(suffix.encode())
    return name.encode()[:room].decode(errors="ignore") + suffix


def name_that_fits(name: str) -> None:
    """Refuse a name that PostgreSQL would cut, because the cut one may be that of another database."""
    size = len(name.encode(errors="surrogateescape"))
    if size <= DATABASE_BYTES and "\0" not in name:
        return
    raise BackupFailure(
        "target_unknown",
        "the name is too long for a database",
        name,
        f"{size} bytes",
        f"{DATABASE_BYTES} at most",
        "Set --as to a shorter one",
        STAGE,
    )


def confirmed(typed: str, name: str) -> None:
    """Refuse unless the name of the object to replace was typed."""
    if typed != name:
        raise BackupFailure(
            "confirmation_missing",
            "the name is not confirmed",
            name,
            f"--confirm '{typed}'" if typed else "no --confirm",
            f"'{name}' typed out",
            f"Set --confirm {name} to replace what is live",
            STAGE,
        )


def space_problem(need: int, free: int, folder: str) -> BackupFailure | None:
    """Return the problem if a restore does not fit; a tenth stays free."""
    wanted = need + need // 10
    if free >= wanted:
        return None
    return BackupFailure(
        "no_space",
        "there is no space for the restore",
        folder,
        f"{free / 1e6:.1f} MB free",
        f"{wanted / 1e6:.1f} MB",
        "Free space, or set --into or work_dir to a larger disk",
        STAGE,
    )


def major_problem(backup_major: int, here_major: int, engine: str) -> BackupFailure | None:
    """Return the problem if the server's version cannot load the backup."""
    if here_major == backup_major or (engine == "logical" and here_major > backup_major):
        return None
    return BackupFailure(
        "major_mismatch",
        "the server's major version does not fit",
        f"PostgreSQL {here_major}",
        f"a {engine} backup of PostgreSQL {backup_major}",
        f"programs of PostgreSQL {backup_major}",
        f"Set where.bin_dir or where.image to PostgreSQL {backup_major}",
        STAGE,
    )


def major_of(text: str) -> int:
    """Parse the major version of a program's version text."""
    match = re.search(r"\(PostgreSQL\) (\d+)", text)
    return int(match[1]) if match else 0


def parse_time(text: str) -> datetime:
    """Parse a time such as 2026-01-31 10:00:00+01; without a zone it is UTC."""
    cleaned = re.sub(r"([+-]\d\d)$", r"\1:00", text.strip())
    moment = datetime.fromisoformat(cleaned)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Candidate:
    """A physical backup as a candidate for recovery."""

    label: str
    stopped_at: datetime
    stop_lsn: int
    timeline: int


def choose(candidates: Iterable[Candidate], point: Point, end_lsn: int, end_at: datetime) -> Candidate:
    """Return the newest backup before the point, or raise with the recoverable range."""
    known = sorted(candidates, key=lambda candidate: candidate.stop_lsn)
    fits = [
        candidate
        for candidate in known
        if not (point.time and candidate.stopped_at > point.time)
        and not (point.lsn is not None and candidate.stop_lsn > point.lsn)
    ]
    beyond = (point.time is not None and point.time > end_at) or (point.lsn is not None and point.lsn > end_lsn)
    if known and fits and not beyond:
        return fits[-1]
    wanted = (
        f"time {point.time.isoformat()}"
        if point.time
        else f"LSN {point.lsn:#x}"
        if point.lsn is not None
        else "a point"
    )
    if known:
        first = known[0]
        need = (
            f"{first.stopped_at.isoformat()} to {end_at.isoformat()}, "
            f"which is LSN {_text(first.stop_lsn)} to {_text(end_lsn)}"
        )
    else:
        need = "a physical backup first"
    raise BackupFailure(
        "target_out_of_range",
        "the target cannot be reached",
        "the archive",
        wanted,
        need,
        "Choose a point in that range",
        STAGE,
    )


def _text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
