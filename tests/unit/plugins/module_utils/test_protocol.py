# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What edges show, and what hosts and edges may do after it."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _protocol
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Shown, Status

BLUE, GREEN = "blue:0:1.0:", "green:0:1.1:1.0"
SURE = Status(True, 12, Pair(7, "b"), {"blue": 12}, ())
SHOWN = Shown(GREEN, SURE, "record")


def edge(entry: str = GREEN, record: str = "record", **status: t.Any) -> Shown:
    return Shown(entry, SURE._replace(**status), record)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(Status(), "confirmed,move=0,token=0,run=,withdrawn=,out=", id="nothing-yet"),
        pytest.param(
            Status(False, 12, Pair(7, "r-1"), {"green": 12, "blue": 11}, ("e3", "e2")),
            "unconfirmed,move=12,token=7,run=r-1,withdrawn=blue@11+green@12,out=e2+e3",
            id="all",
        ),
    ],
)
def test_status_is_written_and_read(status: Status, text: str) -> None:
    assert status.text() == text
    assert _protocol.parse_status(f" {text}\n") == status._replace(out=tuple(sorted(status.out)))


@pytest.mark.parametrize("text", ["", "0:", "confirmed?,move=1", "confirmed,move=x", "confirmed,withdrawn=blue@x"])
def test_what_is_no_status_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _protocol.parse_status(text)


@pytest.mark.parametrize(
    ("entry", "colour", "serves"),
    [
        pytest.param(BLUE, "blue", True, id="live"),
        pytest.param(BLUE, "green", False, id="idle"),
        pytest.param("blue:10:1.0:1.1", "green", True, id="by-weight"),
        pytest.param("none:0::", "blue", False, id="nothing-live"),
        pytest.param("", "blue", False, id="no-entry"),
    ],
)
def test_serves(entry: str, colour: str, serves: bool) -> None:
    assert _protocol.serves(entry, colour) is serves


@pytest.mark.parametrize(
    ("shown", "pair", "colour", "why"),
    [
        pytest.param({"e1": SHOWN, "e2": SHOWN}, Pair(7, "b"), "blue", [], id="all-withdrew-it"),
        pytest.param({"e1": SHOWN}, None, "blue", [], id="the-timer-acts-for-no-run"),
        pytest.param({}, Pair(7, "b"), "blue", ["no edge"], id="no-edge"),
        pytest.param({"e1": SHOWN, "e2": None}, None, "blue", ["e2 does not show"], id="an-edge-is-away"),
        pytest.param({"e1": edge(out=("e2",)), "e2": None}, None, "blue", [], id="away-and-declared-out"),
        pytest.param(
            {"e1": edge(out=("e2",), confirmed=False), "e2": None}, None, "blue", ["e2 does"], id="by-an-unsure-edge"
        ),
        pytest.param({"e1": SHOWN}, Pair(7, "a"), "blue", ["e1 has met token 7 of run b"], id="overtaken-by-run"),
        pytest.param({"e1": SHOWN}, Pair(6, "z"), "blue", ["e1 has met token 7"], id="overtaken-by-token"),
        pytest.param({"e1": SHOWN, "e2": edge(BLUE)}, None, "blue", ["e2 serves blue"], id="serves"),
        pytest.param({"e1": edge("green:1:1.1:1.0")}, None, "blue", ["e1 serves blue"], id="serves-by-weight"),
        pytest.param({"e1": edge(withdrawn={})}, None, "blue", ["not withdrawn"], id="not-withdrawn"),
        pytest.param({"e1": edge(withdrawn={"blue": 9})}, None, "blue", ["at move 9"], id="withdrawn-for-another-move"),
        pytest.param({"e1": SHOWN}, Pair(7, "b"), "", [], id="workers"),
        pytest.param({"e1": SHOWN, "e2": edge(move=13)}, None, "", ["e2 is at move 13"], id="workers-of-another-move"),
    ],
)
def test_refusals(shown: dict[str, Shown | None], pair: Pair | None, colour: str, why: list[str]) -> None:
    found = _protocol.refusals(shown, pair, 12, colour)
    assert len(found) == len(why)
    assert all(text in sentence for text, sentence in zip(why, found, strict=True))


@pytest.mark.parametrize(
    ("shown", "void"),
    [
        pytest.param({"e1": SHOWN}, False, id="still-withdrawn"),
        pytest.param({"e1": edge(withdrawn={})}, False, id="at-its-move-and-not-withdrawn-yet"),
        pytest.param({"e1": edge(move=13)}, False, id="a-later-move-and-still-withdrawn"),
        pytest.param({"e1": edge(BLUE, move=13, withdrawn={})}, True, id="live-again"),
        pytest.param({"e1": edge(move=14, withdrawn={"blue": 14})}, True, id="withdrawn-for-a-later-move"),
        pytest.param({"e1": None}, False, id="no-answer"),
    ],
)
def test_order_is_void_once_its_move_is_overtaken(shown: dict[str, Shown | None], void: bool) -> None:
    assert _protocol.order_is_void(shown, 12, "blue") is void


@pytest.mark.parametrize(
    ("own", "others", "name", "expected"),
    [
        pytest.param(SHOWN, [], "", SHOWN, id="no-answer"),
        pytest.param(SHOWN, [SHOWN], "", SHOWN, id="the-same"),
        pytest.param(edge(confirmed=False), [SHOWN], "", SHOWN, id="the-same-confirms"),
        pytest.param(edge(confirmed=False), [edge(record="x")], "", edge(confirmed=False), id="of-another-record"),
        pytest.param(edge(BLUE, move=11), [SHOWN], "", SHOWN, id="newer"),
        pytest.param(
            edge(BLUE, move=11, record="x"), [SHOWN], "", edge(confirmed=False, record="x"), id="newer-unknown"
        ),
        pytest.param(SHOWN, [edge(BLUE, move=11)], "", SHOWN, id="older"),
        pytest.param(SHOWN, [edge(BLUE)], "", edge(confirmed=False), id="two-entries-of-one-move"),
        pytest.param(SHOWN, [edge(BLUE, move=13, confirmed=False)], "", SHOWN, id="an-unsure-edge-proves-nothing"),
        pytest.param(SHOWN, [edge(pair=Pair(9, "c"))], "", edge(pair=Pair(9, "c")), id="the-highest-pair"),
        pytest.param(SHOWN, [edge(out=("e1",))], "e1", edge(confirmed=False), id="declared-out"),
        pytest.param(
            edge(BLUE, move=11), [edge(out=("e1",))], "e1", edge(confirmed=False, out=("e1",)), id="out-and-behind"
        ),
    ],
)
def test_judged(own: Shown, others: list[Shown], name: str, expected: Shown) -> None:
    assert _protocol.judged(own, others, name) == expected


moves = st.integers(0, 4)
pairs = st.builds(Pair, st.integers(0, 3), st.sampled_from(["", "a", "b"]))
statuses = st.builds(
    Status,
    st.booleans(),
    moves,
    pairs,
    st.dictionaries(st.sampled_from(["blue", "green"]), moves),
    st.lists(st.sampled_from(["e1", "e2", "e3"]), unique=True).map(lambda names: tuple(sorted(names))),
)
shows = st.builds(
    Shown, st.sampled_from([BLUE, GREEN, "blue:10:1.0:1.1", "none:0::"]), statuses, st.sampled_from(["x", "y"])
)
colours = st.sampled_from(["blue", "green"])


@given(statuses)
def test_any_status_is_read_as_it_was_written(status: Status) -> None:
    assert _protocol.parse_status(status.text()) == status


@given(shows, st.lists(shows, max_size=3), st.sampled_from(["", "e1"]))
def test_an_edge_never_goes_back_a_move_nor_confirms_a_contradiction(
    own: Shown, others: list[Shown], name: str
) -> None:
    after = _protocol.judged(own, others, name)
    sure = [each for each in others if each.status.confirmed]
    assert after.status.move >= own.status.move
    assert after.status.pair >= own.status.pair
    assert after.record == own.record
    assert after.entry in {own.entry, *(each.entry for each in sure)}
    if sure and after.status.confirmed and not own.status.confirmed:
        newest = max(sure, key=lambda each: each.status.move)
        assert own.status.move > newest.status.move or after.entry == newest.entry
    if any(name and name in each.status.out for each in sure):
        assert not after.status.confirmed
    assert _protocol.judged(after, others, name) == after, "judging again changes nothing"


@given(st.dictionaries(st.sampled_from(["e1", "e2", "e3"]), st.none() | shows), moves, colours, st.none() | pairs)
def test_no_colour_is_touched_that_a_counted_edge_serves(
    shown: dict[str, Shown | None], move: int, colour: str, pair: Pair | None
) -> None:
    if _protocol.refusals(shown, pair, move, colour):
        return
    out = _protocol.declared_out(shown)
    counted = {name: each for name, each in shown.items() if name not in out}
    assert counted
    for each in counted.values():
        assert each is not None
        assert not _protocol.serves(each.entry, colour)
        assert each.status.withdrawn[colour] == move
        assert pair is None or each.status.pair <= pair


@given(st.dictionaries(st.sampled_from(["e1", "e2"]), st.none() | shows, min_size=1), moves, colours)
def test_an_order_that_may_be_carried_out_is_not_void(shown: dict[str, Shown | None], move: int, colour: str) -> None:
    if not _protocol.declared_out(shown) and not _protocol.refusals(shown, None, move, colour):
        assert not _protocol.order_is_void(shown, move, colour)
