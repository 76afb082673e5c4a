# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders with restic between two hooks, and drills of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import KEY, Instance, missing

REASON = missing("restic")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")


@pytest.fixture(scope="module")
def uploads(folder: Path) -> Instance:
    live = folder / "uploads"
    (live / "deep").mkdir(parents=True)
    for number in range(40):
        (live / "deep" / f"{number}.bin").write_bytes(os.urandom(2000))
    (live / "odd name\twith 'quotes'").write_text("x")
    (live / "skipped.tmp").write_text("x")
    log = folder / "hooks.log"
    made = Instance(
        folder,
        "uploads",
        "files",
        paths=[str(live)],
        exclude=["*.tmp"],
        hooks={name: [["sh", "-c", f"echo {name} >> {log}"]] for name in ("before_backup", "after_backup")},
    )
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    return made


def test_files_are_proven_byte_for_byte(uploads: Instance) -> None:
    assert uploads.good("backup")["backup"]["level"] == 2
    assert (uploads.folder / "hooks.log").read_text().split() == ["before_backup", "after_backup"]
    drilled = uploads.good("drill")
    assert drilled["drill"]["level"] == 5
    assert "41 files byte for byte" in drilled["ladder"]["local"][-1]["evidence"]


def test_they_come_back_beside_the_live_ones(uploads: Instance) -> None:
    into = uploads.folder / "back"
    assert uploads.faults("restore", "--into", str(uploads.folder / "uploads" / "deep")) == {("target", "target_live")}
    uploads.good("restore", "--into", str(into))
    assert (into / str(uploads.folder / "uploads")[1:] / "deep" / "7.bin").read_bytes() == (
        uploads.folder / "uploads" / "deep" / "7.bin"
    ).read_bytes()


def test_the_second_hook_runs_where_the_first_fails(uploads: Instance) -> None:
    log = uploads.folder / "hooks.log"
    log.unlink()
    uploads.options["hooks"]["before_backup"] = [["false"]]
    uploads.write()
    assert uploads.faults("backup") == {("hooks", "hook_failed")}
    assert log.read_text().split() == ["after_backup"]


def test_a_folder_that_is_gone_is_named(uploads: Instance) -> None:
    uploads.options["hooks"] = {}
    uploads.options["paths"] = [str(uploads.folder / "nowhere")]
    uploads.write()
    assert uploads.faults("backup") == {("dump", "empty_database")}
