# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WebSockets that stay open through a load: how each of them ended.

A server that stops may close a WebSocket, but says so by a close frame (RFC 6455, section 5.5.1), after which the
client connects again. An end without one, an upgrade that is refused and a connection without a message for
C(SILENT_SECONDS) are failures of their kinds.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import os
import ssl
import struct
from typing import Any

PATH = "/api/ws"
SILENT_SECONDS = 15.0
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


class Ended(Exception):
    """A WebSocket that did not end as it should."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Clients:
    """A number of clients, each with one WebSocket at a time."""

    def __init__(self, address: str, port: int, host: str, context: ssl.SSLContext | None, count: int) -> None:
        self.address, self.port, self.host, self.context, self.count = address, port, host, context, count
        self.opened = self.closed = self.messages = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self.releases: collections.Counter[str] = collections.Counter()
        self.stopped = False
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [asyncio.get_running_loop().create_task(self._client()) for _number in range(self.count)]

    async def stop(self) -> None:
        """End all clients; what they do after this is no failure."""
        self.stopped = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def summary(self) -> dict[str, Any]:
        return {
            "clients": self.count,
            "opened": self.opened,
            "closed_by_server": self.closed,
            "messages": self.messages,
            "failed": sum(self.failures.values()),
            "by_kind": dict(sorted(self.failures.items())),
            "releases": dict(sorted(self.releases.items())),
        }

    async def _client(self) -> None:
        while not self.stopped:
            kind = ""
            try:
                await self._one()
                self.closed += 1
            except Ended as ended:
                kind = ended.kind
            except TimeoutError:
                kind = "websocket_silent"
            except (OSError, asyncio.IncompleteReadError):
                kind = "websocket_reset"
            if kind:
                self.failures[kind] += 1
                await asyncio.sleep(0.5)

    async def _one(self) -> None:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(
                self.address, self.port, ssl=self.context, server_hostname=self.host if self.context else None
            ),
            SILENT_SECONDS,
        )
        try:
            key = base64.b64encode(os.urandom(16)).decode()
            writer.write(
                f"GET {PATH} HTTP/1.1\r\nHost: {self.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SILENT_SECONDS)
            status = head.split(b" ", 2)[1].decode()
            if status != "101":
                raise Ended(f"websocket_status_{status}")
            self.opened += 1
            while True:
                code, payload = await asyncio.wait_for(frame(reader), SILENT_SECONDS)
                if code == CLOSE:
                    writer.write(masked(CLOSE, payload))
                    return
                if code == PING:
                    writer.write(masked(PONG, payload))
                elif code == TEXT:
                    self.messages += 1
                    self.releases[str(json.loads(payload)["release"])] += 1
        finally:
            writer.close()


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one unfragmented frame of a server; return its opcode and payload (RFC 6455, section 5.2)."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    return first & 0x0F, await reader.readexactly(length)


def masked(code: int, payload: bytes) -> bytes:
    """Return a control frame of a client; its payload has at most 125 bytes."""
    mask = os.urandom(4)
    body = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
    return bytes([0x80 | code, 0x80 | len(payload)]) + mask + body
