# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of what is live, and the choice of a point in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenkeel_backup import target
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.target import Candidate, Live, Point

LIVE = Live(frozenset({"shop", "postgres"}), "/var/lib/postgresql/17/main", "/run/postgresql", 5432)
AT = datetime(2026, 1, 1, tzinfo=UTC)
BACKUPS = [Candidate("one", AT, 1000, 1), Candidate("two", AT + timedelta(hours=2), 2000, 1)]


@pytest.mark.parametrize(
    ("place", "live"),
    [
        pytest.param({"database": "shop"}, True, id="the database"),
        pytest.param({"database": "Shop"}, False, id="another database"),
        pytest.param({"data_dir": "/var/lib/postgresql/17/main"}, True, id="the folder"),
        pytest.param({"data_dir": "/var/lib/postgresql/17/main/"}, True, id="the folder with a slash"),
        pytest.param({"data_dir": "/var/lib/postgresql/17/../17/main"}, True, id="the folder by another way"),
        pytest.param({"data_dir": "/var/lib/postgresql"}, True, id="a folder around it"),
        pytest.param({"data_dir": "/var/lib/postgresql/17/main/base"}, True, id="a folder in it"),
        pytest.param({"data_dir": "/var/lib/postgresql/17/main2"}, False, id="a folder beside it"),
        pytest.param({"socket_dir": "/run/postgresql", "port": 5432}, True, id="the socket"),
        pytest.param({"socket_dir": "/tmp/drill", "port": 5432}, False, id="a socket of its own"),
        pytest.param({"port": 5432}, True, id="the port"),
        pytest.param({}, False, id="nothing"),
    ],
)
def test_what_is_live(place: dict, live: bool) -> None:
    assert bool(target.live_problems(LIVE, **place)) is live
    if live:
        with pytest.raises(BackupFailure, match="need a place that serves nobody"):
            target.refuse_live(LIVE, "shop", **place)


def test_a_link_to_the_live_folder_is_live(tmp_path: Path) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "main")
    assert target.live_problems(Live(frozenset(), str(tmp_path / "main"), "", 0), data_dir=str(tmp_path / "link"))


@given(st.text(min_size=1, max_size=80), st.text("_abc0123456789", min_size=1, max_size=30))
def test_a_name_beside_fits_and_differs(name: str, suffix: str) -> None:
    found = target.beside(name, f"_restored_{suffix}")
    assert len(found.encode()) <= 63
    assert found.endswith(suffix)


@pytest.mark.parametrize(
    ("point", "label"),
    [
        pytest.param(Point(time=AT), "one", id="at the end of the first"),
        pytest.param(Point(time=AT + timedelta(hours=1)), "one", id="before the second"),
        pytest.param(Point(time=AT + timedelta(hours=3)), "two", id="after the second"),
        pytest.param(Point(lsn=1999), "one", id="LSN before the second"),
        pytest.param(Point(name="release"), "two", id="a name: the newest"),
        pytest.param(Point(time=AT - timedelta(seconds=1)), None, id="before the first"),
        pytest.param(Point(time=AT + timedelta(hours=5)), None, id="after the archive"),
        pytest.param(Point(lsn=999), None, id="LSN before the first"),
        pytest.param(Point(lsn=3001), None, id="LSN after the archive"),
    ],
)
def test_the_backup_for_a_point(point: Point, label: str | None) -> None:
    if label:
        assert target.choose(BACKUPS, point, 3000, AT + timedelta(hours=4)).label == label
        return
    with pytest.raises(BackupFailure, match=r"2026-01-01T00:00:00\+00:00 to 2026-01-01T04:00:00\+00:00") as refusal:
        target.choose(BACKUPS, point, 3000, AT + timedelta(hours=4))
    assert refusal.value.fault == "target_out_of_range"


def test_without_a_backup_there_is_no_range() -> None:
    with pytest.raises(BackupFailure, match="need a physical backup first"):
        target.choose([], Point(time=AT), 0, AT)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31 10:00:00+01", "2026-01-31T09:00:00+00:00"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31 10:00:00.5-03:30", "2026-01-31T13:30:00.500000+00:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert target.parse_time(text).astimezone(UTC).isoformat() == moment


@pytest.mark.parametrize(
    ("backup", "here", "engine", "fits"),
    [
        (15, 15, "physical", True),
        (15, 17, "physical", False),
        (15, 17, "logical", True),
        (17, 15, "logical", False),
        (17, 17, "logical", True),
    ],
)
def test_major_versions(backup: int, here: int, engine: str, fits: bool) -> None:
    problem = target.major_problem(backup, here, engine)
    assert (problem is None) is fits
    assert problem is None or problem.fault == "major_mismatch"


def test_space() -> None:
    assert target.space_problem(1000, 1100, "/x") is None
    problem = target.space_problem(1000, 1099, "/x")
    assert problem is not None
    assert problem.fault == "no_space"


def test_the_version_of_a_program() -> None:
    assert target.major_of("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n") == 15
    assert target.major_of("postgres (PostgreSQL) 18beta1\n") == 18
    assert target.major_of("none") == 0
