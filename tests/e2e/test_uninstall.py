# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uninstall the shop and deploy it again; volumes and records are kept. The tests run in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

pytestmark = pytest.mark.long

UNINSTALL = "playbooks/uninstall.yml"
LEFT = (
    "for stack in blue green background; do"
    " docker ps --all --quiet --filter label=com.docker.compose.project=shop-$stack;"
    " ls -d /opt/evenkeel/stacks/shop-$stack 2>/dev/null; done;"
    " ls -d /etc/systemd/system/evenkeel-job-shop.* /etc/evenkeel/firewall.d/app-shop.nft 2>/dev/null || true"
)


@pytest.fixture(scope="module")
def volumes() -> dict[str, str]:
    """Return the volumes of the data host before the uninstallation."""
    return rig.on_hosts("data1", "docker volume ls --quiet | sort")


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        pytest.param([], r"uninstall: what to remove: found neither an app nor the platform, need one", id="nothing"),
        pytest.param(
            ["-e", "uninstall_app=shopp"], r"app_deploy: uninstall: found shopp, need one of shop\.", id="another app"
        ),
        pytest.param(
            ["-e", "uninstall_platform=prod"],
            r"uninstall_platform: found prod, need lab, the name of the inventory\.",
            id="another place",
        ),
    ],
)
def test_what_was_not_typed_in_full_is_refused(
    typed: list[str], sentence: str, volumes: dict[str, str], folder: Path
) -> None:
    before = rig.snapshot()
    run = rig.play(UNINSTALL, *typed, folder=folder)
    assert run.code != 0
    shop.assert_says(run, sentence)
    assert rig.snapshot() == before


@pytest.fixture(scope="module")
def uninstalled(volumes: dict[str, str], folder: Path) -> rig.Play:
    return rig.play(UNINSTALL, "-e", "uninstall_app=shop", folder=folder)


def test_nothing_of_the_app_is_left_but_volumes_and_records(uninstalled: rig.Play, volumes: dict[str, str]) -> None:
    assert uninstalled.code == 0, uninstalled.tail()
    assert rig.get("/") == (404, "No app answers to this name\n")
    assert set(rig.on_hosts("app", LEFT).values()) == {""}
    assert rig.on_hosts("data1", "docker volume ls --quiet | sort") == volumes
    kept = rig.on_hosts("edge", f"ls {rig.STATE}; ls /var/lib/evenkeel/.removed/shop-*/")
    for listed in kept.values():
        assert listed.split()[0] == "pair.json"
        assert "ledger.jsonl" in listed.split()


def test_second_uninstall_changes_nothing(uninstalled: rig.Play, folder: Path) -> None:
    assert uninstalled.code == 0
    again = rig.play(UNINSTALL, "-e", "uninstall_app=shop", folder=folder)
    assert again.code == 0, again.tail()
    assert again.changed == {}, "\n".join(again.changed_tasks)
    shop.assert_says(again, r"shop: no record of it is on these hosts, nothing to do")


def test_site_brings_the_app_back(uninstalled: rig.Play, folder: Path) -> None:
    assert uninstalled.code == 0
    run = rig.play(shop.SITE, folder=folder)
    assert run.code == 0, run.tail()
    assert rig.live_release() == shop.OLD
    shop.assert_sealed(folder)
