# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every alert and every panel brings along. Each function takes a tree and yields one sentence a gap."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ansible_collections.evenkeel.platform.tests.contract.tree import Tree, without_lines

RULES = "roles/*/files/rules/*.yml"
DASHBOARDS = "roles/monitoring/files/dashboards/*.json"
FAULTS = "tests/faults/alerts.yml"
# How a fault of that file is driven.
DRIVERS = ("batch", "with", "test", "skip")
RUNBOOKS = "docs/runbooks"
LINK = "https://github.com/evenkeel/platform/blob/main/docs/runbooks/"
SEVERITIES = ("critical", "warning", "none")
OWNERS = ("platform", "data", "app")
SECTIONS = ("## Look first", "## Likely causes", "## Silence it")
# Made by the filter over SLOs, which has tests of its own beside the packs'.
OF_SLOS = ("SLOBurnsFast", "SLOBurnsSlowly", "SLOWithoutData", "SLOBudgetSpent")
# It fires whatever happens, so it has nothing to be silent about.
ALWAYS = ("Watchdog",)

Gap = Callable[[Tree], Iterator[str]]


class Alert(NamedTuple):
    """One alert of one pack."""

    role: str
    pack: str
    name: str
    rule: dict[str, Any]

    @property
    def tests(self) -> str:
        return f"tests/unit/roles/{self.role}/rules/{self.pack}.yml"


def alerts(tree: Tree) -> Iterator[Alert]:
    for path in tree.matching(RULES):
        role, pack = path.split("/")[1], path.rpartition("/")[2].removesuffix(".yml")
        for group in (without_lines(tree.load(path)) or {}).get("groups", []):
            for rule in group["rules"]:
                if "alert" in rule:
                    yield Alert(role, pack, rule["alert"], rule)


def names(tree: Tree) -> list[str]:
    return [alert.name for alert in alerts(tree)] + (list(OF_SLOS) if tree.matching(RULES) else [])


def labels_missing(tree: Tree) -> Iterator[str]:
    """Each alert has a severity, an owner, its pack, a summary, a description and the link to its page."""
    for alert in alerts(tree):
        labels, notes = alert.rule.get("labels", {}), alert.rule.get("annotations", {})
        if labels.get("severity") not in SEVERITIES:
            yield f"{alert.name}: severity {labels.get('severity')}, need one of {', '.join(SEVERITIES)}"
        if labels.get("owner") not in OWNERS:
            yield f"{alert.name}: owner {labels.get('owner')}, need one of {', '.join(OWNERS)}"
        if labels.get("pack") != alert.pack:
            yield f"{alert.name}: pack {labels.get('pack')}, need {alert.pack}"
        for note in ("summary", "description"):
            if not notes.get(note):
                yield f"{alert.name}: no {note}"
        if notes.get("runbook_url") != f"{LINK}{alert.name}.md":
            yield f"{alert.name}: runbook_url {notes.get('runbook_url')}, need {LINK}{alert.name}.md"


def name_twice(tree: Tree) -> Iterator[str]:
    """A name is one alert."""
    found = names(tree)
    for name in sorted({name for name in found if found.count(name) > 1}):
        yield f"{name}: {found.count(name)} alerts of this name"


def page_missing(tree: Tree) -> Iterator[str]:
    """Each alert has a page with its sections, and each page an alert."""
    wanted = {f"{RUNBOOKS}/{name}.md": name for name in names(tree)}
    for path, name in sorted(wanted.items()):
        if path not in tree.paths:
            yield f"{name}: no page {path}"
            continue
        for section in SECTIONS:
            if section not in tree.text(path):
                yield f"{path}: no section {section!r}"
    for path in tree.matching(f"{RUNBOOKS}/*.md"):
        if path not in wanted and not path.endswith("/README.md"):
            yield f"{path}: page of no alert"


def test_missing(tree: Tree) -> Iterator[str]:
    """Each alert is seen to fire in one test, and to be silent in another."""
    for alert in alerts(tree):
        path = alert.tests
        tests = (without_lines(tree.load(path)) or {}).get("tests", []) if path in tree.paths else []
        asked = f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}'
        firing, silent = False, alert.name in ALWAYS
        for one in tests:
            for question in one.get("promql_expr_test", []):
                if asked in question["expr"]:
                    firing |= bool(question["exp_samples"])
                    silent |= not question["exp_samples"]
        if not firing:
            yield f"{alert.name}: no test in {path} in which it fires"
        if not silent:
            yield f"{alert.name}: no test in {path} in which it is silent"


def driver_is_there(tree: Tree, entries: dict[str, Any], entry: dict[str, Any], kind: str) -> bool:
    """Whether what an entry names is there: its commands, the other alert's, or the test."""
    if kind == "batch":
        return all(entry.get(key) for key in ("hosts", "begin", "end"))
    if kind == "with":
        return "batch" in entries.get(entry["with"], {})
    if kind == "test":
        path, _colons, name = entry["test"].partition("::")
        return path in tree.paths and f"def {name}(" in tree.text(path)
    return True


def fault_missing(tree: Tree) -> Iterator[str]:
    """Each alert has its real fault, the receiver that gets it and the test that drives it, and each entry an alert."""
    entries = (without_lines(tree.load(FAULTS)) or {}) if FAULTS in tree.paths else {}
    known = dict(entries)
    for name in names(tree):
        entry = entries.pop(name, None)
        if entry is None:
            yield f"{name}: no entry in {FAULTS}"
            continue
        for key in ("fault", "receiver"):
            if not entry.get(key):
                yield f"{name}: entry in {FAULTS} without {key}"
        drivers = [key for key in DRIVERS if entry.get(key)]
        if len(drivers) != 1:
            yield f"{name}: driven by {' and '.join(drivers) or 'nothing'}, need one of {', '.join(DRIVERS)}"
        elif not driver_is_there(tree, known, entry, drivers[0]):
            yield f"{name}: {drivers[0]} {entry[drivers[0]]} does not drive it"
    for name in sorted(entries):
        yield f"{FAULTS}: entry {name} of no alert"


def panels(tree: Tree) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel of every dashboard, those in rows as well."""
    for path in tree.matching(DASHBOARDS):
        for panel in json.loads(tree.text(path))["panels"]:
            yield path, panel
            for inner in panel.get("panels", []):
                yield path, inner


def panel_poor(tree: Tree) -> Iterator[str]:
    """Each panel has a title, a description, a data source and a query, and one with numbers a unit."""
    for path, panel in panels(tree):
        where = f"{path}: panel {panel.get('title')!r}"
        if panel["type"] == "row":
            continue
        for key in ("title", "description", "datasource"):
            if not panel.get(key):
                yield f"{where} without {key}"
        if not panel.get("targets"):
            yield f"{where} without a query"
        if panel["type"] not in ("logs", "table") and not panel["fieldConfig"]["defaults"].get("unit"):
            yield f"{where} without a unit"


def query_hides_absence(tree: Tree) -> Iterator[str]:
    """No query of a panel puts a number where there is none: an empty panel is news."""
    for path, panel in panels(tree):
        for target in panel.get("targets", []):
            if re.search(r"\bor\s+(?:on\s*\(\s*\)\s*)?vector\s*\(", target.get("expr", "")):
                yield f"{path}: panel {panel.get('title')!r} has or vector("


GAPS: tuple[Gap, ...] = (
    labels_missing,
    name_twice,
    page_missing,
    test_missing,
    fault_missing,
    panel_poor,
    query_hides_absence,
)
