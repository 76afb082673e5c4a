# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""An app as the shape of a normalised Compose project with typed additions.

C(of) translates one item of C(app_deploy_apps) into a *model*, which every later function takes: no later one asks
whether the services stood in a Compose file or in the inventory. A model holds plain data only, names its secrets and
never holds the value of one. C(_app_problems.problems) reports what is wrong with an
item; C(of) expects one in which it finds nothing.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_shape, _compose_app, _compose_policy
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import plain, word

COLOURS = ("blue", "green")
# Of a list of services in the inventory; those of a Compose file are more, see _compose_app.KINDS.
KINDS = ("web", "worker", "singleton", "scheduled")
# Kinds that run in both colours.
IN_COLOUR = _compose_app.IN_COLOUR
# The key of a Compose service under which stands what Compose has no word for.
EXTENSION = _compose_app.EXTENSION

HEALTH_DEFAULTS: dict[str, t.Any] = {
    "path": "/healthz",
    "status": 200,
    "body": "",
    "release_key": "release",
    "interval_seconds": 1,
}
MIGRATION_DEFAULTS: dict[str, t.Any] = {
    "phase": "expand",
    "idempotent": False,
    "timeout_seconds": 600,
    "revert": [],
}
STRATEGY_DEFAULTS: dict[str, t.Any] = {
    "gate": {"successes": 3, "interval_seconds": 0.3, "timeout_seconds": 60},
    "drain": {"timeout_seconds": 30},
    "warm_seconds": 600,
}
DATABASE_DEFAULTS: dict[str, int] = {"reserved": 5}
SMOKE_DEFAULTS: dict[str, t.Any] = {"status": 200, "body": ""}
PORT_COUNT = 100
STOP_SECONDS = 15
MEMORY_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Additions(t.TypedDict):
    """What stands under C(x-evenkeel) of a service."""

    kind: str
    port: int
    protocol: str
    routes: list[dict[str, str]]
    health: dict[str, t.Any]
    replicas: int
    replicas_max: int
    schedule: str
    host: str
    secrets: list[dict[str, str]]
    connections: int
    traces: bool
    waivers: list[dict[str, str]]


class Shared(t.TypedDict, total=False):
    """What only a model of a Compose file has."""

    # Of each colour, with how they are made; without any, each stack has one of its own.
    networks: dict[str, dict[str, t.Any]]
    # What travels with the release: by its content's hash each path with its data in base64 and its mode.
    files: dict[str, dict[str, dict[str, str]]]


class Model(Shared):
    """An app; C(services) maps a name to Compose's keys and C(x-evenkeel)."""

    name: str
    release: str
    hosts: list[str]
    port_base: int
    port_count: int
    migration: list[dict[str, t.Any]]
    strategy: dict[str, t.Any]
    database: dict[str, int]
    smoke: list[dict[str, t.Any]]
    probe: dict[str, t.Any]
    services: dict[str, dict[str, t.Any]]
    # With a name it is the app's, made once on each host; without one each stack has its own.
    volumes: dict[str, dict[str, t.Any]]


def additions(service: dict[str, t.Any]) -> Additions:
    """Return what stands under C(x-evenkeel) of a service of a model."""
    return t.cast(Additions, service[EXTENSION])


def of_kind(model: Model, *kinds: str) -> dict[str, dict[str, t.Any]]:
    """Return the services whose kind is one of *kinds*, in the order in which they are written."""
    return {name: service for name, service in model["services"].items() if additions(service)["kind"] in kinds}


def memory_bytes(size: str | int) -> int:
    """Return the bytes of a Compose memory size such as C(256m); raises C(ValueError) for anything else."""
    match = re.fullmatch(r"(\d+)([bkmg]?)b?", str(size).strip().lower())
    if not match:
        raise ValueError(f"{size!r} is no memory size")
    return int(match[1]) * MEMORY_UNITS[match[2] or "b"]


def home_of(service: dict[str, t.Any], app_hosts: t.Sequence[str]) -> str:
    """Return the one host of a singleton or a scheduled service: the one it names, else the first app host."""
    return additions(service)["host"] or app_hosts[0]


def named_volumes(mounts: t.Iterable[str | dict[str, t.Any]]) -> list[str]:
    """Return the names of the volumes among mounts, in Compose's short form or its long one."""
    found = set()
    for mount in mounts:
        if isinstance(mount, dict):
            found |= {mount["source"]} if mount["type"] == "volume" and mount.get("source") else set()
        elif ":" in mount and not mount.startswith(("/", ".")):
            found.add(mount.partition(":")[0])
    return sorted(found)


def of(app: dict[str, t.Any], project: dict[str, t.Any] | None = None, strict: bool = False) -> Model:
    """Return the model of one item of C(app_deploy_apps), every default filled in.

    *project* is what Compose has made of the item's file; *strict* is C(app_deploy_policy). Raises C(ValueError) where
    a file was not read yet.
    """
    item, _complaints = _app_shape.read(app)
    strategy = {
        key: {**default, **item.get("strategy", {}).get(key, {})}
        if isinstance(default, dict)
        else item.get("strategy", {}).get(key, default)
        for key, default in STRATEGY_DEFAULTS.items()
    }
    release = item.get("release", "")
    migration = [{**MIGRATION_DEFAULTS, **step} for step in item.get("migration", [])]
    files: dict[str, t.Any] = {}
    if _app_shape.is_compose(app):
        if not project or not project["normal"]:
            raise ValueError(f"app_deploy: app {item['name']}: found its Compose file unread, need Compose on a host.")
        services, files = _compose_app.services(item, project, strict, _health)
        migration = [*_compose_app.once_steps(item, project, MIGRATION_DEFAULTS), *migration]
    else:
        rows = {row["name"]: row for row in item.get("services", [])}
        services = {name: _service(row, release, strategy["gate"]["timeout_seconds"]) for name, row in rows.items()}
    mounts = [mount for service in services.values() for mount in service.get("volumes", [])]
    volumes: dict[str, dict[str, t.Any]] = {name: {} for name in named_volumes(mounts)}
    shared: Shared = {}
    if project and _app_shape.is_compose(app):
        every = _compose_app.volumes(item["name"], project)
        volumes = {name: every[name] for name in volumes}
        shared = {"networks": _compose_app.networks(project), "files": files}
    model: Model = {
        "name": item["name"],
        "release": release,
        "hosts": item.get("hosts", []),
        "port_base": item.get("port_base", 0),
        "port_count": item.get("port_count", PORT_COUNT),
        "migration": migration,
        "strategy": strategy,
        "database": {**DATABASE_DEFAULTS, **item["database"]} if item.get("database") else {},
        "smoke": [{**SMOKE_DEFAULTS, **request} for request in item.get("smoke", [])],
        "probe": {"enabled": True, **item.get("probe", {})},
        "services": services,
        "volumes": volumes,
    }
    model.update(t.cast(t.Any, shared))
    return model


def secret_key(service: str, secret: dict[str, str]) -> str:
    """Return the key in C(secret_values) of a secret of a service."""
    return secret.get("key") or f"{service}/{secret['name']}"


def secret_values(app: dict[str, t.Any]) -> dict[str, str]:
    """Return the values of an item's secrets by C(<service>/<name>); one without a value is left out.

    Those that the services of a Compose file share stand by C(<name>).
    """
    if _app_shape.is_compose(app):
        values = {str(name): word(value) for name, value in (app.get("secrets") or {}).items() if value is not None}
        for name, more in (app.get("services") or {}).items():
            for secret in (more or {}).get("secrets") or []:
                if isinstance(secret, dict) and secret.get("value") is not None:
                    values[f"{name}/{secret['name']}"] = word(secret["value"])
        return values
    return {
        f"{service['name']}/{secret['name']}": word(secret["value"])
        for service in app.get("services") or []
        for secret in service.get("secrets") or []
        if secret.get("value") is not None
    }


def _service(row: dict[str, t.Any], release: str, gate_seconds: float) -> dict[str, t.Any]:
    kind = row.get("kind", "web")
    service: dict[str, t.Any] = {
        "image": f"{row['image']}:{release}",
        "environment": {str(key): word(value) for key, value in row.get("env", {}).items()},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "no" if kind == "scheduled" else "unless-stopped",
        "stop_grace_period": f"{row.get('stop_seconds', STOP_SECONDS)}s",
        "init": True,
        "logging": plain(_compose_policy.LOGGING),
    }
    if row.get("read_only", True):
        service["read_only"] = True
        service["tmpfs"] = ["/tmp"]  # noqa: S108 - a tmpfs inside the container
    if row.get("user"):
        service["user"] = f"{row['user']}:{row['user']}"
    for key in ("command", "volumes"):
        if row.get(key):
            service[key] = row[key]
    if row.get("healthcheck"):
        service["healthcheck"] = {
            "test": row["healthcheck"],
            # Often while it starts, seldom later: the edge asks every second anyway.
            "interval": "15s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{gate_seconds}s",
            "start_interval": "1s",
        }
    resources = row.get("resources", {})
    if "memory" in resources:
        service["mem_limit"] = service["memswap_limit"] = resources["memory"]
    if "cpus" in resources:
        service["cpus"] = resources["cpus"]
    if "pids" in resources:
        service["pids_limit"] = resources["pids"]
    service[EXTENSION] = _additions(row, kind)
    return service


def _additions(row: dict[str, t.Any], kind: str) -> Additions:
    how = {"as": row.get("secrets_as", "file")}
    if row.get("secrets_as_reason"):
        how["reason"] = row["secrets_as_reason"]
    replicas = row.get("replicas", 1)
    return {
        "kind": kind,
        "port": row.get("port", 0),
        "protocol": row.get("protocol", "http1") if kind == "web" else "",
        "routes": [{"path": "/", **route} for route in row.get("routes", [])] if kind == "web" else [],
        "health": _health(row) if kind == "web" else {},
        "replicas": replicas,
        "replicas_max": row.get("replicas_max", replicas),
        "schedule": row.get("schedule", ""),
        "host": row.get("host", ""),
        "secrets": [{"name": secret["name"], **how} for secret in row.get("secrets", []) if "name" in secret],
        "connections": row.get("connections", 0),
        "traces": row.get("traces", False),
        "waivers": row.get("waivers", []),
    }


def _health(row: dict[str, t.Any]) -> dict[str, t.Any]:
    health = {**HEALTH_DEFAULTS, **row.get("health", {})}
    if row.get("protocol") == "grpc":
        # The standard health service says whether it serves, and nothing of the release.
        health |= {"path": "/", "status": 200, "body": "", "release_key": ""}
    return health
