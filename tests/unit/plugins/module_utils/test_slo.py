# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Objectives become rules: what is refused, what is asked, and, with promtool, when each window fires."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _slo

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
SLO = {"name": "shop", "app": "shop", "kind": "availability", "objective": 99.0}
LATENCY = {**SLO, "kind": "latency", "threshold_seconds": 0.5}
MINUTES = {"1h": 60, "6h": 360, "1d": 1440, "3d": 4320}


# -- what cannot be meant ----------------------------------------------------


@pytest.mark.parametrize(
    ("slos", "sentences"),
    [
        pytest.param([SLO], [], id="sound"),
        pytest.param([SLO, SLO], ["name on SLO shop: found it 2 times, need it once"], id="two of one name"),
        pytest.param([{**SLO, "name": "Shop"}], ["need a-z, 0-9 and hyphens"], id="name"),
        pytest.param([{**SLO, "kind": "speed"}], ["kind on SLO shop: found speed"], id="kind"),
        pytest.param([{**SLO, "objective": 100}], ["found 100, need above 0 and below 100"], id="perfection"),
        pytest.param([{**SLO, "objective": 0}], ["found 0, need above 0"], id="nothing"),
        pytest.param([{**SLO, "window_days": 3}], ["window_days on SLO shop: found 3"], id="window"),
        pytest.param([{**SLO, "kind": "latency"}], ["threshold_seconds on SLO shop: found none"], id="no threshold"),
        pytest.param([{**SLO, "kind": "queue_age", "threshold_seconds": 1}], ["metric on SLO shop"], id="no metric"),
        pytest.param([{**SLO, "kind": "custom"}], ["bad on SLO shop", "total on SLO shop"], id="no queries"),
        pytest.param(
            [{**SLO, "kind": "custom", "bad": "x[{window}]", "total": "x"}], ["found no {window}"], id="range"
        ),
        pytest.param([{**SLO, "bad": "x[{window}]"}], ["found it with kind availability"], id="query without custom"),
        pytest.param([{**SLO, "app": "other"}], ["app on SLO shop: found other, need shop"], id="app"),
        pytest.param([{**SLO, "kind": "x"}, {**SLO, "objective": 100}], ["2 times", "kind", "objective"], id="all"),
    ],
)
def test_every_problem_is_named(slos: list[dict[str, Any]], sentences: list[str]) -> None:
    found = _slo.problems(slos, ["shop"])
    assert len(found) == len(sentences)
    for sentence, part in zip(found, sentences, strict=True):
        assert part in sentence


# -- what is asked -----------------------------------------------------------


def records(slo: dict[str, Any]) -> dict[str, str]:
    [group] = _slo.rules([slo])["groups"]
    return {rule["record"]: rule["expr"] for rule in group["rules"] if "record" in rule}


def test_service_narrows_the_question() -> None:
    assert 'app="shop",service="api"' in records({**SLO, "service": "api"})["slo:total:rate5m"]


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.5, 'le=~"0\\\\.5"'), (1, 'le=~"1(\\\\.0)?"'), ("2.5", 'le=~"2\\\\.5"')]
)
def test_bound_of_a_bucket_is_found_as_programs_write_it(seconds: Any, bound: str) -> None:
    assert bound in records({**LATENCY, "threshold_seconds": seconds})["slo:bad:rate5m"]


def test_an_alert_that_could_never_fire_is_left_out() -> None:
    [group] = _slo.rules([{**SLO, "objective": 90}])["groups"]
    windows = [rule["labels"]["window"] for rule in group["rules"] if "window" in rule.get("labels", {})]
    assert windows == ["6h", "1d", "3d"]


def test_shorter_budget_window_keeps_the_shares() -> None:
    [group] = _slo.rules([{**SLO, "objective": 99.9, "window_days": 28}])["groups"]
    [first, *_rest] = [rule for rule in group["rules"] if rule.get("alert") == "SLOBurnsFast"]
    assert "> 0.01344\n" in first["expr"]  # 2 % of 28 days in an hour is 13.44 times the pace


# -- when it fires -----------------------------------------------------------


def responses(good: str, bad: str) -> list[dict[str, str]]:
    name = 'haproxy_backend_http_responses_total{{instance="e1",app="shop",code="{}"}}'
    return [{"series": name.format("2xx"), "values": good}, {"series": name.format("5xx"), "values": bad}]


def firing(tmp_path: Any, slo: dict[str, Any], series: list[dict[str, str]], minute: int) -> set[str]:
    """The alerts, each with its window, that fire at a minute; promtool says what is so, the test what should be."""
    (tmp_path / "slo.yml").write_text(yaml.safe_dump(_slo.rules([slo])), encoding="utf-8")
    question = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m", "exp_samples": []}
    suite = {
        "rule_files": ["slo.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [question]}],
    }
    (tmp_path / "suite.yml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    asked = subprocess.run(
        [PROMTOOL or "promtool", "test", "rules", str(tmp_path / "suite.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    got = asked.stdout + asked.stderr
    assert asked.returncode == 0 or "got:" in got, got
    found = set()
    for labels in got.partition("got:")[2].split("{")[1:]:
        named = dict(pair.split("=", 1) for pair in labels.partition("}")[0].replace('"', "").split(", "))
        found.add(" ".join(filter(None, (named["alertname"], named.get("window")))))
    return found


# Which windows see a constant share of failures, at 1 % of budget: 1h above 14.4 %, 6h above 6, 1d above 3, 3d above 1.
FAST = {"SLOBurnsFast 1h", "SLOBurnsFast 6h"}
SLOW = {"SLOBurnsSlowly 1d", "SLOBurnsSlowly 3d"}


@needs_promtool
@pytest.mark.parametrize(
    ("per_hundred", "expected"),
    [
        pytest.param(20, FAST | SLOW, id="1h"),
        pytest.param(10, {"SLOBurnsFast 6h"} | SLOW, id="6h"),
        pytest.param(4, SLOW, id="1d"),
        pytest.param(2, {"SLOBurnsSlowly 3d"}, id="3d"),
        pytest.param(0.5, set(), id="within the budget"),
    ],
)
def test_each_window_fires(per_hundred: float, expected: set[str], tmp_path: Any) -> None:
    series = responses(f"0+{1000 - 10 * per_hundred:g}x120", f"0+{10 * per_hundred:g}x120")
    found = firing(tmp_path, SLO, series, 110)
    assert {name for name in found if "Burns" in name} == expected


@needs_promtool
@pytest.mark.parametrize(
    ("long", "per_hundred", "bad", "well"),
    [
        pytest.param("1h", 20, 40, 10, id="1h"),
        pytest.param("6h", 10, 120, 45, id="6h"),
        pytest.param("1d", 4, 360, 150, id="1d"),
        pytest.param("3d", 2, 900, 400, id="3d"),
    ],
)
def test_each_window_recovers_with_its_shorter_one(
    long: str, per_hundred: int, bad: int, well: int, tmp_path: Any
) -> None:
    failed = per_hundred * 10
    series = responses(
        f"0+{1000 - failed}x{bad} {(1000 - failed) * bad + 1000}+1000x{well + 30}",
        f"0+{failed}x{bad} {failed * bad}x{well + 30}",
    )
    name = f"{'SLOBurnsFast' if long in ('1h', '6h') else 'SLOBurnsSlowly'} {long}"
    assert name in firing(tmp_path, SLO, series, bad)
    assert name not in firing(tmp_path, SLO, series, bad + well)


@needs_promtool
@pytest.mark.parametrize("long", ["1h", "6h", "1d", "3d"])
def test_low_traffic_gives_no_verdict(long: str, tmp_path: Any) -> None:
    # Every request fails, and 90 of them come in the window, which need not be full for that.
    minutes = min(MINUTES[long], 400)
    share = 90 / minutes
    series = responses(f"0x{minutes + 10}", f"0+{share:.6f}x{minutes + 10}")
    assert not {name for name in firing(tmp_path, SLO, series, minutes) if name.endswith(long)}


@needs_promtool
@pytest.mark.parametrize("slo", [SLO, LATENCY], ids=["availability", "latency"])
def test_no_data_is_said_and_judged_by_no_window(slo: dict[str, Any], tmp_path: Any) -> None:
    series = [{"series": 'up{job="edge"}', "values": "0x60"}]
    assert firing(tmp_path, slo, series, 30) == {"SLOWithoutData"}


@needs_promtool
@pytest.mark.parametrize("long", ["1h", "6h", "1d", "3d"])
def test_no_data_stops_the_alert_of_each_window(long: str, tmp_path: Any) -> None:
    series = responses("0+800x60 _x500", "0+200x60 _x500")
    name = f"{'SLOBurnsFast' if long in ('1h', '6h') else 'SLOBurnsSlowly'} {long}"
    assert name in firing(tmp_path, SLO, series, 59)
    assert name not in firing(tmp_path, SLO, series, 59 + {"1h": 15, "6h": 45, "1d": 140, "3d": 400}[long])


@needs_promtool
def test_no_failure_yet_is_no_missing_data(tmp_path: Any) -> None:
    slo = {**SLO, "kind": "error_rate"}
    series = [{"series": 'http_requests_total{app="shop",code="200"}', "values": "0+60x60"}]
    assert firing(tmp_path, slo, series, 50) == set()


@needs_promtool
def test_a_bound_no_bucket_has_is_missing_data(tmp_path: Any) -> None:
    name = "http_request_duration_seconds"
    series = [
        {"series": f'{name}_count{{app="shop"}}', "values": "0+60x60"},
        {"series": f'{name}_bucket{{app="shop",le="1"}}', "values": "0+60x60"},
    ]
    assert firing(tmp_path, LATENCY, series, 50) == {"SLOWithoutData"}
    assert firing(tmp_path, {**LATENCY, "threshold_seconds": 1}, series, 50) == set()


@needs_promtool
def test_slow_answers_burn_the_budget_of_latency(tmp_path: Any) -> None:
    name = "http_request_duration_seconds"
    series = [
        {"series": f'{name}_count{{app="shop"}}', "values": "0+60x60"},
        {"series": f'{name}_bucket{{app="shop",le="0.5"}}', "values": "0+30x60"},
    ]
    assert "SLOBurnsFast 1h" in firing(tmp_path, LATENCY, series, 50)


@needs_promtool
def test_queue_that_is_late_burns_its_budget(tmp_path: Any) -> None:
    slo = {**SLO, "kind": "queue_age", "metric": "age", "threshold_seconds": 60}
    late = [{"series": 'age{app="shop"}', "values": "90x60"}]
    well = [{"series": 'age{app="shop"}', "values": "9x60"}]
    assert "SLOBurnsFast 1h" in firing(tmp_path, slo, late, 50)
    assert firing(tmp_path, slo, well, 50) == set()


@needs_promtool
def test_spent_budget_is_said(tmp_path: Any) -> None:
    assert "SLOBudgetSpent" in firing(tmp_path, SLO, responses("0+980x60", "0+20x60"), 50)
    assert "SLOBudgetSpent" not in firing(tmp_path, SLO, responses("0+995x60", "0+5x60"), 50)
