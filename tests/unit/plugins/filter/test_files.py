# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.filter.files import differing_files, differing_folders

KEY = {"path": "/etc/x/a key", "content": "schlüssel\n"}


def listing(tmp_path: Path, mode: str = "400", owner: str = "root") -> list[str]:
    """Return the host's listing of a file, optionally with another owner."""
    file = tmp_path / "file"
    file.write_text(KEY["content"], encoding="utf-8")
    done = subprocess.run(["sha256sum", str(file)], capture_output=True, text=True, check=True).stdout.split()
    return [f"{mode} {owner} root {KEY['path']}", f"{done[0]}  {KEY['path']}"]


def test_file_that_is_as_it_has_to_be_is_left_out(tmp_path: Path) -> None:
    assert differing_files([KEY], listing(tmp_path), "0400") == []


@pytest.mark.parametrize(
    "there",
    [
        pytest.param({"mode": "444"}, id="mode"),
        pytest.param({"owner": "nobody"}, id="owner"),
    ],
)
def test_file_with_another_mode_or_owner_is_written(there: dict[str, str], tmp_path: Path) -> None:
    assert differing_files([KEY], listing(tmp_path, **there), "0400") == [KEY]


def test_file_with_other_content_or_none_is_written(tmp_path: Path) -> None:
    lines = listing(tmp_path)
    other = {**KEY, "content": "another\n"}
    assert differing_files([KEY, other], lines, "0400") == [other]
    assert differing_files([KEY], [], "0400") == [KEY]
    assert differing_files([KEY], lines[:1], "0400") == [KEY]


FOLDER = {"path": "/etc/x y", "mode": "0755"}


def folder_lines(path: Path, owner: str = "root") -> list[str]:
    """Return the host's listing of folders, with path and owner of the test replaced."""
    argv = ["find", str(path), "-maxdepth", "0", "-type", "d", "-printf", "%m %u %g %p\n"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    return [f"{line.split()[0]} {owner} root {FOLDER['path']}" for line in lines]


def test_folder_that_is_as_it_has_to_be_is_left_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert differing_folders([FOLDER], folder_lines(tmp_path)) == []
    assert differing_folders([FOLDER], folder_lines(tmp_path, owner="nobody")) == [FOLDER]
    tmp_path.chmod(0o1755)
    assert differing_folders([FOLDER], folder_lines(tmp_path)) == [FOLDER]


def test_folder_that_is_missing_or_no_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("missing", "file", "link"):
        assert differing_folders([FOLDER], folder_lines(tmp_path / name)) == [FOLDER]
