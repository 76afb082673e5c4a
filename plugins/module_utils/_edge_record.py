# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What the edges are given of an app: record, gate targets, servers needed, and the probe after a move.

*Ports* are those of C(_ports.allocate), *hosts* maps each app host to C({"address": ...}). *proto* is what an edge puts
into C(X-Forwarded-Proto) for users: C(https) where it redirects to TLS, else an empty text.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _address, _model, _names
from ansible_collections.evenkeel.platform.plugins.module_utils._model import COLOURS, Model, additions

HTTPS = "https"
PROBE_KEYS = ("url", "host", "connect_to", "ca_file", "verify", "status", "release_key")


def routes_of(model: Model) -> list[dict[str, str]]:
    """Return host, path and service of each route; a route without a host stands once for every public name."""
    return [
        {"host": host, "path": route["path"], "service": name}
        for name, service in _model.of_kind(model, "web").items()
        for route in additions(service)["routes"]
        for host in ([route["host"]] if route.get("host") else model["hosts"])
    ]


def host_of(model: Model, name: str) -> str:
    """Return the public name under which users reach a service: that of its first route."""
    return next(route["host"] for route in routes_of(model) if route["service"] == name)


def record(
    model: Model,
    ports: dict[str, t.Any],
    hosts: dict[str, dict[str, t.Any]],
    colour: str,
    previous: dict[str, t.Any] | None = None,
    proto: str = HTTPS,
) -> dict[str, t.Any]:
    """Return the record of an edge with the app on its way to *colour*.

    *previous* is the record in force: for the other colour its routes, its health checks, the services that only that
    colour has, and the public names that it routes all stay.
    """
    other = COLOURS[1 - COLOURS.index(colour)]
    before = previous or {}
    services: dict[str, t.Any] = {}
    for name, service in _model.of_kind(model, "web").items():
        check = additions(service)["health"]
        health = {
            "path": check["path"],
            "status": check["status"],
            "host": host_of(model, name),
            "proto": proto,
            "interval_seconds": check["interval_seconds"],
        }
        former = before.get("services", {}).get(name, {})
        protocol = additions(service)["protocol"]
        services[name] = {
            "health": {colour: health, other: former.get("health", {}).get(other, health)},
            # A record without it is of HTTP/1.1.
            "protocol": {
                colour: protocol,
                other: former.get("protocol", {}).get(other, "http1") if former else protocol,
            },
            "servers": {side: _servers(ports[name][side], hosts) for side in COLOURS},
        }
    routes = before.get("routes", {}).get(other, [])
    for name in {route["service"] for route in routes} - set(services):
        services[name] = before["services"][name]
    routed = [before.get("hosts", []) if route["host"] == "*" else [route["host"]] for route in routes]
    return {
        "schema": 2,
        "app": model["name"],
        "hosts": list(dict.fromkeys([*model["hosts"], *(host for names in routed for host in names)])),
        "services": services,
        "routes": {colour: routes_of(model), other: routes},
    }


def _servers(ports: list[int], hosts: dict[str, dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    return [
        {"name": f"{host}_{slot + 1}", "address": facts["address"], "port": port}
        for host, facts in hosts.items()
        for slot, port in enumerate(ports)
    ]


def gate_targets(
    model: Model,
    colour: str,
    ports: dict[str, t.Any],
    hosts: dict[str, dict[str, t.Any]],
    proto: str = HTTPS,
) -> list[dict[str, t.Any]]:
    """Return every replica of every web service of *colour*, asked as the edge asks it."""
    targets = []
    for name, service in _model.of_kind(model, "web").items():
        health = additions(service)["health"]
        for host, facts in hosts.items():
            for slot in range(additions(service)["replicas"]):
                targets.append(
                    {
                        "name": f"{_names.replica_name(name, slot + 1)}@{host}",
                        "url": f"http://{_address.join(facts['address'], ports[name][colour][slot])}{health['path']}",
                        "host": host_of(model, name),
                        "proto": proto,
                        "protocol": additions(service)["protocol"],
                        "status": health["status"],
                        "body": health["body"],
                        "release_key": health["release_key"],
                    }
                )
    return targets


def minimum_servers(model: Model, hosts: t.Collection[str], in_force: dict[str, t.Any]) -> dict[str, int]:
    """Return how many servers of each service must have passed a check before traffic may move to its colour.

    A service that only the record *in_force* has, for the other colour, needs none.
    """
    gone = dict.fromkeys(in_force.get("services", {}), 0)
    web = _model.of_kind(model, "web")
    return {**gone, **{name: additions(service)["replicas"] * len(hosts) for name, service in web.items()}}


def routed(model: Model, host: str, path: str) -> str:
    """Return the service that the edge sends a request to, an empty text for none; the longest path wins."""
    asked = path.partition("?")[0].rstrip("/") + "/"
    matching = [
        (len(route["path"].rstrip("/")), route["service"])
        for route in routes_of(model)
        if route["host"] == host and asked.startswith(route["path"].rstrip("/") + "/")
    ]
    return max(matching)[1] if matching else ""


def default_probe(model: Model, edge_https_port: int = 443) -> dict[str, t.Any]:
    """Return a request that a user of this app can make, empty when the app names none.

    The health check of a service, where the edge routes its path to that very service: first one in whose answer the
    app reports its release. Else the first smoke request, whose answer need not hold a release.
    """
    checks = []
    for name, service in _model.of_kind(model, "web").items():
        health = additions(service)["health"]
        host = host_of(model, name)
        if additions(service)["protocol"] == "grpc":
            # The path of its health check is no path of a user.
            continue
        if routed(model, host, health["path"]) == name:
            checks.append({"host": host, **{key: health[key] for key in ("path", "status", "release_key")}})
    checks.sort(key=lambda check: not check["release_key"])
    checks += [{"host": model["hosts"][0], "release_key": "", **request} for request in model["smoke"]]
    if not checks:
        return {}
    check = checks[0]
    port = "" if edge_https_port == 443 else f":{edge_https_port}"
    return {
        "url": f"https://{check['host']}{port}{check['path']}",
        "host": check["host"],
        "status": check["status"],
        "release_key": check["release_key"],
        **_at_the_edge(edge_https_port),
    }


def probe(model: Model, edge_https_port: int = 443) -> dict[str, t.Any]:
    """Return what is asked through the public listener after a move: what the app sets, over the default one."""
    wanted = {key: value for key, value in model["probe"].items() if key in PROBE_KEYS}
    if not model["probe"]["enabled"]:
        return {}
    if wanted.get("url"):
        return {**_at_the_edge(edge_https_port), **wanted}
    default = default_probe(model, edge_https_port)
    return {**default, **wanted} if default else {}


def _at_the_edge(https_port: int) -> dict[str, t.Any]:
    # Each edge asks itself. Its certificate is monitored elsewhere and may be self-signed.
    return {"connect_to": f"127.0.0.1:{https_port}", "verify": False}
