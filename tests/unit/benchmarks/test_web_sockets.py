# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A WebSocket that a server closes is opened again; one that just ends is a failure."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ansible_collections.evenkeel.platform.benchmarks import web_sockets

UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
TICK = b'\x81\x12{"release": "1.0"}'
BYE = b"\x88\x02\x03\xe9"


def run(answer: bytes, linger: float = 0.0) -> web_sockets.Clients:
    """Run one client for half a second against a server that sends C(answer) and then ends the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            await asyncio.sleep(linger)
        writer.close()

    async def both() -> web_sockets.Clients:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        clients = web_sockets.Clients("127.0.0.1", server.sockets[0].getsockname()[1], "shop", None, 1)
        clients.start()
        await asyncio.sleep(0.5)
        await clients.stop()
        server.close()
        return clients

    return asyncio.run(both())


def test_closed_by_the_server_is_no_failure() -> None:
    clients = run(UPGRADE + TICK + BYE, linger=0.05)
    assert clients.failures == {}
    assert clients.closed >= 2
    assert set(clients.releases) == {"1.0"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(UPGRADE + TICK, "websocket_reset", id="no close frame"),
        pytest.param(UPGRADE + BYE[:1], "websocket_reset", id="half a frame"),
        pytest.param(b"HTTP/1.1 503 No\r\n\r\n", "websocket_status_503", id="refused"),
        pytest.param(b"", "websocket_reset", id="no answer"),
    ],
)
def test_any_other_end_is_a_failure(answer: bytes, kind: str) -> None:
    assert set(run(answer).failures) == {kind}


def test_silence_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_sockets, "SILENT_SECONDS", 0.1)
    assert set(run(UPGRADE + TICK, linger=1).failures) == {"websocket_silent"}
