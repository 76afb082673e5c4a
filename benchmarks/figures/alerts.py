# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ten faults of the monitored lab with their notifications; an hour without faults and notifications.

The lab shortens every rule's wait by one factor, so what is published is the time beyond that wait. For the ten faults
the rest is as users have it: how often Prometheus asks, and how long Alertmanager waits for more of a group.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.evenkeel.platform.benchmarks import alert_rig, rig
from ansible_collections.evenkeel.platform.benchmarks.alert_rig import Fault, Told
from ansible_collections.evenkeel.platform.benchmarks.figures.deploy import NEW, OLD, deploy, need_lab, number, put_live
from ansible_collections.evenkeel.platform.benchmarks.figures.lab import checked
from ansible_collections.evenkeel.platform.benchmarks.panels import clock
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

# By planted fault.
TEN = {
    "host down": "HostDown",
    "disk filling": "HostDiskAlmostFull",
    "container that ends again and again": "ContainerRestarts",
    "burst of 5xx": "HighErrorRate",
    "slow answers": "HighResponseTime",
    "PostgreSQL down": "DatabaseConnectionFailed",
    "replica behind": "DatabaseReplicaBehind",
    "backup stale": "BackupStale",
    "certificate near its end": "CertificateNearItsEnd",
    "target gone": "TargetGone",
}
# Faults of a wave are planted together; none inhibits another.
WAVES = (
    (
        "ContainerRestarts",
        "HostDiskAlmostFull",
        "DatabaseReplicaBehind",
        "BackupStale",
        "CertificateNearItsEnd",
        "TargetGone",
    ),
    ("HostDown", "DatabaseConnectionFailed"),
)
ROLLBACK, RATE = "playbooks/rollback.yml", 50.0
RELEASES = {"HighErrorRate": "1.2-errors", "HighResponseTime": "1.2-slow"}
BAR_SECONDS = 60
# The cores, the memory and the kernel are the machine's, so these are told of what else runs there.
OF_THE_MACHINE = {"HostBusy", "HostMemoryLow", "HostKillsForMemory"}


def watched(folder: Path) -> None:
    """Prepare the lab: deployed, backed up, drilled and monitored."""
    need_lab()
    for words in alert_rig.WATCHED:
        checked(rig.play(*words, folder=folder, limit_seconds=1800))


@contextlib.contextmanager
def of_users(folder: Path) -> Iterator[dict[str, float]]:
    """The pace of the role's defaults, of which the lab shortens two that belong to no rule; then the lab's again."""
    defaults = yaml.safe_load((rig.ROOT / "roles/monitoring/defaults/main.yml").read_text(encoding="utf-8"))
    waits, interval = defaults["monitoring_waits"], defaults["monitoring_scrape_interval_seconds"]
    # The factor shortens this wait, too.
    longer = {**waits, "group_seconds": round(waits["group_seconds"] / alert_rig.FACTOR)}
    words = json.dumps({"monitoring_waits": longer, "monitoring_scrape_interval_seconds": interval})
    checked(rig.play(*alert_rig.WATCHED[-1], "-e", words, folder=folder))
    try:
        yield {"scrape_interval_seconds": interval, "group_wait_seconds": waits["group_seconds"]}
    finally:
        checked(rig.play(*alert_rig.WATCHED[-1], folder=folder))


def released(alert: str, folder: Path) -> dict[str, Told]:
    """A bad release under load, and the rollback."""
    fault = Fault(alert, "", "", "", 480, 600)
    put_live(OLD, folder)
    deploy(RELEASES[alert], folder)
    with rig.Traffic(folder, RATE, seconds=1200, timeout_seconds=30):
        found = alert_rig.come_and_go([fault])
        checked(rig.play(ROLLBACK, folder=folder))
        alert_rig.ends_told([fault], found)
    return found


def dead_man() -> dict[str, dict[str, float]]:
    """Return how soon the dead man's switch reports a killed part of the monitoring."""
    found = {}
    for part in ("prometheus", "alertmanager"):
        if not rig.until(lambda: alert_rig.received("/deadman", clock() - 20), 120):
            raise NotMeasured("the dead man was never called")
        last = alert_rig.silence_after(f"monitoring-{part}-1")
        found[part] = {
            "last_call_after_seconds": round(last, 1),
            "noticed_after_seconds": round(last + alert_rig.DEADMAN_WAITS_SECONDS, 1),
        }
    return found


def alert_faults(folder: Path) -> Measured:
    watched(folder)
    with of_users(folder) as pace:
        return ten_faults(folder, pace)


def ten_faults(folder: Path, pace: dict[str, float]) -> Measured:
    known = {fault.alert: fault for batch in alert_rig.batches().values() for fault in batch}
    told: dict[str, Told] = {}
    for wave in WAVES:
        told |= alert_rig.come_and_go([known[alert] for alert in wave])
    for alert in RELEASES:
        told |= released(alert, folder)
    # Some ends take ten minutes, in which the others were driven.
    alert_rig.ends_told([known[alert] for wave in WAVES for alert in wave], told)
    wait, found = alert_rig.waits(), dict[str, dict[str, Any]]()
    for what, alert in TEN.items():
        one, builds = told[alert], known[alert].builds_seconds if alert in known else 0.0
        waited = builds + wait[alert] * alert_rig.FACTOR
        found[what] = {
            "alert": alert,
            "builds_seconds": builds,
            "wait_seconds": round(waited - builds, 1),
            "beyond_wait_seconds": None if one.fired is None else round(max(0.0, one.fired - waited), 1),
            "end_told_after_seconds": None if one.resolved is None else round(one.resolved, 1),
        }
    beyond = sorted(one["beyond_wait_seconds"] for one in found.values() if one["beyond_wait_seconds"] is not None)
    return Measured(
        results={
            "faults": len(found),
            "told": len(beyond),
            "ends_told": sum(one["end_told_after_seconds"] is not None for one in found.values()),
            # With ten values, p95 is the slowest.
            "p95_beyond_wait_seconds": beyond[-1] if beyond else None,
            "median_beyond_wait_seconds": beyond[len(beyond) // 2] if beyond else None,
            "wait_factor": alert_rig.FACTOR,
            **pace,
            "by_fault": found,
            "dead_man": (silent := dead_man()),
            "dead_man_noticed_after_seconds": max(one["noticed_after_seconds"] for one in silent.values()),
        },
        bar=[
            {"of": "results.told", "at_least": len(TEN)},
            {"of": "results.ends_told", "at_least": len(TEN)},
            {"of": "results.p95_beyond_wait_seconds", "at_most": BAR_SECONDS},
            {"of": "results.dead_man_noticed_after_seconds", "at_most": 300},
        ],
    )


def alert_quiet(folder: Path) -> Measured:
    watched(folder)
    time.sleep(120)
    put_live(OLD, folder)
    began, length = clock(), number("QUIET_SECONDS", 3600)
    moves = 0
    while clock() - began < length:
        if not moves and clock() - began > length / 3:
            deploy(NEW, folder)
            checked(rig.play(ROLLBACK, folder=folder))
            moves = 2
        time.sleep(15)
    named = [
        one["labels"]["alertname"]
        for line in alert_rig.received("/team", began)
        for one in line["body"]["alerts"]
        if one["status"] == "firing"
    ]
    false = sorted(set(named) - OF_THE_MACHINE)
    return Measured(
        results={
            "seconds": round(clock() - began),
            "releases_moved": moves,
            "false_alerts": len(false),
            "named": false,
            "of_the_machine": sorted(set(named) & OF_THE_MACHINE),
            "wait_factor": alert_rig.FACTOR,
        },
        bar=[
            {"of": "results.false_alerts", "at_most": 0},
            {"of": "results.releases_moved", "at_least": 2},
            {"of": "results.seconds", "at_least": 3600},
        ],
    )
