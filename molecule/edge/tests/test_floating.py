# SPDX-License-Identifier: GPL-3.0-or-later
"""Which edge holds the floating address, and what makes it move."""

from __future__ import annotations

import functools
import shlex
import time

import pytest

testinfra_hosts = ["ansible://backend"]
ADDRESS = "10.232.0.90"
EDGES = ("edge12", "edge13")
UNIT = "evenkeel-floating.service"
STATUS = "/var/lib/evenkeel/shop/status.map"


@pytest.fixture
def until(until):
    """The address has moved within these seconds."""
    return functools.partial(until, seconds=20)


@pytest.fixture
def edges(host):
    """The edges by name; both are healthy before and after."""
    found = {
        name: host.get_host(f"ansible://{name}", ansible_inventory=host.backend.ansible_inventory) for name in EDGES
    }
    yield found
    for edge in found.values():
        edge.run("systemctl start haproxy")


def holders(edges):
    return [
        name for name, edge in edges.items() if f"{ADDRESS}/" in edge.check_output("ip -4 -oneline address show eth0")
    ]


@pytest.fixture
def one_holder(edges, until):
    """Return a function that waits until one edge holds the address, and returns its name."""

    def ask():
        assert until(lambda: len(holders(edges)) == 1), holders(edges)
        return holders(edges)[0]

    return ask


def answers(host):
    """Whether the edge behind the address answers, as a client sees it."""
    done = host.run(
        f"curl -sk -o /dev/null -w '%{{http_code}}' --max-time 2 http://{ADDRESS}/ -H 'Host: shop.lab.test'"
    )
    return done.stdout == "308"


def test_one_edge_holds_it_and_answers(host, edges, one_holder, until):
    one_holder()
    assert until(lambda: answers(host))
    for edge in edges.values():
        assert edge.service(UNIT).is_enabled
        assert not edge.service("keepalived").is_running


def test_it_leaves_an_edge_without_haproxy_and_stays_away(host, edges, one_holder, until):
    first = one_holder()
    second = next(name for name in EDGES if name != first)
    edges[first].check_output("systemctl stop haproxy")
    assert until(lambda: holders(edges) == [second]), holders(edges)
    assert until(lambda: answers(host))
    edges[first].check_output("systemctl start haproxy")
    time.sleep(6)
    assert holders(edges) == [second]


def test_it_leaves_an_edge_whose_entry_is_unconfirmed(host, edges, one_holder, until):
    first = one_holder()
    second = next(name for name in EDGES if name != first)

    def say(value):
        edges[first].check_output(f"/usr/local/bin/ask.py {shlex.quote(f'@current set map {STATUS} shop {value}')}")

    text = edges[first].check_output(f"/usr/local/bin/ask.py {shlex.quote(f'@current show map {STATUS}')}").split()[2]
    say(text.replace("confirmed,", "unconfirmed,"))
    try:
        assert until(lambda: holders(edges) == [second]), holders(edges)
    finally:
        say(text)


def test_it_survives_the_end_of_keepalived_itself(host, edges, one_holder, until):
    first = one_holder()
    edges[first].check_output(f"systemctl kill --signal KILL {UNIT}")
    assert until(lambda: len(holders(edges)) == 1), holders(edges)
    assert until(lambda: answers(host))
    assert until(lambda: edges[first].service(UNIT).is_running)


def test_one_edge_holds_it_even_if_none_is_healthy(edges, one_holder):
    for edge in edges.values():
        edge.check_output("systemctl stop haproxy")
    time.sleep(6)
    one_holder()
