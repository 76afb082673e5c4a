# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks are linted without their images, and every stack of an app is among them."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_problems, _model
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _checks
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import Missing

SERVICE: dict[str, Any] = {
    "image": "registry.example/redis:8",
    "user": "999:999",
    "ports": ["192.0.2.31:6379:6379"],
    "volumes": ["data:/data"],
    "healthcheck": {"test": ["CMD", "true"]},
    "mem_limit": "512m",
    "cpus": 0.5,
    "pids_limit": 64,
    "restart": "unless-stopped",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "logging": {"driver": "json-file", "options": {"max-size": "10m"}},
}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, ""),
        ({"privileged": True}, "privileged on service cache of stack shop"),
        ({"ports": ["6379:6379"]}, "open-port"),
        ({"volumes": ["/var/run/docker.sock:/s"]}, "docker-socket"),
        ({"environment": ["REDIS_PASSWORD=x"]}, "environment-secret"),
        ({"environment": ["REDIS_PASSWORD_FILE=/run/secrets/x"]}, ""),
        ({"mem_limit": None}, "memory-limit"),
        ({"image": "registry.example/redis"}, "image-tag"),
        ({"build": "."}, "build on service cache"),
        # The image may have what these lack.
        ({"healthcheck": None}, ""),
        ({"user": None}, ""),
        ({"user": "root"}, "root-user"),
        ({"healthcheck": {"disable": True}}, "healthcheck"),
    ],
)
def test_the_linter_needs_no_engine(change, found):
    definition = {"services": {"cache": {**SERVICE, **change}}}
    problems = _checks.stack_problems("shop", definition, [], [])
    assert len(problems) == bool(found), problems
    assert all(found in one for one in problems)


def test_a_waiver_with_a_reason_holds():
    definition = {"services": {"cache": {**SERVICE, "privileged": True}}}
    waiver = {"service": "cache", "rule": "privileged", "reason": "it loads a module"}
    assert _checks.stack_problems("shop", definition, [], [waiver]) == []
    assert len(_checks.stack_problems("shop", definition, [], [{**waiver, "reason": ""}])) == 1


def test_a_secret_of_nobody_is_named():
    secret = {"service": "cahce", "name": "x", "uid": 999, "value": "s3cret"}
    found = _checks.stack_problems("shop", {"services": {"cache": SERVICE}}, [secret], [])
    assert len(found) == 1
    assert "service on secret x of stack shop: found cahce, need cache" in found[0]
    assert "s3cret" not in found[0]


HOSTS = {"app1": {"address": "192.0.2.21"}, "app2": {"address": "192.0.2.22"}}
APP: dict[str, Any] = {
    "name": "shop",
    "release": "1.0",
    "hosts": ["shop.example"],
    "port_base": 20000,
    "services": [
        {
            "name": name,
            "image": "registry.example/shop",
            "kind": kind,
            "port": 8000,
            "routes": [{"path": "/"}],
            "schedule": "daily",
            "user": "10001",
            "healthcheck": ["CMD", "true"],
            "resources": {"memory": "64m", "cpus": 1, "pids": 64},
        }
        for name, kind in (("api", "web"), ("mail", "worker"), ("bot", "singleton"), ("report", "scheduled"))
    ],
    "migration": [{"service": "api", "command": ["migrate"]}],
}


@pytest.mark.parametrize(
    ("service", "stack"),
    [("api", "shop-blue"), ("mail", "shop-background"), ("bot", "shop-background"), ("report", "shop-background")],
)
def test_every_stack_of_an_app_is_linted(service, stack):
    app = copy.deepcopy(APP)
    assert _checks.app_stack_problems(_model.of(app), HOSTS) == []
    row = next(one for one in app["services"] if one["name"] == service)
    row["env"] = {"DATABASE_PASSWORD": "s3cret"}
    # Each finding once, whichever replicas and migrations run the same service.
    row["replicas"] = 2 if service in ("api", "mail") else 1
    found = _checks.app_stack_problems(_model.of(app), HOSTS)
    assert len(found) == 1
    what = "environment-secret DATABASE_PASSWORD"
    assert found[0].startswith(f"compose_release: {what} on service {service} of stack {stack}:")
    assert "s3cret" not in found[0]


def test_what_the_checks_of_an_app_name_is_not_told_twice():
    app = copy.deepcopy(APP)
    app["services"][0].update(user="0", resources={}, secrets_as="environment", secrets=[{"name": "x", "value": "y"}])
    named = _app_problems.problems([app], {}, ["edge1"])
    for key in ("user", "resources.memory", "resources.cpus", "resources.pids", "secrets_as"):
        assert [one for one in named if one.startswith(f"app_deploy: {key} of service shop/api: ")], key
    assert _checks.app_stack_problems(_model.of(app), HOSTS) == []


class Needing:
    """Stands for the checks of a host that lacks variables, and has read the Compose file of app blog."""

    roles = ("app_deploy",)
    web: ClassVar[dict[str, Any]] = {"image": "r.test/web:1", "secrets": [{"source": "db"}]}
    projects: ClassVar[dict[str, Any]] = {
        "blog": {"project": {"normal": {"services": {"web": web, "mail": {**web, "secrets": []}}}}}
    }

    def __init__(self, *missing):
        self.places = missing

    def view(self, _role):
        return SimpleNamespace(options={"app_deploy_apps": [{"name": "blog"}]})

    def missing(self):
        return [("app_deploy", Missing(variable, "", place, "")) for variable, place in self.places]


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        ([("token", "secret t of service api of app shop")], {"shop/api/t": "token"}),
        # Another role names it, with all that needs it.
        ([("token", "secret t of service api of app shop"), ("token", "password of redis shop")], {}),
        ([("token", "env of service api of app shop")], {}),
        ([("", "secret t of service api of app shop")], {}),
        ([("token", "db of secrets of app blog")], {"blog/web/db": "token"}),
        # No service reads it, or no host has read the file.
        ([("token", "api_key of secrets of app blog")], {}),
        ([("token", "db of secrets of app other")], {}),
    ],
)
def test_the_variable_behind_a_secret_of_an_app_is_known(missing, found):
    assert _checks.undefined_secrets({"app1": cast(_checks.HostChecks, Needing(*missing))}) == found


def test_an_app_that_is_no_app_yet_is_left_to_the_checks_of_apps():
    assert _checks.app_stack_problems(_model.of({**APP, "services": []}), HOSTS) == []


@pytest.mark.parametrize(
    ("flat", "value", "good"),
    [
        ({"type": "int"}, "80", True),
        ({"type": "int"}, "x", False),
        ({"type": "list", "elements": "dict"}, [{}], True),
        ({"type": "list", "elements": "dict"}, ["x"], False),
        ({"type": "str"}, 5, True),
        ({"type": "raw"}, object(), True),
    ],
)
def test_what_ansible_can_convert_fits(flat, value, good):
    assert _checks.fits(flat, value) == good


def test_an_image_that_cannot_be_had_is_named_once_with_its_hosts():
    cause = ["no such image in its registry (manifest unknown)", "Push it, or name a tag that exists"]
    missing = {"app1": {"r.test/web:9": cause}, "edge1": {}, "app2": {"r.test/web:9": cause}}
    assert _checks.image_problems(missing) == [
        "app_deploy: image r.test/web:9 on app1, app2: found no such image in its registry (manifest unknown), need it "
        "to be pulled. Push it, or name a tag that exists."
    ]


def test_the_release_that_was_typed_decides_which_images_are_asked_for():
    apps = [{"name": "shop", "release": "1.0"}, {"name": "blog", "release": "2"}]
    assert [one["release"] for one in _checks.with_release(apps, "1.1", "shop")] == ["1.1", "2"]
    assert _checks.with_release(apps, "", "") == apps
