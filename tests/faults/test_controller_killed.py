# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller dies at each stage of a deploy, by SIGKILL from outside, with traffic running.

No request is lost, and the next run converges by itself: it waits until the dead run's lease ends, and continues.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

# Start of a task's name, and the delay until the kill: none, or while the task runs.
POINTS = [
    (r"lease \| Take", 0.0),
    (r"lease \| Take", 0.8),
    (r"record \| Record", 0.0),
    (r"record \| Record", 0.8),
    (r"fetch \| ", 0.0),
    (r"fetch \| ", 1.5),
    (r"migrate \| ", 0.0),
    (r"compose \| migrate \| Run it", 0.0),
    (r"compose \| migrate \| Run it", 1.5),
    (r"start \| ", 0.0),
    (r"start \| Raise the token", 0.5),
    (r"compose \| edge \| Tell the edges", 0.5),
    (r"compose \| start \| Start the colour's containers", 1.0),
    (r"compose \| start \| Start the colour's containers", 4.0),
    (r"gate \| ", 0.0),
    (r"gate \| ", 1.0),
    (r"smoke \| ", 0.3),
    (r"switch \| Record the intent in the journal", 0.0),
    (r"switch \| Move", 0.0),
    (r"switch \| Move", 0.2),
    (r"switch \| Move", 0.5),
    (r"handover \| ", 0.0),
    (r"compose \| background \| Run the background services", 1.0),
    (r"compose \| background \| Run the background services", 3.0),
    (r"handover \| Journal", 0.5),
    (r"drain \| ", 0.2),
    (r"retire \| ", 0.2),
    (r"seal \| ", 0.0),
    (r"seal \| ", 0.5),
]
OPTIONS = {"app_deploy_lease_seconds": 10, "app_deploy_wait_seconds": 60}


@pytest.mark.parametrize(("stage", "after"), POINTS, ids=[f"{stage}{after}" for stage, after in POINTS])
def test_next_deploy_finishes_what_a_killed_one_left(stage: str, after: float, folder: Path) -> None:
    now = rig.live_release()
    target = shop.NEW if now == shop.OLD else shop.OLD
    options = {**OPTIONS, "app_deploy_retry": target}
    if "migrate" in stage:
        # A migration runs once for a release, so this release has new content. It continues without its controller, so
        # the lease lasts until its 120 s are over.
        options.update(shop_report_schedule=f"*-*-* 03:00:{time.time() % 60:06.3f}", app_deploy_wait_seconds=180)
    with shop.traffic(folder) as traffic:
        run = rig.begin(*shop.deploy_arguments(target, **options), folder=folder)
        with rig.ended(run):
            run.wait_for_task(stage)
            time.sleep(after)
        following = shop.deploy(target, folder, **options)
    assert following.code == 0, following.tail()
    shop.assert_nothing_lost(traffic.outcome, now, target)
    assert rig.live_release() == target
    shop.assert_sealed(folder)
    assert rig.bot_overlaps()["overlaps"] == 0


@pytest.mark.parametrize(
    "stage", [r"handover \| ", r"compose \| background \| Run the background", r"drain \| ", r"seal \| "]
)
def test_rollback_goes_back_from_a_killed_deploy_without_waiting_for_its_lease(stage: str, folder: Path) -> None:
    now = rig.live_release()
    target = shop.NEW if now == shop.OLD else shop.OLD
    with shop.traffic(folder) as traffic:
        run = rig.begin(*shop.deploy_arguments(target, app_deploy_retry=target), folder=folder)
        with rig.ended(run):
            run.wait_for_task(stage)
        back = rig.play(shop.ROLLBACK, folder=folder)
    assert back.code == 0, back.tail()
    shop.assert_nothing_lost(traffic.outcome, now, *({target} & traffic.outcome.releases))
    assert rig.live_release() == now
    shop.assert_sealed(folder)
    assert rig.bot_overlaps()["overlaps"] == 0
