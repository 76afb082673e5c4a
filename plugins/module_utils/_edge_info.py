# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Everything an edge knows of an app, read without changing anything."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge, _edge_state, _edge_store, _entry
from ansible_collections.evenkeel.platform.plugins.module_utils._adapter import Adapter, ProxyDown
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records


def drift(
    served: str | None, workers: list[dict[str, t.Any]], saved: str | None, record: t.Mapping[str, t.Any] | None
) -> list[str]:
    """Return one sentence for each place that differs from what the current worker serves."""
    found = [
        f"worker {worker['pid']} holds {worker['value']!r}, the current one {served!r}"
        for worker in workers
        if worker["value"] != served
    ]
    if saved != served:
        found.append(f"live.map holds {saved!r}, the proxy {served!r}")
    recorded = (record or {}).get("entry")
    entry = _entry.parse(served, "blue_green_info", "the proxy")
    if recorded is not None and _entry.parse(recorded, "blue_green_info", "state.json") != entry:
        found.append(f"state.json holds {recorded!r}, the proxy {served!r}")
    return found


def read(records: Records, adapter: Adapter) -> dict[str, t.Any]:
    """Return the result of C(blue_green_info)."""
    holder = _edge_store.EdgeStore(records, adapter)
    held = holder.load(read_only=True)
    backends: dict[str, t.Any] = {colour: {} for colour in _entry.COLOURS}
    sessions = dict.fromkeys(_entry.COLOURS, 0)
    try:
        if holder.running:
            backends = adapter.backends()
            sessions = {colour: sum(adapter.sessions(colour).values()) for colour in _entry.COLOURS}
        else:
            records.warnings.append(f"{records.module}: HAProxy does not run, so this is what its files hold.")
    except ProxyDown as failure:
        records.warnings.append(failure.sentence)
        holder.running = False
    record, problems = _edge.read_record(Path(records.path("edge.json")))
    state = records.read("state.json", read_only=True)
    shown = adapter.shown()
    kept = held.entry_recorded and adapter.read_saved() == holder.served
    found = drift(holder.served, holder.workers, adapter.read_saved(), state)
    if not holder.confirmed:
        found.append("the edge was away, and serves nothing of the app until its entry is confirmed")
    return {
        "entry": _entry.as_dict(held.entry),
        **_edge_state.as_result(held, holder.pair),
        "confirmed": holder.confirmed,
        "recorded": kept and shown == _edge_state.status(held, shown.pair, holder.confirmed),
        "running": holder.running,
        "loaded": adapter.loaded(),
        "workers": holder.workers,
        "backends": backends,
        "sessions": sessions,
        "record": _edge.upgraded(record) or {},
        "record_problems": problems,
        "drift": found,
    }
