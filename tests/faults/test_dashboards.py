# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every panel of the monitored lab moved while faults came and went, and falls empty when its exporters stop.

Runs after test_alerts.py, which plants the faults.
"""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.benchmarks import panels

EVERY = [
    pytest.param(board, panel.title, id=f"{board} {panel.title}")
    for board, one in panels.BOARDS.items()
    for panel in one.panels
]


@pytest.fixture(scope="module")
def seen() -> panels.Seen:
    return panels.Seen(panels.looked_back(), panels.silenced())


@pytest.mark.parametrize(("board", "title"), EVERY)
def test_panel_shows_what_moves(board: str, title: str, seen: panels.Seen) -> None:
    assert not seen.before[board, title].error
    assert seen.has_data(board, title), "no series in an hour and a half"
    if title not in panels.CONSTANT:
        assert seen.moved(board, title), "no series changed"


@pytest.mark.parametrize(("board", "title"), EVERY)
def test_panel_falls_empty_without_its_exporters(board: str, title: str, seen: panels.Seen) -> None:
    if title in panels.OF_WHAT_IS_MISSING:
        assert not seen.fell_empty(board, title), "it counts what is missing, and everything is"
    elif board not in panels.OUTLIVES:
        lines = seen.silent[board, title].series
        assert not lines, f"still there: {', '.join(line.legend for line in lines)}"
