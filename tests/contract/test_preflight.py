# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role that site.yml runs is asked by the preflight, on the hosts of its play."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _preflight
from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import HostChecks

ROOT = Path(__file__).resolve().parents[2]


def plays() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8"))
    return found


def wanted() -> dict[str, set[str]]:
    """The groups of each role in site.yml."""
    made: dict[str, str] = {}
    found: dict[str, set[str]] = {}
    for play in plays():
        for task in play.get("tasks") or []:
            for name in re.findall(r"'(\w+)'\s+if", task.get("ansible.builtin.group_by", {}).get("key", "")):
                made[name] = play["hosts"]
        for role in play.get("roles") or []:
            hosts = str(play["hosts"])
            names = set(re.findall(r"data_replica|data|[a-z_]+_hosts|edge|app|ops|all", hosts.replace("!all", "")))
            found.setdefault(role["role"].rpartition(".")[2], set()).update(made.get(name, name) for name in names)
    return found


def test_the_table_of_roles_is_that_of_site_yml() -> None:
    assert {role.name: set(role.groups) for role in _preflight.ROLES} == wanted()


@pytest.mark.parametrize("role", [role.name for role in _preflight.ROLES])
def test_each_role_is_asked(role: str) -> None:
    # The apps are judged once, over all their hosts.
    assert role == "app_deploy" or hasattr(HostChecks, f"_{role}")
    assert (ROOT / "roles" / role / "meta" / "argument_specs.yml").exists()


def test_the_options_that_a_play_asks_for_are_those_of_the_table() -> None:
    text = (ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8")
    for role in _preflight.ROLES:
        for option in role.wanted_by:
            assert f"{option} | default([])" in text
