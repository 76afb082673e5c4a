# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that was dropped on purpose is accepted once, and a later loss is found again."""

from __future__ import annotations

import pytest

from evenkeel_backup import gone, manifest

BEFORE, SAID, AFTER = (f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))


def backup(names: list[str], at: str, size: int = 0) -> dict:
    return {
        "id": "x-000001", "engine": "logical", "started_at": at, "bytes": size or 100 * len(names),
        "databases": [{"name": name, "bytes": 7, "rows": {"public.t": 5}} for name in names],
        "files": {f"databases/{name}/1.dat": {"bytes": 100} for name in names},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("good", "said", "faults"),
    [
        pytest.param(backup(["old", "shop"], BEFORE), {}, ["empty_database"], id="nobody said so"),
        pytest.param(backup(["old", "shop"], BEFORE), {"old": SAID}, [], id="said"),
        pytest.param(backup(["old", "shop"], BEFORE), {"other": SAID}, ["empty_database"], id="of another"),
        pytest.param(backup(["old", "shop"], AFTER), {"old": SAID}, ["empty_database"], id="created and lost again"),
        pytest.param(backup(["shop"], BEFORE), {"old": SAID}, [], id="nothing missing"),
    ],
)
def test_a_missing_database(good: dict, said: dict[str, str], faults: list[str]) -> None:
    made = backup(["shop"], AFTER)
    found = manifest.empty_problems(made, gone.accepted(good, made, said))
    assert [failure.fault for failure in found] == faults


def test_a_database_that_is_there_but_empty_is_no_database_that_was_dropped() -> None:
    made = backup(["old", "shop"], AFTER)
    made["databases"][0]["rows"] = {}
    found = gone.accepted(backup(["old", "shop"], BEFORE), made, {"old": SAID})
    assert [failure.fault for failure in manifest.empty_problems(made, found)] == ["empty_database"]


def test_the_size_is_measured_without_it() -> None:
    good, made = backup(["old", "shop"], BEFORE), backup(["shop"], AFTER)
    good["files"]["databases/old/1.dat"]["bytes"], good["bytes"] = 900, 1000
    assert manifest.size_problem(made, good, 1, 0.5)
    assert manifest.size_problem(made, gone.accepted(good, made, {"old": SAID}), 1, 0.5) is None
    # pgBackRest's size is that of the whole server.
    good["files"], good["databases"][0]["bytes"] = {}, 850
    accepted = gone.accepted(good, made, {"old": SAID})
    assert accepted is not None
    assert accepted["bytes"] == 150
    assert gone.accepted(None, made, {"old": SAID}) is None
