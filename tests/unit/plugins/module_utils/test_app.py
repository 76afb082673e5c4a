# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app's description means, and every way in which it can be refused."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _app, _compose_policy
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_secrets import SECRET_ARGUMENTS

HOSTS = {
    "app1": {"address": "10.0.0.21", "memory_bytes": 2**31},
    "app2": {"address": "10.0.0.22", "memory_bytes": 2**31},
}


def service(name="api", **options):
    return {
        "name": name,
        "image": f"registry.test/{name}",
        "kind": "web",
        "port": 8000,
        "routes": [{"path": f"/{name}"}],
        "healthcheck": ["CMD", "true"],
        "resources": {"memory": "64m", "cpus": 0.5, "pids": 50},
        **options,
    }


def app(*services, **options):
    return {
        "name": "shop",
        "release": "1.0",
        "hosts": ["shop.test"],
        "port_base": 20000,
        "services": list(services) or [service()],
        **options,
    }


def test_a_sound_app_has_no_problem():
    assert _app.problems([app()], HOSTS, ["edge1"]) == []


@pytest.mark.parametrize(
    ("apps", "says"),
    [
        pytest.param([app(release="latest")], "release of app shop: found latest", id="latest"),
        pytest.param([app(release="")], "release of app shop: found none", id="no release"),
        pytest.param([app(service(image="registry.test/api:1.0"))], "need a name without a tag", id="tag in image"),
        pytest.param(
            [app(service(image="registry.test:5000/api")), app(service("x"), name="other", hosts=["o.test"])],
            "need ranges that do not overlap",
            id="ports",
        ),
        pytest.param(
            [app(service("a", routes=[{"path": "/x"}]), service("b", routes=[{"path": "/x/"}]))],
            "found services shop/a and shop/b",
            id="routes",
        ),
        pytest.param(
            [app(service(), service("bot", kind="singleton", replicas=2))],
            "found 2, need 1, since a singleton",
            id="singleton twice",
        ),
        pytest.param(
            [app(service(healthcheck=[]))], "healthcheck of service shop/api: found none", id="no healthcheck"
        ),
        pytest.param(
            [app(service(resources={"cpus": 1, "pids": 5}))],
            "resources.memory of service shop/api: found none",
            id="no memory limit",
        ),
        pytest.param(
            [app(service(resources={"memory": "4g", "cpus": 1, "pids": 5}))],
            "memory of host app1: found 2048 MiB, need 8192 MiB",
            id="memory",
        ),
        pytest.param(
            [app(service(connections=30), database={"max_connections": 100})],
            "found room for 95, need 120",
            id="connections",
        ),
        pytest.param(
            [app(service(secrets=[{"name": "k", "value": "$ANSIBLE_VAULT;1.1;AES256"}]))],
            "found a sealed vault text",
            id="sealed vault",
        ),
        pytest.param([app(service(secrets_as="environment"))], "environment without a reason", id="environment"),
        pytest.param([app(service(user="www-data"))], "need a numeric user id", id="user"),
        pytest.param(
            [app(service(), service("job", kind="scheduled"))],
            "schedule of service shop/job: found none",
            id="schedule",
        ),
        pytest.param(
            [app(service(), service("bot", kind="singleton", host="gone"))],
            "found gone, need one of app1, app2",
            id="home",
        ),
        pytest.param([app(strategy={"type": "canary"})], "found canary steps or a bake", id="canary"),
        pytest.param([app(migration=[{"service": "gone", "command": ["x"]}])], "found service 'gone'", id="migration"),
        pytest.param(
            [app(), app(name="two", port_base=30000)],
            "public name shop.test: found apps shop and two",
            id="public name",
        ),
    ],
)
def test_each_problem_is_named(apps, says):
    found = _app.problems(apps, HOSTS, ["edge1"])
    assert any(says in sentence for sentence in found), found
    assert all(sentence.startswith("app_deploy: ") for sentence in found)


def test_all_problems_are_named_at_once():
    broken = app(service(image="registry.test/api:1", healthcheck=[]), release="latest")
    found = _app.problems([broken], HOSTS, [])
    assert len(found) == 4


def test_a_waiver_needs_its_reason():
    waived = app(service(healthcheck=[], waivers=[{"rule": "healthcheck", "reason": "none of its own"}]))
    assert _app.problems([waived], HOSTS, ["edge1"]) == []
    waived["services"][0]["waivers"][0]["reason"] = ""
    assert len(_app.problems([waived], HOSTS, ["edge1"])) == 1


def test_ports_stay_where_they_are_when_a_service_is_inserted():
    before = _app.allocate_ports(_app.complete(app()))
    after = _app.allocate_ports(_app.complete(app(service("aaa"), service(replicas_max=3))), before)
    assert before == {"api": {"blue": [20000], "green": [20001]}}
    assert after["api"]["blue"][0] == 20000
    assert after["api"]["green"][0] == 20001
    given_out = [port for sides in after.values() for side in sides.values() for port in side]
    assert len(given_out) == len(set(given_out)) == 8


def test_a_range_that_is_used_up_is_refused():
    with pytest.raises(ValueError, match="found no free port in 20000-20002"):
        _app.allocate_ports(_app.complete(app(service(replicas_max=2), port_count=3)))


@given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=4), min_size=1, max_size=5))
def test_no_port_is_ever_given_twice_or_moved(history):
    ports: dict = {}
    for sizes in history:
        described = _app.complete(app(*[service(f"s{n}", replicas_max=size) for n, size in enumerate(sizes)]))
        later = _app.allocate_ports(described, ports)
        for name, sides in ports.items():
            for colour, numbers in sides.items():
                assert later[name][colour][: len(numbers)] == numbers
        ports = later
        given_out = [port for sides in ports.values() for side in sides.values() for port in side]
        assert len(given_out) == len(set(given_out))
        assert all(20000 <= port < 20100 for port in given_out)


def test_functions_change_none_of_their_arguments():
    described = app(service(), service("bot", kind="singleton"))
    kept = copy.deepcopy(described)
    full = _app.complete(described)
    ports = _app.allocate_ports(full)
    frozen = copy.deepcopy((full, ports))
    _app.colour_stack(full, "blue", ports, "10.0.0.21")
    _app.background_stack(full, "app1", ["app1"], "10.0.0.21")
    _app.edge_record(full, ports, HOSTS, "blue")
    _app.content(full, {})
    assert described == kept
    assert (full, ports) == frozen


def test_the_colour_stack_publishes_on_the_private_address_only():
    full = _app.complete(app(service(replicas=2)))
    stack = _app.colour_stack(full, "green", _app.allocate_ports(full), "10.0.0.21")
    assert stack["name"] == "shop-green"
    assert stack["services"]["api-1"]["ports"] == ["10.0.0.21:20001:8000"]
    assert stack["services"]["api-2"]["ports"] == ["10.0.0.21:20003:8000"]
    assert stack["services"]["api-1"]["cap_drop"] == ["ALL"]


def test_a_singleton_is_at_home_on_one_host_only():
    full = _app.complete(
        app(service(), service("bot", kind="singleton", host="app2"), service("worker", kind="worker"))
    )
    homes = {
        host: list(_app.background_stack(full, host, ["app1", "app2"], "10.0.0.21")["services"])
        for host in ("app1", "app2")
    }
    assert homes == {"app1": ["worker"], "app2": ["bot", "worker"]}


def test_a_service_that_tells_traces_finds_the_agent_of_its_host():
    full = _app.complete(app(service(traces=True), service("worker", kind="worker", traces=True), service("web")))
    side = _app.colour_stack(full, "green", _app.allocate_ports(full), "fd00::21")["services"]
    told = side["api-1"]["environment"]
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://[fd00::21]:4318"
    assert told["OTEL_RESOURCE_ATTRIBUTES"] == "service.namespace=shop,service.version=1.0,colour=green"
    beside = _app.background_stack(full, "app1", ["app1"], "10.0.0.21")["services"]["worker"]["environment"]
    assert beside["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://10.0.0.21:4318"
    assert beside["OTEL_SERVICE_NAME"] == "worker"
    assert not [name for name in side["web-1"]["environment"] if name.startswith("OTEL")]


def test_the_edge_keeps_what_the_other_colour_still_needs():
    old = _app.complete(app(service("api"), service("legacy")))
    ports = _app.allocate_ports(old)
    first = _app.edge_record(old, ports, HOSTS, "blue")
    new = _app.complete(app(service("api", health={"path": "/new"})))
    second = _app.edge_record(new, _app.allocate_ports(new, ports), HOSTS, "green", first)
    assert second["services"]["legacy"] == first["services"]["legacy"]
    assert second["routes"]["blue"] == first["routes"]["blue"]
    checks = second["services"]["api"]["health"]
    assert (checks["blue"]["path"], checks["green"]["path"]) == ("/healthz", "/new")
    third = _app.edge_record(new, _app.allocate_ports(new, ports), HOSTS, "blue", second)
    assert third["services"]["api"]["health"]["blue"]["path"] == "/new"


def test_ports_are_read_back_from_the_record_of_the_edge():
    full = _app.complete(app(service("api", replicas_max=2), service("web")))
    ports = _app.allocate_ports(full)
    assert _app.recorded_ports(_app.edge_record(full, ports, HOSTS, "blue")) == ports
    assert _app.recorded_ports({}) == {}


def test_a_kept_app_gets_the_secret_values_of_today():
    described = app(service(secrets=[{"name": "key", "value": "new"}]))
    kept = _app.content(_app.complete(described), {})["app"]
    assert _app.with_secrets(kept, [described])["services"][0]["secrets"][0]["value"] == "new"
    with pytest.raises(ValueError, match="found no value for api/key"):
        _app.with_secrets(kept, [app()])


def test_a_release_holds_no_secret_value():
    secret = {"name": "key", "value": "canary-4711"}
    full = _app.complete(app(service(secrets=[secret])))
    assert "canary-4711" not in repr(_app.content(full, {}))
    assert _app.secret_values(full) == {"api/key": "canary-4711"}


def test_secrets_of_the_environment_carry_their_reason():
    secret = {"name": "key", "value": "canary-4711"}
    reason = "It reads nothing else."
    full = _app.complete(app(service(secrets=[secret], secrets_as="environment", secrets_as_reason=reason)))
    stack = _app.colour_stack(full, "blue", _app.allocate_ports(full), "10.0.0.21")
    (row,) = _app.stack_secrets(full, stack)
    assert (row["as"], row["reason"]) == ("environment", reason)
    assert set(row) <= set(SECRET_ARGUMENTS)
    assert {waiver["rule"] for waiver in _app.stack_waivers(full, stack)} <= set(_compose_policy.RULES)


def test_one_release_needs_one_app():
    apps = [app(), app(name="two")]
    assert "app_deploy_only" in _app.choice_problems(apps, release="1.1")[0]
    assert _app.choice_problems(apps, only="two", release="1.1") == []
    assert [one["release"] for one in _app.chosen(apps, only="two", release="1.1")] == ["1.1"]
    assert "need one of shop, two" in _app.choice_problems(apps, only="gone")[0]


class Carrying(dict):
    """A dict as Ansible hands it to a filter: bound to what it was templated with."""

    def __deepcopy__(self, _memo: dict[int, object]) -> Carrying:
        raise AssertionError("the templating was copied as well")


def test_copies_nothing_but_the_data() -> None:
    described = Carrying(name="shop", services=[Carrying(name="api", env=Carrying(A="b"), secrets=[])])
    full = _app.complete(described)
    full["services"][0]["env"]["A"] = "changed"
    assert described["services"][0]["env"] == {"A": "b"}
