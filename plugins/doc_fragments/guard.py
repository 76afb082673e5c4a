# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


# Options that are in several fragments are written out in each: ansible-test reads constants only.
class ModuleDocFragment:
    # Mirrors GUARD_ARGUMENTS of plugins/module_utils/_guard.py, whose folders are in state.folders.
    DOCUMENTATION = r"""
options:
  guard:
    description:
      - The run that acts, and what every edge has to show. Both are checked under the lock of the app on this host,
        the run again before each call to the engine, the edges again right before each call that changes something.
      - Left out for a stack that is not part of an app; then nothing is checked.
    type: dict
    suboptions:
      app:
        description: Name of the app.
        type: str
        required: true
      token:
        description: The token that the run was given with its lease.
        type: int
        required: true
      run:
        description: The id of the run.
        type: str
        required: true
      move:
        description: The move of the live entry that the act was planned for.
        type: int
        default: 0
      colour:
        description:
          - The colour that the act touches. Every edge must show it withdrawn at O(guard.move).
          - Without it every edge must be at O(guard.move).
        type: str
        choices: [blue, green]
      edges:
        description: The edges to query.

        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the edge.
            type: str
            required: true
          url:
            description: Its status address for the app, as V(http://192.0.2.10:8405/live/shop).
            type: str
            required: true

      ask:
        description:
          - Whether to query the edges. V(false) is for an uninstall, when the edges no longer know the app. Token and
            run are still checked.
        type: bool
        default: true
      lock_seconds:
        description: How long to wait for another act on the app's containers on this host.
        type: float
        default: 600.0
"""

    # For a module that is told the other edges.
    PEERS = r"""
options:
  peers:
    description: The other edges.

    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the edge.
        type: str
        required: true
      url:
        description: Its status address for the app, as V(http://192.0.2.10:8405/live/shop).
        type: str
        required: true
"""
