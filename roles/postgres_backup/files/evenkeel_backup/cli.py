# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: one verb on one instance, one JSON document, one exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType

from evenkeel_backup import backup, config, disk, gone, journal, metrics, proof, restore, retain, settle, status
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure, Failures, Interrupted
from evenkeel_backup.job import Job
from evenkeel_backup.lock import held
from evenkeel_backup.manifest import stamp
from evenkeel_backup.outcome import FAILED, LOCKED, USAGE, Outcome
from evenkeel_backup.progress import say
from evenkeel_backup.state import now

# Verbs that take no lock and record no result.
READING = frozenset({"status", "metrics"})
# Verbs whose result is stored as a report.
REPORTED = frozenset({"backup", "verify", "drill", "restore", "escrow-check", "settle"})
KEPT_REPORTS = 200
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs and options."""
    top = argparse.ArgumentParser(prog="evenkeel-backup", description=__doc__)
    top.add_argument("--config-dir", type=Path, default=Path("/etc/evenkeel/backup"))
    verbs = top.add_subparsers(dest="verb", required=True, metavar="verb")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        one = verbs.add_parser(name, help=text, description=text)
        one.add_argument("instance")
        one.add_argument("--config-dir", type=Path, default=argparse.SUPPRESS)
        return one

    one = verb("prepare", "folders, repositories, stanza; compare the server's settings")
    one.add_argument("--check", action="store_true")
    one.add_argument("--new-server", action="store_true", help="continue the archive with the data of this new server")
    one = verb("backup", "take a backup and prove it to L2")
    one.add_argument("--type", choices=("full", "diff", "incr"), default="")
    one.add_argument("--reason", default="schedule")
    one.add_argument("--keep", action="store_true", help="retention never removes it")
    one = verb("verify", "verify the backups of a repository, L0 to L2")
    one.add_argument("--backup", default="latest")
    one.add_argument("--repository", default="")
    one.add_argument("--read-data", action="store_true")
    one = verb("drill", "L0 to L5 in isolation")
    one.add_argument("--backup", default="latest")
    one.add_argument("--repository", default="")
    one.add_argument("--key-file", default="", help="external copy of the key; - reads standard input")
    one = verb("restore", "restore a backup")
    one.add_argument("--mode", choices=restore.MODES, default="side_by_side")
    for name in (
        "repository",
        "database",
        "as",
        "into",
        "confirm",
        "target-time",
        "target-lsn",
        "target-name",
        "target-xid",
        "key-file",
    ):
        one.add_argument(f"--{name}", default="")
    one.add_argument("--backup", default="latest")
    one.add_argument("--plan", action="store_true")
    one.add_argument("--strict", action="store_true", help="fail if any statement of a logical backup fails")
    one = verb("retain", "remove backups that no tier keeps")
    one.add_argument("--plan", action="store_true")
    one.add_argument("--lost", action="store_true", help="forget copies that are missing or damaged, too")
    one = verb("acknowledge", "accept once that databases were dropped on purpose")
    one.add_argument("--gone", action="append", required=True, metavar="DATABASE")
    verb("settle", "finish or undo an in-place restore that was interrupted")
    verb("status", "list backups and their level of proof")
    one = verb("escrow-check", "open every repository with the external copy of the key")
    one.add_argument("--key-file", required=True)
    verb("metrics", "measure the archive and write the textfile")
    return top


def key_of(path: str) -> bytes | None:
    """Read the copy of the key from a file, or from standard input, which the process list does not show."""
    if not path:
        return None
    data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    return data.strip() + b"\n" if data.strip() else b""


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Interrupt the run once, so that it removes secrets and starts the app; ignore further signals meanwhile."""
    for one in STOP_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise Interrupted(f"{signal.Signals(number).name}")


def act(job: Job, outcome: Outcome, options: argparse.Namespace) -> None:
    """Run the verb."""
    verb = options.verb
    if verb == "status":
        status.run(job, outcome)
        return
    job.folders()
    if verb not in READING and not planned(options) and not settle.run(job, outcome):
        return
    if verb == "prepare":
        engine = engine_of(job)
        outcome.changed, settings = engine.prepare(options.check, options.new_server)
        outcome.more |= {"settings": settings, "warnings": [one.as_dict() for one in engine.warnings]}
    elif verb == "backup":
        backup.run(job, outcome, options.type, options.reason, options.keep)
    elif verb == "verify":
        proof.verify(job, outcome, options.backup, options.repository, options.read_data)
    elif verb == "drill":
        job.remove_leftovers()
        proof.drill(job, outcome, options.backup, options.repository, key_of(options.key_file))
    elif verb == "restore":
        point = restore.point_of(options.target_time, options.target_lsn, options.target_name, options.target_xid)
        pointed = any((options.target_time, options.target_lsn, options.target_name, options.target_xid))
        restore.run(
            job,
            outcome,
            restore.Request(
                options.mode,
                options.backup,
                options.repository,
                options.database,
                getattr(options, "as"),
                options.into,
                options.confirm,
                point,
                pointed,
                options.plan,
                key_of(options.key_file),
                options.strict,
            ),
        )
    elif verb == "acknowledge":
        gone.run(job, outcome, options.gone)
    elif verb == "retain":
        retain.run(job, outcome, options.plan, options.lost)
    elif verb == "escrow-check":
        proof.check(job, outcome, key_of(options.key_file) or b"")
    elif verb == "metrics":
        metrics.run(job, outcome)
    if planned(options) and (log := journal.opened(job.config.state_dir)) is not None:
        first = f"finish or undo the restore of {log.noted['backup']}, which stopped at step {log.noted['step']}"
        outcome.more.get("plan", {}).get("steps", job.actions).insert(0, first)


def planned(options: argparse.Namespace) -> bool:
    """Return whether the call only shows what it would do."""
    return bool(getattr(options, "plan", False) or getattr(options, "check", False))


def main(arguments: list[str]) -> int:
    """Run one call; every outcome is a JSON document and an exit code."""
    os.umask(0o077)
    try:
        options = parser().parse_args(arguments)
    except SystemExit as exit_:
        return USAGE if exit_.code else 0
    outcome = Outcome(options.verb, options.instance)
    job: Job | None = None
    for number in STOP_SIGNALS:
        signal.signal(number, interrupt)
    try:
        job = Job.of(config.load(options.config_dir, options.instance))
        outcome.actions = job.actions
        with contextlib.nullcontext() if options.verb in READING else held(job.config.lock_file, options.instance):
            try:
                act(job, outcome, options)
            finally:
                job.remove_secrets()
                remember(job, outcome)
    except BackupFailure as single:
        outcome.fail(LOCKED if single.fault == "lock_held" else FAILED, single)
    except Failures as several:
        outcome.fail(FAILED, *several.failures)
    except Interrupted as signalled:
        outcome.fail(
            FAILED,
            BackupFailure(
                "failed",
                "the run was stopped",
                options.instance,
                str(signalled),
                "a complete run",
                "Run it again when it may end",
            ),
        )
    except OSError as broken:
        full = broken.errno == 28
        outcome.fail(
            FAILED,
            BackupFailure(
                "disk_full" if full else "failed",
                "the run failed",
                options.instance,
                str(broken),
                "room on the disk" if full else "a complete run",
                "Check that path",
            ),
        )
    except Exception as unexpected:  # noqa: BLE001 - a timer's run must report any error as a document
        traceback.print_exc()
        found = f"{type(unexpected).__name__}: {unexpected}"
        need = "a run without it"
        outcome.fail(
            FAILED,
            BackupFailure(
                "failed", "unexpected error", options.instance, found, need, "Report it with this run's output"
            ),
        )
    for failure in outcome.failures:
        failure.stage = failure.stage or options.verb
        say(failure.sentence)
    if job is not None and options.verb in REPORTED and outcome.exit != LOCKED:
        with contextlib.suppress(OSError):
            keep(job, outcome)
    print(json.dumps(outcome.as_dict(), indent=1, sort_keys=True))
    return outcome.exit


def remember(job: Job, outcome: Outcome) -> None:
    """Record time and exit code of the verb for the metrics. A full disk must not hide the failure itself."""
    if outcome.verb in READING:
        return
    with contextlib.suppress(OSError, BackupFailure):
        last = job.state.last()
        last["verbs"][outcome.verb] = {"at": stamp(now()), "exit": outcome.exit}
        job.state.write_last(last)
        metrics.write(job)


def keep(job: Job, outcome: Outcome) -> None:
    """Write the JSON report, and remove old ones."""
    folder = job.config.state_dir / "reports"
    document = {key: value for key, value in outcome.as_dict().items() if key != "manifest"}
    name = stamp(now()).replace(":", "").replace("+0000", "Z")
    disk.write_json(folder / f"{name}-{outcome.verb}.json", document)
    for old in sorted(folder.glob("*"))[:-KEPT_REPORTS]:
        old.unlink(missing_ok=True)


__all__ = ["main"]
