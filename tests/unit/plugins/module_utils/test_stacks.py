# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on a host, as the model of an app lays it out."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _compose_policy,
    _edge,
    _model,
    _names,
    _ports,
    _stacks,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_secrets import SECRET_ARGUMENTS
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import app, background, service

ADDRESS = "10.0.0.21"


def colour(model, side="blue", address=ADDRESS):
    return _stacks.colour(model, side, _ports.allocate(model), address)


def test_a_colour_publishes_on_the_private_address_only():
    stack = colour(_model.of(app(service(replicas=2))), "green")
    assert stack["name"] == "shop-green"
    assert stack["services"]["api.1"]["ports"] == ["10.0.0.21:20001:8000"]
    assert stack["services"]["api.2"]["ports"] == ["10.0.0.21:20003:8000"]
    assert stack["services"]["api.1"]["cap_drop"] == ["ALL"]
    assert stack["services"]["api.1"]["environment"]["EVENKEEL_COLOUR"] == "green"


def test_an_address_of_version_6_stands_in_brackets():
    assert colour(_model.of(app()), address="fd00::21")["services"]["api.1"]["ports"] == ["[fd00::21]:20000:8000"]


def test_stacks_hold_nothing_that_compose_has_no_word_for():
    model = _model.of(app(service(), background(), migration=[{"service": "api", "command": ["x"]}]))
    stacks = [
        colour(model),
        _stacks.background(model, "app1", ["app1"], ADDRESS),
        _stacks.migration(model, model["migration"][0]),
    ]
    assert "x-evenkeel" not in repr(stacks)
    assert [stack["name"] for stack in stacks] == ["shop-blue", "shop-background", "shop-migration"]
    assert set(_stacks.stack_names("shop")) >= {stack["name"] for stack in stacks}


def test_dollar_signs_reach_the_container_as_they_are_written():
    stack = colour(_model.of(app(service(env={"A": "$HOME"}, command=["sh", "-c", "echo ${B}"]))))
    container = stack["services"]["api.1"]
    assert container["environment"]["A"] == "$$HOME"
    assert container["command"] == ["sh", "-c", "echo $${B}"]


def test_a_singleton_is_at_home_on_one_host_only():
    model = _model.of(app(service(), background("bot", "singleton", host="app2"), background(replicas=2)))
    stacks = {host: _stacks.background(model, host, ["app1", "app2"], ADDRESS) for host in ("app1", "app2")}
    assert list(stacks["app1"]["services"]) == ["worker", "worker.2"]
    assert list(stacks["app2"]["services"]) == ["bot", "worker", "worker.2"]
    assert stacks["app2"]["services"]["bot"]["container_name"] == "shop.bot"
    assert stacks["app2"]["services"]["worker.2"]["container_name"] == "shop.worker.2"


def test_a_job_is_started_by_its_timer_only():
    model = _model.of(app(service(), background("report", "scheduled", schedule="daily", host="app2")))
    stack = _stacks.background(model, "app2", ["app1", "app2"], ADDRESS)
    assert stack["services"]["report"]["profiles"] == ["scheduled"]
    assert stack["services"]["report"]["restart"] == "no"
    assert _stacks.jobs(model, "app2", ["app1", "app2"]) == [{"name": "report", "schedule": "daily"}]
    assert _stacks.jobs(model, "app1", ["app1", "app2"]) == []


def test_a_migration_runs_once_in_the_service_it_names():
    model = _model.of(app(service(env={"A": "b"}), migration=[{"service": "api", "command": ["migrate", "$X"]}]))
    stack = _stacks.migration(model, model["migration"][0])
    container = stack["services"]["migration"]
    assert (container["command"], container["restart"]) == (["migrate", "$$X"], "no")
    assert container["environment"] == {"A": "b"}
    assert "healthcheck" not in container


def test_volumes_that_are_mounted_are_declared():
    model = _model.of(app(service(volumes=["data:/data", "/srv:/srv"]), background(volumes=["cache:/cache"])))
    assert colour(model)["volumes"] == {"data": {}}
    assert _stacks.background(model, "app1", ["app1"], ADDRESS)["volumes"] == {"cache": {}}


def test_a_service_with_traces_finds_the_agent_of_its_host():
    model = _model.of(app(service(traces=True), background(traces=True), service("web")))
    side = colour(model, "green", "fd00::21")["services"]
    environment = side["api.1"]["environment"]
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://[fd00::21]:4318"
    assert environment["OTEL_RESOURCE_ATTRIBUTES"] == "service.namespace=shop,service.version=1.0,colour=green"
    beside = _stacks.background(model, "app1", ["app1"], ADDRESS)["services"]["worker"]["environment"]
    assert beside["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://10.0.0.21:4318"
    assert beside["OTEL_SERVICE_NAME"] == "worker"
    assert not [name for name in side["web.1"]["environment"] if name.startswith("OTEL")]


@pytest.mark.parametrize(
    "first",
    [pytest.param("api", id="siblings of a colour"), pytest.param("api-1", id="the other way round")],
)
def test_a_container_gets_the_secrets_of_its_own_service(first):
    second = {"api": "api-1", "api-1": "api"}[first]
    model = _model.of(
        app(*[service(name, replicas=2, secrets=[{"name": f"of-{name}", "value": "x"}]) for name in (first, second)])
    )
    rows = _stacks.secrets(model, colour(model))
    assert {(row["service"], row["key"]) for row in rows} == {
        (f"{name}.{number}", f"{name}/of-{name}") for name in (first, second) for number in (1, 2)
    }


def test_rows_of_secrets_are_what_the_host_takes_but_for_the_value():
    options = {"secrets_as": "environment", "secrets_as_reason": "It reads nothing else.", "user": "10001"}
    model = _model.of(
        app(
            service(secrets=[{"name": "key", "value": "canary-4711"}], **options),
            migration=[{"service": "api", "command": ["x"]}],
        )
    )
    (row,) = _stacks.secrets(model, colour(model))
    assert row == {
        "service": "api.1", "name": "key", "uid": 10001, "as": "environment", "reason": "It reads nothing else.",
        "key": "api/key",
    }  # fmt: skip
    assert set(row) - {"key"} <= set(SECRET_ARGUMENTS)
    (row,) = _stacks.secrets(model, _stacks.migration(model, model["migration"][0]))
    assert (row["service"], row["key"]) == ("migration", "api/key")


def test_waivers_follow_the_service_and_what_ends_needs_no_restart():
    waiver = {"rule": "read-only", "reason": "It writes to its folder."}
    model = _model.of(app(service(waivers=[waiver]), background("report", "scheduled", schedule="daily")))
    assert _stacks.waivers(model, colour(model)) == [{"service": "api.1", **waiver}]
    rows = _stacks.waivers(model, _stacks.background(model, "app1", ["app1"], ADDRESS))
    assert [row["rule"] for row in rows] == ["healthcheck", "restart"]
    assert {row["rule"] for row in rows} <= set(_compose_policy.RULES)


def test_images_are_named_once_and_pinned_by_container():
    model = _model.of(app(service(image="registry.test/app"), background(image="registry.test/app"), service("web")))
    assert _stacks.images(model) == ["registry.test/app:1.0", "registry.test/web:1.0"]
    assert _stacks.images(model, "worker") == ["registry.test/app:1.0"]
    digests = {image: f"{image.partition(':')[0]}@sha256:0" for image in _stacks.images(model)}
    assert _stacks.pinned(colour(model), digests) == {
        "api.1": "registry.test/app@sha256:0",
        "web.1": "registry.test/web@sha256:0",
    }


def test_functions_change_none_of_their_arguments():
    model = _model.of(
        app(service(volumes=["data:/data"]), background(), migration=[{"service": "api", "command": ["x"]}])
    )
    ports = _ports.allocate(model)
    kept = copy.deepcopy((model, ports))
    stack = _stacks.colour(model, "blue", ports, ADDRESS)
    stack["services"]["api.1"]["logging"]["options"].clear()
    stack["volumes"]["data"]["name"] = "x"
    _stacks.background(model, "app1", ["app1"], ADDRESS)
    _stacks.migration(model, model["migration"][0])["services"]["migration"]["environment"]["A"] = "b"
    assert (model, ports) == kept


# Names with many dashes and digits, where names that are joined by a dash would meet.
APPS = st.text("ab1-", min_size=1, max_size=6).filter(_edge.APP.fullmatch)
SERVICES = st.text("ab1-_", min_size=1, max_size=6).filter(_edge.SERVICE.fullmatch)
KINDS = st.sampled_from(["blue", "green", "background"])
CONTAINERS = st.tuples(APPS, KINDS, SERVICES, st.integers(1, 12))


def container(name, part, one, number):
    kind = {"kind": "worker"} if part == "background" else {}
    rows = [service(one, replicas=number) if not kind else background(one, replicas=number)]
    model = _model.of(app(*rows, name=name))
    if kind:
        stack = _stacks.background(model, "app1", ["app1"], ADDRESS)
        return stack["name"], list(stack["services"].items())[-1]
    stack = colour(model, part)
    return stack["name"], list(stack["services"].items())[-1]


@given(CONTAINERS, CONTAINERS)
def test_no_two_containers_share_a_name(first, second):
    (stack, (replica, options)), (other_stack, (other_replica, other_options)) = container(*first), container(*second)
    assert (options["container_name"] == other_options["container_name"]) == (first == second)
    assert ((stack, replica) == (other_stack, other_replica)) == (first == second)


@given(st.tuples(APPS, SERVICES, st.integers(1, 12)), st.tuples(APPS, SERVICES, st.integers(1, 12)))
def test_names_tell_app_service_and_number_apart(first, second):
    assert (_names.container_name(*first) == _names.container_name(*second)) == (first == second)
    assert (_names.job_unit(*first[:2]) == _names.job_unit(*second[:2])) == (first[:2] == second[:2])
    assert (_names.replica_name(*first[1:]) == _names.replica_name(*second[1:])) == (first[1:] == second[1:])


@given(APPS, APPS)
def test_no_two_apps_share_a_stack(first, second):
    shared = set(_stacks.stack_names(first)) & set(_stacks.stack_names(second))
    assert bool(shared) == (first == second)
