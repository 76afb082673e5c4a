#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_facts
short_description: Gather facts about an app on a host
version_added: 0.1.0
description:
  - Reads what the plan of a release is computed from, with one call on each host.
  - An edge returns what it serves, an app host what runs on it, the record host what was released.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  parts:
    description:
      - What this host is for the app. V(releases) also reads the releases that an app host stores.
      - V(details) also reads each container, the state of the units, and the servers that a restart has set to drain.
    type: list
    elements: str
    choices: [edge, host, records, releases, details]
    required: true
  count:
    description: How many rows of the ledger to return.
    type: int
    default: 100
  compose:
    description: Compose files of the app to normalise, as O(evenkeel.platform.preflight_facts#module:projects).
    type: dict
    suboptions:
      app:
        description: Name of the app.
        type: str
        required: true
      release:
        description: The release they are read for.
        type: str
        required: true
      files:
        description: Text of each file by its path.
        type: dict
        required: true
      order:
        description: The paths of the Compose files, in the order in which they are merged.
        type: list
        elements: str
        required: true
      variables:
        description: What C(${...}) can see.
        type: dict
        required: true
      images:
        description: Whether registries are asked for its images, by M(evenkeel.platform.preflight_facts).
        type: bool
        default: false
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.blue_green_info
  - module: evenkeel.platform.release_info
"""

EXAMPLES = r"""
- name: Read what each host knows of the app
  evenkeel.platform.release_facts:
    app: shop
    parts: "{{ ['edge'] if inventory_hostname in groups['edge'] else ['host'] }}"
  register: facts
"""

RETURN = r"""
pair:
  description: The highest token that this host has met, and the run it was given to.
  returned: always
  type: dict
  sample: {"token": 42, "run": "20261130T101500Z-00af3e"}
edge:
  description: What M(evenkeel.platform.blue_green_info) returns, empty without the part V(edge).
  returned: always
  type: dict
  sample: {}
host:
  description:
    - What runs of the app on an app host, empty without the part V(host).
    - C(engine) is whether Docker answers, C(stacks) the number of containers of each stack by state, C(firewall) the
      rules that allow the edges, C(orders) the colours with an order to stop, C(releases) the stored releases.
  returned: always
  type: dict
  sample: {"engine": true, "stacks": {"blue": {"running": 2, "other": 0}}, "firewall": [], "orders": ["green"]}
records:
  description: What M(evenkeel.platform.release_info) returns, empty without the part V(records).
  returned: always
  type: dict
  sample: {}
project:
  description: What RV(evenkeel.platform.preflight_facts#module:projects) has for O(compose), else empty.
  returned: always
  type: dict
  sample: {}
details:
  description:
    - What runs in detail, empty without the part V(details).
    - C(containers) are those of the app with C(name), C(part), C(service), C(running), C(problem), C(exit),
      C(restarts), C(image) and C(oneoff); C(units) the state of timers by name; C(draining) the servers that take no
      requests during a restart, each with the end of that as seconds of the epoch.
  returned: always
  type: dict
  sample: {"containers": [], "units": {"evenkeel-retire.timer": "active"}, "draining": {}}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _compose_project, _release_facts
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records, inform

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "parts": {"type": "list", "elements": "str", "choices": [*_release_facts.PARTS, "details"], "required": True},
    "count": {"type": "int", "default": 100},
    "compose": {"type": "dict", "options": _compose_project.PROJECT_ARGUMENTS},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params

    def run(argv: list[str]) -> tuple[int, str, str]:
        try:
            return t.cast(
                tuple[int, str, str],
                module.run_command(argv, handle_exceptions=False, environ_update={"LC_ALL": "C"}),
            )
        except OSError as exc:
            return 127, "", str(exc)

    def read(records: Records) -> dict[str, t.Any]:
        found = _release_facts.read(records, params["parts"], params["count"], run, params)
        asked, docker = params["compose"], module.get_bin_path("docker")
        found["project"] = _compose_project.normalise(asked, docker, module.run_command) if asked else {}
        return found

    inform(module, _release_facts.MODULE, read)


if __name__ == "__main__":
    main()
