#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_archive
short_description: Archive the records of an app on one host
version_added: 0.1.0
description:
  - Moves the records of an app to C(.removed/<app>-<run>) below O(state_dir), or deletes them.
  - If the records are archived, C(pair.json) stays in place, so that an older run that was paused during the uninstall
    is refused when it continues.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
options:
  token:
    description: The token of the run. A lower one than the highest that the host has met is refused.
    type: int
    required: true
  run:
    description: The run, part of the name of the folder.
    type: str
    required: true
  keep:
    description: Whether the records are archived in C(.removed) instead of deleted.
    type: bool
    default: true
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Archive the records of the app
  evenkeel.platform.release_archive:
    app: shop
    token: 43
    run: 20261130T101500Z-00af3e
"""

RETURN = r"""
archive:
  description: The folder of the archived records, empty if there were none or they were deleted.
  returned: always
  type: str
  sample: /var/lib/evenkeel/.removed/shop-20261130T101500Z-00af3e
"""

import shutil
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _pair
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    "token": {"type": "int", "required": True, "no_log": False},
    "run": {"type": "str", "required": True},
    "keep": {"type": "bool", "default": True},
}
STAYS = "pair.json"


def archive(records: Records, pair: Pair, keep: bool) -> tuple[bool, str]:
    """Put the folder of the app away under its lock; return whether that changed anything, and where it is now."""
    folder = Path(records.folder)
    target = Path(records.state_dir, ".removed", f"{records.app}-{pair.run}")
    there = [path for path in folder.glob("*") if path.name != STAYS] if folder.is_dir() else []
    there += [path for path in folder.glob(".*") if folder.is_dir()]
    gone = there or (not keep and folder.is_dir())
    if records.check_mode or not gone:
        return bool(gone), str(target) if keep and gone else ""
    if keep:
        _file.ensure_folder(str(target.parent))
        shutil.copytree(folder, target, symlinks=True, dirs_exist_ok=True)
        _file.fsync_folder(str(target.parent))
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return True, str(target)
    shutil.rmtree(folder)
    return True, ""


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        records = Records.of(module, "release_archive")
        pair = Pair(module.params["token"], module.params["run"])
        known = Path(records.folder).is_dir()
        if known and not module.check_mode:
            _pair.raise_to(records, pair)
        with records.locked():
            changed, place = archive(records, pair, module.params["keep"]) if known else (False, "")
    except Failure as failure:
        module.fail_json(msg=failure.sentence, archive="", **failure.result)
    for text in records.warnings:
        module.warn(text)
    module.exit_json(
        changed=changed, archive=place, diff={"before": {}, "after": {"archive": place} if changed else {}}
    )


if __name__ == "__main__":
    main()
