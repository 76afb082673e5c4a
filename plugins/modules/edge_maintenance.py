#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_maintenance
short_description: Enable or disable the maintenance page of an app on an edge
version_added: 0.1.0
description:
  - Sets the maintenance flag of an app in every worker of HAProxy and in the file that a restart loads.
  - If HAProxy is not running, only the file is written.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  state:
    description: Whether the app is in maintenance.
    type: str
    choices: ["on", "off"]
    required: true
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Switch the maintenance page on
  evenkeel.platform.edge_maintenance:
    app: shop
    state: "on"
"""

RETURN = r"""
before:
  description: The former state, V(on) or V(off).
  returned: always
  type: str
  sample: "off"
after:
  description: The state now, or as it would be in check mode.
  returned: always
  type: str
  sample: "on"
running:
  description: Whether HAProxy answered.
  returned: always
  type: bool
  sample: true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "state": {"type": "str", "choices": ["on", "off"], "required": True},
}
MODULE = "edge_maintenance"


def switch(module: AnsibleModule, records: Records, result: dict[str, t.Any]) -> None:
    adapter = _adapter.of(module.params, MODULE, records.app, records.folder)
    wanted = module.params["state"]
    served, saved = adapter.maintenance()
    if not served:
        records.warnings.append(f"{MODULE}: HAProxy does not run, so only its file is written.")
        result["running"] = False
    result["before"] = (served[0] if served else saved) or "off"
    result["after"] = wanted
    result["changed"] = any(value != wanted for value in [*served, saved])
    if module.check_mode or not result["changed"]:
        return
    problems = adapter.set_maintenance(wanted)
    if problems:
        raise Failure(
            sentence(
                MODULE,
                "the entry was not read back",
                records.app,
                "; ".join(problems),
                wanted,
                "Run it again, and see 'systemctl status haproxy'",
            )
        )


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    result: dict[str, t.Any] = {"changed": False, "before": "", "after": "", "running": True}
    warnings: list[str] = []
    try:
        records = Records.of(module, MODULE)
        warnings = records.warnings
        with records.locked(edge=True):
            switch(module, records, result)
    except Failure as failure:
        for text in warnings:
            module.warn(text)
        module.fail_json(msg=failure.sentence, **{**result, "changed": False})
    for text in warnings:
        module.warn(text)
    module.exit_json(diff={"before": result["before"] + "\n", "after": result["after"] + "\n"}, **result)


if __name__ == "__main__":
    main()
