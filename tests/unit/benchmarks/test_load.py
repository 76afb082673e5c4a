# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The load generator counts each kind of failure, never retries, and accepts only the lab as target."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable

import pytest

from ansible_collections.evenkeel.platform.benchmarks import load

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A small shop on loopback; `answer` decides the answer to a request by its number from 1."""

    def __init__(self, answer: Callable[[int, str], bytes | None]) -> None:
        self.answer = answer
        self.requests = 0
        self.connections = 0
        self.posted: list[str] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next((int(ln[15:]) for ln in head.splitlines() if ln.startswith("Content-Length:")), 0)
                order = json.loads(await reader.readexactly(length))["id"] if length else ""
                if order:
                    self.posted.append(order)
                self.requests += 1
                answer = self.answer(self.requests, order)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"Connection: close" in answer or "Connection: close" in head:
                    break
        writer.close()


def good(_number: int, order: str, release: str = "1.0", more: str = "") -> bytes:
    body = json.dumps({"id": order, "release": release})
    return f"HTTP/1.1 {201 if order else 200} Fine\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


def run(answer: Callable[[int, str], bytes | None], plan: load.Plan) -> tuple[load.Load, Server]:
    shop = Server(answer)

    async def both() -> load.Load:
        server = await asyncio.start_server(shop.handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        one = load.Load(load.Target("127.0.0.1", port, "shop.lab.test", tls=False), plan)
        await one.run()
        server.close()
        return one

    return asyncio.run(both()), shop


PLAN = load.Plan(rate=200, seconds=0.2, timeout_seconds=2)


def test_half_of_the_requests_use_new_connections_and_orders_are_mixed_in() -> None:
    one, shop = run(good, load.Plan(rate=400, seconds=0.5))
    found = one.summary()
    assert (found["requests"], found["failed"], found["by_kind"]) == (200, 0, {})
    assert (found["posts"], found["on_new_connections"]) == (60, 100)
    assert {(record.method, record.fresh) for record in one.records} == {
        ("GET", True),
        ("GET", False),
        ("POST", True),
        ("POST", False),
    }
    assert one.acknowledged == len(shop.posted) == len(set(shop.posted)) == 60
    assert all(order.startswith(found["run"]) for order in shop.posted)
    assert shop.connections == found["connections"] < 200


def test_upload_arrives_whole_though_it_is_sent_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "UPLOAD_PAUSE", 0.02)
    done, shop = run(good, load.Plan(rate=100, seconds=0.2, post_share=1, upload_share=0.5))
    assert done.summary()["uploads"] == 10
    assert done.summary()["failed"] == 0
    assert len(set(shop.posted)) == 20


def test_release_is_the_one_the_app_names_in_its_body() -> None:
    def answer(number: int, order: str) -> bytes:
        return good(number, order, "1.0" if number <= 10 else "1.1", "X-Release: none\r\n")

    one, _shop = run(answer, PLAN)
    releases = one.summary()["releases"]
    assert {name: seen["answers"] for name, seen in releases.items()} == {"1.0": 10, "1.1": 30}
    assert releases["1.0"]["first"] <= releases["1.0"]["last"] <= releases["1.1"]["last"]


STATUS = b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(None, "closed", id="connection ends without an answer"),
        pytest.param(b"HTTP/1.1 200 Fine\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{", "closed", id="half"),
        pytest.param(STATUS, "status_503", id="status"),
        pytest.param(b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n", "status_302", id="redirection"),
        pytest.param(b"nonsense\r\n\r\n", "bad_answer", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\n{}", "bad_answer", id="no release"),
    ],
)
def test_failure_is_counted_by_its_kind_and_never_tried_again(answer: bytes | None, kind: str) -> None:
    one, shop = run(lambda _number, _order: answer, PLAN)
    found = one.summary()
    assert found["by_kind"] == {kind: 40}
    assert (found["failed"], found["requests"], shop.requests) == (40, 40, 40)
    assert len(shop.posted) == len(set(shop.posted))
    assert found["acknowledged"] == 0
    assert found["failures"][0]["kind"] == kind


def test_answer_to_another_order_is_none() -> None:
    one, _shop = run(lambda number, order: good(number, order and "another"), PLAN)
    assert one.summary()["by_kind"] == {"bad_answer": one.summary()["posts"]}


def test_no_answer_in_time_is_a_failure() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def both() -> load.Load:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        target = load.Target("127.0.0.1", server.sockets[0].getsockname()[1], "h", tls=False)
        one = load.Load(target, load.Plan(rate=50, seconds=0.1, timeout_seconds=0.2))
        await one.run()
        server.close()
        return one

    assert asyncio.run(both()).summary()["by_kind"] == {"timeout": 5}


def test_refused_connection_is_a_failure() -> None:
    async def alone() -> load.Load:
        server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        one = load.Load(load.Target("127.0.0.1", port, "h", tls=False), load.Plan(rate=50, seconds=0.1))
        await one.run()
        return one

    assert asyncio.run(alone()).summary()["by_kind"] == {"refused": 5}


def test_kept_connection_that_the_server_closed_while_idle_is_not_used() -> None:
    one, shop = run(lambda number, order: good(number, order, more="Connection: close\r\n"), PLAN)
    assert one.summary()["failed"] == 0
    assert shop.connections == 40


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_chunked_answer_is_read_in_any_pieces(step: int) -> None:
    data = b"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n"
    answer = load.Answer()
    for start in range(0, len(data), step):
        answer.feed(data[start : start + step])
    assert (answer.complete, answer.body) == (True, b"hello world")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://127.0.0.1:8443", "127.0.0.1"),
        ("http://10.231.3.11", "10.231.3.11"),
        ("http://[::1]:80", "::1"),
        ("http://[fd23:1:1::11]", "fd23:1:1::11"),
    ],
)
def test_loopback_and_lab_may_be_loaded(url: str, address: str) -> None:
    assert load.Target.parse(url, "h").address == address


@pytest.mark.parametrize(
    "url",
    [
        "https://192.0.2.1",
        "http://10.230.0.1",
        "http://[2001:db8::1]",
        "http://shop.example",
        "ftp://127.0.0.1",
        "127.0.0.1",
    ],
)
def test_no_other_address_may_be_loaded(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load.main(["--url", url]) == 2
    assert "load: " in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--rate", "5000"), ("--seconds", "1e6"), ("--timeout", "0")])
def test_load_is_bounded(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load.main([option, value]) == 2
    assert f"load: {option}: found" in capsys.readouterr().err


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_share_is_kept_in_any_stretch(share: float) -> None:
    for start in (0, 3, 50):
        assert abs(sum(load.spread(share, number) for number in range(start, start + 100)) - 100 * share) <= 1
