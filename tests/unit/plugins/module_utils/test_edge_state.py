# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an edge holds of an app beside the live entry, and how it changes."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge_state
from ansible_collections.evenkeel.platform.plugins.module_utils._edge_state import EdgeState
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Shown, Status

GREEN = Entry("green", 0, "1.1", "1.0")
WARM = {"colour": "blue", "release": "1.0", "until": 1000, "move": 12}
HELD = EdgeState(GREEN, move=12, moved_by=Pair(7, "b"), warm=WARM)


def test_record_and_status_are_read_as_they_were_written() -> None:
    held = EdgeState(
        GREEN,
        move=12,
        moved_at="2026-11-21T10:00:00.000Z",
        moved_by=Pair(7, "b"),
        previous="blue:0:1.0:",
        warm=WARM,
        withdrawn={"blue": 12},
        out={"edge2": {"token": 7}},
    )
    assert (
        _edge_state.of(_edge_state.record(held, "shop"), _edge_state.status(held, Pair(7, "b"), confirmed=True), GREEN)
        == held
    )


@pytest.mark.parametrize(
    ("record", "status", "expected"),
    [
        pytest.param(None, Status(), EdgeState(GREEN), id="nothing"),
        pytest.param(
            {"schema": 1, "token": 7, "warm": {"colour": "blue", "release": "1.0", "until": 1000}},
            Status(),
            EdgeState(GREEN, moved_by=Pair(7, ""), warm={**WARM, "move": 0}),
            id="schema-1",
        ),
        pytest.param(
            None,
            Status(True, 12, Pair(), {"blue": 12}, ("e2",)),
            EdgeState(GREEN, move=12, withdrawn={"blue": 12}, out={"e2": {}}),
            id="record-lost",
        ),
        pytest.param({"move": 13}, Status(True, 12), EdgeState(GREEN, move=13), id="killed-before-it-was-shown"),
        pytest.param(
            {"withdrawn": {"blue": 11}},
            Status(withdrawn={"blue": 12}),
            EdgeState(GREEN, withdrawn={"blue": 12}),
            id="the-later-withdrawal",
        ),
        pytest.param(
            {"entry": "blue:0:1.0:"},
            Status(),
            EdgeState(GREEN, False, Entry("blue", 0, "1.0"), 1),
            id="killed-before-the-record",
        ),
        pytest.param({"entry": "blue:0:1.0:"}, Status(move=1), EdgeState(GREEN, move=1), id="shown-on-a-full-disk"),
    ],
)
def test_what_is_held_after_a_crash(record: dict[str, t.Any] | None, status: Status, expected: EdgeState) -> None:
    assert _edge_state.of(record, status, GREEN) == expected


def test_withdraw() -> None:
    after = _edge_state.withdraw(HELD, "shop", "blue", 12)
    assert (after.withdrawn, after.warm) == ({"blue": 12}, {})
    assert _edge_state.withdraw(after, "shop", "blue", 12) == after
    assert not _edge_state.takes_back(HELD, after)
    assert _edge_state.takes_back(after, HELD)


@pytest.mark.parametrize(
    ("held", "colour", "move", "why"),
    [
        pytest.param(HELD, "green", 12, "the colour serves requests on green", id="live"),
        pytest.param(
            EdgeState(Entry("green", 1, "1.1", "1.0"), move=12), "blue", 12, "serves requests", id="by-weight"
        ),
        pytest.param(HELD, "blue", 11, "the edge is at another move on shop: found move 12", id="an-older-plan"),
        pytest.param(HELD, "blue", 13, "the edge is at another move", id="left-behind"),
    ],
)
def test_withdraw_is_refused(held: EdgeState, colour: str, move: int, why: str) -> None:
    with pytest.raises(Failure, match=why):
        _edge_state.withdraw(held, "shop", colour, move)
    with pytest.raises(Failure, match=why):
        _edge_state.restore(held, "shop", colour, move, WARM)


@pytest.mark.parametrize(
    ("now", "release", "changes", "why"),
    [
        pytest.param(900, "", {}, "", id="warm"),
        pytest.param(900, "1.0", {}, "", id="the-release-named"),
        pytest.param(900, "0.9", {}, "release 1.0 is warm, not 0.9", id="another-release"),
        pytest.param(970, "", {}, "the warm time of blue is over", id="the-last-30-seconds"),
        pytest.param(900, "", {"withdrawn": {"blue": 12}}, "blue is withdrawn", id="withdrawn"),
        pytest.param(900, "", {"warm": {}}, "no side is warm", id="nothing"),
    ],
)
def test_warm_side(now: float, release: str, changes: dict[str, t.Any], why: str) -> None:
    found = _edge_state.warm_side(dataclasses.replace(HELD, **changes), now, release)
    assert found == (("", "", why) if why else ("blue", "1.0", ""))


def test_the_warm_side_is_withdrawn_for_the_move_that_left_it() -> None:
    assert _edge_state.expired(HELD, 999) is HELD
    over = _edge_state.expired(HELD, 1000)
    assert (over.withdrawn, over.warm) == ({"blue": 12}, {})
    serving = EdgeState(Entry("blue", 0, "1.0", "1.1"), warm=WARM)
    assert (_edge_state.expired(serving, 1000).withdrawn, _edge_state.expired(serving, 1000).warm) == ({}, {})


@pytest.mark.parametrize(
    ("after", "options", "warm"),
    [
        pytest.param(
            Entry("blue", 0, "1.2", "1.1"), {"warm_until": 5}, {"colour": "green", "release": "1.1"}, id="left"
        ),
        pytest.param(Entry("blue", 0, "1.2", "1.1"), {}, {}, id="no-warm-time"),
        pytest.param(Entry("blue", 0, "1.0", "1.1"), {"warm_until": 5, "back": True}, {}, id="gone-back-from"),
        pytest.param(Entry("green", 0, "1.2", "1.0"), {"warm_until": 5}, {}, id="the-same-colour"),
    ],
)
def test_moved(after: Entry, options: dict[str, t.Any], warm: dict[str, t.Any]) -> None:
    held = _edge_state.moved(HELD, after, move=13, pair=Pair(8, "c"), moved_at="now", **options)
    assert (held.entry, held.move, held.moved_by, held.previous) == (after, 13, Pair(8, "c"), "green:0:1.1:1.0")
    assert {name: held.warm[name] for name in held.warm if name in ("colour", "release")} == warm
    assert held.warm.get("move", 13) == 13


def test_an_earlier_declaration_stays() -> None:
    once = _edge_state.declared(HELD, "edge2", {"token": 7, "reason": "fire"})
    assert _edge_state.declared(once, "edge2", {"token": 8, "reason": "again"}) == once
    assert _edge_state.admitted(once, "edge2") == HELD
    assert _edge_state.admitted(HELD, "edge2") == HELD


def test_an_edge_that_was_away_takes_over_move_and_withdrawals() -> None:
    shown = Shown("blue:0:1.2:1.1", Status(True, 13, Pair(8, "c"), {"green": 13}, ("me", "e3")))
    after = _edge_state.taken_over(HELD, shown, "me", "now")
    assert (str(after.entry), after.move, after.moved_by, after.previous) == (
        "blue:0:1.2:1.1",
        13,
        Pair(8, "c"),
        "green:0:1.1:1.0",
    )
    assert (after.warm, after.withdrawn, after.out) == ({}, {"green": 13}, {"e3": {}})
    same = _edge_state.taken_over(HELD, Shown(str(GREEN), Status(True, 12)), "me", "now")
    assert same == HELD
