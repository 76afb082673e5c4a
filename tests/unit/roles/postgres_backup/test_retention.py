# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept: a table of schedules, and 10,000 random ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel_backup.retention import FULL_PROOF, READ_PROOF, TIERS, Copy, bound, decide

START = datetime(2026, 1, 1, 2, tzinfo=UTC)


def nightly(count: int, proven: tuple[int, ...] = (), level: int = 2) -> list[Copy]:
    return [Copy(f"b{n}", n, START + timedelta(days=n), 5 if n in proven else level) for n in range(count)]


@pytest.mark.parametrize(
    ("copies", "tiers", "kept"),
    [
        pytest.param([], {"last": 1}, set(), id="nothing"),
        pytest.param(nightly(1), {"last": 1}, {"b0"}, id="one"),
        pytest.param(nightly(10), {"last": 3}, {"b7", "b8", "b9"}, id="the last three"),
        pytest.param(nightly(10, (2,)), {"last": 3}, {"b2", "b7", "b8", "b9"}, id="and the one that was restored"),
        pytest.param(nightly(10, (2, 4)), {"last": 3}, {"b4", "b7", "b8", "b9"}, id="the newest restored"),
        pytest.param(nightly(10, level=0), {"daily": 2}, {"b8", "b9"}, id="none proven"),
        pytest.param(nightly(40), {"monthly": 2}, {"b30", "b39"}, id="the newest of each month"),
        pytest.param(nightly(40, (5,)), {"monthly": 2}, {"b5", "b39"}, id="the proven one stands for its month"),
        pytest.param(nightly(3, level=1), {"last": 0, "daily": 1}, {"b2"}, id="an empty tier"),
    ],
)
def test_tiers(copies: list[Copy], tiers: dict[str, int], kept: set[str]) -> None:
    found = decide(copies, tiers, START + timedelta(days=60))
    assert set(found.keep) == kept
    assert set(found.remove) == {copy.id for copy in copies} - kept


def test_a_kept_copy_keeps_what_it_needs() -> None:
    chain = [
        Copy("full", 1, START),
        Copy("diff", 2, START, needs=("full",)),
        Copy("incr", 3, START, needs=("diff", "full")),
    ]
    assert set(decide(chain, {"last": 1}, START).keep) == {"full", "diff", "incr"}


def test_a_person_keeps_a_copy() -> None:
    copies = [*nightly(9), Copy("safety", -1, START, keep=True)]
    assert "safety" in decide(copies, {"last": 1}, START + timedelta(days=60)).keep


def test_a_clock_behind_removes_nothing() -> None:
    found = decide(nightly(30), {"last": 1}, START)
    assert found.clock_jump
    assert not found.remove


def test_a_clock_ahead_removes_no_more_than_before() -> None:
    tiers = {"daily": 7, "weekly": 4}
    now = decide(nightly(30), tiers, START + timedelta(days=30))
    later = decide(nightly(30), tiers, START + timedelta(days=3000))
    assert now.remove == later.remove


COPIES = st.lists(
    st.tuples(st.integers(0, 400 * 24), st.sampled_from((0, 1, 2, 2, 3, 5)), st.booleans()), min_size=1, max_size=60
)
COUNTS = st.dictionaries(st.sampled_from(TIERS), st.integers(0, 6), min_size=1).filter(
    lambda tiers: any(tiers.values())
)


LATER = START + timedelta(days=500)


def schedule(rows: list[tuple[int, int, bool]]) -> list[Copy]:
    return [
        Copy(f"b{n}", n, START + timedelta(hours=hours), level, needs=(f"b{n - 1}",) if needs and n else ())
        for n, (hours, level, needs) in enumerate(rows)
    ]


@settings(max_examples=2_000)
@given(COPIES, COUNTS)
def test_no_schedule_loses_its_last_proven_copy(rows: list[tuple[int, int, bool]], tiers: dict[str, int]) -> None:
    copies = schedule(rows)
    found = decide(copies, tiers, LATER)
    left = [copy for copy in copies if copy.id in found.keep]
    assert {copy.id for copy in left} | set(found.remove) == {copy.id for copy in copies}
    assert copies[-1].id in found.keep
    for level in (FULL_PROOF, READ_PROOF):
        proven = [copy for copy in copies if copy.level >= level]
        if proven:
            assert proven[-1].id in found.keep
    for copy in left:
        assert set(copy.needs) <= set(found.keep)
    counted = [copy for copy in left if any(not why.startswith("needed by") for why in found.keep[copy.id])]
    assert len(counted) <= bound(tiers)
    if [copy.at for copy in copies] == sorted(copy.at for copy in copies):
        # What is left is left again: with a clock that goes forward a second look removes nothing more.
        assert not decide(left, tiers, LATER).remove


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(1, 72), st.sampled_from((0, 2, 5))), min_size=5, max_size=80), COUNTS)
def test_a_life_of_backups_always_has_a_proven_one(life: list[tuple[int, int]], tiers: dict[str, int]) -> None:
    here: list[Copy] = []
    at, proven = START, False
    for sequence, (hours, level) in enumerate(life):
        at += timedelta(hours=hours)
        here.append(Copy(f"b{sequence}", sequence, at, level))
        proven = proven or level == FULL_PROOF
        gone = set(decide(here, tiers, at).remove)
        here = [copy for copy in here if copy.id not in gone]
        assert not proven or any(copy.level == FULL_PROOF for copy in here)
        assert len(here) <= bound(tiers)
