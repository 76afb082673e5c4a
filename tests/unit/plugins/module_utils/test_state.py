# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records survive a crash at any byte, and what does not parse is set aside, never guessed."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _state
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure


def records(folder: Path, check_mode: bool = False, lock_seconds: float = 5) -> _state.Records:
    return _state.Records("test", "shop", str(folder), str(folder / "lock"), lock_seconds, check_mode)


def test_written_with_mode_and_schema(tmp_path: Path) -> None:
    books = records(tmp_path / "deep" / "er")
    books.write({"token": 3}, "state.json")
    path = Path(books.path("state.json"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert books.read("state.json") == {"token": 3, "schema": 2}
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"token": 1}', '{"schema": "one"}', "\x00\x00"])
def test_what_does_not_parse_is_set_aside(tmp_path: Path, text: str) -> None:
    books = records(tmp_path)
    path = Path(books.path("state.json"))
    path.parent.mkdir()
    for number in (1, 2):
        path.write_text(text)
        assert books.read("state.json") is None
        assert Path(f"{path}.broken-{number}").read_text() == text
        assert not path.exists()
    assert len(books.warnings) == 2
    assert "was set aside as" in books.warnings[0]


@pytest.mark.parametrize("mode", ["check", "read_only"])
def test_nothing_is_set_aside_when_only_read(tmp_path: Path, mode: str) -> None:
    books = records(tmp_path, check_mode=mode == "check")
    path = Path(books.path("state.json"))
    path.parent.mkdir()
    path.write_text("{")
    assert books.read("state.json", read_only=mode == "read_only") is None
    assert path.read_text() == "{"
    assert "is left in place" in books.warnings[0]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    books = records(tmp_path)
    path = Path(books.path("state.json"))
    path.parent.mkdir()
    path.write_text('{"schema": 3}')
    with pytest.raises(Failure, match="the record is of a newer version"):
        books.read("state.json")
    assert path.exists()


LINES = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=12), max_size=3), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(LINES, st.data())
def test_a_crash_at_any_byte_of_the_last_line_loses_that_line_at_most(
    tmp_path: Path, lines: list[dict[str, str]], data: st.DataObject
) -> None:
    folder = tmp_path / str(time.monotonic_ns())
    books = records(folder)
    for number, line in enumerate(lines):
        books.append({**line, "number": number}, "journal.jsonl")
    path = Path(books.path("journal.jsonl"))
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    cut = data.draw(st.integers(start, len(whole)))
    path.write_bytes(whole[:cut])

    survived = [line["number"] for line in books.read_lines("journal.jsonl")]
    assert survived in (list(range(len(lines))), list(range(len(lines) - 1)))
    if cut >= len(whole) - 1:
        assert survived == list(range(len(lines)))
    books.append({"number": 99}, "journal.jsonl")
    assert [line["number"] for line in books.read_lines("journal.jsonl")] == [*survived, 99]
    torn = start < cut < len(whole) - 1
    assert Path(f"{path}.broken-1").exists() is torn
    assert bool(books.warnings) is torn


def test_every_line_is_one_record(tmp_path: Path) -> None:
    books = records(tmp_path)
    books.append({"text": "two\nlines \u2028 and more"}, "journal.jsonl")
    assert len(Path(books.path("journal.jsonl")).read_text().splitlines()) == 1
    assert books.read_lines("journal.jsonl")[0]["text"] == "two\nlines \u2028 and more"


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    _file.write_atomic(str(path), "old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _file.write_atomic(str(path), "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "lock" / "evenkeel-shop.lock")
    entered = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with _file.lock(path, 5, "test"):
            entered.set()
            leave.wait(5)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(5)
    with pytest.raises(Failure, match=r"the lock is taken on .*evenkeel-shop\.lock"), _file.lock(path, 0.05, "test"):
        pytest.fail("two hold it")
    leave.set()
    with _file.lock(path, 5, "test"):
        pass
    thread.join()


def test_check_mode_takes_no_lock_and_writes_nothing(tmp_path: Path) -> None:
    books = records(tmp_path, check_mode=True)
    with books.locked(edge=True):
        books.write({"token": 1}, "state.json")
        books.append({"token": 1}, "journal.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_record_is_json_that_people_can_read(tmp_path: Path) -> None:
    books = records(tmp_path)
    books.write({"b": 1, "a": 2}, "state.json")
    text = Path(books.path("state.json")).read_text()
    assert text.endswith("\n")
    assert list(json.loads(text)) == ["a", "b", "schema"]
