# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an item of app_deploy_apps becomes as a Compose project with additions."""

from __future__ import annotations

import copy
import json

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_shape, _model
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import app, background, service

# Properties of a service in the Compose Specification that a model may have.
COMPOSE_KEYS = {
    "image", "command", "environment", "user", "read_only", "tmpfs", "volumes", "healthcheck", "mem_limit",
    "memswap_limit", "cpus", "pids_limit", "stop_grace_period", "restart", "logging", "cap_drop", "security_opt", "init",
}  # fmt: skip


def test_a_service_has_keys_of_compose_and_one_extension():
    everything = service(
        command=["serve"],
        user=10001,
        volumes=["data:/data", "/srv/files:/files:ro"],
        env={"A": "b"},
        secrets=[{"name": "key", "value": "canary-4711"}],
    )
    model = _model.of(app(everything))
    assert set(model["services"]["api"]) == COMPOSE_KEYS | {"x-evenkeel"}
    assert set(_model.additions(model["services"]["api"])) == set(_model.Additions.__annotations__)
    assert set(model) == set(_model.Model.__required_keys__)
    assert model["volumes"] == {"data": {}}
    assert model["services"]["api"]["user"] == "10001:10001"


def test_a_model_is_plain_data():
    model = _model.of(app(service(), background(kind="scheduled", schedule="daily")))
    assert json.loads(json.dumps(model)) == model


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(False, "false", id="false"),
        pytest.param(True, "true", id="true"),
        pytest.param(5, "5", id="whole number"),
        pytest.param(0, "0", id="zero"),
        pytest.param(0.5, "0.5", id="number"),
        pytest.param("", "", id="empty text"),
        pytest.param("yes", "yes", id="text"),
        pytest.param("$HOME", "$HOME", id="dollar"),
    ],
)
def test_a_variable_of_the_environment_is_what_was_written(value, expected):
    model = _model.of(app(service(env={"A": value})))
    assert model["services"]["api"]["environment"] == {"A": expected}


def test_a_word_of_a_command_is_what_was_written():
    model = _model.of(app(service(command=["serve", "--debug", True, 8000])))
    assert model["services"]["api"]["command"] == ["serve", "--debug", "true", "8000"]


def test_secret_values_stay_apart():
    described = app(
        service(secrets=[{"name": "key", "value": "canary-4711"}, {"name": "lost", "value": None}]),
        background("worker", secrets=[{"name": "pin", "value": 1234}]),
    )
    model = _model.of(described)
    assert "canary-4711" not in repr(model)
    assert _model.secret_values(described) == {"api/key": "canary-4711", "worker/pin": "1234"}
    assert _model.additions(model["services"]["worker"])["secrets"] == [{"name": "pin", "as": "file"}]


def test_the_way_of_a_secret_stands_beside_its_name():
    described = service(
        secrets=[{"name": "key", "value": "x"}], secrets_as="environment", secrets_as_reason="No files."
    )
    (row,) = _model.additions(_model.of(app(described))["services"]["api"])["secrets"]
    assert row == {"name": "key", "as": "environment", "reason": "No files."}


def test_options_that_are_left_out_or_empty_have_their_default():
    model = _model.of(app(service(command=None, health=None), strategy={"gate": {"successes": 1}}, smoke=None))
    assert "command" not in model["services"]["api"]
    assert _model.additions(model["services"]["api"])["health"] == _model.HEALTH_DEFAULTS
    assert model["strategy"]["gate"] == {"successes": 1, "interval_seconds": 0.3, "timeout_seconds": 60}
    assert model["strategy"]["warm_seconds"] == 600
    assert model["probe"] == {"enabled": True}


def test_numbers_that_came_as_text_are_numbers():
    model = _model.of(app(service(port="8000", replicas="2"), port_base="20000", release=7))
    assert (model["port_base"], model["release"]) == (20000, "7")
    assert _model.additions(model["services"]["api"])["port"] == 8000
    assert _model.additions(model["services"]["api"])["replicas_max"] == 2


def test_a_model_shares_nothing_with_its_item():
    described = app(service(command=["serve"], waivers=[{"rule": "healthcheck", "reason": "None."}]))
    kept = copy.deepcopy(described)
    model = _model.of(described)
    model["services"]["api"]["command"].append("more")
    model["services"]["api"]["logging"]["options"]["max-size"] = "1k"
    model["strategy"]["gate"]["successes"] = 9
    assert described == kept
    again = _model.of(described)
    assert again["services"]["api"]["logging"]["options"]["max-size"] == "10m"
    assert again["strategy"]["gate"]["successes"] == 3


class Carrying(dict):
    """A dict as Ansible hands it to a filter: bound to what it was templated with."""

    def __deepcopy__(self, _memo: dict[int, object]) -> Carrying:
        raise AssertionError("the templating was copied as well")


def test_copies_nothing_but_the_data() -> None:
    described = Carrying(app(Carrying(service(env=Carrying(A="b")))))
    made = _model.of(described)["services"]["api"]["environment"]
    made["A"] = "changed"
    assert described["services"][0]["env"] == {"A": "b"}
    assert not isinstance(_app_shape.read(described)[0]["services"][0]["env"], Carrying)
