# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Everything that is wrong with apps, one sentence each, in the keys of C(app_deploy_apps).

C(problems) asks what every later stage would refuse, as far as it can be seen from the inventory and from *facts*.
C(_service_problems) holds the checks of one service.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
import urllib.parse

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_shape,
    _compose_app_problems,
    _edge,
    _edge_record,
    _model,
    _ports,
    _service_problems,
    _stacks,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._app_sentence import Say, saying
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import shown
from ansible_collections.evenkeel.platform.plugins.module_utils._model import Model, additions

TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
FIRST_PORT, LAST_PORT = 1024, 65535


class Read(t.TypedDict):
    """What came of the Compose file of an app; C(project) is None where it has problems or nobody has read it yet."""

    project: dict[str, t.Any] | None
    problems: list[str]


class Facts(t.TypedDict, total=False):
    """What was learnt outside the inventory's description of apps; all of it may be missing."""

    records: dict[str, dict[str, t.Any]]  # the edges' record in force, by app
    stacks: dict[str, list[str]]  # names of stacks that belong to no app, by host
    ports: dict[str, dict[int, str]]  # ports in use by others and who holds them, by host
    projects: dict[str, Read]  # the Compose files, by app
    strict: bool  # app_deploy_policy
    undefined: dict[str, str]  # the undefined variable behind a secret, by "<app>/<service>/<secret>"


def problems(
    apps: t.Sequence[t.Any],
    hosts: dict[str, dict[str, t.Any]],
    edges: t.Sequence[str],
    facts: Facts | None = None,
) -> list[str]:
    """Return every reason why *apps* cannot be realised on *hosts*.

    *hosts* are the app hosts with C(address), C(memory_bytes) and C(stacks_memory_bytes), which is what other stacks
    there are limited to; a value of None is not judged.
    """
    known: Facts = facts or {}
    found: list[str] = []
    if apps and not edges:
        found.append(
            "app_deploy: edge hosts: found none, need at least one. "
            "Put a host into the group that app_deploy_edge_group names."
        )
    if apps and not hosts:
        found.append(
            "app_deploy: app hosts: found none, need at least one. "
            "Put a host into the group that app_deploy_app_group names."
        )
    found += _of_hosts(hosts)
    items, models = [], []
    for number, app in enumerate(apps, start=1):
        of_app = _of_item(app, number, hosts, known)
        item, _complaints = _app_shape.read(app)
        items.append(item)
        project = _project_of(item, known)
        if _app_shape.is_compose(app) and project is None:
            pass  # its services are not known yet
        elif not of_app:
            model = _model.of(app, project, known.get("strict", False))
            of_app = _of_model(model, hosts, known)
            models.append(model)
        elif project is None and _translatable(item):
            models.append(_model.of(app))
        found += of_app
    found += _between_items(items, known)
    for model in models:
        found += _routes_twice(model)
    found += _capacity(models, hosts)
    return list(dict.fromkeys(found))


def _project_of(item: dict[str, t.Any], facts: Facts) -> dict[str, t.Any] | None:
    read = facts.get("projects", {}).get(str(item.get("name")))
    return read["project"] if read else None


def missing_secrets(model: Model, values: t.Collection[str], facts: Facts | None = None) -> list[str]:
    """Return a sentence for each secret of a model that *values* (keys C(<service>/<name>)) have no value for."""
    known: Facts = facts or {}
    return [
        _service_problems.missing_secret(
            f"{model['name']}/{name}",
            secret["name"],
            known.get("undefined", {}).get(f"{model['name']}/{name}/{secret['name']}", ""),
        )
        for name, service in model["services"].items()
        for secret in additions(service)["secrets"]
        if _model.secret_key(name, secret) not in values
    ]


def _translatable(item: dict[str, t.Any]) -> bool:
    """Tell whether a model can be made of an item that has problems, so that it still counts against others."""
    services = item.get("services", [])
    return (
        bool(item.get("name"))
        and bool(item.get("hosts"))
        and all(one.get("name") and one.get("image") for one in services)
        and all(not _service_problems.environment_problems(one.get("env", {})) for one in services)
        and all(step.get("service") for step in item.get("migration", []))
    )


def _of_hosts(hosts: dict[str, dict[str, t.Any]]) -> list[str]:
    found = []
    for host, about in hosts.items():
        if not about.get("address"):
            found.append(
                f"app_deploy: address of host {host}: found none, need its private address. Set platform_address."
            )
            continue
        try:
            ipaddress.ip_address(str(about["address"]))
        except ValueError:
            found.append(
                f"app_deploy: address of host {host}: found {shown(about['address'])}, need an IP address. "
                "Set platform_address."
            )
        if not _edge.SERVER.fullmatch(f"{host}_1"):
            found.append(
                f"app_deploy: name of host {host}: found {shown(host)}, need letters, digits, dots, dashes and "
                "underscores, 97 at most. Rename it in the inventory."
            )
    return found


def _of_item(app: t.Any, number: int, hosts: dict[str, dict[str, t.Any]], facts: Facts) -> list[str]:
    """Return what is wrong with one item, seen alone."""
    item, complaints = _app_shape.read(app)
    name = str(item.get("name", f"number {number}"))
    found: list[str] = []
    broken = {path for path, _found, _need in complaints}
    for path, value, need in complaints:
        if path[:1] == ("services",) and len(path) > 2:
            subject, key = f"service {name}/{path[1]}", ".".join(path[2:])
        else:
            subject, key = f"app {name}", ".".join(path).replace(".[", "[") or "item"
        todo = "Rename or remove it" if value == "an unknown option" else f"Set {key}"
        saying(found, subject)(key, value, need, todo)
    if () in broken:
        return found
    own = {path for path in broken if path[:1] != ("services",) or len(path) < 3}
    say = saying(found, f"app {name}", own)
    compose = _app_shape.is_compose(app)
    _names(say, item, "domains" if compose else "hosts")
    _range(say, item)
    _requests(say, item)
    _strategy(say, item)
    if compose:
        return found + _of_compose(say, item, list(hosts), facts)
    _services(say, item)
    _migration(say, item, [str(service.get("name")) for service in item.get("services", [])])
    for place, service in enumerate(item.get("services", [])):
        label = str(service.get("name", f"[{place}]"))
        inside = {path[2:] for path in broken if path[:2] == ("services", label)}
        undefined = {
            secret.rpartition("/")[2]: variable
            for secret, variable in facts.get("undefined", {}).items()
            if secret.rpartition("/")[0] == f"{name}/{label}"
        }
        speak = saying(found, f"service {name}/{label}", inside)
        _service_problems.check(speak, service, item.get("hosts", []), list(hosts))
        _service_problems.check_secrets(speak, found, f"{name}/{label}", service, undefined)
    return found


def _of_compose(say: Say, item: dict[str, t.Any], app_hosts: list[str], facts: Facts) -> list[str]:
    """Return what is wrong with the Compose file of an item, as far as it was read."""
    name = str(item.get("name"))
    read = facts.get("projects", {}).get(name)
    project = read["project"] if read else None
    if read is None or project is None:
        return read["problems"] if read else []
    _migration(say, item, list(project["normal"].get("services") or {}))
    undefined = {
        secret.rpartition("/")[2]: variable
        for secret, variable in facts.get("undefined", {}).items()
        if secret.startswith(f"{name}/")
    }
    return _compose_app_problems.check(item, project, app_hosts, undefined)


def _names(say: Say, item: dict[str, t.Any], key: str) -> None:
    name = item.get("name", "")
    if name in _edge.RESERVED:
        say("name", f"{name}, which is reserved", "another name", "Rename the app")
    elif not _edge.APP.fullmatch(name):
        say("name", shown(name) if name else "none", "a small letter and up to 30 of a-z, 0-9 and -", "Set name")
    release = item.get("release", "")
    if release in ("", "latest"):
        say("release", release or "none", "a fixed tag", "Set release to the tag to deploy")
    elif not TAG.fullmatch(release):
        say("release", shown(release), "a tag of letters, digits, _, . and -, 128 at most", "Set release")
    hosts = item.get("hosts", [])
    if not hosts:
        say(key, "none", "at least one public name", f"Set {key}")
    for host in dict.fromkeys(hosts):
        if "*" in host:
            say(key, host, "full names, as wildcards are not offered", "List each name that users type")
        elif not _edge.HOST.fullmatch(host):
            todo = f"Write {host.lower()}" if _edge.HOST.fullmatch(host.lower()) else f"Correct it in {key}"
            say(key, shown(host), "a host name in small letters, such as shop.example.com", todo)
        if hosts.count(host) > 1:
            say(key, f"{host} more than once", "each name once", "Remove one of them")


def _range(say: Say, item: dict[str, t.Any]) -> None:
    base, count = item.get("port_base", 0), item.get("port_count", _model.PORT_COUNT)
    if not base:
        say("port_base", "none", "the first port of its range", "Set port_base, for example 20000")
    elif count < 1:
        say("port_count", count, "at least 1", "Set port_count")
    elif base < FIRST_PORT or base + count - 1 > LAST_PORT:
        need = f"ports from {FIRST_PORT} to {LAST_PORT}"
        say("port_base", f"{base}-{base + count - 1}", need, "Set port_base or port_count")


def _services(say: Say, item: dict[str, t.Any]) -> None:
    services = item.get("services", [])
    names = [service.get("name") for service in services]
    for twice in sorted({str(name) for name in names if name is not None and names.count(name) > 1}):
        say("services", f"{twice} more than once", "each name once", "Rename one of them")
    if not services:
        say("services", "none", "at least one of kind web", "Set services")
    elif all(service.get("kind", "web") in _stacks.BACKGROUND for service in services):
        say("services", "no web service", "at least one of kind web", "Set kind: web on what the edge serves")


def _migration(say: Say, item: dict[str, t.Any], names: list[str]) -> None:
    for number, step in enumerate(item.get("migration", [])):
        key = f"migration[{number}]"
        if step.get("service") not in names:
            found = shown(step.get("service", "")) if step.get("service") else "none"
            say(f"{key}.service", found, f"one of {', '.join(names) or 'its services'}", f"Set {key}.service")
        if not step.get("command"):
            say(f"{key}.command", "none", "the command that migrates, as a list of words", f"Set {key}.command")
        if step.get("phase", "expand") not in ("expand", "contract"):
            say(f"{key}.phase", shown(step["phase"]), "expand or contract", f"Set {key}.phase")
        if step.get("timeout_seconds", 1) < 1:
            say(f"{key}.timeout_seconds", step["timeout_seconds"], "at least 1", f"Set {key}.timeout_seconds")


def _requests(say: Say, item: dict[str, t.Any]) -> None:
    hosts = item.get("hosts", [])
    one_of = f"one of {', '.join(hosts) or 'its public names'}"
    for number, request in enumerate(item.get("smoke", [])):
        key = f"smoke[{number}]"
        if not re.fullmatch(r"/[!-~]*", request.get("path", "")):
            say(f"{key}.path", shown(request.get("path", "")), "a path that starts with /", f"Set {key}.path")
        if request.get("host") and request["host"] not in hosts:
            say(f"{key}.host", shown(request["host"]), one_of, f"Set {key}.host")
        if not 100 <= request.get("status", 200) <= 599:
            say(f"{key}.status", request["status"], "100 to 599", f"Set {key}.status")
    probe = item.get("probe", {})
    if not 100 <= probe.get("status", 200) <= 599:
        say("probe.status", probe["status"], "100 to 599", "Set probe.status")
    if probe.get("url"):
        try:
            parts = urllib.parse.urlsplit(probe["url"])
            name = probe.get("host") or parts.hostname or ""
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            name, whole = "", False
        if not whole or re.search(r"[^!-~]", probe["url"]):
            need = "an address such as https://shop.example.com/healthz"
            say("probe.url", shown(probe["url"]), need, "Set probe.url")
        elif name not in hosts:
            say("probe.url", name, one_of, "Set probe.url, or probe.host to the name to ask for")


def _strategy(say: Say, item: dict[str, t.Any]) -> None:
    strategy = item.get("strategy", {})
    gate, drain = strategy.get("gate", {}), strategy.get("drain", {})
    for key, value, least in (
        ("strategy.gate.successes", gate.get("successes"), 1),
        ("strategy.gate.interval_seconds", gate.get("interval_seconds"), 0.01),
        ("strategy.gate.timeout_seconds", gate.get("timeout_seconds"), 1),
        ("strategy.drain.timeout_seconds", drain.get("timeout_seconds"), 0),
        ("strategy.warm_seconds", strategy.get("warm_seconds"), 0),
    ):
        if value is not None and value < least:
            say(key, value, f"at least {least}", f"Set {key}")
    database = item.get("database", {})
    if database and database.get("max_connections", 0) < 1:
        found = database.get("max_connections", "none")
        say("database.max_connections", found, "what the server allows", "Set database.max_connections")


def _of_model(model: Model, hosts: dict[str, dict[str, t.Any]], facts: Facts) -> list[str]:
    """Return what an item without problems of its own meets outside: ports, probe and the edge's own checks."""
    found: list[str] = []
    say = saying(found, f"app {model['name']}")
    if model["probe"]["enabled"] and not _edge_record.probe(model):
        say(
            "probe",
            "no health check whose path a route leads to, and no smoke request",
            "one request to make through the edge after traffic moved",
            "Set probe.url, or probe: {enabled: false}",
        )
    records = facts.get("records", {})
    others = {app: _ports.numbers(_ports.recorded(each)) for app, each in records.items() if app != model["name"]}
    record = records.get(model["name"], {})
    try:
        ports = _ports.allocate(model, _ports.recorded(record), set().union(*others.values()))
    except ValueError as exc:
        return [*found, str(exc)]
    range_ = set(range(model["port_base"], model["port_base"] + model["port_count"]))
    for app, numbers in sorted(others.items()):
        if met := range_ & numbers:
            say(
                "port_base",
                f"{min(met)}, which serves app {app}",
                "ports that no other app has",
                "Set port_base",
            )
    own = set(_stacks.stack_names(model["name"]))
    for host, used in sorted(facts.get("ports", {}).items()):
        for port in sorted(set(map(int, used)) & (range_ | _ports.numbers(ports))):
            holder = {int(number): who for number, who in used.items()}[port]
            if holder not in own:
                say("port_base", f"{port} in use by {holder} on {host}", "ports that are free", "Set port_base")
    for host, stacks in sorted(facts.get("stacks", {}).items()):
        for stack in sorted(own & set(stacks)):
            say("name", f"stack {stack} on {host}", "no other stack of that name", "Rename the stack or the app")
    known = {host: about for host, about in hosts.items() if about.get("address")}
    made = _edge_record.record(model, ports, known, _model.COLOURS[0])
    # What was not found above, in the edge's own words: no later stage may find more.
    return found or [
        each.replace("edge: ", "app_deploy: ", 1).replace("edge_app", "app_deploy_apps")
        for each in _edge.record_problems(made)
    ]


def _between_items(items: list[dict[str, t.Any]], facts: Facts) -> list[str]:
    found = []
    names = [item["name"] for item in items if item.get("name")]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        found.append(f"app_deploy: app {twice}: found it more than once, need each name once. Rename one of them.")
    ranged = [item for item in items if item.get("port_base") and item.get("name")]
    for index, one in enumerate(ranged):
        for other in ranged[index + 1 :]:
            first, second = (
                (each["port_base"], each["port_base"] + each.get("port_count", _model.PORT_COUNT) - 1)
                for each in (one, other)
            )
            if first[0] <= second[1] and second[0] <= first[1]:
                found.append(
                    f"app_deploy: ports of apps {one['name']} and {other['name']}: found {first[0]}-{first[1]} and "
                    f"{second[0]}-{second[1]}, need ranges that do not overlap. Set port_base of one of them."
                )
    owners: dict[str, str] = {}
    for item in items:
        for host in item.get("hosts", []):
            name = item.get("name", "?")
            if owners.setdefault(host, name) != name:
                found.append(
                    f"app_deploy: public name {host}: found apps {owners[host]} and {name}, need one. "
                    "Take it from one of them."
                )
    for app, record in sorted(facts.get("records", {}).items()):
        for host in record.get("hosts", []):
            if owners.get(host, app) != app and not any(
                item.get("name") == app and host in item.get("hosts", []) for item in items
            ):
                found.append(
                    f"app_deploy: public name {host} of app {owners[host]}: found a release of app {app} that still "
                    f"serves it, need it free. Deploy {app} once more without the name, or uninstall it."
                )
    return found


def _routes_twice(model: Model) -> list[str]:
    found = []
    owners: dict[tuple[str, str], str] = {}
    for route in _edge_record.routes_of(model):
        host, path = route["host"], route["path"].rstrip("/") + "/"
        owner = f"{model['name']}/{route['service']}"
        if owners.setdefault((host, path), owner) != owner:
            found.append(
                f"app_deploy: route {host}{path}: found services {owners[host, path]} and {owner}, need one. "
                "Change path or host of one."
            )
    return found


def _capacity(models: list[Model], hosts: dict[str, dict[str, t.Any]]) -> list[str]:
    found = []
    app_hosts = list(hosts)
    for host, about in hosts.items():
        if about.get("memory_bytes") is None:
            continue
        need = about.get("stacks_memory_bytes") or 0
        for model in models:
            for service in model["services"].values():
                more = additions(service)
                if more["kind"] in ("singleton", "scheduled") and _model.home_of(service, app_hosts) != host:
                    continue
                try:
                    size = _model.memory_bytes(service.get("mem_limit", 0))
                except ValueError:
                    continue
                need += size * more["replicas"] * (2 if more["kind"] in _model.IN_COLOUR else 1)
        if need > about["memory_bytes"]:
            found.append(
                f"app_deploy: memory of host {host}: found {about['memory_bytes'] // 1024**2} MiB, "
                f"need {need // 1024**2} MiB for both colours, the background services and the other stacks. "
                "Lower resources.memory or replicas, or give the host more."
            )
    for model in models:
        if not model["database"].get("max_connections"):
            continue
        times = {**dict.fromkeys(_model.IN_COLOUR, 2 * len(hosts)), "worker": len(hosts)}
        need = sum(
            more["connections"] * more["replicas"] * times.get(more["kind"], 1)
            for more in map(additions, model["services"].values())
        )
        room = model["database"]["max_connections"] - model["database"]["reserved"]
        if need > room:
            found.append(
                f"app_deploy: database connections of app {model['name']}: found room for {room}, need {need} with "
                "both colours up. Raise max_connections of the database and database.max_connections, "
                "or lower connections or replicas."
            )
    return found
