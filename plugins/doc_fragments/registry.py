# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


# Options that are in several fragments are written out in each: ansible-test reads constants only.
class ModuleDocFragment:
    # Mirrors FOLDER_ARGUMENTS of plugins/module_utils/_registry.py.
    DOCUMENTATION = r"""
options:
  config_dir:
    description: Folder of Docker's C(config.json), which holds the logins.
    type: path
    default: ~/.docker
  certificates_dir:
    description: Folder in which the engine looks for certificates of registries.
    type: path
    default: /etc/docker/certs.d
"""

    # For one registry.
    LOGIN = r"""
options:
  host:
    description: The registry, with its port.
    type: str
    required: true
  user:
    description: The user. Without one there is no login.
    type: str
  password:
    description: The password or token.
    type: str
  ca:
    description: Certificate of the registry's authority in PEM, if the host does not trust it.
    type: str
"""

    # For a list of registries.
    LOGINS = r"""
options:
  registries:
    description: Registries that need a login or have a certificate of a private authority.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: The registry, with its port.
        type: str
        required: true
      user:
        description: The user. Without one there is no login.
        type: str
      password:
        description: The password or token.
        type: str
      ca:
        description: Certificate of the registry's authority in PEM, if the host does not trust it.
        type: str
"""
