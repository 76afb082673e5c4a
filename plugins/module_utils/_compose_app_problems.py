# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Everything that is wrong with an app's Compose file, in the keys of the file, and what is only advised."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_shape,
    _compose_app,
    _compose_guard,
    _compose_policy,
    _edge,
    _service_problems,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._app_sentence import Say, saying
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import shown
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_app import EXTENSION, Data
from ansible_collections.evenkeel.platform.plugins.module_utils._model import Model, additions

# A variable of the app that Compose or the engine's own program would take as an order.
OWN_VARIABLES = ("COMPOSE_", "DOCKER_")
STATIC = ("ipv4_address", "ipv6_address", "link_local_ips", "mac_address")
# What rules of compose_stack ask for, as it is written in a Compose file.
LINES = {
    "memory-limit": "mem_limit: 256m",
    "cpu-limit": "cpus: 1.0",
    "pids-limit": "pids_limit: 200",
    "healthcheck": "healthcheck: {test: [CMD, ...]}",
    "read-only": "read_only: true",
    "cap-drop": "cap_drop: [ALL]",
    "no-new-privileges": "security_opt: [no-new-privileges:true]",
    "root-user": 'user: "10001"',
}


def check_item(say: Say, item: Data) -> None:
    """Report what is wrong with the item itself, before its files are read."""
    for name, value in item.get("variables", {}).items():
        if str(name).startswith(OWN_VARIABLES):
            say(f"variables.{name}", "a name that Compose takes as an order", "another name", "Rename it")
        if name == "RELEASE":
            say("variables.RELEASE", "it set", "it left to release", "Remove it")
        if value is None or isinstance(value, (dict, list)):
            found = "no value" if value is None else f"a {type(value).__name__}"
            say(f"variables.{name}", found, "a text, a number, true or false", f"Set variables.{name}")
    for name, value in item.get("secrets", {}).items():
        if not _service_problems.SECRET.fullmatch(str(name)):
            say("secrets", shown(name), "file names of letters, digits, _, . and -", "Rename it")
        elif isinstance(value, (dict, list, bool)):
            say(f"secrets.{name}", f"a {type(value).__name__}", "a text", "Set its value in quotes")
        elif str(value).startswith("$ANSIBLE_VAULT"):
            say(f"secrets.{name}", "a sealed vault text", "its value", "Give ansible-playbook the vault password")


def check(item: Data, project: Data, app_hosts: list[str], undefined: t.Mapping[str, str]) -> list[str]:
    """Return what is wrong with the services, volumes and networks of a project that Compose has read.

    *undefined* is the undefined variable behind a secret, by the secret's name.
    """
    found: list[str] = []
    name, normal = item["name"], project["normal"]
    say = saying(found, f"app {name}")
    services = normal.get("services") or {}
    if not services:
        say("compose", "no service", "at least one of kind web", "Add services to the file")
        return found
    for other in sorted(set(item.get("services", {})) - set(services)):
        say(f"services.{other}", "no such service in the file", f"one of {', '.join(services)}", "Rename or remove it")
    extensions = _compose_app.extensions(item, project)
    if not any(more["kind"] == "web" for more in extensions.values()):
        say("compose", "no web service", "at least one of kind web", f"Set routes in {EXTENSION} of what users reach")
    raw = _compose_app.written(item, project)
    for service, more in extensions.items():
        _shape(found, f"{name}/{service}", raw[service])
        inner = saying(found, f"service {name}/{service}")
        _of_service(inner, service, services[service], more, item, app_hosts)
        _waits(inner, services[service], extensions)
        _secrets(inner, found, name, service, services[service], more, raw[service], item, normal, undefined)
    _volumes(found, name, project, extensions, app_hosts)
    return found


def _shape(found: list[str], subject: str, raw: t.Any) -> None:
    """Report keys under x-evenkeel that are unknown or of another type."""
    _typed, complaints = _app_shape.read_extension(raw)
    for path, value, need in complaints:
        key = ".".join((EXTENSION, *path)).replace(".[", "[")
        todo = "Rename or remove it" if value == "an unknown option" else f"Set {key}"
        saying(found, f"service {subject}")(key, value, need, todo)


def _of_service(say: Say, name: str, normal: Data, more: Data, item: Data, app_hosts: list[str]) -> None:
    kind = more["kind"]
    if not _edge.SERVICE.fullmatch(name):
        say("name", shown(name), "a small letter and up to 62 of a-z, 0-9, - and _", "Rename the service")
    if _image(say, normal, more):
        return
    if not kind:
        say(
            f"{EXTENSION}.kind",
            "none on a service that ends by itself",
            "worker, scheduled or once",
            f"Set kind in {EXTENSION}",
        )
        return
    if kind in _compose_app.LATER:
        say(
            f"{EXTENSION}.kind",
            f"{kind}, which this version cannot run",
            f"one of {', '.join(_compose_app.KINDS)}",
            "Make it a stack of compose_stack, and name its address in environment",
        )
        return
    if kind not in _compose_app.KINDS:
        say(f"{EXTENSION}.kind", shown(kind), f"one of {', '.join(_compose_app.KINDS)}", f"Set kind in {EXTENSION}")
        return
    row = {**more, "replicas": _compose_app.replicas(normal, more)}

    def own(key: str, value: t.Any, need: str, todo: str) -> None:
        say(f"{EXTENSION}.{key}", value, need, todo)

    _service_problems.check_extension(own, row, kind, item.get("hosts", []), app_hosts)
    _ports(say, normal, kind)
    if kind in _compose_app.IN_COLOUR and normal.get("container_name"):
        say("container_name", normal["container_name"], "none, as both colours would have it", "Remove it")
    for link in normal.get("links") or []:
        if ":" in str(link):
            say("links", link, "the name of a service", "Set aliases in networks of that service")
    for variable in normal.get("environment") or {}:
        if variable.startswith("EVENKEEL_"):
            say(f"environment.{variable}", "a name that is reserved", "another name", "Rename it")
    for network, how in (normal.get("networks") or {}).items():
        for key in STATIC:
            if (how or {}).get(key):
                say(f"networks.{network}.{key}", how[key], "none, as both colours would have it", "Remove it")
    for key in ("ipc", "pid"):
        if str(normal.get(key, "")).startswith(("service:", "container:")):
            say(key, normal[key], "it left out, as replicas share nothing", "Remove it")


def _image(say: Say, normal: Data, more: Data) -> bool:
    """Report what is wrong with an image; tell whether nothing more is worth saying of the service."""
    image = str(normal.get("image") or "")
    if not image:
        found = "a build without a name" if normal.get("build") else "none"
        say("image", found, "the image that a registry has", "Build and push it before, and set image")
        return True
    parts = _compose_policy.split_reference(image)
    if not parts["digest"] and parts["tag"] in ("", "latest"):
        say("image", image, "a fixed tag or a digest", "Write ${RELEASE} or a version behind the colon")
    engine = _compose_guard.engine_of(parts["repository"])
    if engine and not more.get("kind_said"):
        say(
            "image",
            f"{image}, a store that must not run twice",
            "a life of its own",
            "Make it a stack of compose_stack and name its address in environment, "
            f"or set kind in {EXTENSION} if what it holds may be lost",
        )
        return True
    return False


def _ports(say: Say, normal: Data, kind: str) -> None:
    """Report published ports: with a route the edge comes to one of its own, without one nobody said who may come."""
    if kind == "web":
        return
    for port in normal.get("ports") or []:
        say(
            "ports",
            port.get("published") or port.get("target"),
            "none without a route, as both colours would have it",
            f"Write expose for other services of the app, or set routes in {EXTENSION}",
        )


def _waits(say: Say, normal: Data, extensions: dict[str, Data]) -> None:
    for other, how in (normal.get("depends_on") or {}).items():
        kind = extensions.get(other, {}).get("kind")
        if how.get("condition") == _compose_app.COMPLETED and kind != "once":
            say("depends_on", f"the end of {other}, a {kind} service", "one of kind once", f"Set kind: once on {other}")


def _secrets(
    say: Say,
    found: list[str],
    app: str,
    name: str,
    normal: Data,
    more: Data,
    raw: Data,
    item: Data,
    project: Data,
    undefined: t.Mapping[str, str],
) -> None:
    how = more.get("secrets_as", "file")
    if how not in ("file", "environment"):
        say(f"{EXTENSION}.secrets_as", shown(how), "file or environment", "Set secrets_as")
    if how == "environment" and not more.get("secrets_as_reason"):
        todo = "Set secrets_as_reason, or secrets_as: file"
        say(f"{EXTENSION}.secrets_as", "environment without a reason", "a reason", todo)
    names = _compose_app.secret_names(normal, more)
    user = str(normal.get("user") or "").partition(":")[0]
    if names and user and not user.isdigit():
        say("user", shown(user), "a number, as the files of its secrets belong to it", 'Set user, for example "10001"')
    for one in normal.get("secrets") or []:
        source, target = str(one["source"]), str(one.get("target") or "")
        if target.removeprefix(_compose_app.SECRETS_FOLDER) not in ("", source):
            say(f"secrets.{source}.target", target, f"{_compose_app.SECRETS_FOLDER}{source}", "Remove target")
    given = {str(one.get("name")): one.get("value") for one in raw.get("secrets") or [] if isinstance(one, dict)}
    for secret in names:
        value = given.get(secret, item.get("secrets", {}).get(secret))
        held = bool(((project.get("secrets") or {}).get(secret) or {}).get("file"))
        if not _service_problems.SECRET.fullmatch(secret):
            say("secrets", shown(secret), "file names of letters, digits, _, . and -", "Rename it")
        elif (value in (None, "") and not held) or secret in undefined:
            found.append(_service_problems.missing_secret(f"{app}/{name}", secret, undefined.get(secret, "")))


def _volumes(found: list[str], app: str, project: Data, extensions: dict[str, Data], app_hosts: list[str]) -> None:
    volumes = _compose_app.volumes(app, project)
    users: dict[str, list[str]] = {}
    for name, service in project["normal"]["services"].items():
        say = saying(found, f"service {app}/{name}")
        for mount in service.get("volumes") or []:
            source, target = str(mount.get("source") or ""), str(mount.get("target") or "")
            if mount["type"] == "volume" and source:
                users.setdefault(source, []).append(name)
            if f"{target.rstrip('/')}/" == _compose_app.SECRETS_FOLDER:
                say("volumes", target, f"{target} left to secrets", "Mount it elsewhere")
            if mount["type"] == "bind" and source.startswith("~"):
                say("volumes", source, "a full path on the host, or one beside the Compose file", "Correct it")
    for volume, names in users.items():
        if len(app_hosts) < 2 or volume not in volumes or _compose_app.on_every_host(volumes[volume]):
            continue
        kinds = {extensions[name]["kind"] for name in names}
        homes = {extensions[name].get("host") or app_hosts[0] for name in names}
        if kinds <= {"singleton", "scheduled"} and len(homes) == 1:
            continue
        saying(found, f"volume {volume} of app {app}")(
            "driver",
            f"local on {len(app_hosts)} app hosts ({', '.join(app_hosts)})",
            "one that they share, or files that may differ on each",
            f"Set driver_opts of NFS, {EXTENSION}: {{per_host: true}} on the volume, or leave one app host",
        )


# -- what is advised ----------------------------------------------------------


def advice(model: Model) -> list[str]:
    """Return a sentence for each rule that a plain file breaks and C(app_deploy_policy=strict) would refuse."""
    found = []
    services = {name: _linted(service) for name, service in model["services"].items()}
    by_service: dict[str, list[str]] = {}
    for one in _compose_policy.lint(services):
        waived = {w["rule"] for w in additions(model["services"][one.service])["waivers"] if w["reason"] == _WAIVED}
        if one.rule in waived and (one.rule, one.found) not in (("healthcheck", "none"), ("root-user", "no user")):
            by_service.setdefault(one.service, []).append(LINES.get(one.rule) or f"{one.rule} ({one.found})")
    for name, lines in by_service.items():
        found.append(
            f"app_deploy: service {model['name']}/{name}: app_deploy_policy strict would ask for "
            f"{', '.join(dict.fromkeys(lines))}."
        )
    for key, volume in model["volumes"].items():
        users = [
            name
            for name, service in model["services"].items()
            if additions(service)["kind"] in _compose_app.IN_COLOUR and _writes(service, key)
        ]
        if users and volume:
            found.append(
                f"app_deploy: volume {key} of app {model['name']}: {', '.join(users)} of two releases write it while "
                "they overlap, which is fine for uploads and not for SQLite or another store with one writer."
            )
    return found


_WAIVED = _compose_app.WAIVED


def _writes(service: Data, volume: str) -> bool:
    return any(
        isinstance(mount, dict)
        and mount["type"] == "volume"
        and mount.get("source") == volume
        and not mount.get("read_only")
        for mount in service.get("volumes", [])
    )


def _linted(service: Data) -> Data:
    mounts = [mount for mount in service.get("volumes", []) if isinstance(mount, dict)]
    return {**service, "volumes": mounts, "ports": []}
