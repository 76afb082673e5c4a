# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small HTTP server for services without one: /healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from shop import build, metrics

Answer = tuple[int, str, str]


def answer(target: str, facts: Callable[[], dict], ready: Callable[[], bool], registry: metrics.Registry) -> Answer:
    path = target.partition("?")[0]
    if path == "/metrics":
        return 200, metrics.CONTENT_TYPE, registry.render()
    if path not in ("/healthz", "/readyz"):
        return 404, "application/json", '{"error":"not found"}'
    good = path == "/healthz" or ready()
    body = {"status": "ok" if good else "unready", "release": build.RELEASE, **facts()}
    return 200 if good else 503, "application/json", json.dumps(body, separators=(",", ":"))


async def serve(
    port: int, facts: Callable[[], dict], ready: Callable[[], bool], registry: metrics.Registry
) -> asyncio.Server:
    reasons = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            code, kind, text = answer(target, facts, ready, registry)
            body = text.encode()
            writer.write(
                f"HTTP/1.1 {code} {reasons[code]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                f"X-Release: {build.RELEASE}\r\nConnection: close\r\n\r\n".encode()
                + (b"" if method == "HEAD" else body)
            )
            await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # incomplete or no request
        finally:
            writer.close()

    return await asyncio.start_server(handle, "0.0.0.0", port)
