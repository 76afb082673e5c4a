#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_facts
short_description: Read in one call what a host knows of an app
version_added: 0.1.0
description:
  - Reads what the plan of a release is computed from, with one call on each host.
  - An edge returns what it serves, an app host what runs on it, the record host what was released.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  parts:
    description: What this host is for the app. V(releases) also reads the releases that an app host stores.
    type: list
    elements: str
    choices: [edge, host, records, releases]
    required: true
  count:
    description: How many rows of the ledger to return.
    type: int
    default: 100
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
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _adapter,
    _edge_info,
    _file,
    _pair,
    _release_records,
    _releases,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "parts": {"type": "list", "elements": "str", "choices": ["edge", "host", "records", "releases"], "required": True},
    "count": {"type": "int", "default": 100},
}
MODULE = "release_facts"
FIREWALL = "/etc/evenkeel/firewall.d"
PARTS = ("blue", "green", "background", "migration")


def stacks(module: AnsibleModule, app: str) -> dict[str, t.Any]:
    """Return the number of running and of other containers of each stack of the app; raises no error without Docker."""
    found = {part: {"running": 0, "other": 0} for part in PARTS}
    docker = module.get_bin_path("docker")
    if docker is None:
        return {"engine": False, "stacks": found}
    form = '{{ .Label "com.docker.compose.project" }} {{ .State }}'
    status, out, _err = module.run_command([docker, "ps", "--all", "--format", form], environ_update={"LC_ALL": "C"})
    for line in out.splitlines() if status == 0 else []:
        project, _space, state = line.partition(" ")
        part = project.removeprefix(f"{app}-")
        if project.startswith(f"{app}-") and part in found:
            found[part]["running" if state == "running" else "other"] += 1
    return {"engine": status == 0, "stacks": found}


def firewall(app: str) -> list[str]:
    """Return the rules of the app's file in the firewall, without comments."""
    text = _file.read_text(str(Path(FIREWALL, f"app-{app}.nft"))) or ""
    return [line.strip() for line in text.splitlines() if "accept" in line]


def orders(records: Records) -> list[str]:
    return sorted(path.stem.removeprefix("retire-") for path in Path(records.folder).glob("retire-*.json"))


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    parts = module.params["parts"]
    try:
        records = Records.of(module, MODULE)
        pair = _pair.highest(records)
        result: dict[str, t.Any] = {
            "pair": {"token": pair.token, "run": pair.run},
            "edge": _edge_info.read(records, _adapter.of(module.params, MODULE, records.app, records.folder))
            if "edge" in parts
            else {},
            "host": {},
            "records": _release_records.facts(records, module.params["count"]) if "records" in parts else {},
        }
        if "host" in parts:
            result["host"] = {
                **stacks(module, records.app),
                "firewall": firewall(records.app),
                "orders": orders(records),
                "releases": list(_releases.read(records, read_only=True).values()) if "releases" in parts else [],
            }
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **failure.result)
    for text in records.warnings:
        module.warn(text)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
