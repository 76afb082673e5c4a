# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every pack parses, wherever it stands, and its alerts fire and keep silent as its promtool suite says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _monitoring_stack

ROOT = Path(__file__).resolve().parents[4]
ROLE = ROOT / "roles" / "monitoring"
PACKS = {path.stem: path for path in sorted(ROOT.glob("roles/*/files/rules/*.yml"))}
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROMTOOL or "promtool", *arguments], capture_output=True, text=True, check=False)


@needs_promtool
@pytest.mark.parametrize("pack", PACKS)
def test_pack_parses(pack):
    asked = promtool("check", "rules", "--lint-fatal", str(PACKS[pack]))
    assert asked.returncode == 0, asked.stdout + asked.stderr


@needs_promtool
@pytest.mark.parametrize("pack", PACKS)
def test_alerts_fire_and_keep_silent(pack):
    role = PACKS[pack].relative_to(ROOT).parts[1]
    asked = promtool("test", "rules", str(ROOT / "tests" / "unit" / "roles" / role / "rules" / f"{pack}.yml"))
    assert asked.returncode == 0, asked.stdout + asked.stderr


@needs_promtool
def test_all_packs_load_together(tmp_path):
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump({"rule_files": [str(path) for path in PACKS.values()]}), encoding="utf-8")
    asked = promtool("check", "config", str(config))
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_role_knows_every_pack_and_where_it_stands():
    options = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    elsewhere = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__monitoring_packs_elsewhere"]
    assert set(options["monitoring_packs"]) == set(_monitoring_stack.PACKS) == PACKS.keys()
    found = {
        pack: Path(
            elsewhere.get(pack, f"{{{{ role_path }}}}/files/rules/{pack}.yml").replace("{{ role_path }}", str(ROLE))
        )
        for pack in PACKS
    }
    assert {pack: path.resolve() for pack, path in found.items()} == PACKS
