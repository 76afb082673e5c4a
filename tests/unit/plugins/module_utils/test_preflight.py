# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a whole run cannot agree on is named in one sentence each, and what it can is left in peace."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _model, _preflight
from ansible_collections.evenkeel.platform.plugins.module_utils._preflight import Claim
from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import fits

GROUPS = {
    "all": ["edge1", "app1", "data1", "data2", "ops1"],
    "edge": ["edge1"],
    "app": ["app1"],
    "data": ["data1", "data2"],
    "data_replica": ["data2"],
    "ops": ["ops1"],
}


@pytest.mark.parametrize(
    ("host", "options", "roles"),
    [
        ("edge1", [], ["edge", "app_deploy"]),
        ("app1", [], ["docker_host", "app_deploy"]),
        ("data2", [], ["docker_host", "compose_stack"]),
        ("ops1", ["monitoring_receivers"], ["docker_host", "monitoring"]),
        ("edge1", ["postgres_backup_drills"], ["edge", "app_deploy", "postgres_backup"]),
        ("new1", [], []),
    ],
)
def test_a_host_has_the_roles_of_its_groups(host, options, roles):
    assert _preflight.roles_of(host, GROUPS, options) == roles


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (["e1", "e2", "a1"], ""),
        (["e1", "a1"], "need also e2,"),
        (["a1"], "need also e1, e2,"),
        (["d1", "e1"], "need also e2, a1,"),
        (["d1"], ""),
        ([], ""),
    ],
    ids=["all", "an edge", "no edge", "an edge alone", "none of them", "no host"],
)
def test_a_limit_leaves_out_none_or_all(present, missing):
    found = _preflight.limit_problems(present, ["e1", "e2"], ["a1"], "e1", "app_deploy")
    assert len(found) == bool(missing)
    assert all(missing in one and one.endswith("Take --limit away, or add them to it.") for one in found)


def test_a_record_host_of_its_own_belongs_to_every_run():
    assert _preflight.limit_problems(["e1", "a1", "r1"], ["e1"], ["a1"], "r1") == []
    assert "need also r1," in _preflight.limit_problems(["e1", "a1"], ["e1"], ["a1"], "r1")[0]


def test_each_unreachable_host_is_named_with_its_reason():
    found = _preflight.reach_problems({"app2": "connection refused", "app3": "no route to host"})
    assert [one.split(": ")[1] for one in found] == ["host app2", "host app3"]
    assert "(connection refused)" in found[0]
    assert "edge_out" not in str(found)
    assert "-e edge_out=e2." in _preflight.reach_problems({"e2": "no route"}, ["e1", "e2"])[0]
    assert "edge_out" not in _preflight.reach_problems({"e1": "no route"}, ["e1"])[0]


@pytest.mark.parametrize(
    ("private", "held", "sentences"),
    [
        ({"a": "192.0.2.1", "b": "192.0.2.2"}, {"a": ["192.0.2.1"], "b": ["192.0.2.2", "fe80::1"]}, []),
        ({"a": "192.0.2.1", "b": "192.0.2.1"}, {}, ["hosts a, b: found 192.0.2.1 on each"]),
        ({"a": "192.0.2.1"}, {"a": ["192.0.2.9", "fe80::1"]}, ["need one of 192.0.2.9."]),
        ({"a": "192.0.2.1"}, {}, []),
        ({"a": "2001:DB8:0::1", "b": "2001:db8::1"}, {}, ["hosts a, b: found 2001:db8::1 on each"]),
        ({"a": "app1.example"}, {"a": ["192.0.2.1"]}, ["found app1.example, need an IP address"]),
        ({"a": ""}, {"a": ["192.0.2.1"]}, []),
    ],
)
def test_addresses_are_of_one_host_that_holds_them(private, held, sentences):
    found = _preflight.address_problems(private, held)
    assert len(found) == len(sentences)
    assert all(sentence in one for sentence, one in zip(sentences, found, strict=True))


@pytest.mark.parametrize(("version", "count"), [("3.9.2", 1), ("3.10.12", 1), ("3.11.2", 0), ("3.13.5", 0)])
def test_an_old_python_is_named(version, count):
    assert len(_preflight.python_problems("a", {"python": version})) == count


def test_a_host_without_systemd_is_named():
    assert _preflight.systemd_problems("a", {"systemd": True}) == []
    assert "need systemd" in _preflight.systemd_problems("a", {"systemd": False})[0]


EDGE = Claim("the edge", 443, 443, "0.0.0.0", _preflight.EDGE, "Set edge_https_port.")
APP = Claim("app shop", 20000, 20099, "192.0.2.1", _preflight.ENGINE, "Set port_base of the app.")


def heard(port, program, address="0.0.0.0", protocol="tcp"):
    return {"protocol": protocol, "address": address, "port": port, "program": program, "pid": 7}


@pytest.mark.parametrize(
    ("claims", "listening", "sentences"),
    [
        ([EDGE, APP], [heard(443, "haproxy"), heard(20001, "docker-proxy"), heard(22, "sshd")], []),
        ([EDGE], [heard(443, "nginx")], ["port 443 of host a: found nginx (pid 7) listening on it"]),
        ([EDGE], [heard(443, "nginx", "127.0.0.1")], ["found nginx (pid 7)"]),
        ([EDGE], [heard(443, "nginx", protocol="udp")], []),
        ([APP], [heard(20050, "java", "192.0.2.1")], ["port 20050 of host a: found java"]),
        ([APP], [heard(20050, "java", "127.0.0.1")], []),
        ([APP], [heard(20100, "java")], []),
        ([APP], [heard(20050, "")], ["found a program that cannot be seen"]),
        ([APP._replace(programs=())], [heard(20001, "docker-proxy")], ["found docker-proxy"]),
        ([EDGE], [heard(443, "nginx"), heard(443, "nginx", "::")], ["found nginx"]),
        (
            [EDGE],
            [{**heard(443, "docker-proxy"), "container": "old-web"}],
            [
                "found container old-web (docker-proxy, pid 7) listening on it, need it free for the edge. Stop container"
            ],
        ),
        ([EDGE, APP._replace(first=400, last=500)], [], ["port 443 of host a: found it wanted by the edge and by app"]),
        ([EDGE._replace(address="192.0.2.2"), APP._replace(first=400, last=500)], [], []),
        # The edge's own check names this.
        ([EDGE, EDGE._replace(owner="the edge (edge_preview_port)")], [], []),
    ],
    ids=[
        "ours",
        "another program",
        "on one address of all",
        "another protocol",
        "within a range",
        "another address",
        "behind the range",
        "a program nobody sees",
        "a container of somebody else",
        "once for both families",
        "a container that Docker knows",
        "two of ours",
        "two of ours apart",
        "two of the edge",
    ],
)
def test_ports_are_free_for_ours(claims, listening, sentences):
    found = _preflight.port_problems("a", claims, listening)
    assert len(found) == len(sentences), found
    assert all(sentence in one for sentence, one in zip(sentences, found, strict=True))


def test_a_public_name_has_one_owner_over_all_inventories():
    apps = {"shop": ["shop.test"], "bot": []}
    held = {"edge1": {"shop": ["shop.test"], "blog": ["blog.test"]}, "edge2": {"bot": ["shop.test"]}}
    assert _preflight.name_problems(apps, held) == []
    held["edge2"]["blog"] = ["shop.test"]
    found = _preflight.name_problems(apps, held)
    assert len(found) == 1
    assert "public name shop.test of app shop: found it routed for app blog" in found[0]
    assert "on edge2" in found[0]


def test_only_an_edge_is_declared_out():
    assert _preflight.out_problems(["edge1"], ["edge1", "edge2"]) == []
    assert _preflight.out_problems(["edge9"], ["edge1", "edge2"]) == [
        "app_deploy: edge_out: found edge9, need one of edge1, edge2. Set edge_out to an edge."
    ]


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("8080", ("", "", "8080", "tcp")),
        ("80:8080", ("", "80", "8080", "tcp")),
        ("192.0.2.1:80:8080", ("192.0.2.1", "80", "8080", "tcp")),
        ("192.0.2.1::8080/udp", ("192.0.2.1", "", "8080", "udp")),
        ("[::1]:80:8080", ("::1", "80", "8080", "tcp")),
        ("3000-3005:3000-3005", ("", "3000-3005", "3000-3005", "tcp")),
    ],
)
def test_short_ports_are_read_as_compose_does(text, port):
    found = _preflight.short_port(text)
    assert (found["host_ip"], found["published"], found["target"], found["protocol"]) == port


def test_published_ports_of_both_forms():
    ports = ["192.0.2.1:80:8080", {"published": "90", "target": 9000, "protocol": "udp"}, "3000-3005:3000-3005", "8080"]
    assert _preflight.published({"services": {"a": {"ports": ports}, "b": {}}}) == [
        (80, 80, "192.0.2.1", "tcp"),
        (90, 90, "0.0.0.0", "udp"),
        (3000, 3005, "0.0.0.0", "tcp"),
    ]


@pytest.mark.parametrize(
    ("given", "mount"),
    [
        ("data:/data", ("volume", "data", "/data", False)),
        ("/srv/x:/data:ro", ("bind", "/srv/x", "/data", True)),
        ("./x:/data", ("bind", "./x", "/data", False)),
        ("/data", ("volume", "", "/data", None)),
    ],
)
def test_short_mounts_are_read_as_compose_does(given, mount):
    found = _preflight.normalised({"services": {"a": {"volumes": [given]}}})["a"]["volumes"][0]
    assert (found["type"], found["source"], found["target"], found.get("read_only")) == mount


def test_environment_and_checks_in_both_forms():
    service = {"environment": ["A=1", "B"], "healthcheck": {"test": "true"}, "tmpfs": "/tmp"}
    found = _preflight.normalised({"services": {"a": service}})["a"]
    assert found["environment"] == {"A": "1", "B": ""}
    assert found["healthcheck"]["test"] == ["CMD-SHELL", "true"]
    assert found["tmpfs"] == ["/tmp"]
    assert service["tmpfs"] == "/tmp"


def test_memory_limits_are_summed_and_compared():
    services = {"a": {"mem_limit": "1g"}, "b": {"deploy": {"resources": {"limits": {"memory": "512m"}}}}, "c": {}}
    need = _preflight.memory_of({"services": services}, _model.memory_bytes)
    assert need == 1536 * 1024**2
    assert _preflight.memory_problems("a", need, None) == []
    assert _preflight.memory_problems("a", need, need) == []
    assert "found 1535 MiB, need 1536 MiB" in _preflight.memory_problems("a", need, need - 1)[0]


def test_the_firewall_of_others_on_an_edge():
    assert _preflight.edge_firewall_problems("e", True, {"firewalls": []}) == []
    assert _preflight.edge_firewall_problems("e", False, {"firewalls": ["ufw"]}) == []
    assert "found ufw active" in _preflight.edge_firewall_problems("e", True, {"firewalls": ["ufw"]})[0]


LOGS = ["/var/lib/docker/containers/*/*-json.log"]


@pytest.mark.parametrize(
    ("daemon", "logs", "sentence"),
    [
        ({}, LOGS, ""),
        ({"data_root": "/srv/docker"}, None, ""),
        ({"data_root": "/srv/docker"}, LOGS, "[/srv/docker/containers/*/*-json.log]"),
        ({"data_root": "/srv/docker/"}, ["/srv/docker/containers/*/*-json.log"], ""),
    ],
)
def test_options_of_two_roles_that_meet(daemon, logs, sentence):
    found = _preflight.meeting_problems("a", daemon, logs)
    assert len(found) == bool(sentence)
    assert all(sentence in one for one in found)


def test_a_refused_schedule_is_named_with_its_option():
    schedules = {"service report of app shop": ("0 3 * * *", "schedule"), "drill": ("daily", "calendar")}
    found = _preflight.schedule_problems("a", schedules, {"0 3 * * *": "Invalid argument"})
    assert len(found) == 1
    assert "service report of app shop: found '0 3 * * *', which systemd on a refuses (Invalid argument)" in found[0]


def test_a_missing_variable_is_named_once_with_its_places():
    places = [("monitoring", "password of redis shop"), ("app_deploy", "secret x of service api of app shop")]
    found = _preflight.missing_problems({"vault_x": places, "shop_name": [("edge", "names")]}, "ansible-vault edit v")
    assert found == [
        "app_deploy: variable vault_x: found none, need it for secret x of service api of app shop, password of redis "
        "shop. Run ansible-vault edit v and set vault_x.",
        "edge: variable shop_name: found none, need it for names. Set shop_name in the inventory.",
    ]


SPEC = {
    "web_apps": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "port": {"type": "int"},
            "kind": {"type": "str", "choices": ["web", "worker"]},
            "password": {"type": "str", "no_log": True, "choices": ["x"]},
            "health": {"type": "dict", "options": {"path": {"type": "str"}, "status": {"type": "int"}}},
        },
    },
    "web_enabled": {"type": "bool"},
    "web_names": {"type": "list", "elements": "str"},
}


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ({"web_apps": [{"name": "a", "port": 1, "kind": "web", "health": {"path": "/"}}], "web_enabled": True}, []),
        ({"web_apps": [{"name": "a", "port": "80"}], "web_enabled": "yes", "web_names": "a,b"}, []),
        ({"web_apps": [{"port": 1}]}, ["web: name of item 1 of web_apps: found none"]),
        ({"web_apps": [{"name": "a", "port": "x"}]}, ["web: port of app a: found 'x', need a value of type int."]),
        ({"web_apps": [{"name": "a", "kind": "wob"}]}, ["web: kind of app a: found wob, need one of web, worker."]),
        ({"web_apps": [{"name": "a", "prot": 1}]}, ["web: option prot of app a: found prot, need port."]),
        ({"web_apps": [{"name": "a", "health": {"status": []}}]}, ["web: status of health of app a: found 'list'"]),
        ({"web_apps": [{"name": "a", "password": "s3cret"}]}, ["password of app a: found a value that is not shown"]),
        ({"web_apps": ["a"]}, ["web: web_apps: found 'list', need a value of type list of dict."]),
        ({"web_enabled": "perhaps"}, ["web: web_enabled: found 'perhaps', need a value of type bool."]),
        ({"web_enabled": "?", "web_apps": [{"name": "?"}, "?"]}, []),
    ],
)
def test_breaches_of_a_spec_name_their_item(values, sentences):
    found = _preflight.spec_problems("web", SPEC, values, fits, lambda value: value == "?")
    assert len(found) == len(sentences), found
    assert all(sentence in one for sentence, one in zip(sentences, found, strict=True))
    assert "s3cret" not in "".join(found)
