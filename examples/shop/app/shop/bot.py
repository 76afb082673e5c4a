# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Long-poll an upstream that allows only one poller, like chat services."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import sys
import time
import urllib.parse

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

# The imports take seconds, and SIGTERM must work meanwhile.
from shop import build, health, logs, metrics, settings, trace  # noqa: E402


class UpstreamError(Exception):
    pass


async def get(url: str, timeout: float) -> tuple[int, bytes]:
    """Send one GET on a new connection; cancelling closes the connection."""
    parts = urllib.parse.urlsplit(url)
    writer = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
            span = trace.current.get() or trace.continued()
            writer.write(
                (
                    f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\n"
                    f"traceparent: {span.header()}\r\nConnection: close\r\n\r\n"
                ).encode()
            )
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            return int(head.split(None, 2)[1]), body
    except (OSError, ValueError, IndexError) as exc:
        raise UpstreamError(f"{type(exc).__name__}: {exc}") from exc
    finally:
        if writer is not None:
            writer.close()


class Bot:
    def __init__(self) -> None:
        self.log = logs.set_up("bot")
        self.upstream = settings.word("UPSTREAM_URL", "http://localhost:8090").rstrip("/")
        self.name = settings.word("BOT_ID", f"{socket.gethostname()}-{secrets.token_hex(3)}")
        self.stopping = asyncio.Event()
        self.polls = 0
        self.last_poll = float("-inf")
        self.registry = metrics.Registry(release=build.RELEASE)
        self.results = self.registry.counter("shop_bot_polls_total", "Polls of the upstream by result.", "result")
        self.updates = self.registry.counter("shop_bot_updates_total", "Updates taken.")

    def facts(self) -> dict:
        age = round(time.monotonic() - self.last_poll, 2) if self.polls else None
        return {"bot": self.name, "polls": self.polls, "poll_age": age}

    async def poll(self) -> None:
        trace.current.set(trace.continued())
        code, body = await get(f"{self.upstream}/poll?bot={urllib.parse.quote(self.name)}", 15)
        if code == 409:
            self.results.add("conflict")
            raise UpstreamError("conflict: another instance polls")
        if code != 200:
            self.results.add("error")
            raise UpstreamError(f"answer {code}")
        self.results.add("ok")
        self.polls += 1
        self.last_poll = time.monotonic()
        try:
            taken = len(json.loads(body)["updates"])
        except (ValueError, KeyError, TypeError) as exc:
            raise UpstreamError("answer is no list of updates") from exc
        self.updates.add(by=taken)
        self.log.info("poll", extra={"updates": taken})

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        server = await health.serve(
            settings.whole("PORT", 8002, 1, 65535),
            self.facts,
            lambda: time.monotonic() - self.last_poll < 15,
            self.registry,
        )
        self.log.info("started", extra={"bot": self.name})
        told = asyncio.create_task(self.stopping.wait())
        while not told.done():
            polling = asyncio.create_task(self.poll())
            await asyncio.wait((polling, told), return_when=asyncio.FIRST_COMPLETED)
            if not polling.done():
                polling.cancel()
            try:
                await polling
            except asyncio.CancelledError:
                break
            except UpstreamError as exc:
                self.log.warning("poll failed: %s", exc)
                await asyncio.wait((told,), timeout=1)
        with contextlib.suppress(UpstreamError):  # the lease then expires
            await get(f"{self.upstream}/release?bot={urllib.parse.quote(self.name)}", 2)
        self.log.info("stopped", extra={"polls": self.polls})
        server.close()


def main() -> None:
    asyncio.run(Bot().run())


if __name__ == "__main__":
    main()
