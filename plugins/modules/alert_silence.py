#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alert_silence
short_description: Create or expire a silence in Alertmanager
version_added: 0.1.0
description:
  - Creates or expires a silence, found by its name; at most one silence has a name.
  - A silence always ends, so an aborted run silences nothing for ever.
extends_documentation_fragment:
  - evenkeel.platform.attributes
options:
  name:
    description: The name, as V(deploy-shop).
    type: str
    required: true
  state:
    description:
      - V(open) creates the silence, or moves the end of the one with this name.
      - V(closed) expires it.
    type: str
    choices: [open, closed]
    default: open
  labels:
    description: Labels that an alert must have to be silenced. Required for V(open).
    type: dict
    default: {}
  except_labels:
    description: Labels that exclude an alert from the silence.
    type: dict
    default: {}
  seconds:
    description: Maximum duration.
    type: int
    default: 1800
  reason:
    description: Comment of the silence.
    type: str
    default: ""
  url:
    description: Address of Alertmanager.
    type: str
    default: http://127.0.0.1:9093
  timeout_seconds:
    description: Timeout of each request.
    type: int
    default: 5
attributes:
  idempotent:
    description: Running it again with the same options changes nothing.
    support: partial
    details: [V(open) moves the end each time.]
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Silence deploy alerts
  evenkeel.platform.alert_silence:
    name: deploy-shop
    labels: {app: shop, quiet: deploy}
    reason: release 1.1

- name: Expire the silence
  evenkeel.platform.alert_silence:
    name: deploy-shop
    state: closed
"""

RETURN = r"""
silences:
  description: IDs of the silences that were created, changed or expired.
  returned: always
  type: list
  elements: str
  sample: [d1b2c6f4-6a0e-4f5e-9f0c-1c1b1a7a2f11]
before:
  description: Whether a silence of this name was active before.
  returned: always
  type: bool
  sample: false
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _silence
from ansible_collections.evenkeel.platform.plugins.module_utils._alertmanager import Alertmanager
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["open", "closed"], "default": "open"},
    "labels": {"type": "dict", "default": {}},
    "except_labels": {"type": "dict", "default": {}},
    "seconds": {"type": "int", "default": 1800},
    "reason": {"type": "str", "default": ""},
    "url": {"type": "str", "default": "http://127.0.0.1:9093"},
    "timeout_seconds": {"type": "int", "default": 5},
}
MODULE = "alert_silence"


def change(module: AnsibleModule, result: dict[str, t.Any]) -> None:
    params = module.params
    alertmanager = Alertmanager(MODULE, params["url"], params["timeout_seconds"])
    found = _silence.ours(alertmanager.silences(), params["name"])
    result["before"] = bool(found)
    if params["state"] == "closed":
        result["silences"] = [silence["id"] for silence in found]
        result["changed"] = bool(found)
        if not module.check_mode:
            for silence in found:
                alertmanager.close_silence(silence["id"])
        return
    result["changed"] = True
    if module.check_mode:
        return
    identity = found[0]["id"] if found else ""
    now = datetime.datetime.now(datetime.UTC)
    wanted = _silence.body(
        params["name"], params["labels"], params["except_labels"], params["reason"], now, params["seconds"], identity
    )
    result["silences"] = [alertmanager.open_silence(wanted)]
    for silence in found[1:]:
        alertmanager.close_silence(silence["id"])


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_if=[("state", "open", ("labels",))]
    )
    result: dict[str, t.Any] = {"changed": False, "silences": [], "before": False}
    if module.params["state"] == "open" and not module.params["labels"]:
        message = sentence(
            MODULE,
            "labels",
            module.params["name"],
            "none",
            "one at least",
            "Set labels: without one, all alerts are silenced",
        )
        module.fail_json(msg=message, **result)
    try:
        change(module, result)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{**result, "changed": False})
    silenced = f"silences {module.params['labels']}\n"
    diff = {
        "before": silenced if result["before"] else "",
        "after": silenced if module.params["state"] == "open" else "",
    }
    module.exit_json(diff=diff, **result)


if __name__ == "__main__":
    main()
