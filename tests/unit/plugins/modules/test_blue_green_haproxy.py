# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves on a real HAProxy: nothing is lost, every worker moves, and a crash is repaired."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from .conftest import Haproxy, answer, request

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def move(run: Run, haproxy: Haproxy) -> Run:
    def call(colour: str, **params: t.Any) -> dict[str, t.Any]:
        params = {"adapter_options": haproxy.options, "token": 1, "min_servers": 1, **params}
        return run("blue_green", colour=colour, **params)

    return call


def test_moves_reads_back_and_is_unchanged_again(move: Run, run: Run, haproxy: Haproxy) -> None:
    planned = move("green", release="1.1", _check=True, _diff=True)
    assert (planned["changed"], planned["before"], planned["after"]) == (True, "blue:0:1.0:", "green:0:1.1:1.0")
    assert planned["diff"] == {"before": "blue:0:1.0:\n", "after": "green:0:1.1:1.0\n"}
    assert haproxy.served() == "blue:0:1.0:"
    assert not (haproxy.folder / "state.json").exists()

    moved = move("green", release="1.1", _diff=True)
    assert planned.keys() == moved.keys()
    assert (moved["changed"], moved["after"], moved["moved_back"]) == (True, "green:0:1.1:1.0", False)
    assert haproxy.served() == "green:0:1.1:1.0"
    assert haproxy.map.read_text() == "shop green:0:1.1:1.0\n"
    assert haproxy.map.stat().st_mode & 0o777 == 0o600
    state = json.loads((haproxy.folder / "state.json").read_text())
    assert (state["entry"], state["previous"], state["token"]) == ("green:0:1.1:1.0", "blue:0:1.0:", 1)
    assert haproxy.get() == (200, '{"release": "1.1"}')

    again = move("green", release="1.1")
    assert (again["changed"], again["repaired"], again["moved_at"]) == (False, False, moved["moved_at"])
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert info["live"] == {"colour": "green", "release": "1.1"}
    assert info["idle"] == {"colour": "blue", "release": "1.0"}
    assert info["drift"] == []
    assert [row["server"] for row in info["backends"]["green"]["api"]] == ["app1_1", "app2_1"]
    assert all(row["healthy"] for row in info["backends"]["green"]["api"])


def test_a_move_is_told_to_other_edges(move: Run, haproxy: Haproxy) -> None:
    stamps = haproxy.folder / "moved.map"
    moved = move("green", release="1.1", token=4)
    assert stamps.read_text() == f"shop 4:{moved['moved_at']}\n"
    assert haproxy.ask(f"@1 show map {stamps}").split()[2] == f"4:{moved['moved_at']}"
    # A crash right before it: the next call mends it.
    stamps.write_text("shop 0:\n")
    assert move("green", release="1.1", token=5)["changed"]
    assert stamps.read_text() == f"shop 5:{moved['moved_at']}\n"
    assert not move("green", release="1.1", token=6)["changed"]


def test_a_move_confirms_what_an_edge_was_not_sure_of(move: Run, run: Run, haproxy: Haproxy) -> None:
    moved = move("green", release="1.1", token=4)
    (haproxy.folder / "moved.map").write_text(f"shop unconfirmed:4:{moved['moved_at']}\n")
    haproxy.ask(f"@1 set map {haproxy.folder}/moved.map shop unconfirmed:4:{moved['moved_at']}")
    assert "until its entry is confirmed" in run("blue_green_info", adapter_options=haproxy.options)["drift"][0]
    assert move("green", release="1.1", token=4)["changed"]
    assert haproxy.ask(f"@1 show map {haproxy.folder}/moved.map").split()[2] == f"4:{moved['moved_at']}"
    assert run("blue_green_info", adapter_options=haproxy.options)["drift"] == []


def test_going_back_needs_no_release_and_no_token(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", token=4)
    back = move("blue", token=None, preempt=True)
    assert (back["after"], back["token"]) == ("blue:0:1.0:1.1", 5)
    refused = move("green", token=4)
    assert refused["failed"]
    assert "a newer run has shown" in refused["msg"]
    assert "changes nothing more" in refused["msg"]
    assert haproxy.served() == "blue:0:1.0:1.1"


def test_previous_is_the_warm_side_while_it_lasts(move: Run, run: Run, haproxy: Haproxy) -> None:
    assert move("previous", cold_ok=True)["cold"]
    assert "nothing is warm" in move("previous")["msg"]
    move("green", release="1.1", warm_seconds=600)
    back = move("previous", token=None, preempt=True)
    assert (back["after"], back["cold"]) == ("blue:0:1.0:1.1", False)
    assert move("previous", cold_ok=True, token=9)["cold"], "what was gone back from is not warm"
    move("green", token=9, warm_seconds=29)
    assert move("previous", cold_ok=True, token=9)["cold"], "the last 30 seconds are not warm"
    move("blue", token=9, warm_seconds=600)
    run("release_fence", token=10, remakes="green")
    assert move("previous", cold_ok=True, token=10)["cold"], "what is made anew is not warm"


def test_a_warm_side_that_died_is_cold(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", warm_seconds=600)
    died = move("previous", token=None, preempt=True, cold_ok=True, min_servers=9)
    assert (died["cold"], died["changed"], died["after"]) == (True, False, "green:0:1.1:1.0")
    assert "too few servers" in move("previous", token=None, preempt=True, min_servers=9)["msg"]
    assert haproxy.served() == "green:0:1.1:1.0"


def test_a_move_that_fails_leaves_the_warm_side_as_it_was(move: Run, haproxy: Haproxy) -> None:
    move("green", release="1.1", warm_seconds=600)
    haproxy.blue.release = "0.9"
    probe = {"url": f"http://127.0.0.1:{haproxy.port}/", "within_seconds": 0.2}
    assert move("previous", token=None, preempt=True, probe=probe)["moved_back"]
    assert haproxy.served() == "green:0:1.1:1.0"
    warm = json.loads((haproxy.folder / "state.json").read_text())["warm"]
    assert (warm["colour"], warm["release"]) == ("blue", "1.0")


def test_stale_token_is_refused_in_check_mode_too(move: Run, run: Run, haproxy: Haproxy) -> None:
    run("release_fence", token=9)
    for check in (True, False):
        assert move("green", release="1.1", token=8, _check=check)["failed"]
    assert haproxy.served() == "blue:0:1.0:"


def test_canary_gives_the_other_colour_its_share(move: Run, haproxy: Haproxy) -> None:
    shared = move("blue", weight=50, other_release="1.1")
    assert shared["after"] == "blue:50:1.0:1.1"
    bodies = {haproxy.get()[1] for _each in range(60)}
    assert bodies == {'{"release": "1.0"}', '{"release": "1.1"}'}
    assert move("green", weight=10, other_release="1.0")["failed"]
    aborted = move("blue", weight=0)
    assert aborted["after"] == "blue:0:1.0:1.1"
    assert {haproxy.get()[1] for _each in range(30)} == {'{"release": "1.0"}'}


def test_refuses_a_colour_without_passed_checks(move: Run, haproxy: Haproxy) -> None:
    haproxy.green.stop()
    haproxy.until(lambda: haproxy.healthy("green") == 0)
    refused = move("green", release="1.1", min_servers={"api": 2, "web": 1}, check_wait_seconds=0)
    assert refused["failed"]
    assert "on shop_green_api: found 0, need 2" in refused["msg"]
    assert "on shop_green_web: found 0, need 1" in refused["msg"]
    assert (refused["after"], refused["changed"]) == ("blue:0:1.0:", False)
    assert haproxy.served() == "blue:0:1.0:"


def test_waits_for_the_first_checks(move: Run, haproxy: Haproxy) -> None:
    haproxy.green.stop()
    haproxy.until(lambda: haproxy.healthy("green") == 0)
    timer = threading.Timer(0.5, haproxy.green.start)
    timer.start()
    moved = move("green", release="1.1", min_servers=2, check_wait_seconds=10)
    timer.join()
    assert moved["after"] == "green:0:1.1:1.0", moved.get("msg")


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


def test_excluded_servers_are_out_before_the_move(move: Run, run: Run, haproxy: Haproxy) -> None:
    moved = move("green", release="1.1", exclude_servers=["app2_1"])
    assert moved["after"] == "green:0:1.1:1.0"
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert info["excluded"] == {"blue": [], "green": ["api/app2_1"]}
    assert "failed" not in move("blue")
    prepared = move("green", state="prepared", exclude_servers=["api/app1_1"])
    assert prepared["changed"]
    assert run("blue_green_info", adapter_options=haproxy.options)["excluded"]["green"] == ["api/app1_1"]
    assert not move("green", state="prepared", exclude_servers=["api/app1_1"])["changed"]
    assert move("blue", state="prepared")["failed"]


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
    assert (state["entry"], state["previous"]) == ("blue:0:1.0:", "green:0:1.1+2:1.0")
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
    assert move("green", release="1.1", token=2)["after"] == "green:0:1.1:1.0"


def test_a_first_release_that_fails_leaves_nothing_live(move: Run, haproxy: Haproxy) -> None:
    haproxy.ask(f"@1 del map {haproxy.map} shop")
    haproxy.map.write_text("")
    haproxy.green.status = 500
    probe = {"url": f"http://127.0.0.1:{haproxy.port}/", "within_seconds": 0.2}
    failed = move("green", release="1.1", probe=probe, min_servers=0)
    assert failed["moved_back"]
    assert "shop" not in haproxy.ask(f"@1 show map {haproxy.map}")
    haproxy.green.status = 200
    haproxy.until(lambda: haproxy.healthy("green") == 2)
    moved = move("green", release="1.1", probe=probe)
    assert (moved["before"], moved["after"]) == (":0::", "green:0:1.1:")


ENDLESS_MOVER = """
import contextlib, io, json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.evenkeel.platform.plugins.modules import blue_green
base = json.loads(sys.argv[1])
for token in range(1, 100000):
    colour = ("blue", "green")[token % 2]
    release = {"blue": "1.0", "green": "1.1"}[colour]
    with patch_module_args({**base, "colour": colour, "release": release, "token": token}):
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
        "min_servers": 0,
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
        again = move(colour, release=release, token=None, preempt=True, min_servers=0)
        assert again["after"] == served
        assert run("blue_green_info", adapter_options=haproxy.options)["drift"] == []
        assert not list(haproxy.folder.glob("*.broken-*"))
        (haproxy.folder / "state.json").unlink()  # so that tokens start again
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
    assert (info["record"], info["entry"]) == ({}, "blue:0:1.0:")
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
        assert [worker["old"] for worker in moved["workers"]] == [False, True]
        held.sendall(b".example.com\r\n\r\n")
        assert answer(held)[1] == '{"release": "1.1"}'
        busy = run("connection_drain", colour="blue", timeout_seconds=0, adapter_options=haproxy.options)
        assert (busy["drained"], busy["sessions"], busy["changed"]) == (False, 1, False)
        drained = run("connection_drain", colour="blue", timeout_seconds=5, adapter_options=haproxy.options)
        assert (drained["drained"], drained["sessions"]) == (True, 0)
        assert answer(slow)[1] == '{"release": "1.0"}'


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


def test_concurrent_movers_come_one_after_the_other(haproxy: Haproxy, pytestconfig: pytest.Config) -> None:
    base = {
        "app": "shop",
        "state_dir": str(haproxy.root),
        "lock_dir": str(haproxy.root / "lock"),
        "adapter_options": haproxy.options,
        "min_servers": 0,
    }
    movers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                MOVER,
                json.dumps({**base, "colour": ("green", "blue")[token % 2], "release": f"1.{token}", "token": token}),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(pytestconfig.rootpath / ".collection")},
        )
        for token in range(1, 7)
    ]
    results = [json.loads(mover.communicate(timeout=30)[0]) for mover in movers]
    done = [result for result in results if not result.get("failed")]
    assert done
    assert [result["msg"] for result in results if result.get("failed") and "stale" not in result["msg"]] == []
    links = {result["before"]: result["after"] for result in done}
    assert len(links) == len(done), "two movers saw the same entry before"
    entry, seen = "blue:0:1.0:", 0
    while entry in links:
        entry, seen = links[entry], seen + 1
    assert seen == len(done), "the moves make no chain"
    assert haproxy.served() == entry
    assert haproxy.map.read_text() == f"shop {entry}\n"
    assert json.loads((haproxy.folder / "state.json").read_text())["token"] == 6


def test_a_stopped_proxy_is_refused_unless_allowed(move: Run, run: Run, haproxy: Haproxy) -> None:
    haproxy.stop()
    refused = move("green", release="1.1")
    assert refused["msg"].startswith("blue_green: HAProxy is not running on ")
    assert "allow_down" in refused["msg"]
    assert haproxy.map.read_text() == "shop blue:0:1.0:\n"
    planned = move("green", release="1.1", _check=True)
    assert (planned["changed"], planned["running"]) == (True, False)
    moved = move("green", release="1.1", allow_down=True)
    assert (moved["changed"], moved["running"], moved["workers"]) == (True, False, [])
    assert haproxy.map.read_text() == "shop green:0:1.1:1.0\n"
    assert not move("green", release="1.1", allow_down=True)["changed"]
    info = run("blue_green_info", adapter_options=haproxy.options)
    assert (info["running"], info["entry"]) == (False, "green:0:1.1:1.0")
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
