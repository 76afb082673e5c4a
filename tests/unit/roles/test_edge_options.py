# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role edge makes of its options for a floating address and for sites, and what it refuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ansible_collections.evenkeel.platform.tests.unit.roles.conftest import Play

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "edge"
PLAY = [
    {
        "hosts": "cases",
        "gather_facts": False,
        "vars_files": [str(ROLE / "vars" / "main.yml")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "dest": "{{ place }}/{{ item.name }}",
                    "content": "{{ item.content }}",
                    "mode": "0600",
                },
                "loop": [
                    {
                        "name": "problems",
                        "content": "{{ __edge_options | evenkeel.platform.edge_problems(__edge_host, "
                        "__edge_firewall_rules) | to_json }}",
                    },
                    {"name": "rules", "content": "{{ __edge_firewall_rules | to_json }}"},
                    {
                        "name": "config",
                        "content": "{{ lookup('template', role_path ~ '/templates/floating.conf.j2') }}",
                    },
                ],
            }
        ],
    }
]


CASES: dict[str, dict[str, Any]] = {
    "off": {},
    "on": {"edge_floating_address": "192.0.2.80/24", "edge_floating_router_id": 7},
    "wrong": {
        "edge_floating_address": "2001:db8::5/64",
        "edge_floating_router_id": 256,
        "edge_public_addresses": ["192.0.2.10"],
    },
    "words": {"edge_floating_address": "the first"},
    "sites": {
        "edge_sites": [
            {"name": "Watch", "hosts": [], "servers": []},
            {"name": "a", "hosts": ["a.test"], "servers": [{}], "users": [{"name": "ann", "hash": "plain"}]},
            {"name": "b", "hosts": ["a.test"], "servers": [{}], "own_login": True},
        ]
    },
    "alone": {"edge_floating_address": "192.0.2.80", "edge_group": "nobody"},
}


class Rendered(NamedTuple):
    problems: list[str]
    rules: list[dict[str, Any]]
    config: Path


@pytest.fixture(scope="module")
def rendered(play: Play, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendered]:
    """What each case leads to, all of them by one run."""
    folder = tmp_path_factory.mktemp("floating")
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
    common = {
        "platform_address": "192.0.2.10",
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "__edge_floating_interface": "lo",
    }
    hosts = {name: {**defaults, **common, **options, "place": str(folder / name)} for name, options in CASES.items()}
    others = {f"edge-{n}": {"platform_address": f"192.0.2.{n}"} for n in (3, 1, 2)}
    for name in CASES:
        (folder / name).mkdir()
    inventory = {"cases": {"hosts": hosts}, "edge": {"hosts": others}}
    play(folder, PLAY, inventory, {"role_path": str(ROLE), "ansible_facts": {"os_family": "Debian"}})
    return {
        name: Rendered(
            json.loads((folder / name / "problems").read_text()),
            json.loads((folder / name / "rules").read_text()),
            folder / name / "config",
        )
        for name in CASES
    }


def test_edges_speak_to_each_other_alone(rendered: dict[str, Rendered]) -> None:
    problems, rules, config = rendered["on"]
    assert problems == []
    peers = ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
    assert rules[-1] == {"name": "floating address", "protocol": "vrrp", "from": peers}
    words = " ".join(config.read_text().split())
    assert "unicast_src_ip 192.0.2.10 unicast_peer { 192.0.2.1 192.0.2.2 192.0.2.3 }" in words
    assert "virtual_ipaddress { 192.0.2.80/24 }" in words
    assert "virtual_router_id 7 priority 100" in words
    assert "http://192.0.2.10:8405/healthz" in words


def test_off_by_default(rendered: dict[str, Rendered]) -> None:
    assert rendered["off"].problems == []
    assert "vrrp" not in json.dumps(rendered["off"].rules)


@pytest.mark.parametrize(
    ("case", "sentences"),
    [
        ("wrong", ["of two families", "need :: among them", "found router id 256"]),
        ("words", ["found the first, need an address such as 192.0.2.80/24"]),
        ("alone", ["found no other edge"]),
        (
            "sites",
            [
                "need one of small letters",
                "found 0 public names and 0 servers",
                "found nobody who may log in",
                "found no hash for user ann",
                "site b on sites: found a.test, which site a has",
            ],
        ),
    ],
)
def test_every_problem_is_named(rendered: dict[str, Rendered], case: str, sentences: list[str]) -> None:
    problems = rendered[case].problems
    assert len(problems) == len(sentences), problems
    for sentence, problem in zip(sentences, problems, strict=True):
        assert problem.startswith("edge: ")
        assert f" on {case}: found " in problem
        assert sentence in problem


def test_readme_lists_every_removed_header() -> None:
    """The list is part of the promise, so the page shows all of it and nothing else."""
    removed = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__edge_removed_request_headers"]
    table = (ROLE / "README.md").read_text(encoding="utf-8").partition("| removed |")[2].partition("\n\n")[0]
    shown = set(re.findall(r"`([^`]+)`", table)) - {"Connection", "Upgrade"}
    assert shown == set(removed)
    assert len(removed) == len(set(removed))
