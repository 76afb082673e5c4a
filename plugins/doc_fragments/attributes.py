# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # For modules that change something.
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in check mode and report what it would change, without changing anything.
    support: full
  diff_mode:
    description: Shows what is changed, before and after, in diff mode.
    support: full
  idempotent:
    description: Running it again with the same options changes nothing.
    support: full
"""

    # For modules that only read.
    INFO = r"""
attributes:
  check_mode:
    description: Can run in check mode and report what it would change, without changing anything.
    support: full
    details: [This module only reads.]
  diff_mode:
    description: Shows what is changed, before and after, in diff mode.
    support: N/A
    details: [This module only reads.]
  idempotent:
    description: Running it again with the same options changes nothing.
    support: full
    details: [This module only reads.]
"""
