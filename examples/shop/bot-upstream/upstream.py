# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A fake service with long polling that allows one poller, and counts overlaps.

GET /poll?bot=ID     held for POLL_SECONDS, then one update; 409 and an overlap when another one
                     is polling or has polled less than LEASE_SECONDS ago
GET /release?bot=ID  ID has stopped: its lease ends now
GET /stats           {"polls", "overlaps", "instances", "holder", "last_overlaps"}
GET /healthz         {"status": "ok"}
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import sys
import time
import urllib.parse

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


class Polls:
    """The current pollers and the overlaps. Plain data; time is an argument."""

    def __init__(self, lease_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        self.polls = 0
        self.overlaps = 0
        self.instances: list[str] = []
        self.last_overlaps: list[dict] = []
        self.open: dict[str, int] = {}
        self.leases: dict[str, float] = {}

    def others(self, bot: str, now: float) -> list[str]:
        self.leases = {name: until for name, until in self.leases.items() if until > now}
        return sorted({*self.open, *self.leases} - {bot})

    def begin(self, bot: str, now: float, wall: float = 0.0) -> bool:
        """Start a poll; return False for an overlap, which is counted and does not become the holder."""
        self.polls += 1
        if bot not in self.instances:
            self.instances.append(bot)
        others = self.others(bot, now)
        if others:
            self.overlaps += 1
            self.last_overlaps = [*self.last_overlaps[-99:], {"at": wall, "bot": bot, "others": others}]
            return False
        self.open[bot] = self.open.get(bot, 0) + 1
        return True

    def end(self, bot: str, now: float, answered: bool) -> None:
        """End a poll: an answered one holds a lease until the next one; a broken connection does not."""
        self.open[bot] -= 1
        if not self.open[bot]:
            del self.open[bot]
        if answered:
            self.leases[bot] = now + self.lease_seconds
        else:
            self.leases.pop(bot, None)

    def release(self, bot: str) -> None:
        self.leases.pop(bot, None)

    def stats(self, now: float) -> dict:
        return {
            "polls": self.polls,
            "overlaps": self.overlaps,
            "instances": self.instances,
            "holder": self.others("", now),
            "last_overlaps": self.last_overlaps,
        }


class Upstream:
    def __init__(self) -> None:
        self.polls = Polls(float(os.environ.get("LEASE_SECONDS") or 0.5))
        self.poll_seconds = float(os.environ.get("POLL_SECONDS") or 2)
        self.update_id = 0
        name = os.environ.get("STATE_FILE")
        self.file = pathlib.Path(name) if name else None
        if self.file and self.file.exists():
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            self.polls.polls, self.polls.overlaps = kept["polls"], kept["overlaps"]
            self.polls.instances, self.polls.last_overlaps = kept["instances"], kept["last_overlaps"]

    def keep(self) -> None:
        if self.file:
            new = self.file.with_name(self.file.name + ".new")
            new.write_text(json.dumps(self.polls.stats(time.monotonic())), encoding="utf-8")
            new.replace(self.file)

    async def poll(self, bot: str, reader: asyncio.StreamReader) -> tuple[int, dict]:
        if not bot:
            return 400, {"error": "bot is missing"}
        good = self.polls.begin(bot, time.monotonic(), time.time())
        self.keep()
        if not good:
            return 409, {"error": "conflict: another instance polls"}
        answered = False
        try:
            # The client sends no further data, so the end of its stream means that it left.
            async with asyncio.timeout(self.poll_seconds):
                await reader.read(1)
            raise ConnectionResetError("the poller left")
        except TimeoutError:
            answered = True
        finally:
            self.polls.end(bot, time.monotonic(), answered)
        self.update_id += 1
        return 200, {"updates": [{"update_id": self.update_id}]}

    async def answer(self, target: str, reader: asyncio.StreamReader) -> tuple[int, dict]:
        parts = urllib.parse.urlsplit(target)
        bot = urllib.parse.parse_qs(parts.query).get("bot", [""])[0]
        match parts.path:
            case "/poll":
                return await self.poll(bot, reader)
            case "/release":
                self.polls.release(bot)
                return 200, {"status": "ok"}
            case "/stats":
                return 200, self.polls.stats(time.monotonic())
            case "/healthz":
                return 200, {"status": "ok"}
        return 404, {"error": "not found"}

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reasons = {200: "OK", 400: "Bad Request", 404: "Not Found", 409: "Conflict"}
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
            _, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
            code, content = await self.answer(target, reader)
            body = json.dumps(content, separators=(",", ":")).encode()
            writer.write(
                f"HTTP/1.1 {code} {reasons[code]}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # incomplete request, or the client left
        finally:
            writer.close()

    async def run(self) -> None:
        server = await asyncio.start_server(self.handle, "0.0.0.0", int(os.environ.get("PORT") or 8090))
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(Upstream().run())
