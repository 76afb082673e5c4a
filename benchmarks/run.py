#!/usr/bin/env python3
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run benchmarks, write one file each to benchmarks/results, and update docs/figures.md."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.benchmarks import backup_rig, report, result, rig
from ansible_collections.evenkeel.platform.benchmarks.figures import (
    alerts,
    backup,
    backup_corruption,
    backup_faults,
    backup_kills,
    backup_rates,
    backup_traps,
    crash,
    dashboards,
    deploy,
    lab,
    logs,
    monitoring,
)

FIGURES: dict[str, Callable[[Path], result.Measured]] = {
    "lab_time": lab.lab_time,
    "site_time": lab.site_time,
    "deploy_loss": deploy.deploy_loss,
    "crash_matrix": crash.crash_matrix,
    "deploy_time": deploy.deploy_time,
    "rollback_time": deploy.rollback_time,
    "backup_faults": backup_faults.backup_faults,
    "backup_corruption": backup_corruption.backup_corruption,
    "backup_kills": backup_kills.backup_kills,
    "backup_pitr": backup.backup_pitr,
    "backup_rates": backup_rates.backup_rates,
    "backup_retention": backup.backup_retention,
    "backup_traps": backup_traps.backup_traps,
    "alert_faults": alerts.alert_faults,
    "alert_quiet": alerts.alert_quiet,
    "panels": dashboards.panels,
    "log_ingest": logs.log_ingest,
    "monitoring_cost": monitoring.monitoring_cost,
}


def measure(name: str) -> result.Document:
    folder = result.ROOT / ".cache" / "bench" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return result.document(name, FIGURES[name](folder))
    except (result.NotMeasured, rig.Silent, backup_rig.Unexpected) as exc:
        return result.document(name, None, " ".join(str(exc).split()))


def end_in_order(number: int, _frame: object) -> None:
    """Stop all started loads and playbooks on a signal."""
    sys.exit(128 + number)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, end_in_order)
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figure", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)}; all where none is named")
    names = parser.parse_args(arguments).figure or list(FIGURES)
    # Servers and mounts of a benchmark end with it, even if it is interrupted.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        parser.error(f"run: figure: found {', '.join(unknown)}, need one of {', '.join(FIGURES)}. Set FIGURE.")
    failed = 0
    for name in names:
        print(f"---- {name}", flush=True)
        found = measure(name)
        path = result.write(found)
        word = {True: "met", False: "NOT met", None: f"not measured: {found['reason']}"}[found["met"]]
        print(f"{name}: {word}; {path.relative_to(result.ROOT)}", flush=True)
        failed += found["met"] is not True
    report.write()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
