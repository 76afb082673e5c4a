#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_secrets
short_description: Keep the secrets of a compose stack in files of their own
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes each secret to a file C(0400) that belongs to the numeric user of its service,
    in a folder that nobody else can list, and that never changes again.
  - The folder's name is a keyed hash of the service's secrets, so other content makes another folder
    and the name tells nothing. The key stays on the host.
  - Folders that no kept release uses are removed by M(evenkeel.platform.compose_release).
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: full
    description: Returns details on what has changed, the versions and never the values.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second invocation indicates no change.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  secrets:
    description: The secrets of all services of the stack.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file below C(/run/secrets) in the container.
        type: str
        required: true
      service:
        description: The service that reads it.
        type: str
        required: true
      uid:
        description: The numeric user the service runs as.
        type: int
        required: true
      value:
        description: The secret.
        type: str
        required: true
      as:
        description: How the program reads it. V(environment) loads it inside the container at its start.
        type: str
        choices: [file, environment]
        default: file
      reason:
        description: Why the program reads its environment; without it, rule C(secrets-in-environment) refuses it.
        type: str
      variable:
        description: Name of the environment variable; the secret's name in capitals when left out.
        type: str
  base_dir:
    description: Folder of all stacks.
    type: path
    default: /opt/evenkeel/stacks
"""

EXAMPLES = r"""
- name: Keep the secrets of the shop
  evenkeel.platform.compose_secrets:
    name: shop-blue
    secrets:
      - {name: database_password, service: api, uid: 10001, value: "{{ vault_database_password }}"}
"""

RETURN = r"""
mounts:
  description: The secrets without their values, as O(evenkeel.platform.compose_release#module:secrets) takes them.
  returned: always
  type: list
  elements: dict
  sample: [{name: database_password, service: api, uid: 10001, as: file, variable: null, version: 3f0c9a2b51de}]
versions:
  description: The version of each service's secrets.
  returned: always
  type: dict
  sample: {api: 3f0c9a2b51de}
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["wrote version 3f0c9a2b51de of the secrets of service api"]
"""

import hashlib
import hmac
import json
import os
import re
import secrets as randomness
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as release
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import (
    Stack,
    new_folder,
    sync_folder,
    write_new,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "uid": {"type": "int", "required": True},
            "value": {"type": "str", "required": True, "no_log": True},
            "as": {"type": "str", "choices": ["file", "environment"], "default": "file"},
            "reason": {"type": "str"},
            "variable": {"type": "str"},
        },
    },
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
}

FILE_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
SERVICE_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")
VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def problems(stack: str, secrets: list[dict[str, Any]]) -> list[str]:
    """Return one sentence for each secret that cannot be kept."""
    found, seen = [], set()
    if not release.NAME.match(stack):
        found.append(
            f"compose_secrets: name on stack {stack}: found {stack}, need lower-case letters, digits and hyphens. "
            "Set compose_stack_name."
        )
    for secret in secrets:
        where = f"secret {secret['name']} of service {secret['service']} in stack {stack}"
        for key, pattern in (("name", FILE_NAME), ("service", SERVICE_NAME), ("variable", VARIABLE_NAME)):
            value = secret.get(key)
            if value is not None and not pattern.match(value):
                found.append(f"compose_secrets: {key} on {where}: found {value}, need {pattern.pattern}. Set {key}.")
        if (secret["service"], secret["name"]) in seen:
            found.append(f"compose_secrets: name on {where}: found it twice, need it once. Remove one.")
        seen.add((secret["service"], secret["name"]))
        if secret["value"] == "":
            found.append(f"compose_secrets: value on {where}: found nothing, need a secret. Set value.")
    for service in sorted({secret["service"] for secret in secrets}):
        owners = {secret["uid"] for secret in secrets if secret["service"] == service}
        if len(owners) > 1:
            found.append(
                f"compose_secrets: uid on service {service} in stack {stack}: found "
                f"{', '.join(str(owner) for owner in sorted(owners))}, need one user for all its secrets. Set uid."
            )
    return found


def read_key(path: Path, make: bool) -> bytes:
    """Return the host's key; without one, a new one that is kept only if *make*."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        key = randomness.token_hex(32)
    if make:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.parent.chmod(0o711)
        write_new(path, key, 0o600)
        sync_folder(path.parent)
    return key.encode()


def version_of(key: bytes, secrets: list[dict[str, Any]]) -> str:
    """Return the keyed hash of the secrets of one service."""
    facts = sorted((secret["service"], secret["name"], secret["uid"], secret["value"]) for secret in secrets)
    content = json.dumps([facts, release.LOADER]).encode()
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:12]


def write_version(stack: Stack, version: str, service: str, secrets: list[dict[str, Any]]) -> None:
    """Write the secrets of one service, all or none."""
    stack.make_folders()
    with new_folder(stack.secrets, version, mode=0o711) as temporary:
        folder = temporary / service
        folder.mkdir(mode=0o700)
        for secret in secrets:
            write_new(folder / secret["name"], secret["value"], 0o400, secret["uid"])
        os.chown(folder, secrets[0]["uid"], secrets[0]["uid"])
        folder.chmod(0o500)
        write_new(temporary / release.LOADER_NAME, release.LOADER, 0o555)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    name, secrets = module.params["name"], module.params["secrets"]
    found = problems(name, secrets)
    if found:
        module.fail_json(msg="\n".join(found), mounts=[], versions={}, actions=[])
    stack = Stack(name, module.params["base_dir"])
    key = read_key(stack.base / ".secrets.key", make=not module.check_mode)
    versions, actions = {}, []
    for service in sorted({secret["service"] for secret in secrets}):
        mine = [secret for secret in secrets if secret["service"] == service]
        versions[service] = version_of(key, mine)
        if (stack.secrets / versions[service]).is_dir():
            continue
        actions.append(f"wrote version {versions[service]} of the secrets of service {service}")
        if not module.check_mode:
            write_version(stack, versions[service], service, mine)
    before = stack.record(stack.current()).get("secret_versions") or {}
    module.exit_json(
        changed=bool(actions),
        actions=actions,
        versions=versions,
        mounts=[
            {
                "name": secret["name"],
                "service": secret["service"],
                "uid": secret["uid"],
                "as": secret["as"],
                "reason": secret["reason"],
                "variable": secret["variable"],
                "version": versions[secret["service"]],
            }
            for secret in secrets
        ],
        diff={
            "before": before,
            "after": versions,
            "before_header": f"{name} secret versions",
            "after_header": f"{name} secret versions",
        },
    )


if __name__ == "__main__":
    main()
