# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shop in the lab: what the tests of the whole way of a release, and those that disturb it, have in common."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig

OLD = "1.0"
NEW = "1.1"
RATE = 50.0
TIMEOUT_SECONDS = 30.0  # a busy machine is slow, which is no loss; the edge's own limits still show as a status
DEPLOY = "playbooks/deploy.yml"
ROLLBACK = "playbooks/rollback.yml"
STATUS = "playbooks/status.yml"
SITE = "site.yml"


@pytest.fixture(scope="session", autouse=True)
def lab() -> None:
    """Tests here bring nothing up: where the lab is down they say so and are skipped."""
    reason = rig.reachable()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    """Where the output of each playbook and load of a test file stays until its next run."""
    place = rig.ROOT / ".cache" / "test" / request.module.__name__.rpartition(".")[2]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def traffic(folder: Path) -> rig.Traffic:
    return rig.Traffic(folder, RATE, timeout_seconds=TIMEOUT_SECONDS)


def put_live(release: str, folder: Path) -> None:
    """Have that release serve, whatever earlier tests left."""
    if rig.live_release() != release:
        run = deploy(release, folder, retry=release, wait=130)
        assert run.code == 0, run.tail()


def deploy(release: str, folder: Path, **options: object) -> rig.Play:
    return rig.play(*deploy_arguments(release, **options), folder=folder)


def deploy_arguments(release: str, **options: object) -> list[str]:
    """The command of the README, and options as JSON where there are more."""
    more = ["-e", json.dumps(options)] if options else []
    return [DEPLOY, "-e", f"app={rig.APP}", "-e", f"release={release}", *more]


def assert_nothing_lost(outcome: rig.Outcome, *releases: str) -> None:
    """Each request was answered well by one of these releases, and each acknowledged order is there exactly once."""
    assert outcome.failed == 0, json.dumps(outcome.summary, indent=2)
    assert outcome.orders["acknowledged"] > 0
    assert (outcome.orders["missing"], outcome.orders["duplicated"]) == (0, 0), json.dumps(outcome.orders, indent=2)
    assert outcome.releases == set(releases)


def assert_says(run: rig.Play, pattern: str) -> None:
    assert re.search(pattern, run.said), f"no {pattern!r} in:\n{run.tail()}"


def assert_sealed(folder: Path) -> None:
    """No run is open and nobody holds the lease."""
    run = rig.play(STATUS, folder=folder)
    assert run.code == 0, run.tail()
    assert "unfinished:" not in run.said, run.tail()
    assert_says(run, "lease: free")
