# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a release changes with everything that is rendered from it, and holds no secret."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _edge_record,
    _journal,
    _model,
    _ports,
    _release_content,
    _stacks,
)
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import app, background, service

DESCRIBED = app(
    service(secrets=[{"name": "key", "value": "canary-4711"}]),
    background("bot", "singleton", host="app2"),
    background("report", "scheduled", schedule="daily"),
    migration=[{"service": "api", "command": ["migrate"]}],
)


def identity(described=None):
    return _journal.content_hash(
        _release_content.content(_model.of(described or DESCRIBED), {"registry.test/api:1.0": "x"})
    )


def test_a_release_holds_no_secret_value():
    content = _release_content.content(_model.of(DESCRIBED), {})
    assert "canary-4711" not in repr(content)
    assert content["release"] == "1.0"
    assert content["migration"][0]["command"] == ["migrate"]


def test_the_same_item_is_the_same_release():
    assert identity() == identity()


@pytest.mark.parametrize(
    ("module", "function", "key"),
    [
        pytest.param(_stacks, "colour", "labels", id="colour"),
        pytest.param(_stacks, "background", "labels", id="background"),
        pytest.param(_stacks, "migration", "x", id="migration"),
        pytest.param(_stacks, "jobs", None, id="jobs"),
        pytest.param(_edge_record, "routes_of", None, id="routes"),
    ],
)
def test_what_is_rendered_in_another_way_is_another_release(monkeypatch, module, function, key):
    before = identity()
    rendered = getattr(module, function)

    def changed(*args, **kwargs):
        made = rendered(*args, **kwargs)
        if key is None:
            return made and [{**made[0], "path": "/changed"}]
        return {**made, "services": {name: {**one, key: {"a": "b"}} for name, one in made["services"].items()}}

    monkeypatch.setattr(module, function, changed)
    assert identity() != before


def test_another_check_of_the_edge_is_another_release(monkeypatch):
    before = identity()
    monkeypatch.setattr(_edge_record, "host_of", lambda _model, _name: "other.test")
    assert identity() != before


def test_hosts_addresses_and_ports_are_no_part_of_a_release():
    content = _release_content.content(_model.of(DESCRIBED), {})
    moved = _release_content.content(_model.of(DESCRIBED), {})
    assert content["rendered"] == moved["rendered"]
    model = _model.of(DESCRIBED)
    assert _ports.allocate(model)["api"]["blue"] == [20000]
    assert "20000" not in repr(_release_content._renderings(model))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"hosts": ["shop.test", "new.test"]}, id="names"),
        pytest.param({"release": "1.1"}, id="release"),
        pytest.param({"services": [service(env={"A": "b"})]}, id="environment"),
        pytest.param({"services": [service(secrets=[{"name": "other", "value": "x"}])]}, id="secret names"),
        pytest.param({"migration": [{"service": "api", "command": ["other"]}]}, id="migration"),
    ],
)
def test_other_content_is_another_release(change):
    assert identity({**DESCRIBED, **change}) != identity()
