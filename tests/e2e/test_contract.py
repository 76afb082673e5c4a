# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A contracting migration runs once the older side is retired, and then rollback is refused.

The end of the warm time is set to the past on the edges, which withdraw the older side; then the timer's program of
each host stops it. The tests run in order and after all others, because they remove parts of the schema that the older
release needs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

CONTRACT = "playbooks/contract.yml"
# The edges withdraw the older side as their timer does, once its time is over.
TIME_IS_OVER = (
    "sed -i -E 's/(\"until\": )[0-9]+/\\10/' {state}/state.json && /usr/local/lib/evenkeel/edge-sync withdraw"
)
RETIRE = "systemctl start evenkeel-retire.service && systemctl show --property=Result --value evenkeel-retire.service"


@pytest.fixture(scope="module")
def older(folder: Path) -> str:
    """The colour of the older release, still warm beside the newer one."""
    shop.put_live(shop.OLD, folder)
    shop.put_live(shop.NEW, folder)
    return "green" if rig.live_entry().startswith("blue") else "blue"


def test_contract_is_refused_while_the_older_side_runs(older: str, folder: Path) -> None:
    before = rig.snapshot()
    run = rig.play(CONTRACT, folder=folder)
    assert run.code != 0
    shop.assert_says(
        run, r"contract migration of app shop: found the older side running on app1, app2, need it stopped"
    )
    assert rig.snapshot() == before
    assert any(rig.containers(older).values())
    shop.assert_sealed(folder)


def test_older_side_is_retired_by_its_host_when_its_time_is_over(older: str) -> None:
    rig.on_hosts("edge", TIME_IS_OVER.format(state=rig.STATE))
    assert set(rig.on_hosts("app", RETIRE).values()) == {"success"}
    assert not any(rig.containers(older).values())
    assert rig.live_release() == shop.NEW


def test_contract_runs_once_under_load(older: str, folder: Path) -> None:
    with shop.traffic(folder) as traffic:
        run = rig.play(CONTRACT, folder=folder)
    assert run.code == 0, run.tail()
    shop.assert_says(run, r"shop: the contract migration of 1\.1\S* was run")
    shop.assert_nothing_lost(traffic.outcome, shop.NEW)
    status = rig.play(shop.STATUS, folder=folder)
    assert "contract migration pending" not in status.said
    again = rig.play(CONTRACT, folder=folder)
    assert again.code == 0, again.tail()
    shop.assert_says(again, r"shop: no contract migration is pending")
    assert again.changed == {}, "\n".join(again.changed_tasks)


def test_rollback_over_a_contract_is_refused(older: str, folder: Path) -> None:
    before = rig.snapshot()
    run = rig.play(shop.ROLLBACK, folder=folder)
    assert run.code != 0
    shop.assert_says(run, r"older than a contract migration")
    assert rig.live_release() == shop.NEW
    assert rig.snapshot() == before
    shop.assert_sealed(folder)
