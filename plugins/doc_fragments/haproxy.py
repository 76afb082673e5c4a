# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # Mirrors ADAPTER_ARGUMENTS of plugins/module_utils/_adapter.py.
    DOCUMENTATION = r"""
options:
  adapter:
    description: The kind of proxy that serves the app.
    type: str
    choices: [haproxy]
    default: haproxy
  adapter_options:
    description:
      - Settings of the adapter.
      - For V(haproxy), C(master_socket) is the path of the master socket
        (default C(/run/haproxy-master.sock)) and C(timeout_seconds) how long one answer may take
        (default 5).
    type: dict
    default: {}
"""
