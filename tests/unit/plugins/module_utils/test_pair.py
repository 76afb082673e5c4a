# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The highest pair a host has met, and the room set aside for records."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _pair
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Status
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records("test", "shop", str(tmp_path), str(tmp_path / "lock"), 5, check_mode=False)


def test_pair_is_raised_and_never_lowered(records: Records, tmp_path: Path) -> None:
    assert _pair.highest(records) == Pair()
    assert _pair.raise_to(records, Pair(5, "b"))
    assert not _pair.raise_to(records, Pair(5, "b"))
    assert json.loads((tmp_path / "shop" / "pair.json").read_text()) == {
        "schema": 1,
        "app": "shop",
        "token": 5,
        "run": "b",
    }
    for lower in (Pair(5, "a"), Pair(4, "z")):
        for refuse in (_pair.raise_to, _pair.check):
            with pytest.raises(Failure, match="the run was overtaken on shop: found token") as refused:
                refuse(records, lower)
            assert refused.value.result["highest"] == {"token": 5, "run": "b"}
    _pair.check(records, Pair(5, "b"))
    _pair.check(records, Pair(6, ""))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"pair.json": '{"schema": 1, "token": 5, "run": "b"}'}, Pair(5, "b"), id="pair"),
        pytest.param({"state.json": '{"schema": 1, "token": 7}'}, Pair(7, ""), id="state-of-schema-1"),
        pytest.param(
            {"state.json": '{"schema": 2, "moved_by": {"token": 7, "run": "c"}}'}, Pair(7, "c"), id="state-of-schema-2"
        ),
        pytest.param({"status.map": f"shop {Status(pair=Pair(9, 'd')).text()}"}, Pair(9, "d"), id="status"),
        pytest.param(
            {"pair.json": "{", "state.json": "[]", "status.map": f"shop {Status(pair=Pair(9, 'd')).text()}"},
            Pair(9, "d"),
            id="damaged",
        ),
        pytest.param(
            {"pair.json": '{"schema": 1, "token": 5, "run": "b"}', "state.json": '{"schema": 1, "token": 50}'},
            Pair(50, ""),
            id="the-highest-of-all",
        ),
        pytest.param({"pair.json": '{"schema": 1, "token": "x"}'}, Pair(), id="no-number"),
    ],
)
def test_the_highest_of_all_records_counts(
    records: Records, tmp_path: Path, files: dict[str, str], expected: Pair
) -> None:
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        (tmp_path / "shop" / name).write_text(text)
    assert _pair.highest(records) == expected


def test_check_mode_writes_nothing_and_refuses_the_same(records: Records, tmp_path: Path) -> None:
    _pair.raise_to(records, Pair(5, "b"))
    records.check_mode = True
    assert _pair.raise_to(records, Pair(6, "b"))
    with pytest.raises(Failure):
        _pair.raise_to(records, Pair(4, "b"))
    assert _pair.highest(records) == Pair(5, "b")


def test_a_long_act_does_not_hold_the_pair_back(records: Records) -> None:
    with records.locked():
        thread = threading.Thread(target=_pair.raise_to, args=(records, Pair(9, "new")))
        thread.start()
        thread.join(2)
        assert not thread.is_alive()
        with pytest.raises(Failure, match="overtaken"):
            _pair.check(records, Pair(8, "old"))


def full_until_gone(reserve: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = getattr(os, name)

    def call(*arguments: object) -> object:
        if reserve.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, name, call)


def test_room_set_aside_takes_the_records_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _file.reserve(str(tmp_path))
    assert not _file.reserve(str(tmp_path))
    reserve = tmp_path / _file.RESERVE
    assert reserve.stat().st_mode & 0o777 == 0o600
    assert reserve.stat().st_size == _file.RESERVE_BYTES
    full_until_gone(reserve, monkeypatch, "fsync")
    _file.write_atomic(str(tmp_path / "a"), "a\n")
    assert (tmp_path / "a").read_text() == "a\n"
    assert not reserve.exists()
    monkeypatch.undo()
    _file.reserve(str(tmp_path))
    full_until_gone(reserve, monkeypatch, "write")
    _file.append_line(str(tmp_path / "b"), "one")
    monkeypatch.undo()
    assert (tmp_path / "b").read_text() == "one\n"
    assert not reserve.exists()


def test_a_disk_that_is_full_for_good_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    _file.reserve(str(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _file.write_atomic(str(tmp_path / "a"), "a\n")
    assert not (tmp_path / "a").exists()
