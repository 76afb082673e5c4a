# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL positions, segments and timelines: segments that a recovery needs, and gaps. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT = re.compile(r"(?P<name>[0-9A-F]{24})(?:-[0-9a-f]{40})?(?:\.(?:gz|lz4|zst|bz2))?")
HISTORY = re.compile(r"(?P<timeline>[0-9A-F]{8})\.history")


def lsn(text: str) -> int:
    """Parse a position such as 0/3000060."""
    match = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text.strip())
    if not match:
        raise ValueError(f"'{text}' is no LSN such as 0/3000060")
    return (int(match[1], 16) << 32) + int(match[2], 16)


def lsn_text(position: int) -> str:
    """Format a position."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def segment_name(timeline: int, position: int, size: int = SEGMENT_BYTES) -> str:
    """Return the segment file of a position on a timeline."""
    number = position // size
    per_log = 0x100000000 // size
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def segment_number(name: str, size: int = SEGMENT_BYTES) -> int:
    """Return the number of a segment on its timeline."""
    per_log = 0x100000000 // size
    return int(name[8:16], 16) * per_log + int(name[16:24], 16)


def names(listing: Iterable[str]) -> tuple[set[str], set[int]]:
    """Return segments and timelines with a history from the file names of an archive."""
    segments: set[str] = set()
    histories: set[int] = set()
    for path in listing:
        base = path.rpartition("/")[2]
        if match := SEGMENT.fullmatch(base):
            segments.add(match["name"])
        elif match := HISTORY.fullmatch(base):
            histories.add(int(match["timeline"], 16))
    return segments, histories


@dataclass(frozen=True)
class Leg:
    """A timeline up to the position of its fork; the last one has no end."""

    timeline: int
    until: int | None


def legs(history: str, timeline: int) -> list[Leg]:
    """Return the ancestry of a timeline from its history file."""
    found: list[Leg] = []
    for line in history.splitlines():
        words = line.split("#", maxsplit=1)[0].split()
        if len(words) >= 2 and words[0].isdigit():
            found.append(Leg(int(words[0]), lsn(words[1])))
    return [*found, Leg(timeline, None)]


def timeline_at(way: list[Leg], position: int) -> int:
    """Return the timeline of a position in an ancestry."""
    for leg in way:
        if leg.until is None or position < leg.until:
            return leg.timeline
    return way[-1].timeline


def needed(way: list[Leg], start: int, end: int, size: int = SEGMENT_BYTES) -> list[str]:
    """Return the segments from start to end along an ancestry.

    A segment in which the timeline changes also exists on the new timeline, with the old content copied; recovery
    reads the new one.
    """
    found = []
    for number in range(start // size, end // size + 1):
        last = min((number + 1) * size - 1, end)
        found.append(segment_name(timeline_at(way, last), number * size, size))
    return found


def missing(segments: Iterable[str], archived: set[str]) -> list[str]:
    """Return the needed segments that are missing in the archive."""
    return [name for name in segments if name not in archived]


def reach(way: list[Leg], start: int, archived: set[str], size: int = SEGMENT_BYTES) -> tuple[int, str]:
    """Return the end of the contiguous segments from start, and the name of the last one."""
    number = start // size
    last = ""
    while True:
        options = {segment_name(leg.timeline, number * size, size) for leg in way if _touches(leg, way, number, size)}
        present = sorted(options & archived)
        if not present:
            return number * size, last
        last = present[-1]
        number += 1


def _touches(leg: Leg, way: list[Leg], number: int, size: int) -> bool:
    begin = next((before.until for before, after in pairwise(way) if after == leg), 0) or 0
    return begin // size <= number and (leg.until is None or number <= leg.until // size)


def gap_behind(archived: set[str], position: int, timeline: int, size: int = SEGMENT_BYTES) -> bool:
    """Return whether segments follow after a position, so that it is a gap and not the archive's end."""
    return any(int(name[:8], 16) == timeline and segment_number(name, size) * size > position for name in archived)


def ranges(stops: Mapping[str, int], end: int) -> list[str]:
    """Describe the recoverable ranges."""
    return [f"{label}: {lsn_text(stop)} to {lsn_text(end)}" for label, stop in stops.items() if stop <= end]
