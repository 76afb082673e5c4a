# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Silences of Alertmanager, found again by their name. PRIVATE to the collection. Pure."""

from __future__ import annotations

import datetime
import typing as t

AUTHOR = "evenkeel"


def key(name: str) -> str:
    """The prefix of the comment of a silence with this name."""
    return f"{AUTHOR}:{name}:"


def matchers(labels: t.Mapping[str, str], apart: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """Matchers of the labels an alert must have, and of those it must not have."""
    return [
        {"name": name, "value": str(value), "isRegex": False, "isEqual": equal}
        for equal, wanted in ((True, labels), (False, apart))
        for name, value in sorted(wanted.items())
    ]


def ours(silences: t.Iterable[dict[str, t.Any]], name: str) -> list[dict[str, t.Any]]:
    """The silences of this name that are active or pending."""
    return [
        silence
        for silence in silences
        if silence.get("status", {}).get("state") in ("active", "pending")
        and silence.get("createdBy") == AUTHOR
        and str(silence.get("comment", "")).startswith(key(name))
    ]


def body(
    name: str,
    labels: t.Mapping[str, str],
    apart: t.Mapping[str, str],
    reason: str,
    now: datetime.datetime,
    seconds: int,
    identity: str = "",
) -> dict[str, t.Any]:
    """The request that creates a silence, or moves the end of an existing one."""
    made: dict[str, t.Any] = {
        "matchers": matchers(labels, apart),
        "startsAt": stamp(now),
        "endsAt": stamp(now + datetime.timedelta(seconds=seconds)),
        "createdBy": AUTHOR,
        "comment": f"{key(name)} {reason}".rstrip(),
    }
    return {**made, "id": identity} if identity else made


def stamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
