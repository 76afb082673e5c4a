# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
import time

# The first process of a container ignores SIGTERM without a handler, even during the imports below.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

import asyncpg  # noqa: E402
import redis.exceptions  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect  # noqa: E402
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse  # noqa: E402

from shop import build, faults, logs, metrics, orders, settings, spans, stores, trace  # noqa: E402

log = logging.getLogger("shop.api")

VERSION = build.version(build.RELEASE)
COLOUR = settings.word("COLOUR")
QUIET = frozenset(("/healthz", "/readyz", "/metrics"))
MOST_SLOW = 60.0

registry = metrics.Registry(release=build.RELEASE)
requests = registry.counter("http_requests_total", "Requests answered.", "method", "path", "code")
latency = registry.histogram("http_request_duration_seconds", "Time from request to the end of its answer.", "path")
orders_stored = registry.counter("shop_orders_stored_total", "Orders stored.")
jobs_unsent = registry.counter(
    "shop_jobs_unsent_total", "Orders stored whose job Redis did not take; the worker finds them in the table."
)


class Life:
    """Whether the service is stopping, and its requests in progress."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.in_flight = 0
        self.api_requests = 0

    async def pause(self, seconds: float) -> bool:
        """Sleep; return whether the service is stopping."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
            return True
        except TimeoutError:
            return False


life = Life()
database = stores.Database("shop-api")
redis_client = stores.redis_client()
registry.gauge("shop_requests_in_flight", "Requests being answered.", lambda: life.in_flight)
registry.gauge("shop_stopping", "1 after SIGTERM.", life.stopping.is_set)

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


class Frame:
    """Middleware: release and trace headers, base work, faults, metrics, one log line."""

    def __init__(self, inner) -> None:
        self.inner = inner

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.inner(scope, receive, send)
            return
        started, began = time.perf_counter(), time.time()
        headers = dict(scope["headers"])
        span = trace.continued(headers.get(b"traceparent", b"").decode("latin-1"))
        trace.current.set(span)
        status = 0
        complete = False

        async def framed(message) -> None:
            nonlocal status, complete
            kind = message["type"]
            if kind in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                status = message.get("status", 101)
                more = [(b"x-release", build.RELEASE.encode()), (b"x-trace-id", span.trace_id.encode())]
                if kind == "http.response.start" and life.stopping.is_set():
                    more.append((b"connection", b"close"))
                message = message | {"headers": [*message.get("headers", ()), *more]}
            complete = kind == "http.response.body" and not message.get("more_body")
            await send(message)

        life.in_flight += 1
        try:
            if scope["type"] == "http" and scope["path"].startswith("/api/"):
                life.api_requests = number = life.api_requests + 1
                await asyncio.sleep(faults.work())
                if faults.fails(number):
                    answer = JSONResponse({"error": "fault errors", "release": build.RELEASE}, 500)
                    await answer(scope, receive, framed)
                    return
            await self.inner(scope, receive, framed)
        except Exception:
            log.exception("request failed")
            if not status and scope["type"] == "http":
                await JSONResponse({"error": "internal error", "release": build.RELEASE}, 500)(scope, receive, framed)
            elif not complete:
                raise
        finally:
            life.in_flight -= 1
            seconds = time.perf_counter() - started
            path = getattr(scope.get("route"), "path", None) or "unmatched"
            method = scope.get("method", "WEBSOCKET")
            # Only known methods are labels, because a client can send any text as method.
            method = method if method in ("GET", "HEAD", "POST", "WEBSOCKET") else "OTHER"
            requests.add(method, path, str(status))
            latency.observe(seconds, path)
            if scope["path"] not in QUIET:
                spans.ended(
                    span, f"{method} {path}", spans.SERVER, began, seconds, status >= 500,
                    **{"http.request.method": method, "http.route": path, "http.response.status_code": status},
                )  # fmt: skip
            log.log(
                logging.DEBUG if scope["path"] in QUIET else logging.INFO,
                "request",
                extra={
                    "method": method,
                    "path": scope["path"],
                    "status": status,
                    "duration_ms": round(seconds * 1000, 2),
                },
            )


async def _unavailable(_: Request, exc: Exception) -> JSONResponse:
    log.error("store unavailable: %s: %s", type(exc).__name__, exc)
    return JSONResponse({"error": "unavailable", "release": build.RELEASE}, 503, {"Retry-After": "1"})


for _kind in (
    stores.Unavailable,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    TimeoutError,
    ConnectionError,
):
    app.add_exception_handler(_kind, _unavailable)


@app.get("/healthz")
async def healthz() -> JSONResponse:
    return JSONResponse({"status": "ok", "release": build.RELEASE, "colour": COLOUR})


async def _database_state() -> str:
    if database.good_within(2):
        return "ok"
    try:
        async with asyncio.timeout(1.5), database.connection(patience=1) as connection:
            await connection.execute(orders.probe(VERSION))
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as exc:
        return f"schema does not fit this release: {exc}"
    except (stores.Unavailable, TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        return f"unreachable: {type(exc).__name__}"
    return "ok"


async def _redis_state() -> str:
    try:
        async with asyncio.timeout(1.5):
            await redis_client.ping()
    except (redis.exceptions.RedisError, settings.SettingsError, TimeoutError, OSError) as exc:
        return f"unreachable: {type(exc).__name__}"
    return "ok"


@app.get("/readyz")
async def readyz() -> JSONResponse:
    on_database, on_redis = await asyncio.gather(_database_state(), _redis_state())
    ready = on_database == on_redis == "ok"
    status = "ok" if ready else "unready"
    if build.FAULT == "neverready":
        ready, status = False, "unready"
    if life.stopping.is_set():
        ready, status = False, "stopping"
    body = {"status": status, "release": build.RELEASE, "colour": COLOUR, "database": on_database, "redis": on_redis}
    return JSONResponse(body, 200 if ready else 503)


@app.get("/metrics")
async def metrics_text() -> PlainTextResponse:
    return PlainTextResponse(registry.render(), media_type=metrics.CONTENT_TYPE)


@app.get("/api/version")
async def version() -> JSONResponse:
    return JSONResponse({"release": build.RELEASE})


@app.post("/api/orders")
async def post_order(request: Request) -> JSONResponse:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > orders.MOST_BYTES:
            return JSONResponse(
                {"error": f"shop: body of the order is over {orders.MOST_BYTES} bytes"}, 413, {"Connection": "close"}
            )
    header_id = request.headers.get("x-order-id", request.headers.get("id"))
    try:
        row = orders.values(VERSION, build.RELEASE, json.loads(raw) if raw else {}, header_id)
    except (orders.BadOrder, ValueError, RecursionError) as exc:
        return JSONResponse({"error": str(exc)}, 400)
    async with database.connection() as connection:
        seq = await connection.fetchval(orders.insert(VERSION), *row)
    orders_stored.add()
    span = trace.current.get()
    job = json.dumps({"seq": seq, "id": row[0], "traceparent": span.header() if span else ""})
    try:
        async with asyncio.timeout(2):
            await redis_client.lpush(stores.QUEUE, job)
    except (redis.exceptions.RedisError, settings.SettingsError, TimeoutError, OSError) as exc:
        # The order is stored, so it is acknowledged. The worker finds such rows in the table.
        jobs_unsent.add()
        log.warning("job not sent: %s", type(exc).__name__, extra={"seq": seq})
    return JSONResponse({"id": row[0], "release": build.RELEASE}, 201)


@app.get("/api/orders/count")
async def count_orders() -> JSONResponse:
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT count(*) AS orders, count(processed_at) AS processed FROM orders")
    return JSONResponse({"count": row["orders"], "processed": row["processed"], "release": build.RELEASE})


@app.get("/api/orders/ids")
async def list_ids() -> StreamingResponse:
    """List the ids of all rows in order of arrival, one a line; a replayed POST appears twice."""

    async def page(after: int) -> list:
        async with database.connection() as connection:
            return await connection.fetch("SELECT seq, id FROM orders WHERE seq > $1 ORDER BY seq LIMIT 2000", after)

    first = await page(0)

    async def lines():
        rows = first
        while rows:
            yield "".join(row["id"] + "\n" for row in rows)
            rows = await page(rows[-1]["seq"])

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/api/slow")
async def slow(seconds: float = 1.0) -> JSONResponse:
    if not 0 <= seconds <= MOST_SLOW:
        return JSONResponse({"error": f"shop: seconds is wrong: found {seconds}, need 0 to {MOST_SLOW:g}."}, 400)
    await asyncio.sleep(seconds)
    return JSONResponse({"slept": seconds, "release": build.RELEASE})


@app.get("/api/events")
async def events() -> StreamingResponse:
    """Send server-sent events: one tick per second until the client disconnects or the service stops."""

    async def stream():
        yield "retry: 1000\n\n"
        tick = 0
        while not life.stopping.is_set():
            yield f"id: {tick}\nevent: tick\ndata: {json.dumps({'tick': tick, 'release': build.RELEASE})}\n\n"
            tick += 1
            await life.pause(1)
        yield f"event: bye\ndata: {json.dumps({'release': build.RELEASE})}\n\n"

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


@app.websocket("/api/ws")
async def web_socket(socket: WebSocket) -> None:
    """Echo every text and send one tick per second; close with 1001 when the service stops."""
    await socket.accept()

    async def echo() -> None:
        while True:
            await socket.send_json({"echo": await socket.receive_text(), "release": build.RELEASE})

    async def ticks() -> None:
        tick = 0
        while not life.stopping.is_set():
            await socket.send_json({"tick": tick, "release": build.RELEASE})
            tick += 1
            await life.pause(1)

    tasks = [asyncio.create_task(echo()), asyncio.create_task(ticks())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await socket.close(1001, "stopping")
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client left during a tick
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Server(uvicorn.Server):
    """uvicorn with a graceful period: SIGTERM first makes it unready and answer "Connection: close".

    uvicorn itself would close the listener at once and raise the signal again at the end."""

    def capture_signals(self):
        return contextlib.nullcontext()

    async def run_until_told(self) -> None:
        loop = asyncio.get_running_loop()
        linger = settings.number("STOP_LINGER_SECONDS", 2, 0, 300)

        def leave() -> None:
            self.should_exit = True

        def stop() -> None:
            if life.stopping.is_set():
                leave()
                return
            log.info("told to stop", extra={"linger_seconds": linger, "in_flight": life.in_flight})
            life.stopping.set()
            loop.call_later(linger, leave)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        own_faults = asyncio.create_task(faults.run())
        await self.serve()
        own_faults.cancel()
        await database.close()
        await redis_client.aclose()
        log.info("stopped")


def main() -> None:
    logs.set_up("api")
    config = uvicorn.Config(
        Frame(app),
        host=settings.word("BIND", "0.0.0.0"),
        port=settings.whole("PORT", 8000, 1, 65535),
        loop="uvloop",
        http="httptools",
        ws="wsproto",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # Longer than any proxy keeps idle connections, so that the app never closes one during a request.
        timeout_keep_alive=settings.whole("KEEPALIVE_SECONDS", 75, 1, 3600),
        timeout_graceful_shutdown=settings.whole("STOP_DEADLINE_SECONDS", 10, 0, 3600),
    )
    log.info("starting", extra={"fault": build.FAULT, "colour": COLOUR})
    server = Server(config)
    import uvloop

    uvloop.run(server.run_until_told())
    if not server.started:
        sys.exit(1)


if __name__ == "__main__":
    main()
