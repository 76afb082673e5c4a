# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of apps as an edge reads them."""

from __future__ import annotations

import copy
import re
import typing as t

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge


def record(**changes: t.Any) -> dict[str, t.Any]:
    server = {"name": "app1_1", "address": "192.0.2.21", "port": 20000}
    health = {"path": "/readyz", "status": 200, "host": "shop.example.com", "interval_seconds": 2}
    return {
        "schema": 2,
        "app": "shop",
        "hosts": ["shop.example.com", "www.example.com"],
        "services": {
            "api": {
                "health": {"blue": health, "green": dict(health)},
                "servers": {"blue": [server], "green": [{**server, "port": 20001}]},
            }
        },
        "routes": {"blue": [{"host": "*", "path": "/api/", "service": "api"}], "green": []},
        **changes,
    }


def test_good_record_has_no_problem() -> None:
    assert _edge.record_problems(record()) == []


def test_protocol_and_proto_are_optional() -> None:
    full = record()
    full["services"]["api"]["protocol"] = {"blue": "h2", "green": "grpc"}
    full["services"]["api"]["health"]["blue"] = {**full["services"]["api"]["health"]["blue"], "proto": "https"}
    full["services"]["api"]["health"]["green"] = {**full["services"]["api"]["health"]["green"], "proto": ""}
    assert _edge.record_problems(full) == []


def test_older_record_is_read_as_one_check_for_each_colour() -> None:
    older = record(schema=1)
    older["services"]["api"]["health"] = older["services"]["api"]["health"]["blue"]
    frozen = copy.deepcopy(older)
    assert _edge.upgraded(older) == record()
    assert older == frozen
    assert _edge.upgraded(record()) == record()
    assert _edge.record_problems(_edge.upgraded({"schema": 1, "app": "shop"}))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 3),
        (("app",), "Shop"),
        (("app",), "edge"),
        (("app",), "shop\n    server evil 192.0.2.66:80"),
        (("hosts",), []),
        (("hosts", 0), "shop.example.com\nbackend x"),
        (("hosts", 0), "SHOP.example.com"),
        (("services", "api", "health", "blue", "path"), "readyz"),
        (("services", "api", "health", "green", "path"), "/a b"),
        (("services", "api", "health", "green", "path"), '/a"b'),
        (("services", "api", "health", "green", "status"), "200 or 500"),
        (("services", "api", "health", "green", "interval_seconds"), 0),
        (("services", "api", "health", "green", "interval_seconds"), True),
        (("services", "api", "health", "green", "proto"), "http\n"),
        (("services", "api", "protocol"), "h2"),
        (("services", "api", "protocol"), {"blue": "h2", "red": "h2"}),
        (("services", "api", "protocol"), {"blue": "h2", "green": "http2"}),
        (("services", "api", "servers", "blue", 0, "address"), "app1"),
        (("services", "api", "servers", "blue", 0, "port"), 0),
        (("services", "api", "servers", "blue", 0, "port"), "20000"),
        (("services", "api", "servers", "blue", 0, "name"), "a b"),
        (("routes", "blue", 0, "host"), "other.example.com"),
        (("routes", "blue", 0, "path"), "/a\nb"),
        (("routes", "blue", 0, "service"), "web"),
    ],
)
def test_what_cannot_be_rendered_is_refused(path: tuple[t.Any, ...], value: t.Any) -> None:
    changed = copy.deepcopy(record())
    place: t.Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    found = _edge.record_problems(changed)
    assert found
    assert all(" of app " in line and ": found " in line and ", need " in line for line in found)


def test_every_problem_is_told_at_once() -> None:
    assert len(_edge.record_problems(record(schema=0, hosts=[]))) >= 2
    assert len(_edge.record_problems("nothing")) == 1


def test_name_of_two_apps_is_refused() -> None:
    other = record(app="blog", hosts=["blog.example.com", "www.example.com"])
    found = _edge.conflicts([record(), other])
    assert len(found) == 1
    assert "www.example.com" in found[0]
    assert _edge.conflicts([record()]) == []


def test_star_is_written_out_and_paths_end_with_a_slash() -> None:
    routes = [
        {"host": "*", "path": "/api/", "service": "api"},
        {"host": "shop.example.com", "path": "/", "service": "api"},
    ]
    table = _edge.routes(record(routes={"blue": routes, "green": []}), "blue")
    assert table == {"shop.example.com/": "api", "shop.example.com/api/": "api", "www.example.com/api/": "api"}
    assert _edge.map_text(table).splitlines()[0] == "shop.example.com/ api"


def test_merging_replaces_adds_and_removes() -> None:
    blog = record(app="blog", hosts=["blog.example.com"])
    assert [each["app"] for each in _edge.merged([record()], blog, "present", "blog")] == ["blog", "shop"]
    assert _edge.merged([record(), blog], blog, "absent", "blog") == [record()]
    assert _edge.merged([record()], None, "present", "") == [record()]
    changed = record(hosts=["new.example.com"])
    assert _edge.merged([record()], changed, "present", "shop") == [changed]


def test_fingerprint_tells_another_record() -> None:
    assert _edge.fingerprint([record()]) == _edge.fingerprint([record()])
    assert _edge.fingerprint([record()]) != _edge.fingerprint([])


def test_refusal_shows_the_line_and_the_place_it_will_have() -> None:
    output = (
        "[NOTICE]   (7) : haproxy version is 3.0.11\n"
        "[ALERT]    (7) : config : parsing [/tmp/x/etc/conf.d/50-app-shop.cfg:7] : unknown keyword 'x'.\n"
        "[ALERT]    (7) : config : Error(s) found in configuration file : /tmp/x/etc/conf.d/50-app-shop.cfg\n"
    )
    line = _edge.refusal(output, "/tmp/x", "/etc/haproxy")
    assert line == "parsing [/etc/haproxy/conf.d/50-app-shop.cfg:7] : unknown keyword 'x'"
    assert _edge.refusal("", "/tmp/x", "/etc/haproxy") == "no reason given"


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("forwarded", True),
        ("x-forwarded-for", True),
        ("x_forwarded_for", True),
        ("x.forwarded-for", True),
        ("x-forwarded-", True),
        ("a.b", True),
        ("x-forward", False),
        ("xforwardedfor", False),
        ("forwarded-by", False),
        ("a+b", False),
    ],
)
def test_header_pattern_takes_any_separator_and_a_star_at_the_end(name: str, removed: bool) -> None:
    pattern = _edge.header_pattern(["Forwarded", "X-Forwarded-*", "A.B"])
    assert bool(re.search(pattern, name)) is removed
