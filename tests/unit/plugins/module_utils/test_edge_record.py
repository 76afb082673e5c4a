# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edges are given of an app, and that their checks are requests of users."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge, _edge_record, _model, _ports
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import (
    HOSTS,
    app,
    background,
    service,
)


def record(described, colour="blue", previous=None, **options):
    model = _model.of(described)
    ports = _ports.allocate(model, _ports.recorded(previous or {}))
    return _edge_record.record(model, ports, HOSTS, colour, previous, **options)


def test_the_edge_keeps_what_the_other_colour_still_needs():
    first = record(app(service("api"), service("legacy")))
    second = record(app(service("api", health={"path": "/new"})), "green", first)
    assert second["services"]["legacy"] == first["services"]["legacy"]
    assert second["routes"]["blue"] == first["routes"]["blue"]
    checks = second["services"]["api"]["health"]
    assert (checks["blue"]["path"], checks["green"]["path"]) == ("/api/ready", "/new")
    third = record(app(service("api")), "blue", second)
    assert "legacy" not in third["services"]
    assert third["services"]["api"]["health"]["green"]["path"] == "/new"


def test_a_removed_name_stays_while_the_other_colour_routes_it():
    first = record(app(hosts=["shop.test", "old.test"]))
    second = record(app(hosts=["shop.test"]), "green", first)
    assert second["hosts"] == ["shop.test", "old.test"]
    assert {route["host"] for route in second["routes"]["green"]} == {"shop.test"}
    assert _edge.record_problems(second) == []
    third = record(app(hosts=["shop.test"]), "blue", second)
    assert third["hosts"] == ["shop.test"]
    assert _edge.record_problems(third) == []


def test_names_of_a_record_with_a_star_stay_too():
    first = record(app(hosts=["shop.test", "old.test"]))
    first["routes"]["blue"] = [{"host": "*", "path": "/", "service": "api"}]
    assert record(app(hosts=["shop.test"]), "green", first)["hosts"] == ["shop.test", "old.test"]


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        pytest.param([{"path": "/"}], "shop.test", id="first name"),
        pytest.param([{"path": "/", "host": "admin.test"}], "admin.test", id="second name"),
        pytest.param([{"path": "/a", "host": "admin.test"}, {"path": "/b"}], "admin.test", id="first route"),
    ],
)
def test_a_check_is_the_request_a_user_makes(routes, expected):
    described = app(service(routes=routes), hosts=["shop.test", "admin.test"])
    health = record(described)["services"]["api"]["health"]["blue"]
    assert (health["host"], health["proto"]) == (expected, "https")
    model = _model.of(described)
    target = _edge_record.gate_targets(model, "blue", _ports.allocate(model), HOSTS)[0]
    assert (target["host"], target["proto"]) == (expected, "https")


def test_each_colour_keeps_the_protocol_of_its_release():
    first = record(app(service()))
    assert first["services"]["api"]["protocol"] == {"blue": "http1", "green": "http1"}
    second = record(app(service(protocol="h2")), "green", first)
    assert second["services"]["api"]["protocol"] == {"blue": "http1", "green": "h2"}
    assert _edge.record_problems(second) == []
    # A record from before there were protocols.
    del first["services"]["api"]["protocol"]
    assert record(app(service(protocol="h2")), "green", first)["services"]["api"]["protocol"] == {
        "blue": "http1",
        "green": "h2",
    }


def test_a_grpc_service_is_asked_by_its_health_service_and_for_no_release():
    described = service(protocol="grpc")
    described.pop("health", None)
    model = _model.of(app(described))
    target = _edge_record.gate_targets(model, "blue", _ports.allocate(model), HOSTS)[0]
    assert (target["protocol"], target["status"], target["body"], target["release_key"]) == ("grpc", 200, "", "")
    assert _edge_record.default_probe(model) == {}


def test_without_a_redirect_to_tls_a_check_has_no_protocol():
    assert record(app(), proto="")["services"]["api"]["health"]["blue"]["proto"] == ""
    model = _model.of(app())
    (first, _second) = _edge_record.gate_targets(model, "blue", _ports.allocate(model), HOSTS, proto="")
    assert first["proto"] == ""


def test_the_gate_asks_every_replica_as_the_edge_does():
    model = _model.of(app(service(replicas=2), background()))
    hosts = {**HOSTS, "app3": {"address": "fd00::23"}}
    targets = _edge_record.gate_targets(model, "green", _ports.allocate(model), hosts)
    assert [target["name"] for target in targets] == [f"api.{n}@{host}" for host in hosts for n in (1, 2)]
    assert targets[0]["url"] == "http://10.0.0.21:20001/api/ready"
    assert targets[-1]["url"] == "http://[fd00::23]:20003/api/ready"


def test_a_service_that_is_gone_needs_no_server():
    first = record(app(service(replicas=2), service("legacy")))
    model = _model.of(app(service(replicas=2)))
    assert _edge_record.minimum_servers(model, HOSTS, first) == {"api": 4, "legacy": 0}
    assert _edge_record.minimum_servers(model, HOSTS, {}) == {"api": 4}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/", "web", id="root"),
        pytest.param("/api", "api", id="whole"),
        pytest.param("/api/x?y=/", "api", id="below"),
        pytest.param("/apix", "web", id="whole segments"),
        pytest.param("/api/deep/x", "deep", id="longest"),
    ],
)
def test_a_path_leads_where_the_edge_sends_it(path, expected):
    services = [
        service("web", routes=[{"path": "/"}]),
        service("api"),
        service("deep", routes=[{"path": "/api/deep/"}]),
    ]
    model = _model.of(app(*services))
    assert _edge_record.routed(model, "shop.test", path) == expected
    assert _edge_record.routed(model, "other.test", path) == ""
    table = _edge.routes(record(app(*services)), "blue")
    key = max(
        (key for key in table if ("shop.test" + path.partition("?")[0] + "/").startswith(key)), key=len, default=""
    )
    assert table[key] == expected


SHOP = [
    service("api", health={"path": "/readyz"}),
    service("web", routes=[{"path": "/"}], health={"path": "/healthz"}),
]


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        pytest.param(app(), ("https://shop.test/api/ready", "release"), id="own health"),
        pytest.param(app(*SHOP), ("https://shop.test/healthz", "release"), id="health that is routed to its service"),
        pytest.param(
            app(service(health={"path": "/api/ready", "release_key": ""}), SHOP[1]),
            ("https://shop.test/healthz", "release"),
            id="one with a release first",
        ),
        pytest.param(
            app(service(health={"path": "/api/ready", "release_key": ""})),
            ("https://shop.test/api/ready", ""),
            id="no release",
        ),
        pytest.param(
            app(service(routes=[{"path": "/", "host": "admin.test"}]), hosts=["shop.test", "admin.test"]),
            ("https://admin.test/api/ready", "release"),
            id="name of its route",
        ),
        pytest.param(
            app(SHOP[0], smoke=[{"path": "/api/version"}]), ("https://shop.test/api/version", ""), id="smoke request"
        ),
        pytest.param(app(SHOP[0]), None, id="nothing that users reach"),
        pytest.param(app(probe={"enabled": False}), None, id="off"),
        pytest.param(
            app(probe={"url": "https://shop.test/api/x"}), ("https://shop.test/api/x", None), id="set by the app"
        ),
        pytest.param(app(probe={"release_key": "version"}), ("https://shop.test/api/ready", "version"), id="one key"),
    ],
)
def test_the_probe_of_an_app_is_its_own(described, expected):
    probe = _edge_record.probe(_model.of(described))
    if expected is None:
        assert probe == {}
    else:
        assert (probe["url"], probe.get("release_key")) == expected
        assert (probe["connect_to"], probe["verify"]) == ("127.0.0.1:443", False)


def test_two_apps_have_two_probes():
    urls = [
        _edge_record.default_probe(_model.of(app(name=name, hosts=[f"{name}.test"])))["url"] for name in ("one", "two")
    ]
    assert urls == ["https://one.test/api/ready", "https://two.test/api/ready"]


def test_a_probe_goes_to_the_port_of_the_edge():
    probe = _edge_record.probe(_model.of(app()), 8443)
    assert (probe["url"], probe["connect_to"]) == ("https://shop.test:8443/api/ready", "127.0.0.1:8443")
