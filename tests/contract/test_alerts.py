# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every alert has its page, owner, tests and fault, every panel its unit; and each check sees a planted gap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.tests.contract import alerts as contract
from ansible_collections.evenkeel.platform.tests.contract.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
RULES = "roles/watch/files/rules/host.yml"
TESTS = "tests/unit/roles/watch/rules/host.yml"
BOARD = "roles/monitoring/files/dashboards/fleet.json"
NOTES = f"{{summary: x, description: x, runbook_url: '{contract.LINK}A.md'}}"
RULE = f"{{alert: A, expr: up, labels: {{severity: critical, owner: platform, pack: host}}, annotations: {NOTES}}}"
PAGE = "\n".join(contract.SECTIONS)
FIRES = '{name: fires, promql_expr_test: [{expr: \'ALERTS{alertname="A",alertstate="firing"}\', exp_samples: [1]}]}'
SILENT = FIRES.replace("fires", "silent").replace("[1]", "[]")
ENTRY = "{fault: x, receiver: team, skip: not here}"
PANEL = {
    "title": "t",
    "type": "timeseries",
    "description": "d",
    "datasource": {"uid": "prometheus"},
    "targets": [{"expr": "up"}],
    "fieldConfig": {"defaults": {"unit": "s"}},
}


@pytest.fixture(scope="module")
def checkout() -> Tree:
    return Tree.of_checkout(ROOT)


@pytest.mark.parametrize("gap", contract.GAPS, ids=lambda gap: gap.__name__)
def test_the_checkout_has_no_gap(gap: contract.Gap, checkout: Tree) -> None:
    found = list(gap(checkout))
    assert not found, f"{gap.__doc__}\n" + "\n".join(found)


def files(**changed: str) -> dict[str, str]:
    """A tree with one alert that has everything; a test changes one file of it."""
    paths = {"rules": RULES, "tests": TESTS, "page": "docs/runbooks/A.md", "faults": contract.FAULTS}
    sound = {
        RULES: f"groups: [{{name: host, rules: [{RULE}]}}]\n",
        TESTS: f"tests: [{FIRES}, {SILENT}]\n",
        contract.FAULTS: f"A: {ENTRY}\n" + "".join(f"{name}: {ENTRY}\n" for name in contract.OF_SLOS),
        **{f"docs/runbooks/{name}.md": PAGE for name in ("A", *contract.OF_SLOS)},
    }
    return {**sound, **{paths[name]: text for name, text in changed.items()}}


def driven(by: str) -> dict[str, str]:
    """A tree whose alert A is driven in another way."""
    return {**files(), contract.FAULTS: files()[contract.FAULTS].replace("skip: not here", by, 1)}


def board(**changed: Any) -> dict[str, str]:
    return {BOARD: json.dumps({"panels": [{**PANEL, **changed}]})}


def rules(old: str, new: str) -> dict[str, str]:
    return files(rules=f"groups: [{{name: host, rules: [{RULE.replace(old, new)}]}}]\n")


@pytest.mark.parametrize("gap", contract.GAPS, ids=lambda gap: gap.__name__)
def test_what_has_everything_is_left_in_peace(gap: contract.Gap, tmp_path: Path) -> None:
    assert not list(gap(Tree.planted(tmp_path, {**files(), **board()})))


@pytest.mark.parametrize(
    ("gap", "planted", "sentence"),
    [
        pytest.param(contract.labels_missing, rules("critical", "urgent"), "severity urgent", id="severity"),
        pytest.param(contract.labels_missing, rules("platform,", "me,"), "owner me", id="owner"),
        pytest.param(contract.labels_missing, rules("pack: host", "pack: x"), "pack x", id="pack"),
        pytest.param(contract.labels_missing, rules("summary: x, ", ""), "no summary", id="summary"),
        pytest.param(contract.labels_missing, rules("A.md", "B.md"), "runbook_url", id="link"),
        pytest.param(
            contract.name_twice,
            files(rules=f"groups: [{{name: host, rules: [{RULE}, {RULE}]}}]\n"),
            "2 alerts of this name",
            id="twice",
        ),
        pytest.param(contract.page_missing, files(page="## Look first\n## Silence it"), "causes", id="section"),
        pytest.param(contract.page_missing, {**files(), "docs/runbooks/B.md": PAGE}, "page of no alert", id="page"),
        pytest.param(contract.test_missing, files(tests=f"tests: [{SILENT}]\n"), "in which it fires", id="fires"),
        pytest.param(contract.test_missing, files(tests=f"tests: [{FIRES}]\n"), "in which it is silent", id="silent"),
        pytest.param(
            contract.fault_missing,
            {**files(), contract.FAULTS: files()[contract.FAULTS].partition("\n")[2]},
            "A: no entry",
            id="no fault",
        ),
        pytest.param(
            contract.fault_missing,
            {**files(), contract.FAULTS: files()[contract.FAULTS] + f"B: {ENTRY}\n"},
            "entry B of no alert",
            id="fault of nothing",
        ),
        pytest.param(contract.fault_missing, driven("test: 'tests/e2e/x.py::test_x'"), "does not drive it", id="test"),
        pytest.param(contract.fault_missing, driven("batch: one, begin: x, end: x"), "does not drive it", id="hosts"),
        pytest.param(contract.fault_missing, driven("with: B"), "does not drive it", id="with"),
        pytest.param(contract.fault_missing, driven("skip: x, with: B"), "driven by with and skip", id="two drivers"),
        pytest.param(contract.fault_missing, driven("settle_seconds: 3"), "driven by nothing", id="no driver"),
        pytest.param(contract.panel_poor, board(description=""), "without description", id="description"),
        pytest.param(contract.panel_poor, board(datasource=None), "without datasource", id="datasource"),
        pytest.param(contract.panel_poor, board(targets=[]), "without a query", id="query"),
        pytest.param(contract.panel_poor, board(fieldConfig={"defaults": {}}), "without a unit", id="unit"),
        pytest.param(
            contract.query_hides_absence, board(targets=[{"expr": "up or vector(0)"}]), "has or vector(", id="vector"
        ),
        pytest.param(
            contract.query_hides_absence, board(targets=[{"expr": "up or on() vector (0)"}]), "has or", id="on vector"
        ),
    ],
)
def test_a_planted_gap_is_seen(gap: contract.Gap, planted: dict[str, str], sentence: str, tmp_path: Path) -> None:
    found = list(gap(Tree.planted(tmp_path, planted)))
    assert len(found) == 1, found
    assert sentence in found[0]
