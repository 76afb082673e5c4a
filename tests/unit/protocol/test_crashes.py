# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What once went wrong on the simulated fleet, each with the smallest way to it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.tests.unit.protocol.fleet import Fleet, Task
from ansible_collections.evenkeel.platform.tests.unit.protocol.story import Story
from ansible_collections.evenkeel.platform.tests.unit.protocol.walk import schedule_of


@pytest.fixture
def story(tmp_path: Path, request: pytest.FixtureRequest) -> t.Iterator[Story]:
    """Release 1.1 is live, 1.0 warm, on as many edges as the test says."""
    fleet = Fleet(tmp_path, getattr(request, "param", 1), 1)
    with fleet.patched():
        yield Story(fleet, "1.0", "1.1")


def go_until(story: Story, task: Task, reached: t.Callable[[], bool]) -> None:
    while not task.ended and not reached():
        task.step()
    assert reached()


def test_a_warm_rollback_sets_the_jobs_of_its_release(story: Story) -> None:
    assert story.alone("rollback").outcome == "ok"
    assert story.fleet.hosts["app1"].schedule() == schedule_of("1.0")
    story.converged("1.0")


@pytest.mark.parametrize("steps", [0, 4, 12])
def test_a_deploy_follows_a_rollback_that_was_killed_behind_its_move(story: Story, steps: int) -> None:
    task = story.run("rollback")
    go_until(story, task, lambda: story.fleet.edges["edge1"].memory["live"] == "blue:0:1.0:1.1")
    task.step(steps)
    task.kill()
    assert story.alone("deploy", release="1.0").outcome == "ok"
    story.converged("1.0")


@pytest.mark.parametrize("story", [1, 2], indirect=True)
@pytest.mark.parametrize("release", ["1.0", "1.1", "1.2"])
def test_a_move_killed_before_its_record_counts(story: Story, release: str) -> None:
    task = story.run("deploy", release="1.2")
    go_until(story, task, lambda: "1.2:" in str(story.fleet.edges["edge1"].memory["live"]))
    task.kill()
    story.end(release)


@pytest.mark.parametrize("story", [1, 2], indirect=True)
def test_a_rollback_killed_before_its_record_counts(story: Story) -> None:
    task = story.run("rollback")
    go_until(story, task, lambda: story.fleet.edges["edge1"].memory["live"] == "blue:0:1.0:1.1")
    task.kill()
    assert story.alone("rollback").outcome == "ok"
    story.converged("1.0")
