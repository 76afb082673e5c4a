#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_logs
short_description: Read the logs of containers of an app
version_added: 0.1.0
description:
  - Returns the last lines of each container, in the order of their time. Values of secrets of the app are masked.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
options:
  app:
    description: Name of the app.
    type: str
    required: true
  containers:
    description: Names of the containers on this host. One that is gone meanwhile is left out.
    type: list
    elements: str
    required: true
  since:
    description: From when on, as a duration such as V(10m) or a time such as V(2026-11-30T10:15:00Z).
    type: str
    default: ""
  lines:
    description: How many lines of each container, at most.
    type: int
    default: 100
  base_dir:
    description: Folder of all stacks, which has the secrets to mask.
    type: path
    default: /opt/evenkeel/stacks
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.app_command
"""

EXAMPLES = r"""
- name: Read the last ten minutes of the API
  evenkeel.platform.app_logs:
    app: shop
    containers: [shop.green.api.1]
    since: 10m
"""

RETURN = r"""
lines:
  description: The lines with C(at), the time in UTC, C(container) and C(text).
  returned: always
  type: list
  elements: dict
  sample: [{"at": "2026-11-30T10:15:00.123456789Z", "container": "shop.green.api.1", "text": "GET /readyz 200"}]
missing:
  description: The containers that are not on this host.
  returned: always
  type: list
  elements: str
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_commands, _compose_release
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

ARGUMENT_SPEC: dict[str, t.Any] = {
    "app": {"type": "str", "required": True},
    "containers": {"type": "list", "elements": "str", "required": True},
    "since": {"type": "str", "default": ""},
    "lines": {"type": "int", "default": 100},
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
}
MODULE = "app_logs"


def read(module: AnsibleModule) -> dict[str, t.Any]:
    """Return the lines of every container, the oldest first."""
    params = module.params
    values = _app_commands.secret_values(params["app"], params["base_dir"])
    found: list[dict[str, str]] = []
    missing = []
    for name in params["containers"]:
        argv = ["docker", "logs", "--timestamps", "--tail", str(params["lines"])]
        argv += ["--since", params["since"]] if params["since"] else []
        rc, out, err = module.run_command([*argv, name], environ_update={"LC_ALL": "C"}, errors="surrogate_or_replace")
        if rc != 0:
            if "no such container" in err.lower():
                missing.append(name)
                continue
            said = _compose_release.mask((err.strip().splitlines() or ["no reason given"])[-1], values)
            remedy = "See 'systemctl status docker' there"
            raise Failure(sentence(MODULE, "logs", f"container {name}", said, "its lines", remedy))
        for line in (out + err).splitlines():
            at, _space, text = line.partition(" ")
            found.append({"at": at, "container": name, "text": _compose_release.mask(text, values)})
    return {"lines": sorted(found, key=lambda row: row["at"]), "missing": missing}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = read(module)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, lines=[], missing=[])
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
