# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What status prints: the edges say what is live and warm, the records who released it."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_status, _clock

Data = dict[str, t.Any]
NOW = _clock.parse("2026-11-21T10:00:00Z")
PLAY = "ansible-playbook evenkeel.platform."
SIDE = {"colour": "blue", "release": "3.0", "until": int(NOW) + 600, "move": 7}
SINCE = "2026-11-21T09:00:00.000Z"


def edge(text: str = "green:0:3.1:3.0", **more: t.Any) -> Data:
    colour, weight, release, other = text.split(":") if text else ("", "0", "", "")
    return {
        "entry": {
            "text": text,
            "colour": colour,
            "weight": int(weight),
            "release": release,
            "other_release": other,
        },
        "move": 7,
        "moved_at": "2026-11-21T09:50:00.000Z",
        "warm": dict(SIDE),
        "withdrawn": {},
        "out": {},
        "confirmed": True,
        "running": True,
        "drift": [],
        "backends": {
            "blue": {},
            "green": {"api": [{"healthy": True, "sessions": 2}, {"healthy": False, "sessions": 1}]},
        },
        **more,
    }


def row(identity: str = "3.1", previous: str = "3.0", **more: t.Any) -> Data:
    return {
        "identity": identity,
        "previous": previous,
        "result": "live",
        "kind": "deploy",
        "sealed_at": SINCE,
        "owner": "anna",
        "reason": "",
        "seconds": 3.2,
        **more,
    }


def records(*rows: Data, **more: t.Any) -> Data:
    rows = rows or (row(),)
    return {
        "live_rows": list(rows),
        "ledger": list(rows),
        "lease": {"held": False},
        "held": [],
        "pending_contract": [],
        "unfinished": {},
        "warm": {"identity": "records", "colour": "say", "until": "other"},
        **more,
    }


def report(edges: Data | None = None, book: Data | None = None, lost: Data | None = None, **more: t.Any) -> str:
    state = {
        "app": "quill",
        "inventory_release": "3.1",
        "record_host": "edge1",
        "edges": edges if edges is not None else {"edge1": edge(), "edge2": edge()},
        "records": records() if book is None else book,
        "lost": lost or {},
        "run_lives": True,
        **more,
    }
    return "\n".join(_app_status.lines(state, NOW))


def test_all_is_well() -> None:
    assert (
        report()
        == f"""quill
  edge edge1: green serves 3.1
    api: 1 of 2 slots healthy, 3 sessions
  edge edge2: green serves 3.1
    api: 1 of 2 slots healthy, 3 sessions
  since {SINCE} by anna
  warm: 3.0 on blue until 2026-11-21T10:09:30.000Z
  lease: free
  last releases:
    {SINCE}  3.1          live        deploy by anna, 3.2 s
  next, 3.1 is live, go back to 3.0 if need be, possible until 2026-11-21T10:09:30.000Z: {PLAY}rollback -e app=quill"""
    )


def test_everything_that_the_records_say() -> None:
    book = records(
        row(reason="the first of two"),
        lease={"held": True, "owner": "bob", "taken_at": SINCE},
        unfinished={"identity": "3.2", "release": "3.2", "kind": "deploy", "boundary": "started", "owner": "bob"},
        held=[
            {"identity": "2.9", "result": "live", "at": SINCE},
            {"identity": "2.8", "result": "refused", "at": SINCE},
        ],
        pending_contract=[{"identity": "3.1", "service": "api"}],
    )
    edges = {"edge1": edge("green:5:3.1:3.0", drift=["one differs", "another"], out={"edge9": {}, "edge8": {}})}
    said = report(edges, book)
    for line in (
        "edge edge1: green serves 3.1, 5 % to the other side, but one differs; another, declared out: edge8, edge9",
        f"since {SINCE} by anna (the first of two)",
        f"lease: held by bob since {SINCE}",
        "unfinished: 3.2 at started, by bob",
        f"held: 2.9 (left by a rollback {SINCE})",
        f"held: 2.8 (refused {SINCE})",
        "contract migration pending: 3.1 api",
        f"next, wait for the run of bob and look again: {PLAY}status -e app=quill",
    ):
        assert f"  {line}\n" in said + "\n"
    assert "next, finish the deploy of 3.2" in report(edges, book, run_lives=False)


def test_the_record_host_is_down() -> None:
    assert (
        report({"edge1": {}, "edge2": edge()}, {})
        == f"""quill
  edge edge1: does not answer
  edge edge2: green serves 3.1
    api: 1 of 2 slots healthy, 3 sessions
  since 2026-11-21T09:50:00.000Z, as the edges say
  warm: 3.0 on blue until 2026-11-21T10:09:30.000Z
  record host edge1: does not answer
  next, start edge1, or go back to 3.0, possible until 2026-11-21T10:09:30.000Z: \
{PLAY}rollback -e app=quill -e without_records=true"""
    )
    cold = report({"edge1": {}, "edge2": edge(warm={})}, {})
    assert cold.endswith(
        "  warm: nothing\n  record host edge1: does not answer\n  next, start edge1, as every run needs the records, "
        f"and look again: {PLAY}status -e app=quill"
    )


def test_no_host_answers() -> None:
    assert (
        report({"edge1": {}, "edge2": {}}, {})
        == f"""quill
  edge edge1: does not answer
  edge edge2: does not answer
  warm: not known, as no edge answers
  record host edge1: does not answer
  next, start edge1 and start edge2, as no edge takes requests, and look again: {PLAY}status -e app=quill"""
    )


def test_a_host_that_failed_says_why() -> None:
    said = report({"edge1": {}, "edge2": edge()}, {}, lost={"edge1": "release_facts: a newer schema."})
    assert "  edge edge1: release_facts: a newer schema.\n" in said
    assert "  record host edge1: release_facts: a newer schema.\n" in said
    assert "  next, mend edge1, or go back" in said


def test_an_edge_is_down() -> None:
    book = records(held=[{"identity": "3.3-badworker", "result": "refused", "at": "2026-11-21T09:30:00.000Z"}])
    said = report({"edge1": edge(), "edge2": {}}, book)
    assert said.endswith(
        f"  next, start edge2, or declare edge2 out: {PLAY}deploy -e app=quill -e release=3.1 -e edge_out=edge2"
    )
    said = report({"edge1": edge(), "edge2": edge(running=False)}, book)
    assert "  edge edge2: green serves 3.1, but HAProxy does not run\n" in said
    assert "  next, start HAProxy on edge2, or declare edge2 out: " in said
    declared = report({"edge1": edge(out={"edge2": {}}), "edge2": {}}, book)
    assert "  next, bring edge2 back in once it runs again: " in declared


def test_an_edge_is_behind() -> None:
    said = report({"edge1": edge(), "edge2": edge("blue:0:3.0:", move=6)})
    assert "  next, bring edge2 to 3.1, which the other edges serve: " in said


def test_a_deploy_was_killed_after_its_switch() -> None:
    dead = {"identity": "3.1", "release": "3.1", "kind": "deploy", "boundary": "moved", "owner": "anna"}
    said = report(book=records(row("3.0", "2.9"), unfinished=dead))
    assert "  since 2026-11-21T09:50:00.000Z, as the edges say\n" in said
    assert SINCE + " by" not in said
    assert "  records: name 3.0 as live, so workers, singletons and jobs may still be those of 3.0\n" in said
    assert "  warm: 3.0 on blue until 2026-11-21T10:09:30.000Z\n" in said


def test_a_deploy_was_killed_after_it_withdrew_the_idle_side() -> None:
    said = report({name: edge(warm={}, withdrawn={"blue": 7}) for name in ("edge1", "edge2")})
    assert "  warm: nothing, a rollback would start the old release again\n" in said


def test_after_a_rollback_without_records() -> None:
    said = report({name: edge("blue:0:3.0:3.1", warm={}) for name in ("edge1", "edge2")})
    assert "  records: name 3.1 as live, so workers, singletons and jobs may still be those of 3.1\n" in said
    assert "  warm: nothing" in said
    assert said.endswith(
        f"  next, have workers, singletons, jobs and records follow to 3.0: {PLAY}rollback -e app=quill"
    )


@pytest.mark.parametrize(
    ("edge2", "expected"),
    [
        pytest.param(
            {"warm": {**SIDE, "until": int(NOW) + 100}}, "3.0 on blue until 2026-11-21T10:01:10.000Z", id="least"
        ),
        pytest.param({"warm": {**SIDE, "until": int(NOW) + 30}}, "3.0 on blue at edge1, nothing at edge2", id="margin"),
        pytest.param({"withdrawn": {"blue": 7}}, "3.0 on blue at edge1, nothing at edge2", id="withdrawn"),
        pytest.param(
            {"warm": {}, "confirmed": False}, "3.0 on blue until 2026-11-21T10:09:30.000Z", id="an unconfirmed edge"
        ),
    ],
)
def test_warm_is_what_every_edge_goes_back_to(edge2: Data, expected: str) -> None:
    edges = {"edge1": edge(), "edge2": edge(**edge2)}
    assert f"  warm: {expected}\n" in report(edges)
    assert bool(_app_status.warm(edges, NOW)) is ("until" in expected)


def test_a_refused_first_release() -> None:
    edges = {name: edge("", warm={}, moved_at="") for name in ("edge1", "edge2")}
    book = records(live_rows=[], held=[{"identity": "3.1+2", "result": "refused", "at": SINCE}])
    said = report(edges, book)
    assert "  edge edge1: none serves no release\n" in said
    assert "since" not in said
    assert said.endswith(
        "  next, set another release in app_deploy_apps, or try 3.1 again, which was refused: "
        f"{PLAY}deploy -e app=quill -e retry=3.1+2"
    )
