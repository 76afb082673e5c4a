# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every wrong input is refused with its sentence, all problems at once, and no host is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

IMAGE = "registry.lab:5000/shop/app"
LIMITS = {"memory": "64m", "cpus": 0.1, "pids": 32}
SERVICE = {"image": IMAGE, "healthcheck": ["CMD", "true"], "resources": LIMITS, "user": "10001"}
GOOD: dict[str, Any] = {
    "name": "shop",
    "release": "1.0",
    "hosts": ["shop.lab.test"],
    "port_base": 20000,
    "services": [{**SERVICE, "name": "api", "kind": "web", "port": 8000, "routes": [{"path": "/"}]}],
}
WRONG: dict[str, Any] = {
    **GOOD,
    "database": {"max_connections": 100},
    "services": [
        {**SERVICE, "name": "api", "kind": "web", "port": 8000, "routes": [{"path": "/"}], "connections": 50},
        {**SERVICE, "name": "front", "kind": "web", "port": 8000, "routes": [{"path": "/"}], "image": f"{IMAGE}:1.0"},
        {**SERVICE, "name": "lost", "kind": "web", "port": 8000, "routes": [], "user": "www"},
        {**SERVICE, "name": "worker", "kind": "worker", "resources": {"cpus": 1, "pids": 9}},
        {**SERVICE, "name": "bot", "kind": "singleton", "replicas": 2, "host": "app9"},
        {**SERVICE, "name": "large", "kind": "worker", "resources": {**LIMITS, "memory": "900g"}},
        {
            **SERVICE,
            "name": "sealed",
            "kind": "worker",
            "secrets": [{"name": "database_password", "value": "$ANSIBLE_VAULT;1.1;AES256 00"}],
        },
    ],
}
NOT_THE_PASSWORD = "not-the-password"  # typing errors of a user


def variables(**values: Any) -> list[str]:
    return ["-e", json.dumps(values)]


def registry(password: str) -> list[str]:
    return variables(
        release="1.1",
        retry="1.1",
        app_deploy_registries=[{"host": "registry.lab:5000", "user": "lab", "password": password}],
    )


BAD: dict[str, tuple[list[str], list[str]]] = {
    "limit that leaves an edge out": (["--limit", "app1"], [r"--limit"]),
    "misspelt option": (
        variables(app_deploy_relase="1.1"),
        [r"unknown option on app_deploy_relase: found app_deploy_relase, need app_deploy_release\. Rename"],
    ),
    "latest": (variables(release="latest"), [r"app_deploy: release: found latest, need a fixed tag"]),
    "unknown app": (variables(app="shopp"), [r"app_deploy: app: found shopp, need one of shop"]),
    "option of another type": (
        variables(wait="soon"),
        [r"option wait: found soon, need a whole number of seconds\. Type -e wait=300"],
    ),
    "release that is nowhere": (variables(release="9.9"), [r"9\.9"]),
    "registry password": (registry(NOT_THE_PASSWORD), [r"registry\.lab:5000"]),
    "an app with all that can be wrong": (
        variables(app_deploy_apps=[WRONG]),
        [
            r"image of service shop/front: found \S+, need a name without a tag",
            r"routes of service shop/lost: found none",
            r"user of service shop/lost: found www, need a numeric user id",
            r"resources\.memory of service shop/worker: found none",
            r"replicas of service shop/bot: found 2, need 1, since a singleton service may run once",
            r"host of service shop/bot: found app9, need one of app1, app2",
            r"secret database_password of service shop/sealed: found a sealed vault text",
            r"route shop\.lab\.test/: found services shop/api and shop/front, need one",
            r"memory of host app1: found \d+ MiB, need \d+ MiB",
            r"database connections of app shop: found room for 95, need 200",
        ],
    ),
    "two apps on the same ports and name": (
        variables(app_deploy_apps=[GOOD, {**GOOD, "name": "shop2", "port_base": 20050}, {**GOOD, "port_base": 30000}]),
        [
            r"ports of apps shop and shop2: found 20000-20099 and 20050-20149",
            r"app shop: found it more than once",
            r"public name shop\.lab\.test: found apps shop and shop2",
        ],
    ),
}


@pytest.fixture(scope="module", autouse=True)
def hosts_as_they_were() -> Iterator[None]:
    before = rig.snapshot()
    yield
    assert rig.snapshot() == before


@pytest.mark.parametrize(("arguments", "sentences"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_and_nothing_changes(arguments: list[str], sentences: list[str], folder: Path) -> None:
    run = rig.play(shop.DEPLOY, *arguments, folder=folder)
    assert run.code != 0
    for sentence in sentences:
        shop.assert_says(run, sentence)
    assert NOT_THE_PASSWORD not in run.output


@pytest.mark.parametrize("playbook", [shop.SITE, shop.DEPLOY])
def test_open_vault_beside_the_inventory_is_refused_and_nothing_changes(
    playbook: str, folder: Path, tmp_path: Path
) -> None:
    vault = tmp_path / "more" / "group_vars" / "all" / "vault.yml"
    vault.parent.mkdir(parents=True)
    vault.write_text(f"vault_word: {NOT_THE_PASSWORD}\n", encoding="utf-8")
    (tmp_path / "more" / "hosts.yml").write_text("all: {hosts: {edge1: {}}}\n", encoding="utf-8")
    run = rig.play(playbook, "-i", "inventories/lab", "-i", str(tmp_path / "more"), folder=folder)
    assert run.code != 0
    shop.assert_says(
        run, r"inventory: vault \S+/more/group_vars/all/vault\.yml: found it unencrypted, need it encrypted\."
    )
    assert run.tasks == ["Read what the checks need", "Check options, hosts and secrets"]
    assert NOT_THE_PASSWORD not in run.output
