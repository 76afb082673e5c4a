# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What an app's description means: defaults filled in, ports given out, stacks and edge record laid out.

Everything here works on plain data and changes none of its arguments.
An *app* is one item of ``app_deploy_apps``; *ports* is ``{service: {"blue": [port, ...], "green": [...]}}``
with one port a replica slot; *hosts* is ``{host name: {"address": str, "memory_bytes": int, ...}}``.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _address, _compose_policy

COLOURS = ("blue", "green")
KINDS = ("web", "worker", "singleton", "scheduled")
OTLP_PORT = 4318

SERVICE_DEFAULTS: dict[str, t.Any] = {
    "kind": "web",
    "command": [],
    "routes": [],
    "replicas": 1,
    "env": {},
    "secrets": [],
    "secrets_as": "file",
    "volumes": [],
    "read_only": True,
    "stop_seconds": 15,
    "connections": 0,
    "healthcheck": [],
    "waivers": [],
}
HEALTH_DEFAULTS: dict[str, t.Any] = {
    "path": "/healthz",
    "status": 200,
    "body": "",
    "release_key": "release",
    "interval_seconds": 1,
}
STRATEGY_DEFAULTS: dict[str, t.Any] = {
    "type": "switch",
    "gate": {"successes": 3, "interval_seconds": 0.3, "timeout_seconds": 60},
    "drain": {"timeout_seconds": 30},
    "bake": {"seconds": 0},
    "warm_seconds": 600,
    "auto_rollback": False,
}
MIGRATION_DEFAULTS: dict[str, t.Any] = {
    "phase": "expand",
    "idempotent": False,
    "timeout_seconds": 600,
    "revert": [],
}
# The limits of a service, and the rule of compose_stack that waives each.
LIMIT_RULES = {"memory": "memory-limit", "cpus": "cpu-limit", "pids": "pids-limit"}
MIGRATION_LABEL = "evenkeel.migration"
MEMORY_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def _copied(value: t.Any) -> t.Any:
    """A copy that shares no dict or list; Ansible's own carry their templating along, which deepcopy would copy too."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(each) for each in value]
    return value


def complete(app: dict[str, t.Any]) -> dict[str, t.Any]:
    """Returns a copy of *app* in which every option that was left out has its default."""
    full = _copied(app)
    full.setdefault("backend", "compose")
    full.setdefault("hosts", [])
    full.setdefault("port_count", 100)
    full.setdefault("smoke", [])
    full["release"] = str(full.get("release", ""))
    full["services"] = [_complete_service(service) for service in full.get("services", [])]
    full["migration"] = [{**MIGRATION_DEFAULTS, **step} for step in full.get("migration", [])]
    strategy = full.get("strategy", {})
    full["strategy"] = {
        key: {**default, **strategy.get(key, {})} if isinstance(default, dict) else strategy.get(key, default)
        for key, default in STRATEGY_DEFAULTS.items()
    }
    return full


def _complete_service(service: dict[str, t.Any]) -> dict[str, t.Any]:
    full = {**_copied(SERVICE_DEFAULTS), **_copied(service)}
    full["replicas_max"] = service.get("replicas_max", full["replicas"])
    if full["kind"] == "web":
        full["health"] = {**HEALTH_DEFAULTS, **service.get("health", {})}
    if "user" in full:
        full["user"] = str(full["user"])
    return full


def services_of(app: dict[str, t.Any], *kinds: str) -> list[dict[str, t.Any]]:
    """The services of *app* whose kind is one of *kinds*, in the order they are written."""
    return [service for service in app["services"] if service["kind"] in kinds]


def memory_bytes(text: str | int) -> int:
    """Bytes of a Compose memory size such as ``256m``; raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+)([bkmg]?)b?", str(text).strip().lower())
    if not match:
        raise ValueError(f"{text!r} is no memory size")
    return int(match.group(1)) * MEMORY_UNITS[match.group(2) or "b"]


def image_reference(service: dict[str, t.Any], release: str) -> str:
    return f"{service['image']}:{release}"


# -- ports -------------------------------------------------------------------


def allocate_ports(app: dict[str, t.Any], existing: dict[str, t.Any] | None = None) -> dict[str, dict[str, list[int]]]:
    """Gives each web service one port a colour and replica slot.

    A port once given stays where it is, so that inserting a service or raising
    ``replicas_max`` moves none; what a service no longer uses stays reserved.
    Raises ValueError when the range of the app is used up.
    """
    ports = _copied(existing) if existing else {}
    taken = {port for service in ports.values() for side in service.values() for port in side}
    free = (port for port in range(app["port_base"], app["port_base"] + app["port_count"]) if port not in taken)
    for service in services_of(app, "web"):
        sides = ports.setdefault(service["name"], {colour: [] for colour in COLOURS})
        for slot in range(service["replicas_max"]):
            for colour in COLOURS:
                if len(sides[colour]) <= slot:
                    port = next(free, None)
                    if port is None:
                        raise ValueError(
                            f"app_deploy: ports of app {app['name']}: found no free port in "
                            f"{app['port_base']}-{app['port_base'] + app['port_count'] - 1}, need one for service "
                            f"{service['name']} ({colour}, replica {slot + 1}). Raise port_count."
                        )
                    sides[colour].append(port)
    return ports


def port_rules(app: dict[str, t.Any], sources: list[str]) -> list[dict[str, t.Any]]:
    """Firewall allowance for the colour ports of *app*: the edges' addresses only."""
    last = app["port_base"] + app["port_count"] - 1
    return [
        {"name": f"{app['name']} colours", "ports": [f"{app['port_base']}-{last}"], "protocol": "tcp", "from": sources}
    ]


# -- what runs ---------------------------------------------------------------


def _container(service: dict[str, t.Any], app: dict[str, t.Any], extra_env: dict[str, str]) -> dict[str, t.Any]:
    """The part of a Compose service that is the same for every kind."""
    resources = service.get("resources", {})
    container: dict[str, t.Any] = {
        "image": image_reference(service, app["release"]),
        "environment": {**{key: str(value) for key, value in service["env"].items()}, **extra_env},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "restart": "unless-stopped",
        "stop_grace_period": f"{service['stop_seconds']}s",
        "init": True,
        "logging": _compose_policy.LOGGING,
    }
    if service["read_only"]:
        container["read_only"] = True
        container["tmpfs"] = ["/tmp"]  # noqa: S108 - a tmpfs inside the container
    if service.get("user"):
        container["user"] = f"{service['user']}:{service['user']}"
    if service["command"]:
        container["command"] = service["command"]
    if service["volumes"]:
        container["volumes"] = service["volumes"]
    if service["healthcheck"]:
        container["healthcheck"] = {
            "test": service["healthcheck"],
            # Often while it starts, seldom later: the edge asks every second anyway.
            "interval": "15s",
            "timeout": "5s",
            "retries": 3,
            "start_period": f"{app['strategy']['gate']['timeout_seconds']}s",
            "start_interval": "1s",
        }
    if "memory" in resources:
        container["mem_limit"] = resources["memory"]
        container["memswap_limit"] = resources["memory"]
    if "cpus" in resources:
        container["cpus"] = resources["cpus"]
    if "pids" in resources:
        container["pids_limit"] = resources["pids"]
    return container


def _with_volumes(definition: dict[str, t.Any]) -> dict[str, t.Any]:
    """Declares each named volume that a service of *definition* mounts."""
    named = {
        str(volume).split(":", 1)[0]
        for service in definition["services"].values()
        for volume in service.get("volumes", [])
        if isinstance(volume, str) and ":" in volume and not volume.startswith(("/", "."))
    }
    if named:
        definition["volumes"] = {name: {} for name in sorted(named)}
    return definition


def _traced(service: dict[str, t.Any], app: dict[str, t.Any], address: str, **more: str) -> dict[str, str]:
    """Where a service that tells its traces sends them, in the words that every SDK of OpenTelemetry reads.

    The agent of each host takes OTLP over HTTP on the host's private address.
    """
    if not service.get("traces"):
        return {}
    names = {"service.namespace": app["name"], "service.version": app["release"], **more}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{_address.join(address, OTLP_PORT)}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": service["name"],
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in names.items()),
    }


def colour_stack(app: dict[str, t.Any], colour: str, ports: dict[str, t.Any], address: str) -> dict[str, t.Any]:
    """The Compose definition of all web services of one colour on the host with *address*."""
    services = {}
    for service in services_of(app, "web"):
        for number in range(1, service["replicas"] + 1):
            told = _traced(service, app, address, colour=colour)
            container = _container(service, app, {"EVENKEEL_COLOUR": colour, **told})
            container["ports"] = [f"{address}:{ports[service['name']][colour][number - 1]}:{service['port']}"]
            services[f"{service['name']}-{number}"] = container
    return _with_volumes({"name": f"{app['name']}-{colour}", "services": services})


def background_stack(app: dict[str, t.Any], host: str, app_hosts: list[str], address: str) -> dict[str, t.Any]:
    """The Compose definition of what runs beside the colours on *host*, at *address*: workers, singletons, jobs.

    Container names are fixed, so that the engine itself refuses a second one of a name.
    """
    services = {}
    for service in services_of(app, "worker", "singleton", "scheduled"):
        if service["kind"] != "worker" and home_of(service, app_hosts) != host:
            continue
        for number in range(1, service["replicas"] + 1):
            container = _container(service, app, {"EVENKEEL_HOST": host, **_traced(service, app, address)})
            name = service["name"] if number == 1 else f"{service['name']}-{number}"
            container["container_name"] = f"{app['name']}-{name}"
            if service["kind"] == "scheduled":
                container["profiles"] = ["scheduled"]
                container["restart"] = "no"
            services[name] = container
    return _with_volumes({"name": f"{app['name']}-background", "services": services})


def migration_stack(app: dict[str, t.Any], step: dict[str, t.Any]) -> dict[str, t.Any]:
    """The Compose definition of the one container that runs the migration *step*, named ``migration``."""
    service = next(service for service in app["services"] if service["name"] == step["service"])
    container = _container(service, app, {})
    container["command"] = step["command"]
    container["restart"] = "no"
    container.pop("healthcheck", None)
    container["labels"] = {MIGRATION_LABEL: step["service"]}
    return _with_volumes({"name": f"{app['name']}-migration", "services": {"migration": container}})


def home_of(service: dict[str, t.Any], app_hosts: list[str]) -> str:
    """The one host of a singleton or scheduled service: the one it names, else the first app host."""
    return service.get("host") or app_hosts[0]


def stack_secrets(app: dict[str, t.Any], definition: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Secrets of the services in *definition*, one row a container that reads it."""
    rows = []
    for container, options in definition["services"].items():
        service = _service_of_container(app, container, options)
        for secret in service["secrets"]:
            row = {
                "service": container,
                "name": secret["name"],
                "value": secret["value"],
                "uid": int(service.get("user") or 0),
            }
            if service["secrets_as"] == "environment":
                row.update({"as": "environment", "reason": service["secrets_as_reason"]})
            rows.append(row)
    return rows


def stack_waivers(app: dict[str, t.Any], definition: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """Waivers of the services in *definition*, one row a container; scheduled jobs need no health check."""
    rows = []
    for container, options in definition["services"].items():
        service = _service_of_container(app, container, options)
        rows += [{"service": container, **waiver} for waiver in service["waivers"]]
        if options["restart"] == "no":
            rows.append({"service": container, "rule": "healthcheck", "reason": "it ends by itself"})
            rows.append(
                {"service": container, "rule": "restart", "reason": "it is started once, by a unit of the host"}
            )
    return rows


def _service_of_container(app: dict[str, t.Any], container: str, options: dict[str, t.Any]) -> dict[str, t.Any]:
    by_name = {service["name"]: service for service in app["services"]}
    if MIGRATION_LABEL in options.get("labels", {}):
        return by_name[options["labels"][MIGRATION_LABEL]]
    return by_name.get(container) or by_name[container.rsplit("-", 1)[0]]


def scheduled_jobs(app: dict[str, t.Any], host: str, app_hosts: list[str]) -> list[dict[str, str]]:
    """Timers of *host*: name and systemd calendar expression of each scheduled service at home there."""
    return [
        {"name": service["name"], "schedule": service["schedule"]}
        for service in services_of(app, "scheduled")
        if home_of(service, app_hosts) == host
    ]


def images_of(app: dict[str, t.Any], kinds: t.Iterable[str] = KINDS) -> list[str]:
    """Each image reference of *app* once, in a fixed order."""
    return sorted({image_reference(service, app["release"]) for service in services_of(app, *kinds)})


def pinned(definition: dict[str, t.Any], digests: dict[str, str]) -> dict[str, str]:
    """Image by digest for each container of *definition*; *digests* maps a reference to ``name@sha256:...``."""
    return {name: digests[container["image"]] for name, container in definition["services"].items()}


# -- what the edge knows -----------------------------------------------------


def edge_record(
    app: dict[str, t.Any],
    ports: dict[str, t.Any],
    hosts: dict[str, dict[str, t.Any]],
    colour: str,
    previous: dict[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """The record of ``docs/architecture.md`` section 4, with *app* on its way to *colour*.

    *previous* is the record in force: its routes and health checks stay for the
    other colour, and so do services that only the other colour has.
    """
    other = COLOURS[1 - COLOURS.index(colour)]
    before = previous or {}
    services: dict[str, t.Any] = {}
    for service in services_of(app, "web"):
        check = service["health"]
        health = {
            "path": check["path"],
            "status": check["status"],
            "host": app["hosts"][0],
            "interval_seconds": check["interval_seconds"],
        }
        kept_checks = before.get("services", {}).get(service["name"], {}).get("health", {})
        services[service["name"]] = {
            "health": {colour: health, other: kept_checks.get(other, health)},
            "servers": {
                side: [
                    {"name": f"{host}_{slot + 1}", "address": facts["address"], "port": port}
                    for host, facts in hosts.items()
                    for slot, port in enumerate(ports[service["name"]][side])
                ]
                for side in COLOURS
            },
        }
    kept_routes = before.get("routes", {}).get(other, [])
    for name in {route["service"] for route in kept_routes} - set(services):
        services[name] = before["services"][name]
    return {
        "schema": 2,
        "app": app["name"],
        "hosts": app["hosts"],
        "services": services,
        "routes": {colour: routes_of(app), other: kept_routes},
    }


def routes_of(app: dict[str, t.Any]) -> list[dict[str, str]]:
    """Host, path and service of each route, a route without a host once for every public name."""
    return [
        {"host": host, "path": route.get("path", "/"), "service": service["name"]}
        for service in services_of(app, "web")
        for route in service["routes"]
        for host in ([route["host"]] if route.get("host") else app["hosts"])
    ]


def gate_targets(
    app: dict[str, t.Any],
    colour: str,
    ports: dict[str, t.Any],
    hosts: dict[str, dict[str, t.Any]],
) -> list[dict[str, t.Any]]:
    """Every replica of every web service of *colour*, as the proxy reaches it."""
    return [
        {
            "name": f"{service['name']}-{slot + 1}@{host}",
            "url": f"http://{facts['address']}:{ports[service['name']][colour][slot]}{service['health']['path']}",
            "host": app["hosts"][0],
            "status": service["health"]["status"],
            "body": service["health"]["body"],
            "release_key": service["health"]["release_key"],
        }
        for service in services_of(app, "web")
        for host, facts in hosts.items()
        for slot in range(service["replicas"])
    ]


def minimum_servers(app: dict[str, t.Any], hosts: t.Collection[str], record: dict[str, t.Any]) -> dict[str, int]:
    """Servers with a passed check each web service needs before traffic may move to its colour.

    What only the edge's *record* has, for the other colour, needs none.
    """
    gone = dict.fromkeys(record.get("services", {}), 0)
    return {**gone, **{service["name"]: service["replicas"] * len(hosts) for service in services_of(app, "web")}}


# -- what a release is -------------------------------------------------------


def content(app: dict[str, t.Any], digests: dict[str, str]) -> dict[str, t.Any]:
    """All that makes a release what it is, with no secret value in it."""
    kept = _copied(app)
    for service in kept["services"]:
        service["secrets"] = [{"name": secret["name"]} for secret in service["secrets"]]
    return {"release": app["release"], "migration": app["migration"], "app": kept, "digests": digests}


def secret_values(app: dict[str, t.Any]) -> dict[str, str]:
    """Secret values by ``<service>/<name>``."""
    return {
        f"{service['name']}/{secret['name']}": str(secret["value"])
        for service in app["services"]
        for secret in service["secrets"]
    }


# -- which app, which release, which hosts ----------------------------------


def hosts(names: list[str], hostvars: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """What the other functions take as *hosts*, read from the inventory; memory is None where no fact tells it."""
    found = {}
    for name in names:
        facts = hostvars[name]
        megabytes = facts.get("ansible_facts", {}).get("memtotal_mb")
        found[name] = {
            "address": facts.get("platform_address"),
            "memory_bytes": megabytes * 1024**2 if megabytes else None,
        }
    return found


def chosen(apps: list[dict[str, t.Any]], only: str = "", release: str = "") -> list[dict[str, t.Any]]:
    """The apps of one run: all, or the one named *only*; *release* stands in for the inventory's."""
    picked = [app for app in apps if not only or app["name"] == only]
    return [{**app, "release": release} for app in picked] if release else picked


def choice_problems(apps: list[dict[str, t.Any]], only: str = "", release: str = "") -> list[str]:
    """Why *only* and *release* choose nothing that can be deployed."""
    names = ", ".join(app.get("name", "?") for app in apps) or "none"
    if only and only not in [app.get("name") for app in apps]:
        return [f"app_deploy: app_deploy_only: found {only}, need one of {names}. Set it to an app of app_deploy_apps."]
    if release and not only and len(apps) > 1:
        return [
            f"app_deploy: app_deploy_release: found {release} for {len(apps)} apps ({names}), need one. "
            "Set app_deploy_only."
        ]
    if release == "latest":
        return ["app_deploy: app_deploy_release: found latest, need a fixed tag. Set it to the tag to deploy."]
    return []


def with_secrets(kept: dict[str, t.Any], apps: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """A *kept* app, whose secrets have names only, with the values that *apps* give them today."""
    today = {
        (service["name"], secret["name"]): secret["value"]
        for app in apps
        if app["name"] == kept["name"]
        for service in app.get("services", [])
        for secret in service.get("secrets", [])
    }
    app = _copied(kept)
    missing = []
    for service in app["services"]:
        for secret in service["secrets"]:
            key = (service["name"], secret["name"])
            if key not in today:
                missing.append("/".join(key))
            secret["value"] = today.get(key, "")
    if missing:
        raise ValueError(
            f"app_deploy: secrets of release {app['release']} of app {app['name']}: found no value for "
            f"{', '.join(missing)}, need one each. Put them back into app_deploy_apps."
        )
    return app


def recorded_ports(record: dict[str, t.Any]) -> dict[str, dict[str, list[int]]]:
    """The ports given out so far, read from the edge's *record*; what it does not name was never given out."""
    ports = {}
    for name, service in record.get("services", {}).items():
        sides = {}
        for colour in COLOURS:
            slots = {server["name"].rsplit("_", 1)[1]: server["port"] for server in service["servers"][colour]}
            sides[colour] = [slots[slot] for slot in sorted(slots, key=int)]
        ports[name] = sides
    return ports


# -- what cannot be ----------------------------------------------------------


def problems(apps: list[dict[str, t.Any]], hosts: dict[str, dict[str, t.Any]], edges: list[str]) -> list[str]:
    """Every reason why *apps* cannot be realised on *hosts*, one sentence each.

    *hosts* are the app hosts with ``address``, ``memory_bytes`` and ``stacks_memory_bytes``
    (what other stacks there are limited to); a value of None is not judged.
    """
    found: list[str] = []
    full = [complete(app) for app in apps]
    if full and not edges:
        found.append(
            "app_deploy: edge hosts: found none, need at least one. "
            "Put a host into the group that app_deploy_edge_group names."
        )
    if full and not hosts:
        found.append(
            "app_deploy: app hosts: found none, need at least one. "
            "Put a host into the group that app_deploy_app_group names."
        )
    for host, facts in hosts.items():
        if not facts.get("address"):
            found.append(
                f"app_deploy: address of host {host}: found none, need its private address. Set platform_address."
            )
    for app in full:
        found += _problems_of_app(app, hosts)
    found += _overlaps(full)
    found += _capacity(full, hosts)
    return found


def _problems_of_app(app: dict[str, t.Any], hosts: dict[str, dict[str, t.Any]]) -> list[str]:
    found = []
    name = app.get("name", "?")
    say = f"app_deploy: %s of app {name}: found %s, need %s. %s"
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", str(name)):
        found.append(say % ("name", repr(name), "lower-case letters, digits and dashes, 31 at most", "Set name."))
    if app["release"] in ("", "latest"):
        found.append(say % ("release", app["release"] or "none", "a fixed tag", "Set release to the tag to deploy."))
    if not app["hosts"]:
        found.append(say % ("hosts", "none", "at least one public name", "Set hosts."))
    if not app.get("port_base"):
        found.append(say % ("port_base", "none", "the first port of its range", "Set port_base, for example 20000."))
    names = [service["name"] for service in app["services"]]
    for twice in sorted({one for one in names if names.count(one) > 1}):
        found.append(say % ("services", f"{twice} more than once", "each name once", "Rename one of them."))
    if not services_of(app, "web"):
        found.append(
            say % ("services", "no web service", "at least one of kind web", "Set kind: web on what the edge serves.")
        )
    for service in app["services"]:
        found += _problems_of_service(app, service, hosts)
    if app["strategy"]["type"] != "switch" or app["strategy"]["bake"]["seconds"]:
        found.append(
            say % ("strategy", "canary steps or a bake", "type switch and bake.seconds 0", "Neither is offered yet.")
        )
    if app["backend"] != "compose":
        found.append(say % ("backend", app["backend"], "compose", "Set backend: compose."))
    for step in app["migration"]:
        if step.get("service") not in names:
            found.append(
                say
                % (
                    "migration",
                    f"service {step.get('service')!r}",
                    f"one of {', '.join(names)}",
                    "Set migration[].service.",
                )
            )
    return found


def _problems_of_service(
    app: dict[str, t.Any], service: dict[str, t.Any], hosts: dict[str, dict[str, t.Any]]
) -> list[str]:
    found = []
    say = f"app_deploy: %s of service {app['name']}/{service.get('name', '?')}: found %s, need %s. %s"
    kind = service["kind"]
    if kind not in KINDS:
        found.append(say % ("kind", repr(kind), f"one of {', '.join(KINDS)}", "Set kind."))
    image = str(service.get("image", ""))
    if not image:
        found.append(say % ("image", "none", "the image's name", "Set image."))
    elif ":" in image.rsplit("/", 1)[-1] or "@" in image:
        found.append(say % ("image", image, "a name without a tag", "Take the tag away: the app's release is the tag."))
    if kind == "web":
        if not service.get("port"):
            found.append(say % ("port", "none", "the port it listens on", "Set port."))
        if not service["routes"]:
            found.append(say % ("routes", "none", "at least one route", "Set routes, for example [{path: /}]."))
        for route in service["routes"]:
            if not str(route.get("path", "/")).startswith("/"):
                found.append(say % ("routes", route["path"], "a path that starts with /", "Mend path."))
            if route.get("host") and route["host"] not in app["hosts"]:
                found.append(
                    say % ("routes", f"host {route['host']}", f"one of {', '.join(app['hosts'])}", "Add it to hosts.")
                )
    if kind != "scheduled" and not service["healthcheck"] and not _waived(service, "healthcheck"):
        found.append(
            say
            % (
                "healthcheck",
                "none",
                "a command that tells whether it is well",
                "Set healthcheck, or waive it with a reason in waivers.",
            )
        )
    if kind == "singleton" and (service["replicas"] != 1 or service["replicas_max"] != 1):
        most = max(service["replicas"], service["replicas_max"])
        found.append(say % ("replicas", most, "1, since a singleton may run once", "Set replicas: 1, or kind: worker."))
    if service["replicas"] > service["replicas_max"]:
        found.append(
            say
            % (
                "replicas",
                service["replicas"],
                f"at most replicas_max {service['replicas_max']}",
                "Raise replicas_max.",
            )
        )
    if kind == "scheduled" and not service.get("schedule"):
        found.append(
            say % ("schedule", "none", "a systemd calendar expression", 'Set schedule, for example "*-*-* 03:00:00".')
        )
    if kind in ("singleton", "scheduled") and service.get("host") and service["host"] not in hosts:
        found.append(say % ("host", service["host"], f"one of {', '.join(hosts)}", "Set host to an app host."))
    if service.get("user") is not None and not re.fullmatch(r"\d+", service["user"]):
        found.append(say % ("user", service["user"], "a numeric user id", "Set user, for example 10001."))
    if service["secrets_as"] == "environment" and not service.get("secrets_as_reason"):
        found.append(
            say
            % ("secrets_as", "environment without a reason", "a reason", "Set secrets_as_reason, or secrets_as: file.")
        )
    for secret in service["secrets"]:
        if "value" in secret and str(secret["value"]).startswith("$ANSIBLE_VAULT"):
            found.append(
                say
                % (
                    f"secret {secret['name']}",
                    "a sealed vault text",
                    "its value",
                    "Give ansible-playbook the vault password.",
                )
            )
    resources = service.get("resources", {})
    for key, rule in LIMIT_RULES.items():
        if key not in resources and not _waived(service, rule):
            found.append(
                say
                % (f"resources.{key}", "none", "a limit", f"Set resources.{key}, or waive it with a reason in waivers.")
            )
    if "memory" in resources:
        try:
            memory_bytes(resources["memory"])
        except ValueError:
            found.append(
                say % ("resources.memory", resources["memory"], "a size such as 256m", "Set resources.memory.")
            )
    return found


def _waived(service: dict[str, t.Any], rule: str) -> bool:
    return any(waiver.get("rule") == rule and waiver.get("reason") for waiver in service["waivers"])


def _overlaps(apps: list[dict[str, t.Any]]) -> list[str]:
    found = []
    names = [app.get("name") for app in apps]
    for twice in sorted({str(name) for name in names if names.count(name) > 1}):
        found.append(f"app_deploy: app {twice}: found it more than once, need each name once. Rename one of them.")
    ranged = [app for app in apps if app.get("port_base")]
    for index, one in enumerate(ranged):
        for other in ranged[index + 1 :]:
            first = (one["port_base"], one["port_base"] + one["port_count"] - 1)
            second = (other["port_base"], other["port_base"] + other["port_count"] - 1)
            if first[0] <= second[1] and second[0] <= first[1]:
                found.append(
                    f"app_deploy: ports of apps {one['name']} and {other['name']}: found {first[0]}-{first[1]} and "
                    f"{second[0]}-{second[1]}, need ranges that do not overlap. Set port_base of one of them."
                )
    routes: dict[tuple[str, str], str] = {}
    for app in apps:
        for service in services_of(app, "web"):
            for route in service["routes"]:
                for host in [route["host"]] if route.get("host") else app["hosts"]:
                    key = (host, route.get("path", "/").rstrip("/") + "/")
                    owner = f"{app['name']}/{service['name']}"
                    if key in routes and routes[key] != owner:
                        found.append(
                            f"app_deploy: route {host}{key[1]}: found services {routes[key]} and {owner}, need one. "
                            "Change path or host of one."
                        )
                    routes.setdefault(key, owner)
    owners: dict[str, str] = {}
    for app in apps:
        for host in app["hosts"]:
            if owners.setdefault(host, app["name"]) != app["name"]:
                found.append(
                    f"app_deploy: public name {host}: found apps {owners[host]} and {app['name']}, need one. "
                    "Take it from one of them."
                )
    return found


def _capacity(apps: list[dict[str, t.Any]], hosts: dict[str, dict[str, t.Any]]) -> list[str]:
    found = []
    app_hosts = list(hosts)
    for host, facts in hosts.items():
        if facts.get("memory_bytes") is None:
            continue
        need = facts.get("stacks_memory_bytes") or 0
        for app in apps:
            for service in app["services"]:
                if service["kind"] in ("singleton", "scheduled") and home_of(service, app_hosts) != host:
                    continue
                try:
                    size = memory_bytes(service.get("resources", {}).get("memory", 0))
                except ValueError:
                    continue
                need += size * service["replicas"] * (2 if service["kind"] == "web" else 1)
        if need > facts["memory_bytes"]:
            found.append(
                f"app_deploy: memory of host {host}: found {facts['memory_bytes'] // 1024**2} MiB, "
                f"need {need // 1024**2} MiB for both colours, the background services and the other stacks. "
                "Lower resources.memory or replicas, or give the host more."
            )
    for app in apps:
        database = app.get("database")
        if not database:
            continue
        need = sum(
            service["connections"]
            * service["replicas"]
            * (2 * len(hosts) if service["kind"] == "web" else len(hosts) if service["kind"] == "worker" else 1)
            for service in app["services"]
        )
        room = database["max_connections"] - database.get("reserved", 5)
        if need > room:
            found.append(
                f"app_deploy: database connections of app {app['name']}: found room for {room}, need {need} with both "
                "colours up. Raise max_connections of the database and database.max_connections, "
                "or lower connections or replicas."
            )
    return found
