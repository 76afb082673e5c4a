# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take jobs from Redis, one at a time, and mark their orders as processed.

A job moves from the queue to a list of this worker, and leaves it when it is done, so a
dead worker loses nothing: another one puts its jobs back. Marking is idempotent, so
jobs may run twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import sys
import time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

# The imports take seconds, and SIGTERM must work meanwhile.
import asyncpg  # noqa: E402
import redis.exceptions  # noqa: E402

from shop import build, health, logs, metrics, settings, spans, stores, trace  # noqa: E402

OWN = f"shop:processing:{socket.gethostname()}"
ALIVE = f"shop:worker:{socket.gethostname()}"
ALIVE_SECONDS = 30
TROUBLE = (
    redis.exceptions.RedisError, stores.Unavailable, settings.SettingsError,
    asyncpg.PostgresError, asyncpg.InterfaceError, OSError,
)  # fmt: skip

MARK = "UPDATE orders SET processed_at = now(), processed_by = $2 WHERE seq = $1 AND processed_at IS NULL"
FORGOTTEN = """
    SELECT seq, id FROM orders
    WHERE processed_at IS NULL AND received_at < now() - interval '60 seconds'
    ORDER BY seq LIMIT 500"""


class Worker:
    def __init__(self) -> None:
        self.log = logs.set_up("worker")
        self.database = stores.Database("shop-worker")
        self.redis = stores.redis_client()
        self.stopping = asyncio.Event()
        self.job_seconds = settings.number("JOB_SECONDS", 0.002, 0, 600)
        self.began = time.monotonic()
        self.last_round: float | None = None
        self.last_sweep = float("-inf")
        self.registry = metrics.Registry(release=build.RELEASE)
        self.jobs = self.registry.counter(
            "shop_jobs_total", "Jobs done, by whether their order was still open.", "result"
        )
        self.returned = self.registry.counter("shop_jobs_returned_total", "Jobs put back into the queue.", "reason")
        self.registry.gauge(
            "shop_worker_round_age_seconds", "Time since Redis last answered, or since the start.", self.age
        )

    def age(self) -> float:
        """Return the seconds since Redis last answered, or since the start."""
        return time.monotonic() - (self.began if self.last_round is None else self.last_round)

    def ready(self) -> bool:
        return self.last_round is not None and self.age() < 15

    async def sweep(self) -> None:
        """Refresh the heartbeat, and put back jobs of dead workers."""
        await self.redis.set(ALIVE, build.RELEASE, ex=ALIVE_SECONDS)
        async for key in self.redis.scan_iter("shop:processing:*"):
            if key != OWN and not await self.redis.exists("shop:worker:" + key.removeprefix("shop:processing:")):
                await self.put_back(key, "dead worker")
        async with self.database.connection() as connection:
            rows = await connection.fetch(FORGOTTEN)
        if rows and not await self.redis.llen(stores.QUEUE):
            for row in rows:
                await self.redis.lpush(stores.QUEUE, json.dumps({"seq": row["seq"], "id": row["id"]}))
                self.returned.add("forgotten")

    async def put_back(self, key: str, reason: str) -> None:
        while await self.redis.lmove(key, stores.QUEUE, "RIGHT", "RIGHT"):
            self.returned.add(reason)
            self.log.warning("job put back", extra={"reason": reason, "list": key})

    async def do(self, text: str) -> None:
        try:
            job = json.loads(text)
            seq = int(job["seq"])
        except (ValueError, KeyError, TypeError):
            self.log.error("job is no job: dropped", extra={"job": text[:200]})
            self.jobs.add("unreadable")
            return
        span = trace.continued(str(job.get("traceparent", "")))
        trace.current.set(span)
        started, began = time.perf_counter(), time.time()
        await asyncio.sleep(self.job_seconds)
        async with self.database.connection(patience=30) as connection:
            result = await connection.execute(MARK, seq, build.RELEASE)
        self.jobs.add("processed" if result == "UPDATE 1" else "nothing to do")
        spans.ended(span, "job", spans.CONSUMER, began, time.perf_counter() - started, **{"shop.order": seq})
        self.log.info("job done", extra={"seq": seq, "order_id": job.get("id"), "result": result})

    async def round(self) -> None:
        if time.monotonic() - self.last_sweep > ALIVE_SECONDS / 3:
            await self.sweep()
            self.last_sweep = time.monotonic()
        text = await self.redis.blmove(stores.QUEUE, OWN, 1, "RIGHT", "LEFT")
        self.last_round = time.monotonic()
        if text is not None:
            await self.do(text)
            await self.redis.lrem(OWN, 1, text)
        trace.current.set(None)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        server = await health.serve(
            settings.whole("PORT", 8001, 1, 65535),
            lambda: {"round_age": round(self.age(), 2)},
            self.ready,
            self.registry,
        )
        self.log.info("started", extra={"fault": build.FAULT})
        returned_own = False
        while not self.stopping.is_set():
            try:
                if not returned_own:
                    await self.put_back(OWN, "own, from before")
                    returned_own = True
                await self.round()
            except TROUBLE as exc:
                trace.current.set(None)
                returned_own = False
                self.log.warning("round failed: %s: %s", type(exc).__name__, exc)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), 1)
        self.log.info("told to stop: nothing in hand")
        try:
            async with asyncio.timeout(3):
                await self.put_back(OWN, "stopping")
                await self.redis.delete(ALIVE)
        except (*TROUBLE, TimeoutError):
            pass  # another worker takes over the list
        server.close()
        await self.database.close()
        await self.redis.aclose()


def main() -> None:
    if build.FAULT == "badworker":
        logs.set_up("worker").critical("fault badworker: exit 1")
        sys.exit(1)
    asyncio.run(Worker().run())


if __name__ == "__main__":
    main()
