# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a move is to change, before anything is touched."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry, _switch
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

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
    ("healthy", "need", "exclude", "count"),
    [
        pytest.param({"api": ["a1", "a2"]}, 2, (), 0, id="enough"),
        pytest.param({"api": ["a1"]}, 2, (), 1, id="one-missing"),
        pytest.param({"api": ["a1"]}, {"api": 1, "web": 1}, (), 1, id="service-without-backend"),
        pytest.param({"api": ["a1"], "web": []}, {"api": 1}, (), 1, id="unnamed-service-needs-one"),
        pytest.param({"api": ["a1", "a2"]}, 2, ("a2",), 1, id="an-excluded-server-does-not-count"),
        pytest.param({"api": ["a1"], "web": ["a1"]}, 1, ("api/a1",), 1, id="excluded-in-one-service"),
        pytest.param({}, 1, (), 1, id="no-backend"),
        pytest.param({"api": []}, 0, (), 0, id="none-needed"),
    ],
)
def test_too_few(
    healthy: dict[str, list[str]], need: dict[str, int] | int, exclude: tuple[str, ...], count: int
) -> None:
    assert len(_switch.too_few("shop", "green", healthy, need, exclude)) == count


@pytest.mark.parametrize("value", ["two", {"api": "x"}, None, [1]])
def test_an_unusable_minimum_is_refused(value: object) -> None:
    with pytest.raises(Failure, match="Set min_servers"):
        _switch.minimum(value, "shop")
