#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_gate
short_description: Wait until targets answer correctly several times in a row
version_added: 0.1.0
description:
  - Probes all targets in parallel. Each needs O(successes) correct answers in a row. A wrong one restarts its count.
  - A target that has answered and then refuses connections has ended. The gate then fails at once.
  - With O(colour) it runs on an edge, and once every target has passed it removes the withdrawal of that colour, so
    that M(evenkeel.platform.blue_green) may move to it. It fails if the edge has met a higher pair than O(token) and
    O(run), or is at another move than O(move).
  - In check mode nothing is probed, since nothing was started.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  colour:
    description: The idle colour that the targets belong to. Left out, nothing is changed on the host.
    type: str
    choices: [blue, green]
  app:
    description: Name of the app, for O(colour).
    required: false
  token:
    description: The token of the run, for O(colour).
    type: int
  run:
    description: The identifier of the run, for O(colour).
    type: str
  move:
    description: The number of the move at which the colour was withdrawn, for O(colour).
    type: int
  targets:
    description: What to probe.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description: URL to request.
        type: str
        required: true
      host:
        description: Host header and SNI. Left out, the host of the URL.
        type: str
        default: ""
      connect_to:
        description: Address to connect to instead, with or without a port.
        type: str
        default: ""
      proto:
        description:
          - Value of C(X-Forwarded-Proto), which the edge sets as well. C(X-Forwarded-Host) and C(X-Forwarded-Port) are
            sent with it. Empty sends none of them.
        type: str
        choices: ["", http, https]
        default: ""
      protocol:
        description:
          - Protocol of the target. V(h2) is HTTP/2 without TLS. V(grpc) calls the standard gRPC health service, where
            an answer other than SERVING counts as status 503.
        type: str
        choices: [http1, h2, grpc]
        default: http1
      status:
        description: Status to expect. Left out, O(status).
        type: int
      body:
        description: Text that the body must contain. Left out, O(body).
        type: str
      release_key:
        description: Key of the JSON answer with the release. Left out, O(release_key). Empty compares none.
        type: str
  successes:
    description: Correct answers in a row that each target needs.
    type: int
    default: 3
  interval_seconds:
    description: Seconds between two probes of a target.
    type: float
    default: 0.5
  timeout_seconds:
    description: Seconds that all of it may take.
    type: float
    default: 60.0
  request_timeout_seconds:
    description: Seconds that one answer may take.
    type: float
    default: 5.0
  status:
    description: Status to expect.
    type: int
    default: 200
  body:
    description: Text that the body must contain.
    type: str
    default: ""
  release:
    description: The release that the app must report. Empty compares none.
    type: str
    default: ""
  release_key:
    description: Key of the JSON answer with the release.
    type: str
    default: release
  ca_file:
    description: File of the CA certificates to trust.
    type: path
    default: ""
  verify:
    description: Whether to check certificates.
    type: bool
    default: true
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Wait for green
  evenkeel.platform.health_gate:
    targets:
      - name: api app1_1
        url: http://192.0.2.21:20001/readyz
        host: shop.example.com
    release: "1.1"

- name: Wait for green on an edge and allow moves to green
  evenkeel.platform.health_gate:
    app: shop
    colour: green
    move: 12
    token: 42
    run: 20261130T101500Z-00af3e
    targets:
      - name: api app1_1
        url: http://192.0.2.21:20001/readyz
"""

RETURN = r"""
passed:
  description: Whether every target passed. False in check mode, where nothing is probed.
  returned: always
  type: bool
  sample: true
cleared:
  description: Whether a withdrawal of O(colour) was removed.
  returned: always
  type: bool
  sample: false
failed_targets:
  description: One sentence for each target that did not pass.
  returned: always
  type: list
  elements: str
  sample: []
transcript:
  description: The last answers of each target, 20 at most.
  returned: always
  type: dict
  sample: {"api app1_1": [{"at_seconds": 0.1, "ok": true, "problem": "", "answer": "200"}]}
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 1.2
"""

import concurrent.futures
import threading
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _edge_state, _edge_store, _gate, _http
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "app": {"type": "str"},
    "colour": {"type": "str", "choices": ["blue", "green"]},
    "token": {"type": "int", "no_log": False},
    "run": {"type": "str"},
    "move": {"type": "int"},
    "targets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "connect_to": {"type": "str", "default": ""},
            "proto": {"type": "str", "choices": ["", "http", "https"], "default": ""},
            "protocol": {"type": "str", "choices": ["http1", "h2", "grpc"], "default": "http1"},
            "status": {"type": "int"},
            "body": {"type": "str"},
            "release_key": {"type": "str", "no_log": False},
        },
    },
    "successes": {"type": "int", "default": 3},
    "interval_seconds": {"type": "float", "default": 0.5},
    "timeout_seconds": {"type": "float", "default": 60.0},
    "request_timeout_seconds": {"type": "float", "default": 5.0},
    "status": {"type": "int", "default": 200},
    "body": {"type": "str", "default": ""},
    "release": {"type": "str", "default": ""},
    "release_key": {"type": "str", "default": "release", "no_log": False},
    "ca_file": {"type": "path", "default": ""},
    "verify": {"type": "bool", "default": True},
}


def first(*values: t.Any) -> t.Any:
    return next((value for value in values if value is not None), None)


def probe(
    params: dict[str, t.Any], given: dict[str, t.Any], target: _gate.Target, started: float, over: threading.Event
) -> None:
    """Ask one target until it passed, it ended, or the time is over."""
    deadline = started + params["timeout_seconds"]
    while not over.is_set():
        left = deadline - time.monotonic()
        if left <= 0:
            return
        answer = _http.get(
            given["url"],
            host=given["host"],
            connect_to=given["connect_to"],
            proto=given["proto"],
            protocol=given["protocol"],
            ca_file=params["ca_file"],
            verify=params["verify"],
            timeout=max(0.1, min(params["request_timeout_seconds"], left)),
        )
        key = first(given["release_key"], params["release_key"])
        problem = _http.problem(
            answer,
            status=first(given["status"], params["status"]),
            body=first(given["body"], params["body"]),
            release=params["release"] if key else "",
            release_key=key,
        )
        _gate.observe(
            target,
            at=time.monotonic() - started,
            problem=problem,
            brief=answer.brief(),
            refused=answer.refused,
            answered=answer.status > 0,
        )
        if target.restarted:
            over.set()
        if target.restarted or _gate.passed(target, params["successes"]):
            return
        over.wait(max(0.0, min(params["interval_seconds"], deadline - time.monotonic())))


def gate(params: dict[str, t.Any]) -> dict[str, t.Any]:
    targets = [_gate.Target(each["name"], each["url"]) for each in params["targets"]]
    over = threading.Event()
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max_workers=max(1, min(32, len(targets)))) as pool:
        jobs = [
            pool.submit(probe, params, given, target, started, over)
            for given, target in zip(params["targets"], targets, strict=True)
        ]
        for job in jobs:
            job.result()
    seconds = time.monotonic() - started
    return {
        "passed": _gate.verdict(targets, params["successes"]) == "passed",
        "failed_targets": _gate.sentences(targets, params["successes"], seconds),
        "transcript": {target.name: target.transcript for target in targets},
        "seconds": round(seconds, 3),
    }


def clear(module: AnsibleModule, records: Records) -> bool:
    """Take the withdrawal of the colour back, under the edge's lock; tell whether there was one."""
    params = module.params
    adapter = _adapter.of(params, "health_gate", records.app, records.folder)
    holder = _edge_store.EdgeStore(records, adapter)
    with records.locked(edge=True):
        held = holder.load()
        holder.check(Pair(params["token"], params["run"]))
        after = _edge_state.gated(held, records.app, params["colour"], params["move"])
        if after == held:
            return False
        holder.raise_pair(Pair(params["token"], params["run"]))
        holder.keep(after, holder.confirmed)
    return True


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_by={"colour": ("app", "token", "run", "move")},
    )
    result: dict[str, t.Any] = {
        "changed": False,
        "passed": False,
        "cleared": False,
        "failed_targets": [],
        "transcript": {},
        "seconds": 0.0,
    }
    if module.check_mode:
        module.exit_json(**result)
    result.update(gate(module.params))
    if not result["passed"]:
        module.fail_json(msg=" ".join(result["failed_targets"]), **result)
    if module.params["colour"]:
        try:
            records = Records.of(module, "health_gate")
            cleared = clear(module, records)
        except Failure as failure:
            module.fail_json(msg=failure.sentence, **{**result, **failure.result})
        for text in records.warnings:
            module.warn(text)
        result.update(cleared=cleared, changed=cleared)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
