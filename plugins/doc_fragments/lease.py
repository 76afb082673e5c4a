# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Mirrors LEASE_ARGUMENTS of plugins/module_utils/_release_records.py.
    DOCUMENTATION = r"""
options:
  wait_seconds:
    description: When the lease is taken, how long to wait for one that another run holds.
    type: float
    default: 0.0
  token_floor:
    description: The highest token that any host has met. A new token is higher.
    type: int
    default: 0
  preempt:
    description: When the lease is taken, whether to take it at once from any run that holds it.
    type: bool
    default: false
  dead_run:
    description: When the lease is taken, a run whose process is known to have ended. Its lease is taken at once.
    type: str
    default: ""
  controller:
    description:
      - When the lease is taken, identifies the controller's process, so that the next run can see that it ended.
    type: dict
    default: {}
"""
