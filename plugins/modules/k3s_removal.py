#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_removal
short_description: Remove k3s from a host and report what is left
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Stops k3s and its containers, and removes its mounts, network interfaces, packet filter rules, configuration and
    program. Rules and interfaces of others stay.
  - Runs no script of k3s.
extends_documentation_fragment:
  - evenkeel.platform.attributes
attributes:
  diff_mode:
    details: [Names what is removed.]
options:
  keep_data:
    description: Whether the datastore with its keys, and the volumes of C(local-path), stay.
    type: bool
    default: true
seealso:
  - module: evenkeel.platform.k3s_node
"""

EXAMPLES = r"""
- name: Remove k3s
  evenkeel.platform.k3s_removal:
    keep_data: false
  register: __removal
"""

RETURN = r"""
actions:
  description: What was removed, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["stopped k3s.service", "removed /etc/rancher/k3s"]
left:
  description: What is still on the host.
  returned: always
  type: list
  elements: str
  sample: ["/var/lib/rancher/k3s/server with the data of the cluster"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _k3s_removal

ARGUMENT_SPEC: dict[str, t.Any] = {"keep_data": {"type": "bool", "default": True}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)

    def run(argv: list[str]) -> tuple[int, str, str]:
        try:
            return module.run_command(argv, handle_exceptions=False, environ_update={"LC_ALL": "C"})
        except OSError as exc:
            return 127, "", str(exc)

    def restore(program: str, text: str) -> tuple[int, str, str]:
        return module.run_command([f"{program}-restore", "--noflush"], data=text, environ_update={"LC_ALL": "C"})

    removal = _k3s_removal.Removal(run, restore, module.params["keep_data"])
    paths = removal.paths()
    actions = [f"stopped {unit}" for unit in removal.units()]
    pids = removal.processes()
    actions += [f"ended {len(pids)} processes of containers"] if pids else []
    actions += [f"unmounted {path}" for path in removal.mounted()]
    actions += [f"deleted interface {name}" for name in removal.interfaces()]
    actions += [f"removed the rules of k3s from {program}" for program in removal.rule_sets()]
    actions += [f"removed {path}" for path in paths]
    if actions and not module.check_mode:
        removal.apply()
    module.exit_json(
        changed=bool(actions),
        actions=actions,
        left=removal.left(),
        diff={"before": "".join(f"{one}\n" for one in paths), "after": ""},
    )


if __name__ == "__main__":
    main()
