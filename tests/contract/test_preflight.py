# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role that site.yml runs is asked by the preflight, on the hosts of its play."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _preflight, _verbs
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
            role = task.get("ansible.builtin.import_role", {}).get("name", "").rpartition(".")[2]
            hosts = str(play["hosts"]).replace("all:!all", "").replace("!all", "")
            names = set(re.findall(r"k3s_(?:server|agent)|data_replica|data|[a-z_]+_hosts|edge|app|ops|all", hosts))
            if role:
                found.setdefault(role, set()).update(made.get(name, name) for name in names)
    return found


def test_the_table_of_roles_is_that_of_site_yml() -> None:
    assert {role.name: set(role.groups) for role in _preflight.ROLES} == wanted()


@pytest.mark.parametrize("role", [role.name for role in _preflight.ROLES])
def test_each_role_is_asked(role: str) -> None:
    # The apps are judged once, over all their hosts.
    assert role == "app_deploy" or hasattr(HostChecks, f"_{role}")
    assert (ROOT / "roles" / role / "meta" / "argument_specs.yml").exists()


def role_tasks(part: Any) -> Iterator[dict[str, Any]]:
    """Yield the tasks of a playbook that run a role."""
    if isinstance(part, list):
        for one in part:
            yield from role_tasks(one)
    elif isinstance(part, dict):
        for word in ("include_role", "import_role"):
            if f"ansible.builtin.{word}" in part:
                yield part[f"ansible.builtin.{word}"]
        for word in ("tasks", "block", "rescue", "always"):
            yield from role_tasks(part.get(word))


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_only_a_spec_that_was_validated_is_not_validated_again(playbook: str) -> None:
    content = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))
    checked = content[0].get("ansible.builtin.import_playbook") == "preflight.yml"
    roles = set(content[0].get("vars", {}).get("preflight_roles") or [role.name for role in _preflight.ROLES])
    for role in role_tasks(content):
        wanted = checked and role["name"].rpartition(".")[2] in roles and "tasks_from" not in role
        if wanted:
            assert role.get("rolespec_validate") is False, role
        elif not checked:
            # Users wait for the first two, and their modules take no option of a wrong type. The verbs of the day name
            # a wrong type beside all else that is wrong, in a sentence of their own.
            alone = ("rollback", "status", *_verbs.VERBS, "doctor")
            assert role.get("rolespec_validate", True) or playbook in alone, role


def test_the_options_that_a_play_asks_for_are_those_of_the_table() -> None:
    text = (ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8")
    for role in _preflight.ROLES:
        for option in role.wanted_by:
            assert f"{option} | default([])" in text
