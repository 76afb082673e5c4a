# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The stacks of an app's model: one for each colour, one beside them, one for each migration step.

Where a model has networks, each colour has its own: Compose makes a service's name an alias in every network it is in,
so two colours in one network would answer to each other's names. Workers, singletons, jobs and migrations of a release
join those of its colour. Volumes with a name are the app's. Both are external to every stack, so that no stack removes
them, and C(shared) says how they are made.

What stands in a model is literal, and Compose replaces C($NAME) in a definition; each dollar sign is doubled here, so
that a container gets what was written.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _address, _compose_app, _model, _names
from ansible_collections.evenkeel.platform.plugins.module_utils._model import EXTENSION, Model, additions

OTLP_PORT = 4318
BACKGROUND = ("worker", "singleton", "scheduled")
MIGRATION_LABEL = "evenkeel.migration"
# Says that a secret belongs to the user of the image, which is known once it is pulled.
IMAGE_USER = -1
Definition = dict[str, t.Any]


def stack_names(app: str) -> list[str]:
    """Return the names of all stacks that an app can have."""
    return [f"{app}-{part}" for part in (*_model.COLOURS, "background", "migration")]


def colour(model: Model, side: str, ports: dict[str, t.Any], address: str) -> Definition:
    """Return the stack of all web services of one colour on the host with *address*."""
    services = {}
    for name, service in _model.of_kind(model, *_model.IN_COLOUR).items():
        for number in range(1, additions(service)["replicas"] + 1):
            traces = _traces(model, name, address, colour=side)
            container = _container(name, service, {"EVENKEEL_COLOUR": side, **traces})
            # Four parts, the last one a number: no container of a background stack can have this name.
            container["container_name"] = f"{model['name']}.{side}.{name}.{number}"
            if additions(service)["kind"] == "web":
                published = _address.join(address, ports[name][side][number - 1])
                container["ports"] = [f"{published}:{additions(service)['port']}"]
            if "depends_on" in container:
                container["depends_on"] = {
                    _names.replica_name(other, each): how
                    for other, how in container["depends_on"].items()
                    for each in range(1, additions(model["services"][other])["replicas"] + 1)
                }
            services[_names.replica_name(name, number)] = container
    return _definition(model, side, services, side)


def background(
    model: Model, host: str, app_hosts: t.Sequence[str], address: str, side: str = _model.COLOURS[0]
) -> Definition:
    """Return the stack of what runs beside the colours on *host*, at *address*: workers, singletons and jobs.

    Container names are fixed, so that the engine itself refuses a second container of a name. *side* is the colour of
    the release.
    """
    services = {}
    for name, service in _model.of_kind(model, *BACKGROUND).items():
        kind = additions(service)["kind"]
        if kind != "worker" and _model.home_of(service, app_hosts) != host:
            continue
        for number in range(1, additions(service)["replicas"] + 1):
            container = _container(name, service, {"EVENKEEL_HOST": host, **_traces(model, name, address)})
            container.pop("depends_on", None)
            # The first one bears the service's own name: most services beside a colour have no second.
            own = (name, number) if number > 1 else (name,)
            container["container_name"] = _names.container_name(model["name"], *own)
            if kind == "scheduled":
                container["profiles"] = ["scheduled"]
            services[name if number == 1 else _names.replica_name(name, number)] = container
    return _definition(model, "background", services, side)


def migration(model: Model, step: dict[str, t.Any], side: str = _model.COLOURS[0]) -> Definition:
    """Return the stack of the one container, named C(migration), that runs a migration step.

    A step without a command is a service of kind once, which has its own.
    """
    container = _container(step["service"], model["services"][step["service"]], {})
    if step["command"]:
        container["command"] = _literal(step["command"])
    container["restart"] = "no"
    for key in ("healthcheck", "depends_on"):
        container.pop(key, None)
    container["labels"] = {**container.get("labels", {}), MIGRATION_LABEL: step["service"]}
    return _definition(model, "migration", {"migration": container}, side)


def jobs(model: Model, host: str, app_hosts: t.Sequence[str]) -> list[dict[str, str]]:
    """Return name and schedule of each scheduled service whose host is *host*."""
    return [
        {"name": name, "schedule": additions(service)["schedule"]}
        for name, service in _model.of_kind(model, "scheduled").items()
        if _model.home_of(service, app_hosts) == host
    ]


def images(model: Model, *kinds: str) -> list[str]:
    """Return each image of the services of *kinds* once, in a fixed order; of all services without a kind."""
    return sorted({service["image"] for service in _model.of_kind(model, *(kinds or _compose_app.KINDS)).values()})


def pinned(definition: Definition, digests: dict[str, str]) -> dict[str, str]:
    """Return the image by digest for each container; *digests* maps an image to C(name@sha256:...)."""
    return {name: digests[container["image"]] for name, container in definition["services"].items()}


def secrets(model: Model, definition: Definition) -> list[dict[str, t.Any]]:
    """Return one row for each container and secret it reads, without the value.

    C(key) is that of the value in C(_model.secret_values).
    """
    rows = []
    for container, options in definition["services"].items():
        name = service_of(container, options)
        service = model["services"][name]
        account = str(service.get("user", "0" if "networks" not in model else "")).partition(":")[0]
        rows += [
            {
                "service": container,
                # Without a user the files belong to that of the image.
                "uid": int(account) if account.isdigit() else IMAGE_USER,
                **secret,
                "key": _model.secret_key(name, secret),
            }
            for secret in additions(service)["secrets"]
        ]
    return rows


def waivers(model: Model, definition: Definition) -> list[dict[str, str]]:
    """Return one row for each container and waived rule; what ends by itself needs no health check and no restart."""
    rows = []
    for container, options in definition["services"].items():
        service = model["services"][service_of(container, options)]
        rows += [{"service": container, **waiver} for waiver in additions(service)["waivers"]]
        if options["restart"] == "no":
            rows.append({"service": container, "rule": "healthcheck", "reason": "it ends by itself"})
            rows.append({"service": container, "rule": "restart", "reason": "it is started by a unit of the host"})
    return rows


def service_of(container: str, options: dict[str, t.Any]) -> str:
    """Return the service of the model that a container of a stack belongs to."""
    return str(options.get("labels", {}).get(MIGRATION_LABEL) or container.partition(".")[0])


def network_name(app: str, side: str, network: str) -> str:
    """Return the real name of a network of a colour; no app's name holds a dot, so no two can meet."""
    return f"{app}-{side}" if network == "default" else f"{app}-{side}.{network}"


def shared(model: Model, definition: Definition) -> dict[str, list[dict[str, t.Any]]]:
    """Return the networks and volumes of a stack that outlive it, with how they are made."""
    networks = model.get("networks", {})
    return {
        "networks": [
            {**networks.get(key, {}), "name": network["name"]}
            for key, network in definition.get("networks", {}).items()
        ],
        "volumes": [
            {part: value for part, value in volume.items() if part in ("name", "driver", "driver_opts", "labels")}
            for volume in (model["volumes"][key] for key in definition.get("volumes", {}))
            if volume and not volume["external"]
        ],
    }


def files(model: Model, definition: Definition) -> list[dict[str, str]]:
    """Return the files that a stack mounts of those that travel with the release: path, data in base64, mode."""
    sources = {
        str(mount.get("source"))
        for container in definition["services"].values()
        for mount in container.get("volumes", [])
        if isinstance(mount, dict)
    }
    used = {source.removeprefix(f"{_compose_app.FILES}/").partition("/")[0] for source in sources}
    return [
        {"path": f"{name}/{path}", **held}
        for name, bundle in sorted(model.get("files", {}).items())
        if name in used
        for path, held in sorted(bundle.items())
    ]


def _definition(model: Model, part: str, services: dict[str, t.Any], side: str) -> Definition:
    definition: Definition = {"name": f"{model['name']}-{part}", "services": services}
    used = _model.named_volumes(mount for service in services.values() for mount in service.get("volumes", []))
    if used:
        definition["volumes"] = {
            name: {"name": volume["name"], "external": True} if volume else {}
            for name, volume in ((name, model["volumes"][name]) for name in used)
        }
    joined = {network for service in services.values() for network in service.get("networks", {})}
    if joined:
        definition["networks"] = {
            network: {"name": network_name(model["name"], side, network), "external": True}
            for network in sorted(joined)
        }
    return definition


def _container(name: str, service: dict[str, t.Any], environment: dict[str, str]) -> dict[str, t.Any]:
    container = _literal({key: value for key, value in service.items() if key != EXTENSION})
    container["environment"] = {**container["environment"], **environment}
    for network in container.get("networks", {}).values():
        # The replicas of a service have names of their own in the stack.
        network["aliases"] = list(dict.fromkeys([name, *network["aliases"]]))
    return t.cast(dict[str, t.Any], container)


def _literal(value: t.Any) -> t.Any:
    """Return a copy in which each dollar sign of a text is doubled."""
    if isinstance(value, dict):
        return {key: _literal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_literal(each) for each in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _traces(model: Model, name: str, address: str, **attributes: str) -> dict[str, str]:
    """Return where a service sends its traces, in the variables that every SDK of OpenTelemetry reads.

    The agent of each host takes OTLP over HTTP on the host's private address.
    """
    if not additions(model["services"][name])["traces"]:
        return {}
    names = {"service.namespace": model["name"], "service.version": model["release"], **attributes}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{_address.join(address, OTLP_PORT)}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": name,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in names.items()),
    }
