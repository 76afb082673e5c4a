# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of all machines."""

from __future__ import annotations

import pytest


def test_systemd_runs_without_a_failed_unit(host):
    assert host.check_output("systemctl is-system-running") == "running"


def test_package_came_through_the_cache(host):
    assert host.package("jq").is_installed


def test_planted_file_was_put_right(host):
    motd = host.file("/etc/motd")
    assert motd.mode == 0o644
    assert motd.content_string == "a machine of the lab\n"


@pytest.mark.parametrize("address", ["198.51.100.1", "2001:db8::1"])
def test_no_packet_finds_a_way_out(host, address):
    answer = host.run(f"ping -c 1 -W 1 {address}")
    assert answer.rc == 2
    assert "unreachable" in answer.stderr


@pytest.mark.parametrize("key", ["vm.swappiness", "kernel.panic"])
def test_settings_of_the_machine_are_out_of_reach(host, key):
    assert host.run(f"sysctl -w {key}=7").rc != 0


def test_hosts_know_each_other(host):
    own = host.check_output("hostname")
    other = {"bare": "docker", "docker": "bare"}[own]
    assert host.run(f"ping -c 1 -W 1 {other}").rc == 0
