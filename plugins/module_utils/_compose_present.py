# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be done so that a stack runs its release, and what was done. PRIVATE to the collection.

Pure functions over containers as the engine shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
HASH_LABEL = "com.docker.compose.config-hash"
ONCE_LABEL = "com.docker.compose.oneoff"

Container = Mapping[str, Any]


def labels(container: Container) -> Mapping[str, str]:
    """Return the labels of a container."""
    return (container.get("Config") or {}).get("Labels") or {}


def service_of(container: Container) -> str:
    """Return the service a container belongs to."""
    return labels(container).get(SERVICE_LABEL) or str(container.get("Name") or "").lstrip("/")


def standing(containers: Iterable[Container]) -> list[Container]:
    """Return the containers of services, without those of one run of a command."""
    return [each for each in containers if labels(each).get(ONCE_LABEL, "").lower() != "true"]


def active(definition: Mapping[str, Any]) -> dict[str, int]:
    """Return how many containers each service of a normalised definition has, without those of a profile."""
    return {
        name: int(((service.get("deploy") or {}).get("replicas")) or service.get("scale") or 1)
        for name, service in definition["services"].items()
        if not service.get("profiles")
    }


def state_of(container: Container) -> str:
    """Return what is wrong with a container, or an empty string."""
    state = container.get("State") or {}
    policy = ((container.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name") or "no"
    if not state.get("Running") or state.get("Restarting"):
        done = state.get("Status") == "exited" and state.get("ExitCode") == 0 and policy in ("no", "on-failure")
        return "" if done else "stopped"
    health = (state.get("Health") or {}).get("Status") or "healthy"
    return "" if health == "healthy" else health


def drift(
    wanted: Mapping[str, int], known: Iterable[str], hashes: Mapping[str, str], containers: Iterable[Container]
) -> dict[str, str]:
    """Return what sets the containers apart from a release, by service.

    *wanted* is the number of containers by service, *known* every service of the release, *hashes* what
    compose would label each container with.
    """
    by_service: dict[str, list[Container]] = {}
    for container in standing(containers):
        by_service.setdefault(service_of(container), []).append(container)
    found = {name: "removed" for name in by_service if name not in set(known)}
    for name, number in wanted.items():
        mine = by_service.get(name) or []
        bad = [state for state in map(state_of, mine) if state]
        if any(labels(each).get(HASH_LABEL) != hashes.get(name) for each in mine):
            found[name] = "changed"
        elif bad:
            found[name] = bad[0]
        elif len(mine) != number:
            found[name] = "missing"
    return dict(sorted(found.items()))


def predicted(found: Mapping[str, str]) -> list[str]:
    """Return what starting a release would do about its drift."""
    words = {"removed": "removed", "changed": "re-created", "missing": "created"}
    return [f"{words.get(what, 'started')} service {name}" for name, what in found.items()]


def snapshot(containers: Iterable[Container]) -> dict[str, tuple[str, str]]:
    """Return service and start of each container by its id."""
    return {
        str(each.get("Id")): (service_of(each), str((each.get("State") or {}).get("StartedAt") or ""))
        for each in standing(containers)
    }


def done(before: Mapping[str, tuple[str, str]], after: Mapping[str, tuple[str, str]]) -> list[str]:
    """Return what happened to the containers between two snapshots."""
    old = {service for service, _start in before.values()}
    now = {service for service, _start in after.values()}
    fresh = {after[each][0] for each in after if each not in before}
    again = {after[each][0] for each in after if each in before and after[each] != before[each]}
    return [
        *(f"created service {name}" for name in sorted(fresh - old)),
        *(f"re-created service {name}" for name in sorted(fresh & old)),
        *(f"started service {name}" for name in sorted(again - fresh)),
        *(f"removed service {name}" for name in sorted(old - now)),
    ]


def former_after(
    record: Mapping[str, Any] | None, current: str | None, folder: str, move: int | None
) -> dict[str, Any] | None:
    """Return what stands before a release once the pointer names it.

    All releases that one move brings have the same former one: that from before the move.
    """
    if record is not None and move is not None and record.get("move") == move:
        return dict(record)
    if current == folder and move is None:
        return dict(record) if record is not None else None
    return {"release": current, "move": move}


def former_of(record: Mapping[str, Any] | None, current: str | None, move: int | None) -> str | None:
    """Return the release to bring back; where no act of this move replaced any, the current one."""
    if move is not None and (record is None or record.get("move") != move):
        return current
    return record["release"] if record else None


def waived(findings: Iterable[Any], waivers: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the rules that were broken and waived, each with its reason."""
    reasons = {(entry["service"], entry["rule"]): entry["reason"] for entry in waivers}
    return [
        {
            "service": finding.service,
            "rule": finding.rule,
            "reason": reasons.get((finding.service, finding.rule)) or reasons.get(("*", finding.rule), ""),
        }
        for finding in findings
    ]


def colour_of(name: str, app: str) -> str:
    """Return the colour whose stack has this name; empty for other stacks."""
    colour = name.removeprefix(f"{app}-")
    return colour if name != colour and colour in ("blue", "green") else ""
