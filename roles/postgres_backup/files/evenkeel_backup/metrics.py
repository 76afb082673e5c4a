# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics for the node exporter's textfile collector: age, proof, recovery point, archive; never a secret."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evenkeel_backup import canary, disk, escrow, journal, replicas, wal
from evenkeel_backup.database import Server
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job, parse
from evenkeel_backup.manifest import Manifest, stamp
from evenkeel_backup.outcome import Outcome
from evenkeel_backup.state import copy_of, level_of, now

HELP = {
    "backup_last_success_timestamp_seconds": "End of the newest backup that is stored and was read back (L2)",
    "backup_last_attempt_timestamp_seconds": "End of the newest backup run, whatever came of it",
    "backup_age_limit_seconds": "How old the newest good backup may be",
    "backup_bytes": "Size of the newest backup",
    "backup_previous_bytes": "Size of the good backup before it",
    "backup_seconds": "How long the newest backup took",
    "backup_proof_level": "Step of the ladder to which the newest backup is proven",
    "backup_copies": "Backups in a repository",
    "backup_stage_ok": "Whether the last run of a stage succeeded",
    "backup_fault": "A fault that a stage ended with when it was last run",
    "backup_copies_bad": "Recorded backups that are missing or damaged in a repository",
    "backup_exchange_unfinished": "Whether an in-place restore is under way or was interrupted",
    "backup_escrow_ok": "Whether the key's copy kept elsewhere is proven",
    "backup_drill_last_success_timestamp_seconds": "End of the newest drill that reached L5",
    "backup_drill_age_limit_seconds": "How old the newest good drill may be",
    "backup_drill_restore_seconds": "Seconds of the newest drill from the store to a server that answers",
    "backup_drill_restore_bytes_per_second": "Rate of that restore",
    "backup_recovery_point_seconds": "How much would be lost if the server were lost now",
    "backup_archive_age_seconds": "Time since the newest WAL segment was archived",
    "backup_archive_failed": "Whether archiving failed after its last success",
    "backup_wal_bytes": "Size of pg_wal",
    "backup_wal_ready_segments": "Segments that wait to be archived",
    "backup_replica_connected": "Whether a streaming replica is connected to its primary",
    "backup_replica_lag_seconds": "Age of the oldest change that a streaming replica has not replayed",
    "backup_replica_lag_bytes": "WAL that a streaming replica has not replayed",
    "backup_metrics_timestamp_seconds": "When these figures were written",
}

Sample = tuple[str, dict[str, str], float]


def render(samples: list[Sample]) -> str:
    """Format the text of the file. Pure."""
    lines = []
    for name, text in HELP.items():
        own = [(labels, value) for sample, labels, value in samples if sample == name]
        if own:
            lines += [f"# HELP evenkeel_{name} {text}.", f"# TYPE evenkeel_{name} gauge"]
        for labels, value in own:
            pairs = ",".join(f'{key}="{_label(value)}"' for key, value in sorted(labels.items()))
            lines.append(f"evenkeel_{name}{{{pairs}}} {value:.15g}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def samples(
    instance: str,
    engine: str,
    backups: list[Manifest],
    last: Mapping[str, Any],
    options: Mapping[str, Any],
    repositories: list[str],
    escrowed: Mapping[str, bool],
    at: datetime,
) -> list[Sample]:
    """Return all metrics from the state. Pure."""
    # Not named instance, which is Prometheus' own label of the scraped host.
    base = {"backup": instance, "engine": engine}
    found: list[Sample] = [
        ("backup_metrics_timestamp_seconds", base, at.timestamp()),
        ("backup_age_limit_seconds", base, options["max_age_seconds"]),
        ("backup_drill_age_limit_seconds", base, options["drill_max_age_seconds"]),
        ("backup_exchange_unfinished", base, float(last.get("exchange", False))),
    ]
    good = [entry for entry in backups if level_of(entry) >= 2]
    found.append(
        ("backup_last_success_timestamp_seconds", base, parse(good[-1]["finished_at"]).timestamp() if good else 0)
    )
    if backups:
        newest = backups[-1]
        found += [
            ("backup_bytes", base, newest["bytes"]),
            ("backup_seconds", base, (parse(newest["finished_at"]) - parse(newest["started_at"])).total_seconds()),
        ]
        before = [entry for entry in good if entry["sequence"] < newest["sequence"]]
        found.append(("backup_previous_bytes", base, before[-1]["bytes"] if before else newest["bytes"]))
    attempt = last["verbs"].get("backup", {}).get("at")
    if attempt:
        found.append(("backup_last_attempt_timestamp_seconds", base, parse(attempt).timestamp()))
    for repository in repositories:
        here = [entry for entry in backups if any(copy["repository"] == repository for copy in entry["copies"])]
        labels = {**base, "repository": repository}
        found.append(("backup_copies", labels, len(here)))
        found.append(("backup_copies_bad", labels, sum(1 for entry in here if copy_of(entry, repository).get("bad"))))
        found.append(("backup_proof_level", labels, level_of(here[-1], repository) if here else -1))
        found.append(("backup_escrow_ok", labels, float(escrowed.get(repository, False))))
    age = (at - parse(good[-1]["finished_at"])).total_seconds() if good else float("inf")
    fresh = age <= options["max_age_seconds"]
    stages = {**last["stages"], "schedule": {"ok": fresh, "fault": "" if fresh else "stale_schedule"}}
    for stage, entry in sorted(stages.items()):
        found.append(("backup_stage_ok", {**base, "stage": stage}, float(entry["ok"])))
        if entry.get("fault"):
            found.append(("backup_fault", {**base, "stage": stage, "fault": entry["fault"]}, 1))
    drill = last["drill"]
    found.append(
        (
            "backup_drill_last_success_timestamp_seconds",
            base,
            parse(drill["ok_at"]).timestamp() if drill.get("ok_at") else 0,
        )
    )
    if drill:
        found += [
            ("backup_drill_restore_seconds", base, drill["seconds"]),
            ("backup_drill_restore_bytes_per_second", base, drill["rate"]),
        ]
    return found + _archive(base, engine, last["archive"], good, at) + _replicas(base, last["archive"])


def _replicas(base: dict[str, str], archive: Mapping[str, Any]) -> list[Sample]:
    return [
        (f"backup_replica_{name}", {**base, "replica": entry["name"]}, float(entry[key]))
        for entry in archive.get("replicas", [])
        for name, key in (("connected", "connected"), ("lag_seconds", "seconds"), ("lag_bytes", "bytes"))
    ]


def _archive(
    base: dict[str, str], engine: str, archive: Mapping[str, Any], good: list[Manifest], at: datetime
) -> list[Sample]:
    if engine != "physical":
        return (
            [("backup_recovery_point_seconds", base, (at - parse(good[-1]["started_at"])).total_seconds())]
            if good
            else []
        )
    found: list[Sample] = []
    if archive.get("canary_at"):
        found.append(("backup_recovery_point_seconds", base, (at - parse(archive["canary_at"])).total_seconds()))
    for name, key in (
        ("archive_age_seconds", "age"),
        ("archive_failed", "failed"),
        ("wal_bytes", "wal_bytes"),
        ("wal_ready_segments", "ready"),
    ):
        if archive.get(key) is not None:
            found.append((f"backup_{name}", base, float(archive[key])))
    return found


_ARCHIVE = """
select json_build_object(
  'age', extract(epoch from now() - last_archived_time), 'last', coalesce(last_archived_wal, ''),
  'failed', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)::int,
  'wal_bytes', (select sum(size) from pg_ls_waldir()),
  'ready', (select count(*) from pg_ls_archive_statusdir() where name like '%.ready'),
  'lsn', pg_current_wal_insert_lsn()::text, 'timeline', (select timeline_id from pg_control_checkpoint()))
from pg_stat_archiver
"""
WAITING = 500


def measure(job: Job, server: Server) -> dict[str, Any]:
    """Measure the archive: write a canary with its position, and find the newest archived canary.

    The recovery point is the age of the newest canary row whose segment is archived, not of a file.
    """
    before = job.state.archive()
    if server.run("select pg_is_in_recovery()") == "t":
        return dict(before)
    found: dict[str, Any] = server.ask(_ARCHIVE)
    waiting = list(before.get("waiting", []))
    newest = before.get("canary_at", "")
    size = wal.SEGMENT_BYTES
    for entry in job.state.backups()[-1:]:
        size = entry["server"].get("segment_bytes", size)
    while (
        waiting
        and found["last"]
        and wal.segment_name(found["timeline"], wal.lsn(waiting[0]["lsn"]), size)[8:] <= found["last"][8:24]
    ):
        newest = waiting.pop(0)["at"]
    # Without a canary the recovery point ages, and its alert fires.
    if job.config["canary"] and not canary.write(server, 0, "recovery point"):
        waiting.append({"at": stamp(now()), "lsn": server.run("select pg_current_wal_insert_lsn()")})
    return {**found, "canary_at": newest, "waiting": waiting[-WAITING:]}


def write(job: Job) -> None:
    """Write the textfile from the state."""
    config = job.config
    noted = job.state.escrow()
    escrowed = {}
    for repository in config.repositories:
        with contextlib.suppress(OSError):
            escrowed[repository.name] = (
                escrow.problem(config, repository, noted, repository.key_file.read_bytes(), now()) is None
            )
    found = samples(
        config.instance,
        config.engine,
        job.state.backups(),
        {
            **job.state.last(),
            "archive": job.state.archive(),
            "exchange": journal.path_of(config.state_dir).exists(),
        },
        config.options,
        [one.name for one in config.repositories],
        escrowed,
        now(),
    )
    disk.write_atomic(config.metrics_file, render(found), 0o644)


def run(job: Job, outcome: Outcome) -> None:
    """Run the verb: query the server, then write. Takes no lock, so that metrics stay current during long backups."""
    if job.config.engine != "files":
        try:
            with job.server() as server:
                before = job.state.archive()
                archive = measure(job, server) if job.config.engine == "physical" else {}
                job.state.write_archive({**archive, **replicas.measure(server, before, job.host, now())})
        except BackupFailure as failure:
            failure.stage = "server"
            outcome.fail(1, failure)
    write(job)
