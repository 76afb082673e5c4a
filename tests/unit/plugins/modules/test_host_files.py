# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders and files of a role on a host."""

from __future__ import annotations

import grp
import os
import pwd
import typing as t
from pathlib import Path

import pytest

Result = dict[str, t.Any]
Run = t.Callable[..., Result]
ME = {"owner": pwd.getpwuid(os.geteuid()).pw_name, "group": grp.getgrgid(os.getegid()).gr_name}


def folder(path: Path, mode: str = "0700") -> dict[str, str]:
    return {"path": str(path), "mode": mode, **ME}


def file(path: Path, mode: str = "0640", **content: str) -> dict[str, str]:
    return {"path": str(path), "mode": mode, **(content or {"content": "a\n"}), **ME}


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_folders_and_files_are_written_once_and_a_dry_run_tells_them(run: Run, tmp_path: Path) -> None:
    base, key = tmp_path / "new" / "base", tmp_path / "new" / "base" / "key"
    wanted = {"folders": [folder(base)], "files": [file(key, "0400", secret_content="hush\n")]}
    dry = run("host_files", _check=True, _diff=True, **wanted)
    assert not base.parent.exists()
    done = run("host_files", _diff=True, **wanted)
    assert done["actions"] == dry["actions"] == [f"created {base}", f"created {key}"]
    assert done["paths"] == [str(base), str(key)]
    assert (mode_of(base), mode_of(key), key.read_text()) == (0o700, 0o400, "hush\n")
    assert "hush" not in str(done) + str(dry)
    assert not run("host_files", **wanted)["changed"]


def test_owner_may_be_a_number(run: Run, tmp_path: Path) -> None:
    wanted = {"folders": [{**folder(tmp_path / "a"), "owner": str(os.geteuid()), "group": str(os.getegid())}]}
    assert run("host_files", **wanted)["changed"]
    assert not run("host_files", **wanted)["changed"]


@pytest.mark.parametrize("name", ["folder", "file"])
def test_mode_alone_is_set_and_shown(run: Run, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    wanted = {"folders": [folder(path)]} if name == "folder" else {"files": [file(path)]}
    run("host_files", **wanted)
    path.chmod(0o777)
    done = run("host_files", _diff=True, **wanted)
    assert done["actions"] == [f"set mode and owner of {path}"]
    assert done["diff"][0]["before"].startswith("mode 0777")
    assert not run("host_files", **wanted)["changed"]


def test_content_is_replaced_and_both_texts_are_shown(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    done = run("host_files", _diff=True, files=[file(path)])
    assert (done["diff"][0]["before"], done["diff"][0]["after"]) == ("old\n", "a\n")
    assert (path.read_text(), mode_of(path)) == ("a\n", 0o640)


def test_file_that_is_kept_is_written_where_there_is_none(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    wanted = {"files": [{**file(path), "keep": True}]}
    assert run("host_files", **wanted)["changed"]
    path.write_text("of an administrator\n")
    assert not run("host_files", **wanted)["changed"]
    assert path.read_text() == "of an administrator\n"


def test_link_is_replaced_and_its_target_stays(run: Run, tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_text("a\n")
    path.symlink_to(target)
    assert run("host_files", files=[file(path, content="b\n")])["changed"]
    assert not path.is_symlink()
    assert (path.read_text(), target.read_text()) == ("b\n", "a\n")


def test_what_is_in_the_way_is_named_at_once_and_nothing_is_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    for name in ("folder", "other"):
        (tmp_path / name).mkdir()
    refused = run(
        "host_files",
        folders=[folder(tmp_path / "link"), folder(tmp_path / "new")],
        files=[file(tmp_path / "folder")],
        absent=[str(tmp_path / "other")],
    )
    assert f"folder on {tmp_path}/link: found a link" in refused["msg"]
    assert f"file on {tmp_path}/folder: found a folder" in refused["msg"]
    assert f"file to remove on {tmp_path}/other" in refused["msg"]
    assert not (tmp_path / "new").exists()


def test_wrong_options_are_named_at_once(run: Run, tmp_path: Path) -> None:
    refused = run("host_files", folders=[folder(tmp_path / "a", "rwx")], files=[{"path": "b", "content": ""}])
    assert "mode on" in refused["msg"]
    assert "path on file: found b" in refused["msg"]
    # Digits without quotes reach a module as another number.
    assert "found 256" in run("host_files", files=[file(tmp_path / "c", "256")])["msg"]


def test_folder_may_be_a_link_that_root_or_the_caller_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("disk")
    assert run("host_files", folders=[folder(tmp_path / "link")])["changed"]
    assert mode_of(tmp_path / "disk") == 0o700
    assert (tmp_path / "link").is_symlink()
    assert not run("host_files", folders=[{**folder(tmp_path), "path": f"{tmp_path}/link/"}])["changed"]


def test_folders_may_be_named_twice_and_in_any_order(run: Run, tmp_path: Path) -> None:
    wanted = [folder(tmp_path / "a" / "b"), folder(tmp_path / "a", "0750"), folder(tmp_path / "a" / "b")]
    assert run("host_files", folders=wanted)["changed"]
    assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")) == (0o750, 0o700)
    assert not run("host_files", folders=wanted)["changed"]


def test_parents_are_open_whatever_the_umask(run: Run, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        run("host_files", files=[file(tmp_path / "a" / "b" / "file")])
    finally:
        os.umask(before)
    assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "a" / "b")) == (0o755, 0o755)


def test_line_ends_are_kept_and_compared(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    wanted = {"files": [file(path, content="a\r\n")]}
    run("host_files", **wanted)
    assert path.read_bytes() == b"a\r\n"
    assert not run("host_files", **wanted)["changed"]
    assert run("host_files", files=[file(path)])["changed"]


def test_failure_in_the_middle_says_what_was_done(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = run("host_files", files=[file(tmp_path / "a"), file(tmp_path / "file" / "b")])
    assert f"path on {tmp_path}/file/b: found" in failed["msg"]
    assert failed["actions"] == [f"created {tmp_path}/a"]
    unknown = {**file(tmp_path / "d"), "owner": "nobody-has-this-name"}
    assert "owner on" in run("host_files", files=[file(tmp_path / "c"), unknown])["msg"]
    assert not (tmp_path / "c").exists(), "owners are asked for first"


def test_two_wishes_for_one_path_are_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    refused = run("host_files", files=[file(path), file(path, content="b\n")], absent=[str(path)])
    assert f"path on {path}: found two descriptions that differ" in refused["msg"]
    assert f"path on {path}: found it wanted and absent" in refused["msg"]


def test_files_are_removed_and_missing_ones_change_nothing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    assert run("host_files", absent=[str(path), str(tmp_path / "none")])["actions"] == [f"removed {path}"]
    assert not path.exists()
    assert not run("host_files", absent=[str(path)])["changed"]
