#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_login
short_description: Log in to an image registry
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Checks the login at the registry on every call, so that a refused one is reported before anything is changed.
  - Installs the certificate of the registry's authority for the engine first.
  - Needs only Docker's command line on the host, which gets the password by standard input.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.registry
  - evenkeel.platform.registry.login
attributes:
  check_mode:
    details: [The registry is not contacted in check mode.]
  diff_mode:
    support: none
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

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _registry as registry
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_engine import Commands

ARGUMENT_SPEC = {**registry.LOGIN_ARGUMENTS, **registry.FOLDER_ARGUMENTS}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, required_together=[("user", "password")], supports_check_mode=True
    )
    host, user, password = (module.params[key] for key in ("host", "user", "password"))
    actions = []
    if module.params["ca"]:
        actions += registry.trust(host, module.params["ca"], module.check_mode, module.params["certificates_dir"])
    if not user:
        module.exit_json(changed=bool(actions), actions=actions)
    folder = Path(module.params["config_dir"])
    wanted = registry.encoded(user, password)
    module.no_log_values.add(wanted)
    if registry.stored(folder, host) != wanted:
        actions.append(f"logged in to {host} as {user}")
    if module.check_mode:
        module.exit_json(changed=bool(actions), actions=actions)
    commands = Commands(module.run_command, module.get_bin_path("docker"))
    if not commands.available:
        module.fail_json(
            msg=f"registry_login: docker for registry {host}: found no command of that name on the host, need it. "
            "Run the docker_host role.",
            actions=[],
        )
    refusal = registry.login(commands, host, user, password, folder)
    if refusal:
        module.fail_json(msg=refusal, actions=[])
    module.exit_json(changed=bool(actions), actions=actions)


if __name__ == "__main__":
    main()
