# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One deploy killed three times, at three stages, and finished by a fourth run; tests/faults has every stage."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop


def test_deploy_that_was_killed_again_and_again_is_finished_by_the_next_one(folder: Path) -> None:
    shop.put_live(shop.OLD, folder)
    options = {"retry": shop.NEW}
    with shop.traffic(folder) as traffic:
        for stage in (r"start \| Start the containers", r"switch \| Move", r"handover \| Replace the workers"):
            run = rig.begin(*shop.deploy_arguments(shop.NEW, **options), folder=folder)
            with rig.ended(run):
                run.wait_for_task(stage)
        last = shop.deploy(shop.NEW, folder, **options)
    assert last.code == 0, last.tail()
    shop.assert_nothing_lost(traffic.outcome, shop.OLD, shop.NEW)
    assert rig.live_release() == shop.NEW
    shop.assert_sealed(folder)
    assert rig.bot_overlaps()["overlaps"] == 0
