#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: connection_drain
short_description: Wait until a colour of an app serves no requests
version_added: 0.1.0
description:
  - Counts the current sessions of every backend of a colour over all workers of the proxy, old ones included, until
    there is none or O(timeout_seconds) is over.
  - Also counts the requests that HAProxy had accepted when the wait began and whose body it still awaits before it
    chooses a backend, whatever app they are for. They may have read the entry before the move, and then reach the
    colour that was left.
  - An idle keep-alive connection of a client belongs to no backend and is not counted.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  colour:
    description: The colour to wait for.
    type: str
    choices: [blue, green]
    required: true
  timeout_seconds:
    description: Seconds to wait. V(0) counts once.
    type: float
    default: 30.0
  interval_seconds:
    description: Seconds between two counts.
    type: float
    default: 0.25
  fail_on_timeout:
    description: Whether to fail if sessions are left at the end.
    type: bool
    default: false
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.blue_green
"""

EXAMPLES = r"""
- name: Wait until the old side serves nothing
  evenkeel.platform.connection_drain:
    app: shop
    colour: blue
    timeout_seconds: 30
"""

RETURN = r"""
drained:
  description: Whether the colour serves no requests.
  returned: always
  type: bool
  sample: true
sessions:
  description: The number of sessions that are left.
  returned: always
  type: int
  sample: 0
undecided:
  description: How many of them have no backend yet.
  returned: always
  type: int
  sample: 0
services:
  description: The sessions that are left, for each service.
  returned: always
  type: dict
  sample: {"api": 0}
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 0.5
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "colour": {"type": "str", "choices": ["blue", "green"], "required": True},
    "timeout_seconds": {"type": "float", "default": 30.0},
    "interval_seconds": {"type": "float", "default": 0.25},
    "fail_on_timeout": {"type": "bool", "default": False},
}
MODULE = "connection_drain"


def wait(adapter: _adapter.Adapter, colour: str, timeout: float, interval: float) -> dict[str, t.Any]:
    """Wait for the sessions of the colour, and for the requests that had no backend when the wait began.

    A request that comes later reads the entry of after the move. One that gets a backend of the colour meanwhile is
    among its sessions, which are therefore counted last.
    """
    started = time.monotonic()
    undecided = adapter.undecided()
    while True:
        services = adapter.sessions(colour)
        left = sum(services.values()) + len(undecided)
        seconds = time.monotonic() - started
        if not left or seconds >= timeout:
            return {
                "drained": not left,
                "sessions": left,
                "undecided": len(undecided),
                "services": services,
                "seconds": round(seconds, 3),
            }
        time.sleep(min(interval, max(0.0, timeout - seconds)))
        if undecided:
            undecided &= adapter.undecided()


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    result: dict[str, t.Any] = {"drained": True, "sessions": 0, "undecided": 0, "services": {}, "seconds": 0.0}
    try:
        records = Records.of(module, MODULE)
        adapter = _adapter.of(params, MODULE, records.app, records.folder)
        timeout = 0.0 if module.check_mode else params["timeout_seconds"]
        try:
            result = wait(adapter, params["colour"], timeout, params["interval_seconds"])
        except _adapter.ProxyDown as failure:
            module.warn(f"{failure.sentence} What does not run serves nothing, so {params['colour']} is drained.")
        if not result["drained"] and params["fail_on_timeout"] and not module.check_mode:
            raise Failure(
                sentence(
                    MODULE,
                    "sessions are left",
                    f"{params['colour']} of {records.app}",
                    f"{result['sessions']} after {result['seconds']:.1f} s",
                    "none",
                    "Raise timeout_seconds, or let them be cut by setting fail_on_timeout to false",
                )
            )
    except Failure as failure:
        module.fail_json(msg=failure.sentence, changed=False, **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
