# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Servers of an app that take no new requests while their container restarts: C(draining.json) of an edge.

Each has an end, in seconds of the epoch. A run that dies in between leaves the server to C(edge-sync withdraw), which
sets it ready once its end has come; until then the other servers take the requests.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._adapter import Adapter
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

FILE = "draining.json"


def key(colour: str, service: str, server: str) -> str:
    """Return the name of a server in the record."""
    return f"{colour}/{service}/{server}"


def recorded(records: Records, read_only: bool = True) -> dict[str, int]:
    """Return the servers that are set to drain, each with its end."""
    found = (records.read(FILE, read_only=read_only) or {}).get("servers")
    return {str(name): int(until) for name, until in found.items()} if isinstance(found, dict) else {}


def due(servers: t.Mapping[str, int], now: float) -> list[str]:
    """Return the servers whose end has come."""
    return sorted(name for name, until in servers.items() if until <= now)


def drain(records: Records, adapter: Adapter, colour: str, service: str, server: str, until: int) -> None:
    """Set a server to drain; recorded first, so that a crash leaves no server that nobody sets ready."""
    known = recorded(records, read_only=False)
    records.write({"servers": {**known, key(colour, service, server): until}}, FILE)
    _refuse(records, adapter.set_server(colour, service, server, "drain"), server)


def ready(records: Records, adapter: Adapter, names: t.Iterable[str]) -> None:
    """Set servers ready, then remove them from the record."""
    known = recorded(records, read_only=False)
    for name in names:
        colour, service, server = name.split("/")
        _refuse(records, adapter.set_server(colour, service, server, "ready"), server)
        known.pop(name, None)
    records.write({"servers": known}, FILE)


def _refuse(records: Records, problems: t.Sequence[str], server: str) -> None:
    if problems:
        raise Failure(
            sentence(
                records.module,
                "the state of a server is not set",
                f"{server} of app {records.app}",
                "; ".join(problems),
                "every worker of HAProxy to take it",
                "Run it again, and see 'systemctl status haproxy'",
            )
        )
