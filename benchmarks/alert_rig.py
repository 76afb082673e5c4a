# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults planted in the monitored lab, and their alerts at the receiver; for tests and benchmarks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import yaml

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.panels import clock

FACTOR = 0.02  # as in inventories/lab
SLACK_SECONDS = 60
RULES = "roles/*/files/rules/*.yml"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Called each minute by Watchdog; waits for a second missing call before it notifies somebody.
DEADMAN_WAITS_SECONDS = 120
# Without deploy, backups and drills, missing ones would raise alerts of their own.
WATCHED = (
    ("site.yml",),
    ("playbooks/backup.yml",),
    ("playbooks/drill.yml",),
    ("lab/watch.yml",),
    ("site.yml", "--tags", "edge,monitoring"),
)
# Shell functions for the faults of alerts.yml.
PRELUDE = r"""
# Where a fault keeps what it takes the place of.
aside=/var/lib/faults
mkdir -p -m 0700 $aside
textfiles=/var/lib/prometheus/node-exporter
backups=/var/lib/evenkeel/backup
rules=/opt/evenkeel/monitoring/prometheus/current/rules
backup() { /usr/local/lib/evenkeel/evenkeel-backup "$@"; }
archive=/etc/evenkeel/backup/server/shop-wal.conf
redis_folder=/var/lib/docker/volumes/shop-data_redis/_data
psql() {
    docker exec shop-data-postgres-1 psql --username=shop --dbname=shop --quiet --tuples-only --no-align --command "$1"
}
replica() {
    docker exec shop-replica-postgres-1 \
        psql --host=/var/run/postgresql --username=shop --dbname=shop --quiet --command "$1"
}
redis() {
    docker exec --interactive shop-data-redis-1 sh -c \
        'REDISCLI_AUTH=$(cat "$REDIS_PASSWORD_FILE") exec redis-cli --no-auth-warning "$@"' redis "$@"
}
# An option of a backup that the inventory leaves alone.
set_option() {
    cp -a /etc/evenkeel/backup/$1.json $aside/$1.json
    sed --in-place "1s/{/{ \"$2\": $3,/" /etc/evenkeel/backup/$1.json
    grep --quiet "$2" /etc/evenkeel/backup/$1.json
}
unset_option() { mv $aside/$1.json /etc/evenkeel/backup/$1.json; }
# As one does whose data was meant to shrink.
accept_smaller_backup() {
    set_option shop-redis shrink_ratio 0
    systemctl start evenkeel-backup-shop-redis-backup.service
    unset_option shop-redis
    systemctl start evenkeel-backup-shop-redis-backup.service
}
python_image() { docker images --quiet --filter reference='registry.lab:5000/shop/*:1.0' | head -n 1; }
containers_of() { docker ps --all --quiet --filter label=com.docker.compose.project --filter "name=shop.*$1"; }
spoil() {
    cp -a /opt/evenkeel/monitoring/$1/current/$1.yml $aside/fault-$1.yml
    echo "broken: [" > /opt/evenkeel/monitoring/$1/current/$1.yml
    docker kill --signal HUP monitoring-$1-1
}
mend() {
    cat $aside/fault-$1.yml > /opt/evenkeel/monitoring/$1/current/$1.yml
    rm $aside/fault-$1.yml
    docker kill --signal HUP monitoring-$1-1
}
certificate() {
    cp -a /etc/haproxy/certs/default.pem $aside/default.pem
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$1" -subj /CN=shop.lab.test \
        -keyout $aside/fault.key -out $aside/fault.crt
    cat $aside/fault.crt $aside/fault.key > /etc/haproxy/certs/default.pem
    systemctl reload haproxy
}
certificate_back() {
    mv $aside/default.pem /etc/haproxy/certs/default.pem
    rm -f $aside/fault.*
    systemctl reload haproxy
}
"""


@dataclass(frozen=True)
class Fault:
    """One entry of alerts.yml that a shell command plants, with its alert and the time limit."""

    alert: str
    hosts: str
    begin: str
    end: str
    fires_within: float
    ends_within: float
    builds_seconds: float = 0.0


@dataclass
class Told:
    """Start and end of a fault by data1's clock, and the seconds until each was notified; None without one."""

    began: float = 0.0
    ended: float = 0.0
    fired: float | None = None
    resolved: float | None = None


def waits() -> dict[str, float]:
    """Return the longest `for` of each alert in seconds."""
    found: dict[str, float] = {}
    for path in sorted(rig.ROOT.glob(RULES)):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                text = str(rule.get("for", "0s"))
                if "alert" in rule:
                    found[rule["alert"]] = float(text[:-1]) * UNITS[text[-1]]
    return found


def batches() -> dict[str, list[Fault]]:
    """Return the faults of each batch, which are planted together; alerts raised by another fault have none."""
    entries = yaml.safe_load((rig.ROOT / "tests/faults/alerts.yml").read_text(encoding="utf-8"))
    wait, found = waits(), dict[str, list[Fault]]()
    for alert, entry in entries.items():
        planted = entries.get(entry.get("with"), entry)
        if "batch" in planted:
            within = wait.get(alert, 0) * FACTOR + entry.get("settle_seconds", 30) + SLACK_SECONDS
            fault = Fault(
                alert,
                entry.get("hosts", ""),
                entry.get("begin", ""),
                entry.get("end", ""),
                within,
                max(entry.get("resolve_seconds", 180), planted.get("resolve_seconds", 180)),
                entry.get("builds_seconds", 0),
            )
            found.setdefault(planted["batch"], []).append(fault)
    return found


def received(path: str, since: float) -> list[dict[str, Any]]:
    """Return the requests to a path of the receiver since a time of data1's clock."""
    (text,) = rig.on_hosts("data1", "cat /var/lib/receiver.jsonl 2>/dev/null || true").values()
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["path"] == path and line["at"] >= since]


def about(line: dict[str, Any], alert: str, status: str) -> bool:
    return any(one["labels"]["alertname"] == alert and one["status"] == status for one in line["body"]["alerts"])


def told(alert: str, status: str, since: float) -> list[dict[str, Any]]:
    return [line for line in received("/team", since) if about(line, alert, status)]


def firing() -> set[str]:
    """Return the alerts that fire in Prometheus."""
    query = "query=ALERTS%7Balertstate%3D%22firing%22%7D"
    (text,) = rig.on_hosts("data1", f"curl -sf 'http://127.0.0.1:9090/api/v1/query?{query}'").values()
    return {one["metric"]["alertname"] for one in json.loads(text)["data"]["result"]}


# Use two thirds at once, then four kilobytes every five seconds.
FILL = """
mkdir -p /srv/filling; mount -t tmpfs -o size=20m filling /srv/filling; fallocate -l 13M /srv/filling/first
systemd-run --unit=fault-filling sh -c \
    'for one in $(seq 720); do head -c 4096 /dev/zero >> /srv/filling/second; sleep 5; done'
"""


FILLED = "systemctl stop fault-filling; umount /srv/filling; rmdir /srv/filling"


def plant(fault: Fault) -> None:
    """Plant a fault; every command must succeed, or its alert would never fire."""
    answers = rig.on_hosts(fault.hosts, f"set -e\n{PRELUDE}{fault.begin}\necho planted", 240)
    unplanted = sorted(host for host, text in answers.items() if not text.endswith("planted"))
    assert answers, f"{fault.alert}: no host answers to {fault.hosts}"
    assert not unplanted, f"{fault.alert}: its fault could not be planted on {', '.join(unplanted)}"


def drive(faults: list[Fault]) -> dict[str, Told]:
    """Plant all faults, wait for all alerts, undo the faults, and wait for all resolved notifications."""
    found = come_and_go(faults)
    ends_told(faults, found)
    return found


def come_and_go(faults: list[Fault]) -> dict[str, Told]:
    """Plant all faults, wait for all alerts, and undo the faults."""
    found = {fault.alert: Told(began=clock()) for fault in faults}
    begun: list[Fault] = []
    try:
        for fault in (one for one in faults if one.begin):
            begun.append(fault)
            found[fault.alert].began = clock()
            plant(fault)
        watch(faults, found, "firing", max(fault.fires_within for fault in faults))
    finally:
        for told_of in found.values():
            told_of.ended = clock()
        for fault in reversed(begun):
            found[fault.alert].ended = clock()
            rig.on_hosts(fault.hosts, PRELUDE + fault.end, 240)
    return found


def ends_told(faults: list[Fault], found: dict[str, Told]) -> None:
    """Wait for the resolved notification of each alert."""
    fired = [fault for fault in faults if found[fault.alert].fired is not None]
    watch(fired, found, "resolved", max((fault.ends_within for fault in fired), default=0))


def watch(faults: list[Fault], found: dict[str, Told], status: str, seconds: float) -> None:
    """Record when each alert was notified with a status, until all were or the time is over."""
    field, since = ("fired", "began") if status == "firing" else ("resolved", "ended")
    end = time.monotonic() + seconds
    while faults:
        lines = received("/team", min(getattr(found[fault.alert], since) for fault in faults))
        for fault in faults:
            told_of = found[fault.alert]
            start = getattr(told_of, since)
            if getattr(told_of, field) is None:
                first = next((one for one in lines if one["at"] >= start and about(one, fault.alert, status)), None)
                setattr(told_of, field, first["at"] - start if first else None)
        if time.monotonic() > end or all(getattr(found[fault.alert], field) is not None for fault in faults):
            return
        time.sleep(3)


def silence_after(container: str) -> float:
    """Kill a part of the monitoring, and return the seconds until the last call of the dead man's switch."""
    killed = clock()
    rig.on_hosts("data1", f"docker kill {container}")
    try:
        heard = killed
        while clock() - heard < 60 and clock() - killed < 600:
            heard = max([heard, *(line["at"] for line in received("/deadman", killed))])
            time.sleep(5)
    finally:
        rig.on_hosts("data1", f"docker start {container}")
    return max(0.0, heard - killed)
