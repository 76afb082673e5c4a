# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Add an edge to a live app: it joins with the app's entry, and follows its moves. The lab keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

pytestmark = pytest.mark.long
EDGE2 = f"https://{rig.ADDRESS}:{rig.PORT + 1}"


@pytest.fixture(scope="module")
def joined(folder: Path) -> Iterator[rig.Play]:
    """Put up the lab's second edge and run site.yml; return the run."""
    if rig.EDGES > 1:
        pytest.skip("the lab was put up with two edges, so none can be added")
    with pytest.raises(rig.Silent):
        rig.live_release(EDGE2)
    shop.put_live("1.0", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENKEEL_LAB_EDGES", "2")
        up = rig.play("lab/up.yml", folder=folder)
        assert up.code == 0, up.tail()
        patch.setattr(rig, "EDGES", 2)
        yield rig.play("site.yml", folder=folder)


def test_edge_that_is_added_serves_what_is_live(joined: rig.Play) -> None:
    assert joined.code == 0, joined.tail()
    assert rig.live_release(EDGE2) == "1.0"


def test_both_edges_follow_a_deploy_and_a_rollback(joined: rig.Play, folder: Path) -> None:
    run = shop.deploy("1.1", folder, retry="1.1")
    assert run.code == 0, run.tail()
    assert [rig.live_release(url) for url in (rig.URL, EDGE2)] == ["1.1", "1.1"]
    run = rig.play("playbooks/rollback.yml", folder=folder)
    assert run.code == 0, run.tail()
    assert [rig.live_release(url) for url in (rig.URL, EDGE2)] == ["1.0", "1.0"]
