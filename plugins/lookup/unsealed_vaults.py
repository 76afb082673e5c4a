# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookup of unencrypted vault files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: unsealed_vaults
author: The Evenkeel authors (@evenkeel)
version_added: 0.1.0
short_description: Find vault files of an inventory that are not encrypted
description:
  - Looks below C(group_vars) and C(host_vars) of each inventory for files named C(vault.yml) or C(vault.yaml).
  - Returns the paths of those that ansible-vault has not encrypted.
options:
  _terms:
    description: Inventory sources, as C(ansible_inventory_sources) holds them; a folder or a file in it.
    type: list
    elements: str
    required: true
  except_names:
    description: Names of inventory folders whose vaults may lie open.
    type: list
    elements: str
    default: []
seealso:
  - plugin: ansible.builtin.unvault
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Refuse an open vault
  ansible.builtin.assert:
    that: __unsealed | length == 0
  vars:
    __unsealed: "{{ query('evenkeel.platform.unsealed_vaults', *ansible_inventory_sources, except_names=['lab']) }}"
"""

RETURN = r"""
_raw:
  description: Paths of the vault files that are not encrypted, sorted.
  type: list
  elements: str
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

SEAL = b"$ANSIBLE_VAULT;"
NAMES = ("vault.yml", "vault.yaml")


def unsealed(sources: Iterable[str], except_names: Iterable[str]) -> list[str]:
    """Return the vault files below the inventory sources that are not encrypted."""
    spared = set(except_names)
    found: set[Path] = set()
    for source in sources:
        path = Path(source).expanduser()
        folder = path if path.is_dir() else path.parent
        # A list of hosts such as "edge1," is not a path.
        if "," in source or not folder.is_dir() or folder.resolve().name in spared:
            continue
        for room in ("group_vars", "host_vars"):
            for name in NAMES:
                found.update(vault for vault in (folder / room).rglob(name) if _is_open(vault))
    return sorted(str(vault) for vault in found)


def _is_open(vault: Path) -> bool:
    with vault.open("rb") as opened:
        return opened.read(len(SEAL)) != SEAL


class LookupModule(LookupBase):
    """Unencrypted vault files."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        return unsealed([str(term) for term in terms], self.get_option("except_names"))
