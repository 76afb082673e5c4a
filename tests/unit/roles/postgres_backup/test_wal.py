# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Positions, segments and timelines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel_backup import wal

MB16 = 16 * 1024 * 1024
HISTORY = "1\t0/5000060\tno recovery target specified\n2\t0/9000000\tbefore 2026-01-01\n"


@given(st.integers(0, 2**64 - 1))
def test_an_lsn_is_read_as_it_is_written(position: int) -> None:
    assert wal.lsn(wal.lsn_text(position)) == position


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/g", "123456789/0", "0/0/0"])
def test_what_is_no_lsn(text: str) -> None:
    with pytest.raises(ValueError, match="is no LSN"):
        wal.lsn(text)


@pytest.mark.parametrize(
    ("position", "size", "name"),
    [
        pytest.param(0x3000060, MB16, "000000010000000000000003", id="usual"),
        pytest.param(0x1_00000000, MB16, "000000010000000100000000", id="next log"),
        pytest.param(0xFF_FFFFFFFF, MB16, "00000001000000FF000000FF", id="last of a log"),
        pytest.param(0x4000000, 64 * MB16, "000000010000000000000000", id="1 GB segments"),
        pytest.param(0x300000, 1024 * 1024, "000000010000000000000003", id="1 MB segments"),
    ],
)
def test_the_segment_of_a_position(position: int, size: int, name: str) -> None:
    assert wal.segment_name(1, position, size) == name
    assert wal.segment_number(name, size) == position // size


def test_the_names_of_an_archive() -> None:
    found = wal.names(
        [
            "0000000100000000/000000010000000000000003-0123456789abcdef0123456789abcdef01234567.zst",
            "0000000100000000/000000010000000000000004-0123456789abcdef0123456789abcdef01234567.zst.pgbackrest.tmp",
            "00000002.history",
            "archive.info",
            "0000000100000000/000000010000000000000003.00000028.backup",
        ]
    )
    assert found == ({"000000010000000000000003"}, {2})


def test_what_a_recovery_needs_over_timelines() -> None:
    way = wal.legs(HISTORY, 3)
    assert way == [wal.Leg(1, 0x5000060), wal.Leg(2, 0x9000000), wal.Leg(3, None)]
    assert wal.needed(way, 0x3000028, 0x9000100) == [
        "000000010000000000000003",
        "000000010000000000000004",
        "000000020000000000000005",
        "000000020000000000000006",
        "000000020000000000000007",
        "000000020000000000000008",
        "000000030000000000000009",
    ]


ARCHIVED = {wal.segment_name(1, number * MB16) for number in (3, 4, 6, 7)}


def test_a_hole_is_no_end() -> None:
    way = [wal.Leg(1, None)]
    end, last = wal.reach(way, 0x3000028, ARCHIVED)
    assert (end, last) == (0x5000000, "000000010000000000000004")
    assert wal.gap_behind(ARCHIVED, end, 1)
    assert not wal.gap_behind(ARCHIVED, 8 * MB16, 1)
    assert wal.missing(wal.needed(way, 0x3000028, 0x7000000), ARCHIVED) == ["000000010000000000000005"]


def test_a_reach_crosses_to_the_new_timeline() -> None:
    way = [wal.Leg(1, 0x5000060), wal.Leg(2, None)]
    archived = {"000000010000000000000004", "000000020000000000000005", "000000020000000000000006"}
    assert wal.reach(way, 0x4000028, archived) == (0x7000000, "000000020000000000000006")
    # The old timeline's segments behind the point where it was left lead nowhere.
    assert wal.reach(way, 0x4000028, {"000000010000000000000004", "000000010000000000000006"})[0] == 0x5000000
