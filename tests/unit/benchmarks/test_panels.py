# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the panels ask the lab's servers, what becomes of the answers, and how they are drawn."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import panels
from ansible_collections.evenkeel.platform.docs import dashboards, pictures

LINE = {"_time": "2026-01-02T03:04:05Z", "_msg": "costs $5 and $6", "service.name": "api"}


def answer(question: tuple[str, str, dict[str, str]]) -> list[dict[str, Any]] | dict[str, str]:
    base, path, words = question
    if "refused" in words["query"]:
        return {"error": "no"}
    if path == "query":
        return [LINE]
    labels = {"service.name": "api"} if "logsql" in base else {"app": "shop", "colour": "blue", "release": "1.0"}
    return [{"metric": labels, "values": [[1767323045, "1"], [1767323055, "2"], [1767323145, "3"]]}]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, str]]]:
    questions: list[tuple[str, str, dict[str, str]]] = []

    def ask(every: list[tuple[str, str, dict[str, str]]]) -> list[list[dict[str, Any]] | dict[str, str]]:
        questions.extend(every)
        return [answer(one) for one in every]

    monkeypatch.setattr(panels, "ask", ask)
    return questions


def test_each_source_is_asked_by_its_own_interface(asked: list[tuple[str, str, dict[str, str]]]) -> None:
    found = {(one.board, one.panel.title): one for one in panels.shown(1767323000, 1767323200)}
    assert {(base.rpartition(":")[2], path) for base, path, _words in asked} == {
        ("9090/api/v1/", "query_range"),
        ("9428/select/logsql/", "stats_query_range"),
        ("9428/select/logsql/", "query"),
    }
    assert [line.legend for line in found["logs", "Lines"].series] == ["api"]
    (newest,) = found["logs", "Newest lines"].series
    assert newest.legend == "api"
    assert newest.texts == ((1767323045.0, "costs $5 and $6"),)
    (requests,) = found["app", "Requests"].series
    assert requests.legend == "blue 1.0"
    assert requests.moves


@pytest.mark.usefixtures("asked")
def test_picture_shows_every_panel_and_is_the_same_each_time() -> None:
    begin, end = 1767323000.0, 1767323200.0
    every = panels.shown(begin, end)
    for name, board in panels.BOARDS.items():
        of_board = [one for one in every if one.board == name]
        drawn = pictures.picture(board.title, of_board, begin, end, [begin + 60])
        for one in of_board:
            assert f">{one.panel.title}</text>" in drawn
    assert drawn == pictures.picture(board.title, of_board, begin, end, [begin + 60])
    # A dollar of a line is no mathematics.
    assert "costs $5 and $6" in drawn


@pytest.mark.parametrize(
    ("points", "values"),
    [
        pytest.param([(0, 1.0), (10, 2.0)], "1.0 2.0", id="whole"),
        pytest.param([(0, 1.0), (40, 2.0), (50, 3.0)], "1.0 nan 2.0 3.0", id="with a hole"),
        pytest.param([], "", id="none"),
    ],
)
def test_line_has_a_gap_where_no_value_came(points: list[tuple[float, float]], values: str) -> None:
    assert " ".join(map(str, pictures.with_gaps(points, 10)[1])) == values


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.253, "percentunit", "25.3 %"),
        (3 * 2.0**30, "bytes", "3 GiB"),
        (2048.0, "Bps", "2 KiB/s"),
        (0.012, "s", "12 ms"),
        (90.0, "s", "1.5 min"),
        (4.0, "reqps", "4 req/s"),
    ],
)
def test_amount_is_written_as_in_grafana(value: float, unit: str, text: str) -> None:
    assert pictures.amount(value, unit) == text


def test_wide_panel_takes_a_row() -> None:
    widths = (12, 12, 24, 12)
    every = [dashboards.Panel(str(width), "s", "", {}, width=width) for width in widths]
    assert dashboards.placed(every) == [(0, 0), (1, 0), (0, 1), (0, 2)]
