# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shop in the lab, for end-to-end and fault tests."""

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
TIMEOUT_SECONDS = (
    30.0  # a slow answer of a busy machine is not a lost request; the edge's own timeouts still show as a status
)
DEPLOY = "playbooks/deploy.yml"
ROLLBACK = "playbooks/rollback.yml"
STATUS = "playbooks/status.yml"
SITE = "site.yml"


@pytest.fixture(scope="session", autouse=True)
def lab() -> None:
    """Skip tests if the lab is not running; they do not start it."""
    reason = rig.reachable()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    """Return the folder for the output of playbooks and load of a test file."""
    place = rig.ROOT / ".cache" / "test" / request.module.__name__.rpartition(".")[2]
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def traffic(folder: Path) -> rig.Traffic:
    return rig.Traffic(folder, RATE, timeout_seconds=TIMEOUT_SECONDS)


def put_live(release: str, folder: Path) -> None:
    """Deploy a release, whatever earlier tests left."""
    if rig.live_release() != release:
        run = deploy(release, folder, retry=release, wait=130)
        assert run.code == 0, run.tail()


def deploy(release: str, folder: Path, **options: object) -> rig.Play:
    return rig.play(*deploy_arguments(release, **options), folder=folder)


def deploy_arguments(release: str, **options: object) -> list[str]:
    """Return the arguments of a deploy as in the README, with further options as JSON."""
    more = ["-e", json.dumps(options)] if options else []
    return [DEPLOY, "-e", f"app={rig.APP}", "-e", f"release={release}", *more]


def assert_nothing_lost(outcome: rig.Outcome, *releases: str) -> None:
    """Check that each request got a good answer from one of these releases, and each acknowledged order exists once."""
    assert outcome.failed == 0, json.dumps(outcome.summary, indent=2)
    assert outcome.orders["acknowledged"] > 0
    assert (outcome.orders["missing"], outcome.orders["duplicated"]) == (0, 0), json.dumps(outcome.orders, indent=2)
    assert outcome.releases == set(releases)


def assert_says(run: rig.Play, pattern: str) -> None:
    assert re.search(pattern, run.said), f"no {pattern!r} in:\n{run.tail()}"


def assert_sealed(folder: Path) -> None:
    """Check that no run is open and no lease is held."""
    run = rig.play(STATUS, folder=folder)
    assert run.code == 0, run.tail()
    assert "unfinished:" not in run.said, run.tail()
    assert_says(run, "lease: free")
