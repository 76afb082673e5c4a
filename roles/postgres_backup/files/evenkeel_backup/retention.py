# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which copies to keep; the newest proven copy of a tier is never removed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

_PERIODS: dict[str, Callable[[datetime, int], object]] = {
    "last": lambda _at, sequence: sequence,
    "hourly": lambda at, _sequence: (at.year, at.month, at.day, at.hour),
    "daily": lambda at, _sequence: (at.year, at.month, at.day),
    "weekly": lambda at, _sequence: tuple(at.isocalendar())[:2],
    "monthly": lambda at, _sequence: (at.year, at.month),
    "yearly": lambda at, _sequence: at.year,
}
TIERS = tuple(_PERIODS)
FULL_PROOF = 5
READ_PROOF = 2
# Tolerated lag of the clock behind the newest copy; beyond it, nothing is removed.
CLOCK_SECONDS = 300


@dataclass(frozen=True)
class Copy:
    """One copy in a repository."""

    id: str
    sequence: int
    at: datetime
    level: int = 0
    keep: bool = False
    needs: tuple[str, ...] = ()
    # Missing or damaged, by the last look at the repository.
    bad: bool = False


@dataclass(frozen=True)
class Verdict:
    """Copies to keep, with reasons, and copies to remove."""

    keep: Mapping[str, tuple[str, ...]]
    remove: tuple[str, ...]
    clock_jump: bool = False


def _best(copies: Iterable[Copy]) -> Copy:
    """Return the newest of the best proven copies. Levels below readable count as equal."""
    return max(copies, key=lambda copy: (_rank(copy), copy.sequence))


def _rank(copy: Copy) -> int:
    return 2 if copy.level >= FULL_PROOF else 1 if copy.level >= READ_PROOF else 0


def _newest(copies: Iterable[Copy], level: int) -> Copy | None:
    return max((copy for copy in copies if copy.level >= level), key=lambda copy: copy.sequence, default=None)


def decide(copies: Iterable[Copy], tiers: Mapping[str, int], now: datetime) -> Verdict:
    """Keep copies for a tier, a guard, a user or another kept copy; remove the rest, oldest first.

    A bad copy takes no place of a good one: it is kept only as long as it would be kept among all.
    """
    known = sorted(copies, key=lambda copy: copy.sequence)
    if any(copy.bad for copy in known):
        every = decide((replace(copy, bad=False, level=0 if copy.bad else copy.level) for copy in known), tiers, now)
        good = decide((copy for copy in known if not copy.bad), tiers, now)
        if every.clock_jump:
            return every
        kept = {copy.id: list((every if copy.bad else good).keep.get(copy.id, ())) for copy in known}
        return _verdict(known, {name: why for name, why in kept.items() if why})
    if not known:
        return Verdict({}, ())
    if any((copy.at - now).total_seconds() > CLOCK_SECONDS for copy in known):
        # Periods are unknown with a wrong clock, so nothing is removed.
        return Verdict({copy.id: ("clock_jump",) for copy in known}, (), clock_jump=True)
    reasons: dict[str, list[str]] = {}

    def keep(copy: Copy | None, reason: str) -> None:
        if copy is not None:
            reasons.setdefault(copy.id, []).append(reason)

    keep(known[-1], "newest")
    for copy in known:
        if copy.keep:
            keep(copy, "kept by request")
    for tier, count in tiers.items():
        if count < 1:
            continue
        periods: dict[object, list[Copy]] = {}
        for copy in known:
            periods.setdefault(_PERIODS[tier](copy.at.astimezone(UTC), copy.sequence), []).append(copy)
        # Order periods by the sequence of their representative copy, so that neither a clock set back nor
        # the removal of other copies changes the order.
        chosen = sorted((_best(group) for group in periods.values()), key=lambda copy: copy.sequence, reverse=True)
        for copy in chosen[:count]:
            keep(copy, tier)
        keep(_newest(chosen, FULL_PROOF), f"newest restored of {tier}")
        keep(_newest(chosen, READ_PROOF), f"newest readable of {tier}")
    keep(_newest(known, FULL_PROOF), "newest restored")
    keep(_newest(known, READ_PROOF), "newest readable")
    return _verdict(known, reasons)


def _verdict(known: list[Copy], reasons: dict[str, list[str]]) -> Verdict:
    _with_needs(known, reasons)
    return Verdict(
        {name: tuple(why) for name, why in reasons.items()},
        tuple(copy.id for copy in known if copy.id not in reasons),
    )


def _with_needs(known: list[Copy], reasons: dict[str, list[str]]) -> None:
    """Add the copies that incremental ones depend on."""
    by_id = {copy.id: copy for copy in known}
    waiting = list(reasons)
    while waiting:
        name = waiting.pop()
        for needed in by_id[name].needs if name in by_id else ():
            if needed in by_id and needed not in reasons:
                reasons[needed] = [f"needed by {name}"]
                waiting.append(needed)


def bound(tiers: Mapping[str, int]) -> int:
    """Return the largest number of copies that tiers keep, without pinned and bad ones and dependencies."""
    counted = [count for count in tiers.values() if count > 0]
    return sum(counted) + 2 * len(counted) + 3
