# SPDX-License-Identifier: GPL-3.0-or-later
"""What others set up on a host is kept, or refused by name before anything changes."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.filter.docker_daemon import (
    docker_daemon_action,
    docker_daemon_merged,
    docker_host_problems,
)
from ansible_collections.evenkeel.platform.plugins.module_utils import _docker_host_problems as host

WANTED = {"log-driver": "local", "live-restore": True, "data-root": "/var/lib/docker"}
FOREIGN = {"runtimes": {"custom": {"path": "/usr/bin/custom"}}, "insecure-registries": ["registry.example.org:5000"]}
URI = "https://download.docker.com/linux/debian"
OURS = {"path": "/etc/apt/sources.list.d/evenkeel-docker.sources", "uri": URI, "suite": "trixie", "signed_by": "/k.asc"}
OLD = "/etc/apt/sources.list.d/docker.list"


@pytest.mark.parametrize(
    ("present", "written", "chosen", "expected"),
    [
        pytest.param(None, [], [], WANTED, id="no-file"),
        pytest.param(FOREIGN, [], [], {**FOREIGN, **WANTED}, id="foreign-keys-are-kept"),
        pytest.param({**WANTED, "labels": ["a=b"]}, ["labels"], [], WANTED, id="an-option-left-out-since-is-removed"),
        pytest.param({"labels": ["a=b"]}, [], ["labels"], WANTED, id="the-user-emptied-the-option"),
        pytest.param({"log-driver": "journald"}, [], ["log-driver"], WANTED, id="the-user-s-option-wins"),
    ],
)
def test_daemon_json_keeps_what_others_wrote(present, written, chosen, expected):
    assert host.merged_daemon(WANTED, present, written, chosen) == expected


def test_kept_keys_restart_no_engine():
    seen = {"daemon": {**FOREIGN, **WANTED}, "written": None}
    merged = docker_daemon_merged(WANTED, seen, {}, {})
    assert docker_daemon_action(merged, seen["daemon"])["action"] == "none"


@pytest.mark.parametrize(
    ("present", "written", "chosen", "found"),
    [
        pytest.param(None, [], [], [], id="no-file"),
        pytest.param(FOREIGN, [], [], [], id="foreign-keys"),
        pytest.param({"log-driver": "journald"}, ["log-driver"], [], [], id="written-by-the-role"),
        pytest.param({"log-driver": "journald"}, [], ["log-driver"], [], id="set-by-the-user"),
        pytest.param({"log-driver": "local"}, [], [], [], id="same-value"),
        pytest.param(
            {"log-driver": "journald", "data-root": "/mnt/docker"},
            [],
            [],
            ["Set docker_host_daemon.data_root to", "Set docker_host_daemon.log_driver to"],
            id="a-default-replaces-no-foreign-value",
        ),
        pytest.param({"hosts": ["tcp://0.0.0.0:2375"]}, [], [], ["found listeners, need none"], id="listeners"),
        pytest.param({"userns-remap": "default"}, [], [], ["a remapped container cannot read"], id="userns-remap"),
    ],
)
def test_key_that_can_be_neither_kept_nor_replaced_is_named(present, written, chosen, found):
    problems = host.daemon_problems("app1", WANTED, present, written, chosen)
    assert len(problems) == len(found)
    for problem, words in zip(problems, found, strict=True):
        assert words in problem
        assert "app1" in problem


def test_userns_remap_among_the_options_is_refused() -> None:
    seen: dict[str, object] = {"daemon": None, "daemon_text": None, "written": None, "apt_sources": {}, "listening": []}
    problems = docker_host_problems(seen, "app1", {"userns-remap": "default"}, {}, {"userns-remap": "default"})
    assert len(problems) == 1
    assert "docker_host: key 'userns-remap' of app1: found \"default\"" in problems[0]


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"log_max_size": "1m"}, {"log-opts"}),
        ({"log_driver": "local", "default_ulimits": {}}, {"log-driver", "default-ulimits"}),
    ],
)
def test_options_name_the_keys_they_set(options, keys):
    assert host.option_keys(options, {"init": True}) == {*keys, "init"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ""),
        ("", ""),
        ("{}", ""),
        ("{,}", "text that is not JSON"),
        ("[]", "JSON that is not an object"),
    ],
)
def test_daemon_json_that_is_no_object_is_refused(text, words):
    problems = host.daemon_text_problems("app1", text)
    assert len(problems) == bool(words)
    assert all(words in problem for problem in problems)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        pytest.param(
            OLD,
            f"# a comment\ndeb [arch=amd64 signed-by=/old.gpg] {URI}/ trixie stable\n#deb {URI} bookworm stable\n",
            [("trixie", "/old.gpg")],
            id="one-line",
        ),
        pytest.param(OLD, f"deb {URI} trixie stable\n", [("trixie", "")], id="one-line-without-a-key"),
        pytest.param(
            "/etc/apt/sources.list.d/x.sources",
            f"# a comment\nTypes: deb\nURIs: {URI}\nSuites: trixie\n bookworm\nSigned-By:\n /old.gpg\n\n"
            f"Types: deb\nEnabled: no\nURIs: {URI}\nSuites: sid\n",
            [("trixie", "/old.gpg"), ("bookworm", "/old.gpg")],
            id="deb822",
        ),
    ],
)
def test_apt_sources_are_read(path, text, expected):
    found = host.apt_sources(path, text)
    assert [(source["suite"], source["signed_by"]) for source in found] == expected
    assert {source["uri"] for source in found} == {URI}


@pytest.mark.parametrize(
    ("files", "ours", "count"),
    [
        pytest.param({OLD: f"deb [signed-by=/old.gpg] {URI} trixie stable"}, OURS, 1, id="another-key"),
        pytest.param({OLD: f"deb {URI} trixie stable"}, OURS, 1, id="no-key"),
        pytest.param({OLD: f"deb [signed-by=/k.asc] {URI} trixie stable"}, OURS, 0, id="same-key"),
        pytest.param({OLD: f"deb [signed-by=/old.gpg] {URI} bookworm stable"}, OURS, 0, id="another-suite"),
        pytest.param({OLD: f"deb [signed-by=/old.gpg] {URI} trixie stable"}, None, 0, id="alone"),
        pytest.param({OURS["path"]: f"URIs: {URI}\nSuites: trixie\nSigned-By: /former.asc\n"}, OURS, 0, id="own-file"),
        pytest.param(
            {
                OLD: f"deb [signed-by=/old.gpg] {URI} trixie stable",
                "/etc/apt/sources.list": f"deb {URI} trixie stable",
            },
            None,
            1,
            id="two-of-others",
        ),
    ],
)
def test_source_with_another_key_is_named_with_its_file(files, ours, count):
    problems = host.source_problems("app1", files, ours)
    assert len(problems) == count
    for problem in problems:
        assert OLD in problem
        assert f"apt source {URI} trixie of app1" in problem


@pytest.mark.parametrize(
    ("active", "words"),
    [([], []), (["ufw"], ["Run ufw disable"]), (["firewalld", "nftables"], ["Run systemctl disable --now firewalld"])],
)
def test_another_firewall_is_named(active, words):
    problems = host.firewall_problems("app1", active)
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


HELD = {"port": 80, "protocol": "tcp", "address": "0.0.0.0", "program": "apache2", "pid": 7}
WANT = {"port": 80, "programs": ["haproxy"], "setting": "edge_http_port"}


@pytest.mark.parametrize(
    ("want", "held", "found"),
    [
        pytest.param(WANT, HELD, "found it in use by apache2 (process 7), need it free", id="in-use"),
        pytest.param(WANT, {**HELD, "program": ""}, "by an unknown program", id="unknown"),
        pytest.param(WANT, {**HELD, "program": "haproxy"}, "", id="its-own"),
        pytest.param(WANT, {**HELD, "protocol": "udp"}, "", id="other-protocol"),
        pytest.param(WANT, {**HELD, "port": 81}, "", id="other-port"),
        pytest.param({**WANT, "address": "192.0.2.1"}, {**HELD, "address": "127.0.0.1"}, "", id="other-address"),
        pytest.param(
            {**WANT, "address": "192.0.2.1"}, HELD, "Stop apache2, or set edge_http_port.", id="all-addresses"
        ),
    ],
)
def test_port_in_use_is_named_with_its_program(want, held, found):
    problems = host.port_problems("edge", "edge1", [want], [held, held])
    assert len(problems) == bool(found)
    assert all(found in problem for problem in problems)
