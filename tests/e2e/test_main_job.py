# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job as a user runs it, in order: site, deploy, refusals, rollback, under load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

# Units of the jobs, state of their timers, and the release of their containers.
JOBS = (
    "cd /etc/systemd/system; cat evenkeel-job-shop.*; systemctl is-active evenkeel-job-shop.*.timer;"
    " readlink /opt/evenkeel/stacks/shop-background/current; true"
)


@dataclass
class Moved:
    """A verb under load: its run, the load's outcome, and a concurrent second run."""

    run: rig.Play
    outcome: rig.Outcome
    second: rig.Play | None = None


@pytest.fixture(scope="module")
def site(folder: Path) -> rig.Play:
    return rig.play(shop.SITE, folder=folder)


def test_site_makes_the_lab_serve_the_shop(site: rig.Play) -> None:
    assert site.code == 0, site.tail()
    status, body = rig.get("/")
    assert status == 200, body
    assert rig.live_release()


@pytest.fixture(scope="module")
def deployed(site: rig.Play, folder: Path) -> Moved:
    """Deploy 1.1 over 1.0, with another deploy started meanwhile."""
    assert site.code == 0
    shop.put_live(shop.OLD, folder)
    with shop.traffic(folder) as traffic:
        options = {"retry": shop.NEW, "reason": "the first of two", "app_deploy_owner": "anna"}
        first = rig.begin(*shop.deploy_arguments(shop.NEW, **options), folder=folder)
        with rig.ended(first):
            first.wait_for_task(r"withdraw \| ")
            second = shop.deploy(shop.OLD, folder, app_deploy_owner="berta")
            first.wait()
    return Moved(first, traffic.outcome, second)


def test_deploy_loses_nothing(deployed: Moved) -> None:
    assert deployed.run.code == 0, deployed.run.tail()
    shop.assert_nothing_lost(deployed.outcome, shop.OLD, shop.NEW)
    assert rig.live_release() == shop.NEW


def test_second_deploy_is_refused_and_names_who_holds_the_lease(deployed: Moved) -> None:
    assert deployed.second is not None
    assert deployed.second.code != 0
    shop.assert_says(
        deployed.second, r"another run holds the lease on shop: found run \S+ of anna \(the first of two\)"
    )


def test_deploy_of_what_is_live_changes_nothing(deployed: Moved, folder: Path) -> None:
    assert deployed.run.code == 0
    run = shop.deploy(shop.NEW, folder)
    assert run.code == 0, run.tail()
    assert run.changed == {}, "\n".join(run.changed_tasks)


def test_status_tells_what_is_live_warm_and_last(deployed: Moved, folder: Path) -> None:
    assert deployed.run.code == 0
    run = rig.play(shop.STATUS, folder=folder)
    assert run.code == 0, run.tail()
    for pattern in (
        r"edge edge1: (blue|green) serves 1\.1",
        r"api: \d of \d slots healthy",
        r"by anna \(the first of two\)",
        r"warm: 1\.0\S* on (blue|green) until",
        "lease: free",
        r"1\.1\S* +live +deploy by anna",
    ):
        shop.assert_says(run, pattern)
    assert run.changed == {}


def test_site_leaves_what_was_deployed_by_hand_and_says_so(deployed: Moved, folder: Path) -> None:
    assert deployed.run.code == 0
    run = rig.play(shop.SITE, "--tags", "app_deploy", folder=folder)
    assert run.code == 0, run.tail()
    assert run.changed == {}, "\n".join(run.changed_tasks)
    shop.assert_says(run, r"1\.1\S* is live, as it was deployed by hand; the inventory names 1\.0")
    assert rig.live_release() == shop.NEW


@pytest.fixture(scope="module")
def rolled_back(deployed: Moved, folder: Path) -> Moved:
    assert deployed.run.code == 0
    with shop.traffic(folder) as traffic:
        run = rig.play(shop.ROLLBACK, folder=folder)
    return Moved(run, traffic.outcome)


def test_rollback_loses_nothing(rolled_back: Moved) -> None:
    assert rolled_back.run.code == 0, rolled_back.run.tail()
    shop.assert_nothing_lost(rolled_back.outcome, shop.NEW, shop.OLD)
    assert rig.live_release() == shop.OLD


def test_second_run_of_site_changes_nothing_leaves_a_held_release_and_says_so(rolled_back: Moved, folder: Path) -> None:
    assert rolled_back.run.code == 0
    run = rig.play(shop.SITE, "-e", f"shop_release={shop.NEW}", folder=folder)
    assert run.code == 0, run.tail()
    assert run.changed == {}, "\n".join(run.changed_tasks)
    shop.assert_says(run, r"1\.1\S* is held .*set retry=1\.1")
    assert rig.live_release() == shop.OLD


def test_deploy_of_a_held_release_is_refused(rolled_back: Moved, folder: Path) -> None:
    assert rolled_back.run.code == 0
    before = rig.snapshot()
    run = shop.deploy(shop.NEW, folder)
    assert run.code != 0
    shop.assert_says(run, r"release is held on shop 1\.1.*Set retry=1\.1")
    assert rig.snapshot() == before


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        pytest.param("1.2-neverready", r"503", id="never ready", marks=pytest.mark.long),
        pytest.param("1.2-badmigration", r"1\.2_broken\.expand\.sql", id="bad migration"),
        pytest.param("1.2-oom", r"(?i)memory|oom|\b137\b", id="out of memory"),
        pytest.param("1.2-badworker", r"(?i)worker", id="bad worker"),
    ],
)
def test_broken_release_is_refused_with_its_reason(release: str, reason: str, site: rig.Play, folder: Path) -> None:
    assert site.code == 0
    live, entry = rig.live_release(), rig.live_entry()
    colour = entry.split(":")[0]
    before, jobs = rig.containers(colour), rig.on_hosts("app", JOBS)
    assert any("OnCalendar" in units for units in jobs.values()), jobs
    with shop.traffic(folder) as traffic:
        options = {"retry": release, "shop_report_schedule": "*-*-* 04:00:00"}
        run = shop.deploy(release, folder, **options)
    assert run.code != 0
    shop.assert_says(run, r"release 1\.2-\S+ of app shop was refused")
    shop.assert_says(run, reason)
    # A broken worker is found after the move, so the new side has served good answers until traffic moved back.
    extra = {release} if release == "1.2-badworker" else set()
    shop.assert_nothing_lost(traffic.outcome, live, *(extra & traffic.outcome.releases))
    assert rig.live_release() == live
    assert rig.live_entry().split(":")[:2] == entry.split(":")[:2]
    assert rig.containers(colour) == before
    assert rig.on_hosts("app", JOBS) == jobs
    shop.assert_sealed(folder)


def test_bot_was_never_there_twice(site: rig.Play) -> None:
    assert site.code == 0
    stats = rig.bot_overlaps()
    assert stats["polls"] > 0
    assert stats["overlaps"] == 0, stats
