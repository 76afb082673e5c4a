# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What each edge shows of an app at its status address."""

from __future__ import annotations

import concurrent.futures
import http.client
import typing as t
import urllib.parse

from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import (
    RECORD_HEADER,
    STATUS_HEADER,
    Shown,
    parse_status,
)

ENTRY_LIMIT = 400
EDGES_ARGUMENT: dict[str, t.Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"name": {"type": "str", "required": True}, "url": {"type": "str", "required": True}},
}


def ask(edges: t.Sequence[t.Mapping[str, t.Any]], timeout: float = 3.0) -> dict[str, Shown | None]:
    """Return what every edge shows, by its name; None for one that shows nothing usable. All are asked at once."""
    if not edges:
        return {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(edges)) as threads:
        answers = threads.map(lambda edge: shown(edge["url"], timeout), edges)
        return {edge["name"]: answer for edge, answer in zip(edges, answers, strict=True)}


def shown(url: str, timeout: float = 3.0) -> Shown | None:
    """Return the answer of one status address."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/", headers={"User-Agent": "evenkeel", "Connection": "close"})
        answer = connection.getresponse()
        entry = answer.read(ENTRY_LIMIT).decode("utf-8", "replace").strip()
        if answer.status != 200:
            return None
        return Shown(entry, parse_status(answer.headers.get(STATUS_HEADER, "")), answer.headers.get(RECORD_HEADER, ""))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
