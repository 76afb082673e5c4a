# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests import the runner's package as the hosts do."""

from __future__ import annotations

import sys
from pathlib import Path

FILES = str(Path(__file__).parents[4] / "roles" / "postgres_backup" / "files")
if FILES not in sys.path:
    sys.path.insert(0, FILES)
