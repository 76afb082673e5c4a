# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
author: The Evenkeel authors (@evenkeel)
version_added: 0.1.0
short_description: Run the checks of all roles for all hosts
description:
  - Reads the options of all roles as each host of the play sees them, checks them against the roles' argument specs,
    against each other and against the facts of the hosts, and fails once with all problems, one sentence each.
  - Runs on the controller and changes nothing. Use it with C(run_once).
  - Registered as C(__preflight), its RV(checked) makes the roles of the same run skip what was asked already.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
options:
  facts:
    description: Name of the variable in which each host has the result of M(evenkeel.platform.preflight_facts).
    type: str
    default: __preflight_facts
  roles:
    description: Roles to check; all that run on the hosts of the play when empty.
    type: list
    elements: str
    default: []
  groups:
    description:
      - Groups that the play is for. An inventory in which one of them has no host is refused; to Ansible itself that is
        a success. Without any group, an inventory without hosts is refused.
      - A play asks this where its C(hosts) falls back to C(localhost), as those of the collection do.
    type: list
    elements: str
    default: []
  out:
    description: Edges that are declared out and need not answer.
    type: list
    elements: str
    default: []
  scope:
    description:
      - V(full) asks everything.
      - V(hosts) only refuses a C(--limit) that leaves out an edge, an app host or the record host, in any play,
        and an edge that is declared out and is none.
      - V(inventory) asks neither.
      - Whichever the scope, an inventory without hosts and a misspelt or wrong short option after C(-e) are refused.
    type: str
    choices: [full, hosts, inventory]
    default: full
seealso:
  - module: evenkeel.platform.preflight_facts
"""

EXAMPLES = r"""
- name: Check everything that the run needs
  evenkeel.platform.preflight: {}
  register: __preflight
  run_once: true

- name: Refuse a limit that would leave edges and hosts on different releases
  evenkeel.platform.preflight:
    scope: hosts
  run_once: true
"""

RETURN = r"""
passed:
  description: Whether nothing was found.
  returned: always
  type: bool
  sample: true
checked:
  description: Roles whose own preflight has nothing left to ask; none when something was found.
  returned: always
  type: list
  elements: str
  sample: [docker_host, edge]
problems:
  description: One sentence for each problem.
  returned: always
  type: list
  elements: str
  sample:
    - >-
      preflight: port 80 of host edge1: found nginx (pid 812) listening on it, need it free for the edge
      (edge_http_port). Stop nginx, or move ours: Set edge_http_port.
later:
  description: What only a program can tell that a host does not have yet; it is asked once that is installed.
  returned: always
  type: list
  elements: str
  sample: ["configuration of the edge on edge1: haproxy -c, once HAProxy is installed"]
"""

from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC = {
    "facts": {"type": "str", "default": "__preflight_facts"},
    "roles": {"type": "list", "elements": "str", "default": []},
    "groups": {"type": "list", "elements": "str", "default": []},
    "out": {"type": "list", "elements": "str", "default": []},
    "scope": {"type": "str", "choices": ["full", "hosts", "inventory"], "default": "full"},
}


def main() -> None:
    """Refuse to run on a host: plugins/action/preflight.py has the variables of all of them."""
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)
    module.fail_json(
        msg="preflight: place of the checks: found a host, need the controller. Call it as evenkeel.platform.preflight."
    )


if __name__ == "__main__":
    main()
