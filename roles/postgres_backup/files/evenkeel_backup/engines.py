# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select the engine of an instance."""

from __future__ import annotations

from evenkeel_backup.engine import Engine
from evenkeel_backup.folders import Folders
from evenkeel_backup.job import Job
from evenkeel_backup.logical import Logical
from evenkeel_backup.physical import Physical

ENGINES: dict[str, type[Engine]] = {"logical": Logical, "physical": Physical, "files": Folders}


def engine_of(job: Job) -> Engine:
    """Return the engine that the configuration names."""
    return ENGINES[job.config.engine](job)
