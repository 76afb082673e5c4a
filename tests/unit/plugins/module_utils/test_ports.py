# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of an app are given once and stay open while they are in use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge_record, _model, _ports
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import HOSTS, app, service


def test_ports_stay_where_they_are_when_a_service_is_inserted():
    before = _ports.allocate(_model.of(app()))
    after = _ports.allocate(_model.of(app(service("aaa"), service(replicas_max=3))), before)
    assert before == {"api": {"blue": [20000], "green": [20001]}}
    assert (after["api"]["blue"][0], after["api"]["green"][0]) == (20000, 20001)
    assert len(_ports.numbers(after)) == 8


def test_a_changed_range_is_for_new_ports_only():
    before = _ports.allocate(_model.of(app()))
    moved = _model.of(app(service(), service("web"), port_base=30000))
    assert _ports.allocate(moved, before) == {**before, "web": {"blue": [30000], "green": [30001]}}


def test_ports_of_others_are_not_given():
    ports = _ports.allocate(_model.of(app()), used=[20000, 20002])
    assert ports == {"api": {"blue": [20001], "green": [20003]}}


def test_a_range_that_is_used_up_is_refused():
    with pytest.raises(ValueError, match="found no free port in 20000-20002, need one for service api"):
        _ports.allocate(_model.of(app(service(replicas_max=2), port_count=3)))


RELEASES = st.lists(
    st.tuples(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.sampled_from([20000, 20050, 30000])),
    min_size=1,
    max_size=5,
)


@given(RELEASES)
def test_a_port_once_given_never_moves_and_is_never_given_twice(releases):
    ports: dict = {}
    for sizes, base in releases:
        services = [service(f"s{number}", replicas_max=size) for number, size in enumerate(sizes)]
        model = _model.of(app(*services, port_base=base))
        later = _ports.allocate(model, ports)
        for name, sides in ports.items():
            for colour, given_before in sides.items():
                assert later[name][colour][: len(given_before)] == given_before
        new = _ports.numbers(later) - _ports.numbers(ports)
        assert all(base <= port < base + 100 for port in new)
        every = [port for sides in later.values() for side in sides.values() for port in side]
        assert len(every) == len(set(every))
        ports = later


def test_ports_are_read_back_from_the_record_of_the_edge():
    model = _model.of(app(service(replicas_max=11), service("web")))
    ports = _ports.allocate(model)
    assert _ports.recorded(_edge_record.record(model, ports, HOSTS, "blue")) == ports
    assert _ports.recorded({}) == {}


@pytest.mark.parametrize(
    ("base", "count", "ports", "expected"),
    [
        pytest.param(20000, 100, {}, ["20000-20099"], id="range"),
        pytest.param(20000, 100, {"blue": [20000], "green": [20001]}, ["20000-20099"], id="within"),
        pytest.param(30000, 10, {"blue": [20000], "green": [20001]}, ["20000-20001", "30000-30009"], id="changed base"),
        pytest.param(20000, 2, {"blue": [20000], "green": [20007]}, ["20000-20001", "20007"], id="smaller count"),
        pytest.param(20000, 2, {"blue": [20002], "green": [20003]}, ["20000-20003"], id="adjacent"),
    ],
)
def test_ports_in_use_stay_open(base, count, ports, expected):
    model = _model.of(app(port_base=base, port_count=count))
    recorded = {"api": ports} if ports else None
    assert _ports.rules(model, ["10.0.0.11"], recorded) == [
        {"name": "shop colours", "ports": expected, "protocol": "tcp", "from": ["10.0.0.11"]}
    ]
