# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Names of replicas and containers. No two of them can meet, as names of apps and services hold no dot."""

from __future__ import annotations


def replica_name(service: str, number: int) -> str:
    """Return the Compose service that is replica C(number) of a service in a colour."""
    return f"{service}.{number}"


def container_name(app: str, service: str, number: int = 1) -> str:
    """Return the name of the container that is replica C(number) of a worker, a singleton or a job."""
    return f"{app}.{service}" if number == 1 else f"{app}.{service}.{number}"
