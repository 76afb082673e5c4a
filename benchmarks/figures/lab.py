# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Duration of the lab's start and of the main job, on a separate lab."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

OWN_LAB = "7"
LIMIT_SECONDS = 1500
UP, DOWN = "lab/up.yml", "lab/down.yml"


@contextlib.contextmanager
def own_lab(folder: Path) -> Iterator[rig.Play]:
    """Provide a new lab without machines, network, keys or registry content; existing images are used."""
    before = os.environ.get("EVENKEEL_LAB_ID")
    os.environ["EVENKEEL_LAB_ID"] = OWN_LAB
    try:
        checked(rig.play(DOWN, folder=folder, limit_seconds=LIMIT_SECONDS))
        yield checked(rig.play(UP, folder=folder, limit_seconds=LIMIT_SECONDS))
    finally:
        rig.play(DOWN, folder=folder, limit_seconds=LIMIT_SECONDS)
        if before is None:
            del os.environ["EVENKEEL_LAB_ID"]
        else:
            os.environ["EVENKEEL_LAB_ID"] = before


def checked(run: rig.Play) -> rig.Play:
    if run.code != 0:
        raise NotMeasured(f"{run.command} ended with code {run.code}: {run.tail(5)}")
    return run


def nothing_built(folder: Path) -> None:
    """Remove images and cached packages, too, which nothing else may be using."""
    checked(rig.play(DOWN, "-e", "lab_clean=true", folder=folder, limit_seconds=LIMIT_SECONDS))
    listed = ["docker", "images", "--quiet", "--filter", "reference=evenkeel-lab/*"]
    if subprocess.run(listed, capture_output=True, text=True, check=True, timeout=60).stdout.strip():
        raise NotMeasured("another lab or a scenario of molecule uses the images; take it down with make lab-down")


def lab_time(folder: Path) -> Measured:
    nothing_built(folder)
    with own_lab(folder) as cold:
        warm = checked(rig.play(UP, folder=folder, limit_seconds=LIMIT_SECONDS))
    return Measured(
        results={
            "cold_seconds": round(cold.seconds, 1),
            "cold_means": "packages fetched and every image built, machines, network, keys and registry new",
            "warm_seconds": round(warm.seconds, 1),
            "machines": 4,
        },
        bar=[
            {"of": "results.cold_seconds", "at_most": 480},
            {"of": "results.warm_seconds", "at_most": 90},
        ],
    )


def site_time(folder: Path) -> Measured:
    with own_lab(folder):
        cold = checked(rig.play("site.yml", folder=folder, limit_seconds=LIMIT_SECONDS, counted=True))
        warm = checked(rig.play("site.yml", folder=folder, limit_seconds=LIMIT_SECONDS, counted=True))
    return Measured(
        results={
            "cold_seconds": round(cold.seconds, 1),
            "warm_seconds": round(warm.seconds, 1),
            "hosts": len(cold.recap),
            "second_run_counts": {key: warm.counts[key] for key in ("tasks", "skipped", "remote_runs", "polls")},
            "cold_changed": sum(cold.changed.values()),
            "second_run_changed": sum(warm.changed.values()),
            "second_run_changed_tasks": warm.changed_tasks,
        },
        bar=[
            {"of": "results.second_run_changed", "at_most": 0},
            {"of": "results.warm_seconds", "at_most": 60},
        ],
    )
