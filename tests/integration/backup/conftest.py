# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary folder for each test file."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import backup_rig


@pytest.fixture(scope="module")
def folder() -> t.Iterator[Path]:
    with backup_rig.scratch() as path:
        yield path
