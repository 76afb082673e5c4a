#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_info
short_description: Gather information about an app on an edge
version_added: 0.1.0
description: Reads the live entry from every worker of the proxy and from the records, and the state of each server.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.blue_green
"""

EXAMPLES = r"""
- name: Read what is live
  evenkeel.platform.blue_green_info:
    app: shop
  register: edge
"""

RETURN = r"""
entry:
  description: The entry that is served, parsed; that of the file when the proxy is not running.
  returned: always
  type: dict
  sample: {"text": "blue:0:1.0:", "colour": "blue", "weight": 0, "release": "1.0", "other_release": ""}
move:
  description: The number of the move that wrote the entry.
  returned: always
  type: int
  sample: 12
moved_at:
  description: When the entry was moved last, according to the record.
  returned: always
  type: str
  sample: "2026-11-21T10:00:00.000Z"
pair:
  description: The highest token with its run that this edge has met.
  returned: always
  type: dict
  sample: {"token": 42, "run": "20261130T101500Z-00af3e"}
withdrawn:
  description: The withdrawn colours, each with the move at which it was withdrawn.
  returned: always
  type: dict
  sample: {"green": 12}
warm:
  description: The side that can be rolled back to at once, with C(colour), C(release), C(until) and C(move).
  returned: always
  type: dict
  sample: {}
out:
  description: The edges that are declared out, each with C(token), C(run), C(at), C(owner) and C(reason).
  returned: always
  type: dict
  sample: {}
confirmed:
  description: Whether the entry is confirmed. Until it is, the edge answers 503 for the app.
  returned: always
  type: bool
  sample: true
running:
  description: Whether the proxy answered.
  returned: always
  type: bool
  sample: true
workers:
  description: What each worker holds, the current one first.
  returned: always
  type: list
  elements: dict
  sample: [{"pid": 4711, "old": false, "value": "blue:0:1.0:"}]
backends:
  description: For each colour and service the servers, with sessions summed over all workers.
  returned: always
  type: dict
  sample:
    blue: {"api": [{"server": "app1_1", "status": "UP", "check": "L7OK", "healthy": true, "sessions": 0}]}
    green: {}
sessions:
  description: The current sessions of each colour over all workers.
  returned: always
  type: dict
  sample: {"blue": 0, "green": 0}
record:
  description: The edge's record of the app, in the current schema; empty without one.
  returned: always
  type: dict
  sample: {schema: 2, app: shop, hosts: [shop.example.com], services: {}, routes: {blue: [], green: []}}
loaded:
  description: Whether HAProxy has loaded the configuration that its files hold. False after a crash before a reload.
  returned: always
  type: bool
  sample: true
recorded:
  description: Whether files, C(state.json) and status agree with what HAProxy serves. False after a crash in a move.
  returned: always
  type: bool
  sample: true
record_problems:
  description: One sentence for each reason why the record cannot be used.
  returned: always
  type: list
  elements: str
  sample: []
drift:
  description: One sentence for each place that differs from what the current worker serves.
  returned: always
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _edge_info
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records, inform

ARGUMENT_SPEC: dict[str, t.Any] = {**STATE_ARGUMENTS, **_adapter.ADAPTER_ARGUMENTS}
MODULE = "blue_green_info"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)

    def read(records: Records) -> dict[str, t.Any]:
        return _edge_info.read(records, _adapter.of(module.params, MODULE, records.app, records.folder))

    inform(module, MODULE, read)


if __name__ == "__main__":
    main()
