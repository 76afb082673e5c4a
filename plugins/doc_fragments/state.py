# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


# Options that are in several fragments are written out in each: ansible-test reads constants only.
class ModuleDocFragment:
    # Mirrors FOLDER_ARGUMENTS of plugins/module_utils/_state.py.
    FOLDERS = r"""
options:
  state_dir:
    description: Folder that holds one folder of records for each app.
    type: path
    default: /var/lib/evenkeel
  lock_dir:
    description: Folder of the lock files.
    type: path
    default: /run/lock
"""

    # Mirrors STATE_ARGUMENTS of the same file.
    DOCUMENTATION = r"""
options:
  state_dir:
    description: Folder that holds one folder of records for each app.
    type: path
    default: /var/lib/evenkeel
  lock_dir:
    description: Folder of the lock files.
    type: path
    default: /run/lock

  app:
    description:
      - Name of the app as in C(app_deploy_apps).
      - A lower case letter, then at most 30 of a-z, 0-9 and C(-).
    type: str
    required: true
  lock_seconds:
    description: How long to wait for a lock that another process holds.
    type: float
    default: 30.0
"""
