# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the host after the role: files, engine, options."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://docker_hosts"]


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("/etc/docker/daemon.json", 0o644),
        ("/etc/evenkeel/firewall.nft", 0o644),
        ("/etc/evenkeel/firewall.d/shop-edge.nft", 0o644),
        ("/usr/local/lib/evenkeel/firewall", 0o755),
        ("/etc/systemd/system/evenkeel-firewall.service", 0o644),
        ("/etc/systemd/system/docker.service.d/50-evenkeel.conf", 0o600),
        ("/var/lib/evenkeel/docker_host", 0o700),
        ("/var/lib/evenkeel/docker_host/installed.json", 0o600),
    ],
)
def test_file_is_root_s_alone(host, path, mode):
    file = host.file(path)
    assert (file.user, file.group, file.mode) == ("root", "root", mode)


@pytest.mark.parametrize("unit", ["docker.service", "evenkeel-firewall.service"])
def test_unit_runs_and_comes_back_after_a_boot(host, unit):
    service = host.service(unit)
    assert service.is_running, host.check_output(f"journalctl --no-pager --lines 30 --unit {unit}")
    assert service.is_enabled


def test_nothing_hinders_the_start_of_services(host):
    assert not host.file("/usr/sbin/policy-rc.d").exists


def test_engine_never_ran_without_its_configuration(host):
    first = host.check_output("journalctl --no-pager --output cat --unit docker.service | grep -m 1 -n 'Starting up'")
    assert first
    networks = json.loads(host.check_output("docker network inspect bridge"))
    assert networks[0]["IPAM"]["Config"][0]["Subnet"] == "172.20.0.0/24"
    assert networks[0]["Options"]["com.docker.network.bridge.enable_icc"] == "false"


@pytest.mark.parametrize(
    ("key", "value"),
    [("LiveRestoreEnabled", True), ("LoggingDriver", "local"), ("DockerRootDir", "/var/lib/docker"), ("Debug", False)],
)
def test_option_is_in_effect(host, key, value):
    assert json.loads(host.check_output("docker info --format json"))[key] == value


def test_keys_of_others_are_kept(host):
    daemon = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert daemon["runtimes"] == {"planted": {"path": "/usr/sbin/runc"}}
    assert daemon["insecure-registries"] == ["registry.example.org:5000"]
    info = json.loads(host.check_output("docker info --format json"))
    assert "planted" in info["Runtimes"]


def test_options_replace_what_was_planted(host):
    daemon = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert daemon["log-driver"] == "local"
    assert daemon["log-opts"] == {"max-file": "5", "max-size": "10m"}
    assert daemon["no-new-privileges"] is True


def test_compose_is_version_2(host):
    assert host.check_output("docker compose version --short").lstrip("v").startswith("2.")


def test_record_names_the_packages_that_came(host):
    record = json.loads(host.file("/var/lib/evenkeel/docker_host/installed.json").content_string)
    assert {"docker.io", "docker-cli", "docker-compose", "containerd", "runc"} <= set(record["packages"])
    assert "python3" not in record["packages"]
