# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rules the firewall's program takes for the engine's, and what it loads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles" / "docker_host" / "files" / "firewall.py"
# iptables-save beside docker.io 26.1.5 with one container on docker0 and a bridge with a name of its own.
ENGINE = """\
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i shopnet ! -o shopnet -j ACCEPT
-A DOCKER -d 172.20.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -i shopnet ! -o shopnet -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-USER -i eth1 -j DROP
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -s 172.20.0.0/24 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.20.1.0/24 ! -o br-0123456789ab -j MASQUERADE
-A POSTROUTING -s 172.20.0.2/32 -d 172.20.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.20.0.2:80"""
OTHERS = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -i eth0 -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -i eth1 -o eth0 -j ACCEPT
-A FORWARD -i br-lan -j ACCEPT
-A INPUT -m comment --comment DOCKER -j ACCEPT
COMMIT
*nat
-A POSTROUTING -s 10.0.0.0/8 -o eth0 -j MASQUERADE
-A POSTROUTING -s 10.0.0.1/32 -d 10.0.0.2/32 -j MASQUERADE
COMMIT"""


@pytest.fixture(scope="module")
def firewall() -> ModuleType:
    """Return the program as a module."""
    spec = importlib.util.spec_from_file_location("docker_host_firewall", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_engine_lines_are_told_from_those_of_others(firewall):
    everything = (OTHERS + "\n" + ENGINE).splitlines()
    assert firewall.engine_lines(everything) == ENGINE.splitlines()


@pytest.mark.parametrize("line", OTHERS.splitlines())
def test_line_of_others_is_left_alone(firewall, line):
    assert firewall.engine_lines([line]) == []


def test_transaction_replaces_our_table_only(firewall):
    text = firewall.transaction("table inet evenkeel { }")
    assert text.startswith("table inet evenkeel\ndelete table inet evenkeel\n")
    assert "flush" not in text


def test_rules_of_the_distribution_come_first_in_the_same_transaction(firewall):
    text = firewall.transaction("rules", after="/etc/nftables.conf")
    assert text.index('include "/etc/nftables.conf"') < text.index("delete table inet evenkeel") < text.index("rules")


def test_mark_follows_the_rules(firewall):
    assert firewall.checksum("a") != firewall.checksum("b")
    assert firewall.checksum("a") in firewall.transaction("a")


def test_files_are_read_in_the_order_of_their_names(firewall, tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    for name, content in (("d/b.nft", "second"), ("d/a.nft", "first"), ("d/c.txt", "never"), ("rules", "base")):
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(firewall, "RULES", tmp_path / "rules")
    monkeypatch.setattr(firewall, "FRAGMENTS", tmp_path / "d")
    assert firewall.rules_text() == "base\nfirst\nsecond"
