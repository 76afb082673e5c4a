# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root follows no link that another user planted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evenkeel_backup import job, safepath
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.where import Host

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """A folder of root that links point to, with one file."""
    folder = tmp_path / "precious"
    folder.mkdir(0o755)
    (folder / "file").write_text("kept")
    (folder / "file").chmod(0o644)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir(0o700)
    return folder


def untouched(folder: Path) -> bool:
    one, inner = folder.stat(), (folder / "file").stat()
    owners = {one.st_uid, inner.st_uid}
    return owners == {os.geteuid()} and (one.st_mode & 0o777, inner.st_mode & 0o777) == (0o755, 0o644) and (
        (folder / "file").read_text() == "kept" and [path.name for path in folder.iterdir()] == ["file"]
    )  # fmt: skip


def test_a_folder_that_is_a_link_is_refused(work: Path, precious: Path) -> None:
    (work / "drill").symlink_to(precious)
    for act in (
        lambda: safepath.make(work / "drill", 0o700, NOBODY, NOBODY),
        lambda: Host("", "root").own(work / "drill"),
        lambda: safepath.take(work / "drill"),
        lambda: safepath.give(work / "drill", NOBODY, NOBODY),
        lambda: safepath.touch(work / "drill", "signal", uid=NOBODY, gid=NOBODY),
    ):
        with pytest.raises(BackupFailure, match="a path is not what this program made"):
            act()
    assert untouched(precious)


def test_a_file_that_is_a_link_is_replaced(work: Path, precious: Path) -> None:
    (work / "hba.conf").symlink_to(precious / "file")
    safepath.create(work / "hba.conf", "new", 0o600, NOBODY, NOBODY)
    assert (work / "hba.conf").read_text() == "new"
    assert not (work / "hba.conf").is_symlink()
    assert untouched(precious)


def test_a_link_is_removed_and_not_what_it_names(work: Path, precious: Path) -> None:
    (work / "drill-1").symlink_to(precious)
    (work / "tree").mkdir()
    (work / "tree" / "inner").symlink_to(precious)
    for name in ("drill-1", "tree", "missing"):
        safepath.remove(work / name)
    assert not list(work.iterdir())
    assert job.remove is safepath.remove
    assert untouched(precious)


def test_a_name_on_the_way_to_a_new_file_is_no_link(work: Path, precious: Path) -> None:
    (work / "pg_wal").symlink_to(precious)
    with pytest.raises(BackupFailure):
        safepath.touch(work, "pg_wal", "ready", uid=NOBODY, gid=NOBODY)
    (work / "recovery.signal").symlink_to(precious / "made")
    safepath.touch(work, "recovery.signal", uid=NOBODY, gid=NOBODY)
    assert untouched(precious)


@as_root
def test_a_tree_changes_its_owner_and_links_in_it_are_not_followed(work: Path, precious: Path) -> None:
    tree = work / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "data").write_text("x")
    (tree / "link").symlink_to(precious)
    (tree / "inner" / "file").symlink_to(precious / "file")
    safepath.give(tree, NOBODY, NOBODY)
    assert {path.lstat().st_uid for path in (tree, *tree.rglob("*"))} == {NOBODY}
    assert untouched(precious)


@as_root
def test_a_tree_that_is_taken_back_holds_files_only(work: Path, precious: Path) -> None:
    tree = work / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "inner" / "data").write_text("x")
    (tree / "inner" / "shadow").symlink_to(precious / "file")
    (tree / "folder").symlink_to(precious)
    os.mkfifo(tree / "pipe")
    os.link(precious / "file", tree / "hard")
    safepath.give(tree / "inner", NOBODY, NOBODY)
    safepath.take(tree)
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["inner", "inner/data"]
    assert {path.lstat().st_uid for path in (tree, *tree.rglob("*"))} == {0}
    assert tree.stat().st_mode & 0o777 == (tree / "inner").stat().st_mode & 0o777 == 0o700
    assert untouched(precious)


def test_reading_waits_for_no_pipe_and_follows_no_link(work: Path, precious: Path) -> None:
    os.mkfifo(work / "1.dat")
    (work / "2.dat").symlink_to(precious / "file")
    for name in ("1.dat", "2.dat"):
        with pytest.raises(BackupFailure), safepath.reading(work / name):
            pass
    with safepath.reading(precious / "file") as stream:
        assert stream.read() == b"kept"
