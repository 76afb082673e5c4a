# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evenkeel_backup import unfinished


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


def test_a_new_folder_is_removed_and_one_that_was_there_keeps_its_own(state: Path, tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.mkdir()
    for folder in (new, old):
        unfinished.begin(state, folder)
        (folder / "data").mkdir(exist_ok=True)
        (folder / "data" / "PG_VERSION").touch()
    (old / "notes").touch()
    assert [own.path for own in unfinished.left(state)] == [new, *(old / name for name in unfinished.PARTS)]
    unfinished.abandon(state, unfinished.left(state))
    assert not new.exists()
    assert [path.name for path in old.iterdir()] == ["notes"]
    assert unfinished.left(state) == []


def test_a_complete_folder_and_one_that_took_its_place_stay(state: Path, tmp_path: Path) -> None:
    whole = unfinished.begin(state, tmp_path / "whole")
    unfinished.finish(state, whole)
    unfinished.begin(state, tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "moved")
    (tmp_path / "other").mkdir()
    unfinished.abandon(state, unfinished.left(state))
    assert {path.name for path in tmp_path.iterdir()} == {"state", "whole", "other", "moved"}


def test_the_run_itself_is_no_program_that_works_in_the_folder(tmp_path: Path) -> None:
    code = "from evenkeel_backup import unfinished; from pathlib import Path; import sys;"
    code += "print(unfinished.programs_in(Path(sys.argv[1])))"
    asked = subprocess.run(
        ["sh", "-c", f'{sys.executable} -c "$0" "$1"; true', code, str(tmp_path)],
        cwd=Path(unfinished.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout == "[]\n"
    other = subprocess.Popen(["sh", "-c", "sleep 60; true", str(tmp_path)], start_new_session=True)
    try:
        assert unfinished.programs_in(tmp_path) == [other.pid]
    finally:
        other.kill()
        other.wait()
