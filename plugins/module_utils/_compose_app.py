# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""An app that is described by a Compose file: its kinds, and its services as a model holds them.

A *project* is what C(_compose_project.normalise) answered, with C(files): what the paths in it hold, as
C(_compose_files.travelling) reads them on the controller. C(_compose_app_problems) says what is wrong with one;
the functions here expect one in which it finds nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_shape,
    _calendar,
    _compose_keys,
    _compose_policy,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import plain

Data = dict[str, t.Any]

EXTENSION = "x-evenkeel"
IN_COLOUR = ("web", "internal")
KINDS = (*IN_COLOUR, "worker", "singleton", "scheduled", "once")
# Kinds of the contract that this version has no life for yet.
LATER = ("stateful", "exclusive")
COMPLETED = "service_completed_successfully"
SECRETS_FOLDER = "/run/secrets/"
# Below the folder of each stack, where the files of a release are written by their content.
FILES = "./files"
# A plain file says nothing of its health, so any page that answers counts; no release is looked for in it.
HEALTH = {"path": "/", "release_key": ""}
KEPT = frozenset(name for name, key in _compose_keys.SERVICE.items() if key.verdict == _compose_keys.KEPT)
SHARED_TYPES = ("nfs", "nfs4", "cifs", "ceph", "glusterfs")
WAIVED = "app_deploy_policy is warn"


# -- what is written under x-evenkeel -----------------------------------------


def merged(first: t.Any, second: t.Any) -> t.Any:
    """Return two values as one: mappings key by key, anything else from the second."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {**first, **{key: merged(first.get(key), value) for key, value in second.items()}}
    return first if second is None else second


def written(item: Data, project: Data) -> dict[str, t.Any]:
    """Return what stands under C(x-evenkeel) of each service, what differs by environment merged over it."""
    own = ((project["normal"].get(EXTENSION) or {}).get("services")) or {}
    over = item.get("services", {})
    return {name: merged(own.get(name) or {}, over.get(name)) for name in project["normal"].get("services") or {}}


def extensions(item: Data, project: Data) -> dict[str, Data]:
    """Return the typed keys of C(x-evenkeel) by service, each with its kind; an empty kind is to be asked for."""
    services = project["normal"].get("services") or {}
    waited = awaited(services)
    found = {}
    for name, raw in written(item, project).items():
        more, _complaints = _app_shape.read_extension(raw)
        kind = more.get("kind") or kind_of(services[name], more, name in waited)
        if kind == "web" and "port" not in more:
            ports = targets(services[name])
            if len(ports) == 1:
                more["port"] = ports[0]
        if kind == "scheduled" and _calendar.is_cron(more.get("schedule", "")):
            more["schedule"] = _calendar.from_cron(more["schedule"]) or more["schedule"]
        found[name] = {**more, "kind": kind, "kind_said": "kind" in more}
    return found


def kind_of(service: Data, more: Data, waited: bool) -> str:
    """Return the kind of a service that names none, by its routes, its ports and who waits for it."""
    if more.get("routes"):
        return "web"
    if more.get("schedule"):
        return "scheduled"
    if waited:
        return "once"
    if more.get("port") or service.get("expose") or service.get("ports"):
        return "internal"
    return "" if service.get("restart") == "no" else "worker"


def awaited(services: t.Mapping[str, Data]) -> set[str]:
    """Return the services that others wait for until they have ended well."""
    return {
        name
        for service in services.values()
        for name, how in (service.get("depends_on") or {}).items()
        if (how or {}).get("condition") == COMPLETED
    }


def targets(service: Data) -> list[int]:
    """Return the ports that a service listens on, by C(expose) and by C(ports)."""
    found = [str(port).partition("/")[0] for port in service.get("expose") or []]
    found += [str(port.get("target")) for port in service.get("ports") or []]
    return list(dict.fromkeys(int(port) for port in found if port.isdigit()))


# -- volumes, networks and files ----------------------------------------------


def volumes(name: str, project: Data) -> dict[str, Data]:
    """Return the volumes of the app: the real name of each, how it is made, and what is said of its place."""
    said = (project["normal"].get(EXTENSION) or {}).get("volumes") or {}
    found = {}
    for key, volume in (project["normal"].get("volumes") or {}).items():
        options = volume or {}
        external = bool(options.get("external"))
        # Compose has put the app's name before the key where the file names none.
        found[key] = {
            "name": options.get("name") or f"{name}_{key}",
            "external": external,
            "per_host": bool((said.get(key) or {}).get("per_host")),
            **{part: options[part] for part in ("driver", "driver_opts", "labels") if options.get(part)},
        }
    return found


def on_every_host(volume: Data) -> bool:
    """Tell whether a volume holds the same on each host, or is said to be another on each."""
    driver, kind = volume.get("driver", "local"), str((volume.get("driver_opts") or {}).get("type", ""))
    return bool(volume["per_host"]) or driver not in ("", "local") or kind in SHARED_TYPES


def networks(project: Data) -> dict[str, Data]:
    """Return the networks that each colour has, with how they are made."""
    made = [name for name, table in _compose_keys.NETWORK.items() if table.verdict == _compose_keys.KEPT]
    used = {name for service in project["normal"]["services"].values() for name in service.get("networks") or {}}
    described = project["normal"].get("networks") or {}
    return {
        name: {key: (described.get(name) or {})[key] for key in made if (described.get(name) or {}).get(key)}
        for name in sorted({"default", *used})
    }


def bundle_of(entries: dict[str, Data]) -> str:
    """Return the name of what a release carries along, which is its content's hash."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:16]


def one_file(name: str, data: bytes, mode: str = "0444") -> dict[str, Data]:
    return {name: {"data": base64.b64encode(data).decode(), "mode": mode}}


def travels(source: str) -> bool:
    """Tell whether a bind's source is a path beside the Compose file."""
    return not source.startswith(("/", "~"))


def _mounts(service: Data, project: Data, files: dict[str, dict[str, Data]]) -> list[Data]:
    """Return the mounts of a service; a file that travels is mounted from where its content is written."""
    found = []
    for mount in service.get("volumes") or []:
        made = plain(mount)
        if mount["type"] == "bind" and travels(mount["source"]):
            held = project["files"][mount["source"]]
            name = bundle_of(held["entries"])
            files[name] = held["entries"]
            made["source"] = f"{FILES}/{name}/{held['name']}".rstrip("/")
            made["read_only"] = True
            made["bind"] = {**made.get("bind", {}), "create_host_path": False}
        found.append(made)
    for config in service.get("configs") or []:
        held = config_of(config, project)
        entries = one_file(held["name"], base64.b64decode(held["data"]), mode_of(config.get("mode")))
        name = bundle_of(entries)
        files[name] = entries
        found.append(
            {
                "type": "bind",
                "source": f"{FILES}/{name}/{held['name']}",
                "target": config.get("target") or f"/{config['source']}",
                "read_only": True,
                "bind": {"create_host_path": False},
            }
        )
    return found


def config_of(config: Data, project: Data) -> Data:
    """Return name and content, in base64, of what a service's config stands for."""
    source = config["source"]
    described = (project["normal"].get("configs") or {}).get(source) or {}
    if described.get("file"):
        held = project["files"][described["file"]]
        return {"name": source, "data": held["entries"][held["name"]]["data"]}
    text = described.get("content")
    if described.get("environment"):
        text = project["variables"].get(described["environment"], "")
    return {"name": source, "data": base64.b64encode(str(text or "").encode()).decode()}


def mode_of(mode: t.Any) -> str:
    """Return a mode as four octal digits, as Compose gives it: a number, or a text with digits."""
    if isinstance(mode, int):
        return f"{mode:04o}"
    return str(mode).removeprefix("0o").zfill(4) if mode else "0444"


# -- the services of a model --------------------------------------------------


def policy_waivers(given: list[Data], strict: bool) -> list[Data]:
    """Return the waivers of a service: a plain file deploys, unless the policy is strict."""
    if strict:
        return given
    named = {waiver.get("rule") for waiver in given}
    return [*given, *({"rule": rule, "reason": WAIVED} for rule in _compose_policy.ADVICE if rule not in named)]


def services(item: Data, project: Data, strict: bool, health: t.Callable[[Data], Data]) -> tuple[Data, Data]:
    """Return the services of the model and the files that travel with them; *health* fills in a health check."""
    files: Data = {}
    found = {}
    kinds = {name: more["kind"] for name, more in extensions(item, project).items()}
    inline = {
        name: {str(one.get("name")) for one in more.get("secrets") or [] if isinstance(one, dict) and "value" in one}
        for name, more in item.get("services", {}).items()
        if isinstance(more, dict)
    }
    for name, more in extensions(item, project).items():
        normal = project["normal"]["services"][name]
        service = {key: value for key, value in normal.items() if key in KEPT and value not in (None, {})}
        service["environment"] = {
            key: str(value) for key, value in (normal.get("environment") or {}).items() if value is not None
        }
        service.update(_limits(normal))
        service["logging"] = normal.get("logging") or plain(_compose_policy.LOGGING)
        service["restart"] = "no" if more["kind"] in ("scheduled", "once") else _restart(normal)
        mounts = _mounts(normal, project, files)
        if mounts:
            service["volumes"] = mounts
        # The names of the services of a colour, of which one may wait for another.
        after = {
            other: {key: value for key, value in how.items() if key in ("condition", "restart", "required")}
            for other, how in (normal.get("depends_on") or {}).items()
            if kinds.get(other) in IN_COLOUR and more["kind"] in IN_COLOUR
        }
        if after:
            service["depends_on"] = after
        service["networks"] = {
            network: {"aliases": sorted((how or {}).get("aliases") or [])}
            for network, how in (normal.get("networks") or {"default": None}).items()
        }
        service[EXTENSION] = {
            **_extension(normal, more, strict, health),
            "secrets": _secrets(normal, more, inline.get(name, set())),
        }
        found[name] = service
    return found, files


def _restart(normal: Data) -> str:
    # Always would start a container again that was stopped on purpose, once the engine restarts.
    written_ = normal.get("restart") or "unless-stopped"
    return "unless-stopped" if written_ in ("always", "no") else written_


def _limits(normal: Data) -> Data:
    """Return the limits of C(deploy) as those of the service, which mean the same without a swarm."""
    resources = (normal.get("deploy") or {}).get("resources") or {}
    limits, reserved = resources.get("limits") or {}, resources.get("reservations") or {}
    found = {
        short: limits[long]
        for short, long in (("mem_limit", "memory"), ("cpus", "cpus"), ("pids_limit", "pids"))
        if limits.get(long)
    }
    if reserved.get("memory"):
        found["mem_reservation"] = reserved["memory"]
    if reserved.get("devices"):
        found["deploy"] = {"resources": {"reservations": {"devices": plain(reserved["devices"])}}}
    return found


def replicas(normal: Data, more: Data) -> int:
    """Return how many containers of a service run on each host."""
    said = (normal.get("deploy") or {}).get("replicas") or normal.get("scale") or 1
    return int(more.get("replicas", said))


def _extension(normal: Data, more: Data, strict: bool, health: t.Callable[[Data], Data]) -> Data:
    web = more["kind"] == "web"
    count = replicas(normal, more)
    return {
        "kind": more["kind"],
        "port": more.get("port", 0),
        "protocol": more.get("protocol", "http1") if web else "",
        "routes": [{"path": "/", **route} for route in more.get("routes", [])] if web else [],
        "health": health({**more, "health": {**HEALTH, **more.get("health", {})}}) if web else {},
        "replicas": count,
        "replicas_max": more.get("replicas_max", count),
        "schedule": more.get("schedule", ""),
        "host": more.get("host", ""),
        "connections": more.get("connections", 0),
        "traces": more.get("traces", False),
        "waivers": policy_waivers(more.get("waivers", []), strict),
    }


def secret_names(normal: Data, more: Data) -> list[str]:
    """Return the files below /run/secrets of a service, by x-evenkeel and by Compose's own secrets."""
    asked = [str(one.get("name", "")) for one in more.get("secrets", [])]
    asked += [str(one["source"]) for one in normal.get("secrets") or []]
    return list(dict.fromkeys(asked))


def _secrets(normal: Data, more: Data, inline: t.Collection[str]) -> list[Data]:
    how = {"as": more.get("secrets_as", "file")}
    if more.get("secrets_as_reason"):
        how["reason"] = more["secrets_as_reason"]
    # Without a value of its own, a service reads the app's secret of that name.
    return [{"name": name, **how, **({} if name in inline else {"key": name})} for name in secret_names(normal, more)]


def once_steps(item: Data, project: Data, defaults: Data) -> list[Data]:
    """Return a migration step for each service of kind once, in the order in which they wait for each other."""
    more = {name: each for name, each in extensions(item, project).items() if each["kind"] == "once"}
    services_, ordered = project["normal"]["services"], []

    def add(name: str) -> None:
        for other in services_[name].get("depends_on") or {}:
            if other in more:
                add(other)
        if name not in ordered:
            ordered.append(name)

    for name in more:
        add(name)
    keys = ("phase", "idempotent", "timeout_seconds")
    return [
        {**defaults, **{key: more[name][key] for key in keys if key in more[name]}, "service": name, "command": []}
        for name in ordered
    ]
