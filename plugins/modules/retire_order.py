#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: retire_order
short_description: Order a host to stop a colour once it is no longer warm
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes the order that C(evenkeel-retire) carries out with no controller alive. It stops the colour once every edge
    shows it withdrawn at the move of the order, and drops the order once another move has overtaken it.
  - An order belongs to the move that left the colour behind. M(evenkeel.platform.compose_release) removes it when it
    makes the containers of the colour anew.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.guard
options:
  colour:
    description: The colour that was left behind. O(guard.colour) is not used here.
    type: str
    choices: [blue, green]
    required: true
  stack:
    description: Name of its stack, C(<app>-<colour>) when left out.
    type: str
  state:
    description: Whether the order is there.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Have green stopped once its warm time is over
  evenkeel.platform.retire_order:
    colour: green
    guard:
      app: shop
      token: 42
      run: 20261130T101500Z-00af3e
      move: 13
      edges:
        - {name: edge1, url: "http://192.0.2.10:8405/live/shop"}
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["ordered to stop green, left behind by move 13"]
path:
  description: File of the order.
  returned: always
  type: str
  sample: /var/lib/evenkeel/shop/retire-green.json
"""

import json
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _file
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import GUARD_ARGUMENTS, Guard
from ansible_collections.evenkeel.platform.plugins.module_utils._retire import order_text

ARGUMENT_SPEC: dict[str, t.Any] = {
    **GUARD_ARGUMENTS,
    "colour": {"type": "str", "choices": ["blue", "green"], "required": True},
    "stack": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Write or remove the order under the lock of the app's acts."""
    colour = module.params["colour"]
    guard = t.cast(Guard, Guard.of(module, "retire_order"))
    # The order touches no container: every edge must be at its move, whatever it shows of the colour.
    guard.colour = ""
    path = str(guard.order(colour))
    with guard.act():
        before = _file.read_text(path) or ""
        after = ""
        actions = []
        if module.params["state"] == "present":
            guard.ask()
            stack = module.params["stack"] or f"{guard.records.app}-{colour}"
            after = order_text(guard.records.app, colour, guard.move, stack, guard.edges)
        if before != after:
            actions = [f"ordered to stop {colour}, left behind by move {guard.move}" if after else f"removed {path}"]
        if actions and not module.check_mode:
            if after:
                with guard.records.writing(path):
                    _file.write_atomic(path, after)
            else:
                guard.drop_order(colour)
    diff = {"before": json.loads(before or "{}"), "after": json.loads(after or "{}")}
    return {"changed": bool(actions), "actions": actions, "path": path, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_one_of=[("guard",)])
    try:
        result = run(module)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{"actions": [], "path": "", **failure.result})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
