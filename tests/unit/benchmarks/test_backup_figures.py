# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures of kills, damage and traps decide, where it could be wrong without a word."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.figures import (
    backup_corruption,
    backup_faults,
    backup_kills,
    backup_traps,
)


@pytest.mark.parametrize("kind", backup_corruption.KINDS)
def test_a_damage_always_changes_a_file(tmp_path: Path, kind: str) -> None:
    chance = random.Random(1)
    for content in (b"x", b"some bytes"):
        for name in ("data/aa/one", "data/bb/two"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content + name[-3:].encode())
        files = backup_corruption.files_of(tmp_path)
        before = {path: path.read_bytes() for path in files}
        how = backup_corruption.damaged(files[0], kind, files, chance)
        assert how.startswith(kind)
        assert {path: path.read_bytes() for path in backup_corruption.files_of(tmp_path)} != before


def test_a_file_that_has_no_other_to_be_swapped_with_is_removed(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"same")
    (tmp_path / "two").write_bytes(b"same")
    files = backup_corruption.files_of(tmp_path)
    assert backup_corruption.damaged(files[0], "swap", files, random.Random(1)) == "delete"


def test_small_and_large_files_are_both_damaged() -> None:
    chance = random.Random(1)
    seen = Counter(backup_corruption.chosen({"small": 1, "large": 10**6, "empty": 0}, chance) for _number in range(400))
    assert set(seen) == {"small", "large"}
    assert 60 < seen["small"] < 140


def test_every_verb_of_both_engines_is_killed_in_turn() -> None:
    found = list(backup_kills.in_turn(40, random.Random(1)))
    assert len(found) == 40
    assert set(Counter(found[:16]).values()) == {1, 3}
    assert {verb for (_engine, verb), many in Counter(found[:16]).items() if many == 3} == {"in_place"}
    assert len(list(backup_kills.in_turn(1, random.Random(1)))) == 1


def test_all_that_a_process_started_is_known() -> None:
    run = subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; true' & wait"], start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while len(backup_kills.descendants(run.pid)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for pid in backup_kills.descendants(run.pid):
            subprocess.run(["kill", "-9", str(pid)], check=False)
        run.wait()


def test_a_trap_is_read_with_what_is_set_from_outside() -> None:
    text = 'head\n\n-- {"kind": "name", "title": "t", "name": "a\\nb"}\nselect 1;\n-- about\nalter database {0} x;\n'
    trap = backup_traps.Trap("name", "t", "select 1;", "alter database {0} x;", "a\nb")
    assert backup_traps.parsed(text) == (trap,)
    assert len(backup_traps.TRAPS) == len({trap.title for trap in backup_traps.TRAPS}) == 60


@pytest.mark.parametrize(
    ("other", "text"),
    [
        pytest.param(([b"a", b"b"], {"limit": -1}), "", id="equal"),
        pytest.param(([b"a", b"b"], {"limit": 3}), "limit 3 instead of -1", id="property"),
        pytest.param(([b"a"], {"limit": -1}), "no line b", id="missing"),
        pytest.param(([b"a", b"b", b"b"], {"limit": -1}), "another line b", id="twice"),
    ],
)
def test_databases_that_differ_are_told_apart(other: tuple[list[bytes], dict[str, int]], text: str) -> None:
    assert backup_traps.difference(([b"a", b"b"], {"limit": -1}), other) == text


def test_a_fault_that_is_not_planted_for_the_plain_tools_is_not_held_against_them() -> None:
    # Only what the function reads.
    planted = backup_faults.ours(lambda _ground: None)(None)  # type: ignore[arg-type]
    assert [one["detected"] for one in planted] == [None, None, None]
    assert len(backup_faults.FAULTS) == 40


class Blind:
    """An instance whose verify and drill find only what is in *finds*."""

    def __init__(self, *finds: str) -> None:
        self.finds = finds
        self.options = {"repositories": [{"name": "local", "location": "/nowhere"}], "state_dir": "/nowhere"}

    def run(self, verb: str, *_words: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        found = [{"stage": verb, "fault": "flipped_byte", "sentence": "x"}] if verb in self.finds else []
        return (3 if found else 0), {"failures": found}


@pytest.mark.parametrize(
    ("finds", "restored", "by"),
    [
        pytest.param(("verify",), "other", "verify", id="verify finds it"),
        pytest.param(("drill",), "other", "drill", id="a drill finds it"),
        pytest.param((), "other", "silent", id="nobody finds it, and the content is another"),
        pytest.param((), "same", "nothing reads it", id="nobody finds it, and the content is the same"),
    ],
)
def test_damage_that_nobody_finds_is_silent_unless_the_content_is_the_same(
    monkeypatch: pytest.MonkeyPatch, finds: tuple[str, ...], restored: str, by: str
) -> None:
    monkeypatch.setattr(backup_corruption, "restored_database", lambda *_words: restored)
    # Only what the function reads.
    ground = backup_corruption.Ground("logical", None, Blind(*finds), {"b1": "same"})  # type: ignore[arg-type]
    assert backup_corruption.judged(ground)[0] == by


class Down:
    """An app and a server that are down, and what metrics and status say of it."""

    def __init__(self, figure: float, told: bool) -> None:
        self.figure, self.told = figure, told
        self.options = {"state_dir": "/nowhere"}
        self.down = True

    def metrics(self) -> dict[str, float]:
        return {"evenkeel_backup_exchange_unfinished{}": self.figure}

    def run(self, _verb: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        return 3, {"failures": [{"fault": "exchange_unfinished"}] if self.told else []}


@pytest.mark.parametrize(
    ("figure", "told", "found"),
    [
        pytest.param(1, True, [], id="alert and status"),
        pytest.param(0, True, ["app"], id="no alert"),
        pytest.param(1, False, ["app"], id="no word of status"),
    ],
)
def test_an_app_that_is_down_needs_alert_and_status(
    monkeypatch: pytest.MonkeyPatch, figure: float, told: bool, found: list[str]
) -> None:
    monkeypatch.setattr(backup_kills, "answers", lambda _cluster: True)
    here = Down(figure, told)
    # Only what the function reads.
    ground = backup_kills.Ground("logical", None, here, here)  # type: ignore[arg-type]
    assert ground.unalerted() == found


def test_an_acknowledged_row_that_is_nowhere_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    every = set(range(1, backup_kills.ROWS + 1))
    monkeypatch.setattr(backup_kills, "databases", lambda _cluster: ["shop", "shop_before_1"])
    rows = {"shop": every - {7}, "shop_before_1": {7, 10**6}}
    monkeypatch.setattr(backup_kills, "ids", lambda _cluster, name: set(rows[name]))
    app = Down(0, False)
    # Only what the function reads.
    app.acknowledged = {10**6, 10**6 + 1}  # type: ignore[attr-defined]
    # Only what the function reads.
    ground = backup_kills.Ground("logical", None, None, app)  # type: ignore[arg-type]
    assert ground.lost(finished=True) == [10**6 + 1]
    assert ground.lost(finished=False) == [7, 10**6, 10**6 + 1]
