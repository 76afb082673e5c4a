# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stack may and must say. PRIVATE to the collection.

Pure functions over the definition as ``docker compose config --format json`` gives it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

RULES: dict[str, str] = {
    "image-tag": "an image with a tag other than latest, or with a digest",
    "local-image": "an image that came from a registry, so that it has a digest",
    "privileged": "no privileged container",
    "docker-socket": "no mount of the engine's socket",
    "system-mount": "no mount of a system folder of the host",
    "host-network": "a network of its own",
    "host-pid": "a process namespace of its own",
    "host-ipc": "an IPC namespace of its own",
    "host-uts": "a host name of its own",
    "host-userns": "no way around the engine's user namespace",
    "device": "no device of the host",
    "cap-add": "no added capability beyond what a server needs to drop its rights",
    "cap-drop": "cap_drop with ALL",
    "no-new-privileges": "security_opt with no-new-privileges:true",
    "security-opt": "the engine's own seccomp, AppArmor and SELinux confinement",
    "read-only": "read_only: true",
    "root-user": "a numeric user other than 0",
    "memory-limit": "deploy.resources.limits.memory or mem_limit",
    "cpu-limit": "deploy.resources.limits.cpus or cpus",
    "pids-limit": "deploy.resources.limits.pids or pids_limit",
    "healthcheck": "a healthcheck",
    "restart": "restart: unless-stopped or on-failure:<times>",
    "log-options": "logging with a driver and, for json-file and local, max-size",
    "open-port": "published ports bound to one address of the host",
    "anonymous-volume": "a named volume, a bind or a tmpfs",
    "environment-secret": "no secret in the environment",
    "secrets-in-environment": "secrets read from files",
}

# What is advised only, for an app whose services are written elsewhere: a plain Compose file has none of it.
ADVICE = (
    "anonymous-volume",
    "cap-drop",
    "cpu-limit",
    "environment-secret",
    "healthcheck",
    "log-options",
    "memory-limit",
    "no-new-privileges",
    "pids-limit",
    "read-only",
    "restart",
    "root-user",
    "secrets-in-environment",
)

# How containers of ours keep their lines: in files that the agent reads, with the names that tell whose they are.
LOGGING: dict[str, Any] = {
    "driver": "json-file",
    "options": {
        "max-size": "10m",
        "max-file": "3",
        "labels": "com.docker.compose.project,com.docker.compose.service",
    },
}

# What a server that starts as root needs to become somebody else, and low ports.
HARMLESS_CAPABILITIES = frozenset({"CHOWN", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "SETGID", "SETUID"})
EVERY_ADDRESS = ("*", "0.0.0.0", "::", "[::]")  # noqa: S104 - these are what it refuses
SYSTEM_FOLDERS = ("/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/sys", "/usr", "/var/lib/docker")
SECRET_WORDS = (
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "APIKEY",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    # Those of the frameworks.
    "APP_KEY",
    "ENCRYPTION_KEY",
    "MASTER_KEY",
    "SECRET_KEY",
    "SECRET_KEY_BASE",
    "SIGNING_KEY",
)
# What a build puts into pages that everybody reads is no secret, whatever its name.
PUBLIC_WORDS = ("NEXT_PUBLIC_", "NUXT_PUBLIC_", "PUBLIC_", "REACT_APP_", "VITE_")
PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)


class Finding(NamedTuple):
    """One breach of one rule."""

    service: str
    rule: str
    found: str
    detail: str = ""

    def sentence(self, stack: str) -> str:
        """Say what was found, what is needed and what to set."""
        what = self.rule + (f" {self.detail}" if self.detail else "")
        return (
            f"compose_release: {what} on service {self.service} of stack {stack}: found {self.found}, "
            f"need {RULES[self.rule]}. Set it, or waive rule {self.rule} for this service with a reason."
        )


def _limit(service: dict[str, Any], short: str, long: str) -> Any:
    limits = (((service.get("deploy") or {}).get("resources") or {}).get("limits")) or {}
    return limits.get(long) or service.get(short)


def _options(service: dict[str, Any]) -> list[str]:
    return [str(option).replace("=", ":", 1).lower() for option in service.get("security_opt") or []]


def _is_set(number: Any) -> bool:
    try:
        return float(number) > 0
    except (TypeError, ValueError):
        return bool(number)


def split_reference(image: str) -> dict[str, str]:
    """Split an image reference into repository, tag and digest."""
    rest, _at, digest = image.partition("@")
    head, slash, last = rest.rpartition("/")
    name, _colon, tag = last.partition(":")
    return {"repository": head + slash + name, "tag": tag, "digest": digest}


def _confinement(name: str, service: dict[str, Any]) -> Iterable[Finding]:
    if service.get("privileged"):
        yield Finding(name, "privileged", "privileged: true")
    for key, rule in (
        ("network_mode", "host-network"),
        ("pid", "host-pid"),
        ("ipc", "host-ipc"),
        ("uts", "host-uts"),
        ("userns_mode", "host-userns"),
    ):
        if service.get(key) == "host":
            yield Finding(name, rule, f"{key}: host")
    for device in service.get("devices") or []:
        yield Finding(name, "device", str(device.get("source", device) if isinstance(device, dict) else device))
    dropped = {str(capability).upper() for capability in service.get("cap_drop") or []}
    if "ALL" not in dropped:
        yield Finding(name, "cap-drop", ", ".join(sorted(dropped)) or "none")
    for capability in sorted(str(item).upper() for item in service.get("cap_add") or []):
        short = capability.removeprefix("CAP_")
        if short not in HARMLESS_CAPABILITIES:
            yield Finding(name, "cap-add", capability)
    options = _options(service)
    if not any(option in ("no-new-privileges", "no-new-privileges:true") for option in options):
        yield Finding(name, "no-new-privileges", "none")
    for option in options:
        if option in ("seccomp:unconfined", "apparmor:unconfined", "label:disable", "systempaths:unconfined"):
            yield Finding(name, "security-opt", option)


def _mounts(name: str, service: dict[str, Any], image: dict[str, Any] | None) -> Iterable[Finding]:
    targets = {str(entry).split(":", 1)[0] for entry in service.get("tmpfs") or []}
    for mount in service.get("volumes") or []:
        source, target = str(mount.get("source") or ""), str(mount.get("target") or "")
        targets.add(target.rstrip("/"))
        if mount.get("type") == "volume" and not source:
            yield Finding(name, "anonymous-volume", f"no name for the volume at {target}", target)
        if mount.get("type") != "bind":
            continue
        if source.rstrip("/") in ("/var/run/docker.sock", "/run/docker.sock", "/var/run", "/run"):
            yield Finding(name, "docker-socket", source)
        elif source == "/" or any(
            source.rstrip("/") == folder or (folder not in ("/etc", "/usr", "/lib") and source.startswith(folder + "/"))
            for folder in SYSTEM_FOLDERS
        ):
            yield Finding(name, "system-mount", source)
    for path in sorted((image or {}).get("volumes") or []):
        if path.rstrip("/") not in targets:
            yield Finding(name, "anonymous-volume", f"a volume the image declares at {path}", path)


def _running(name: str, service: dict[str, Any], image: dict[str, Any] | None) -> Iterable[Finding]:
    user = str(service.get("user") or (image or {}).get("user") or "")
    account = user.split(":", 1)[0]
    if not account and image is None:
        yield Finding(name, "root-user", "no user")
    elif account in ("", "0", "root"):
        yield Finding(name, "root-user", "root")
    if not service.get("read_only"):
        yield Finding(name, "read-only", "a writable root file system")
    for short, long, rule in (
        ("mem_limit", "memory", "memory-limit"),
        ("cpus", "cpus", "cpu-limit"),
        ("pids_limit", "pids", "pids-limit"),
    ):
        if not _is_set(_limit(service, short, long)):
            yield Finding(name, rule, "none")
    check = service.get("healthcheck") or {}
    test = check.get("test") or []
    if check.get("disable") or (list(test)[:1] == ["NONE"]):
        yield Finding(name, "healthcheck", "a healthcheck that is disabled")
    elif not test and not (image or {}).get("healthcheck"):
        yield Finding(name, "healthcheck", "none")
    restart = str(service.get("restart") or "no")
    if restart != "unless-stopped" and not restart.startswith("on-failure"):
        yield Finding(name, "restart", restart)
    logging = service.get("logging") or {}
    driver = str(logging.get("driver") or "")
    if not driver:
        yield Finding(name, "log-options", "none")
    elif driver in ("json-file", "local") and not (logging.get("options") or {}).get("max-size"):
        yield Finding(name, "log-options", f"driver {driver} with no max-size")


def _openness(name: str, service: dict[str, Any]) -> Iterable[Finding]:
    for port in service.get("ports") or []:
        if (port.get("host_ip") or "*") in EVERY_ADDRESS:
            yield Finding(name, "open-port", f"{port.get('published') or 'a port'} on every address")
    for variable, value in sorted((service.get("environment") or {}).items()):
        if _is_secret(str(variable).upper(), str("" if value is None else value)):
            yield Finding(name, "environment-secret", f"a value for {variable}", str(variable))


def _is_secret(variable: str, value: str) -> bool:
    """Tell whether a variable looks like a secret; one that names a file, as NAME_FILE, is the way they should go."""
    if PASSWORD_IN_URL.match(value):
        return True
    if not value or variable.startswith(PUBLIC_WORDS) or re.fullmatch(r"[0-9.]+|true|false", value.lower()):
        return False
    return any(variable.endswith(word) for word in SECRET_WORDS)


def lint(
    services: dict[str, Any],
    images: dict[str, dict[str, Any]] | None = None,
    in_environment: Iterable[str] = (),
) -> list[Finding]:
    """Return every breach of a rule.

    *services* is the normalised mapping, *images* what is known of each service's image
    (``user``, ``volumes``, ``healthcheck``, ``local``), *in_environment* the services that
    read a secret from their environment.
    """
    findings: list[Finding] = []
    for name, service in sorted(services.items()):
        image = (images or {}).get(name)
        reference = split_reference(str(service.get("image") or ""))
        if not reference["digest"] and reference["tag"] in ("", "latest"):
            findings.append(Finding(name, "image-tag", str(service.get("image") or "no image")))
        if image is not None and image.get("local"):
            findings.append(Finding(name, "local-image", f"{service.get('image')}, which no registry has"))
        findings.extend(_confinement(name, service))
        findings.extend(_mounts(name, service, image))
        findings.extend(_running(name, service, image))
        findings.extend(_openness(name, service))
        if name in in_environment:
            findings.append(Finding(name, "secrets-in-environment", "as: environment"))
    return findings


def waiver_problems(waivers: list[dict[str, Any]], services: Iterable[str], stack: str) -> list[str]:
    """Return one sentence for each waiver that cannot be meant."""
    names = sorted(services)
    problems = []
    for waiver in waivers:
        service, rule = str(waiver.get("service") or ""), str(waiver.get("rule") or "")
        where = f"waiver of {rule or 'no rule'} for service {service or 'no service'} of stack {stack}"
        if rule not in RULES:
            near = difflib.get_close_matches(rule, RULES, n=1)
            need = near[0] if near else "one of " + ", ".join(sorted(RULES))
            problems.append(f"compose_release: rule on {where}: found {rule or 'none'}, need {need}. Name the rule.")
        if service != "*" and service not in names:
            need = " or ".join(["*", *names])
            problems.append(f"compose_release: service on {where}: found {service or 'none'}, need {need}. Name one.")
        if not str(waiver.get("reason") or "").strip():
            problems.append(f"compose_release: reason on {where}: found none, need a sentence. Set reason.")
    return problems


def unwaived(findings: list[Finding], waivers: list[dict[str, Any]]) -> list[Finding]:
    """Return the findings that no waiver covers."""
    covered = {(str(waiver.get("service")), str(waiver.get("rule"))) for waiver in waivers}
    return [finding for finding in findings if not {(finding.service, finding.rule), ("*", finding.rule)} & covered]


def unsupported(definition: dict[str, Any], stack: str) -> list[str]:
    """Return one sentence for each part of a definition that a stack cannot have, waiver or not."""
    problems = []
    services = definition.get("services")
    if not isinstance(services, dict) or not services:
        return [
            f"compose_release: services on stack {stack}: found none, need at least one. "
            "Set services in compose_stack_definition."
        ]
    for part in ("secrets",):
        if definition.get(part):
            problems.append(
                f"compose_release: {part} on stack {stack}: found {', '.join(sorted(definition[part]))}, need none in "
                "the definition. Give them as compose_stack_secrets."
            )
    for name, service in sorted(services.items()):
        if not isinstance(service, dict):
            continue
        for key, advice in (
            ("build", "Build and push the image before, and name it"),
            ("env_file", "Set environment, or compose_stack_secrets for what is secret"),
            ("secrets", "Give them as compose_stack_secrets"),
            ("extends", "Write the service out"),
        ):
            if service.get(key):
                problems.append(
                    f"compose_release: {key} on service {name} of stack {stack}: found it set, need it left out. "
                    f"{advice}."
                )
        if not service.get("image"):
            problems.append(
                f"compose_release: image on service {name} of stack {stack}: found none, need one. Set image."
            )
    return problems
