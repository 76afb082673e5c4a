# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb acknowledge: a person says once that a database was dropped on purpose.

Until then a backup without it is not good, because a database that vanished may be the loss that backups are for.
"""

from __future__ import annotations

from collections.abc import Mapping

from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job, parse
from evenkeel_backup.logical import archive_of
from evenkeel_backup.manifest import Manifest, stamp
from evenkeel_backup.outcome import Outcome
from evenkeel_backup.state import now


def run(job: Job, outcome: Outcome, names: list[str]) -> None:
    """Record the names; refuse one that no backup holds, and one that the server still has."""
    known = {entry["name"] for made in job.state.backups() for entry in made.get("databases", [])}
    for name in names:
        if name not in known:
            raise _refusal(name, "no backup with it", f"one of {', '.join(sorted(known)) or 'none'}", "Correct --gone")
    with job.server() as server:
        present = set(server.ask("select coalesce(json_agg(datname), '[]') from pg_database"))
    for name in names:
        if name in present:
            raise _refusal(name, "the database on the server", "a dropped one", "Drop it first, or leave --gone out")
        if name in job.config["databases"]:
            found, need = "it in the option databases", "it in neither"
            raise _refusal(name, found, need, "Remove it from databases of the role postgres_backup")
    noted = job.state.gone()
    new = [name for name in names if not _after_its_backups(job, name, noted)]
    if new:
        job.state.write_gone({**noted, **dict.fromkeys(new, stamp(now()))})
        outcome.changed = True
        job.actions.append(f"accepted that {', '.join(new)} was dropped on purpose")
    outcome.more["gone"] = job.state.gone()


def _after_its_backups(job: Job, name: str, noted: Mapping[str, str]) -> bool:
    """Return whether it was said after the newest backup with the database."""
    having = [made for made in job.state.backups() if any(one["name"] == name for one in made.get("databases", []))]
    return name in noted and all(parse(made["started_at"]) <= parse(noted[name]) for made in having)


def _refusal(name: str, found: str, need: str, remedy: str) -> BackupFailure:
    return BackupFailure("target_unknown", "the database is not gone", name, found, need, remedy, "server")


def accepted(good: Manifest | None, made: Manifest, gone: Mapping[str, str]) -> Manifest | None:
    """Return the newest good backup as the measure of a new one, without the databases that were dropped since. Pure.

    A database that was created again and backed up after it was said to be gone counts again.
    """
    if good is None or not gone:
        return good
    here = {entry["name"] for entry in made.get("databases", [])}
    dropped = [
        entry
        for entry in good.get("databases", [])
        if entry["name"] not in here
        and entry["name"] in gone
        and parse(gone[entry["name"]]) >= parse(good["started_at"])
    ]
    if not dropped:
        return good
    left = [entry for entry in good["databases"] if entry not in dropped]
    return {**good, "databases": left, "bytes": max(0, good["bytes"] - sum(_bytes(good, entry) for entry in dropped))}


def _bytes(good: Manifest, entry: Mapping[str, object]) -> int:
    """Return the share of a database in the size of a backup: its files, or with pgBackRest its size on the server."""
    prefix = archive_of(str(entry["name"])) + "/"
    own = [file["bytes"] for name, file in good.get("files", {}).items() if name.startswith(prefix)]
    return sum(own) if own else int(str(entry.get("bytes", 0)))
