# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may change an app, under which token, by any clock."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _lease
from ansible_collections.evenkeel.platform.plugins.module_utils._clock import Instant
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

START = 1_800_000_000.0


def at(seconds: float, wall: float | None = None, boot: str = "one") -> Instant:
    return Instant(wall=START + (seconds if wall is None else wall), monotonic=1000 + seconds, boot=boot)


def take(lease: _lease.Lease | None, when: Instant, run: str, **options: t.Any) -> _lease.Lease:
    options = {"ttl": 120, "reason": "", **options}
    return _lease.taken(lease, when, app="shop", owner=f"owner of {run}", run=run, **options)


def test_first_taker_gets_token_one() -> None:
    lease = take(None, at(0), "a")
    assert (lease["token"], lease["run"], lease["expires_at"]) == (1, "a", _clock.iso(START + 120))


@pytest.mark.parametrize(
    ("when", "held"),
    [
        pytest.param(at(119), True, id="in-time"),
        pytest.param(at(120), False, id="expired"),
        pytest.param(at(60, wall=9999), True, id="wall-clock-stepped-forward"),
        pytest.param(at(121, wall=-9999), False, id="wall-clock-stepped-back"),
        pytest.param(at(0, wall=60, boot="two"), True, id="rebooted-in-time"),
        pytest.param(at(0, wall=121, boot="two"), False, id="rebooted-too-late"),
        pytest.param(at(0, wall=-5, boot="two"), False, id="rebooted-and-clock-behind"),
    ],
)
def test_expiry_by_any_clock(when: Instant, held: bool) -> None:
    assert _lease.held(take(None, at(0), "a"), when) is held


def test_the_same_run_renews_and_keeps_its_token() -> None:
    lease = take(take(None, at(0), "a"), at(100), "a")
    assert (lease["token"], lease["taken_at"]) == (1, _clock.iso(START))
    assert _lease.held(lease, at(219))


def test_the_same_run_gets_a_new_token_when_the_edges_met_a_higher_one() -> None:
    assert take(take(None, at(0), "a"), at(1), "a", floor=5)["token"] == 6


def test_another_run_is_refused_with_who_since_when_and_what_to_do() -> None:
    lease = take(None, at(0), "a", reason="Release 1.1")
    with pytest.raises(Failure) as failure:
        take(lease, at(1), "b")
    text = failure.value.sentence
    for part in (
        "run a of owner of a (Release 1.1)",
        f"since {_clock.iso(START)}",
        "expiring at",
        "evenkeel.platform.unlock",
    ):
        assert part in text
    assert failure.value.result["token"] == 1


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(lambda lease: _lease.freed(lease, at(1), app="shop", token=1), id="freed"),
        pytest.param(lambda lease: _lease.broken(lease, at(1), owner="c", run="", reason="lost"), id="broken"),
    ],
)
def test_a_lease_that_ended_is_taken_with_a_higher_token(prepare: t.Callable[[_lease.Lease], _lease.Lease]) -> None:
    ended = prepare(take(None, at(0), "a"))
    assert take(ended, at(2), "b")["token"] == ended["token"] + 1
    with pytest.raises(Failure, match="changes nothing more"):
        _lease.renewed(ended, at(2), app="shop", token=1, ttl=120)


def test_preempt_takes_at_once_and_says_whose_lease_was_broken() -> None:
    lease = take(take(None, at(0), "a"), at(1), "b", preempt=True, reason="undo")
    assert (lease["token"], lease["run"]) == (2, "b")
    assert (lease["broken"]["run"], lease["broken"]["by"], lease["broken"]["reason"]) == ("a", "owner of b", "undo")
    with pytest.raises(Failure, match="A newer run by owner of b took over at"):
        _lease.renewed(lease, at(2), app="shop", token=1, ttl=120)
    with pytest.raises(Failure, match="A newer run by owner of b took over at"):
        _lease.freed(lease, at(2), app="shop", token=1)


def test_an_unknown_token_is_refused() -> None:
    with pytest.raises(Failure, match="the token is unknown"):
        _lease.renewed(take(None, at(0), "a"), at(1), app="shop", token=9, ttl=120)
    with pytest.raises(Failure, match="there is no lease"):
        _lease.freed(None, at(1), app="shop", token=1)


def test_freeing_twice_changes_nothing() -> None:
    once = _lease.freed(take(None, at(0), "a"), at(1), app="shop", token=1)
    assert _lease.freed(once, at(9), app="shop", token=1) == once


def test_breaking_a_free_lease_changes_nothing() -> None:
    assert _lease.broken(None, at(0), owner="x", run="", reason="y") is None
    once = _lease.freed(take(None, at(0), "a"), at(1), app="shop", token=1)
    assert _lease.broken(once, at(2), owner="x", run="", reason="y") == once


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "preempt", "renew", "free", "break", "lose"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 200),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_two_runs_never_hold_the_same_token(steps: list[tuple[str, str, int, bool]]) -> None:
    lease: _lease.Lease | None = None
    owned: dict[int, str] = {}
    mine: dict[str, int] = {}
    highest, now = 0, 0.0
    for act, run, seconds, reboot in steps:
        now += seconds
        when = at(now, boot="two" if reboot else "one")
        try:
            if act in ("take", "preempt"):
                lease = take(lease, when, run, preempt=act == "preempt", floor=highest)
                assert owned.setdefault(lease["token"], run) == run
                assert lease["token"] >= highest
                highest = max(highest, lease["token"])
                mine[run] = lease["token"]
            elif act == "renew":
                lease = _lease.renewed(lease, when, app="shop", token=mine.get(run, 0), ttl=120)
                assert lease["run"] == run
            elif act == "free":
                lease = _lease.freed(lease, when, app="shop", token=mine.get(run, 0))
            elif act == "break":
                lease = _lease.broken(lease, when, owner=run, run=run, reason="r")
            else:
                lease = None  # the file was lost; the floor of the edges stays
        except Failure:
            pass
