# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Ports of an app on its hosts: one for each web service, colour and replica slot.

*Ports* are C({service: {"blue": [port, ...], "green": [port, ...]}}). A port once given is never moved.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _model
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import plain
from ansible_collections.evenkeel.platform.plugins.module_utils._model import COLOURS, Model, additions

Ports = dict[str, dict[str, list[int]]]


def numbers(ports: Ports) -> set[int]:
    """Return every port number that was given."""
    return {port for sides in ports.values() for side in sides.values() for port in side}


def recorded(record: dict[str, t.Any]) -> Ports:
    """Return the ports given so far, read from an edge's *record*; what it does not name was never given."""
    ports: Ports = {}
    for name, service in (record.get("services") or {}).items():
        ports[name] = {}
        for colour in COLOURS:
            slots = {int(server["name"].rsplit("_", 1)[1]): server["port"] for server in service["servers"][colour]}
            ports[name][colour] = [slots[slot] for slot in sorted(slots)]
    return ports


def allocate(model: Model, existing: Ports | None = None, used: t.Collection[int] = ()) -> Ports:
    """Return *existing* with a port for each slot that has none yet, taken from the app's range.

    Inserting a service, raising C(replicas_max) or changing C(port_base) moves no port that was given, and what a
    service no longer uses stays reserved. *used* are ports of others. Raises C(ValueError) when the range is full.
    """
    ports: Ports = plain(existing) if existing else {}
    taken = numbers(ports) | set(used)
    first, count = model["port_base"], model["port_count"]
    free = (port for port in range(first, first + count) if port not in taken)
    for name, service in _model.of_kind(model, "web").items():
        sides = ports.setdefault(name, {colour: [] for colour in COLOURS})
        for slot in range(additions(service)["replicas_max"]):
            for colour in COLOURS:
                if len(sides[colour]) > slot:
                    continue
                port = next(free, None)
                if port is None:
                    raise ValueError(
                        f"app_deploy: ports of app {model['name']}: found no free port in {first}-{first + count - 1}, "
                        f"need one for service {name} ({colour}, replica {slot + 1}). Raise port_count."
                    )
                sides[colour].append(port)
    return ports


def rules(model: Model, sources: list[str], recorded_ports: Ports | None = None) -> list[dict[str, t.Any]]:
    """Return what the firewall lets in to the colours: the edges' addresses only.

    Besides the app's range, every recorded port stays open, so that a changed range cuts off nothing that serves.
    """
    opened = set(range(model["port_base"], model["port_base"] + model["port_count"]))
    opened |= numbers(recorded_ports or {})
    return [{"name": f"{model['name']} colours", "ports": _ranges(opened), "protocol": "tcp", "from": sources}]


def _ranges(ports: t.Iterable[int]) -> list[str]:
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return [str(first) if first == last else f"{first}-{last}" for first, last in spans]
