# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Read and write what one edge holds of one app: the proxy's memory, its map files, C(state.json), C(pair.json)."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge_state, _entry, _pair
from ansible_collections.evenkeel.platform.plugins.module_utils._adapter import Adapter, ProxyDown
from ansible_collections.evenkeel.platform.plugins.module_utils._edge_state import EdgeState
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records


class EdgeStore:
    """One app on one edge. With C(tolerant) a record that cannot be written is a warning, never an error."""

    def __init__(self, records: Records, adapter: Adapter, tolerant: bool = False) -> None:
        self.records = records
        self.adapter = adapter
        self.tolerant = tolerant
        self.unrecorded = False
        self.running = True
        self.workers: list[dict[str, t.Any]] = []
        self.served: str | None = None
        self.held = EdgeState()
        self.pair = Pair()
        self.confirmed = True

    def load(self, down_ok: bool = True, read_only: bool = False) -> EdgeState:
        """Read all of it; what the current worker serves is the entry, that of the file when nothing runs."""
        self.running = True
        try:
            self.workers = self.adapter.read()
            self.served = self.workers[0]["value"]
        except ProxyDown:
            if not down_ok:
                raise
            self.running, self.workers, self.served = False, [], self.adapter.read_saved()
        status = self.adapter.shown()
        entry = _entry.parse(self.served, self.records.module, self.records.app)
        self.held = _edge_state.of(self.records.read("state.json", read_only=read_only), status, entry)
        self.pair = max(_pair.highest(self.records), status.pair)
        self.confirmed = status.confirmed
        return self.held

    def check(self, pair: Pair) -> None:
        """Refuse a pair lower than any that memory or records know."""
        _pair.refuse_lower(self.records.module, self.records.app, pair, self.pair)

    def attempt(self, act: t.Callable[[], t.Any]) -> None:
        try:
            act()
        except (Failure, OSError) as exc:
            if not self.tolerant:
                raise
            self.unrecorded = True
            self.records.warnings.append(f"{self.records.module}: a record was not written, the move goes on: {exc}")

    def raise_pair(self, pair: Pair) -> None:
        self.attempt(lambda: _pair.raise_to(self.records, pair))
        self.pair = max(self.pair, pair)

    def stale(self, after: EdgeState, pair: Pair, confirmed: bool = True) -> bool:
        """Tell whether a record or what is shown differs from what is to be held."""
        known = self.records.read("state.json", read_only=True) or {}
        wanted = _edge_state.record(after, self.records.app)
        return (
            any(known.get(name) != value for name, value in wanted.items())
            or self.adapter.shown() != _edge_state.status(after, pair, confirmed)
            or _pair.of_record(self.records.read(_pair.FILE, read_only=True)) != pair
        )

    def keep(self, after: EdgeState, confirmed: bool) -> None:
        """Record and show what is held from now on.

        What is set is recorded before it is shown, what is taken back is shown gone before its record goes: after
        a crash in between the edge refuses rather more moves than it shows.
        """
        steps: list[t.Callable[[], t.Any]] = [
            lambda: self.records.write(_edge_state.record(after, self.records.app), "state.json"),
            lambda: self.adapter.show(_edge_state.status(after, self.pair, confirmed)),
        ]
        if _edge_state.takes_back(self.held, after):
            steps.reverse()
        for step in steps:
            self.attempt(step)
        self.held, self.confirmed = after, confirmed

    def write_entry(self, value: str | None, moving: bool = True) -> list[str]:
        """Move and read back; a worker that came in between read the old file, so it is moved once more."""
        if not self.running:
            return []
        problems = (self.adapter.move(value) if moving else []) + self.adapter.verify(value)
        if problems:
            problems = self.adapter.move(value) + self.adapter.verify(value)
        return problems
