# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which apps, release and hosts one run is about."""

from __future__ import annotations

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_choice
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils.described import app


def test_one_release_needs_one_app():
    apps = [app(), app(name="two")]
    assert "need one app. Set app" in _app_choice.choice_problems(apps, release="1.1")[0]
    assert _app_choice.choice_problems(apps, only="two", release="1.1") == []
    assert [one["release"] for one in _app_choice.chosen(apps, only="two", release="1.1")] == ["1.1"]
    assert "need one of shop, two" in _app_choice.choice_problems(apps, only="gone")[0]
    assert _app_choice.choice_problems([], only="shop") == [
        "app_deploy: app_deploy_apps: found it empty, need app shop. Set app_deploy_apps in the inventory."
    ]
    assert "found latest" in _app_choice.choice_problems(apps, only="two", release="latest")[0]


def test_hosts_are_read_from_the_inventory():
    hostvars = {
        "app1": {"platform_address": "10.0.0.21", "ansible_facts": {"memtotal_mb": 2048}},
        "app2": {"platform_address": "10.0.0.22"},
    }
    assert _app_choice.hosts(["app1", "app2"], hostvars) == {
        "app1": {"address": "10.0.0.21", "memory_bytes": 2**31},
        "app2": {"address": "10.0.0.22", "memory_bytes": None},
    }
