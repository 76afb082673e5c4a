# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real faults in the lab, each told to a real receiver, and told again when it is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.tests import shop

WATCH = "tests/faults/watch.yml"
FACTOR = 0.02  # as watch.yml says
SLACK_SECONDS = 60
POSTGRES = "docker exec shop-data-postgres-1 psql --username=shop --dbname=shop --quiet --command"

# What the archive command of the lab's database reads.
ARCHIVE = "/etc/evenkeel/backup/server/shop-wal.conf"


@dataclass(frozen=True)
class Fault:
    """What is done to which host, how it is undone, and the alert that must say so."""

    alert: str
    wait_seconds: float  # the rule's own, before the factor
    pattern: str
    begin: str
    end: str
    # What the figures themselves need: a window that must fill, a probe's interval.
    settle_seconds: float = 30


FAULTS = [
    Fault(
        "HostDown",
        120,
        "app2",
        "systemctl stop prometheus-node-exporter",
        "systemctl start prometheus-node-exporter",
    ),
    Fault(
        "HostDiskAlmostFull",
        300,
        "app2",
        "mkdir -p /srv/fault && mount -t tmpfs -o size=20m fault /srv/fault && fallocate -l 19M /srv/fault/full",
        "umount /srv/fault; rmdir /srv/fault",
    ),
    Fault(
        "ContainerRestarts",
        0,
        "app2",
        "docker run --detach --name fault --restart always --entrypoint /bin/false"
        " $(docker inspect --format '{% raw %}{{.Config.Image}}{% endraw %}' $(docker ps --quiet | head -n 1))",
        "docker rm --force fault",
        60,
    ),
    Fault(
        "DatabaseConnectionFailed",
        60,
        "data1",
        "docker stop shop-data-postgres-1",
        "docker start shop-data-postgres-1",
    ),
    Fault(
        "BackupArchiveFails",
        300,
        "data1",
        f"mv {ARCHIVE} /root/shop-wal.conf && {POSTGRES} 'create table fault (a int)' && {POSTGRES} 'select pg_switch_wal()'",
        f"mv /root/shop-wal.conf {ARCHIVE}; {POSTGRES} 'drop table if exists fault'",
        130,  # the figures are measured each minute, after an attempt
    ),
    Fault(
        "CertificateNearItsEnd",
        3600,
        "edge1",
        "cp -a /etc/haproxy/certs/default.pem /root/default.pem"
        " && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj /CN=shop.lab.test"
        " -keyout /root/fault.key -out /root/fault.crt"
        " && cat /root/fault.crt /root/fault.key > /etc/haproxy/certs/default.pem && systemctl reload haproxy",
        "mv /root/default.pem /etc/haproxy/certs/default.pem; rm -f /root/fault.*; systemctl reload haproxy",
    ),
    Fault(
        "TargetGone",
        120,
        "data1",
        "docker stop monitoring-redis-shop-1",
        "docker start monitoring-redis-shop-1",
    ),
]


def told(alert: str, status: str, since: float) -> list[dict[str, Any]]:
    """The requests about an alert that reached the receiver after a moment of data1's clock."""
    (text,) = rig.on_hosts("data1", "cat /var/lib/receiver.jsonl 2>/dev/null || true").values()
    lines = [json.loads(line) for line in text.splitlines()]
    return [
        line
        for line in lines
        if line["path"] == "/team"
        and line["at"] >= since
        and any(one["labels"]["alertname"] == alert and one["status"] == status for one in line["body"]["alerts"])
    ]


def waits_for(condition: Callable[[], list[dict[str, Any]]], seconds: float) -> list[dict[str, Any]]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(2)
    return condition()


def clock() -> float:
    (text,) = rig.on_hosts("data1", "date +%s.%N").values()
    return float(text)


def firing() -> set[str]:
    """What fires now, by Prometheus itself."""
    query = "query=ALERTS%7Balertstate%3D%22firing%22%7D"
    (text,) = rig.on_hosts("data1", f"curl -sf 'http://127.0.0.1:9090/api/v1/query?{query}'").values()
    return {one["metric"]["alertname"] for one in json.loads(text)["data"]["result"]}


@pytest.fixture(scope="module", autouse=True)
def watched(folder: Path) -> rig.Play:
    site = rig.play(shop.SITE, folder=folder)
    assert site.code == 0, site.tail()
    # A database that was never backed up, or a backup that was never tried, is an alert of its own.
    for playbook in ("playbooks/backup.yml", "playbooks/drill.yml"):
        done = rig.play(playbook, folder=folder)
        assert done.code == 0, done.tail()
    run = rig.play(WATCH, folder=folder)
    assert run.code == 0, run.tail()
    return run


@pytest.fixture(scope="module")
def seconds(folder: Path) -> Iterator[dict[str, dict[str, float]]]:
    """How long each delivery took; kept for the figure."""
    found: dict[str, dict[str, float]] = {}
    yield found
    (folder / "alert-seconds.json").write_text(json.dumps(found, indent=2), encoding="utf-8")


def test_second_run_changes_nothing(watched: rig.Play, folder: Path) -> None:
    again = rig.play(WATCH, folder=folder)
    assert again.code == 0, again.tail()
    assert again.changed == {}, "\n".join(again.changed_tasks)


def test_healthy_lab_is_quiet(watched: rig.Play) -> None:
    time.sleep(90)
    # The cores are the machine's own, which the tests keep busy; nobody drills two of the lab's three backups.
    assert firing() - {"HostBusy", "HostMemoryLow", "BackupDrillStale"} == {"Watchdog"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.alert)
def test_fault_is_told_and_its_end_too(fault: Fault, seconds: dict[str, dict[str, float]]) -> None:
    since = clock()
    rig.on_hosts(fault.pattern, fault.begin, 120)
    limit = fault.wait_seconds * FACTOR + fault.settle_seconds + SLACK_SECONDS
    try:
        found = waits_for(lambda: told(fault.alert, "firing", since), limit)
    finally:
        ended = clock()
        rig.on_hosts(fault.pattern, fault.end, 120)
    assert found, f"{fault.alert}: nothing reached the receiver within {limit:.0f} s; firing: {sorted(firing())}"
    over = waits_for(lambda: told(fault.alert, "resolved", ended), 1000 if "Archive" in fault.alert else 180)
    assert over, f"{fault.alert}: its end was not told; firing: {sorted(firing())}"
    seconds[fault.alert] = {"firing": found[0]["at"] - since, "resolved": over[0]["at"] - ended}


@pytest.mark.parametrize(
    ("alert", "release"),
    [pytest.param("HighErrorRate", "1.2-errors", id="errors"), pytest.param("HighResponseTime", "1.2-slow", id="slow")],
)
def test_bad_release_is_told_with_its_name(
    alert: str, release: str, folder: Path, seconds: dict[str, dict[str, float]]
) -> None:
    shop.put_live(shop.OLD, folder)
    with shop.traffic(folder):
        since = clock()
        run = shop.deploy(release, folder, app_deploy_retry=release)
        assert run.code == 0, run.tail()
        found = waits_for(lambda: told(alert, "firing", since), 240)
        ended = clock()
        back = rig.play(shop.ROLLBACK, folder=folder)
        assert back.code == 0, back.tail()
        assert found, f"{alert}: nothing reached the receiver; firing: {sorted(firing())}"
        assert release in {
            one["labels"].get("release", "").partition("+")[0] for line in found for one in line["body"]["alerts"]
        }
        over = waits_for(lambda: told(alert, "resolved", ended), 240)
    assert over, f"{alert}: its end was not told; firing: {sorted(firing())}"
    seconds[alert] = {"firing": found[0]["at"] - since, "resolved": over[0]["at"] - ended}


def test_stale_backup_is_told(seconds: dict[str, dict[str, float]]) -> None:
    """No backup for longer than its instance allows, which is a minute here; then one is taken."""
    config = "/etc/evenkeel/backup/shop.json"
    figures = "/usr/local/lib/evenkeel/evenkeel-backup metrics shop >/dev/null"
    since = clock()
    rig.on_hosts(
        "data1",
        f"cp -a {config} /root/shop.json && sed -Ei 's/(\"max_age_seconds\": ?)[0-9]+/\\160/' {config} && sleep 61 && {figures}",
        180,
    )
    try:
        found = waits_for(lambda: told("BackupStale", "firing", since), 300 * FACTOR + 30 + SLACK_SECONDS)
    finally:
        ended = clock()
        rig.on_hosts("data1", f"mv /root/shop.json {config} && {figures}", 120)
    assert found, f"BackupStale: nothing reached the receiver; firing: {sorted(firing())}"
    over = waits_for(lambda: told("BackupStale", "resolved", ended), 180)
    assert over, f"BackupStale: its end was not told; firing: {sorted(firing())}"
    seconds["BackupStale"] = {"firing": found[0]["at"] - since - 61, "resolved": over[0]["at"] - ended}


def test_dead_man_is_told_until_prometheus_dies() -> None:
    """The silence of Watchdog is what somebody outside notices."""

    def calls(since: float) -> list[dict[str, Any]]:
        (text,) = rig.on_hosts("data1", "cat /var/lib/receiver.jsonl").values()
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if line["path"] == "/deadman" and line["at"] >= since]

    assert waits_for(lambda: calls(clock() - 30), 60)
    rig.on_hosts("data1", "docker stop monitoring-prometheus-1")
    try:
        # Alertmanager forgets the alert five minutes after it last heard of it.
        time.sleep(330)
        assert calls(clock() - 20) == []
    finally:
        rig.on_hosts("data1", "docker start monitoring-prometheus-1")
    assert waits_for(lambda: calls(clock() - 10), 120)
