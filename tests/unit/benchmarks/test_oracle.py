# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The oracle distinguishes lost orders, duplicates and orders with lost answers."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.benchmarks import oracle


@pytest.mark.parametrize(
    ("acknowledged", "stored", "counts"),
    [
        pytest.param(["r1", "r2"], ["r1", "r2"], (0, 0, 0), id="all there once"),
        pytest.param(["r1", "r2"], ["x9", "r2", "r1", "x9"], (0, 0, 0), id="orders of other runs are none of ours"),
        pytest.param(["r1", "r2"], ["r2"], (1, 0, 0), id="missing"),
        pytest.param(["r1"], ["r1", "r1", "r1"], (0, 1, 0), id="three times"),
        pytest.param(["r1"], ["r1", "r2"], (0, 0, 1), id="stored, its answer lost"),
        pytest.param(["r1"], ["r2", "r2"], (1, 1, 1), id="one missing, another stored twice"),
        pytest.param([], [], (0, 0, 0), id="nothing"),
    ],
)
def test_orders_are_compared(acknowledged: list[str], stored: list[str], counts: tuple[int, int, int]) -> None:
    found = oracle.compare(acknowledged, stored, "r")
    assert (found["missing"], found["duplicated"], found["unacknowledged"]) == counts
