# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of nft from declared rules, and problems with them."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.filter.docker_firewall import (
    docker_firewall_connection,
    docker_firewall_problems,
    docker_firewall_rules,
    docker_firewall_trusted,
)


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        pytest.param(
            {"name": "web", "ports": [443, "80"]},
            ['tcp dport { 80, 443 } counter accept comment "web"'],
            id="everybody",
        ),
        pytest.param(
            {"name": "a", "ports": ["20-30", 25, 31, "40-41"], "protocol": "udp"},
            ['udp dport { 20-31, 40-41 } counter accept comment "a"'],
            id="ranges-that-touch-are-one",
        ),
        pytest.param(
            {"name": "a", "ports": [80], "from": ["10.0.0.0/25", "10.0.0.128/25", "fd00::1"]},
            [
                'ip saddr { 10.0.0.0/24 } tcp dport { 80 } counter accept comment "a"',
                'ip6 saddr { fd00::1/128 } tcp dport { 80 } counter accept comment "a"',
            ],
            id="families-apart-and-networks-joined",
        ),
        pytest.param(
            {"name": "vip", "protocol": "vrrp", "from": ["10.0.0.2"]},
            ['ip saddr { 10.0.0.2/32 } meta l4proto 112 counter accept comment "vip"'],
            id="protocol-without-ports",
        ),
    ],
)
def test_rule_becomes_lines(rule, lines):
    assert docker_firewall_rules([rule]) == lines


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"name": 'x" ; drop', "ports": [1]}, "name 'x"),
        ({"name": "x", "ports": [0]}, "port 0"),
        ({"name": "x", "ports": [65536]}, "port 65536"),
        ({"name": "x", "ports": ["90-80"]}, "port 90-80"),
        ({"name": "x", "ports": ["1; drop"]}, "port '1; drop'"),
        ({"name": "x", "ports": []}, "no ports"),
        ({"name": "x", "ports": [1], "protocol": "vrrp"}, "ports for vrrp"),
        ({"name": "x", "ports": [1], "protocol": "http"}, "protocol http"),
        ({"name": "x", "ports": [1], "from": ["10.0.0.1/8"]}, "has host bits set"),
        ({"name": "x", "ports": [1], "from": ["edge1"]}, "source edge1"),
    ],
)
def test_rule_that_cannot_be_is_refused(rule, words):
    with pytest.raises(AnsibleFilterError, match="docker_host: rule"):
        docker_firewall_rules([rule])
    problems = docker_firewall_problems([rule], "docker_host_firewall_allow")
    assert len(problems) == 1
    assert words in problems[0]
    assert "docker_host_firewall_allow" in problems[0]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        pytest.param(
            [{"name": "a", "ports": [80]}, {"name": "b", "ports": ["79-81"], "from": ["10.0.0.1"]}],
            "rule b of x: found its tcp ports open to everybody by rule a",
            id="wide-first",
        ),
        pytest.param(
            [{"name": "b", "ports": [80], "from": ["10.0.0.1"]}, {"name": "a", "ports": [80]}],
            "rule b of x: found its tcp ports open to everybody by rule a",
            id="wide-last",
        ),
        pytest.param([{"name": "a", "ports": [1]}, {"name": "a", "ports": [2]}], "the name twice", id="name-twice"),
        pytest.param(
            [{"name": "a", "ports": [1], "from": ["0.0.0.0/0", "10.0.0.1"]}], "everybody and single", id="any-and-one"
        ),
    ],
)
def test_rules_that_contradict_are_named(rules, words):
    problems = docker_firewall_problems(rules, "x")
    assert len(problems) == 1
    assert words in problems[0]


def test_rules_side_by_side_are_no_problem():
    rules = [
        {"name": "a", "ports": [80], "from": ["10.0.0.1"]},
        {"name": "b", "ports": [80], "from": ["10.0.0.2"]},
        {"name": "c", "ports": [80], "protocol": "udp"},
    ]
    assert docker_firewall_problems(rules, "x") == []


@pytest.mark.parametrize(
    ("connection", "ssh_from", "rules", "cut"),
    [
        pytest.param("", [], [], False, id="no-ssh"),
        pytest.param("10.0.0.9 4711 10.0.0.1 22", [], [], False, id="default"),
        pytest.param("10.0.0.9 4711 10.0.0.1 2222", [], [], True, id="other-port"),
        pytest.param("10.0.0.9 4711 10.0.0.1 2222", [], [{"name": "s", "ports": [2222]}], False, id="port-declared"),
        pytest.param("10.0.0.9 4711 10.0.0.1 22", ["192.0.2.0/24"], [], True, id="other-source"),
        pytest.param("10.0.0.9 4711 10.0.0.1 22", ["10.0.0.0/24"], [], False, id="source-declared"),
        pytest.param("::ffff:10.0.0.9 4711 ::ffff:10.0.0.1 22", ["10.0.0.0/24"], [], False, id="mapped"),
        pytest.param("fe80::9%eth0 4711 fe80::1%eth0 22", ["fe80::/10"], [], False, id="link-local"),
    ],
)
def test_own_connection_is_never_cut(connection, ssh_from, rules, cut):
    problems = docker_firewall_connection(connection, 22, ssh_from, rules)
    assert bool(problems) is cut
    if cut:
        assert "docker_host_firewall_ssh_port" in problems[0]


def test_trusted_pattern_over_the_way_out_is_named():
    problems = docker_firewall_trusted(["br-lan", "eth0"], ["docker0", "br-*"])
    assert len(problems) == 1
    assert "interface br-lan: found it trusted as 'br-*'" in problems[0]
