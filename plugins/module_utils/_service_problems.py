# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Everything that is wrong with one service of an app, in the keys of C(app_deploy_apps)."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _calendar, _compose_policy, _edge, _model
from ansible_collections.evenkeel.platform.plugins.module_utils._app_sentence import Say
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import shown, word
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_release import SECRETS_TARGET

# The limits of a service, and the rule of compose_stack that waives each.
LIMIT_RULES = {"memory": "memory-limit", "cpus": "cpu-limit", "pids": "pids-limit"}
SMALLEST_MEMORY = 6 * 1024**2
IMAGE = re.compile(r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*")
# A route is a prefix of whole segments, so a pattern or a query in it would never match.
ROUTE = re.compile(r"/[A-Za-z0-9/._~!&()+,;=:@-]*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
SECRET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MOUNT_OPTIONS = {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}


def waived(service: dict[str, t.Any], rule: str) -> bool:
    return any(waiver.get("rule") == rule and waiver.get("reason") for waiver in service.get("waivers", []))


def check(say: Say, service: dict[str, t.Any], hosts: list[str], app_hosts: list[str]) -> None:
    """Report what is wrong with a service, as C(_app_shape.read) returns it; *hosts* are the app's public names."""
    _identity(say, service)
    kind = service.get("kind", "web")
    if kind == "web":
        _web(say, service, hosts)
    elif kind in _model.KINDS:
        for key in ("routes", "health", "protocol"):
            if service.get(key):
                say(key, f"it set on a {kind}", "it on a web service only", f"Remove {key}, or set kind: web")
    _replicas(say, service, kind)
    _place(say, service, kind, app_hosts)
    _health_command(say, service, kind)
    _resources(say, service)
    for key, value, need in environment_problems(service.get("env", {})):
        say(key, value, need, f"Set {key}, or remove it")
    _volumes(say, service)
    _waivers(say, service)


def check_extension(say: Say, more: dict[str, t.Any], kind: str, hosts: list[str], app_hosts: list[str]) -> None:
    """Report what is wrong with what stands under x-evenkeel of a service of a Compose file."""
    if kind == "web":
        _web(say, more, hosts)
    else:
        for key in ("routes", "health", "protocol"):
            if more.get(key):
                say(key, f"it set on a {kind}", "it on a web service only", f"Remove {key}, or set kind: web")
    _replicas(say, more, kind)
    _place(say, more, kind, app_hosts)
    _waivers(say, more)
    for key, need in (("phase", ("expand", "contract")), ("timeout_seconds", ()), ("idempotent", ())):
        if key in more and kind != "once":
            say(key, f"it set on a {kind}", "it on a service of kind once only", f"Remove {key}, or set kind: once")
        elif need and more.get(key, need[0]) not in need:
            say(key, shown(more[key]), " or ".join(need), f"Set {key}")
    for key, least in (("connections", 0), ("timeout_seconds", 1)):
        if more.get(key, least) < least:
            say(key, more[key], f"at least {least}", f"Set {key}")


def check_secrets(
    say: Say, found: list[str], subject: str, service: dict[str, t.Any], undefined: dict[str, str]
) -> None:
    """Report what is wrong with a service's secrets; no value of one is ever shown."""
    how = service.get("secrets_as", "file")
    if how not in ("file", "environment"):
        say("secrets_as", shown(how), "file or environment", "Set secrets_as")
    if how == "environment" and not service.get("secrets_as_reason"):
        say("secrets_as", "environment without a reason", "a reason", "Set secrets_as_reason, or secrets_as: file")
    names = [secret.get("name", "") for secret in service.get("secrets", [])]
    for name in sorted({name for name in names if names.count(name) > 1}):
        say("secrets", f"{name or 'one without a name'} more than once", "each name once", "Rename one of them")
    for secret in service.get("secrets", []):
        name = secret.get("name", "")
        if not SECRET.fullmatch(name):
            say("secrets", shown(name), "a file name of letters, digits, _, . and -", "Set name of the secret")
            continue
        value = secret.get("value")
        if value is None or value == "" or name in undefined:
            found.append(missing_secret(subject, name, undefined.get(name, "")))
        elif isinstance(value, (dict, list, bool)):
            say(f"secret {name}", f"a {type(value).__name__}", "a text", "Set its value in quotes")
        elif str(value).startswith("$ANSIBLE_VAULT"):
            say(f"secret {name}", "a sealed vault text", "its value", "Give ansible-playbook the vault password")


def missing_secret(subject: str, name: str, variable: str) -> str:
    """Return the sentence about a secret without a value, *variable* being the undefined one behind it."""
    if variable:
        found, todo = f"no value, as variable {variable} is not defined", f"Set {variable}"
    else:
        found, todo = "no value", "Set value of the secret"
    return (
        f"app_deploy: secret {name} of service {subject}: found {found}, need one. {todo}; write it with "
        f"ansible-vault encrypt_string --stdin-name {variable or name}."
    )


def environment_problems(env: dict[t.Any, t.Any]) -> list[tuple[str, str, str]]:
    """Return key, what was found and what is needed for each variable that no container can be given."""
    found = []
    for key, value in env.items():
        if not isinstance(key, str) or not VARIABLE.fullmatch(key):
            found.append((f"env[{key!r}]", shown(key), "a name of letters, digits and _"))
        elif key.startswith("EVENKEEL_"):
            found.append((f"env.{key}", "a name that is reserved", "another name"))
        elif value is None:
            found.append((f"env.{key}", "no value", 'a text, a number, true or false; "" for an empty one'))
        else:
            try:
                word(value)
            except ValueError:
                what = "a zero byte" if isinstance(value, str) else f"a {type(value).__name__}"
                found.append((f"env.{key}", what, "a text, a number, true or false"))
    return found


def _identity(say: Say, service: dict[str, t.Any]) -> None:
    name = service.get("name", "")
    if not _edge.SERVICE.fullmatch(name):
        need = "a small letter and up to 62 of a-z, 0-9, - and _"
        say("name", shown(name) if name else "none", need, "Set name of the service")
    if service.get("kind", "web") not in _model.KINDS:
        say("kind", shown(service["kind"]), f"one of {', '.join(_model.KINDS)}", "Set kind")
    image = service.get("image", "")
    if not image:
        say("image", "none", "the image's name", "Set image")
    elif ":" in image.rsplit("/", 1)[-1] or "@" in image:
        say("image", image, "a name without a tag", "Remove the tag: the app's release is the tag")
    elif not IMAGE.fullmatch(image):
        say("image", shown(image), "a name such as registry.example.com/shop/api", "Set image")
    user = service.get("user", "")
    if user and not re.fullmatch(r"[0-9]+", user):
        say("user", shown(user), "a numeric user id", "Set user, for example 10001")
    elif user and int(user) == 0 and not waived(service, "root-user"):
        say("user", user, "a user other than root", "Set user, or waive rule root-user with a reason in waivers")
    for key in ("stop_seconds", "connections"):
        if service.get(key, 0) < 0:
            say(key, service[key], "0 or more", f"Set {key}")


def _web(say: Say, service: dict[str, t.Any], hosts: list[str]) -> None:
    port = service.get("port")
    if port is None:
        say("port", "none", "the port it listens on", "Set port")
    elif not 1 <= port <= 65535:
        say("port", port, "1 to 65535", "Set port")
    if not service.get("routes"):
        say("routes", "none", "at least one route", "Set routes, for example [{path: /}]")
    for route in service.get("routes", []):
        path = route.get("path", "/")
        if "*" in path or "?" in path:
            need = "a prefix of whole segments, which matches everything below it"
            say("routes", path, need, f"Write {re.split('[*?]', path)[0].rstrip('/') or '/'}")
        elif not ROUTE.fullmatch(path):
            say("routes", shown(path), "a path that starts with /", "Set path of the route")
        if route.get("host") and route["host"] not in hosts:
            need = f"one of {', '.join(hosts) or 'the public names of the app'}"
            say("routes", f"host {shown(route['host'])}", need, "Add it to hosts")
    protocol = service.get("protocol", "http1")
    if protocol not in _edge.PROTOCOLS:
        say("protocol", shown(protocol), f"one of {', '.join(_edge.PROTOCOLS)}", "Set protocol")
    health = service.get("health", {})
    if protocol == "grpc" and set(health) - {"interval_seconds"}:
        keys = ", ".join(sorted(set(health) - {"interval_seconds"}))
        need = "interval_seconds alone, as the standard gRPC health service is asked"
        say("health", keys, need, "Remove the others, or set protocol: h2")
    if not _edge.PATH.fullmatch(health.get("path", "/")):
        say("health.path", shown(health["path"]), "a path that starts with /", "Set health.path")
    if not 100 <= health.get("status", 200) <= 599:
        say("health.status", health["status"], "100 to 599", "Set health.status")
    if not 0.1 <= health.get("interval_seconds", 1) <= 3600:
        say("health.interval_seconds", health["interval_seconds"], "0.1 to 3600", "Set health.interval_seconds")


def _replicas(say: Say, service: dict[str, t.Any], kind: str) -> None:
    replicas = service.get("replicas", 1)
    most = service.get("replicas_max", replicas)
    if kind in ("singleton", "scheduled", "once") and (replicas != 1 or most != 1):
        todo = "Set replicas: 1, or kind: worker"
        say("replicas", max(replicas, most), f"1, since a {kind} service may run once", todo)
    elif replicas < 1:
        say("replicas", replicas, "at least 1", "Set replicas, or remove the service")
    elif replicas > most:
        say("replicas", replicas, f"at most replicas_max {most}", "Raise replicas_max")


def _place(say: Say, service: dict[str, t.Any], kind: str, app_hosts: list[str]) -> None:
    host, schedule = service.get("host", ""), service.get("schedule", "")
    if host and kind not in ("singleton", "scheduled"):
        say("host", f"{shown(host)} on a {kind}", "it on a singleton or scheduled service only", "Remove host")
    elif host and host not in app_hosts:
        say("host", shown(host), f"one of {', '.join(app_hosts) or 'the app hosts'}", "Set host to an app host")
    if kind != "scheduled":
        if schedule:
            say("schedule", f"it set on a {kind}", "it on a scheduled service only", "Set kind: scheduled")
    elif not schedule:
        say("schedule", "none", "a systemd calendar expression", 'Set schedule, for example "*-*-* 03:00:00"')
    elif _calendar.is_cron(schedule):
        same = _calendar.from_cron(schedule)
        todo = f'Write schedule: "{same}"' if same else "See systemd.time(7); two services may share the times"
        say("schedule", f"cron's form {schedule!r}", "a systemd calendar expression", todo)
    elif not _calendar.CALENDAR.fullmatch(schedule):
        todo = 'Set schedule, for example "*-*-* 03:00:00"'
        say("schedule", shown(schedule), "a systemd calendar expression", todo)


def _health_command(say: Say, service: dict[str, t.Any], kind: str) -> None:
    command = service.get("healthcheck", [])
    if not command:
        if kind != "scheduled" and not waived(service, "healthcheck"):
            todo = "Set healthcheck, or waive it with a reason in waivers"
            say("healthcheck", "none", "a command that reports whether the service is healthy", todo)
    elif command[0] not in ("CMD", "CMD-SHELL") or len(command) < 2:
        todo = "Set healthcheck, for example [CMD, /usr/local/bin/healthcheck]"
        say("healthcheck", shown(command[0]), "CMD or CMD-SHELL and then the command", todo)
    elif command[0] == "CMD-SHELL" and len(command) > 2:
        say("healthcheck", f"CMD-SHELL and {len(command) - 1} words", "one text after it", "Use CMD, or join the words")


def _resources(say: Say, service: dict[str, t.Any]) -> None:
    resources = service.get("resources", {})
    for key, rule in LIMIT_RULES.items():
        if key not in resources and not waived(service, rule):
            todo = f"Set resources.{key}, or waive it with a reason in waivers"
            say(f"resources.{key}", "none", "a limit", todo)
    if "memory" in resources:
        try:
            size = _model.memory_bytes(resources["memory"])
        except ValueError:
            say("resources.memory", shown(resources["memory"]), "a size such as 256m", "Set resources.memory")
        else:
            if size < SMALLEST_MEMORY:
                say("resources.memory", resources["memory"], "at least 6m, which is the engine's least", "Raise it")
    for key in ("cpus", "pids"):
        if key in resources and resources[key] <= 0:
            say(f"resources.{key}", resources[key], "more than 0", f"Set resources.{key}")


def _volumes(say: Say, service: dict[str, t.Any]) -> None:
    targets: set[str] = set()
    for volume in service.get("volumes", []):
        source, colon, rest = volume.partition(":")
        target, _colon, options = rest.partition(":")
        if not colon:
            say("volumes", shown(volume), "a named volume or a folder of the host before it", f"Write data:{volume}")
            continue
        if source.startswith((".", "~")):
            say("volumes", shown(volume), "a full path on the host, or the name of a volume", "Correct volumes")
        elif not source.startswith("/") and not VOLUME.fullmatch(source):
            say("volumes", shown(volume), "a volume name of letters, digits, _, . and -", "Correct volumes")
        if not target.startswith("/"):
            say("volumes", shown(volume), "a full path in the container after the colon", "Correct volumes")
        elif target.rstrip("/") == SECRETS_TARGET:
            say("volumes", shown(volume), f"{SECRETS_TARGET} left to secrets", "Mount it elsewhere")
        if target.rstrip("/") in targets:
            say("volumes", f"{target} more than once", "each path once", "Remove one of them")
        targets.add(target.rstrip("/"))
        unknown = set(options.split(",")) - MOUNT_OPTIONS if options else set()
        if unknown:
            say("volumes", shown(volume), "ro, rw, z, Z or nocopy as its option", "Correct volumes")


def _waivers(say: Say, service: dict[str, t.Any]) -> None:
    for number, waiver in enumerate(service.get("waivers", [])):
        rule = waiver.get("rule", "")
        if rule not in _compose_policy.RULES:
            near = difflib.get_close_matches(rule, _compose_policy.RULES, n=1)
            need = near[0] if near else f"one of {', '.join(sorted(_compose_policy.RULES))}"
            say(f"waivers[{number}].rule", shown(rule) if rule else "none", need, "Set the rule")
        if not waiver.get("reason", "").strip():
            say(f"waivers[{number}].reason", "none", "why the rule does not hold", "Set the reason")
