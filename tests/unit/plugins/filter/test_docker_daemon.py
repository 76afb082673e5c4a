# SPDX-License-Identifier: GPL-3.0-or-later
"""Content of daemon.json, and the action that a change needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.filter.docker_daemon import (
    docker_daemon,
    docker_daemon_action,
    docker_daemon_problems,
)

GOOD = {"log_driver": "local", "log_max_size": "10m", "log_max_file": 5, "live_restore": True}


@pytest.mark.parametrize(
    ("options", "extra", "expected"),
    [
        pytest.param({}, {}, {}, id="nothing"),
        pytest.param(
            GOOD,
            {},
            {"log-driver": "local", "log-opts": {"max-size": "10m", "max-file": "5"}, "live-restore": True},
            id="sizes-become-text",
        ),
        pytest.param(
            {"log_driver": "journald", "log_max_size": "10m", "log_options": {"tag": 1}},
            {},
            {"log-driver": "journald", "log-opts": {"tag": "1"}},
            id="no-size-for-a-driver-without",
        ),
        pytest.param({"bip": "", "dns": [], "mtu": None, "default_ulimits": {}}, {}, {}, id="empty-is-not-written"),
        pytest.param({"debug": False}, {}, {"debug": False}, id="false-is-written"),
        pytest.param({"userland_proxy": True}, {}, {}, id="true-would-stop-every-reload"),
        pytest.param({"userland_proxy": False}, {}, {"userland-proxy": False}, id="no-userland-proxy"),
        pytest.param(
            {"default_ulimits": {"nofile": {"soft": "1024", "hard": 2048}}},
            {},
            {"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}}},
            id="limits-in-the-engine-s-form",
        ),
        pytest.param({"icc": False}, {"seccomp-profile": "x"}, {"icc": False, "seccomp-profile": "x"}, id="extra"),
    ],
)
def test_options_become_keys(options, extra, expected):
    assert docker_daemon(options, extra) == expected


def test_options_that_are_no_dictionary_are_refused():
    with pytest.raises(AnsibleFilterError, match="must be dictionaries"):
        docker_daemon(["debug"])  # type: ignore[arg-type]  # the refusal is tested


@pytest.mark.parametrize(
    ("wanted", "started", "loaded", "action"),
    [
        pytest.param({"debug": True}, {"debug": True}, None, "none", id="same"),
        pytest.param({"debug": True}, {"debug": False}, None, "reload", id="reloadable"),
        pytest.param({"debug": True}, {"debug": False}, {"debug": True}, "none", id="reloaded-since"),
        pytest.param({"icc": False}, {"icc": True}, None, "restart", id="not-reloadable"),
        pytest.param({"icc": False}, {"icc": True}, {"icc": False}, "restart", id="reload-did-not-do-it"),
        pytest.param({"icc": False, "debug": True}, {}, None, "restart", id="both"),
        pytest.param({}, {"labels": ["a=b"]}, None, "restart", id="reload-keeps-a-key-that-vanished"),
        pytest.param({}, {"bip": "10.0.0.1/24"}, None, "restart", id="other-key-vanished"),
        pytest.param({"labels": []}, None, None, "reload", id="nothing-known"),
    ],
)
def test_action_fits_the_change(wanted, started, loaded, action):
    assert docker_daemon_action(wanted, started, loaded)["action"] == action


def test_action_names_the_keys():
    change = docker_daemon_action({"icc": False, "debug": True}, {"icc": True, "bip": "10.0.0.1/24"})
    assert change == {"action": "restart", "restart": ["bip", "icc"], "reload": ["debug"]}


def test_good_options_have_no_problem():
    pools = [{"base": "172.20.0.0/14", "size": 24}, {"base": "fd00::/56", "size": 64}]
    assert docker_daemon_problems({**GOOD, "default_address_pools": pools}, {"init": True}, ["10.0.0.0/8"]) == []


@pytest.mark.parametrize(
    ("options", "extra", "source", "words"),
    [
        pytest.param({}, {"log_level": "warn"}, "", "Write 'log-level'.", id="underscore"),
        pytest.param({}, {"live-restore": False}, "", "one place for it", id="twice"),
        pytest.param({}, {"hosts": ["fd://"]}, "", "the unit already passes --host", id="hosts"),
        pytest.param({}, {"swarm-default-advertise-addr": "eth0"}, "", "false in a swarm", id="swarm"),
        pytest.param({"ip6tables": True}, {}, "distribution", "older than 27", id="ip6tables"),
        pytest.param({"fixed_cidr_v6": "fd00::/64"}, {}, "", "ipv6 true", id="ipv6"),
        pytest.param({"log_driver": "none", "log_options": {"a": 1}}, {}, "", "driver none", id="log-none"),
        pytest.param({"log_max_size": ""}, {}, "", "can fill the disk", id="log-without-size"),
        pytest.param({"data_root": "docker"}, {}, "", "absolute folder", id="relative-folder"),
        pytest.param({"default_address_pools": [{"base": "x", "size": 24}]}, {}, "", "a network such as", id="no-net"),
        pytest.param(
            {"default_address_pools": [{"base": "172.20.0.0/16", "size": 8}]}, {}, "", "from 16 to 30", id="size"
        ),
        pytest.param(
            {"default_address_pools": [{"base": "172.20.0.0/16", "size": 24}, {"base": "172.20.1.0/24", "size": 26}]},
            {},
            "",
            "overlap with pool 172.20.0.0/16",
            id="overlap",
        ),
        pytest.param(
            {"default_address_pools": [{"base": "10.0.0.0/8", "size": 24}]}, {}, "", "10.1.0.0/24 in use", id="in-use"
        ),
    ],
)
def test_contradiction_is_named(options, extra, source, words):
    problems = docker_daemon_problems({**GOOD, **options}, extra, ["10.1.0.0/24"], source)
    assert len(problems) == 1
    assert words in problems[0]
    assert problems[0].startswith("docker_host: ")


def test_defaults_of_the_role_equal_its_specs():
    role = Path(__file__).resolve().parents[4] / "roles" / "docker_host"
    defaults = yaml.safe_load((role / "vars" / "main.yml").read_text(encoding="utf-8"))["__docker_host_daemon_defaults"]
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]["docker_host_daemon"]["options"]
    assert {name: option.get("default") for name, option in options.items()} == defaults
