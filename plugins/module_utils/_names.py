# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Names of containers, built so that no two services can share one. Pure functions.

The name of an app or of a service holds no dot, so a dot separates what a hyphen cannot: replica 1 of C(api)
is C(api.1), and no service is called that.
"""

from __future__ import annotations

import re
import typing as t

_REPLICA = re.compile(r"(?P<service>[a-z0-9][a-z0-9_-]*)\.(?P<number>[1-9][0-9]*)\Z")
_UNIT = re.compile(r"evenkeel-job-(?P<app>[a-z][a-z0-9-]*)\.(?P<job>[a-z0-9][a-z0-9_-]*)\.(?:service|timer)\Z")


class Replica(t.NamedTuple):
    """A service and which of its replicas; number 0 where the service has no numbered ones."""

    service: str
    number: int = 0


def replica_name(service: str, number: int) -> str:
    """Return the name of a replica of a service within its stack."""
    return f"{service}.{number}"


def parse_replica(name: str) -> Replica:
    """Return the service and replica of a name within a stack."""
    found = _REPLICA.match(name)
    return Replica(found["service"], int(found["number"])) if found else Replica(name)


def container_name(app: str, service: str, number: int = 0) -> str:
    """Return the container's name of a worker, singleton or job, or of one numbered replica of it."""
    return f"{app}.{replica_name(service, number) if number else service}"


def parse_container(name: str) -> tuple[str, Replica]:
    """Return the app and the replica of a container's name; the app is empty where the name is none of ours."""
    app, dot, rest = name.lstrip("/").partition(".")
    return (app, parse_replica(rest)) if dot and rest else ("", Replica(name.lstrip("/")))


def job_unit(app: str, job: str) -> str:
    """Return the name of a scheduled job's units, without their ending."""
    return f"evenkeel-job-{app}.{job}"


def parse_job_unit(file: str) -> tuple[str, str]:
    """Return app and job of a unit's file name; both empty for other units."""
    found = _UNIT.match(file)
    return (found["app"], found["job"]) if found else ("", "")
