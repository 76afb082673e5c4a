# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Send finished spans to a collector as OTLP over HTTP, in JSON, configured by OpenTelemetry's environment variables.

Requests never wait: spans are dropped if the collector takes more than a second, or if there are too many.
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from collections import deque
from typing import Any

from shop import settings, trace

MOST = 2048
PAUSE_SECONDS = 1.0
INTERNAL, SERVER, CONSUMER = 1, 2, 5

_endpoint = settings.word("OTEL_EXPORTER_OTLP_ENDPOINT").rstrip("/")
_waiting: deque[dict[str, Any]] = deque(maxlen=MOST)
_started = threading.Event()


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}}
        for key, value in values.items()
    ]


def _resource() -> dict[str, Any]:
    said = settings.word("OTEL_RESOURCE_ATTRIBUTES")
    values = dict(pair.split("=", 1) for pair in said.split(",") if "=" in pair)
    return {"attributes": _attributes({"service.name": settings.word("OTEL_SERVICE_NAME", "shop"), **values})}


def _send() -> None:
    resource = _resource()
    pause = threading.Event()
    while not pause.wait(PAUSE_SECONDS):
        spans = [_waiting.popleft() for _one in range(len(_waiting))]
        if not spans:
            continue
        body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "shop"}, "spans": spans}]}]}
        asked = urllib.request.Request(  # noqa: S310 - the collector is the operator's own
            f"{_endpoint}/v1/traces", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with contextlib.suppress(OSError, ValueError):
            urllib.request.urlopen(asked, timeout=1).close()  # noqa: S310 - as above


def ended(span: trace.Span, name: str, kind: int, began: float, seconds: float, failed: bool = False, **values) -> None:
    """Queue a finished span, with start in seconds since the epoch and duration."""
    if not _endpoint or span.flags[-1] not in "13579bdf":
        return
    if not _started.is_set():
        _started.set()
        threading.Thread(target=_send, name="spans", daemon=True).start()
    start = int(began * 1e9)
    _waiting.append(
        {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent_id,
            "name": name,
            "kind": kind,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int(seconds * 1e9)),
            "attributes": _attributes(values),
            "status": {"code": 2 if failed else 1},
        }
    )
