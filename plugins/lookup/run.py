# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The id of the run: the same for every task and host of one ansible-playbook."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run
short_description: Return the identifier of the run
version_added: 0.1.0
description:
  - Returns one id that is the same for every task and host of a run, and of no other run.
options: {}
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Print the identifier of the run
  ansible.builtin.debug:
    msg: "{{ lookup('evenkeel.platform.run') }}"
"""

RETURN = r"""
_raw:
  description: The id.
  type: list
  elements: str
"""

import typing as t

from ansible.plugins.lookup import LookupBase

from ansible_collections.evenkeel.platform.plugins.module_utils import _controller


class LookupModule(LookupBase):
    """The id of the run."""

    def run(self, terms: list[str], variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        return [_controller.this()["run"] for _term in terms or [""]]
