#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_record_info
short_description: Gather the records of apps on an edge
version_added: 0.1.0
description:
  - Reads the record of every app on this edge and applies the change of one, so that HAProxy's configuration can be
    rendered from all of them before anything is written.
author: The Evenkeel authors (@evenkeel)
options:
  record:
    description:
      - The changed record of an app. C(docs/architecture.md) describes its format.
    type: dict
  state:
    description:
      - Whether the app of O(record) should be on this edge.
    type: str
    choices: [present, absent]
    default: present
  state_dir:
    description:
      - The folder with one folder per app.
    type: path
    default: /var/lib/evenkeel
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Read the records of this edge
  evenkeel.platform.edge_record_info: {}
  register: edge_records
"""

RETURN = r"""
records:
  description: The records after the change, sorted by name; older ones in the current schema.
  returned: always
  type: list
  elements: dict
  sample: [{schema: 2, app: shop, hosts: [shop.example.com], services: {}, routes: {blue: [], green: []}}]
fingerprint:
  description: A hash of the records before the change, for M(evenkeel.platform.edge_config).
  returned: always
  type: str
  sample: 4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge

ARGUMENT_SPEC = {
    "record": {"type": "dict"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "state_dir": {"type": "path", "default": "/var/lib/evenkeel"},
}


def read_records(state_dir: Path) -> list[dict]:
    """Return every record on this edge; fail if one cannot be read."""
    records = []
    for path in sorted(state_dir.glob("*/edge.json")):
        record, problems = _edge.read_record(path)
        if problems:
            raise _edge.EdgeError(" ".join(problems))
        records.append(record)
    return records


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    record = _edge.upgraded(module.params["record"]) or None
    try:
        problems = _edge.record_problems(record) if record else []
        if problems and module.params["state"] == "present":
            raise _edge.EdgeError(" ".join(problems))
        found = read_records(Path(module.params["state_dir"]))
        app = (record or {}).get("app", "")
        if module.params["state"] == "absent" and not app:
            raise _edge.EdgeError("edge: app to take away: found no name, need one. Set app in edge_app.")
        records = _edge.merged([_edge.upgraded(each) for each in found], record, module.params["state"], app)
        problems = _edge.conflicts(records)
        if problems:
            raise _edge.EdgeError(" ".join(problems))
    except _edge.EdgeError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, records=records, fingerprint=_edge.fingerprint(found))


if __name__ == "__main__":
    main()
