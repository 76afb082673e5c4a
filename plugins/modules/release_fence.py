#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_fence
short_description: Refuse a run that a newer one has overtaken
version_added: 0.1.0
description:
  - Compares the token of a run with the highest token this host has met for the app, under the lock
    of the app on this host, and keeps the higher one.
  - A lower token means that a newer run has taken over. It is refused, so that a runner that slept
    and wakes up changes nothing more.
  - Call it at the start of every stage that changes something on the host.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
options:
  token:
    description: The token that the run was given with its lease.
    type: int
    required: true
  stage:
    description: The stage about to start; kept beside the token for people.
    type: str
    default: ""
  remakes:
    description:
      - The idle colour whose containers are about to be made anew. The edge forgets that it is warm, so that
        M(evenkeel.platform.blue_green) with O(evenkeel.platform.blue_green#module:colour=previous) finds nothing, and
        the app host forgets the order to retire it.
    type: str
    choices: [blue, green]
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.release_lease
"""

EXAMPLES = r"""
- name: Make sure that no newer run has taken over
  evenkeel.platform.release_fence:
    app: shop
    token: "{{ lease.token }}"
    stage: start
"""

RETURN = r"""
token:
  description: The token that was shown.
  returned: always
  type: int
  sample: 42
highest:
  description: The highest token this host has met, this one included.
  returned: always
  type: int
  sample: 42
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records, fence

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    "token": {"type": "int", "required": True, "no_log": False},
    "stage": {"type": "str", "default": ""},
    "remakes": {"type": "str", "choices": ["blue", "green"]},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    token = module.params["token"]
    warnings: list[str] = []
    try:
        records = Records.of(module, "release_fence")
        warnings = records.warnings
        with records.locked():
            state = records.read("state.json") or {}
            before = int(state.get("token", 0))
            highest = fence("release_fence", records.app, token, before)
            warm = bool(module.params["remakes"]) and bool(state.get("warm"))
            order = Path(records.path(f"retire-{module.params['remakes']}.json"))
            forgotten = warm or order.exists()
            if highest != before or warm:
                state.update(app=records.app, token=highest, stage=module.params["stage"])
                if warm:
                    state["warm"] = {}
                records.write(state, "state.json")
            if not module.check_mode:
                order.unlink(missing_ok=True)
    except Failure as failure:
        for text in warnings:
            module.warn(text)
        module.fail_json(msg=failure.sentence, **{"token": token, "highest": 0, **failure.result})
    for text in warnings:
        module.warn(text)
    module.exit_json(
        changed=highest != before or forgotten,
        token=token,
        highest=highest,
        diff={"before": {"token": before}, "after": {"token": highest}},
    )


if __name__ == "__main__":
    main()
