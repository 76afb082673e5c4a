#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_files
short_description: Write a role's folders and files on a host in one call
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Creates folders, writes files and removes files. A loop over M(ansible.builtin.copy) takes several calls to the host
    for each file; this module takes one for all of them.
  - A file is replaced in one step, so that a crash leaves the old or the new one, whole. Missing parents of a path are
    created with mode 0755; existing ones stay as they are.
  - A link in the place of a file is replaced. One in the place of a folder is followed where the caller or root owns
    it, for example to a disk of its own, and refused otherwise.
  - A failure in the middle reports in RV(actions) what was done before it.
extends_documentation_fragment:
  - evenkeel.platform.attributes
attributes:
  diff_mode:
    details: [The content of a file with RV(ignore:secret_content) is not shown.]
options:
  folders:
    description: The folders.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      mode:
        description: Its permissions, as four octal digits in quotes.
        type: str
        default: "0755"
      owner:
        description: Its user.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
  files:
    description: The files.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      content:
        description: Its text, to the last newline.
        type: str
      secret_content:
        description: Its text, which is neither shown nor logged.
        type: str
      keep:
        description: Leave a file that is there as it is.
        type: bool
        default: false
      mode:
        description: Its permissions, as four octal digits in quotes.
        type: str
        default: "0644"
      owner:
        description: Its user.
        type: str
        default: root
      group:
        description: Its group.
        type: str
        default: root
  absent:
    description: Files that are removed.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Write the units of the backup
  evenkeel.platform.host_files:
    folders:
      - {path: /etc/evenkeel/backup, mode: "0711"}
    files:
      - path: /etc/systemd/system/evenkeel-backup-shop-full.timer
        content: "{{ lookup('ansible.builtin.template', 'evenkeel-backup.timer.j2') }}"
      - path: /etc/evenkeel/backup/shop.key
        secret_content: "{{ vault_backup_key }}\n"
        mode: "0400"
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["created /etc/evenkeel/backup", "wrote /etc/evenkeel/backup/shop.key"]
paths:
  description: The paths that changed, or would in check mode.
  returned: always
  type: list
  elements: str
  sample: ["/etc/evenkeel/backup", "/etc/evenkeel/backup/shop.key"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _host_files
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure


def _spec(mode: str) -> dict[str, t.Any]:
    return {
        "path": {"type": "str", "required": True},
        "mode": {"type": "str", "default": mode},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }


FILE: dict[str, t.Any] = {
    **_spec("0644"),
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
    "keep": {"type": "bool", "default": False},
}
ARGUMENT_SPEC: dict[str, t.Any] = {
    "folders": {"type": "list", "elements": "dict", "default": [], "options": _spec("0755")},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": FILE,
        "mutually_exclusive": [("content", "secret_content")],
        "required_one_of": [("content", "secret_content")],
    },
    "absent": {"type": "list", "elements": "str", "default": []},
}


class HostFiles(AnsibleModule):
    """A module that logs nothing: an invocation is logged with its options, here the content of files."""

    def log(self, msg: str, log_args: dict[str, str] | None = None) -> None:
        """Do nothing."""


def main() -> None:
    module = HostFiles(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        wanted = _host_files.entries(module.params["folders"], module.params["files"], module.params["absent"])
        changes = _host_files.compare(wanted, module.params["absent"])
        if not module.check_mode:
            _host_files.apply(wanted, changes)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{"actions": [], "paths": [], **failure.result})
    module.exit_json(
        changed=bool(changes),
        actions=_host_files.actions(changes),
        paths=[change.path for change in changes],
        diff=_host_files.diff(changes),
    )


if __name__ == "__main__":
    main()
