# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert rules judge figures that the runner writes. That they fire, tells test_rules.py of monitoring."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from evenkeel_backup.metrics import HELP

FILE = Path(__file__).parents[4] / "roles" / "postgres_backup" / "files" / "rules" / "backup.yml"
RULES = [rule for group in yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
# Said by monitoring, of the inventory.
EXPECTED = {"expected_backup"}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_uses_figures_that_are_written(rule: dict) -> None:
    used = set(re.findall(r"evenkeel_(\w+)", rule["expr"])) - EXPECTED
    assert used
    assert used <= set(HELP)
