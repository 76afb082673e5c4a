#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green
short_description: Move the requests of an app to a colour on one edge
version_added: 0.1.0
description:
  - Moves all new requests of an app to a colour, or a percentage of them to the other one, by one
    map entry that the proxy reads once for each request.
  - Each change of the entry raises the counter O(move). A run names itself by O(token) and O(run); an edge that
    has met a higher pair refuses it.
  - Before a host stops, re-creates or removes a colour, every edge withdraws that colour. The edge then refuses moves
    to the colour until M(evenkeel.platform.health_gate) has passed for it, and shows the withdrawal at its status
    address.
  - A move is made in every worker of the proxy, old ones included, and read back from each. The file that a restart
    loads is updated, and the app is probed through the public listener. If any of this fails, the entry is moved
    back, provided that the former side still has servers with a passed check.
  - Holds the edge-wide lock and the lock of the app from reading the entry until it is on the disk.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
  - evenkeel.platform.guard.peers
options:
  state:
    description:
      - V(moved) makes O(colour) live.
      - V(raised) makes O(token) and O(run) known to this edge and changes nothing else.
      - V(withdrawn) withdraws an idle O(colour).
      - V(restored) removes the withdrawal of an idle O(colour) and makes it warm again. Its former release must be
        running and have passed its gate.
      - V(out) records that the edge O(edge) is down for good, V(in) that it is back.
    type: str
    choices: [moved, raised, withdrawn, restored, out, in]
    default: moved
  token:
    description:
      - The token of the run.
      - With O(colour=previous) the edge takes the highest token of all edges plus one, or this one if it is higher.
    type: int
    default: 0
  run:
    description: The identifier of the run that the token was given to.
    type: str
    required: true
  colour:
    description:
      - The colour that O(state) is about.
      - V(previous) is the colour that the last move left, while it is warm. It counts as warm until 30 seconds before
        its warm time ends, and no longer once it was rolled back to or withdrawn.
    type: str
    choices: [blue, green, previous]
  move:
    description: The number of the move at which the caller saw this edge. At another one the module fails.
    type: int
  new_move:
    description:
      - The lowest number for the new move, so that an edge that is behind ends at the same move as the others.
    type: int
    default: 0
  assume_entry:
    description: The entry that the caller saw on this edge. With another one the module fails. Left out, any will do.
    type: str
  assume_release:
    description: With O(colour=previous), the release to go back to. If another one is warm, RV(cold) is true.
    type: str
    default: ""
  weight:
    description:
      - The percentage of requests that the other colour gets while O(colour) stays live.
      - V(0) gives O(colour) all of them.
    type: int
    default: 0
  release:
    description:
      - Identity of the release on O(colour), as it is written to the entry.
      - Left out, the one that the current entry names for that colour.
    type: str
    default: ""
  other_release:
    description: Identity of the release on the other colour. Left out, the one that the current entry names.
    type: str
    default: ""
  min_servers:
    description:
      - How many servers of each service of the colour that gains requests must have passed a check, as one number or
        as a dict of service and number. Services that the dict does not name need one.
      - At least one is always needed. Only in a dict, V(0) is accepted for a service that the release does not have.
    type: raw
    default: 1
  warm_seconds:
    description: How long the colour that is left stays ready for O(colour=previous).
    type: int
    default: 0
  warm:
    description: For O(state=restored), what is warm again.
    type: dict
    suboptions:
      release:
        description: The release on the colour.
        type: str
        required: true
      until:
        description: The time at which the edge withdraws the colour, in seconds since 1970.
        type: int
        required: true
  check_wait_seconds:
    description: How long to wait for O(min_servers). After a reload the first checks take a moment.
    type: float
    default: 5.0
  backward:
    description:
      - The move goes back to a release that served before. A record that cannot be written, for example because the
        disk is full, does not stop it; it is a warning, and RV(unrecorded) is true.
    type: bool
    default: false
  confirm:
    description:
      - Whether the edge serves at once after a move. V(false) is for one that the other edges still show as declared
        out, which answers 503 until they let it in and it is confirmed.
    type: bool
    default: true
  peers:
    description: For O(colour=previous), the other edges, which are queried for their highest pair and move.
  edge:
    description: For O(state=out) and O(state=in), the name of the other edge.
    type: str
  own:
    description:
      - With O(state=out), the name of this very edge. Declared out itself, it answers 503 until a later move or a run
        of the role confirms it.
    type: str
    default: ""
  owner:
    description: For O(state=out), who declared it.
    type: str
    default: ""
  reason:
    description: For O(state=out), why.
    type: str
    default: ""
  probe:
    description: The request to the public listener after the move. Left out, none is made.
    type: dict
    suboptions:
      url:
        description: The address as a user types it.
        type: str
        required: true
      host:
        description: Host header and SNI; the host of O(probe.url) when left out.
        type: str
        default: ""
      connect_to:
        description: Address of this edge, with or without a port, to connect to instead of O(probe.url)'s.
        type: str
        default: ""
      ca_file:
        description: File of the CA certificates to trust on this host.
        type: path
        default: ""
      verify:
        description: Whether to check the certificate.
        type: bool
        default: true
      status:
        description: The status to expect.
        type: int
        default: 200
      release:
        description:
          - The release that the app must report. Left out, that of the entry without its C(+<n>).
          - Not compared while O(weight) is not 0, as both sides answer then.
        type: str
        default: ""
      release_key:
        description: Key of the JSON answer that holds the release; empty compares none.
        type: str
        default: release
      within_seconds:
        description: How long to try.
        type: float
        default: 2.0
  allow_down:
    description: If HAProxy is not running, write the records only. It loads them when it starts.
    type: bool
    default: false
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.blue_green_info
  - module: evenkeel.platform.health_gate
  - module: evenkeel.platform.connection_drain
"""

EXAMPLES = r"""
- name: Give green all requests
  evenkeel.platform.blue_green:
    app: shop
    token: 42
    run: 20261130T101500Z-00af3e
    colour: green
    release: "1.1"
    move: 12
    assume_entry: "blue:0:1.0:"
    min_servers: {api: 2, web: 1}
    warm_seconds: 3600
    probe:
      url: https://shop.example.com/readyz
      connect_to: 192.0.2.10

- name: Withdraw blue before its containers are re-created
  evenkeel.platform.blue_green:
    app: shop
    token: 43
    run: 20261130T113000Z-7be214
    state: withdrawn
    colour: blue
    move: 13

- name: Roll back at once, even during another run
  evenkeel.platform.blue_green:
    app: shop
    run: 20261130T120500Z-51c02d
    colour: previous
    backward: true
    peers:
      - {name: edge2, url: "http://192.0.2.11:8405/live/shop"}
"""

RETURN = r"""
before:
  description: The entry that was served, parsed. C(text) is empty when nothing was live.
  returned: always
  type: dict
  sample: {"text": "blue:0:1.0:", "colour": "blue", "weight": 0, "release": "1.0", "other_release": ""}
after:
  description: The entry that is served now, or would be in check mode.
  returned: always
  type: dict
  sample: {"text": "green:0:1.1:1.0", "colour": "green", "weight": 0, "release": "1.1", "other_release": "1.0"}
move:
  description: The number of the move at which the edge is now.
  returned: always
  type: int
  sample: 13
moved_at:
  description: When the entry was moved last.
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
  sample: {"colour": "blue", "release": "1.0", "until": 1795000000, "move": 13}
out:
  description: The edges that are declared out, each with C(token), C(run), C(at), C(owner) and C(reason).
  returned: always
  type: dict
  sample: {}
cold:
  description: Whether O(colour=previous) found no side to go back to at once. Nothing was moved then.
  returned: always
  type: bool
  sample: false
moved_back:
  description: Whether the entry was moved and then put back because something failed.
  returned: always
  type: bool
  sample: false
repaired:
  description: Whether only records were updated to what is served already.
  returned: always
  type: bool
  sample: false
running:
  description: Whether HAProxy answered.
  returned: always
  type: bool
  sample: true
unrecorded:
  description: Whether a record could not be written. Until the next run the state is in HAProxy's memory only.
  returned: always
  type: bool
  sample: false
probe:
  description: C(ok), the number of C(tries), the C(seconds) they took, and the last C(answer).
  returned: always
  type: dict
  sample: {"ok": true, "tries": 1, "seconds": 0.004, "answer": "200"}
actions:
  description: What was done, or would be in check mode, one sentence each.
  returned: always
  type: list
  elements: str
  sample: ["Moved shop from blue:0:1.0: to green:0:1.1:1.0."]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _edges, _move
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._state import RELEASE, STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "state": {
        "type": "str",
        "choices": ["moved", "raised", "withdrawn", "restored", "out", "in"],
        "default": "moved",
    },
    "token": {"type": "int", "default": 0, "no_log": False},
    "run": {"type": "str", "required": True},
    "colour": {"type": "str", "choices": ["blue", "green", "previous"]},
    "move": {"type": "int"},
    "new_move": {"type": "int", "default": 0},
    "assume_entry": {"type": "str"},
    "assume_release": {"type": "str", "default": ""},
    "weight": {"type": "int", "default": 0},
    "release": {"type": "str", "default": ""},
    "other_release": {"type": "str", "default": ""},
    "min_servers": {"type": "raw", "default": 1},
    "warm_seconds": {"type": "int", "default": 0},
    "warm": {
        "type": "dict",
        "options": {"release": {"type": "str", "required": True}, "until": {"type": "int", "required": True}},
    },
    "check_wait_seconds": {"type": "float", "default": 5.0},
    "backward": {"type": "bool", "default": False},
    "confirm": {"type": "bool", "default": True},
    "peers": _edges.EDGES_ARGUMENT,
    "edge": {"type": "str"},
    "own": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "probe": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "connect_to": {"type": "str", "default": ""},
            "ca_file": {"type": "path", "default": ""},
            "verify": {"type": "bool", "default": True},
            "status": {"type": "int", "default": 200},
            "release": {"type": "str", "default": ""},
            "release_key": {"type": "str", "default": "release", "no_log": False},
            "within_seconds": {"type": "float", "default": 2.0},
        },
    },
    "allow_down": {"type": "bool", "default": False},
}
MODULE = "blue_green"


def refuse_unusable(params: dict[str, t.Any], app: str) -> None:
    for option in ("release", "other_release", "assume_release"):
        if params[option] and not RELEASE.match(params[option]):
            need = "letters, digits and . _ + -, at most 128"
            raise Failure(
                sentence(MODULE, "the release is not usable", app, repr(params[option]), need, f"Set {option}")
            )
    if params["colour"] == "previous" and params["state"] != "moved":
        raise Failure(
            sentence(
                MODULE,
                "the colour is not usable",
                app,
                "previous",
                f"blue or green for state {params['state']}",
                "Set colour",
            )
        )
    if params["state"] == "moved" and params["colour"] != "previous" and params["move"] is None:
        raise Failure(sentence(MODULE, "no move is given", app, "none", "the move of the plan", "Set move"))


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "moved", ("colour",)),
            ("state", "withdrawn", ("colour", "move")),
            ("state", "restored", ("colour", "move", "warm")),
            ("state", "out", ("edge", "reason")),
            ("state", "in", ("edge",)),
        ],
    )
    result = _move.empty()
    warnings: list[str] = []
    try:
        records = Records.of(module, MODULE)
        warnings = records.warnings
        refuse_unusable(module.params, records.app)
        act = _move.Act(module.params, records)
        result = act.result
        act.run()
    except Failure as failure:
        for text in dict.fromkeys(warnings):
            module.warn(text)
        unmoved = {"changed": False, "after": result["before"]}
        module.fail_json(msg=failure.sentence, **{**result, **unmoved, **failure.result})
    for text in dict.fromkeys(warnings):
        module.warn(text)
    module.exit_json(
        diff={"before": result["before"]["text"] + "\n", "after": result["after"]["text"] + "\n"}, **result
    )


if __name__ == "__main__":
    main()
