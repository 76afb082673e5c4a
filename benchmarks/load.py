#!/usr/bin/env python3
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open-loop load on the lab's shop, with the result of every request.

Each request is sent at its scheduled time, independent of earlier answers, and never retried: a refused
connection, a reset, a timeout and any bad answer is a failure of its kind. The release is the one that the
app reports in its answer. SIGTERM or SIGINT stops the run early; the summary is printed in any case.
Only loopback addresses and those of the lab are accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import ipaddress
import itertools
import json
import resource
import signal
import ssl
import sys
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.benchmarks.web_sockets import Clients

# The networks of lab/vars.yml, the only allowed targets.
ALLOWED = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.231.0.0/16", "fd23:1::/32")]
MOST_RATE = 1000.0
MOST_SECONDS = 1800.0
MOST_IN_FLIGHT = 2000
MOST_IDLE = 64
MOST_WEB_SOCKETS = 200
# An upload sends its body in this many pieces, this far apart.
UPLOAD_PIECES = 5
UPLOAD_PAUSE = 0.5
UPLOAD_BYTES = 4096
DETAILS = 20


class BadTarget(Exception):
    """The address is not allowed as a target."""


@dataclass(frozen=True)
class Target:
    """Address of the target, and host name of the requests."""

    address: str
    port: int
    host: str
    tls: bool

    @classmethod
    def parse(cls, url: str, host: str) -> Target:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise BadTarget(f"load: target: found {url}, need http:// or https:// and an address.")
        try:
            address = ipaddress.ip_address(parts.hostname)
        except ValueError:
            raise BadTarget(
                f"load: address of the target: found the name {parts.hostname}, need an address. Name it by --host."
            ) from None
        if not any(address in network for network in ALLOWED):
            nets = ", ".join(map(str, ALLOWED))
            raise BadTarget(f"load: address of the target: found {address}, need one of {nets}. Load the lab only.")
        tls = parts.scheme == "https"
        return cls(str(address), parts.port or (443 if tls else 80), host, tls)


@dataclass(slots=True)
class Record:
    """One request: scheduled time, latency since then, and kind."""

    due: float
    latency: float
    method: str
    fresh: bool
    status: int
    release: str
    kind: str

    def as_json(self) -> dict[str, Any]:
        return {
            "due": round(self.due, 4),
            "latency": round(self.latency, 5),
            "method": self.method,
            "fresh": self.fresh,
            "status": self.status,
            "release": self.release,
            "kind": self.kind,
        }


class Answer:
    """Incremental parser of one HTTP/1.1 response."""

    __slots__ = ("body", "buffer", "close", "complete", "length", "status")

    def __init__(self) -> None:
        self.buffer = b""
        self.status = 0
        self.length: int | None = None  # -1: chunked, None: until the connection ends
        self.close = False
        self.complete = False
        self.body = b""

    def feed(self, data: bytes) -> None:
        self.buffer += data
        if not self.status:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.split(b"\r\n")
            self.status = int(lines[0].split(b" ", 2)[1])
            for line in lines[1:]:
                name, _, value = line.partition(b":")
                match name.lower():
                    case b"content-length":
                        self.length = int(value)
                    case b"transfer-encoding":
                        self.length = -1
                    case b"connection":
                        self.close = b"close" in value.lower()
            if self.status in {204, 304}:
                self.length = 0
            self.close = self.close or self.length is None
            self.buffer = rest
        if self.length == -1:
            self._chunks()
        elif self.length is not None and len(self.buffer) >= self.length:
            self.body, self.complete = self.buffer[: self.length], True

    def _chunks(self) -> None:
        while True:
            head, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                return
            size = int(head.split(b";")[0], 16)
            if len(rest) < size + 2:
                return
            self.body += rest[:size]
            self.buffer = rest[size + 2 :]
            if size == 0:
                self.complete = True
                return

    def end(self) -> bool:
        """Handle the end of the connection; return whether it completes the response."""
        if self.status and self.length is None and not self.complete:
            self.body, self.complete = self.buffer, True
        return self.complete


class Wire(asyncio.Protocol):
    """A connection for one request at a time, which reports how it ended."""

    def __init__(self, gone: Callable[[Wire], None]) -> None:
        self.gone = gone
        self.transport: asyncio.Transport | None = None
        self.waiter: asyncio.Future[Answer] | None = None
        self.answer = Answer()
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.open = True

    def ask(self, request: bytes, waiter: asyncio.Future[Answer]) -> None:
        assert self.transport is not None
        self.answer, self.waiter = Answer(), waiter
        self.transport.write(request)

    def send(self, more: bytes) -> None:
        """Send a further piece of the request, unless it was answered or ended meanwhile."""
        if self.waiter is not None and self.transport is not None and not self.transport.is_closing():
            self.transport.write(more)

    def data_received(self, data: bytes) -> None:
        waiter = self.waiter
        if waiter is None:
            self.close()  # data without a request
            return
        try:
            self.answer.feed(data)
        except (ValueError, IndexError):
            self._fail(Failed("bad_answer", "not HTTP"))
            self.close()
            return
        if self.answer.complete:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(self.answer)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.waiter is not None and not self.waiter.done():
            if exc is None and self.answer.end():
                self.waiter.set_result(self.answer)
            elif isinstance(exc, ssl.SSLError):
                self._fail(Failed("tls", str(exc)))
            elif exc is not None:
                self._fail(Failed("reset", f"{type(exc).__name__}: {exc}"))
            else:
                self._fail(Failed("closed", "no whole answer" if self.answer.buffer else "no answer"))
        self.gone(self)

    def _fail(self, failure: Failed) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(failure)
        self.waiter = None

    def close(self) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.abort() if self.waiter else self.transport.close()


class Failed(Exception):
    """A failed request: its kind is counted, the text explains it."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True)
class Plan:
    """Rate, duration and kinds of requests."""

    rate: float = 300.0
    seconds: float = 30.0
    fresh_share: float = 0.5
    post_share: float = 0.3
    timeout_seconds: float = 5.0
    upload_share: float = 0.0
    web_sockets: int = 0

    def problems(self) -> Iterator[str]:
        for name, value, most in (
            ("rate", self.rate, MOST_RATE),
            ("seconds", self.seconds, MOST_SECONDS),
            ("timeout", self.timeout_seconds, 60.0),
        ):
            if not 0 < value <= most:
                yield f"load: --{name}: found {value:g}, need more than 0 and at most {most:g}."
        if not 0 <= self.web_sockets <= MOST_WEB_SOCKETS:
            yield f"load: --web-sockets: found {self.web_sockets}, need 0 to {MOST_WEB_SOCKETS}."
        for name, value in (
            ("fresh-share", self.fresh_share),
            ("post-share", self.post_share),
            ("upload-share", self.upload_share),
        ):
            if not 0 <= value <= 1:
                yield f"load: --{name}: found {value:g}, need 0 to 1."


def spread(share: float, number: int) -> bool:
    """Return whether a number belongs to a share of all numbers, evenly spread and the same in each run."""
    return int((number + 1) * share) > int(number * share)


class Load:
    """One run, with its results in `records` and `acknowledged`."""

    def __init__(self, target: Target, plan: Plan, ca_file: str = "", acknowledged: IO[str] | None = None) -> None:
        self.target = target
        self.plan = plan
        self.run_id = uuid.uuid4().hex[:8]  # prefix of each order's id, by which the oracle distinguishes runs
        self.records: list[Record] = []
        self.details: list[dict[str, Any]] = []
        self.acknowledged = 0
        self.acknowledged_to = acknowledged
        self.connections = 0
        self.lateness: list[float] = []
        self.in_flight: set[asyncio.Task[None]] = set()
        self.idle: collections.deque[Wire] = collections.deque()
        self.wires: set[Wire] = set()
        self.stopped = False
        self.began = 0.0
        self.began_at = 0.0
        self.ended = 0.0
        self.cpu_seconds = 0.0
        self.context: ssl.SSLContext | None = None
        if target.tls:
            self.context = ssl.create_default_context(cafile=ca_file or None)
            if not ca_file:  # the lab's certificate is self-signed, and the address is local
                self.context.check_hostname = False
                self.context.verify_mode = ssl.CERT_NONE
        self.clients = Clients(target.address, target.port, target.host, self.context, plan.web_sockets)
        self.uploads = self.posts = 0
        head = f"Host: {target.host}\r\nAccept: application/json\r\nUser-Agent: evenkeel-load\r\n"
        kept = {True: "Connection: close", False: "Connection: keep-alive"}
        self._get = {
            fresh: f"GET /api/version HTTP/1.1\r\n{head}{line}\r\n\r\n".encode() for fresh, line in kept.items()
        }
        self._post_head = {
            fresh: f"POST /api/orders HTTP/1.1\r\n{head}{line}\r\nContent-Type: application/json\r\nContent-Length: "
            for fresh, line in kept.items()
        }

    def stop(self) -> None:
        self.stopped = True

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        cpu = time.process_time()
        self.began, self.began_at = loop.time(), time.time()
        self.clients.start()
        total = int(self.plan.rate * self.plan.seconds)
        number = 0
        while number < total and not self.stopped:
            due = self.began + number / self.plan.rate
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(min(wait, 0.05))
                continue
            self.lateness.append(-wait)
            self._send(number, due)
            number += 1
            if number % 8 == 0:
                await asyncio.sleep(0)
        if self.in_flight:
            await asyncio.wait(self.in_flight, timeout=self.plan.timeout_seconds + 5)
        await self.clients.stop()
        self.ended = loop.time()
        for wire in list(self.wires):
            wire.close()
        await asyncio.sleep(0.05)
        self.cpu_seconds = time.process_time() - cpu

    def _send(self, number: int, due: float) -> None:
        # Vary method and connection independently, so that all combinations are sent.
        post = spread(self.plan.post_share, number)
        fresh = spread(self.plan.fresh_share, number // 2 if self.plan.fresh_share == 0.5 else number)
        if len(self.in_flight) >= MOST_IN_FLIGHT:
            self._record(Record(due, 0.0, "POST" if post else "GET", fresh, 0, "", "not_sent"), "too many in flight")
            return
        task = asyncio.get_running_loop().create_task(self._one(due, post, fresh))
        self.in_flight.add(task)
        task.add_done_callback(self.in_flight.discard)

    async def _one(self, due: float, post: bool, fresh: bool) -> None:
        loop = asyncio.get_running_loop()
        order = self.run_id + str(uuid.uuid4())[8:] if post else ""
        record = Record(due, 0.0, "POST" if post else "GET", fresh, 0, "", "")
        detail = ""
        step = "connect"
        wire: Wire | None = None
        try:
            async with asyncio.timeout_at(due + self.plan.timeout_seconds):
                wire = self._kept() if not fresh else None
                if wire is None:
                    wire = await self._connect()
                step = "answer"
                waiter: asyncio.Future[Answer] = loop.create_future()
                first, *pieces = self._request(order, fresh)
                wire.ask(first, waiter)
                for count, piece in enumerate(pieces, 1):
                    loop.call_later(count * UPLOAD_PAUSE, wire.send, piece)
                answer = await waiter
            record.status = answer.status
            record.release = self._judge(answer, order)
            if order:
                self.acknowledged += 1
                if self.acknowledged_to is not None:
                    self.acknowledged_to.write(order + "\n")
            if fresh or answer.close or len(self.idle) >= MOST_IDLE:
                wire.close()
            else:
                self.idle.append(wire)
        except Failed as exc:
            record.kind, detail = exc.kind, exc.detail
        except TimeoutError:
            record.kind = "timeout" if step == "answer" else "connect_timeout"
        except ConnectionRefusedError as exc:
            record.kind, detail = "refused", str(exc)
        except ssl.SSLError as exc:
            record.kind, detail = "tls", str(exc)
        except OSError as exc:
            record.kind, detail = "reset" if step == "answer" else "connect", f"{type(exc).__name__}: {exc}"
        if record.kind and wire is not None:
            wire.close()
        record.latency = loop.time() - due
        self._record(record, detail)

    def _kept(self) -> Wire | None:
        """Return the connection that was idle longest, skipping closed ones."""
        while self.idle:
            wire = self.idle.popleft()
            if wire.open and wire.transport is not None and not wire.transport.is_closing():
                return wire
        return None

    async def _connect(self) -> Wire:
        self.connections += 1
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: Wire(self._gone),
            self.target.address,
            self.target.port,
            ssl=self.context,
            server_hostname=self.target.host if self.context else None,
        )
        self.wires.add(wire)
        return wire

    def _gone(self, wire: Wire) -> None:
        self.wires.discard(wire)
        with contextlib.suppress(ValueError):
            self.idle.remove(wire)

    def _request(self, order: str, fresh: bool) -> list[bytes]:
        """Return the request; of an upload head and first piece of the body, then the further pieces."""
        if not order:
            return [self._get[fresh]]
        self.posts += 1
        upload = spread(self.plan.upload_share, self.posts)
        body = f'{{"id":"{order}","item":"load"}}'.ljust(UPLOAD_BYTES if upload else 0)
        text = f"{self._post_head[fresh]}{len(body)}\r\n\r\n{body}".encode()
        if not upload:
            return [text]
        self.uploads += 1
        size = len(body) // UPLOAD_PIECES
        cuts = [0, *(len(text) - size * count for count in range(UPLOAD_PIECES - 1, 0, -1)), len(text)]
        return [text[start:end] for start, end in itertools.pairwise(cuts)]

    @staticmethod
    def _judge(answer: Answer, order: str) -> str:
        """Return the release of a good answer; raise for a bad one."""
        if not 200 <= answer.status <= 299:
            raise Failed(f"status_{answer.status}", answer.body[:200].decode("utf-8", "replace"))
        try:
            body = json.loads(answer.body)
            release, stored = str(body["release"]), body.get("id", "")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Failed("bad_answer", answer.body[:200].decode("utf-8", "replace")) from None
        if order and stored != order:
            raise Failed("bad_answer", f"another id: {stored}")
        return release

    def _record(self, record: Record, detail: str) -> None:
        record.due -= self.began
        self.records.append(record)
        if record.kind and len(self.details) < DETAILS:
            self.details.append({"at": round(self.began_at + record.due, 3), **record.as_json(), "detail": detail})

    def summary(self) -> dict[str, Any]:
        return {
            "target": f"{'https' if self.target.tls else 'http'}://{self.target.address}:{self.target.port}",
            "host": self.target.host,
            "run": self.run_id,
            "rate": self.plan.rate,
            "began_at": round(self.began_at, 3),
            "seconds": round(self.ended - self.began, 3),
            **summarise(self.records, self.began_at),
            "acknowledged": self.acknowledged,
            "uploads": self.uploads,
            "web_sockets": self.clients.summary(),
            "connections": self.connections,
            "failures": self.details,
            "generator": {
                "cpu_seconds": round(self.cpu_seconds, 2),
                "late": quantiles(self.lateness),
            },
        }


def quantiles(values: list[float]) -> dict[str, Any]:
    """Return p50, p95 and maximum in seconds."""
    if not values:
        return {"p50": None, "p95": None, "max": None, "samples": 0}
    ranked = sorted(values)

    def rank(share: float) -> float:
        return round(ranked[min(len(ranked) - 1, int(share * len(ranked)))], 5)

    return {"p50": rank(0.5), "p95": rank(0.95), "max": round(ranked[-1], 5), "samples": len(ranked)}


def summarise(records: list[Record], began_at: float) -> dict[str, Any]:
    """Return counts, releases with first and last answer, and latencies of good answers."""
    kinds = collections.Counter(record.kind for record in records if record.kind)
    releases: dict[str, dict[str, Any]] = {}
    for record in records:
        if record.kind:
            continue
        at = round(began_at + record.due + record.latency, 4)
        seen = releases.setdefault(record.release, {"answers": 0, "first": at, "last": at})
        seen["answers"] += 1
        seen["first"], seen["last"] = min(seen["first"], at), max(seen["last"], at)
    return {
        "requests": len(records),
        "failed": sum(kinds.values()),
        "by_kind": dict(sorted(kinds.items())),
        "posts": sum(record.method == "POST" for record in records),
        "on_new_connections": sum(record.fresh for record in records),
        "releases": releases,
        "latency": quantiles([record.latency for record in records if not record.kind]),
    }


def parse(arguments: list[str]) -> argparse.Namespace:
    plan = Plan()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="https://127.0.0.1:8443", help="scheme, address, port (%(default)s)")
    parser.add_argument("--host", default="shop.lab.test", help="the name asked for (%(default)s)")
    parser.add_argument("--ca-file", default="", help="check the certificate against this authority")
    parser.add_argument("--rate", type=float, default=plan.rate, help="requests a second (%(default)s)")
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="for how long (%(default)s)")
    parser.add_argument("--timeout", type=float, default=plan.timeout_seconds, help="of one request (%(default)s)")
    parser.add_argument("--fresh-share", type=float, default=plan.fresh_share, help="on new connections (%(default)s)")
    parser.add_argument("--post-share", type=float, default=plan.post_share, help="orders (%(default)s)")
    parser.add_argument("--upload-share", type=float, default=plan.upload_share, help="slow orders (%(default)s)")
    parser.add_argument("--web-sockets", type=int, default=plan.web_sockets, help="kept open (%(default)s)")
    parser.add_argument("--ids-file", help="write each acknowledged id here, as it is acknowledged")
    parser.add_argument("--records-file", help="write each request here at the end, a JSON object a line")
    parser.add_argument("--summary-file", help="write the summary here instead of printing it")
    return parser.parse_args(arguments)


async def loaded(options: argparse.Namespace, target: Target, plan: Plan) -> Load:
    with contextlib.ExitStack() as stack:
        ids = stack.enter_context(Path(options.ids_file).open("w", encoding="ascii")) if options.ids_file else None
        load = Load(target, plan, options.ca_file, ids)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, load.stop)
        print("load: running", file=sys.stderr, flush=True)
        await load.run()
    return load


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    plan = Plan(
        options.rate,
        options.seconds,
        options.fresh_share,
        options.post_share,
        options.timeout,
        options.upload_share,
        options.web_sockets,
    )
    problems = list(plan.problems())
    try:
        target = Target.parse(options.url, options.host)
    except BadTarget as exc:
        problems.append(str(exc))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load = asyncio.run(loaded(options, target, plan))
    if options.records_file:
        with Path(options.records_file).open("w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(record.as_json(), separators=(",", ":")) + "\n" for record in load.records)
    text = json.dumps(load.summary(), indent=2) + "\n"
    if options.summary_file:
        Path(options.summary_file).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
