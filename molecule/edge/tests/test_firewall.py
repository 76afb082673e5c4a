# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ports of an edge a neighbour can connect to."""

from __future__ import annotations

import json
import time

import pytest

testinfra_hosts = ["ansible://edge"]
PROGRAM = "/usr/local/lib/evenkeel/firewall"
UNDECLARED = 7777


@pytest.fixture
def reaches(host):
    """Return a function that tells whether the neighbour can connect to a port of the edge."""
    neighbour = host.get_host("ansible://backend", ansible_inventory=host.backend.ansible_inventory)
    found = json.loads(host.check_output("ip -json address show eth0"))[0]["addr_info"]
    addresses = {
        "v4": next(item["local"] for item in found if item["family"] == "inet"),
        "v6": next(item["local"] for item in found if item["family"] == "inet6" and item["scope"] == "global"),
    }

    def reach(port, family="v4"):
        # 0 is a connection, 124 no answer at all: the packet was dropped.
        code = neighbour.run(f"timeout 1 bash -c '</dev/tcp/{addresses[family]}/{port}'").rc
        assert code in (0, 124), f"port {port} over {family} answered with {code}"
        return code == 0

    return reach


@pytest.fixture(autouse=True)
def listener(host):
    """A program on the edge whose port is not declared, on IPv4 and IPv6."""
    host.check_output(
        f"systemd-run --quiet --collect --unit undeclared --working-directory=/run python3 -m http.server {UNDECLARED} --bind ::"
    )
    deadline = time.monotonic() + 10
    while host.run(f"bash -c '</dev/tcp/127.0.0.1/{UNDECLARED}'").rc and time.monotonic() < deadline:
        time.sleep(0.2)
    yield
    host.check_output("systemctl stop undeclared")


def assert_ports(reaches):
    for port, families in ((22, "v4 v6"), (80, "v4 v6"), (443, "v4 v6"), (8081, "v4"), (8405, "v4")):
        for family in families.split():
            assert reaches(port, family), f"port {port} over {family}"
    for family in ("v4", "v6"):
        assert not reaches(UNDECLARED, family), f"the undeclared port over {family}"


def test_only_the_ports_of_an_edge_answer(reaches):
    assert_ports(reaches)


def test_undeclared_port_answers_once_the_firewall_is_gone(host, reaches):
    # The control: without our table the same packets get through.
    host.check_output(f"{PROGRAM} unload")
    try:
        assert all(reaches(UNDECLARED, family) for family in ("v4", "v6"))
    finally:
        host.check_output(f"{PROGRAM} load")
    assert_ports(reaches)


def test_private_ports_are_closed_outside_the_internal_ranges(reaches):
    # The scenario's internal ranges hold no network of v6.
    assert not reaches(8405, "v6")
    assert not reaches(8081, "v6")


def test_flush_by_the_distribution_changes_nothing(host, reaches):
    for verb in ("start", "reload", "restart", "stop"):
        host.check_output("nft add table inet stranger")
        host.check_output(f"systemctl {verb} nftables.service")
        assert "stranger" not in host.check_output("nft list tables"), f"{verb}: the flush did not happen"
        assert_ports(reaches)


def test_boot_brings_the_rules_back(host, reaches):
    assert host.service("evenkeel-firewall").is_enabled
    # What a boot finds: a kernel without rules, and the unit not run yet.
    host.check_output("systemctl stop evenkeel-firewall && nft flush ruleset")
    assert reaches(UNDECLARED)
    host.check_output("systemctl start evenkeel-firewall")
    assert_ports(reaches)


def test_no_engine_came_with_it(host):
    assert not host.file("/etc/systemd/system/docker.service.d").exists
    assert host.run("command -v dockerd").rc != 0


def test_rules_are_root_s_alone(host):
    for path in ("/etc/evenkeel/firewall.nft", "/etc/evenkeel/firewall.d/edge.nft"):
        file = host.file(path)
        assert (file.user, file.mode) == ("root", 0o644)
