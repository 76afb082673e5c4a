#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green_info
short_description: Tell what an edge serves of an app, and how well
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
- name: See what is live
  evenkeel.platform.blue_green_info:
    app: shop
  register: edge
"""

RETURN = r"""
entry:
  description: The entry that is served; that of the file when the proxy does not run.
  returned: always
  type: str
  sample: "blue:0:1.0:"
live:
  description: C(colour) and C(release) of the live side.
  returned: always
  type: dict
  sample: {"colour": "blue", "release": "1.0"}
idle:
  description: C(colour) and C(release) of the other side, as far as the entry knows it.
  returned: always
  type: dict
  sample: {"colour": "green", "release": ""}
weight:
  description: The percentage of requests that the other side gets.
  returned: always
  type: int
  sample: 0
token:
  description: The highest token this edge has met.
  returned: always
  type: int
  sample: 42
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
excluded:
  description: For each colour the servers that are kept out of service.
  returned: always
  type: dict
  sample: {"blue": [], "green": []}
moved_at:
  description: When the entry was moved last, by the record.
  returned: always
  type: str
  sample: "2026-11-21T10:00:00.000Z"
previous:
  description: The entry before the last move, by the record.
  returned: always
  type: str
  sample: ""
record:
  description: What the edge knows of the app, in the present shape; empty where it knows none.
  returned: always
  type: dict
  sample: {schema: 2, app: shop, hosts: [shop.example.com], services: {}, routes: {blue: [], green: []}}
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
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _edge, _entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._haproxy import Unreachable
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {**STATE_ARGUMENTS, **_adapter.ADAPTER_ARGUMENTS}
MODULE = "blue_green_info"


def drift(served: str | None, workers: list[dict[str, t.Any]], saved: str | None, recorded: str | None) -> list[str]:
    found = [
        f"worker {worker['pid']} holds {worker['value']!r}, the current one {served!r}"
        for worker in workers
        if worker["value"] != served
    ]
    if saved != served:
        found.append(f"live.map holds {saved!r}, the proxy {served!r}")
    if recorded is not None and recorded != (served or ""):
        found.append(f"state.json holds {recorded!r}, the proxy {served!r}")
    return found


def unconfirmed(stamp: str) -> list[str]:
    if not stamp.startswith("unconfirmed:"):
        return []
    return ["the edge was away, and serves nothing of the app until its entry is confirmed"]


def recorded(records: Records) -> dict[str, t.Any]:
    """What the edge knows of the app, and why it cannot be used: a release asks for it, status does not."""
    record, problems = _edge.read_record(Path(records.path("edge.json")))
    return {"record": _edge.upgraded(record) or {}, "record_problems": problems}


def read(module: AnsibleModule, records: Records) -> dict[str, t.Any]:
    adapter = _adapter.of(module, MODULE, records.folder)
    state = records.read("state.json", read_only=True) or {}
    saved = adapter.read_saved()
    running = True
    backends: dict[str, t.Any] = {colour: {} for colour in _entry.COLOURS}
    sessions = dict.fromkeys(_entry.COLOURS, 0)
    excluded: dict[str, list[str]] = {colour: [] for colour in _entry.COLOURS}
    try:
        workers = adapter.read()
        backends = adapter.backends()
        sessions = {colour: sum(adapter.sessions(colour).values()) for colour in _entry.COLOURS}
        excluded = {colour: adapter.excluded(colour) for colour in _entry.COLOURS}
    except Unreachable as failure:
        records.warnings.append(failure.sentence)
        workers, running = [], False
    served = workers[0]["value"] if workers else saved
    entry = _entry.parse(served, MODULE, records.app)
    idle = _entry.other(entry.colour) if entry.serves else ""
    return {
        "entry": served or "",
        "live": {"colour": entry.colour if entry.serves else "", "release": entry.release},
        "idle": {"colour": idle, "release": entry.release_of(idle) if idle else ""},
        "weight": entry.weight,
        "token": int(state.get("token", 0)),
        "running": running,
        "workers": workers,
        "backends": backends,
        "sessions": sessions,
        "excluded": excluded,
        "moved_at": state.get("moved_at") or "",
        "previous": state.get("previous") or "",
        **recorded(records),
        "drift": drift(served, workers, saved, state.get("entry")) + unconfirmed(adapter.stamped()),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        records = Records.of(module, MODULE)
        result = read(module, records)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **failure.result)
    for text in records.warnings:
        module.warn(text)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
