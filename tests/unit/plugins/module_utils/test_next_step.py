# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each state of an app has one next command."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils._next_step import next_step

LIVE = {"release": "1.1", "colour": "green", "since": "2026-11-21T10:00:00.000Z"}
WARM = {"identity": "1.0", "colour": "blue", "until": "2026-11-21T10:10:00.000Z"}
REFUSED = {"identity": "1.2+2", "result": "refused", "at": "2026-11-21T10:05:00.000Z"}
LEFT = {"identity": "1.2", "result": "live", "at": "2026-11-21T10:00:00.000Z"}
OLD = {"identity": "0.9", "result": "refused", "at": "2026-11-20T10:00:00.000Z"}
CONTRACT = [{"identity": "1.1", "service": "api"}]
DEAD = {"identity": "1.2", "release": "1.2", "kind": "deploy", "boundary": "started", "owner": "anna@laptop"}
WELL = {"confirmed": True, "out": False, "drift": [], "maintenance": False}
PLAY = "ansible-playbook evenkeel.platform."


def edges(**edge2: Any) -> dict[str, dict[str, Any]]:
    return {"edge1": WELL, "edge2": {**WELL, **edge2}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({}, f"deploy the first release: {PLAY}deploy -e app=shop", id="nothing deployed"),
        pytest.param(
            {"live": {"release": "", "colour": ""}},
            f"deploy the first release: {PLAY}deploy -e app=shop",
            id="empty entry",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM},
            f"go back to 1.0, warm until 2026-11-21T10:10:00.000Z: {PLAY}rollback -e app=shop",
            id="live and warm",
        ),
        pytest.param(
            {"live": LIVE, "edges": edges()},
            f"deploy another release: {PLAY}deploy -e app=shop -e release=<release>",
            id="live only",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "held": [OLD, REFUSED]},
            f"try 1.2 again, which was refused: {PLAY}deploy -e app=shop -e release=1.2 -e retry=1.2+2",
            id="refused release",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "held": [LEFT]},
            f"try 1.2 again, which was left by a rollback: {PLAY}deploy -e app=shop -e release=1.2 -e retry=1.2",
            id="left by a rollback",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "held": [OLD]},
            f"go back to 1.0, warm until 2026-11-21T10:10:00.000Z: {PLAY}rollback -e app=shop",
            id="refused before the live one",
        ),
        pytest.param(
            {"live": LIVE, "unfinished": DEAD, "lease": {"held": False}, "edges": edges(out=True)},
            f"finish the deploy of 1.2, interrupted at boundary started: {PLAY}deploy -e app=shop -e release=1.2",
            id="deploy with a dead runner",
        ),
        pytest.param(
            {"unfinished": {"identity": "1.0+3", "kind": "rollback"}},
            f"finish the rollback of 1.0, interrupted at boundary leased: {PLAY}rollback -e app=shop",
            id="rollback with a dead runner",
        ),
        pytest.param(
            {"live": LIVE, "unfinished": {**DEAD, "kind": "contract"}},
            f"finish the contract of 1.2, interrupted at boundary started: {PLAY}contract -e app=shop",
            id="contract with a dead runner",
        ),
        pytest.param(
            {"live": LIVE, "unfinished": DEAD, "lease": {"held": True, "owner": "anna@laptop"}},
            f"wait for the run of anna@laptop and look again: {PLAY}status -e app=shop",
            id="a run goes on",
        ),
        pytest.param(
            {"live": LIVE, "pending_contract": CONTRACT},
            f"run the contract migration of 1.1: {PLAY}contract -e app=shop",
            id="pending contract",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "pending_contract": CONTRACT},
            f"go back to 1.0, warm until 2026-11-21T10:10:00.000Z: {PLAY}rollback -e app=shop",
            id="contract waits for the warm side",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "edges": edges(drift=["the file names blue"])},
            f"put right what differs on edge2: {PLAY}deploy -e app=shop -e release=1.1",
            id="drift",
        ),
        pytest.param(
            {"live": LIVE, "edges": edges(confirmed=False)},
            f"have edge2 confirmed, which answers 503 until then: {PLAY}deploy -e app=shop -e release=1.1",
            id="unconfirmed edge",
        ),
        pytest.param(
            {"live": LIVE, "edges": edges(out=True, confirmed=False)},
            f"bring edge2 back in once it runs again: {PLAY}deploy -e app=shop -e release=1.1",
            id="edge declared out",
        ),
        pytest.param(
            {"live": LIVE, "edges": {"edge1": {**WELL, "maintenance": True}, "edge2": {**WELL, "maintenance": True}}},
            f"take the maintenance page down on edge1, edge2: {PLAY}maintenance -e app=shop -e enabled=false",
            id="maintenance",
        ),
    ],
)
def test_next_command(status: dict[str, Any], expected: str) -> None:
    assert next_step({"app": "shop", **status}) == f"next, {expected}"
