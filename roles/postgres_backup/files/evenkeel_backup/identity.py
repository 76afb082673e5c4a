# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the server is the one of the existing backups; a new, empty server may be a data loss.

A server is identified by the system identifier that initdb gave its data (pg_control_system), which replicas and
restored data folders share.
"""

from __future__ import annotations

import contextlib

from evenkeel_backup.engine import Engine
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job


def known(job: Job, engine: Engine) -> str:
    """Return the server of the backups: from the state, the newest backup, or the repositories."""
    noted = job.state.server()
    if noted:
        return noted
    entries = job.state.backups()
    for repository in job.config.repositories if not entries else ():
        with contextlib.suppress(BackupFailure):
            entries += engine.catalogue(repository, None)
    newest = max(entries, key=lambda entry: entry["sequence"], default={})
    return str(newest.get("server", {}).get("system", ""))


def refusal(job: Job, before: str, here: str) -> BackupFailure:
    """Return the refusal of a server whose data is not that of the backups."""
    name = job.config.instance
    return BackupFailure(
        "other_server",
        "the backups are those of a server with other data",
        name,
        f"the system identifier {here}",
        before,
        "If that data is wanted, restore it first. "
        f"To back this server up from now on, set postgres_backup_new_servers to [{name}] for one run",
        "server",
    )


def check(job: Job, engine: Engine, *, new_server: bool = False) -> bool:
    """Refuse another server than the known one, or accept a new one; return whether it is new."""
    here = engine.system()
    before = known(job, engine)
    if before and before != here and not new_server:
        raise refusal(job, before, here)
    if here and job.state.server() != here:
        job.state.write_server(here)
    return before not in {"", here}
