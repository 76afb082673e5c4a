# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of a stack: a folder for each version of a service's secrets. PRIVATE to the collection."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets as randomness
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as release
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import (
    Stack,
    new_folder,
    sync_folder,
    write_new,
)

SECRET_ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "uid": {"type": "int", "required": True},
    "value": {"type": "str", "required": True, "no_log": True},
    "as": {"type": "str", "choices": ["file", "environment"], "default": "file"},
    "reason": {"type": "str"},
    "variable": {"type": "str"},
}

KEY = ".secrets.key"
FILE_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
SERVICE_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._-]*\Z")
VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")


def problems(stack: str, secrets: Sequence[dict[str, Any]]) -> list[str]:
    """Return one sentence for each secret that cannot be stored."""
    found, seen = [], set()
    for secret in secrets:
        where = f"secret {secret['name']} of service {secret['service']} in stack {stack}"
        for key, pattern in (("name", FILE_NAME), ("service", SERVICE_NAME), ("variable", VARIABLE_NAME)):
            value = secret.get(key)
            if value is not None and not pattern.match(value):
                found.append(f"compose_release: {key} on {where}: found {value}, need {pattern.pattern}. Set {key}.")
        if (secret["service"], secret["name"]) in seen:
            found.append(f"compose_release: name on {where}: found it twice, need it once. Remove one.")
        seen.add((secret["service"], secret["name"]))
        if secret["value"] == "":
            found.append(f"compose_release: value on {where}: found nothing, need a secret. Set value.")
    for service in sorted({secret["service"] for secret in secrets}):
        owners = {secret["uid"] for secret in secrets if secret["service"] == service}
        if len(owners) > 1:
            found.append(
                f"compose_release: uid on service {service} in stack {stack}: found "
                f"{', '.join(str(owner) for owner in sorted(owners))}, need one user for all its secrets. Set uid."
            )
    return found


def version_of(key: bytes, secrets: Sequence[dict[str, Any]]) -> str:
    """Return the keyed hash of the secrets of one service."""
    facts = sorted((secret["service"], secret["name"], secret["uid"], secret["value"]) for secret in secrets)
    content = json.dumps([facts, release.LOADER]).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:12]


def versioned(key: bytes, secrets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the secrets, each with the version of its service's secrets."""
    services = {secret["service"] for secret in secrets}
    versions = {name: version_of(key, [each for each in secrets if each["service"] == name]) for name in services}
    return [dict(secret, version=versions[secret["service"]]) for secret in secrets]


def key_of(stack: Stack) -> bytes:
    """Return the host's key; without one, a new one that is not stored yet."""
    try:
        return (stack.base / KEY).read_bytes()
    except FileNotFoundError:
        return randomness.token_hex(32).encode()


def store_key(stack: Stack, key: bytes) -> None:
    """Store the host's key, if there is none yet."""
    if not (stack.base / KEY).exists():
        stack.make_folders()
        write_new(stack.base / KEY, key.decode(), 0o600)
        sync_folder(stack.base)


def write(stack: Stack, secrets: Sequence[dict[str, Any]], check_mode: bool) -> list[str]:
    """Write the versions that are not there yet; return a sentence for each."""
    actions = []
    for service, version in sorted({(secret["service"], secret["version"]) for secret in secrets}):
        if (stack.secrets / version).is_dir():
            continue
        actions.append(f"wrote version {version} of the secrets of service {service}")
        if not check_mode:
            _write_version(stack, version, service, [each for each in secrets if each["service"] == service])
    return actions


def _write_version(stack: Stack, version: str, service: str, secrets: Sequence[dict[str, Any]]) -> None:
    stack.make_folders()
    with new_folder(stack.secrets, version, mode=0o711) as temporary:
        folder: Path = temporary / service
        folder.mkdir(mode=0o700)
        for secret in secrets:
            write_new(folder / secret["name"], secret["value"], 0o400, secret["uid"])
        os.chown(folder, secrets[0]["uid"], secrets[0]["uid"])
        folder.chmod(0o500)
        write_new(temporary / release.LOADER_NAME, release.LOADER, 0o555)
