# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Ask the status addresses of edges what they show of an app."""

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


def ask_one(url: str, timeout: float) -> Shown | None:
    """Return what one edge shows, None when it gives no usable answer."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        entry = answer.read(1000).decode("utf-8", "replace").strip()
        if answer.status != 200:
            return None
        return Shown(entry, parse_status(answer.getheader(STATUS_HEADER, "")), answer.getheader(RECORD_HEADER, ""))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def ask(edges: t.Sequence[t.Mapping[str, str]], timeout: float = 2.0) -> dict[str, Shown | None]:
    """Ask all edges at once; each is a dict of C(name) and C(url)."""
    if not edges:
        return {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(32, len(edges))) as pool:
        jobs = {each["name"]: pool.submit(ask_one, each["url"], timeout) for each in edges}
        return {name: job.result() for name, job in jobs.items()}
