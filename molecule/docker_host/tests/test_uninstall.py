# SPDX-License-Identifier: GPL-3.0-or-later
"""Remaining files after the uninstallation. Runs last, because it stops the engine."""

from __future__ import annotations

import json

testinfra_hosts = ["ansible://docker_hosts"]
PLACES = [
    "/etc/evenkeel",
    "/usr/local/lib/evenkeel",
    "/var/lib/evenkeel",
    "/run/evenkeel-docker",
    "/run/docker.sock",
    "/etc/systemd/system/docker.service.d",
    "/etc/systemd/system/nftables.service.d",
    "/etc/systemd/system/evenkeel-firewall.service",
    "/etc/systemd/system/sysinit.target.wants/evenkeel-firewall.service",
    "/etc/systemd/system/evenkeel-docker-prune.timer",
    "/etc/apt/preferences.d/evenkeel-docker",
    "/usr/sbin/dockerd",
    "/usr/bin/containerd",
    "/usr/bin/runc",
    "/usr/libexec/docker",
]


def test_name_of_another_host_deletes_nothing(host, webs, run_role):
    answer = run_role({"docker_host_uninstall_purge": "another-host"}, playbook="uninstall.yml")
    assert answer.returncode != 0
    assert "docker_host: purge of docker-host: found another-host, need the host's own name." in answer.stdout
    assert len(host.check_output("docker ps --quiet").split()) == len(webs)


def test_nothing_is_left_but_the_data(host, webs, reaches, run_role):
    assert not reaches(8081)
    host.check_output("iptables -t nat -N STRANGER")
    image = host.check_output("docker image inspect --format '{{.Id}}' evenkeel-test/web")
    answer = run_role({}, playbook="uninstall.yml")
    assert answer.returncode == 0, answer.stdout
    assert [place for place in PLACES if host.file(place).exists] == []
    daemon = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert {"insecure-registries", "runtimes"} <= set(daemon)
    assert "log-driver" not in daemon
    assert host.run("getent group docker").rc == 2
    assert host.run("pgrep -x containerd-shim").rc == 1
    assert host.check_output("nft list ruleset | grep -ci -e docker -e evenkeel || true") == "0"
    assert "STRANGER" in host.check_output("nft list table ip nat")
    assert host.run("ip link show docker0").rc != 0
    assert host.file(f"/var/lib/docker/image/overlay2/imagedb/content/sha256/{image.split(':')[1]}").exists
    assert host.check_output("systemctl is-system-running") == "running"


def test_second_uninstall_with_the_host_s_name_deletes_the_data(host, run_role):
    answer = run_role({"docker_host_uninstall_purge": "docker-host"}, playbook="uninstall.yml")
    assert answer.returncode == 0, answer.stdout
    # The folder itself is a mount.
    assert host.run("find /var/lib/docker -mindepth 1 | grep .").rc == 1
