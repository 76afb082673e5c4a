# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases of a stack as plain data. PRIVATE to the collection."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

SECRETS_TARGET = "/run/secrets"
LOADER_TARGET = "/run/evenkeel/load-secrets"
LOADER_NAME = "load-secrets"

# Runs inside the container as its first program. Values pass through the shell's memory only.
LOADER = """\
#!/bin/sh
# Evenkeel: gives the secrets to a program that reads only its environment.
# Usage: load-secrets VARIABLE=file... -- program [argument...]
set -eu
while [ "$1" != "--" ]; do
  evenkeel_value="$(cat "/run/secrets/${1#*=}")"
  export "${1%%=*}=${evenkeel_value}"
  shift
done
shift
unset evenkeel_value
exec "$@"
"""

NAME = re.compile(r"^[a-z][a-z0-9-]{0,62}\Z")
FOLDER = re.compile(r"^(\d+)-([0-9a-f]{12})\Z")
_PLAIN_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_.\-]*\Z")
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_AMBIGUOUS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


class ReleaseError(Failure):
    """A release that cannot be made; carries one sentence a problem."""

    def __init__(self, *problems: str, **result: Any) -> None:
        super().__init__("\n".join(problems), **result)
        self.problems = list(problems)


def _scalar(value: Any) -> str:
    # A JSON scalar is a YAML scalar, but for characters that YAML wants escaped.
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _key(text: str) -> str:
    return text if _PLAIN_KEY.fullmatch(text) and text.lower() not in _AMBIGUOUS else _scalar(text)


def to_yaml(value: Any, depth: int = 0) -> str:
    """Write plain data as YAML, every string quoted, keys in order."""
    pad = "  " * depth
    if isinstance(value, dict) and value:
        lines = []
        for key in sorted(value, key=str):
            child = value[key]
            if isinstance(child, (dict, list)) and child:
                lines.append(f"{pad}{_key(str(key))}:\n{to_yaml(child, depth + 1)}")
            else:
                lines.append(f"{pad}{_key(str(key))}: {to_yaml(child)}")
        return "\n".join(lines)
    if isinstance(value, list) and value:
        lines = []
        for child in value:
            if isinstance(child, (dict, list)) and child:
                lines.append(f"{pad}- {to_yaml(child, depth + 1).lstrip()}")
            else:
                lines.append(f"{pad}- {to_yaml(child)}")
        return "\n".join(lines)
    return _scalar(value)


def render(definition: dict[str, Any]) -> str:
    """Return the text of compose.yaml."""
    return "# Written by Evenkeel; never change it, deploy a release.\n" + to_yaml(definition) + "\n"


def digest_of(text: str) -> str:
    """Return the hash that names a release."""
    return hashlib.sha256(text.encode()).hexdigest()


def _as_list(command: Any) -> list[str]:
    if command is None:
        return []
    return [str(part) for part in command] if isinstance(command, list) else [str(command)]


def _escape(parts: Iterable[str]) -> list[str]:
    return [part.replace("$", "$$") for part in parts]


def wrapped_command(
    service: dict[str, Any], image: dict[str, Any], variables: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Return entrypoint and command that load *variables* (name to secret) before the program.

    The engine forgets the image's command as soon as an entrypoint is set, so it is written out.
    """
    entrypoint = _as_list(service.get("entrypoint")) or _escape(image.get("entrypoint") or [])
    if service.get("command") is not None:
        command = _as_list(service["command"])
    else:
        command = [] if service.get("entrypoint") else _escape(image.get("command") or [])
    loads = [f"{variable}={secret}" for variable, secret in sorted(variables.items())]
    return ["/bin/sh", LOADER_TARGET, *loads, "--", *entrypoint], command


def variable_of(secret: str) -> str:
    """Return the variable a secret is loaded into unless another is named."""
    return re.sub(r"[^A-Z0-9]", "_", secret.upper())


def _bind(source: str, target: str) -> dict[str, Any]:
    # A source that is missing must be an error; the engine would make a folder of it.
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def assemble(
    definition: dict[str, Any],
    pins: dict[str, str],
    secrets: list[dict[str, Any]],
    images: dict[str, dict[str, Any]],
    stack_dir: str,
) -> dict[str, Any]:
    """Return the definition with images pinned and secrets mounted."""
    result = copy.deepcopy(definition)
    for name, service in result["services"].items():
        service["image"] = pins[name]
        mine = [secret for secret in secrets if secret["service"] == name]
        if not mine:
            continue
        folder = f"{stack_dir}/secrets/{mine[0]['version']}"
        service.setdefault("volumes", []).append(_bind(f"{folder}/{name}", SECRETS_TARGET))
        variables = {
            secret.get("variable") or variable_of(secret["name"]): secret["name"]
            for secret in mine
            if secret.get("as") == "environment"
        }
        if variables:
            service["entrypoint"], service["command"] = wrapped_command(service, images.get(name) or {}, variables)
            service["volumes"].append(_bind(f"{folder}/{LOADER_NAME}", LOADER_TARGET))
    return result


def secret_problems(secrets: list[dict[str, Any]], services: dict[str, Any], stack: str) -> list[str]:
    """Return one sentence for each secret that would not reach its program."""
    problems = []
    for secret in secrets:
        where = f"secret {secret['name']} of stack {stack}"
        service = services.get(secret["service"])
        if service is None:
            problems.append(
                f"compose_release: service on {where}: found {secret['service']}, "
                f"need {' or '.join(sorted(services))}. Set service."
            )
            continue
        account = str(service.get("user") or "").split(":", 1)[0]
        if account and account != str(secret["uid"]):
            problems.append(
                f"compose_release: uid on {where}: found {secret['uid']}, need {account}, the user of service "
                f"{secret['service']}, or it cannot read the file. Set uid or the service's user."
            )
        for mount in service.get("volumes") or []:
            if str(mount.get("target") or "").rstrip("/") == SECRETS_TARGET:
                problems.append(
                    f"compose_release: mount on {where}: found another mount at {SECRETS_TARGET} in service "
                    f"{secret['service']}, need none. Remove it."
                )
    return problems


def leaked(text: str, values: dict[str, str]) -> list[str]:
    """Return the names of secrets whose value stands in a text. Short values prove nothing."""
    return sorted(name for name, value in values.items() if len(value) >= 8 and value in text)


def mask(text: str, values: Iterable[str]) -> str:
    """Replace secret values in text that goes to a person."""
    for value in sorted({value for value in values if len(value) >= 4}, key=len, reverse=True):
        text = text.replace(value, "********")
    return text


def folder_for(content: str, folders: Iterable[str]) -> tuple[str, bool]:
    """Return the folder for a content hash and whether it exists already."""
    numbers = [0]
    for folder in folders:
        match = FOLDER.match(folder)
        if not match:
            continue
        if match.group(2) == content[:12]:
            return folder, True
        numbers.append(int(match.group(1)))
    return f"{max(numbers) + 1}-{content[:12]}", False


def to_prune(folders: Iterable[str], keep: int, protected: Iterable[str | None]) -> list[str]:
    """Return the release folders to remove, oldest first."""
    ordered = sorted((folder for folder in folders if FOLDER.match(folder)), key=lambda name: int(name.split("-")[0]))
    kept = set(ordered[-keep:] if keep > 0 else []) | set(protected)
    return [folder for folder in ordered if folder not in kept]


PULL_CAUSES: tuple[tuple[str, str, str], ...] = (
    (r"no space left on device", "no space left on the disk", "Free space below the engine's data folder"),
    (
        r"401|unauthorized|no basic auth|authentication required|access.*denied|denied:",
        "a refused login",
        "Set user and password of its registry in compose_stack_registries",
    ),
    (
        r"manifest unknown|manifest for .* not found|not found",
        "no such image in its registry",
        "Push it, or name a tag that exists",
    ),
    (
        r"x509|certificate",
        "a certificate that the host does not trust",
        "Set ca of its registry in compose_stack_registries",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "a registry without TLS",
        "Give it a certificate, or allow it in the engine's insecure-registries",
    ),
    (
        r"no such host|connection refused|timeout|no route to host|unreachable|server misbehaving|EOF",
        "a registry that does not answer",
        "Check its name, address and the firewall",
    ),
)


def pull_cause(output: str) -> tuple[str, str]:
    """Return what was found where an image could not be pulled, with the engine's last line, and what to do."""
    line = (output.strip().splitlines() or ["no message"])[-1].strip()
    found, advice = next(
        ((found, advice) for pattern, found, advice in PULL_CAUSES if re.search(pattern, output, re.IGNORECASE)),
        ("an error", "See the engine's own words"),
    )
    return f"{found} ({line})", advice


def pull_sentence(reference: str, where: str, output: str) -> str:
    """Say in one sentence why an image could not be pulled."""
    found, advice = pull_cause(output)
    return f"compose_release: image {reference} on {where}: found {found}, need it pulled. {advice}."


# What is wrong with the host, the registry or the disk; a release is not to blame for it.
MEANS = re.compile(
    r"no space left|unauthorized|no basic auth|authentication required|denied|x509|certificate|"
    r"HTTP response to HTTPS|no such host|connection refused|connection reset|timeout|no route to host|unreachable|"
    r"server misbehaving|EOF|Cannot connect to the Docker daemon|ConnectionRefused|FileNotFound|"
    r"port is already allocated|address already in use|cannot assign requested address|input/output error",
    re.IGNORECASE,
)


def fault_of(output: str) -> str:
    """Tell whether the release failed, or only the means to run it."""
    return "means" if MEANS.search(output) else "release"


def pick_digest(reference: str, repo_digests: Iterable[str], preferred: str | None) -> str | None:
    """Return the pinned form of a reference from what the engine knows of its image."""
    wanted = _familiar(reference.partition("@")[0])
    candidates = sorted(entry for entry in repo_digests if _familiar(entry.partition("@")[0]) == wanted)
    if preferred in candidates:
        return preferred
    return candidates[0] if candidates else None


def _familiar(reference: str) -> str:
    head, slash, last = reference.rpartition("/")
    repository = head + slash + last.partition(":")[0]
    for prefix in ("docker.io/library/", "docker.io/", "index.docker.io/library/", "index.docker.io/"):
        if repository.startswith(prefix):
            return repository[len(prefix) :]
    return repository
