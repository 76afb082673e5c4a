#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: host_programs
short_description: Install programs on a host with the library they share with the modules
version_added: 0.1.0
description:
  - Writes each program, and the files of the collection's library that the programs import. So a program of a host
    decides by the same code as the modules.
extends_documentation_fragment:
  - evenkeel.platform.attributes
options:
  programs:
    description: The programs.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file below O(base).
        type: str
        required: true
      content:
        description: Its content.
        type: str
        required: true
      mode:
        description: Its mode.
        type: str
        default: "0755"
  base:
    description: The folder of the programs. The library is installed in C(lib) below it.
    type: path
    default: /usr/local/lib/evenkeel
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Install edge-sync
  evenkeel.platform.host_programs:
    programs:
      - name: edge-sync
        content: "{{ lookup('ansible.builtin.file', 'edge-sync') }}"
"""

RETURN = r"""
actions:
  description: What was written, or would be.
  returned: always
  type: list
  elements: str
  sample: [wrote /usr/local/lib/evenkeel/edge-sync]
"""

import importlib
import re
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Named here so that they travel with the module; what they import comes along.
from ansible_collections.evenkeel.platform.plugins.module_utils import (  # noqa: F401
    _adapter,
    _clock,
    _edge,
    _edges,
    _file,
    _haproxy,
    _held,
    _holder,
    _protocol,
    _state,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

ARGUMENT_SPEC: dict[str, t.Any] = {
    "programs": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0755"},
        },
    },
    "base": {"type": "path", "default": "/usr/local/lib/evenkeel"},
}
PACKAGE = "ansible_collections.evenkeel.platform.plugins.module_utils"
# The parts of a package's path that are packages themselves. With an empty __init__.py each of them is found before
# another installation of the collection on the host.
FOLDERS = [PACKAGE.rsplit(".", depth)[0] for depth in range(4, 0, -1)] + [PACKAGE]
_IMPORT = re.compile(rf"^from {re.escape(PACKAGE)}(?:\.(\w+))? import (\([^)]*\)|.*)$", re.MULTILINE)


def imported(source: str) -> set[str]:
    """Return the names of the library's modules that a source imports."""
    found: set[str] = set()
    for one, names in _IMPORT.findall(source):
        text = re.sub(r"#.*", "", names).strip("()")
        found |= {one} if one else {name.split()[0] for name in text.split(",") if name.strip()}
    return found


def library(contents: t.Iterable[str]) -> dict[str, str]:
    """Return the sources of all modules that the programs need, by name."""
    result: dict[str, str] = {}
    open_names = {name for content in contents for name in imported(content)}
    while open_names:
        name = open_names.pop()
        loader = importlib.import_module(f"{PACKAGE}.{name}").__loader__
        result[name] = t.cast(t.Any, loader).get_source(f"{PACKAGE}.{name}")
        open_names |= imported(result[name]) - set(result)
    return result


def files(programs: t.Sequence[dict[str, t.Any]], folder: str) -> dict[Path, tuple[str, int]]:
    """Return content and mode of every file, the library first."""
    lib = Path(folder, "lib")
    result = {lib.joinpath(*name.split("."), "__init__.py"): ("", 0o644) for name in FOLDERS}
    for name, source in sorted(library(each["content"] for each in programs).items()):
        result[lib.joinpath(*PACKAGE.split("."), f"{name}.py")] = (source, 0o644)
    for each in programs:
        content = each["content"]
        result[Path(folder, each["name"])] = (
            content if content.endswith("\n") else content + "\n",
            int(each["mode"], 8),
        )
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    actions: list[str] = []
    diff: list[dict[str, str]] = []
    try:
        for path, (content, mode) in files(module.params["programs"], module.params["base"]).items():
            before = _file.read_text(str(path))
            if before == content and path.stat().st_mode & 0o7777 == mode:
                continue
            actions.append(f"wrote {path}")
            headers = {"before_header": str(path), "after_header": str(path)}
            diff.append({**headers, "before": before or "", "after": content})
            if not module.check_mode:
                _file.ensure_folder(str(path.parent), 0o755)
                _file.write_atomic(str(path), content, mode)
    except (Failure, OSError) as failure:
        module.fail_json(msg=f"host_programs: {failure}", actions=actions)
    module.exit_json(changed=bool(actions), actions=actions, diff=diff)


if __name__ == "__main__":
    main()
