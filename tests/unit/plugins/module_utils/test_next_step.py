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
WELL = {"confirmed": True, "out": False, "drift": [], "maintenance": False, "behind": False, "down": ""}
DOWN = {"down": "start edge2", "out": False}
RETRIED = {"identity": "3.0+3", "release": "3.0", "kind": "deploy", "boundary": "fetched", "owner": "anna@laptop"}
UNTIL = "2026-11-21T10:10:00.000Z"
ANOTHER = "deploy -e app=shop -e release=<release>"
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
            f"1.1 is live, go back to 1.0 if need be, possible until {UNTIL}: {PLAY}rollback -e app=shop",
            id="live and warm",
        ),
        pytest.param(
            {"live": LIVE, "edges": edges()},
            f"1.1 is live, deploy another release: {PLAY}{ANOTHER}",
            id="live only",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "held": [OLD, REFUSED]},
            "1.1 is live, deploy another release (1.2, which was refused, goes again with -e retry=1.2+2 only): "
            f"{PLAY}{ANOTHER}",
            id="refused release",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "held": [LEFT]},
            "1.1 is live, deploy another release (1.2, which was left by a rollback, goes again with -e retry=1.2 only): "
            f"{PLAY}{ANOTHER}",
            id="left by a rollback",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "held": [OLD]},
            f"1.1 is live, go back to 1.0 if need be, possible until {UNTIL}: {PLAY}rollback -e app=shop",
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
            f"1.1 is live, go back to 1.0 if need be, possible until {UNTIL}: {PLAY}rollback -e app=shop",
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
        pytest.param(
            {"live": LIVE, "held": [REFUSED], "warm": WARM, "edges": {"edge1": WELL, "edge2": DOWN}},
            f"start edge2, or declare edge2 out: {PLAY}deploy -e app=shop -e release=1.1 -e edge_out=edge2",
            id="edge down before a refused release",
        ),
        pytest.param(
            {"live": LIVE, "edges": {"edge1": WELL, "edge2": {**DOWN, "out": True}}},
            f"bring edge2 back in once it runs again: {PLAY}deploy -e app=shop -e release=1.1",
            id="edge down and declared out",
        ),
        pytest.param(
            {"live": LIVE, "edges": {"edge1": {"down": "start edge1"}, "edge2": DOWN}},
            f"start edge1 and start edge2, as no edge takes requests, and look again: {PLAY}status -e app=shop",
            id="all edges down",
        ),
        pytest.param(
            {"live": LIVE, "unfinished": DEAD, "edges": {"edge1": WELL, "edge2": DOWN}},
            "start edge2, or finish the deploy of 1.2 without edge2, interrupted at boundary started: "
            f"{PLAY}deploy -e app=shop -e release=1.2 -e edge_out=edge2",
            id="dead runner and an edge down",
        ),
        pytest.param(
            {"live": LIVE, "unfinished": {**DEAD, "kind": "rollback"}, "edges": {"edge1": WELL, "edge2": DOWN}},
            f"finish the rollback of 1.2, interrupted at boundary started: {PLAY}rollback -e app=shop",
            id="a rollback goes on without an edge",
        ),
        pytest.param(
            {"edges": {"edge1": WELL, "edge2": DOWN}},
            f"start edge2, or deploy the first release, without edge2: {PLAY}deploy -e app=shop -e edge_out=edge2",
            id="first release with an edge down",
        ),
        pytest.param(
            {"held": [{**REFUSED, "identity": "1.0"}, REFUSED], "inventory_release": "1.0"},
            "set another release in app_deploy_apps, or try 1.0 again, which was refused: "
            f"{PLAY}deploy -e app=shop -e retry=1.0",
            id="refused first release",
        ),
        pytest.param(
            {"held": [REFUSED], "inventory_release": "1.3"},
            f"deploy the first release: {PLAY}deploy -e app=shop",
            id="first release is another than the refused one",
        ),
        pytest.param(
            {"live": LIVE, "warm": WARM, "edges": {"edge1": WELL}, "no_records": "start edge2"},
            f"start edge2, or go back to 1.0, possible until {UNTIL}: "
            f"{PLAY}rollback -e app=shop -e without_records=true",
            id="record host down, a side is warm",
        ),
        pytest.param(
            {"live": LIVE, "edges": {"edge1": WELL, "edge2": DOWN}, "no_records": "start edge2"},
            f"start edge2, as every run needs the records, and look again: {PLAY}status -e app=shop",
            id="record host down, nothing warm",
        ),
        pytest.param(
            {"live": LIVE, "unfinished": RETRIED, "held": [{**REFUSED, "identity": "3.0+3"}]},
            f"finish the deploy of 3.0, interrupted at boundary fetched: {PLAY}deploy -e app=shop -e release=3.0",
            id="a run that goes on needs no retry",
        ),
        pytest.param(
            {"live": {**LIVE, "release": "1.0"}, "recorded": "1.1", "previous": "1.0", "edges": edges()},
            f"have workers, singletons, jobs and records follow to 1.0: {PLAY}rollback -e app=shop",
            id="after a rollback without records",
        ),
        pytest.param(
            {"live": {**LIVE, "release": "1.2+2"}, "recorded": "1.1", "previous": "1.0"},
            f"have workers, singletons, jobs and records follow to 1.2+2: {PLAY}deploy -e app=shop -e release=1.2",
            id="what serves was never recorded as live",
        ),
        pytest.param(
            {"live": {**LIVE, "release": "1.1+2"}, "edges": edges(behind=True)},
            f"bring edge2 to 1.1+2, which the other edges serve: {PLAY}deploy -e app=shop -e release=1.1",
            id="edges disagree",
        ),
    ],
)
def test_next_command(status: dict[str, Any], expected: str) -> None:
    assert next_step({"app": "shop", **status}) == f"next, {expected}"
