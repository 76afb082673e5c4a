# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log stores the monitoring role offers, and what is different about each. PRIVATE to the collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.evenkeel.platform.plugins.module_utils import _address

# The resource attributes that name a stream, in the order of the agent.
STREAM_FIELDS = ("host.name", "service.namespace", "service.name")
Options = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Store:
    """One log store."""

    name: str
    title: str
    port: int
    # Where it accepts OTLP over HTTP; an exporter appends /v1/logs.
    otlp_path: str
    headers: t.Mapping[str, str] = field(default_factory=dict)

    def exporter(self, server: str) -> dict[str, t.Any]:
        """The exporter of an OpenTelemetry Collector that sends logs to this store on a server."""
        made: dict[str, t.Any] = {"endpoint": f"http://{_address.join(server, self.port)}{self.otlp_path}"}
        return {**made, "headers": dict(self.headers)} if self.headers else made


STORES = {
    store.name: store
    for store in (
        Store("loki", "Loki", 3100, "/otlp"),
        # Without the header every resource attribute would be part of a stream's name.
        Store(
            "victorialogs",
            "VictoriaLogs",
            9428,
            "/insert/opentelemetry",
            {"VL-Stream-Fields": ",".join(STREAM_FIELDS), "VL-Ignore-Fields": "scope.name,scope.version"},
        ),
    )
}


def chosen(options: Options) -> Store | None:
    """The log store of the stack; None where logs are switched off or the name is unknown."""
    return STORES.get(options.get("log_store") or "loki") if options.get("logs_enabled") else None
