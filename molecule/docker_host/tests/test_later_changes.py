# SPDX-License-Identifier: GPL-3.0-or-later
"""Later runs with other options, on a running engine."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["ansible://docker_hosts"]
pytestmark = pytest.mark.usefixtures("webs")
STAGES = "docker_host_configure,docker_host_service"


def state(host):
    pid = host.check_output("systemctl show docker --property MainPID --value")
    containers = host.check_output(
        "docker ps --quiet | sort | xargs docker inspect --format '{{.Name}} {{.State.Pid}}'"
    )
    return pid, containers, host.file("/etc/docker/daemon.json").content_string


def info(host):
    return json.loads(host.check_output("docker info --format json"))


def test_change_the_engine_can_learn_restarts_nothing(host, run_role):
    pid, containers, _ = state(host)
    answer = run_role({"docker_host_daemon": {"debug": True, "labels": ["rack=7"]}}, tags=STAGES)
    assert answer.returncode == 0, answer.stdout
    assert state(host)[:2] == (pid, containers)
    assert (info(host)["Debug"], info(host)["Labels"]) == (True, ["rack=7"])


def test_change_the_engine_gives_up_is_made_by_a_restart(host, run_role):
    # With this key, engine 26 refuses a reload, with an error in its log.
    pid, containers, _ = state(host)
    options = {"docker_host_daemon_extra": {"userland-proxy": True}}
    assert run_role(options, tags=STAGES).returncode == 0
    options["docker_host_daemon"] = {"labels": ["rack=8"]}
    answer = run_role(options, tags=STAGES)
    assert answer.returncode == 0, answer.stdout
    assert info(host)["Labels"] == ["rack=8"]
    assert state(host)[1] == containers
    assert state(host)[0] != pid


@pytest.mark.long
def test_run_that_broke_off_before_the_restart_is_mended(host, run_role):
    pid, containers, _ = state(host)
    wanted = {"docker_host_daemon": {"log_max_size": "11m"}}
    answer = run_role(wanted, tags="docker_host_configure")
    assert answer.returncode == 0, answer.stdout
    assert state(host)[0] == pid
    answer = run_role(wanted, tags=STAGES)
    assert answer.returncode == 0, answer.stdout
    assert state(host)[0] != pid
    assert state(host)[1] == containers
    assert info(host)["Debug"] is False


def test_key_the_engine_does_not_know_is_refused(host, run_role):
    before = state(host)
    answer = run_role({"docker_host_daemon_extra": {"no-such-key": 1}}, tags=STAGES)
    assert answer.returncode != 0
    assert "docker_host: daemon.json of docker-host: found" in answer.stdout
    assert "no-such-key" in answer.stdout
    assert state(host) == before


def test_configuration_the_engine_does_not_start_with_is_put_back(host, run_role):
    _, containers, daemon = state(host)
    answer = run_role({"docker_host_daemon_extra": {"cgroup-parent": "x", "storage-driver": "vfs9"}}, tags=STAGES)
    assert answer.returncode != 0
    assert "need one it starts with" in answer.stdout
    now = state(host)
    assert now[1] == containers
    assert json.loads(now[2]) == json.loads(daemon)
    assert host.service("docker").is_running


def test_every_problem_is_named_at_once(host, run_role):
    before = state(host)
    answer = run_role(
        {
            "docker_host_prot": 1,
            "docker_host_minimum_free_gb": 1000000,
            "docker_host_daemon": {"default_address_pools": [{"base": "10.232.0.0/16", "size": 24}]},
            "docker_host_firewall_allow": [{"name": "web", "ports": ["90-80"], "from": ["10.0.0.1/8"]}],
        },
        tags="docker_host_preflight",
    )
    assert answer.returncode != 0
    for sentence in (
        "unknown option on docker_host_prot",
        "docker_host: free space below",
        "docker_host: address pool 10.232.0.0/16: found 10.232.0.0/24 in use",
        "docker_host: rule web of docker_host_firewall_allow: found port 90-80",
    ):
        assert sentence in answer.stdout
    assert state(host) == before


@pytest.fixture
def others(host):
    """Create conflicting settings of other programs and administrators."""
    daemon = host.file("/etc/docker/daemon.json").content_string
    sources = "/etc/apt/sources.list.d/docker.list"
    url = "http://repository.example.org/linux/debian"
    host.check_output(f"""
        set -e
        echo 'deb [signed-by=/old.gpg] {url} trixie stable' >{sources}
        echo 'deb {url} trixie test' >>{sources}
        mkdir -p /etc/ufw && echo ENABLED=yes >/etc/ufw/ufw.conf && touch /usr/sbin/ufw
        systemd-run --quiet --unit listener busybox nc -ll -p 9323 -e /bin/true
    """)
    host.check_output("echo %s >/etc/docker/daemon.json", json.dumps({**json.loads(daemon), "userns-remap": "default"}))
    yield
    host.check_output(f"systemctl stop listener; rm -r {sources} /etc/ufw /usr/sbin/ufw")
    host.check_output("echo %s >/etc/docker/daemon.json", daemon)


def test_what_others_set_up_is_refused_by_name(host, run_role, others):
    before = state(host)
    answer = run_role({"docker_host_daemon": {"metrics_addr": "127.0.0.1:9323"}}, tags="docker_host_preflight")
    assert answer.returncode != 0
    for sentence in (
        "need key /old.gpg as in /etc/apt/sources.list.d/docker.list",
        "docker_host: key 'userns-remap' of docker-host: found",
        "docker_host: firewall of docker-host: found ufw switched on",
        "docker_host: tcp port 9323 of docker-host: found it in use by busybox",
    ):
        assert sentence in answer.stdout
    assert state(host) == before


@pytest.mark.long
def test_key_that_somebody_adds_later_is_kept(host, run_role):
    path = "/etc/docker/daemon.json"
    assert run_role({}, tags=STAGES).returncode == 0
    daemon = json.loads(host.file(path).content_string)
    host.check_output(f"echo %s >{path}", json.dumps({**daemon, "max-download-attempts": 7}))
    pid, containers, _ = state(host)
    answer = run_role({}, tags=STAGES)
    assert answer.returncode == 0, answer.stdout
    assert json.loads(host.file(path).content_string)["max-download-attempts"] == 7
    assert state(host)[1] == containers
    assert state(host)[0] == pid
