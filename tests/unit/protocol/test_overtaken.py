# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that stands still anywhere while another one runs to its end, and then goes on, changes nothing any more."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _guard, _pair
from ansible_collections.evenkeel.platform.tests.unit.protocol.fleet import Broken, Fleet
from ansible_collections.evenkeel.platform.tests.unit.protocol.story import Story

Verb = tuple[str, dict[str, str]]
DEPLOY: Verb = ("deploy", {"release": "1.2"})
OTHER: Verb = ("deploy", {"release": "1.0"})
ROLLBACK: Verb = ("rollback", {})
# Before which of its tasks a run stands still; a deploy has about 25.
TASKS = range(1, 28)


def overtake(folder: Path, first: Verb, second: Verb, number: int) -> None:
    """Raise C(Broken) unless the fleet ends on one good release."""
    fleet = Fleet(folder, 1, 1)
    with fleet.patched():
        story = Story(fleet, "1.0", "1.1")
        paused = story.run(first[0], **first[1])
        paused.reach(number)
        story.wait(200)
        story.alone(second[0], **second[1])
        paused.finish()
        story.end("1.0")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(DEPLOY, OTHER, id="deploy by deploy"),
        pytest.param(DEPLOY, ROLLBACK, id="deploy by rollback"),
        pytest.param(ROLLBACK, OTHER, id="rollback by deploy"),
    ],
)
@pytest.mark.parametrize("number", TASKS)
def test_paused_run_is_overtaken(tmp_path: Path, first: Verb, second: Verb, number: int) -> None:
    overtake(tmp_path, first, second, number)


def test_without_its_guards_an_overtaken_run_does_harm(tmp_path: Path) -> None:
    """The test above can fail: without the refusals of edges and pairs some of its pauses end badly."""

    def sweep() -> None:
        for number in TASKS:
            overtake(tmp_path / str(number), DEPLOY, OTHER, number)

    with (
        mock.patch.object(_guard, "refusals", return_value=[]),
        mock.patch.object(_pair, "refuse_lower", return_value=None),
        pytest.raises(Broken, match="which edge1 serves"),
    ):
        sweep()
