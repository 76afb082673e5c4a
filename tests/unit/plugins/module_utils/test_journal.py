# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Identities, boundaries and where a rerun resumes, for a crash at every boundary."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _journal
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

BEFORE = Entry("blue", 0, "1.0", "")
AFTER = Entry("green", 0, "1.1", "1.0")
ELSEWHERE = Entry("green", 0, "1.2", "1.0")
CONTENT: dict[str, t.Any] = {"release": "1.1", "migration": [{"phase": "expand", "idempotent": True}]}
HUMAN: dict[str, t.Any] = {"release": "1.1", "migration": [{"phase": "expand", "idempotent": False}]}
CONTRACT: dict[str, t.Any] = {"release": "1.1", "migration": [{"phase": "contract", "idempotent": False}]}


def opened(identity: str = "1.1", second: int = 0, **more: t.Any) -> _journal.Line:
    return {
        "at": _clock.iso(1.8e9 + second),
        "boundary": "leased",
        "opened": True,
        "token": 1,
        "run": "r1",
        "owner": "alice",
        "identity": identity,
        "release": identity.split("+", maxsplit=1)[0],
        "kind": "deploy",
        "from": "blue",
        "to": "green",
        "live_before": "1.0",
        **more,
    }


def line(boundary: str, second: int = 1, **detail: t.Any) -> _journal.Line:
    return {"at": _clock.iso(1.8e9 + second), "boundary": boundary, "token": 1, "run": "r1", "detail": detail}


def until(boundary: str, **detail: t.Any) -> list[_journal.Line]:
    """Return the journal of a run that died right after it noted the boundary."""
    lines = [opened()]
    for second, name in enumerate(_journal.BOUNDARIES[1:], 1):
        if boundary == "leased":
            break
        lines.append(line(name, second, **(detail if name == boundary else {})))
        if name == boundary:
            break
    return lines


@pytest.mark.parametrize(
    ("boundary", "live", "resumes"),
    [
        pytest.param("leased", BEFORE, "recorded", id="leased"),
        pytest.param("recorded", BEFORE, "recorded", id="recorded"),
        pytest.param("fetched", BEFORE, "fetched", id="fetched"),
        pytest.param("migrating", BEFORE, "fetched", id="migrating-idempotent"),
        pytest.param("migrated", BEFORE, "migrated", id="migrated"),
        pytest.param("started", BEFORE, "migrated", id="started-is-made-again"),
        pytest.param("gated", BEFORE, "started", id="gated-is-probed-again"),
        pytest.param("intended", BEFORE, "started", id="intended-not-moved"),
        pytest.param("intended", AFTER, "moved", id="intended-and-moved"),
        pytest.param("moved", AFTER, "moved", id="moved"),
        pytest.param("moved", BEFORE, "started", id="moved-and-gone-back"),
        pytest.param("confirmed", AFTER, "confirmed", id="confirmed"),
        pytest.param("confirmed", BEFORE, "started", id="confirmed-and-gone-back"),
        pytest.param("handed_over", AFTER, "handed_over", id="handed-over"),
        pytest.param("drained", AFTER, "drained", id="drained"),
        pytest.param("warm", AFTER, "warm", id="warm"),
        pytest.param("gated", ELSEWHERE, "migrated", id="the-target-colour-serves-another-release"),
        pytest.param("moved", ELSEWHERE, "migrated", id="another-release-was-moved-there"),
        pytest.param("intended", Entry("blue", 10, "1.0", "1.1"), "started", id="canary-under-way"),
    ],
)
def test_resume(boundary: str, live: Entry, resumes: str) -> None:
    found = _journal.resume(until(boundary), live, CONTENT, "shop", "")
    assert (found["boundary"], found["from_run"]) == (resumes, "r1")
    assert found["reason"]


def test_an_unknown_migration_waits_for_a_person() -> None:
    with pytest.raises(Failure, match=r"set retry=1\.1"):
        _journal.resume(until("migrating"), BEFORE, HUMAN, "shop", "")
    assert _journal.resume(until("migrating"), BEFORE, HUMAN, "shop", "1.1")["boundary"] == "fetched"
    assert _journal.resume(until("migrating"), BEFORE, CONTRACT, "shop", "")["boundary"] == "fetched"
    contracting = [opened(kind="contract"), line("migrating")]
    with pytest.raises(Failure, match="a person to look at the database"):
        _journal.resume(contracting, AFTER, CONTRACT, "shop", "")
    assert _journal.resume(contracting, AFTER, HUMAN, "shop", "")["boundary"] == "fetched"


def test_a_second_crash_resumes_from_the_resumed_boundary() -> None:
    lines = [*until("started"), opened(second=20, run="r2", resume={"boundary": "migrated"})]
    assert _journal.reached(lines) == "migrated"
    again = _journal.resume(lines, BEFORE, CONTENT, "shop", "")
    assert (again["boundary"], again["from_run"]) == ("migrated", "r2")


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        pytest.param(Entry(), ("", "blue"), id="first-release"),
        pytest.param(Entry("blue", 0, "", ""), ("", "blue"), id="entry-without-release"),
        pytest.param(BEFORE, ("blue", "green"), id="blue-live"),
        pytest.param(AFTER, ("green", "blue"), id="green-live"),
    ],
)
def test_colours(live: Entry, expected: tuple[str, str]) -> None:
    assert _journal.colours(live) == expected


def test_colours_of_a_moved_run_stay() -> None:
    assert _journal.colours_of(until("moved"), AFTER) == ("blue", "green")
    assert _journal.colours_of(until("moved"), BEFORE) == ("blue", "green")
    assert _journal.colours_of(until("gated"), ELSEWHERE) == ("green", "blue")


@pytest.mark.parametrize(
    ("known", "given", "identity"),
    [
        pytest.param({}, {}, "1.1", id="first-content"),
        pytest.param({"1.1": "h"}, {"1.1": 1}, "1.1", id="same-content"),
        pytest.param({"1.1": "x"}, {"1.1": 1}, "1.1+2", id="second-content"),
        pytest.param({"1.1": "x", "1.1+2": "y"}, {"1.1": 2}, "1.1+3", id="third-content"),
        pytest.param({"1.1": "x", "1.1+2": "h"}, {"1.1": 2}, "1.1+2", id="same-as-the-second"),
        pytest.param({"1.0": "h"}, {"1.0": 1}, "1.1", id="same-hash-under-another-name"),
        pytest.param({}, {"1.1": 1}, "1.1+2", id="a-broken-or-pruned-record-keeps-its-name"),
        pytest.param({"1.1": "x"}, {"1.1": 7}, "1.1+8", id="pruned-numbers-are-not-given-again"),
        pytest.param({"1.1+3": "x"}, {}, "1.1+4", id="a-lost-record-of-names-is-made-up-for-by-the-files"),
        pytest.param({"1.1+beta": "x"}, {}, "1.1+2", id="a-suffix-that-is-no-number"),
    ],
)
def test_identity(known: dict[str, str], given: dict[str, int], identity: str) -> None:
    assert _journal.identity_of("1.1", "h", known, given) == identity


def sealed(identity: str, previous: str = "", **more: t.Any) -> _journal.Line:
    return {"identity": identity, "result": "live", "kind": "deploy", "previous": previous, "token": 1, **more}


LEDGER = [sealed("1.0"), sealed("1.1", "1.0")]
ON_1_1 = Entry("green", 0, "1.1", "1.0")
BACK_ON_1_1 = Entry("green", 0, "1.1", "1.2")


def under_way(identity: str, boundary: str, kind: str = "deploy", before: str = "1.1") -> list[_journal.Line]:
    first = {**opened(identity, kind=kind, live_before=before), "from": "green", "to": "blue"}
    return [first, line(boundary)]


@pytest.mark.parametrize(
    ("live", "run", "wanted", "expected"),
    [
        pytest.param(ON_1_1, [], "", ("1.0", "1.1", False), id="to-the-release-before"),
        pytest.param(Entry("blue", 0, "1.0", "1.1"), [], "", ("1.0", "1.1", True), id="moved-by-a-killed-rollback"),
        pytest.param(BACK_ON_1_1, under_way("1.2", "drained"), "", ("1.1", "1.2", True), id="twice-is-once"),
        pytest.param(
            Entry("blue", 0, "1.2", "1.1"), under_way("1.2", "drained"), "", ("1.1", "1.2", False), id="out-of-a-deploy"
        ),
        pytest.param(ON_1_1, under_way("1.2", "started"), "", ("1.0", "1.1", False), id="a-deploy-that-moved-nothing"),
        pytest.param(
            Entry("blue", 0, "1.0", "1.1"),
            under_way("1.0", "leased", "rollback"),
            "",
            ("1.0", "1.1", True),
            id="a-rollback-that-was-killed",
        ),
        pytest.param(ON_1_1, [], "0.9", ("0.9", "1.1", False), id="the-named-one-or-none"),
        pytest.param(ON_1_1, [], "1.1", ("1.1", "1.1", True), id="the-live-one"),
        pytest.param(Entry(), [], "", ("1.0", "1.1", False), id="nothing-served"),
    ],
)
def test_way_back(live: Entry, run: list[_journal.Line], wanted: str, expected: tuple[str, str, bool]) -> None:
    found = _journal.way_back(live, run, LEDGER, wanted)
    assert (found["target"], found["leaving"], found["moved"]) == expected


@pytest.mark.parametrize(
    ("kind", "live", "identity", "run", "expected"),
    [
        pytest.param("deploy", ON_1_1, "1.1", [], {"unchanged": True, "to": "green"}, id="live-already"),
        pytest.param("deploy", ON_1_1, "1.2", [], {"from": "green", "to": "blue"}, id="a-new-one"),
        pytest.param(
            "deploy",
            ON_1_1,
            "1.1",
            under_way("1.0", "started"),
            {"unchanged": True, "abandon": True},
            id="the-live-one-after-a-run-that-moved-nothing",
        ),
        pytest.param(
            "deploy",
            ON_1_1,
            "1.1",
            under_way("1.2", "moved"),
            {"settled": True, "abandon": True, "to": "green"},
            id="the-live-one-after-a-run-that-may-have-changed-workers",
        ),
        pytest.param(
            "deploy",
            ON_1_1,
            "1.1",
            under_way("1.1", "migrating", "contract"),
            {"unchanged": True, "abandon": True},
            id="a-contract-is-not-closed-as-done",
        ),
        pytest.param(
            "deploy",
            Entry("blue", 0, "1.2", "1.1"),
            "1.2",
            under_way("1.2", "confirmed"),
            {"same": True},
            id="the-same-run-goes-on",
        ),
        pytest.param(
            "rollback", Entry("blue", 0, "1.0", "1.1"), "1.0", [], {"settled": True, "to": "blue"}, id="moved"
        ),
        pytest.param("rollback", ON_1_1, "1.1", [], {"unchanged": True}, id="back-to-what-is-live"),
        pytest.param("rollback", ON_1_1, "1.0", [], {"settled": False, "to": "blue"}, id="cold"),
    ],
)
def test_opened_as(kind: str, live: Entry, identity: str, run: list[_journal.Line], expected: dict[str, t.Any]) -> None:
    found = _journal.opened_as(kind, live, identity, run, LEDGER)
    assert {key: found[key] for key in expected} == expected


def test_a_release_sealed_again_keeps_the_one_before_it() -> None:
    run = [opened(live_before="1.1"), line("warm")]
    row = _journal.row(run, 1.8e9, result="live", token=1, live="", evidence={}, former=sealed("1.1", "1.0"))
    assert row["previous"] == "1.0"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers()), max_size=6))
def test_the_hash_does_not_depend_on_the_order_of_keys(content: dict[str, t.Any]) -> None:
    turned = dict(reversed(list(content.items())))
    assert _journal.content_hash(content) == _journal.content_hash(turned)
    assert _journal.content_hash(content) != _journal.content_hash({**content, "more": 1, "\x00": 2})


def test_another_strategy_makes_no_other_release() -> None:
    one = {"release": "1.0", "model": {"services": {"web": {}}, "strategy": {"warm_seconds": 600}}}
    other = {"release": "1.0", "model": {"services": {"web": {}}, "strategy": {"warm_seconds": 60}}}
    assert _journal.content_hash(one) == _journal.content_hash(other)
    assert _journal.content_hash(one) != _journal.content_hash({**other, "model": {"services": {}}})


@pytest.mark.parametrize(
    ("lines", "identities"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([opened(), line("fetched")], ["1.1", None], id="open"),
        pytest.param([opened(), line("sealed")], [], id="sealed"),
        pytest.param([opened("1.0"), line("sealed"), opened()], ["1.1"], id="open-after-a-sealed-one"),
        pytest.param([opened("1.0"), line("fetched"), opened()], ["1.1"], id="another-release-abandons"),
        pytest.param([opened(), line("fetched"), opened()], ["1.1", None, "1.1"], id="resumed"),
    ],
)
def test_unfinished(lines: list[_journal.Line], identities: list[str | None]) -> None:
    assert [each.get("identity") for each in _journal.unfinished(lines)] == identities


def test_boundaries_go_forward() -> None:
    run = until("gated")
    assert _journal.appended(run, "intended", 1, False, "shop")
    assert not _journal.appended(run, "gated", 1, False, "shop")
    assert _journal.appended(run, "gated", 2, False, "shop")
    with pytest.raises(Failure, match="the boundary goes back on shop: found fetched after gated"):
        _journal.appended(run, "fetched", 1, False, "shop")
    assert _journal.appended(run, "fetched", 1, True, "shop")
    with pytest.raises(Failure, match="no release is under way"):
        _journal.appended([], "fetched", 1, False, "shop")


@pytest.mark.parametrize(
    ("kind", "result", "holds"),
    [
        pytest.param("deploy", "live", [], id="live"),
        pytest.param("deploy", "refused", ["1.1"], id="refused"),
        pytest.param("contract", "refused", [], id="contract refused"),
        pytest.param("deploy", "rolled_back", ["1.1"], id="rolled-back"),
        pytest.param("deploy", "abandoned", [], id="abandoned"),
        pytest.param("rollback", "live", ["1.0"], id="rollback-holds-what-it-replaced"),
    ],
)
def test_row(kind: str, result: str, holds: list[str]) -> None:
    run = [opened(kind=kind), line("fetched", 3), line("warm", 8, until="2027-01-15T09:00:00Z")]
    row = _journal.row(run, 1.8e9 + 10, result=result, token=1, live="green:0:1.1:1.0", evidence={"gate": 3})
    assert row["hold"] == holds
    assert (row["identity"], row["previous"], row["seconds"]) == ("1.1", "1.0", 10.0)
    assert [(each["boundary"], each["seconds"]) for each in row["timings"]] == [("fetched", 3.0), ("warm", 5.0)]
    assert row["warm_until"] == "2027-01-15T09:00:00Z"


def test_a_release_that_a_rollback_left_is_told_as_such() -> None:
    row = {"identity": "1.0", "result": "live", "sealed_at": "2026-11-30T17:43:03.520Z", "owner": "alice", "reason": ""}
    told = _journal.held_sentence("shop", "1.1", row)
    assert "found it left by a rollback to 1.0 at 2026-11-30T17:43:03.520Z by alice" in told
