# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Move the bot and a job to the other app host and back: never running twice, and running at the end."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

TIMERS = "systemctl list-timers --all --plain --no-legend evenkeel-job-shop.report.timer | wc -l"
BOTS = "docker ps --quiet --filter name=^/shop[.]bot$ | wc -l"


def test_bot_moves_to_the_host_it_is_given_and_is_never_there_twice(folder: Path) -> None:
    release = rig.live_release()
    polls = rig.bot_overlaps()["polls"]
    for host, other in (("app2", "app1"), ("app1", "app2")):
        run = shop.deploy(release, folder, retry=release, shop_bot_host=host)
        assert run.code == 0, run.tail()
        assert rig.on_hosts("app", BOTS) == {host: "1", other: "0"}
    stats = rig.bot_overlaps()
    assert stats["polls"] > polls
    assert stats["overlaps"] == 0, stats


def test_job_is_timed_on_the_host_it_is_given_alone(folder: Path) -> None:
    release = rig.live_release()
    for host, other in (("app1", "app2"), ("app2", "app1")):
        run = shop.deploy(release, folder, retry=release, shop_report_host=host)
        assert run.code == 0, run.tail()
        assert rig.on_hosts("app", TIMERS) == {host: "1", other: "0"}


def test_bot_whose_host_is_gone_is_not_started_elsewhere(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.yml"
    alone.write_text("app_left: {hosts: {app2: {}}}\n", encoding="utf-8")
    before = rig.snapshot()
    run = rig.play(
        *shop.deploy_arguments(rig.live_release(), app_deploy_app_group="app_left", shop_bot_host="app2"),
        *("-i", "inventories/lab", "-i", str(alone)),
        folder=folder,
    )
    assert run.code != 0
    shop.assert_says(run, r"shop/bot: found it recorded on app1, need proof that it is stopped there")
    shop.assert_says(run, r"app_deploy_singleton_moved=bot@app1")
    assert rig.snapshot() == before
