# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a receiver took what Alertmanager sent it, by Alertmanager's figures. PRIVATE to the collection. Pure."""

from __future__ import annotations

import datetime
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._alerting import TEST_LABEL

SENT = "alertmanager_notification_requests_total"
FAILED = "alertmanager_notification_requests_failed_total"
LINE = re.compile(rf"^({SENT}|{FAILED}){{([^}}]*)}} (\S+)$", re.MULTILINE)
Counts = dict[tuple[str, str], float]


def counts(text: str) -> Counts:
    """Requests, and those that failed, by receiver."""
    found: Counts = {}
    for name, labels, value in LINE.findall(text):
        receiver = re.search(r'receiver_name="([^"]*)"', labels)
        if receiver:
            key = (name, receiver[1].partition("/")[0])
            found[key] = found.get(key, 0) + float(value)
    return found


def alert(receiver: str, now: datetime.datetime) -> dict[str, t.Any]:
    """The alert that is routed to one receiver, and ends by itself."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "labels": {"alertname": "EvenkeelTest", TEST_LABEL: receiver, "severity": "none", "at": stamp},
        "annotations": {
            "summary": f"A test for {receiver}",
            "description": f"Sent at {stamp} to see that alerts arrive. Nothing is wrong.",
        },
        "startsAt": stamp,
        "endsAt": (now + datetime.timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


def _more(name: str, receiver: str, before: Counts, after: Counts) -> float:
    return after.get((name, receiver), 0) - before.get((name, receiver), 0)


def accepted(receiver: str, before: Counts, after: Counts) -> bool:
    return _more(SENT, receiver, before, after) > _more(FAILED, receiver, before, after)


def refusal(receiver: str, before: Counts, after: Counts, seconds: int) -> str:
    failed = _more(FAILED, receiver, before, after)
    if failed:
        return f"refused it {failed:.0f} times within {seconds} s"
    return f"got no request within {seconds} s: Alertmanager does not have it, or a silence covers the test"
