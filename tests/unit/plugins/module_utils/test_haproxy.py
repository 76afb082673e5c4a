# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy 2.6 and 3.0 really answered, kept whole, and what is read from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _haproxy
from ansible_collections.evenkeel.platform.plugins.module_utils._haproxy import Reading, Server, Worker

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("haproxy-2.6", "haproxy-3.0")


def recorded(version: str, name: str) -> str:
    return (RECORDED / version / f"{name}.txt").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_workers_are_listed_with_the_current_one_first(version: str) -> None:
    alone = _haproxy.parse_workers(recorded(version, "show_proc"))
    assert [worker.old for worker in alone] == [False]
    both = _haproxy.parse_workers(recorded(version, "show_proc_old_worker"))
    assert [worker.old for worker in both] == [False, True]
    assert both[1].pid == alone[0].pid


def test_the_newest_worker_is_the_current_one_after_a_failed_reload() -> None:
    table = (
        "#<PID>          <type>          <reloads>       <uptime>        <version>\n"
        "28              master          3 [failed: 1]   0d00h00m10s     3.0.11\n"
        "# workers\n"
        "# old workers\n"
        "30              worker          3               0d00h00m09s     3.0.11\n"
        "40              worker          1               0d00h00m02s     3.0.11\n"
        "# programs\n\n"
    )
    assert _haproxy.parse_workers(table) == [_haproxy.Worker(40, False), _haproxy.Worker(30, True)]
    assert _haproxy.parse_failed(table) == 1
    assert _haproxy.parse_failed("") == 0


def test_a_stream_has_no_backend_until_one_is_chosen() -> None:
    text = (
        "0x55f0: proto=tcpv4 src=127.0.0.1:49926 fe=public be=<NONE> srv=<none> ts=00 epoch=0 age=0s calls=1\n"
        "0x55f1: proto=sockpair src=unix:2 fe=GLOBAL be=<NONE> srv=<none> ts=00 epoch=0 age=0s calls=1\n"
        "0x55f2: proto=tcpv4 src=[2001:db8::1]:4 fe=public_https be=shop_blue_api srv=a ts=00 age=0s calls=2\n\n"
    )
    assert _haproxy.parse_streams(text) == {
        "0x55f0 127.0.0.1:49926": ("public", ""),
        "0x55f1 unix:2": ("GLOBAL", ""),
        "0x55f2 [2001:db8::1]:4": ("public_https", "shop_blue_api"),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_map_is_read(version: str) -> None:
    assert _haproxy.parse_map(recorded(version, "show_map")) == {"shop": "blue:0:1.0:"}
    assert _haproxy.parse_map(recorded(version, "show_map_unknown")) == {}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "server", "healthy"),
    [
        pytest.param("show_stat_before_first_check", "shop_green_api/app1_1", False, id="up-before-its-first-check"),
        pytest.param("show_stat_checked", "shop_green_api/app1_1", True, id="passed-a-check"),
        pytest.param("show_stat_checked", "shop_blue_api/app1_2", False, id="refuses-connections"),
        pytest.param("show_stat_planted_by_state_file", "shop_green_api/app1_1", False, id="planted-by-the-state-file"),
        pytest.param("show_stat_planted_by_state_file", "shop_blue_api/app1_1", None, id="either-after-the-reload"),
        pytest.param("show_stat_maint", "shop_blue_api/app1_1", False, id="in-maint"),
        pytest.param("show_stat_ready_again", "shop_blue_api/app1_1", False, id="back-from-maint-not-checked-since"),
    ],
)
def test_only_a_check_since_the_reload_counts(version: str, name: str, server: str, healthy: bool | None) -> None:
    servers, _sessions = _haproxy.parse_stat(recorded(version, name))
    found = {f"{each.backend}/{each.name}": each.healthy for each in servers}
    assert server in found
    if healthy is not None:
        assert found[server] is healthy


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_of_a_stopping_worker_are_counted(version: str) -> None:
    _servers, sessions = _haproxy.parse_stat(recorded(version, "show_stat_old_worker"))
    assert sessions == {"shop_blue_api": 1, "shop_green_api": 0}


@pytest.mark.parametrize(
    ("status", "check", "code", "healthy"),
    [
        pytest.param("UP", "L7OK", 200, True, id="up-and-passed"),
        pytest.param("UP", "L7OK", 0, False, id="planted"),
        pytest.param("UP", "L4OK", 0, False, id="only-a-connection"),
        pytest.param("UP", "INI", 0, False, id="initialising"),
        pytest.param("UP", "", 0, False, id="no-check"),
        pytest.param("UP 1/3", "L7OK", 200, False, id="not-fully-up"),
        pytest.param("DOWN 1/2", "L7OK", 200, False, id="rising"),
        pytest.param("MAINT", "L7OK", 200, False, id="maint"),
        pytest.param("DRAIN", "L7OK", 200, False, id="drain"),
        pytest.param("no check", "", 0, False, id="unchecked"),
    ],
)
def test_healthy(status: str, check: str, code: int, healthy: bool) -> None:
    assert Server("b", "s", status, check, code, 0).healthy is healthy


@pytest.mark.parametrize(
    ("readings", "wrong"),
    [
        pytest.param([Reading(1, False, True, "v")], [], id="all-right"),
        pytest.param([Reading(1, False, True, "v"), Reading(2, True, True, "w")], [2], id="old-worker-left-behind"),
        pytest.param([Reading(1, False, True, "v"), Reading(2, True, False, None)], [], id="old-worker-before-the-app"),
        pytest.param([Reading(1, False, False, None)], [1], id="current-worker-without-the-map"),
        pytest.param([Reading(1, False, True, None)], [1], id="key-absent"),
    ],
)
def test_every_worker_must_hold_the_value(readings: list[Reading], wrong: list[int]) -> None:
    assert [each.pid for each in _haproxy.wrong(readings, "v")] == wrong


@pytest.mark.parametrize("text", ["show map a; del map b", "show info\nquit"])
def test_one_command_at_a_time(text: str) -> None:
    with pytest.raises(ValueError, match="one command"):
        _haproxy.Master("/nonexistent", 1, "blue_green").command(text)


class Scripted(_haproxy.Master):
    """A master that answers by script."""

    def __init__(self, script: dict[str, list[str]]) -> None:
        super().__init__("/nonexistent", 1, "blue_green")
        self.script = script
        self.sent: list[str] = []

    def command(self, text: str, payload: str = "") -> str:
        self.sent.append(text)
        return self.script[text].pop(0)


def test_an_absent_key_is_added() -> None:
    master = Scripted({"@!7 set map /m shop v": ["entry not found."], "@!7 add map /m shop v": [""]})
    assert master.write_map(Worker(7, False), "/m", "shop", "v") == ""


def test_an_old_worker_that_ends_in_between_is_no_matter() -> None:
    listing = "# workers\n7 worker 0 x\n# old workers\n6 worker 1 x\n"
    master = Scripted(
        {
            "show proc": [listing, listing],
            "@!7 set map /m shop v": [""],
            "@!6 set map /m shop v": ["Can't find the target PID matching the prefix '@!6'"],
            "@!7 show map /m": ["0x1 shop v"],
            "@!6 show map /m": ["Can't find the target PID matching the prefix '@!6'"],
        }
    )
    assert _haproxy.write_key(master, "/m", "shop", "v") == []
    assert [each.pid for each in _haproxy.read_key(master, "/m", "shop")] == [7]


def test_a_current_worker_that_ends_in_between_is_a_failed_move() -> None:
    master = Scripted(
        {
            "show proc": ["# workers\n7 worker 0 x\n"],
            "@!7 set map /m shop v": ["Can't find the target PID matching the prefix '@!7'"],
        }
    )
    assert _haproxy.write_key(master, "/m", "shop", "v") == ["worker 7 ended during the move"]


def test_an_objection_of_a_worker_is_told() -> None:
    master = Scripted({"show proc": ["# workers\n7 worker 0 x\n"], "@!7 set map /m shop v": ["Unknown map x"]})
    assert _haproxy.write_key(master, "/m", "shop", "v") == ["worker 7 answered: Unknown map x"]
