#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_node
short_description: Configure and run one node of a k3s cluster
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes the configuration and the systemd unit of a node, starts it, or restarts it if it was started with something
    else, and waits until the node is ready with its own kubelet, API and etcd.
  - A server of several is restarted only while the others have a quorum without it.
  - A node that does not get ready is described in one sentence, such as a refused token, a closed port or a clock that
    is wrong. What waiting cannot change ends the wait at once.
  - Refuses keys that C(k3s server --help) or C(k3s agent --help) does not list, which k3s itself ignores.
extends_documentation_fragment:
  - evenkeel.platform.attributes
attributes:
  check_mode:
    details: [The keys are checked once the program is on the host.]
options:
  role:
    description: What the node is.
    type: str
    choices: [server, agent]
    required: true
  name:
    description: Name of the node.
    type: str
    required: true
  version:
    description: Version of k3s, as C(k3s --version) prints it.
    type: str
    required: true
  binary:
    description: The program.
    type: path
    default: /usr/local/bin/k3s
  unit:
    description: Text of the systemd unit.
    type: str
    required: true
  files:
    description: Configuration files without secrets.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is written.
        type: path
        required: true
      content:
        description: Its text.
        type: str
        required: true
      mode:
        description: Its permissions, in octal digits.
        type: str
        default: "0600"
  join:
    description:
      - Keys of the configuration that matter at the first start of a server alone, such as C(cluster-init).
      - Once written they stay, unless a server with SQLite turns to etcd.
    type: dict
    default: {}
  server:
    description: URL of the server that is joined. It has to answer before the node is started.
    type: str
    default: ""
  servers:
    description: How many servers the cluster has.
    type: int
    default: 1
  keys:
    description: The keys of the configuration, which the program has to know.
    type: list
    elements: str
    default: []
  watched:
    description: Files with secrets that others write; the node is restarted if one of them changes.
    type: list
    elements: path
    default: []
  kernel:
    description: Kernel settings that the node needs.
    type: dict
    default: {}
  connect_seconds:
    description: Seconds in which O(server) has to answer.
    type: int
    default: 15
  ready_seconds:
    description: Seconds in which the node has to get ready.
    type: int
    default: 300
  quorum_seconds:
    description: Seconds to wait until the other servers have a quorum.
    type: int
    default: 120
  journal_lines:
    description: Lines of the log in RV(journal).
    type: int
    default: 20
seealso:
  - module: evenkeel.platform.k3s_removal
"""

EXAMPLES = r"""
- name: Run the node
  evenkeel.platform.k3s_node:
    role: agent
    name: worker1
    version: v1.36.2+k3s1
    server: https://192.0.2.11:6443
    unit: "{{ lookup('ansible.builtin.template', 'k3s.service.j2') }}"
    files:
      - path: /etc/rancher/k3s/config.yaml
        content: "{{ __config | to_nice_yaml }}"
    watched: [/etc/rancher/k3s/agent-token]
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["wrote /etc/rancher/k3s/config.yaml", "restarted k3s.service"]
ready_seconds:
  description: Seconds from the start until the node was ready, 0 if it was not started.
  returned: always
  type: float
  sample: 14.2
journal:
  description: The last lines of the log.
  returned: when the node did not get ready
  type: list
  elements: str
  sample: ["level=fatal msg=\"token is invalid\""]
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _k3s_node
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

ARGUMENT_SPEC: dict[str, t.Any] = {
    "role": {"type": "str", "choices": ["server", "agent"], "required": True},
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "binary": {"type": "path", "default": "/usr/local/bin/k3s"},
    "unit": {"type": "str", "required": True},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0600"},
        },
    },
    "join": {"type": "dict", "default": {}},
    "server": {"type": "str", "default": ""},
    "servers": {"type": "int", "default": 1},
    "keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "watched": {"type": "list", "elements": "path", "default": []},
    "kernel": {"type": "dict", "default": {}},
    "connect_seconds": {"type": "int", "default": 15},
    "ready_seconds": {"type": "int", "default": 300},
    "quorum_seconds": {"type": "int", "default": 120},
    "journal_lines": {"type": "int", "default": 20},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)

    def run(argv: list[str]) -> tuple[int, str, str]:
        try:
            return module.run_command(argv, handle_exceptions=False, environ_update={"LC_ALL": "C"})
        except OSError as exc:
            return 127, "", str(exc)

    node = _k3s_node.Node(module.params, run, module.warn)
    wanted = node.wanted()
    present = node.present(wanted)
    fingerprint = node.fingerprint(wanted)
    unit, record = node.unit_state(), node.record()
    change = _k3s_node.plan(wanted, present, node.kernel(), unit, record.get("started") or {}, fingerprint)
    diff = [
        {
            "before_header": path,
            "after_header": path,
            "before": present.get(path, ("", 0))[0],
            "after": wanted.get(path, ("", 0))[0],
        }
        for path in (*change.write, *change.remove)
    ]
    result: dict[str, t.Any] = {"actions": change.actions(node.unit), "ready_seconds": 0.0}
    try:
        if change and not module.check_mode:
            if change.restart:
                node.check_program()
                if unit["active"]:
                    if module.params["role"] == "server":
                        node.wait_for_quorum()
                else:
                    node.check_server()
            node.apply(change, wanted)
            if change.restart:
                # From here on a killed run is taken up by the next one.
                node.write_record({})
                began = time.monotonic()
                node.start(unit["active"] or unit["activating"])
                result["ready_seconds"] = round(time.monotonic() - began, 1)
                # The first start may have made files that count, such as the datastore.
                fingerprint = node.fingerprint(wanted)
        if not module.check_mode and (change or not record):
            node.write_record(fingerprint)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{**result, **failure.result})
    module.exit_json(changed=bool(change), diff=diff, **result)


if __name__ == "__main__":
    main()
