# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The alert rules, judged by promtool, and by the figures that the runner writes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from evenkeel_backup.metrics import HELP

ALERTS = Path(__file__).parents[4] / "roles" / "postgres_backup" / "files" / "alerts"
RULES = [
    rule for group in yaml.safe_load((ALERTS / "postgres_backup.yml").read_text())["groups"] for rule in group["rules"]
]
TOOL = shutil.which("promtool")


@pytest.mark.skipif(TOOL is None, reason="needs promtool, of the package prometheus")
@pytest.mark.parametrize(
    "words", [("check", "rules", "postgres_backup.yml"), ("test", "rules", "tests/postgres_backup.yml")]
)
def test_promtool_passes(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=ALERTS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_uses_figures_that_are_written(rule: dict) -> None:
    used = re.findall(r"evenkeel_(\w+)", rule["expr"])
    assert used
    assert set(used) <= set(HELP)


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_a_rule_has_its_tests(rule: dict) -> None:
    assert (ALERTS / "tests" / "postgres_backup.yml").read_text().count(rule["alert"]) >= 2
