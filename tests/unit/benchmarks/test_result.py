# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each published result is complete and states correctly whether it met its bar, and docs/figures.md is current."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import plot, report, result

LATENCY = {"p50": 0.1, "p95": 0.2, "max": 0.3, "samples": 9}
GOOD: dict[str, Any] = {
    "figure": "some_loss",
    "command": "make bench FIGURE=some_loss",
    "commit": "0" * 40,
    "date": "2026-01-02T03:04:05+00:00",
    "machine": {"cores": 2, "memory_bytes": 1, "kernel": "6"},
    "versions": {"python": "3"},
    "results": {"requests": 10, "failed": 0, "by_kind": {}, "latency": LATENCY},
    "control": {"requests": 10, "failed": 3, "by_kind": {"reset": 3}},
    "peers": {},
    "bar": [{"of": "results.failed", "at_most": 0}, {"of": "control.failed", "at_least": 1}],
    "met": True,
    "reason": "",
}


@pytest.mark.parametrize("name", sorted(result.load()))
def test_published_figure_is_whole(name: str) -> None:
    assert list(result.problems(name, result.load()[name])) == []


def test_figures_page_is_current() -> None:
    assert report.stale() == []


def test_good_document_has_no_problem() -> None:
    assert list(result.problems("some_loss", GOOD)) == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("figure", "other", "name of figure some_loss"),
        ("command", "by hand", "command of figure"),
        ("commit", "main", "commit of figure"),
        ("date", "today", "date of figure"),
        ("machine.cores", None, "machine of figure"),
        ("met", False, "met of figure some_loss: found False, need True"),
        ("results.failed", 1, "results of figure some_loss: found 1 failed and 0 by kind"),
        ("results.latency.p95", None, "results.latency of figure"),
        ("results.by_kind", None, "results of figure"),
        ("control.failed", 0, "met of figure some_loss: found True, need False"),
        ("bar", [], "bar of figure some_loss: found none"),
        ("bar", [{"of": "results.nothing", "at_most": 1}], "no value at results.nothing"),
        ("results", None, "reason of figure some_loss: found none"),
    ],
)
def test_wrong_document_is_named(path: str, value: Any, sentence: str) -> None:
    found = copy.deepcopy(GOOD)
    *parents, key = path.split(".")
    inner = found
    for parent in parents:
        inner = inner[parent]
    if value is None and parents:
        del inner[key]
    else:
        inner[key] = value
    assert any(sentence in problem for problem in result.problems("some_loss", found))


def test_figure_that_was_not_measured_is_neither_met_nor_missed() -> None:
    found = result.document("some_loss", None, "the lab is down")
    assert (found["results"], found["met"], found["reason"]) == (None, None, "the lab is down")
    assert list(result.problems("some_loss", found)) == []


def test_bar_is_met_only_when_each_condition_holds() -> None:
    found = copy.deepcopy(GOOD)
    assert result.met(found) is True
    found["control"]["failed"] = 0
    assert result.met(found) is False
    assert result.holds(found, {"of": "results.none", "at_most": 1}) is False


def test_plot_shows_each_release_and_what_failed() -> None:
    moving: dict[str, Any] = {
        "bin_seconds": 0.25,
        "rate": 8,
        "command_began": 0.3,
        "command_ended": 1.1,
        "answers": {"1.0": [2, 2, 1, 0, 0, 0], "1.1": [0, 0, 1, 2, 2, 1]},
        "failed": [0, 0, 0, 1, 0, 0],
    }
    picture = plot.release_moving(moving)
    for text in ("release 1.0", "release 1.1", "failed: 1", "deploy starts", "deploy ends"):
        assert f">{text}</text>" in picture
    # A second drawing is the same file: neither time nor chance stands in it.
    assert plot.release_moving(moving) == picture
    assert "<dc:date>" not in picture
    moving["failed"][3] = 2
    assert plot.release_moving(moving) != picture


def test_bars_show_each_amount_and_the_bar_to_meet() -> None:
    picture = plot.bars("Seconds", [("warm", 1.5, "1.50 s"), ("cold", 9.0, "9.00 s")], 3)
    for text in ("Seconds", "warm", "1.50 s", "cold", "9.00 s", "dashed: the bar, 3"):
        assert f">{text}</text>" in picture
    assert "dashed" not in plot.bars("Seconds", [("warm", 1.5, "1.50 s")])
