# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that a backup fits into, and databases that it leaves out."""

from __future__ import annotations

import pytest

from evenkeel_backup import census, connections

ROLE = {"max": 20, "superusers": 3, "reserved": 0, "used": 15, "superuser": False, "may_reserved": False}


@pytest.mark.parametrize(
    ("change", "free"),
    [
        pytest.param({}, 2, id="a plain account"),
        pytest.param({"superuser": True}, 5, id="a superuser"),
        pytest.param({"reserved": 4}, -2, id="a reserve of others"),
        pytest.param({"reserved": 4, "may_reserved": True}, 2, id="a reserve of ours"),
    ],
)
def test_connections_that_are_left(change: dict, free: int) -> None:
    assert connections.free({**ROLE, **change}) == free


@pytest.mark.parametrize(
    ("room", "wanted", "jobs"), [(9, 2, 2), (4, 2, 2), (3, 2, 1), (2, 2, 1), (1, 2, 0), (0, 1, 0), (5, 8, 3)]
)
def test_jobs_that_fit(room: int, wanted: int, jobs: int) -> None:
    assert connections.fitting(room, wanted) == jobs


def entry(name: str, **change: object) -> dict:
    return {"name": name, "template": False, "open": True, "limit": -1, "bytes": 7_000_000, **change}


ALL = [
    entry("template0", template=True, open=False), entry("template1", template=True),
    entry("shop"), entry("pattern", template=True), entry("archive", open=False), entry("half", limit=-2),
]  # fmt: skip


def test_databases_that_are_left_out_are_named() -> None:
    left = census.reasons(ALL, ["shop", "pattern"])
    assert list(left) == ["archive", "half"]
    assert [one.sentence for one in census.warnings(left)] == [
        "evenkeel-backup: a database is not in the backup on archive: found allow_connections false, need a database that"
        ' takes connections. ALTER DATABASE "archive" ALLOW_CONNECTIONS true for a backup.',
        "evenkeel-backup: a database is not in the backup on half: found a DROP DATABASE that was interrupted, need a"
        " database that takes connections. Drop it.",
    ]
    assert "template1" in census.reasons([*ALL[:1], entry("template1", template=True, bytes=9_000_000)], [])
