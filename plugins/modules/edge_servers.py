#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: edge_servers
short_description: Take a server of an app out of the rotation of an edge, and back in
version_added: 0.1.0
description:
  - While the container behind it restarts, a server takes no new requests. The requests that it has are finished first.
  - A server is never taken out if no other one of its service takes requests on this edge.
  - If the run dies in between, C(edge-sync withdraw) puts the server back after O(limit_seconds).
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  state:
    description:
      - V(drained) takes the server out and waits until it has no requests, at most O(timeout_seconds).
      - V(ready) puts it back and waits until it has passed a check, or fails after O(timeout_seconds).
    type: str
    choices: [drained, ready]
    required: true
  colour:
    description: The colour of the server.
    type: str
    choices: [blue, green]
    required: true
  service:
    description: The service of the server.
    type: str
    required: true
  server:
    description: The server, as C(<host>_<replica>).
    type: str
    required: true
  move:
    description: For V(drained), the move that the restart was planned for.
    type: int
  token:
    description: For V(drained), the token of the run. A lower one than this edge has met is refused.
    type: int
    default: 0
  run:
    description: For V(drained), the run that the token was given to.
    type: str
    default: ""
  alone:
    description: For V(drained), whether the only server of its service is taken out too, so that users get errors.
    type: bool
    default: false
  timeout_seconds:
    description: How long to wait.
    type: float
    default: 30.0
  limit_seconds:
    description: For V(drained), after how many seconds the server is put back if nobody does.
    type: int
    default: 300
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.connection_drain
"""

EXAMPLES = r"""
- name: Take the first replica on app1 out
  evenkeel.platform.edge_servers:
    app: shop
    state: drained
    colour: green
    service: api
    server: app1_1
    move: 12
    token: 42
    run: 20261130T101500Z-00af3e
"""

RETURN = r"""
drained:
  description: Whether the server has no requests. One that had some after O(timeout_seconds) loses them.
  returned: always
  type: bool
  sample: true
sessions:
  description: The requests that it still has.
  returned: always
  type: int
  sample: 0
others:
  description: How many other servers of the service take requests on this edge.
  returned: always
  type: int
  sample: 1
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 0.5
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["set app1_1 of api to drain"]
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _edge_servers, _edge_store
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "state": {"type": "str", "choices": ["drained", "ready"], "required": True},
    "colour": {"type": "str", "choices": ["blue", "green"], "required": True},
    "service": {"type": "str", "required": True},
    "server": {"type": "str", "required": True},
    "move": {"type": "int"},
    "token": {"type": "int", "default": 0, "no_log": False},
    "run": {"type": "str", "default": ""},
    "alone": {"type": "bool", "default": False},
    "timeout_seconds": {"type": "float", "default": 30.0},
    "limit_seconds": {"type": "int", "default": 300},
}
MODULE = "edge_servers"
PAUSE_SECONDS = 0.1
Result = dict[str, t.Any]


class Server:
    """One server of the app on this edge."""

    def __init__(self, params: dict[str, t.Any], records: Records) -> None:
        self.params = params
        self.records = records
        self.colour, self.service, self.name = params["colour"], params["service"], params["server"]
        self.adapter = _adapter.of(params, MODULE, records.app, records.folder)

    def rows(self) -> dict[str, t.Any]:
        """Return the servers of the service by name, as every worker counts their requests."""
        return {row["server"]: row for row in self.adapter.backends()[self.colour].get(self.service) or []}

    def subject(self) -> str:
        return f"{self.name} of {self.service} of app {self.records.app}"

    def refusal(self, what: str, found: str, need: str, remedy: str, **result: t.Any) -> Failure:
        return Failure(sentence(MODULE, what, self.subject(), found, need, remedy), **result)

    def taken_out(self, result: Result) -> None:
        """Set the server to drain, for the newest run only."""
        with self.records.locked(edge=True):
            store = _edge_store.EdgeStore(self.records, self.adapter)
            held = store.load(down_ok=False)
            store.check(Pair(self.params["token"], self.params["run"]))
            move = self.params["move"]
            if move is not None and held.move != move:
                remedy = "The traffic was moved meanwhile; run it again"
                raise self.refusal("the edge is at another move", f"move {held.move}", f"move {move}", remedy)
            rows = self.rows()
            if self.name not in rows:
                need = " or ".join(sorted(rows)) or "a server of the service"
                raise self.refusal("no such server", self.name, need, "Run it again")
            result["others"] = sum(bool(row["healthy"]) for name, row in rows.items() if name != self.name)
            if not result["others"] and not self.params["alone"]:
                raise self.refusal(
                    "no other server would take its requests",
                    "none that is healthy",
                    "one, or users get errors",
                    "Set replicas of the service to 2, or accept the errors with -e outage=true",
                    alone=True,
                )
            result.update(changed=True, actions=[f"set {self.name} of {self.service} to drain"])
            if self.records.check_mode:
                return
            until = int(time.time()) + self.params["limit_seconds"]
            _edge_servers.drain(self.records, self.adapter, self.colour, self.service, self.name, until)

    def empty(self, result: Result) -> None:
        """Wait until the server has no requests."""
        started = time.monotonic()
        while True:
            row = self.rows().get(self.name) or {}
            result["sessions"] = int(row.get("sessions") or 0)
            result["seconds"] = round(time.monotonic() - started, 3)
            result["drained"] = not result["sessions"]
            if result["drained"] or self.records.check_mode or result["seconds"] >= self.params["timeout_seconds"]:
                return
            time.sleep(PAUSE_SECONDS)

    def put_back(self, result: Result) -> None:
        """Set the server ready. Nobody is refused: what is put back takes requests only once it is healthy."""
        name = _edge_servers.key(self.colour, self.service, self.name)
        with self.records.locked(edge=True):
            status = str((self.rows().get(self.name) or {}).get("status") or "")
            if name not in _edge_servers.recorded(self.records) and "DRAIN" not in status:
                return
            result.update(changed=True, actions=[f"set {self.name} of {self.service} ready"])
            if not self.records.check_mode:
                _edge_servers.ready(self.records, self.adapter, [name])

    def healthy(self, result: Result) -> None:
        """Wait until the server has passed a check."""
        started = time.monotonic()
        while not self.records.check_mode:
            row = self.rows().get(self.name) or {}
            result["seconds"] = round(time.monotonic() - started, 3)
            if row.get("healthy"):
                return
            if result["seconds"] >= self.params["timeout_seconds"]:
                found = f"{row.get('status') or 'no server'} after {result['seconds']:.1f} s"
                raise self.refusal("the server is not healthy", found, "UP", "Read the log of its container")
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    result: Result = {"changed": False, "drained": True, "sessions": 0, "others": 0, "seconds": 0.0, "actions": []}
    warnings: list[str] = []
    try:
        records = Records.of(module, MODULE)
        warnings = records.warnings
        server = Server(module.params, records)
        if module.params["state"] == "drained":
            server.taken_out(result)
            server.empty(result)
        else:
            server.put_back(result)
            server.healthy(result)
    except Failure as failure:
        for text in dict.fromkeys(warnings):
            module.warn(text)
        module.fail_json(msg=failure.sentence, **{**result, **failure.result})
    for text in dict.fromkeys(warnings):
        module.warn(text)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
