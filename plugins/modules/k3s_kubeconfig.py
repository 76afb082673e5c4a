#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_kubeconfig
short_description: Add a k3s cluster to a user's kubeconfig file, or remove it
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes the cluster, user and context named O(name). All other entries stay as they are; comments are lost, as with
    C(kubectl config).
  - Refuses to replace an entry of the same name that is for another cluster.
  - Runs on the controller, with PyYAML.
extends_documentation_fragment:
  - evenkeel.platform.attributes
attributes:
  diff_mode:
    details: [Shows the names of the contexts, because the file holds keys.]
options:
  path:
    description: The kubeconfig file. It is created with mode 0600 if it is missing.
    type: path
    required: true
  name:
    description: Name of the cluster, its user and its context.
    type: str
    required: true
  server:
    description: URL of the API.
    type: str
    required: true
  source:
    description: Content of C(/etc/rancher/k3s/k3s.yaml) of a server. Required with O(state=present).
    type: str
  state:
    description: Whether the entry is there.
    type: str
    choices: [present, absent]
    default: present
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Add the cluster to the kubeconfig file
  evenkeel.platform.k3s_kubeconfig:
    path: ~/.kube/config
    name: prod
    server: https://192.0.2.11:6443
    source: "{{ __kubeconfig.content | b64decode }}"
  delegate_to: localhost
"""

RETURN = r"""
context:
  description: Name of the context.
  returned: always
  type: str
  sample: prod
"""

import traceback
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _kubeconfig

try:
    import yaml
except ImportError:
    HAS_YAML, YAML_ERROR = False, traceback.format_exc()
else:
    HAS_YAML, YAML_ERROR = True, ""

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "server": {"type": "str", "required": True},
    "source": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ["source"])],
    )
    if not HAS_YAML:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    path, name, server = (module.params[key] for key in ("path", "name", "server"))
    present = module.params["state"] == "present"
    text = _file.read_text(path)
    wanted: dict[str, t.Any] = {}
    try:
        before = yaml.safe_load(text or "") or {}
        if not isinstance(before, dict):
            raise ValueError("no mapping")
        if present:
            wanted = _kubeconfig.entry(yaml.safe_load(module.params["source"]) or {}, name, server)
    except (yaml.YAMLError, ValueError) as exc:
        # A message of PyYAML quotes the line, which may be a key.
        reason = "no YAML" if isinstance(exc, yaml.YAMLError) else str(exc)
        module.fail_json(
            msg=f"k3s_kubeconfig: kubeconfig {path}: found {reason}, need a kubeconfig file. "
            "Mend the file, or set k3s_cluster_kubeconfig to another."
        )
    authority = str((wanted.get("clusters") or {}).get("certificate-authority-data") or "")
    other = _kubeconfig.foreign(before, name, server, authority)
    if other and present:
        module.fail_json(
            msg=f"k3s_kubeconfig: entry {name} of {path}: found the cluster at {other}, need none or the one at "
            f"{server}. Set k3s_cluster_name, or remove the entry with kubectl config delete-cluster {name}."
        )
    if present:
        after = _kubeconfig.merged(before, name, wanted)
    else:
        after = before if other else _kubeconfig.without(before, name)
    mode = Path(path).stat().st_mode & 0o777 if text is not None else 0o600
    changed = after != before or (present and mode & 0o077 != 0)
    if changed and not module.check_mode:
        _file.write_atomic(path, yaml.safe_dump(after, sort_keys=False, default_flow_style=False), 0o600)
    names = [_kubeconfig.names(one) for one in (before, after)]
    module.exit_json(
        changed=changed,
        context=name,
        diff={"before": "".join(f"{one}\n" for one in names[0]), "after": "".join(f"{one}\n" for one in names[1])},
    )


if __name__ == "__main__":
    main()
