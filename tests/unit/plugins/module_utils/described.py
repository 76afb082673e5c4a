# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Items of app_deploy_apps for the tests, with nothing wrong in them."""

from __future__ import annotations

from typing import Any

HOSTS: dict[str, dict[str, Any]] = {
    "app1": {"address": "10.0.0.21", "memory_bytes": 2**31},
    "app2": {"address": "10.0.0.22", "memory_bytes": 2**31},
}


def background(name: str = "worker", kind: str = "worker", **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": f"registry.test/{name}",
        "kind": kind,
        "healthcheck": ["CMD", "true"],
        "resources": {"memory": "64m", "cpus": 0.5, "pids": 50},
        **options,
    }


def service(name: str = "api", **options: Any) -> dict[str, Any]:
    web = {"kind": "web", "port": 8000, "routes": [{"path": f"/{name}"}], "health": {"path": f"/{name}/ready"}}
    return background(name, **{**web, **options})


def app(*services: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "release": "1.0",
        "hosts": ["shop.test"],
        "port_base": 20000,
        "services": list(services) or [service()],
        **options,
    }
