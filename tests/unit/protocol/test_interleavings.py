# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any interleaving of deploys, rollbacks and timers, with kills and pauses anywhere, ends on one good release.

C(EVENKEEL_EXAMPLES) sets how many are tried.
"""

from __future__ import annotations

import os
import tempfile
import typing as t
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.tests.unit.protocol.fleet import GOOD, Fleet
from ansible_collections.evenkeel.platform.tests.unit.protocol.story import Story

EXAMPLES = int(os.environ.get("EVENKEEL_EXAMPLES", "40"))
Action = tuple[t.Any, ...]

RELEASES = st.sampled_from(["1.0", "1.1", "1.2", "1.1", "1.2", "1.5", "1.6", "1.7", "1.8"])
NUMBER = st.integers(0, 3)
# A deploy takes 60 to 120 steps.
STEPS = st.integers(0, 120)
ACTIONS = st.one_of(
    st.tuples(st.just("deploy"), RELEASES, STEPS),
    st.tuples(st.just("overtake"), RELEASES, STEPS),
    st.tuples(st.just("rollback"), st.sampled_from(["", "", "", "1.0", "1.1"]), STEPS),
    st.tuples(st.just("step"), NUMBER, STEPS),
    st.tuples(st.just("step"), NUMBER, STEPS),
    st.tuples(st.just("reach"), NUMBER, st.integers(1, 28)),
    st.tuples(st.just("finish"), NUMBER),
    st.tuples(st.just("kill"), NUMBER),
    st.tuples(st.just("leave"), NUMBER),
    st.tuples(st.just("withdraw"), NUMBER, st.integers(1, 12)),
    st.tuples(st.just("retire"), NUMBER, st.integers(1, 12)),
    st.tuples(st.just("wait"), st.sampled_from([5, 70, 575, 700])),
    st.tuples(st.just("restart"), NUMBER),
    st.tuples(st.just("stop"), NUMBER),
    st.tuples(st.just("cut"), NUMBER),
    st.tuples(st.just("heal")),
    st.tuples(st.just("unlock")),
)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), print_blob=True)
@given(
    edges=st.integers(1, 2),
    hosts=st.integers(1, 2),
    before=st.sampled_from([[], ["1.0"], ["1.0", "1.1"], ["1.0", "1.1"]]),
    actions=st.lists(ACTIONS, min_size=3, max_size=24),
    last=st.sampled_from(GOOD),
)
def test_ends_on_one_good_release(edges: int, hosts: int, before: list[str], actions: list[Action], last: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder), edges, hosts)
        with fleet.patched():
            story = Story(fleet, *before)
            story.tell(actions)
            story.end(last)
