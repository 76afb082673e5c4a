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
    seen = Counter(backup_corruption.chosen({"small": 1, "large": 10**6, "empty": 0}, chance) for _ in range(400))
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
    planted = backup_faults.ours(lambda _ground: None)(None)  # type: ignore[arg-type]
    assert [one["detected"] for one in planted] == [None, None, None]
    assert len(backup_faults.FAULTS) == 40
