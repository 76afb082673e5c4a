# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb settle: finish or undo an in-place restore that was interrupted by a kill or a reboot.

The rule: while the former data is in its place, the restore is undone. Once the restored data is complete and the
former data was moved away, it is finished; if that fails, it is undone.
"""

from __future__ import annotations

import contextlib

from evenkeel_backup import identity, journal, metrics
from evenkeel_backup.engines import engine_of
from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.job import Job
from evenkeel_backup.outcome import MANUAL_WORK, Outcome
from evenkeel_backup.swap import KINDS, STAGE, Databases, Swap, wait_for_answer


def failures_of(instance: str, why: BaseException) -> list[BackupFailure]:
    """Return any error as failures."""
    if isinstance(why, Failures):
        return why.failures
    if isinstance(why, BackupFailure):
        return [why]
    found = f"{type(why).__name__}: {why}"
    return [BackupFailure("failed", "the exchange failed", instance, found, "a complete run", "See the report", STAGE)]


def close(job: Job, swap: Swap) -> None:
    """Close the journal, and resolve its alert."""
    swap.log.close()
    with contextlib.suppress(OSError):
        metrics.write(job)


def way_back_failed(job: Job, swap: Swap, why: BaseException) -> list[BackupFailure]:
    """Return the failure of an undo; the journal is kept, so that the next run tries it again."""
    found = "; ".join(failure.sentence for failure in failures_of(job.config.instance, why))
    return [
        BackupFailure(
            "exchange_unfinished",
            "the way back failed",
            job.config.instance,
            found,
            f"{swap.kept} to be live again and the app started",
            f"Mend that and run 'evenkeel-backup settle {job.config.instance}'",
            STAGE,
        )
    ]


def run(job: Job, outcome: Outcome) -> bool:
    """Settle an unfinished exchange; return False if that failed and nothing else may be done."""
    log = journal.opened(job.config.state_dir)
    if log is None:
        return True
    step = log.noted["step"]
    swap = KINDS[log.noted["kind"]](job, log)
    # Containers of the interrupted run still work on the live server.
    job.remove_leftovers()
    problems: list[BackupFailure] = []
    try:
        if isinstance(swap, Databases):
            # At boot the server may still be starting.
            wait_for_answer(job)
        finished = step != journal.BACK and swap.exchanged()
        if finished:
            try:
                swap.finish()
            except Exception as failure:  # noqa: BLE001 - the former data must be live after any error
                problems, finished = failures_of(job.config.instance, failure), False
                swap.back()
        else:
            swap.back()
    except Exception as failure:  # noqa: BLE001 - any error must be reported
        outcome.fail(MANUAL_WORK, *problems, *way_back_failed(job, swap, failure))
        with contextlib.suppress(OSError):
            metrics.write(job)
        return False
    close(job, swap)
    if finished and log.noted["kind"] == "databases":
        identity.check(job, engine_of(job), new_server=True)
    outcome.changed = True
    result = "finished" if finished else "undone"
    why = "".join(f" because {problem.sentence}" for problem in problems)
    job.actions.append(
        f"the restore of {log.noted['backup']}, interrupted at step {step}, was {result}{why}; "
        + (f"what was live before is {swap.kept}" if finished else "the former data is live")
    )
    outcome.more["settled"] = {"backup": log.noted["backup"], "step": step, "result": result}
    return True
