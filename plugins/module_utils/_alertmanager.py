# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to Alertmanager. PRIVATE to the collection."""

from __future__ import annotations

import http.client
import json
import typing as t
import urllib.parse

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

REMEDY = "See that Alertmanager runs, and that url names it"


class Alertmanager:
    """One Alertmanager by its address; every answer but a good one is a failure of the module that asks."""

    def __init__(self, module: str, url: str, timeout_seconds: int = 5) -> None:
        self.module = module
        self.url = url.rstrip("/")
        self.timeout = timeout_seconds

    def ask(self, path: str, method: str = "GET", data: t.Any = None) -> str:
        parts = urllib.parse.urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        body = None if data is None else json.dumps(data)
        try:
            connection = kind(parts.hostname or "", parts.port, timeout=self.timeout)
            try:
                connection.request(method, f"{parts.path}/{path}", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read().decode("utf-8", "replace")
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            raise self.failure(str(exc)) from exc
        if answer.status != 200:
            raise self.failure(f"{answer.status} ({' '.join(text.split())[:200]})")
        return text

    def failure(self, found: str) -> Failure:
        return Failure(sentence(self.module, "the answer", self.url, found, "200", REMEDY))

    def silences(self) -> list[dict[str, t.Any]]:
        found: list[dict[str, t.Any]] = json.loads(self.ask("api/v2/silences"))
        return found

    def open_silence(self, wanted: dict[str, t.Any]) -> str:
        return str(json.loads(self.ask("api/v2/silences", "POST", wanted))["silenceID"])

    def close_silence(self, identity: str) -> None:
        self.ask(f"api/v2/silence/{identity}", "DELETE")

    def send(self, alerts: list[dict[str, t.Any]]) -> None:
        self.ask("api/v2/alerts", "POST", alerts)

    def figures(self) -> str:
        return self.ask("metrics")
