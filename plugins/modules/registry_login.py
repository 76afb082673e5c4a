#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_login
short_description: Log the engine's command line in to an image registry
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Asks the registry whether it takes the login, every time, so that a refused one is named before anything moves.
  - Has the engine trust the certificate of the registry's authority first.
  - Needs nothing on the host but Docker's command line. The password reaches it through standard input.
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
    details:
      - The registry is not asked in check mode.
  diff_mode:
    support: none
    description: Returns details on what has changed, without content.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second invocation indicates no change.
options:
  host:
    description: The registry, with its port.
    type: str
    required: true
  user:
    description: The user. Without one nobody is logged in.
    type: str
  password:
    description: The password or token.
    type: str
  ca:
    description: Certificate of the registry's authority, in PEM, where the host does not trust it yet.
    type: str
  config_dir:
    description: Folder of the command line's C(config.json).
    type: path
    default: ~/.docker
  certificates_dir:
    description: Folder in which the engine looks for certificates of registries.
    type: path
    default: /etc/docker/certs.d
"""

EXAMPLES = r"""
- name: Log in
  evenkeel.platform.registry_login:
    host: registry.example.com
    user: puller
    password: "{{ vault_registry_password }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["logged in to registry.example.com as puller"]
"""

import base64
import json
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _file

ARGUMENT_SPEC = {
    "host": {"type": "str", "required": True},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca": {"type": "str"},
    "config_dir": {"type": "path", "default": "~/.docker"},
    "certificates_dir": {"type": "path", "default": "/etc/docker/certs.d"},
}

CAUSES = (
    (
        r"401|403|unauthorized|incorrect username|authentication required|denied",
        "a refused login",
        "Set user and password",
    ),
    (r"x509|certificate", "a certificate that the host does not trust", "Set ca"),
    (
        r"HTTP response to HTTPS client",
        "a registry without TLS",
        "Give it a certificate, or allow it in the engine's insecure-registries",
    ),
    (
        r"no such host|refused|timeout|unreachable|no route|server misbehaving|EOF",
        "no answer",
        "Check its name, its address and the firewall",
    ),
)


def stored(path: Path, host: str) -> str:
    """Return what the command line keeps for a registry."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return str(((kept.get("auths") or {}).get(host) or {}).get("auth") or "")
    except (FileNotFoundError, ValueError, AttributeError):
        return ""


def explain(host: str, output: str) -> str:
    """Say in one sentence why a registry took no login."""
    line = (output.strip().splitlines() or ["no message"])[-1].strip()
    found, advice = next(
        ((found, advice) for pattern, found, advice in CAUSES if re.search(pattern, output, re.IGNORECASE)),
        ("an error", "See the engine's own words"),
    )
    return (
        f"registry_login: login on registry {host}: found {found} ({line}), need it accepted. "
        f"{advice} in compose_stack_registries."
    )


def trust(path: Path, certificate: str, check_mode: bool) -> bool:
    """Keep the certificate of a registry's authority where the engine looks; tell whether it is new."""
    text = certificate.strip() + "\n"
    if _file.read_text(str(path)) == text:
        return False
    if not check_mode:
        _file.ensure_folder(str(path.parent), 0o755)
        _file.write_atomic(str(path), text, 0o644)
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, required_together=[("user", "password")], supports_check_mode=True
    )
    host, user, password = (module.params[key] for key in ("host", "user", "password"))
    actions = []
    if module.params["ca"] and trust(
        Path(module.params["certificates_dir"]) / host / "ca.crt", module.params["ca"], module.check_mode
    ):
        actions.append(f"trusted the authority of {host}")
    if not user:
        module.exit_json(changed=bool(actions), actions=actions)
    config_dir = module.params["config_dir"]
    path = Path(config_dir) / "config.json"
    wanted = base64.b64encode(f"{user}:{password}".encode()).decode()
    module.no_log_values.add(wanted)
    if stored(path, host) != wanted:
        actions.append(f"logged in to {host} as {user}")
    if module.check_mode:
        module.exit_json(changed=bool(actions), actions=actions)
    docker = module.get_bin_path("docker")
    if docker is None:
        module.fail_json(
            msg=f"registry_login: docker for registry {host}: found no command of that name on the host, need it. "
            "Run the docker_host role.",
            actions=[],
        )
    rc, stdout, stderr = module.run_command(
        [docker, "--config", config_dir, "login", "--username", user, "--password-stdin", host],
        data=password,
        binary_data=True,
        environ_update={"LC_ALL": "C"},
    )
    if rc != 0:
        module.fail_json(msg=explain(host, stderr or stdout), rc=rc, actions=[])
    path.chmod(0o600)
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
