#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_programs
short_description: Install Evenkeel's programs and their library on a host
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes the programs, and below C(lib) the module utilities that are sent with this module, so that a timer on the
    host and a module decide by the same code.
  - A program begins with C(sys.path.insert(0, "/usr/local/lib/evenkeel/lib")).
extends_documentation_fragment:
  - evenkeel.platform.attributes
attributes:
  diff_mode:
    details: [Names the files that change, without their content.]
options:
  programs:
    description: The programs.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: File name below O(base).
        type: str
        required: true
      content:
        description: Its text. Not needed with O(state=absent).
        type: str
      mode:
        description: Its permissions, as four octal digits in quotes.
        type: str
        default: "0755"
  base:
    description: Folder of the programs.
    type: path
    default: /usr/local/lib/evenkeel
  state:
    description: V(absent) removes the programs, and the library once no other program of the folder uses it.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Install the retire program
  evenkeel.platform.host_programs:
    programs:
      - name: evenkeel-retire
        content: "{{ lookup('ansible.builtin.file', 'evenkeel-retire') }}"
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["created /usr/local/lib/evenkeel/evenkeel-retire"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

# What programs use is named here, so that Ansible sends it along; what those import in turn comes by itself.
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _adapter,
    _clock,
    _compose_engine,
    _edge,
    _edge_servers,
    _edge_state,
    _edge_store,
    _edges,
    _host_files,
    _pair,
    _programs,
    _protocol,
    _retire,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

CARRIED = (
    *(_adapter, _clock, _compose_engine, _edge, _edges, _edge_servers, _edge_state, _edge_store),
    *(_pair, _protocol, _retire),
)
ARGUMENT_SPEC: dict[str, t.Any] = {
    "programs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "content": {"type": "str"},
            "mode": {"type": "str", "default": "0755"},
        },
    },
    "base": {"type": "path", "default": "/usr/local/lib/evenkeel"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    base, programs = module.params["base"], module.params["programs"]
    try:
        _programs.check(programs, module.params["state"])
        if module.params["state"] == "present":
            wanted = _programs.wanted(programs, _programs.library())
        else:
            wanted = _programs.left(base, programs)
        entries = _programs.entries(base, wanted)
        changes = _host_files.compare(entries, _programs.surplus(base, wanted, programs))
        if not module.check_mode:
            _host_files.apply(entries, changes)
            _programs.clear(base, wanted)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{"actions": [], **failure.result})
    module.exit_json(changed=bool(changes), actions=_programs.actions(base, changes), diff=_programs.diff(changes))


if __name__ == "__main__":
    main()
