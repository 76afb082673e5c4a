# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each wrong input is refused with its sentence, and the hosts are as they were."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

LIMITS = {"memory": "64m", "cpus": 0.1, "pids": 32}
SERVICE = {"image": "registry.lab:5000/shop/app", "healthcheck": ["CMD", "true"], "resources": LIMITS, "user": "10001"}
GOOD: dict[str, Any] = {
    "name": "shop",
    "release": "1.0",
    "hosts": ["shop.lab.test"],
    "port_base": 20000,
    "services": [
        {**SERVICE, "name": "api", "kind": "web", "port": 8000, "routes": [{"path": "/"}]},
        {**SERVICE, "name": "worker", "kind": "worker"},
        {**SERVICE, "name": "bot", "kind": "singleton", "host": "app1"},
    ],
}


def app(mutate: Callable[[dict[str, Any]], Any]) -> list[str]:
    """The arguments that stand this app in for the inventory's, with one thing wrong in it."""
    changed = copy.deepcopy(GOOD)
    mutate(changed)
    return ["-e", json.dumps({"app_deploy_apps": [changed]})]


def service(number: int, **options: Any) -> list[str]:
    return app(lambda changed: changed["services"][number].update(options))


def apps(**options: Any) -> list[str]:
    return ["-e", json.dumps({"app_deploy_apps": [GOOD, {**GOOD, **options}]})]


BAD = {
    "limit without the record host": (["--limit", "app1"], r"--limit"),
    "misspelt option": (
        ["-e", "app_deploy_relase=1.1"],
        r"unknown option on app_deploy_relase: found app_deploy_relase, need app_deploy_release\. Rename the variable",
    ),
    "latest": (["-e", "app_deploy_release=latest"], r"app_deploy_release: found latest, need a fixed tag"),
    "unknown app": (["-e", "app_deploy_only=shopp"], r"app_deploy_only: found shopp, need one of shop"),
    "option of another type": (["-e", "app_deploy_wait_seconds=soon"], r"app_deploy_wait_seconds.*int"),
    "release that is nowhere": (["-e", "app_deploy_release=9.9"], r"9\.9.*(not found|unknown)"),
    "registry password": (
        [
            "-e",
            "app_deploy_release=1.1",
            "-e",
            json.dumps(
                {"app_deploy_registries": [{"host": "registry.lab:5000", "user": "lab", "password": "not-the-one"}]}
            ),
        ],
        r"registry\.lab:5000.*",
    ),
    "two singletons": (service(2, replicas=2), r"replicas of service shop/bot: found 2, need 1"),
    "two services on one route": (
        service(1, kind="web", port=1, routes=[{"path": "/"}]),
        r"route shop\.lab\.test/: found services shop/api and shop/worker, need one",
    ),
    "image with a tag": (service(0, image="registry.lab:5000/shop/app:1.0"), r"need a name without a tag"),
    "no route": (service(0, routes=[]), r"routes of service shop/api: found none"),
    "no limit": (service(0, resources={"cpus": 1, "pids": 9}), r"resources\.memory of service shop/api: found none"),
    "user by name": (service(0, user="www"), r"user of service shop/api: found www, need a numeric user id"),
    "host that is none": (service(2, host="app9"), r"host of service shop/bot: found app9, need one of app1, app2"),
    "secret still sealed": (
        service(0, secrets=[{"name": "database_password", "value": "$ANSIBLE_VAULT;1.1;AES256 00"}]),
        r"secret database_password of service shop/api: found a sealed vault text",
    ),
    "more memory than there is": (service(0, resources={**LIMITS, "memory": "900g"}), r"memory of host app1: found"),
    "more connections than there are": (
        app(
            lambda changed: (
                changed["services"][0].update(connections=50),
                changed.update(database={"max_connections": 100}),
            )
        ),
        r"database connections of app shop: found room for 95, need 200",
    ),
    "canary that cannot be": (
        app(lambda changed: changed.update(strategy={"type": "canary"})),
        r"strategy of app shop",
    ),
    "ports of two apps": (apps(name="shop2", port_base=20050), r"ports of apps shop and shop2"),
    "one name twice": (apps(port_base=30000), r"app shop: found it more than once"),
}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return rig.snapshot()


@pytest.mark.parametrize(("arguments", "sentence"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_and_nothing_changes(
    arguments: list[str], sentence: str, before: dict[str, str], folder: Path
) -> None:
    run = rig.play(shop.DEPLOY, *arguments, folder=folder)
    assert run.code != 0
    shop.assert_says(run, sentence)
    assert rig.snapshot() == before
    assert "not-the-one" not in run.output
