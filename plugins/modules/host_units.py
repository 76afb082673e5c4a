#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_units
short_description: Enable, start, restart and stop systemd units of a host in one call
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - As M(ansible.builtin.systemd_service) for many units, which would take a call to the host for each.
  - Reloads systemd where the file of a unit, or of a named timer's service, is newer than what systemd has read, also
    after a run that ended between writing the file and this module. A running timer is restarted then, as it keeps the
    calendar it was started with.
extends_documentation_fragment:
  - evenkeel.platform.attributes
attributes:
  diff_mode:
    support: none
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name with its ending.
        type: str
        required: true
      enabled:
        description: Whether it starts at boot. Unset leaves it as it is.
        type: bool
      state:
        description: Whether it runs; V(restarted) starts it anew in any case. Unset leaves it as it is.
        type: str
        choices: [started, stopped, restarted]
  reload:
    description:
      - Reload systemd in any case. Needed for a drop-in in a folder that is new, which systemd up to 256 does not
        notice, see systemd's issue 31752.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Start the timers
  evenkeel.platform.host_units:
    units:
      - {name: evenkeel-retire.timer, enabled: true, state: started}
      - {name: evenkeel-edge-withdraw.timer, enabled: true, state: started}
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["reloaded systemd", "enabled evenkeel-retire.timer", "started evenkeel-retire.timer"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _host_units
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

ARGUMENT_SPEC: dict[str, t.Any] = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "enabled": {"type": "bool"},
            "state": {"type": "str", "choices": ["started", "stopped", "restarted"]},
        },
    },
    "reload": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)

    def systemctl(*words: str) -> tuple[int, str, str]:
        return t.cast(tuple[int, str, str], module.run_command(["systemctl", *words], encoding="utf-8"))

    try:
        actions = _host_units.settle(module.params["units"], systemctl, module.check_mode, module.params["reload"])
    except Failure as failure:
        module.fail_json(msg=failure.sentence, actions=failure.result.get("actions", []))
    # A reload alone changes nothing that a user set.
    module.exit_json(changed=any(action != _host_units.RELOADED for action in actions), actions=actions)


if __name__ == "__main__":
    main()
