# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.filter.environment import (
    FilterModule,
    environment_secrets,
    new_environment,
)


def test_hosts_become_an_inventory() -> None:
    read = new_environment("edge1=192.0.2.11/edge, app1=2001:db8::21/app+data", "prod2")
    assert read["problems"] == []
    assert read["ranges"] == ["192.0.2.11/32", "2001:db8::21/128"]
    assert read["inventory"]["all"]["hosts"]["edge1"] == {
        "ansible_host": "192.0.2.11",
        "platform_address": "192.0.2.11",
    }
    assert read["inventory"]["all"]["children"]["data"] == {"hosts": {"app1": {}}}
    assert read["inventory"]["all"]["children"]["ops"] == {"hosts": {}}


@pytest.mark.parametrize(
    ("hosts", "name", "sentences"),
    [
        pytest.param("e=192.0.2.1/edge+app", "", ["name of the environment: found none"], id="no name"),
        pytest.param("e=192.0.2.1/edge+app", "../x", ["found ../x, need a-z"], id="name that leaves the folder"),
        pytest.param("", "x", ["hosts: found none"], id="no host"),
        pytest.param("edge1", "x", ["host edge1: found a wrong form"], id="no address"),
        pytest.param("e=192.0.2.1/edge+web", "x", ["need groups among edge, app, data, ops"], id="unknown group"),
        pytest.param("e=192.0.2.999/edge+app", "x", ["need an IPv4 or IPv6 address"], id="no such address"),
        pytest.param("e=192.0.2.1/edge+app,e=192.0.2.2/app", "x", ["name e: found it twice"], id="name twice"),
        pytest.param(
            "e=192.0.2.1/edge,a=192.0.2.1/app", "x", ["address 192.0.2.1: found it twice"], id="address twice"
        ),
        pytest.param("e=192.0.2.1/edge", "x", ["group app: found no host"], id="no app host"),
        pytest.param("x y", "", ["name of the", "host x", "host y"], id="all at once"),
    ],
)
def test_each_problem_is_one_sentence(hosts: str, name: str, sentences: list[str]) -> None:
    problems = new_environment(hosts, name)["problems"]
    assert len(problems) == len(sentences)
    for problem, sentence in zip(problems, sentences, strict=True):
        assert problem.startswith("new_environment: ")
        assert sentence in problem


def test_filter_is_offered_under_its_name() -> None:
    offered = {"environment_secrets": environment_secrets, "new_environment": new_environment}
    assert FilterModule().filters() == offered


def test_secrets_are_those_that_the_files_read() -> None:
    texts = ['a: "{{ vault_b_key }}"', "b: vault_registry_password + vault_a1", "c: vault_b_key"]
    assert environment_secrets(texts) == {
        "generated": ["vault_a1", "vault_b_key"],
        "given": ["vault_registry_password"],
    }
