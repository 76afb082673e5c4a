# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a move is to change, before anything is touched."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry, _switch
from ansible_collections.evenkeel.platform.plugins.module_utils._edge_state import EdgeState
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair

BLUE = Entry("blue", 0, "1.0", "")


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        pytest.param("blue:0:1.0:", Entry("blue", 0, "1.0", ""), id="plain"),
        pytest.param("green:10:1.1+2:1.0", Entry("green", 10, "1.1+2", "1.0"), id="canary"),
        pytest.param(None, Entry(), id="absent"),
        pytest.param("", Entry(), id="empty"),
        pytest.param("none:0::", Entry(), id="nothing-live"),
        pytest.param(":0::", Entry(), id="moved-back-to-nothing"),
        pytest.param("blue:0::", Entry("blue", 0, "", ""), id="no-release-yet"),
    ],
)
def test_entry_is_read(text: str | None, entry: Entry) -> None:
    assert _entry.parse(text, "blue_green", "shop") == entry


@pytest.mark.parametrize("text", ["purple:0:1:", "blue", "blue:x:1:", "blue:0:1.0:1.1:extra", "blue:0:a b:"])
def test_an_unreadable_entry_is_never_guessed(text: str) -> None:
    with pytest.raises(Failure, match="the live entry is not readable on shop"):
        _entry.parse(text, "blue_green", "shop")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("shop blue:0:1.0:\n", "blue:0:1.0:", id="one"),
        pytest.param("shopping x\nshop   y\n", "y", id="another-app-first"),
        pytest.param("other x\n", None, id="absent"),
        pytest.param(None, None, id="no-file"),
    ],
)
def test_map_file_is_read(text: str | None, value: str | None) -> None:
    assert _entry.parse_file(text, "shop") == value


@pytest.mark.parametrize(
    ("before", "colour", "weight", "release", "other", "after", "gains"),
    [
        pytest.param(BLUE, "green", 0, "1.1", "", "green:0:1.1:1.0", "green", id="switch"),
        pytest.param(BLUE, "blue", 0, "", "", "blue:0:1.0:", "", id="nothing"),
        pytest.param(BLUE, "blue", 10, "", "1.1", "blue:10:1.0:1.1", "green", id="canary-starts"),
        pytest.param(
            Entry("blue", 10, "1.0", "1.1"), "blue", 30, "", "", "blue:30:1.0:1.1", "green", id="canary-grows"
        ),
        pytest.param(Entry("blue", 30, "1.0", "1.1"), "blue", 10, "", "", "blue:10:1.0:1.1", "", id="canary-shrinks"),
        pytest.param(Entry("blue", 30, "1.0", "1.1"), "blue", 0, "", "", "blue:0:1.0:1.1", "", id="canary-aborted"),
        pytest.param(Entry("blue", 30, "1.0", "1.1"), "green", 0, "", "", "green:0:1.1:1.0", "green", id="promoted"),
        pytest.param(Entry(), "blue", 0, "1.0", "", "blue:0:1.0:", "blue", id="first-release"),
        pytest.param(Entry("green", 0, "1.1", "1.0"), "blue", 0, "", "", "blue:0:1.0:1.1", "blue", id="rollback"),
    ],
)
def test_target(before: Entry, colour: str, weight: int, release: str, other: str, after: str, gains: str) -> None:
    target = _switch.target(before, "shop", colour, weight, release, other)
    assert str(target) == after
    assert _switch.gaining(before, target) == gains


@pytest.mark.parametrize(
    ("before", "colour", "weight", "message"),
    [
        pytest.param(BLUE, "green", 0, "no release is known on colour green", id="unknown-release"),
        pytest.param(BLUE, "blue", 101, "the weight is not usable", id="weight-over-100"),
        pytest.param(BLUE, "blue", -1, "the weight is not usable", id="weight-below-0"),
        pytest.param(BLUE, "blue", 5, "no release is known on colour green", id="canary-of-nothing"),
        pytest.param(Entry("blue", 0, "1.0", "1.1"), "green", 5, "a weight cannot change the live", id="two-at-once"),
    ],
)
def test_target_is_refused(before: Entry, colour: str, weight: int, message: str) -> None:
    with pytest.raises(Failure, match=message):
        _switch.target(before, "shop", colour, weight, "", "")


@pytest.mark.parametrize(
    ("healthy", "need", "count"),
    [
        pytest.param({"api": ["a1", "a2"]}, 2, 0, id="enough"),
        pytest.param({"api": ["a1"]}, 2, 1, id="one-missing"),
        pytest.param({"api": ["a1"]}, {"api": 1, "web": 1}, 1, id="service-without-backend"),
        pytest.param({"api": ["a1"], "web": []}, {"api": 1}, 1, id="unnamed-service-needs-one"),
        pytest.param({"api": ["a1"], "web": []}, {"api": 1, "web": 0}, 0, id="service-the-release-lacks"),
        pytest.param({"api": ["a1"]}, 0, 0, id="zero-is-one"),
        pytest.param({"api": []}, 0, 1, id="never-none"),
        pytest.param({"api": []}, {"api": 0}, 1, id="never-none-in-a-dict"),
        pytest.param({}, 0, 1, id="no-backend"),
    ],
)
def test_too_few(healthy: dict[str, list[str]], need: dict[str, int] | int, count: int) -> None:
    assert len(_switch.too_few("shop", "green", healthy, _switch.minimum(need, "shop"))) == count


GREEN = Entry("green", 0, "1.1", "1.0")


@pytest.mark.parametrize(
    ("held", "after", "move", "assumed", "number"),
    [
        pytest.param(EdgeState(BLUE, move=4), GREEN, 4, None, 5, id="next"),
        pytest.param(EdgeState(BLUE, move=4), GREEN, 4, BLUE, 5, id="next-from-the-assumed-entry"),
        pytest.param(EdgeState(BLUE, move=4), GREEN, 3, None, None, id="edge-ahead"),
        pytest.param(EdgeState(BLUE, move=4), GREEN, 5, None, None, id="edge-behind"),
        pytest.param(EdgeState(BLUE, move=4), GREEN, 4, Entry("blue", 0, "0.9"), None, id="another-entry"),
        pytest.param(EdgeState(GREEN, move=4), GREEN, 4, GREEN, 4, id="nothing-to-change"),
        pytest.param(EdgeState(GREEN, move=5), GREEN, 4, BLUE, 5, id="moved-already"),
        pytest.param(EdgeState(GREEN, move=4), GREEN, 4, BLUE, 5, id="killed-before-the-record"),
        pytest.param(
            EdgeState(GREEN, False, move=5), GREEN, 4, None, 5, id="killed-before-the-record-and-no-assumption"
        ),
        pytest.param(EdgeState(GREEN, move=2), GREEN, 4, GREEN, 4, id="left-behind"),
        pytest.param(EdgeState(GREEN, move=7), GREEN, 4, BLUE, 7, id="never-back"),
    ],
)
def test_next_move(held: EdgeState, after: Entry, move: int, assumed: Entry | None, number: int | None) -> None:
    if number is None:
        with pytest.raises(Failure, match="Make a new plan") as refused:
            _switch.next_move(held, after, move, assumed, "shop")
        assert refused.value.result["replan"]
    else:
        assert _switch.next_move(held, after, move, assumed, "shop") == number


OWN = _switch.Known(Pair(5, "deploy"), 7, GREEN)


@pytest.mark.parametrize(
    ("token", "peers", "pair", "move"),
    [
        pytest.param(0, [], Pair(6, "back"), 8, id="alone"),
        pytest.param(9, [], Pair(9, "back"), 8, id="with-a-lease"),
        pytest.param(0, [OWN], Pair(6, "back"), 8, id="equal-peer"),
        pytest.param(0, [_switch.Known(Pair(8, "deploy"), 9, GREEN)], Pair(9, "back"), 10, id="peer-that-knows-more"),
        pytest.param(0, [_switch.Known(Pair(6, "back"), 7, GREEN)], Pair(6, "back"), 8, id="peer-about-to-move"),
        pytest.param(0, [_switch.Known(Pair(6, "back"), 8, BLUE)], Pair(6, "back"), 8, id="peer-that-moved"),
        pytest.param(0, [_switch.Known(Pair(5, "deploy"), 8, BLUE)], Pair(6, "back"), 9, id="peer-of-another-run"),
        pytest.param(0, [_switch.Known(Pair(5, "a"), 7, None)], Pair(6, "back"), 8, id="unreadable-peer"),
    ],
)
def test_takeover_is_above_all_and_equal_on_all_edges(
    token: int, peers: list[_switch.Known], pair: Pair, move: int
) -> None:
    assert _switch.takeover("back", token, OWN, peers, BLUE) == (pair, move)


@pytest.mark.parametrize(
    ("former", "before", "now", "dead"),
    [
        pytest.param(BLUE, {"api": ["a"]}, {"api": ["a"]}, False, id="well"),
        pytest.param(BLUE, {"api": ["a", "b"]}, {"api": ["b"]}, False, id="one-left"),
        pytest.param(BLUE, {"api": ["a"]}, {"api": []}, True, id="died"),
        pytest.param(BLUE, {"api": []}, {"api": []}, True, id="was-dead"),
        pytest.param(BLUE, {"api": ["a"], "new": []}, {"api": ["a"], "new": []}, False, id="service-it-lacks"),
        pytest.param(Entry(), {}, {}, False, id="nothing-was-live"),
    ],
)
def test_requests_never_go_back_to_a_dead_side(
    former: Entry, before: dict[str, list[str]], now: dict[str, list[str]], dead: bool
) -> None:
    assert bool(_switch.dead(former, before, now)) == dead


@pytest.mark.parametrize("value", ["two", {"api": "x"}, None, [1]])
def test_an_unusable_minimum_is_refused(value: object) -> None:
    with pytest.raises(Failure, match="Set min_servers"):
        _switch.minimum(value, "shop")
