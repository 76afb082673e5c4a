# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Which apps one run is about."""

from __future__ import annotations

import typing as t


def chosen(apps: list[dict[str, t.Any]], only: str = "", release: str = "") -> list[dict[str, t.Any]]:
    """Return the apps of one run: all, or the one named *only*; *release* stands in for the inventory's."""
    picked = [app for app in apps if not only or app["name"] == only]
    return [{**app, "release": release} for app in picked] if release else picked


def choice_problems(apps: list[dict[str, t.Any]], only: str = "", release: str = "") -> list[str]:
    """Return why *only* and *release* choose nothing that can be deployed."""
    names = ", ".join(app.get("name", "?") for app in apps)
    if only and not apps:
        return [f"app_deploy: app_deploy_apps: found it empty, need app {only}. Set app_deploy_apps in the inventory."]
    if only and only not in [app.get("name") for app in apps]:
        return [f"app_deploy: app: found {only}, need one of {names}. Set app to an app of app_deploy_apps."]
    if release and not only and len(apps) > 1:
        return [f"app_deploy: release: found {release} for {len(apps)} apps ({names}), need one app. Set app."]
    if release == "latest":
        return ["app_deploy: release: found latest, need a fixed tag. Set release to the tag to deploy."]
    return []


def hosts(names: list[str], hostvars: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the app hosts as C(_app_problems.problems) takes them, read from the inventory.

    Memory is None where no fact reports it.
    """
    found = {}
    for name in names:
        facts = hostvars[name]
        megabytes = facts.get("ansible_facts", {}).get("memtotal_mb")
        found[name] = {
            "address": facts.get("platform_address"),
            "memory_bytes": megabytes * 1024**2 if megabytes else None,
        }
    return found
