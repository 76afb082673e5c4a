# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option takes effect."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://docker_hosts"]
HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize(
    ("package", "version"),
    [
        ("docker-ce", "5:28.1.0-1"),
        ("docker-ce-cli", "5:28.1.0-1"),
        ("docker-compose-plugin", "2.30.0-1"),
        ("containerd.io", "1.7.99-1"),
    ],
)
def test_package_is_pinned_and_held(host, package, version):
    assert host.check_output(f"dpkg-query --show --showformat '${{Version}} ${{db:Status-Want}}' {package}") == (
        f"{version} hold"
    )
    assert f"Candidate: {version}" in host.check_output(f"apt-cache policy {package}")


def test_further_package_is_there(host):
    assert host.package("jq").is_installed


def test_source_is_signed_by_the_key_and_no_other(host):
    source = host.file("/etc/apt/sources.list.d/evenkeel-docker.sources").content_string
    assert "Signed-By: /etc/apt/keyrings/evenkeel-docker.asc" in source
    assert "Components: test" in source


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LiveRestoreEnabled", False),
        ("LoggingDriver", "json-file"),
        ("DockerRootDir", "/var/lib/docker/data"),
        ("Debug", True),
        ("Labels", ["rack=7"]),
        ("HttpsProxy", "http://xxxxx:xxxxx@proxy.example.org:3128"),
    ],
)
def test_option_is_in_effect(host, key, value):
    info = json.loads(host.check_output("docker info --format json"))
    if key == "HttpsProxy":
        assert "proxy.example.org:3128" in info[key]
    else:
        assert info[key] == value


def test_bridge_has_its_networks(host):
    bridge = json.loads(host.check_output("docker network inspect bridge"))[0]
    assert {config["Subnet"] for config in bridge["IPAM"]["Config"]} == {"172.27.0.0/24", "fd00:27::/64"}
    assert bridge["Options"]["com.docker.network.driver.mtu"] == "1400"


def test_unit_has_its_options(host):
    shown = host.check_output("systemctl show docker.service --property LimitNOFILE --property Environment")
    assert "LimitNOFILE=4096" in shown
    assert "user:50%@proxy" in shown


def test_firewall_has_its_rules(host):
    rules = host.check_output("nft list table inet evenkeel")
    for line in (
        "ip saddr 10.232.0.0/16 tcp dport 2222",
        "ip saddr 192.0.2.0/24 meta l4proto 112",
        "ip6 saddr 2001:db8::/64 udp dport 9100",
        'log prefix "evenkeel refused: "',
    ):
        assert line in rules or line.replace("112", "vrrp") in rules
    assert "br-*" not in rules


def test_timer_prunes(host):
    assert host.service("evenkeel-docker-prune.timer").is_enabled
    assert host.service("evenkeel-docker-prune.timer").is_running
    assert "05:00:00" in host.check_output("systemctl show evenkeel-docker-prune.timer --property TimersCalendar")
    host.check_output("systemctl start evenkeel-docker-prune.service")


def run(options, tags):
    argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(HERE.parent / "converge.yml")]
    argv += ["--extra-vars", json.dumps(options), "--tags", tags]
    answer = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    answer.stdout = " ".join(answer.stdout.split())
    return answer


def test_source_with_another_key_is_refused(host):
    path = "/etc/apt/sources.list.d/docker.list"
    suite = host.check_output(". /etc/os-release; echo $VERSION_CODENAME")
    host.check_output(f"echo 'deb [signed-by=/old.gpg] http://mirror/linux/debian {suite} test' >{path}")
    try:
        answer = run({}, "docker_host_preflight")
    finally:
        host.check_output(f"rm {path}")
    assert answer.returncode != 0
    assert f"found key /old.gpg in {path}" in answer.stdout


def test_key_with_another_fingerprint_is_refused(host):
    wrong = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
    answer = run({"docker_host_repository_key_fingerprint": wrong}, "docker_host_install")
    assert answer.returncode != 0
    assert f"need {wrong} alone" in answer.stdout


def test_firewall_can_be_taken_away(host):
    answer = run({"docker_host_firewall_enabled": False}, "docker_host_configure,docker_host_service")
    assert answer.returncode == 0, answer.stdout
    assert "evenkeel" not in host.check_output("nft list tables")
    assert not host.file("/etc/systemd/system/docker.service.d/60-evenkeel-firewall.conf").exists
    host.check_output("systemctl restart docker.service")
