# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every pack parses, and its alerts fire and keep silent as its promtool suite says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
RULES = ROOT / "roles" / "monitoring" / "files" / "rules"
SUITES = Path(__file__).parent / "rules"
PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROMTOOL or "promtool", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("pack", sorted(path.stem for path in RULES.glob("*.yml")))
def test_pack_parses(pack):
    asked = promtool("check", "rules", "--lint-fatal", str(RULES / f"{pack}.yml"))
    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.parametrize("pack", sorted(path.stem for path in RULES.glob("*.yml")))
def test_alerts_fire_and_keep_silent(pack):
    asked = promtool("test", "rules", str(SUITES / f"{pack}.yml"))
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_all_packs_load_together(tmp_path):
    config = tmp_path / "prometheus.yml"
    config.write_text(f"rule_files: ['{RULES}/*.yml']\n", encoding="utf-8")
    asked = promtool("check", "config", str(config))
    assert asked.returncode == 0, asked.stdout + asked.stderr
