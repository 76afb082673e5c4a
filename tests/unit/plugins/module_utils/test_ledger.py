# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is live, held, warm and pending, and what retention never removes."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _ledger


def row(identity: str, result: str = "live", **more: t.Any) -> _ledger.Row:
    hold = [identity] if result in ("refused", "rolled_back") else []
    return {"identity": identity, "result": result, "hold": hold, "kind": "deploy", "sealed_at": "", **more}


@pytest.mark.parametrize(
    ("rows", "held"),
    [
        pytest.param([row("1.0")], [], id="live"),
        pytest.param([row("1.1", "refused")], ["1.1"], id="refused"),
        pytest.param([row("1.1", "rolled_back")], ["1.1"], id="rolled-back"),
        pytest.param([row("1.1", "abandoned")], [], id="abandoned"),
        pytest.param([row("1.1", "refused"), row("1.1")], [], id="retried-with-success"),
        pytest.param([row("1.1"), row("1.0", hold=["1.1"], kind="rollback")], ["1.1"], id="replaced-by-a-rollback"),
        pytest.param([row("1.1", "refused"), row("1.1+2")], ["1.1"], id="other-content-went-live"),
    ],
)
def test_held(rows: list[_ledger.Row], held: list[str]) -> None:
    assert sorted(_ledger.held(rows)) == held


def test_live_history_skips_what_did_not_stay() -> None:
    rows = [row("1.0"), row("1.1", "refused"), row("1.2"), row("1.2"), row("1.2", kind="contract")]
    assert [each["identity"] for each in _ledger.live_history(rows)] == ["1.2", "1.0"]


@pytest.mark.parametrize(
    ("until", "warm"),
    [
        pytest.param(100.0, True, id="in-time"),
        pytest.param(50.0, False, id="over"),
        pytest.param(None, False, id="never"),
    ],
)
def test_warm(until: float | None, warm: bool) -> None:
    rows = [row("1.1", previous="1.0", warm_until=_clock.iso(until) if until else None, **{"from": "blue"})]
    found = _ledger.warm(rows, 60.0, _clock.parse)
    assert (found is not None) is warm
    if found:
        assert (found["identity"], found["colour"]) == ("1.0", "blue")


def test_contract_migrations_are_pending_until_they_ran() -> None:
    steps = [{"phase": "expand", "service": "api"}, {"phase": "contract", "service": "api", "command": ["x"]}]
    releases = {"1.1": {"content": {"migration": steps}}}
    rows = [row("1.0"), row("1.1")]
    assert _ledger.pending_contract(rows, releases) == [{"identity": "1.1", "service": "api", "command": ["x"]}]
    assert _ledger.contract_since(rows, "1.0") is None
    rows.append(row("1.1", kind="contract"))
    assert _ledger.pending_contract(rows, releases) == []
    found = _ledger.contract_since(rows, "1.0")
    assert found is not None
    assert found["identity"] == "1.1"


NAMES = st.sampled_from([f"1.{number}" for number in range(9)])
ROWS = st.lists(st.tuples(NAMES, st.sampled_from(_ledger.RESULTS), NAMES), max_size=25)


@given(ROWS, st.sets(NAMES), st.integers(1, 6), NAMES, NAMES)
def test_retention_never_removes_what_is_needed(
    steps: list[tuple[str, str, str]], kept: set[str], keep: int, live: str, unfinished: str
) -> None:
    rows = [row(identity, result, previous=previous) for identity, result, previous in steps]
    created = {identity: f"2026-01-0{identity[-1]}" for identity in kept}
    gone = set(_ledger.prune(created, rows, keep, live, unfinished))
    history = _ledger.live_history(rows)
    needed = {live, unfinished} | set(_ledger.held(rows)) | {each["identity"] for each in history[:2]}
    if history:
        needed.add(history[0]["previous"])
    assert not gone & needed
    assert gone <= kept
    assert len(kept - gone) >= min(keep, len(kept))
    assert not gone & set(sorted(kept, reverse=True)[:keep])
