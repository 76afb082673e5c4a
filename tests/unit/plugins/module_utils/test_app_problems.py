# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which apps are refused, and beside each the nearest that is not."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_problems,
    _edge,
    _edge_record,
    _model,
    _ports,
    _release_content,
)
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import (
    HOSTS,
    app,
    background,
    service,
)

JOB: dict[str, Any] = {"kind": "scheduled", "schedule": "*-*-* 03:00:00", "healthcheck": []}
BOT = {"name": "bot", "kind": "singleton"}
SECRET = {"name": "key", "value": "canary-4711"}
WAIVER = {"rule": "root-user", "reason": "It binds a low port."}


def problems(*apps, facts=None, edges=("edge1",), hosts=None):
    return _app_problems.problems(list(apps), HOSTS if hosts is None else hosts, list(edges), facts)


def with_service(**options):
    return app(service(**options))


def with_beside(**options):
    return app(service(), background(**options))


def limits(**options):
    return {"memory": "64m", "cpus": 0.5, "pids": 50, **options}


SOUND = [
    pytest.param(app(), id="the least"),
    pytest.param(app(name="a" + "b" * 30), id="long name"),
    pytest.param(app(name="edges"), id="name like a reserved one"),
    pytest.param(app(name="shop-blue"), id="name with a colour"),
    pytest.param(app(release=7), id="release as a whole number"),
    pytest.param(app(release="1.0-rc.1_b"), id="release with signs"),
    pytest.param(app(hosts=["shop.test", "localhost"]), id="two names"),
    pytest.param(app(port_base="20000"), id="port as text"),
    pytest.param(with_service(image="registry.test:5000/shop/api"), id="registry with a port"),
    pytest.param(app(service(routes=[{"path": "/api"}]), service("b", routes=[{"path": "/apis"}])), id="routes"),
    pytest.param(app(service("api"), service("api-1"), service("api_1")), id="services that look alike"),
    pytest.param(app(service(), background("mail", replicas=2), background("mail-2")), id="workers that look alike"),
    pytest.param(with_service(routes=[{"path": "/api"}, {"path": "/a/b-c_d.e~f"}]), id="path with signs"),
    pytest.param(with_service(health={"path": "/api/ready?full=1", "interval_seconds": 0.5}), id="health with a query"),
    pytest.param(with_service(env={"A": False, "B": 1.5, "C": "", "D": "a\nb", "e.f": "x"}), id="environment"),
    pytest.param(with_service(command=["sh", "-c", "a\nb", True, 1]), id="command"),
    pytest.param(with_service(healthcheck=["CMD-SHELL", "a || b"]), id="shell"),
    pytest.param(with_service(volumes=["data:/data:ro", "/srv/x:/x"]), id="volumes"),
    pytest.param(with_service(user="0", waivers=[WAIVER]), id="root with a reason"),
    pytest.param(with_service(user=10001), id="user as a number"),
    pytest.param(with_service(secrets=[SECRET, {"name": "a.b-c", "value": 1}]), id="secrets"),
    pytest.param(with_service(replicas=2, replicas_max=4), id="replicas"),
    pytest.param(with_beside(**JOB), id="job"),
    pytest.param(with_beside(**{**JOB, "schedule": "Mon..Fri *-*-1..7 18:00/15:00 Europe/Berlin"}), id="calendar"),
    pytest.param(with_beside(**BOT, host="app2"), id="singleton"),
    pytest.param(app(migration=[{"service": "api", "command": ["x"], "phase": "contract"}]), id="migration"),
    pytest.param(app(smoke=[{"path": "/api/x?y=1", "host": "shop.test", "status": 404}]), id="smoke"),
    pytest.param(app(probe={"url": "https://shop.test/x"}), id="probe"),
    pytest.param(app(probe={"url": "https://10.0.0.1/x", "host": "shop.test"}), id="probe of an address"),
    pytest.param(app(service(health={"path": "/hidden"}), probe={"enabled": False}), id="no probe"),
    pytest.param(app(strategy={"drain": {"timeout_seconds": 0}, "warm_seconds": 0}), id="strategy"),
    pytest.param(app(service(connections=23), database={"max_connections": 100}), id="connections"),
]


@pytest.mark.parametrize("described", SOUND)
def test_a_sound_app_has_no_problem(described):
    kept = copy.deepcopy(described)
    assert problems(described) == []
    assert described == kept


NAMES = [
    pytest.param(app(name="edge"), "name of app edge: found edge, which is reserved", id="reserved"),
    pytest.param(app(name=".removed"), "name of app .removed: found .removed", id="hidden folder"),
    pytest.param(app(name="Shop"), "name of app Shop: found Shop", id="large letter"),
    pytest.param(app(name="a" * 32), "need a small letter and up to 30", id="long"),
    pytest.param(app(name="shop\n"), r"name of app number 1: found 'shop\n', need one line", id="newline"),
    pytest.param(app(name=None), "name of app number 1: found none", id="none"),
    pytest.param(app(release="latest"), "release of app shop: found latest", id="latest"),
    pytest.param(app(release=""), "release of app shop: found none", id="no release"),
    pytest.param(app(release=1.1), "release of app shop: found 1.1, need .* write a version in quotes", id="float"),
    pytest.param(app(release="1.0+2"), "release of app shop: found 1.0+2", id="release with a plus"),
    pytest.param(app(hosts=[]), "hosts of app shop: found none", id="no host"),
    pytest.param(app(hosts=["Bad Host"]), "hosts of app shop: found 'Bad Host'", id="space"),
    pytest.param(app(hosts=["Shop.test"]), "found Shop.test, need .* Write shop.test", id="upper case"),
    pytest.param(app(hosts=["shop.test", "*.test"]), r"found *.test, need full names, as wildcards are not", id="star"),
    pytest.param(app(hosts=["shop.test:443"]), "hosts of app shop: found shop.test:443", id="port"),
    pytest.param(app(hosts=["shop.test", "shop.test"]), "found shop.test more than once", id="host twice"),
    pytest.param(app(hosts="shop.test"), "hosts of app shop: found shop.test, need a list", id="no list"),
    pytest.param(app(service("../x")), "name of service shop/../x: found ../x", id="service path"),
    pytest.param(app(service("api.1")), "name of service shop/api.1: found api.1", id="service with a dot"),
    pytest.param(app(service("Api", image="x")), "name of service shop/Api: found Api", id="service in large letters"),
    pytest.param(app(service("a" * 64)), "name of service shop/a", id="long service"),
    pytest.param(app(service("x"), service("x")), "services of app shop: found x more than once", id="service twice"),
]
PORTS = [
    pytest.param(app(port_base=None), "port_base of app shop: found none", id="none"),
    pytest.param(app(port_base=80), "port_base of app shop: found 80-179", id="low"),
    pytest.param(app(port_base=65500), "found 65500-65599, need ports from 1024 to 65535", id="high"),
    pytest.param(app(port_base="many"), "port_base of app shop: found many, need a whole number", id="text"),
    pytest.param(app(port_count=0), "port_count of app shop: found 0", id="no port"),
    pytest.param(app(port_count=1), "found no free port in 20000-20000", id="too few"),
    pytest.param(with_service(port=None), "port of service shop/api: found none", id="no port of the service"),
    pytest.param(with_service(port=70000), "port of service shop/api: found 70000", id="port of the service"),
    pytest.param(with_service(port=True), "port of service shop/api: found True, need a whole number", id="boolean"),
]
ROUTES = [
    pytest.param(with_service(routes=[]), "routes of service shop/api: found none", id="none"),
    pytest.param(with_service(routes=[{"path": "/api/*"}]), "found /api/*, need a prefix .* Write /api.", id="glob"),
    pytest.param(with_service(routes=[{"path": "/*"}]), "found /*, need a prefix .* Write /.", id="glob of all"),
    pytest.param(with_service(routes=[{"path": "/a?b"}]), "found /a?b, need a prefix .* Write /a.", id="query"),
    pytest.param(with_service(routes=[{"path": "api"}]), "found api, need a path that starts with /", id="no slash"),
    pytest.param(with_service(routes=[{"path": "/a b"}]), "found '/a b', need a path", id="space"),
    pytest.param(with_service(routes=[{"path": "/a\nb"}]), r"found '/a\nb', need one line", id="newline"),
    pytest.param(with_service(routes=[{"host": "x.test"}]), "found host x.test, need one of shop.test", id="host"),
    pytest.param(with_beside(routes=[{"path": "/"}]), "routes of service shop/worker: found it set on a", id="worker"),
    pytest.param(
        app(service(), service("b", routes=[{"path": "/api/"}], health={"path": "/api/x"})),
        "route shop.test/api/: found services shop/api and shop/b",
        id="twice",
    ),
]
HEALTH = [
    pytest.param(with_service(protocol="http2"), "protocol of service shop/api: found http2", id="protocol"),
    pytest.param(
        with_service(protocol="grpc", health={"path": "/ready", "interval_seconds": 2}),
        "health of service shop/api: found path, need interval_seconds alone",
        id="health of gRPC",
    ),
    pytest.param(with_service(health={"path": "api"}), "health.path of service shop/api: found api", id="path"),
    pytest.param(with_service(health={"path": "/a b"}), "health.path of service shop/api: found '/a b'", id="space"),
    pytest.param(with_service(health={"path": "/a#b"}), "health.path of service shop/api: found /a#b", id="comment"),
    pytest.param(with_service(health={"status": 99}), "health.status of service shop/api: found 99", id="status"),
    pytest.param(with_service(health={"status": "2xx"}), "found 2xx, need a whole number", id="status as a class"),
    pytest.param(with_service(health={"interval_seconds": 0}), "health.interval_seconds of service", id="interval"),
    pytest.param(with_service(health="/x"), "health of service shop/api: found /x, need a mapping", id="no mapping"),
    pytest.param(with_service(healthcheck=[]), "healthcheck of service shop/api: found none", id="no command"),
    pytest.param(with_service(healthcheck=["curl", "x"]), "found curl, need CMD or CMD-SHELL", id="no CMD"),
    pytest.param(with_service(healthcheck=["NONE"]), "found NONE, need CMD or CMD-SHELL", id="disabled"),
    pytest.param(with_service(healthcheck=["CMD-SHELL", "a", "b"]), "found CMD-SHELL and 2 words", id="shell words"),
    pytest.param(with_service(healthcheck="curl x"), "found 'curl x', need a list of words", id="text"),
    pytest.param(with_beside(health={"path": "/x"}), "health of service shop/worker: found it set on", id="worker"),
]
CONTAINERS = [
    pytest.param(with_service(image=""), "image of service shop/api: found none", id="no image"),
    pytest.param(with_service(image="r.test/api:1.0"), "need a name without a tag", id="tag"),
    pytest.param(with_service(image="r.test/api@sha256:00"), "need a name without a tag", id="digest"),
    pytest.param(with_service(image="r.test/API"), "image of service shop/api: found r.test/API", id="large letters"),
    pytest.param(with_service(image="r.test/a b"), "image of service shop/api: found 'r.test/a b'", id="space"),
    pytest.param(with_service(kind="job"), "kind of service shop/api: found job, need one of web", id="kind"),
    pytest.param(with_service(user="root"), "user of service shop/api: found root, need a numeric", id="root"),
    pytest.param(with_beside(user="root"), "user of service shop/worker: found root, need a numeric", id="worker"),
    pytest.param(with_service(user="0"), "user of service shop/api: found 0, need a user other than root", id="zero"),
    pytest.param(with_service(user="1:1"), "user of service shop/api: found 1:1", id="group"),
    pytest.param(with_service(stop_seconds=-1), "stop_seconds of service shop/api: found -1", id="stop"),
    pytest.param(with_service(connections=-1), "connections of service shop/api: found -1", id="connections"),
    pytest.param(with_service(read_only="no"), "read_only of service shop/api: found no, need true or", id="switch"),
    pytest.param(with_service(command="a b"), "command of service shop/api: found 'a b', need a list", id="command"),
    pytest.param(with_service(command=["a", None]), "need a list of words", id="empty word"),
    pytest.param(with_service(resources={"cpus": 1, "pids": 5}), "resources.memory of service shop/api", id="memory"),
    pytest.param(with_service(resources=limits(memory="x")), "found x, need a size such as 256m", id="memory size"),
    pytest.param(with_service(resources=limits(memory="1m")), "found 1m, need at least 6m", id="little memory"),
    pytest.param(with_service(resources=limits(cpus=0)), "resources.cpus of service shop/api: found 0", id="cpus"),
    pytest.param(with_service(resources=limits(pids=-1)), "resources.pids of service shop/api: found -1", id="pids"),
    pytest.param(
        with_service(waivers=[{"rule": "helthcheck", "reason": "x"}]), "found helthcheck, need health", id="rule"
    ),
    pytest.param(with_service(waivers=[{"rule": "read-only"}]), "waivers[0].reason of service shop/api", id="reason"),
    pytest.param(with_service(enviroment={}), "enviroment of service shop/api: found an unknown option", id="unknown"),
    pytest.param(with_service(volume=[]), "found an unknown option, need volumes. Rename", id="misspelt"),
    pytest.param(app(backend="kubernetes"), "backend of app shop: found an unknown option", id="backend"),
]
ENVIRONMENT = [
    pytest.param(with_service(env={"A": None}), "env.A of service shop/api: found no value", id="none"),
    pytest.param(with_service(env={"A": []}), "env.A of service shop/api: found a list", id="list"),
    pytest.param(with_service(env={"A": {"b": 1}}), "env.A of service shop/api: found a dict", id="mapping"),
    pytest.param(with_service(env={"A": "a\0b"}), "env.A of service shop/api: found a zero byte", id="zero byte"),
    pytest.param(with_service(env={"A B": "c"}), "env['A B'] of service shop/api", id="space in a name"),
    pytest.param(with_service(env={"1A": "c"}), "env['1A'] of service shop/api", id="digit first"),
    pytest.param(with_service(env={"": "c"}), "env[''] of service shop/api", id="no name"),
    pytest.param(with_service(env={1: "c"}), "env[1] of service shop/api", id="number"),
    pytest.param(with_service(env={"A=B": "c"}), "env['A=B'] of service shop/api", id="equals sign"),
    pytest.param(with_service(env={"EVENKEEL_HOST": "c"}), "found a name that is reserved", id="reserved"),
    pytest.param(with_service(env=["A=b"]), "env of service shop/api: found a list, need a mapping", id="pairs"),
]
SECRETS = [
    pytest.param(with_service(secrets=[{"name": "k"}]), "secret k of service shop/api: found no value", id="none"),
    pytest.param(with_service(secrets=[{"name": "k", "value": ""}]), "secret k of service shop/api", id="empty"),
    pytest.param(with_service(secrets=[{"name": "k", "value": ["x"]}]), "found a list, need a text", id="list"),
    pytest.param(
        with_service(secrets=[{"name": "k", "value": "$ANSIBLE_VAULT;1.1;AES256"}]), "found a sealed vault", id="sealed"
    ),
    pytest.param(
        with_service(secrets=[{"name": "../k", "value": "x"}]), "secrets of service shop/api: found ../k", id="path"
    ),
    pytest.param(
        with_service(secrets=[{"name": ".k", "value": "x"}]), "secrets of service shop/api: found .k", id="dot"
    ),
    pytest.param(with_service(secrets=[{"value": "x"}]), "secrets of service shop/api: found ''", id="no name"),
    pytest.param(with_service(secrets=[SECRET, SECRET]), "found key more than once", id="twice"),
    pytest.param(with_service(secrets=["key"]), "secrets.[0] of service shop/api", id="text"),
    pytest.param(with_service(secrets_as="environment"), "environment without a reason", id="reason"),
    pytest.param(with_service(secrets_as="stdin"), "secrets_as of service shop/api: found stdin", id="way"),
]
VOLUMES = [
    pytest.param(with_service(volumes=["/data"]), "found /data, need a named .* Write data:/data", id="anonymous"),
    pytest.param(with_service(volumes=["./x:/y"]), "found ./x:/y, need a full path on the host", id="relative"),
    pytest.param(with_service(volumes=["~/x:/y"]), "found ~/x:/y, need a full path on the host", id="home"),
    pytest.param(with_service(volumes=["a b:/y"]), "found 'a b:/y', need a volume name", id="name"),
    pytest.param(with_service(volumes=["x:y"]), "found x:y, need a full path in the container", id="target"),
    pytest.param(with_service(volumes=["x:/y:rx"]), "found x:/y:rx, need ro, rw", id="option"),
    pytest.param(with_service(volumes=["x:/y", "z:/y/"]), "found /y/ more than once", id="twice"),
    pytest.param(with_service(volumes=["x:/run/secrets"]), "need /run/secrets left to secrets", id="secrets"),
    pytest.param(with_service(volumes=[{"source": "x"}]), "need a list of texts", id="long form"),
]
REPLICAS = [
    pytest.param(with_beside(**BOT, replicas=2), "found 2, need 1, since a singleton", id="singleton twice"),
    pytest.param(with_beside(**JOB, replicas=2), "found 2, need 1, since a scheduled", id="job twice"),
    pytest.param(with_service(replicas=0), "replicas of service shop/api: found 0, need at least 1", id="none"),
    pytest.param(with_service(replicas=3, replicas_max=2), "found 3, need at most replicas_max 2", id="too many"),
    pytest.param(with_beside(**BOT, host="gone"), "host of service shop/bot: found gone, need one of app1", id="home"),
    pytest.param(
        with_beside(host="app1"), "host of service shop/worker: found app1 on a worker", id="home of a worker"
    ),
    pytest.param(with_beside(schedule="daily"), "schedule of service shop/worker: found it set", id="worker's times"),
]
SCHEDULES = [
    pytest.param("", "schedule of service shop/worker: found none", id="none"),
    pytest.param("0 3 * * *", 'cron\'s form .* Write schedule: "*-*-* 03:00:00"', id="cron"),
    pytest.param("*/15 8-18 * * mon-fri", 'Write schedule: "Mon..Fri *-*-* 08..18:00/15:00"', id="cron with steps"),
    pytest.param("@daily", 'Write schedule: "daily"', id="cron's word"),
    pytest.param("0 3 1 * 1", "found cron's form '0 3 1 * 1', need .* See systemd.time(7)", id="no single form"),
    pytest.param("daily\nOnBootSec=1", r"found 'daily\nOnBootSec=1', need one line", id="newline"),
    pytest.param("%H:00", "found %H:00, need a systemd calendar expression", id="specifier"),
    pytest.param("täglich", "found 'täglich', need a systemd calendar expression", id="letters"),
]
OTHERS = [
    pytest.param(app(migration=[{"service": "gone", "command": ["x"]}]), "found gone, need one of api", id="migration"),
    pytest.param(app(migration=[{"service": "api"}]), "migration[0].command of app shop: found none", id="no command"),
    pytest.param(app(migration=[{"command": ["x"]}]), "migration[0].service of app shop: found none", id="no service"),
    pytest.param(
        app(migration=[{"service": "api", "command": ["x"], "phase": "pre"}]), "migration[0].phase of app", id="phase"
    ),
    pytest.param(app(smoke=[{"path": "x"}]), "smoke[0].path of app shop: found x", id="smoke path"),
    pytest.param(app(smoke=[{"path": "/", "host": "x.test"}]), "smoke[0].host of app shop: found x.test", id="smoke"),
    pytest.param(app(smoke=[{"path": "/", "status": 1}]), "smoke[0].status of app shop: found 1", id="smoke status"),
    pytest.param(app(probe={"url": "shop.test/x"}), "probe.url of app shop: found shop.test/x", id="probe"),
    pytest.param(app(probe={"url": "https://[::1/x"}), "probe.url of app shop: found https://[::1/x", id="address"),
    pytest.param(app(probe={"url": "https://x.test/"}), "found x.test, need one of shop.test", id="probe of another"),
    pytest.param(app(service(health={"path": "/x"})), "probe of app shop: found no health check", id="no probe"),
    pytest.param(app(strategy={"type": "canary"}), "strategy.type of app shop: found an unknown option", id="canary"),
    pytest.param(app(strategy={"gate": {"successes": 0}}), "strategy.gate.successes of app shop: found 0", id="gate"),
    pytest.param(app(database={"reserved": 1}), "database.max_connections of app shop: found none", id="database"),
    pytest.param(app(services=[]), "services of app shop: found none", id="no service"),
    pytest.param(app(services=[background()]), "services of app shop: found no web service", id="no web service"),
    pytest.param(app(services={"api": {}}), "services of app shop: found {'api': {}}, need a list", id="a mapping"),
    pytest.param("shop", "item of app number 1: found shop, need a mapping", id="no app"),
    pytest.param(
        app(service(connections=30), database={"max_connections": 100}), "found room for 95, need 120", id="connections"
    ),
]


def says(found, expected):
    """A sentence holds the parts of what is expected, in order; between them stands C( .* )."""
    pattern = ".*".join(re.escape(part) for part in expected.split(" .* "))
    return any(re.search(pattern, sentence) for sentence in found)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        *NAMES, *PORTS, *ROUTES, *HEALTH, *CONTAINERS, *ENVIRONMENT, *SECRETS, *VOLUMES, *REPLICAS, *OTHERS,
    ],
)  # fmt: skip
def test_each_problem_is_named(described, expected):
    found = problems(described)
    assert says(found, expected), found
    assert len(found) == 1, found
    assert all(sentence.startswith("app_deploy: ") and "\n" not in sentence for sentence in found)


@pytest.mark.parametrize(("schedule", "expected"), SCHEDULES)
def test_each_schedule_is_named(schedule, expected):
    found = problems(with_beside(**{**JOB, "schedule": schedule}))
    assert says(found, expected), found
    assert len(found) == 1, found


RECORD = _edge_record.record(_model.of(app()), _ports.allocate(_model.of(app())), HOSTS, "blue")
OTHER = {"name": "two", "hosts": ["two.test"], "port_base": 30000}


@pytest.mark.parametrize(
    ("apps", "facts", "expected"),
    [
        pytest.param([app(), app(**{**OTHER, "port_base": 20050})], {}, "need ranges that do not overlap", id="ranges"),
        pytest.param([app(), app(**{**OTHER, "port_base": 20100})], {}, "", id="ranges side by side"),
        pytest.param([app(), app(**{**OTHER, "hosts": ["shop.test"]})], {}, "found apps shop and two", id="name"),
        pytest.param([app(), app(**{**OTHER, "name": "shop"})], {}, "app shop: found it more than once", id="twice"),
        pytest.param([app(), app(**{**OTHER, "name": "shop-blue"})], {}, "", id="apps that look alike"),
        pytest.param([app(port_base=30000)], {"records": {"shop": RECORD}}, "", id="changed base of its own"),
        pytest.param(
            [app(**{**OTHER, "port_base": 20000})],
            {"records": {"shop": RECORD}},
            "port_base of app two: found 20000, which serves app shop",
            id="ports in use by an app",
        ),
        pytest.param(
            [app(hosts=["new.test"]), app(**{**OTHER, "hosts": ["shop.test"]})],
            {"records": {"shop": RECORD}},
            "public name shop.test of app two: found a release of app shop that still serves it",
            id="name in use by an app",
        ),
        pytest.param([app(hosts=["new.test"])], {"records": {"shop": RECORD}}, "", id="name given up"),
        pytest.param(
            [app()],
            {"ports": {"app1": {20005: "grafana"}}},
            "port_base of app shop: found 20005 in use by grafana on app1",
            id="port in use",
        ),
        pytest.param([app()], {"ports": {"app1": {20000: "shop-blue", 19999: "x"}}}, "", id="ports of its own"),
        pytest.param(
            [app(port_base=30000)],
            {"ports": {"app1": {20001: "grafana"}}, "records": {"shop": RECORD}},
            "found 20001 in use by grafana",
            id="recorded port in use",
        ),
        pytest.param(
            [app()], {"stacks": {"app1": ["shop-blue"]}}, "name of app shop: found stack shop-blue on app1", id="stack"
        ),
        pytest.param([app()], {"stacks": {"app1": ["shop-data", "shop"]}}, "", id="stacks that look alike"),
    ],
)
def test_what_else_is_there_counts(apps, facts, expected):
    found = problems(*apps, facts=facts)
    assert says(found, expected) if expected else found == [], found
    assert len(found) == bool(expected), found


@pytest.mark.parametrize(
    ("hosts", "edges", "expected"),
    [
        pytest.param({}, ["edge1"], "app hosts: found none", id="no app host"),
        pytest.param(HOSTS, [], "edge hosts: found none", id="no edge"),
        pytest.param({"app1": {"address": None}}, ["edge1"], "address of host app1: found none", id="no address"),
        pytest.param({"app1": {"address": "app1.test"}}, ["edge1"], "found app1.test, need an IP address", id="name"),
        pytest.param({"app 1": {"address": "fd00::1"}}, ["edge1"], "name of host app 1: found 'app 1'", id="host name"),
    ],
)
def test_hosts_are_checked(hosts, edges, expected):
    found = problems(app(), hosts=hosts, edges=edges)
    assert says(found, expected), found


def test_memory_of_both_colours_counts_on_every_host():
    described = app(service(resources=limits(memory="600m")), background("bot", "singleton", host="app2"))
    assert problems(described) == []
    described["services"][0]["resources"]["memory"] = "1010m"
    (sentence,) = problems(described)
    assert "memory of host app2: found 2048 MiB, need 2084 MiB for both colours" in sentence
    hosts = {"app1": {**HOSTS["app1"], "stacks_memory_bytes": 2**30}, "app2": {**HOSTS["app2"], "memory_bytes": None}}
    (sentence,) = problems(described, hosts=hosts)
    assert "memory of host app1: found 2048 MiB, need 3044 MiB" in sentence


def test_a_missing_secret_names_variable_and_command():
    described = with_service(secrets=[{"name": "database_password", "value": "(unknown)"}])
    facts = {"undefined": {"shop/api/database_password": "vault_password"}}
    assert problems(described, facts=facts) == [
        "app_deploy: secret database_password of service shop/api: found no value, as variable vault_password is not defined, "
        "need one. Set vault_password; write it with ansible-vault encrypt_string --stdin-name vault_password."
    ]


def test_a_release_that_was_kept_needs_the_secrets_it_names():
    model = _model.of(with_service(secrets=[SECRET, {"name": "new", "value": "x"}]))
    assert _app_problems.missing_secrets(model, {"api/key": "x", "api/new": "x"}) == []
    (sentence,) = _app_problems.missing_secrets(model, {"api/key": "x"})
    assert "secret new of service shop/api: found no value, need one" in sentence


def test_all_problems_are_named_at_once():
    broken = app(service(image="registry.test/api:1", healthcheck=[], port="x"), name="Shop", release="latest")
    found = problems(broken, app(**{**OTHER, "hosts": ["shop.test"]}), edges=[])
    assert len(found) == 7
    assert len(set(found)) == 7


def test_no_value_of_a_secret_is_shown():
    odd = [{"name": "a", "value": ["canary-4711"]}, {"name": "../b", "value": "canary-4711"}]
    assert "canary" not in repr(problems(with_service(secrets=odd)))
    assert "canary" not in repr(problems(with_service(secrets=[{"name": "a", "valu": "canary-4711"}])))
    assert "canary" not in repr(problems(with_service(secrets={"a": "canary-4711"})))
    assert "canary" not in repr(problems(with_service(secrets=["canary-4711"])))
    assert "canary" not in repr(problems(with_service(env={"A": ["canary-4711"]})))
    assert "canary" not in repr(problems(with_service(env=["A=canary-4711"])))


def test_a_waiver_needs_its_reason():
    waived = with_service(healthcheck=[], waivers=[{"rule": "healthcheck", "reason": "None of its own."}])
    assert problems(waived) == []
    waived["services"][0]["waivers"][0]["reason"] = ""
    assert says(problems(waived), "healthcheck of service shop/api: found none")


def test_a_sound_app_makes_a_record_that_the_edge_takes():
    for param in SOUND:
        described: Any = param.values[0]
        model = _model.of(described)
        made = _edge_record.record(model, _ports.allocate(model), HOSTS, "blue")
        assert _edge.record_problems(made) == [], param.id


EVERYTHING = app(
    service(
        command=["serve"],
        env={"A": "b"},
        secrets=[SECRET],
        volumes=["data:/data"],
        waivers=[WAIVER],
        user="10001",
        replicas_max=2,
        connections=1,
        traces=True,
        stop_seconds=5,
    ),
    background(**JOB, host="app1"),
    background("mail", replicas=2),
    migration=[{"service": "api", "command": ["x"], "revert": ["y"], "timeout_seconds": 5, "idempotent": True}],
    database={"max_connections": 100},
    smoke=[{"path": "/api", "host": "shop.test", "status": 200, "body": "x"}],
    probe={"url": "https://shop.test/api", "status": 200},
    strategy={"gate": {"successes": 1, "timeout_seconds": 5}, "drain": {"timeout_seconds": 5}, "warm_seconds": 5},
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70000) | st.floats() | st.text("aZ/.*:\n\0$ -é", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", max_size=2) | st.integers(), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(node, path=()):
    yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []:
        yield from places(value, (*path, key))


def test_an_app_with_every_option_is_sound():
    assert problems(EVERYTHING) == []


@given(st.sampled_from(sorted(places(EVERYTHING), key=str)), JUNK)
def test_whatever_stands_in_an_app_is_judged(place, junk):
    described: dict[str, Any] = copy.deepcopy({"app": EVERYTHING})
    keys = ["app", *place]
    node: Any = described
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = junk
    found = problems(described["app"], app(**OTHER), facts={"records": {"shop": RECORD}})
    assert all(re.fullmatch(r"app_deploy: [^\x00-\x1f]+: found [^\x00-\x1f]+\.", sentence) for sentence in found), found
    if not found:
        model = _model.of(described["app"])
        _release_content.content(model, {})
        _model.secret_values(described["app"])


def test_what_only_the_edge_finds_is_reported(monkeypatch):
    monkeypatch.setattr(_edge, "record_problems", lambda _record: ["edge: x of app shop: Set edge_app."])
    assert problems(app()) == ["app_deploy: x of app shop: Set app_deploy_apps."]
