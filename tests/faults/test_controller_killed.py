# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller dies at each stage of a deploy, by SIGKILL from outside, with traffic running.

No request is lost, and the next run on the same controller continues at once: it sees that the process is gone.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

# The beginning of a task's name, and how long after it the kill comes: at once, or while the task works.
POINTS = [
    (r"facts \| Read", 0.0),
    (r"fetch \| Pull", 0.0),
    (r"fetch \| Pull", 1.5),
    (r"record \| Open", 0.0),
    (r"record \| Open", 0.8),
    (r"migrate \| Raise", 0.3),
    (r"migrate \| Start the migration", 0.0),
    (r"migrate \| Start the migration", 0.8),
    (r"migrate \| Wait for the migration", 0.0),
    (r"migrate \| Wait for the migration", 1.5),
    (r"withdraw \| Withdraw", 0.0),
    (r"withdraw \| Withdraw", 0.5),
    (r"start \| Start the containers", 0.0),
    (r"start \| Start the containers", 1.0),
    (r"start \| Start the containers", 4.0),
    (r"gate \| Probe", 0.0),
    (r"gate \| Probe", 1.0),
    (r"gate \| Verify", 0.3),
    (r"smoke \| Request", 0.3),
    (r"switch \| Record the intent in the journal", 0.0),
    (r"switch \| Move", 0.0),
    (r"switch \| Move", 0.2),
    (r"switch \| Move", 0.5),
    (r"handover \| Replace the workers", 0.0),
    (r"handover \| Replace the workers", 1.0),
    (r"handover \| Replace the workers", 3.0),
    (r"handover \| Journal", 0.5),
    (r"drain \| Wait", 0.2),
    (r"seal \| Write", 0.0),
    (r"seal \| Write", 0.5),
]


@pytest.mark.parametrize(("stage", "after"), POINTS, ids=[f"{stage}{after}" for stage, after in POINTS])
def test_next_deploy_finishes_what_a_killed_one_left(stage: str, after: float, folder: Path) -> None:
    now = rig.live_release()
    target = shop.NEW if now == shop.OLD else shop.OLD
    options: dict[str, object] = {"retry": target}
    if "migrate" in stage:
        # A migration runs once for a release, so this release has new content.
        options["shop_report_schedule"] = f"*-*-* 03:00:{time.time() % 60:06.3f}"
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
    "stage", [r"handover \| Replace the workers", r"handover \| Journal", r"drain \| Wait", r"seal \| Write"]
)
def test_rollback_goes_back_from_a_killed_deploy_without_waiting_for_its_lease(stage: str, folder: Path) -> None:
    now = rig.live_release()
    target = shop.NEW if now == shop.OLD else shop.OLD
    with shop.traffic(folder) as traffic:
        run = rig.begin(*shop.deploy_arguments(target, retry=target), folder=folder)
        with rig.ended(run):
            run.wait_for_task(stage)
        back = rig.play(shop.ROLLBACK, folder=folder)
    assert back.code == 0, back.tail()
    shop.assert_nothing_lost(traffic.outcome, now, *({target} & traffic.outcome.releases))
    assert rig.live_release() == now
    shop.assert_sealed(folder)
    assert rig.bot_overlaps()["overlaps"] == 0
