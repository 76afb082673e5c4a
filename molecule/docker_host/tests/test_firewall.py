# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports that the neighbour reaches, before and after restarts, flushes and a boot."""

from __future__ import annotations

import subprocess

import pytest

testinfra_hosts = ["ansible://docker_hosts"]
FAMILIES = ["v4", "v6"]
pytestmark = pytest.mark.usefixtures("webs")


def assert_ports(reaches):
    for family in FAMILIES:
        for port, open_ in ((8080, True), (20000, True), (8081, False), (20100, False)):
            assert reaches(port, family) is open_, f"port {port} over {family}"


def pids(host):
    return host.check_output("docker ps --quiet | sort | xargs docker inspect --format '{{.Name}} {{.State.Pid}}'")


def rules(host):
    return sorted(set(host.check_output("iptables-save | grep -e DOCKER -e docker0").splitlines()))


def test_only_declared_ports_answer(reaches):
    assert_ports(reaches)


def test_ports_answer_once_the_firewall_is_gone(host, reaches):
    # Control: without the table, the same packets pass.
    host.check_output("/usr/local/lib/evenkeel/firewall unload")
    try:
        assert all(reaches(8081, family) for family in FAMILIES)
    finally:
        host.check_output("/usr/local/lib/evenkeel/firewall load")
    assert_ports(reaches)


def test_neighbour_cannot_route_to_a_container(host, prober, addresses, reaches):
    container = host.check_output("docker inspect --format '{{.NetworkSettings.IPAddress}}' undeclared")
    prober.check_output(f"ip route replace {container}/32 via {addresses['v4']}")
    try:
        assert not reaches(80, address=container)
        host.check_output("/usr/local/lib/evenkeel/firewall unload")
        assert reaches(80, address=container)
    finally:
        host.check_output("/usr/local/lib/evenkeel/firewall load")
        prober.check_output(f"ip route delete {container}/32")


@pytest.mark.parametrize("family", FAMILIES)
def test_port_of_a_program_on_the_host_is_refused(host, prober, addresses, family):
    host.check_output("systemd-run --quiet --unit listener busybox nc -ll -p 7777 -e /bin/true")
    try:
        address = addresses[family]
        assert prober.run(f"timeout 1 bash -c '</dev/tcp/{address}/7777'").rc == 124
    finally:
        host.check_output("systemctl stop listener")


@pytest.mark.parametrize("family", FAMILIES)
def test_host_answers_ping_and_ssh(prober, addresses, family):
    assert prober.run(f"ping -c 1 -W 10 {addresses[family]}").rc == 0
    assert prober.run(f"timeout 20 bash -c '</dev/tcp/{addresses[family]}/22'").rc == 0


def test_source_that_is_not_declared_is_refused(prober, addresses, reaches):
    prober.check_output("ip address add 10.232.0.120/24 dev eth0")
    try:
        url = f"http://{addresses['v4']}:20000/"
        assert prober.run(f"curl --silent --connect-timeout 2 --interface 10.232.0.120 {url}").rc == 28
        assert reaches(20000)
    finally:
        prober.check_output("ip address delete 10.232.0.120/24 dev eth0")


def test_refused_packets_are_counted(host, reaches):
    def count():
        return int(
            host.check_output("nft list counter inet evenkeel refused | grep -o 'packets [0-9]*' | cut -d' ' -f2")
        )

    before = count()
    assert not reaches(8081)
    assert count() > before


def test_restart_of_the_engine_changes_nothing(host, reaches):
    before = pids(host)
    host.check_output("systemctl restart docker.service")
    assert_ports(reaches)
    assert pids(host) == before


@pytest.mark.parametrize("verb", ["start", "reload", "restart", "stop"])
def test_flush_by_the_distribution_changes_nothing(host, reaches, verb):
    host.check_output("nft add table inet stranger")
    before, nat = pids(host), rules(host)
    engine = host.check_output("systemctl show docker --property MainPID --value")
    host.check_output(f"systemctl {verb} nftables.service")
    assert "stranger" not in host.check_output("nft list tables"), "the flush did not happen"
    assert_ports(reaches)
    assert rules(host) == nat, "the engine's own rules did not come back"
    assert (pids(host), host.check_output("systemctl show docker --property MainPID --value")) == (before, engine)


def test_rules_of_others_survive_a_load(host):
    host.check_output("nft add table inet stranger")
    host.check_output("/usr/local/lib/evenkeel/firewall load")
    assert "table inet stranger" in host.check_output("nft list tables")
    host.check_output("nft delete table inet stranger")


def test_load_of_what_is_loaded_does_nothing(host):
    assert host.check_output("/usr/local/lib/evenkeel/firewall load --if-changed") == "unchanged"
    host.check_output("nft delete table inet evenkeel")
    assert host.check_output("/usr/local/lib/evenkeel/firewall load --if-changed") == "loaded"


def test_broken_rules_leave_the_kernel_as_it_is(host, reaches):
    broken = "/etc/evenkeel/firewall.d/broken.nft"
    host.check_output(f"echo 'table inet evenkeel {{ chain allowed {{ nonsense }} }}' >{broken}")
    try:
        assert host.run("systemctl reload evenkeel-firewall").rc != 0
        assert_ports(reaches)
    finally:
        host.check_output(f"rm {broken}")


@pytest.fixture
def boot(until):
    """Return a function that boots the host: empty nftables, a new systemd."""
    name = "evenkeel-mol-docker-host-docker-host"

    def run():
        subprocess.run(["docker", "restart", name], check=True, capture_output=True)
        state = ["docker", "exec", name, "systemctl", "is-system-running"]
        assert until(
            lambda: subprocess.run(state, capture_output=True, text=True, check=False).stdout.strip() == "running", 60
        )

    return run


def test_boot_changes_nothing(host, boot, webs, until, request):
    boot()
    assert host.check_output("systemctl is-active evenkeel-firewall docker").split() == ["active", "active"]
    assert until(lambda: len(host.check_output("docker ps --quiet").split()) == len(webs))
    # Requested only now, because the address may change at boot.
    assert_ports(request.getfixturevalue("reaches"))
