# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves on a real HAProxy: nothing is lost, every worker moves, and a crash is repaired."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Status

from .conftest import Edge, Haproxy, answer, request

Run = t.Callable[..., dict[str, t.Any]]


ALONE = {"run": "alone", "token": 1}


@pytest.fixture
def act(run: Run, haproxy: Haproxy) -> Run:
    def call(state: str, **params: t.Any) -> dict[str, t.Any]:
        return run("blue_green", **{"adapter_options": haproxy.options, "state": state, **ALONE, **params})

    return call


@pytest.fixture
def move(act: Run, haproxy: Haproxy) -> Run:
    """Move from wherever the edge is; a move named is the one that the plan assumed."""

    def call(colour: str, **params: t.Any) -> dict[str, t.Any]:
        if colour != "previous" and "move" not in params:
            params["move"] = haproxy.move()
        return act("moved", colour=colour, **params)

    return call


def probe_of(haproxy: Haproxy, **options: t.Any) -> dict[str, t.Any]:
    return {"url": f"http://127.0.0.1:{haproxy.port}/", "within_seconds": 0.2, **options}


def state_of(haproxy: Haproxy) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], json.loads((haproxy.folder / "state.json").read_text()))


def test_moves_reads_back_and_is_unchanged_again(move: Run, run: Run, haproxy: Haproxy) -> None:
    planned = move("green", release="1.1", _check=True, _diff=True)
    assert (planned["changed"], planned["before"]["text"], planned["after"]["text"]) == (
        True,
        "blue:0:1.0:",
        "green:0:1.1:1.0",
    )
    assert planned["diff"] == {"before": "blue:0:1.0:\n", "after": "green:0:1.1:1.0\n"}
    assert haproxy.served() == "blue:0:1.0:"
    assert not (haproxy.folder / "state.json").exists()
    assert not (haproxy.folder / "pair.json").exists()

    moved = move("green", release="1.1", assume_entry="blue:0:1.0:", _diff=True)
    assert planned.keys() == moved.keys()
    assert (moved["changed"], moved["move"], moved["moved_back"]) == (True, 1, False)
    assert moved["after"] == {
        "text": "green:0:1.1:1.0",
        "colour": "green",
        "weight": 0,
        "release": "1.1",
        "other_release": "1.0",
    }
    assert haproxy.served() == "green:0:1.1:1.0"
    assert haproxy.map.read_text() == "shop green:0:1.1:1.0\n"
    assert haproxy.map.stat().st_mode & 0o777 == 0o600
    state = state_of(haproxy)
    assert (state["schema"], state["entry"], state["previous"], state["move"]) == (
        2,
        "green:0:1.1:1.0",
        "blue:0:1.0:",
        1,
    )
    assert state["moved_by"] == moved["pair"] == {"token": 1, "run": "alone"}
    assert haproxy.get() == (200, '{"release": "1.1"}')
    assert haproxy.shown() == Status(True, 1, Pair(1, "alone"))

    again = move("green", release="1.1", move=0, assume_entry="blue:0:1.0:")
    assert (again["changed"], again["repaired"], again["move"], again["moved_at"]) == (
        False,
        False,
        1,
        moved["moved_at"],
    )
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert info["entry"] == moved["after"]
    assert (info["move"], info["pair"], info["confirmed"], info["drift"]) == (1, moved["pair"], True, [])
    assert [row["server"] for row in info["backends"]["green"]["api"]] == ["app1_1", "app2_1"]
    assert all(row["healthy"] for row in info["backends"]["green"]["api"])


def test_a_plan_made_for_another_move_or_entry_is_refused(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1")
    late = move("blue", move=0)
    assert late["failed"]
    assert late["replan"]
    assert "found move 1 with the entry green:0:1.1:1.0, need move 0" in late["msg"]
    assert move("blue", move=1, assume_entry="green:0:1.2:1.0")["failed"]
    assert haproxy.served() == "green:0:1.1:1.0"
    assert move("blue", move=1, assume_entry="green:0:1.1:1.0")["move"] == 2


def test_an_edge_left_behind_takes_the_number_of_the_move(move: Run, haproxy: Haproxy) -> None:
    assert move("green", release="1.1")["move"] == 1
    lifted = move("green", release="1.1", move=6)
    assert (lifted["changed"], lifted["repaired"], lifted["move"]) == (True, True, 6)
    assert haproxy.shown().move == 6
    assert not move("green", release="1.1", move=6)["changed"]
    late = move("green", release="1.1", move=7, assume_entry="blue:0:1.0:")
    assert (late["repaired"], late["move"]) == (True, 8)


def test_a_higher_pair_is_known_at_once_and_a_lower_one_refused(act: Run, move: Run, haproxy: Haproxy) -> None:
    raised = act("raised", token=5, run="b")
    assert (raised["changed"], raised["pair"]) == (True, {"token": 5, "run": "b"})
    assert haproxy.shown() == Status(True, 0, Pair(5, "b"))
    assert (haproxy.folder / ".reserve").stat().st_size == 128 * 1024
    assert not act("raised", token=5, run="b")["changed"]
    for pair in ({"token": 5, "run": "a"}, {"token": 4, "run": "c"}):
        for check in (True, False):
            refused = move("green", release="1.1", _check=check, **pair)
            assert refused["failed"]
            assert refused["overtaken"]
            assert refused["after"]["text"] == "blue:0:1.0:"
            assert "changes nothing more" in refused["msg"]
        assert act("withdrawn", colour="green", move=0, **pair)["failed"]
    assert haproxy.served() == "blue:0:1.0:"
    assert move("green", release="1.1", token=5, run="b")["changed"]


def test_a_pair_is_known_before_the_app_is_configured(act: Run, haproxy: Haproxy) -> None:
    raised = act("raised", app="new", token=5, run="b")
    assert (raised.get("failed"), raised["pair"], raised["running"]) == (None, {"token": 5, "run": "b"}, True)
    assert (haproxy.root / "new" / "status.map").read_text() == f"new {Status(pair=Pair(5, 'b')).text()}\n"
    assert act("raised", app="new", token=4, run="z")["overtaken"]


@pytest.mark.parametrize("lost", ["pair.json", "state.json", "status.map"])
def test_a_damaged_record_lets_no_old_run_in(act: Run, move: Run, haproxy: Haproxy, lost: str) -> None:
    assert move("green", release="1.1", token=50, run="b")["changed"]
    (haproxy.folder / lost).write_text('{"schema": 1, "tok')
    refused = move("blue", token=49, run="z")
    assert refused["failed"]
    assert refused["highest"] == {"token": 50, "run": "b"}
    assert haproxy.served() == "green:0:1.1:1.0"
    assert act("withdrawn", colour="blue", move=1, token=50, run="b")["withdrawn"] == {"blue": 1}


def test_a_record_of_before_is_read(move: Run, run: Run, haproxy: Haproxy) -> None:
    old = {"schema": 1, "app": "shop", "token": 7, "entry": "blue:0:1.0:", "moved_at": "x", "warm": {}}
    (haproxy.folder / "state.json").write_text(json.dumps(old))
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert (info["move"], info["pair"], info["moved_at"]) == (0, {"token": 7, "run": ""}, "x")
    assert move("green", release="1.1", token=6, run="z")["failed"]
    assert move("green", release="1.1", token=7, run="a")["move"] == 1


def test_a_withdrawn_colour_is_not_moved_to_until_it_was_gated(act: Run, move: Run, run: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", warm_seconds=600)
    refused = act("withdrawn", colour="green", move=1)
    assert "serves requests on green of shop" in refused["msg"]
    assert "another move" in act("withdrawn", colour="blue", move=0)["msg"]
    assert act("withdrawn", colour="blue", move=1, _check=True)["changed"]
    assert haproxy.shown().withdrawn == {}
    withdrawn = act("withdrawn", colour="blue", move=1)
    assert (withdrawn["withdrawn"], withdrawn["warm"]) == ({"blue": 1}, {})
    assert haproxy.shown().withdrawn == {"blue": 1}
    assert not act("withdrawn", colour="blue", move=1)["changed"]
    for params in ({"colour": "blue"}, {"colour": "blue", "backward": True}):
        refused = move(**params)
        assert "the colour is withdrawn on blue of shop: found it withdrawn at move 1" in refused["msg"]
    assert move("green", weight=10, other_release="1.0")["failed"]
    assert move("previous", run="z")["cold"]

    gate = {
        "targets": [{"name": "blue", "url": f"http://127.0.0.1:{haproxy.blue.port}/"}],
        "successes": 1,
        "app": "shop",
        "colour": "blue",
        "state_dir": str(haproxy.root),
        "lock_dir": str(haproxy.root / "lock"),
        "adapter_options": haproxy.options,
        **ALONE,
    }
    assert "another move" in run("health_gate", move=0, **gate)["msg"]
    assert run("health_gate", move=1, **{**gate, "token": 0})["overtaken"]
    haproxy.blue.status = 500
    assert run("health_gate", move=1, timeout_seconds=0.2, **gate)["failed"]
    assert haproxy.shown().withdrawn == {"blue": 1}
    haproxy.blue.status = 200
    haproxy.until(lambda: haproxy.healthy("blue") == 1)
    passed = run("health_gate", move=1, **gate)
    assert (passed["changed"], passed["cleared"]) == (True, True)
    assert haproxy.shown().withdrawn == {}
    assert state_of(haproxy)["withdrawn"] == {}
    assert not run("health_gate", move=1, **gate)["changed"]
    assert move("blue", release="1.2")["move"] == 2


def test_a_colour_withdrawn_for_a_release_that_was_refused_becomes_warm_again(act: Run, move: Run) -> None:
    move("green", release="1.1", warm_seconds=600)
    act("withdrawn", colour="blue", move=1)
    until = int(time.time()) + 600
    assert act("restored", colour="blue", move=0, warm={"release": "1.0", "until": until})["failed"]
    back = act("restored", colour="blue", move=1, warm={"release": "1.0", "until": until})
    assert (back["withdrawn"], back["warm"]) == (
        {},
        {"colour": "blue", "release": "1.0", "until": until, "move": 1},
    )
    assert move("previous", run="z")["after"]["text"] == "blue:0:1.0:1.1"


def test_an_edge_is_declared_out_and_in(act: Run, haproxy: Haproxy) -> None:
    gone = act("out", edge="edge2", reason="its disk is dead", owner="eve")
    assert {**gone["out"]["edge2"], "at": ""} == {
        "token": 1,
        "run": "alone",
        "at": "",
        "owner": "eve",
        "reason": "its disk is dead",
    }
    assert haproxy.shown().out == ("edge2",)
    assert not act("out", edge="edge2", reason="again")["changed"]
    assert act("in", edge="edge2")["out"] == {}
    assert haproxy.shown().out == ()
    assert not act("in", edge="edge2")["changed"]


def unconfirm(haproxy: Haproxy) -> None:
    text = haproxy.shown()._replace(confirmed=False).text()
    (haproxy.folder / "status.map").write_text(f"shop {text}\n")
    haproxy.ask(f"@1 set map {haproxy.folder}/status.map shop {text}")


def test_run_that_moved_an_edge_confirms_it_when_it_lets_it_in(act: Run, move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1")
    unconfirm(haproxy)
    act("in", edge="edge2", own="edge1")
    assert not haproxy.shown().confirmed, "another edge was let in"
    assert act("in", edge="edge1", own="edge1")["changed"]
    assert haproxy.shown().confirmed
    unconfirm(haproxy)
    act("in", edge="edge1", own="edge1", token=2)
    assert not haproxy.shown().confirmed, "this run has not moved it"


def test_edge_that_is_still_declared_out_moves_without_serving(act: Run, move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1")
    unconfirm(haproxy)
    move("blue", release="1.2", confirm=False)
    assert not haproxy.shown().confirmed
    assert not move("blue", release="1.2", confirm=False)["changed"]
    assert act("in", edge="edge1", own="edge1")["changed"]
    move("green", release="1.3", confirm=False)
    assert haproxy.shown().confirmed, "it served already"


def test_a_move_confirms_an_unconfirmed_entry(act: Run, move: Run, run: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1")
    unconfirm(haproxy)
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert not info["confirmed"]
    assert "until its entry is confirmed" in info["drift"][0]
    act("raised", token=2)
    assert not haproxy.shown().confirmed, "to raise the pair confirms nothing"
    assert move("green", release="1.1", token=2)["changed"]
    assert haproxy.shown().confirmed
    assert run("blue_green_info", adapter_options=haproxy.options)["drift"] == []


def test_previous_is_the_warm_side_while_it_lasts(act: Run, move: Run, haproxy: Haproxy) -> None:
    assert move("previous", run="z")["cold"]
    move("green", release="1.1", warm_seconds=600)
    other = move("previous", run="z", assume_release="0.9")
    assert (other["cold"], other["changed"], other["after"]["text"]) == (True, False, "green:0:1.1:1.0")
    back = move("previous", run="z", assume_release="1.0")
    assert (back["after"]["text"], back["cold"], back["move"]) == ("blue:0:1.0:1.1", False, 2)
    assert back["pair"] == {"token": 2, "run": "z"}
    assert "a newer run" in move("green")["msg"].lower()
    assert move("previous", run="zz")["cold"], "what was gone back from is not warm"
    move("green", token=9, warm_seconds=29)
    assert move("previous", run="zz")["cold"], "the last 30 seconds are not warm"


def test_a_warm_rollback_takes_the_highest_token_and_move_of_all_edges(move: Run, haproxy: Haproxy, edge: Edge) -> None:
    move("green", release="1.1", warm_seconds=600)
    edge.shows("green:0:1.1:1.0", Status(True, 4, Pair(9, "deploy")))
    peers = [{"name": "edge2", "url": edge.url}, {"name": "dead", "url": "http://127.0.0.1:1/live/shop"}]
    back = move("previous", run="back", peers=peers)
    assert (back["move"], back["pair"]) == (5, {"token": 10, "run": "back"})


def test_edges_that_go_back_one_after_the_other_end_with_the_same_numbers(
    move: Run, haproxy: Haproxy, edge: Edge
) -> None:
    move("green", release="1.1", warm_seconds=600)
    edge.shows("blue:0:1.0:1.1", Status(True, 2, Pair(2, "back")))
    back = move("previous", run="back", peers=[{"name": "edge2", "url": edge.url}])
    assert (back["move"], back["pair"]) == (2, {"token": 2, "run": "back"})


def test_a_warm_side_that_died_is_cold(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", warm_seconds=600)
    died = move("previous", run="z", min_servers=9, check_wait_seconds=0)
    assert (died["cold"], died["changed"], died["after"]["text"]) == (True, False, "green:0:1.1:1.0")
    assert haproxy.served() == "green:0:1.1:1.0"
    assert died["pair"] == {"token": 1, "run": "alone"}


def test_a_warm_rollback_waits_for_the_first_check_after_a_reload(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", warm_seconds=600)
    haproxy.blue.stop()
    haproxy.until(lambda: haproxy.healthy("blue") == 0)
    timer = threading.Timer(0.5, haproxy.blue.start)
    timer.start()
    back = move("previous", run="z", check_wait_seconds=10)
    timer.join()
    assert (back["cold"], back["after"]["text"]) == (False, "blue:0:1.0:1.1")


def test_a_move_that_fails_leaves_the_warm_side_as_it_was(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", warm_seconds=600)
    haproxy.blue.release = "0.9"
    failed = move("previous", run="z", probe=probe_of(haproxy))
    assert failed["moved_back"], failed
    assert failed["move"] == 3, "an edge that was away must not take the undone move for the newer one"
    assert haproxy.served() == "green:0:1.1:1.0"
    warm = state_of(haproxy)["warm"]
    assert (warm["colour"], warm["release"]) == ("blue", "1.0")


@pytest.mark.parametrize("backward", [False, True])
def test_no_move_to_a_side_without_a_passed_check(move: Run, haproxy: Haproxy, backward: bool) -> None:
    haproxy.green.stop()
    haproxy.until(lambda: haproxy.healthy("green") == 0)
    for need in (0, 1, {"api": 0}):
        refused = move("green", release="1.1", min_servers=need, backward=backward, check_wait_seconds=0)
        assert "too few servers" in refused["msg"], need
    assert haproxy.served() == "blue:0:1.0:"


def test_a_failed_probe_does_not_move_back_to_a_dead_side(move: Run, haproxy: Haproxy) -> None:
    haproxy.green.release = "0.9"
    threading.Timer(0.2, haproxy.blue.stop).start()
    failed = move("green", release="1.1", probe=probe_of(haproxy, within_seconds=3.0))
    assert failed["failed"]
    assert (failed["moved_back"], failed["changed"], failed["after"]["colour"]) == (False, True, "green")
    assert "The entry stays, as blue has no server with a passed check" in failed["msg"]
    assert haproxy.served() == "green:0:1.1:1.0"
    assert haproxy.get()[0] == 200


def test_a_full_disk_does_not_stop_going_back(
    move: Run, run: Run, haproxy: Haproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    move("green", release="1.1", warm_seconds=600)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    back = move("previous", run="z", backward=True)
    assert (back.get("failed"), back["after"]["text"], back["unrecorded"]) == (None, "blue:0:1.0:1.1", True)
    assert "No space left on device" in str(back["warnings"])
    assert haproxy.get() == (200, '{"release": "1.0"}')
    assert haproxy.shown() == Status(True, 2, Pair(2, "z")), "hosts and edges see it all the same"
    assert haproxy.map.read_text() == "shop green:0:1.1:1.0\n"
    assert "live.map holds" in " ".join(run("blue_green_info", adapter_options=haproxy.options)["drift"])
    assert move("green", backward=True, token=1)["overtaken"], "the memory knows the newer run"
    monkeypatch.undo()
    mended = move("blue", move=1, token=2, run="z")
    assert (mended["repaired"], mended["move"], mended["unrecorded"]) == (True, 2, False)
    assert run("blue_green_info", adapter_options=haproxy.options)["drift"] == []


def test_the_room_set_aside_is_used_on_a_full_disk(
    act: Run, move: Run, haproxy: Haproxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    act("raised")
    reserve = haproxy.folder / ".reserve"
    real = os.fsync

    def full(handle: int) -> None:
        if reserve.exists():
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr("os.fsync", full)
    moved = move("green", release="1.1")
    assert (moved["after"]["text"], moved["unrecorded"]) == ("green:0:1.1:1.0", False), moved.get("msg")
    assert not reserve.exists()


def test_a_first_release_that_fails_leaves_nothing_live(move: Run, haproxy: Haproxy) -> None:
    haproxy.ask(f"@1 del map {haproxy.map} shop")
    haproxy.map.write_text("")
    haproxy.green.release = "0.9"
    failed = move("green", release="1.1", probe=probe_of(haproxy))
    assert failed["moved_back"]
    assert "shop" not in haproxy.ask(f"@1 show map {haproxy.map}")
    haproxy.green.release = "1.1"
    moved = move("green", release="1.1", probe=probe_of(haproxy))
    assert (moved["before"]["text"], moved["after"]["text"]) == ("", "green:0:1.1:")


def test_canary_gives_the_other_colour_its_share(move: Run, haproxy: Haproxy) -> None:
    shared = move("blue", weight=50, other_release="1.1")
    assert shared["after"]["text"] == "blue:50:1.0:1.1"
    bodies = {haproxy.get()[1] for _each in range(60)}
    assert bodies == {'{"release": "1.0"}', '{"release": "1.1"}'}
    assert move("green", weight=10, other_release="1.0")["failed"]
    aborted = move("blue", weight=0)
    assert aborted["after"]["text"] == "blue:0:1.0:1.1"
    assert {haproxy.get()[1] for _each in range(30)} == {'{"release": "1.0"}'}


def test_refuses_a_colour_without_passed_checks(move: Run, haproxy: Haproxy) -> None:
    haproxy.green.stop()
    haproxy.until(lambda: haproxy.healthy("green") == 0)
    refused = move("green", release="1.1", min_servers={"api": 2, "web": 1}, check_wait_seconds=0)
    assert refused["failed"]
    assert "on shop_green_api: found 0, need 2" in refused["msg"]
    assert "on shop_green_web: found 0, need 1" in refused["msg"]
    assert (refused["after"]["text"], refused["changed"]) == ("blue:0:1.0:", False)
    assert haproxy.served() == "blue:0:1.0:"


def test_waits_for_the_first_checks(move: Run, haproxy: Haproxy) -> None:
    haproxy.green.stop()
    haproxy.until(lambda: haproxy.healthy("green") == 0)
    timer = threading.Timer(0.5, haproxy.green.start)
    timer.start()
    moved = move("green", release="1.1", min_servers=2, check_wait_seconds=10)
    timer.join()
    assert moved["after"]["text"] == "green:0:1.1:1.0", moved.get("msg")


def test_a_check_planted_by_the_state_file_is_not_believed(move: Run, haproxy: Haproxy) -> None:
    saved = haproxy.root / "servers.state"
    saved.write_text(haproxy.ask("@1 show servers state"))
    haproxy.configure(state=f"server-state-file {saved}", load="load-server-state-from-file global")
    config = haproxy.root / "haproxy.cfg"
    config.write_text(config.read_text().replace("inter 300ms", "inter 5s"))
    haproxy.green.stop()
    haproxy.reload()
    row = next(line for line in haproxy.ask("@1 show stat").splitlines() if line.startswith("shop_green_api,app2_1"))
    assert ",UP," in row
    assert ",L7OK," in row
    refused = move("green", release="1.1", check_wait_seconds=0, min_servers=2)
    assert "have passed a check since the last reload" in refused["msg"]


def test_a_wrong_release_moves_back(move: Run, haproxy: Haproxy) -> None:
    haproxy.green.release = "0.9"
    probe = {"url": "http://shop.example.com/", "connect_to": f"127.0.0.1:{haproxy.port}", "within_seconds": 0.3}
    failed = move("green", release="1.1+2", probe=probe)
    assert failed["failed"]
    assert failed["moved_back"]
    assert not failed["changed"]
    assert "release is '0.9' instead of '1.1'" in failed["msg"]
    assert failed["probe"]["tries"] > 1
    assert haproxy.served() == "blue:0:1.0:"
    assert haproxy.map.read_text() == "shop blue:0:1.0:\n"
    state = json.loads((haproxy.folder / "state.json").read_text())
    assert (state["entry"], state["move"]) == ("blue:0:1.0:", 2)
    haproxy.green.release = "1.1"
    assert move("green", release="1.1+2", probe=probe)["probe"]["ok"] is True


@pytest.mark.parametrize(
    ("good_calls", "moved_back", "text"),
    [
        pytest.param(0, False, "the record cannot be written on", id="before-the-move"),
        pytest.param(2, True, "The entry was moved back to blue:0:1.0:, but not its records", id="after-the-move"),
    ],
)
def test_a_full_disk_moves_nothing_for_good(
    move: Run, haproxy: Haproxy, monkeypatch: pytest.MonkeyPatch, good_calls: int, moved_back: bool, text: str
) -> None:
    assert "failed" not in move("blue", token=1)
    calls = []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > good_calls:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    failed = move("green", release="1.1", token=2)
    assert failed["moved_back"] is moved_back, failed["msg"]
    assert text in failed["msg"]
    assert "No space left on device" in failed["msg"]
    assert haproxy.served() == "blue:0:1.0:"
    assert haproxy.map.read_text() == "shop blue:0:1.0:\n"
    monkeypatch.undo()
    assert move("green", release="1.1", token=2)["after"]["text"] == "green:0:1.1:1.0"


ENDLESS_MOVER = """
import contextlib, io, json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.evenkeel.platform.plugins.modules import blue_green
base = json.loads(sys.argv[1])
for token in range(1, 100000):
    colour = ("blue", "green")[token % 2]
    release = {"blue": "1.0", "green": "1.1"}[colour]
    with patch_module_args({**base, "colour": colour, "release": release, "token": token, "run": "a", "move": token - 1}):
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                blue_green.main()
            except SystemExit:
                pass
    print(token, flush=True)
"""


def test_a_mover_killed_at_any_moment_leaves_one_entry_and_a_rerun_converges(
    move: Run, run: Run, haproxy: Haproxy, pytestconfig: pytest.Config
) -> None:
    base = {
        "app": "shop",
        "state_dir": str(haproxy.root),
        "lock_dir": str(haproxy.root / "lock"),
        "adapter_options": haproxy.options,
    }
    drifted = 0
    for round_number in range(5):
        mover = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_MOVER, json.dumps(base)],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(pytestconfig.rootpath / ".collection")},
        )
        assert mover.stdout is not None
        mover.stdout.readline()
        time.sleep(0.0037 * (round_number + 1))
        mover.kill()
        mover.communicate()
        served = haproxy.served()
        assert served in ("blue:0:1.0:1.1", "green:0:1.1:1.0")
        assert haproxy.get()[0] == 200
        assert haproxy.map.read_text() in ("shop blue:0:1.0:1.1\n", "shop green:0:1.1:1.0\n", "shop blue:0:1.0:\n")
        drifted += bool(run("blue_green_info", adapter_options=haproxy.options)["drift"])
        colour, _weight, release, _other = served.split(":")
        again = move(colour, release=release, move=0, token=99999)
        assert again["after"]["text"] == served
        assert run("blue_green_info", adapter_options=haproxy.options)["drift"] == []
        assert not list(haproxy.folder.glob("*.broken-*"))
        # So that tokens and moves start again.
        for name in ("state.json", "pair.json"):
            (haproxy.folder / name).unlink()
        (haproxy.folder / "status.map").write_text(f"shop {Status().text()}\n")
        haproxy.ask(f"@1 set map {haproxy.folder}/status.map shop {Status().text()}")
        move("blue", release="1.0", other_release="1.1")
        for name in ("state.json", "pair.json"):
            (haproxy.folder / name).unlink()
        haproxy.ask(f"@1 set map {haproxy.folder}/status.map shop {Status().text()}")
        (haproxy.folder / "status.map").write_text(f"shop {Status().text()}\n")
    print(f"killed 5 times, {drifted} of them between the memory and the records")


def test_what_the_edge_knows_of_the_app_is_told(run: Run, haproxy: Haproxy) -> None:
    kept = haproxy.folder / "edge.json"
    assert run("blue_green_info", adapter_options=haproxy.options)["record"] == {}
    record = {"schema": 2, "app": "shop", "hosts": ["shop.example.com"], "services": {}, "routes": {}}
    kept.write_text(json.dumps({**record, "schema": 1}))
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert (info["record"], info["record_problems"]) == (record, [])
    kept.write_text('{"schema": 1')
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert (info["record"], info["entry"]["text"]) == ({}, "blue:0:1.0:")
    assert "cannot be read" in info["record_problems"][0]
    assert kept.exists()


def test_a_crash_before_the_file_is_repaired(move: Run, run: Run, haproxy: Haproxy) -> None:
    haproxy.ask(f"@1 set map {haproxy.map} shop green:0:1.1:1.0")
    assert "live.map holds" in run("blue_green_info", adapter_options=haproxy.options)["drift"][0]
    repaired = move("green", release="1.1", other_release="1.0")
    assert (repaired["changed"], repaired["repaired"], repaired["moved_back"]) == (True, True, False)
    assert haproxy.map.read_text() == "shop green:0:1.1:1.0\n"
    assert not move("green", release="1.1", other_release="1.0")["changed"]


def test_the_old_worker_is_moved_and_counted_too(move: Run, run: Run, haproxy: Haproxy) -> None:
    haproxy.blue.delay = 1.5
    with (
        socket.create_connection(("127.0.0.1", haproxy.port)) as held,
        socket.create_connection(("127.0.0.1", haproxy.port)) as slow,
    ):
        assert request(held)[1] == '{"release": "1.0"}'
        held.sendall(b"GET / HTTP/1.1\r\nHost: shop")
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: shop\r\n\r\n")
        time.sleep(0.1)
        haproxy.reload()
        haproxy.until(lambda: haproxy.healthy("green") == 2)
        assert len(haproxy.workers()) == 2
        moved = move("green", release="1.1")
        assert moved["move"] == 1
        info = run("blue_green_info", adapter_options=haproxy.options)
        assert [(worker["old"], worker["value"]) for worker in info["workers"]] == [
            (False, "green:0:1.1:1.0"),
            (True, "green:0:1.1:1.0"),
        ]
        held.sendall(b".example.com\r\n\r\n")
        assert answer(held)[1] == '{"release": "1.1"}'
        busy = run("connection_drain", colour="blue", timeout_seconds=0, adapter_options=haproxy.options)
        assert (busy["drained"], busy["sessions"], busy["changed"]) == (False, 1, False)
        drained = run("connection_drain", colour="blue", timeout_seconds=5, adapter_options=haproxy.options)
        assert (drained["drained"], drained["sessions"]) == (True, 0)
        assert answer(slow)[1] == '{"release": "1.0"}'


def test_a_body_that_is_awaited_across_a_move_counts_as_under_way(move: Run, run: Run, haproxy: Haproxy) -> None:
    """HAProxy has read the entry and waits for the first byte of the body before it chooses the backend."""
    shared = {"colour": "blue", "adapter_options": haproxy.options, "interval_seconds": 0.05}
    with (
        socket.create_connection(("127.0.0.1", haproxy.port)) as idle,
        socket.create_connection(("127.0.0.1", haproxy.port)) as head,
        socket.create_connection(("127.0.0.1", haproxy.port)) as post,
    ):
        assert request(idle)[0] == 200
        head.sendall(b"POST / HTTP/1.1\r\nHost: shop")
        post.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.2)
        move("green", release="1.1")
        seen = run("connection_drain", timeout_seconds=0.2, **shared)
        assert (seen["drained"], seen["sessions"], seen["undecided"]) == (False, 1, 1)
        results: list[dict[str, t.Any]] = []

        def trickle() -> None:
            for byte in (b"a", b"b", b"c"):
                time.sleep(0.2)
                post.sendall(b"1\r\n" + byte + b"\r\n")
            post.sendall(b"0\r\n\r\n")
            results.append(dict(zip(("status", "body"), answer(post), strict=True)))

        thread = threading.Thread(target=trickle)
        thread.start()
        drained = run("connection_drain", timeout_seconds=5, **shared)
        assert (drained["drained"], drained["seconds"] > 0.5) == (True, True)
        haproxy.blue.stop()  # what is drained may be stopped
        thread.join()
        assert results == [{"status": 200, "body": '{"release": "1.0", "body": "abc"}'}]


def test_a_request_that_comes_after_the_move_holds_no_drain_up(run: Run, haproxy: Haproxy) -> None:
    shared = {"colour": "green", "adapter_options": haproxy.options, "interval_seconds": 0.05}
    first = socket.create_connection(("127.0.0.1", haproxy.port))
    first.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n")
    time.sleep(0.1)

    def later() -> None:
        time.sleep(0.2)
        second = socket.create_connection(("127.0.0.1", haproxy.port))
        second.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n")
        first.close()
        time.sleep(3)
        second.close()

    threading.Thread(target=later, daemon=True).start()
    drained = run("connection_drain", timeout_seconds=5, **shared)
    assert drained["drained"]
    assert drained["seconds"] < 2


def test_a_deadline_of_the_drain_is_an_error_only_when_asked(run: Run, haproxy: Haproxy) -> None:
    haproxy.blue.delay = 1.0
    with socket.create_connection(("127.0.0.1", haproxy.port)) as slow:
        slow.sendall(b"GET /slow HTTP/1.1\r\nHost: shop\r\n\r\n")
        time.sleep(0.1)
        shared = {"colour": "blue", "timeout_seconds": 0.2, "adapter_options": haproxy.options}
        assert not run("connection_drain", **shared)["drained"]
        failed = run("connection_drain", fail_on_timeout=True, **shared)
        assert failed["msg"].startswith("connection_drain: sessions are left on blue of shop: found 1 after 0.2 s")
        assert answer(slow)[0] == 200


def test_switches_under_load_lose_nothing(move: Run, haproxy: Haproxy) -> None:
    over = threading.Event()
    lost: list[str] = []
    counts: dict[str, int] = {}

    def load(keepalive: bool) -> None:
        stream: socket.socket | None = None
        while not over.is_set():
            try:
                if stream is None:
                    stream = socket.create_connection(("127.0.0.1", haproxy.port), 5)
                status, body = request(stream)
                key = f"{status} {body}"
                counts[key] = counts.get(key, 0) + 1
                if status != 200:
                    lost.append(key)
                if not keepalive:
                    stream.close()
                    stream = None
            except OSError as exc:
                lost.append(repr(exc))
                stream = None
            time.sleep(0.002)
        if stream is not None:
            stream.close()

    threads = [threading.Thread(target=load, args=(index % 2 == 0,)) for index in range(6)]
    for thread in threads:
        thread.start()
    try:
        for index in range(20):
            colour = ("green", "blue")[index % 2]
            moved = move(colour, release=("1.1", "1.0")[index % 2])
            assert moved["changed"], moved.get("msg")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert lost == []
    assert sorted(counts) == ['200 {"release": "1.0"}', '200 {"release": "1.1"}']
    print(f"{sum(counts.values())} requests over 20 switches, 0 lost")


MOVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.evenkeel.platform.plugins.modules import blue_green
with patch_module_args(json.loads(sys.argv[1])):
    blue_green.main()
"""


def test_of_movers_at_once_with_one_plan_exactly_one_moves(haproxy: Haproxy, pytestconfig: pytest.Config) -> None:
    base = {
        "app": "shop",
        "state_dir": str(haproxy.root),
        "lock_dir": str(haproxy.root / "lock"),
        "adapter_options": haproxy.options,
        "colour": "green",
        "move": 0,
        "run": "a",
    }
    movers = [
        subprocess.Popen(
            [sys.executable, "-c", MOVER, json.dumps({**base, "release": f"1.{token}", "token": token})],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(pytestconfig.rootpath / ".collection")},
        )
        for token in range(1, 7)
    ]
    results = [json.loads(mover.communicate(timeout=30)[0]) for mover in movers]
    done = [result for result in results if not result.get("failed")]
    assert [result["before"]["text"] for result in done] == ["blue:0:1.0:"]
    assert all(result.get("overtaken") or result.get("replan") for result in results if result.get("failed"))
    entry = done[0]["after"]["text"]
    assert haproxy.served() == entry
    assert haproxy.map.read_text() == f"shop {entry}\n"
    state = state_of(haproxy)
    assert (state["entry"], state["move"]) == (entry, 1)


def test_a_stopped_proxy_is_refused_unless_allowed(move: Run, run: Run, haproxy: Haproxy) -> None:
    haproxy.stop()
    refused = move("green", release="1.1")
    assert refused["msg"].startswith("blue_green: HAProxy is not running on ")
    assert "allow_down" in refused["msg"]
    assert haproxy.map.read_text() == "shop blue:0:1.0:\n"
    planned = move("green", release="1.1", _check=True)
    assert (planned["changed"], planned["running"]) == (True, False)
    moved = move("green", release="1.1", allow_down=True)
    assert (moved["changed"], moved["running"]) == (True, False)
    assert haproxy.map.read_text() == "shop green:0:1.1:1.0\n"
    assert not move("green", release="1.1", allow_down=True)["changed"]
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert (info["running"], info["entry"]["text"], info["move"]) == (False, "green:0:1.1:1.0", 1)
    drained = run("connection_drain", colour="blue", adapter_options=haproxy.options)
    assert drained["drained"]


def test_maintenance_is_shown_and_taken_away(run: Run, haproxy: Haproxy) -> None:
    options = {"adapter_options": haproxy.options}
    assert run("edge_maintenance", state="on", _check=True, **options)["changed"]
    assert haproxy.get()[0] == 200
    shown = run("edge_maintenance", state="on", _diff=True, **options)
    assert (shown["before"], shown["after"], shown["changed"]) == ("off", "on", True)
    assert haproxy.get() == (503, "maintenance")
    assert (haproxy.folder / "maintenance.map").read_text() == "shop on\n"
    assert not run("edge_maintenance", state="on", **options)["changed"]
    assert run("edge_maintenance", state="off", **options)["changed"]
    assert haproxy.get()[0] == 200
