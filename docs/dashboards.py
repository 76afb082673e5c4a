# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes Grafana's dashboards from the panels listed here; that of the logs once for each log store.

With --check it writes nothing, names each file that is not current, and fails if there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "roles" / "monitoring" / "files" / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
SOURCES = {
    "prometheus": PROMETHEUS,
    "loki": {"type": "loki", "uid": "loki"},
    "victorialogs": {"type": "victoriametrics-logs-datasource", "uid": "victorialogs"},
}
COLOURS = {"blue": "blue", "green": "green"}
DISK = 'fstype!~"ramfs|overlay|squashfs|iso9660",mountpoint!~"/(run|dev|sys|tmp)(/.*)?"'
# A move of the live side, drawn across every panel.
SWITCHES = {
    "name": "Switches",
    "datasource": PROMETHEUS,
    "enable": True,
    "iconColor": "purple",
    "expr": 'evenkeel:side{side="live"} unless evenkeel:side{side="live"} offset 1m',
    "step": "30s",
    "titleFormat": "{{app}} to {{colour}}",
    "textFormat": "release {{release}}",
}


class Panel(NamedTuple):
    """One panel: its title, unit and description, and its queries by legend."""

    title: str
    unit: str
    text: str
    queries: dict[str, str]
    # Or "logs".
    kind: str = "timeseries"
    width: int = 12
    source: str = "prometheus"


class LogQuery(NamedTuple):
    """One question to the logs in the languages of the log stores, LogQL and LogsQL."""

    loki: str
    victorialogs: str


class Board(NamedTuple):
    """One dashboard, with the labels one may choose by."""

    title: str
    panels: list[Panel]
    choices: tuple[tuple[str, str], ...] = ()


APP = ("app", "label_values(app:requests:rate2m, app)")
INSTANCE = ("instance", 'label_values(up{job="node"}, instance)')
OF_APP = 'app=~"$app"'

SERVICE = LogQuery("{{service_name}}", "{{service.name}}")
LOG_QUERIES = {
    "lines": LogQuery(
        'sum by (service_name) (rate({service_name=~".+"}[5m]))',
        '* | stats by ("service.name") rate() lines',
    ),
    "errors": LogQuery(
        'sum by (service_name) (rate({service_name=~".+"} | detected_level=~"error|critical|fatal" [5m]))',
        'severity_number:>=17 | stats by ("service.name") rate() errors',
    ),
    "newest": LogQuery('{service_name=~".+"}', "*"),
}


def logs(store: str) -> Board:
    """The dashboard of the logs for one log store."""
    asked = {name: getattr(query, store) for name, query in LOG_QUERIES.items()}
    legend = getattr(SERVICE, store)
    return Board(
        "Logs",
        [
            Panel("Lines", "cps", "Lines per second by service.", {legend: asked["lines"]}, source=store),
            Panel("Errors", "cps", "Error lines per second by service.", {legend: asked["errors"]}, source=store),
            Panel(
                "Newest lines",
                "none",
                "The newest lines; a trace ID links to its trace.",
                {"": asked["newest"]},
                "logs",
                24,
                store,
            ),
        ],
    )


BOARDS = {
    "fleet": Board(
        "Fleet",
        [
            Panel(
                "Alerts that fire",
                "short",
                "By severity; the watchdog is left out.",
                {"{{severity}}": 'sum by (severity) (ALERTS{alertstate="firing",alertname!="Watchdog"})'},
            ),
            Panel(
                "Targets that do not answer",
                "short",
                "By job. Sides of apps that are stopped are no fault and are left out.",
                {"{{job}}": 'count by (job) (up{job!="app"} == 0)'},
            ),
            Panel(
                "Cores",
                "percentunit",
                "Share of each host's cores that is busy.",
                {
                    "{{instance}}": (
                        '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle",instance=~"$instance"}[5m]))'
                    )
                },
            ),
            Panel(
                "Memory",
                "percentunit",
                "Share of each host's memory that is used.",
                {
                    "{{instance}}": (
                        '1 - node_memory_MemAvailable_bytes{instance=~"$instance"} / node_memory_MemTotal_bytes'
                    )
                },
            ),
            Panel(
                "Disk",
                "percentunit",
                "Share of each file system that is used.",
                {
                    "{{instance}} {{mountpoint}}": (
                        f'1 - node_filesystem_avail_bytes{{{DISK},instance=~"$instance"}} / node_filesystem_size_bytes'
                    )
                },
            ),
            Panel(
                "Network",
                "Bps",
                "What each host receives and, below zero, sends.",
                {
                    "{{instance}} in": (
                        'sum by (instance) (rate(node_network_receive_bytes_total{device!="lo",'
                        'instance=~"$instance"}[5m]))'
                    ),
                    "{{instance}} out": (
                        '-sum by (instance) (rate(node_network_transmit_bytes_total{device!="lo",'
                        'instance=~"$instance"}[5m]))'
                    ),
                },
            ),
            Panel(
                "Containers",
                "short",
                "Containers that run on each host.",
                {"{{instance}}": 'sum by (instance) (evenkeel_container_running{instance=~"$instance"})'},
            ),
            Panel(
                "Memory of containers",
                "bytes",
                "The ten that use most.",
                {"{{container}}": 'topk(10, evenkeel_container_memory_bytes{instance=~"$instance"})'},
            ),
        ],
        (INSTANCE,),
    ),
    "app": Board(
        "App by release",
        [
            Panel(
                "Requests",
                "reqps",
                "Requests in a second by colour and release: at a switch one line takes over from the other.",
                {"{{colour}} {{release}}": f"sum by (colour, release) (app:requests:rate2m{{{OF_APP}}})"},
            ),
            Panel(
                "Errors",
                "percentunit",
                "Share of the answers that are 5xx, by colour and release.",
                {
                    "{{colour}} {{release}}": (
                        f"sum by (colour, release) (app:errors:rate2m{{{OF_APP}}}) / (sum by (colour, "
                        f"release) (app:requests:rate2m{{{OF_APP}}}) > 0)"
                    )
                },
            ),
            Panel(
                "Response time",
                "s",
                "Average of the last thousand answers, by service, colour and release.",
                {
                    "{{service}} {{colour}} {{release}}": (
                        f"max by (service, colour, release) (app:response_seconds:average{{{OF_APP}}})"
                    )
                },
            ),
            Panel(
                "Servers",
                "short",
                "Servers that pass the edge's check, by service and colour.",
                {"{{service}} {{colour}}": f"max by (service, colour) (app:servers:up{{{OF_APP}}})"},
            ),
            Panel(
                "Share of the other side",
                "percent",
                "Requests in a hundred that go to the side that is not live: a canary.",
                {"{{app}}": f"max by (app) (evenkeel_app_weight{{{OF_APP}}})"},
            ),
            Panel(
                "Restarts",
                "short",
                "Times the engine started a container again within ten minutes.",
                {"{{container}}": f"increase(evenkeel_container_restarts_total{{{OF_APP}}}[10m])"},
            ),
            Panel(
                "Memory",
                "bytes",
                "Memory of each container of the app.",
                {"{{container}}": f"evenkeel_container_memory_bytes{{{OF_APP}}}"},
            ),
            Panel(
                "Jobs that wait",
                "short",
                "Length of each queue.",
                {"{{instance}} {{key}}": "max by (instance, key) (redis_key_size)"},
            ),
        ],
        (APP,),
    ),
    "edge": Board(
        "Edge",
        [
            Panel(
                "Requests by answer",
                "reqps",
                "Answers of the public address in a second, by class.",
                {"{{code}}": 'sum by (code) (rate(haproxy_frontend_http_responses_total{proxy=~"public_.*"}[2m]))'},
            ),
            Panel(
                "Sessions",
                "short",
                "Sessions of each edge that are open.",
                {"{{instance}}": "sum by (instance) (haproxy_frontend_current_sessions)"},
            ),
            Panel(
                "Connections used",
                "percentunit",
                "Share of the connections an edge may hold.",
                {"{{instance}}": "haproxy_process_current_connections / haproxy_process_max_connections"},
            ),
            Panel(
                "Traffic",
                "Bps",
                "What each edge sends to the public.",
                {"{{instance}}": 'sum by (instance) (rate(haproxy_frontend_bytes_out_total{proxy=~"public_.*"}[2m]))'},
            ),
            Panel(
                "Retries",
                "short",
                "Connections that were refused and tried again within ten minutes; no request is sent twice.",
                {
                    "{{app}} {{service}}": (
                        'sum by (app, service) (increase(haproxy_backend_retry_warnings_total{app!=""}[10m]))'
                    )
                },
            ),
            Panel(
                "Probes",
                "s",
                "How long an answer takes as a visitor sees it.",
                {"{{instance}}": 'probe_duration_seconds{job="probe"}'},
            ),
            Panel(
                "Days of certificates",
                "d",
                "Days until a served certificate ends.",
                {"{{instance}}": '(probe_ssl_earliest_cert_expiry{job="probe"} - time()) / 86400'},
            ),
        ],
    ),
    "data": Board(
        "PostgreSQL and backups",
        [
            Panel(
                "Connections",
                "short",
                "Connections by state.",
                {"{{instance}} {{state}}": "sum by (instance, state) (pg_stat_activity_count)"},
            ),
            Panel(
                "Transactions",
                "ops",
                "Commits in a second by database.",
                {"{{instance}} {{datname}}": 'rate(pg_stat_database_xact_commit{datname!~"template.*"}[5m])'},
            ),
            Panel(
                "Size",
                "bytes",
                "Size of each database.",
                {"{{instance}} {{datname}}": 'pg_database_size_bytes{datname!~"template.*"}'},
            ),
            Panel("Memory of Redis", "bytes", "Memory each Redis uses.", {"{{instance}}": "redis_memory_used_bytes"}),
            Panel(
                "Age of the newest good backup",
                "s",
                "Time since the newest backup that was read back.",
                {"{{backup}}": "time() - max by (backup) (evenkeel_backup_last_success_timestamp_seconds)"},
            ),
            Panel(
                "Recovery point",
                "s",
                "How much would be lost if the server were lost now.",
                {"{{backup}} {{instance}}": "evenkeel_backup_recovery_point_seconds"},
            ),
            Panel(
                "Proof",
                "short",
                "Step of the ladder, 0 to 5, to which the newest backup is proven.",
                {"{{backup}} {{repository}}": "max by (backup, repository) (evenkeel_backup_proof_level)"},
            ),
            Panel(
                "Restore of the newest drill",
                "s",
                "From the store to a server that answers.",
                {"{{backup}}": "evenkeel_backup_drill_restore_seconds"},
            ),
        ],
    ),
    "slo": Board(
        "SLOs and budgets",
        [
            Panel(
                "Budget left",
                "percentunit",
                "What is left of each objective's budget in its window; below zero it is overdrawn.",
                {"{{slo}}": "slo:budget:left"},
                width=24,
            ),
            Panel(
                "Failures, 1 hour",
                "percentunit",
                "Share that failed within the last hour.",
                {"{{slo}}": "slo:errors:ratio1h"},
            ),
            Panel(
                "Failures, 3 days",
                "percentunit",
                "Share that failed within three days.",
                {"{{slo}}": "slo:errors:ratio3d"},
            ),
            Panel(
                "Requests",
                "reqps",
                "What is counted, in a second: a verdict over little is none.",
                {"{{slo}}": "slo:total:rate5m"},
            ),
            Panel("Objective", "percentunit", "What is to go well.", {"{{slo}}": "slo:objective"}),
        ],
    ),
}


def panel(number: int, one: Panel, x: int, y: int) -> dict[str, Any]:
    """A panel as Grafana reads it."""
    source = SOURCES[one.source]
    # VictoriaLogs has an interface for lines and another for figures made of them.
    more = {"queryType": "instant" if one.kind == "logs" else "statsRange"} if one.source == "victorialogs" else {}
    targets = [
        {"refId": chr(65 + place), "datasource": source, "expr": expr, "legendFormat": legend, **more}
        for place, (legend, expr) in enumerate(one.queries.items())
    ]
    made: dict[str, Any] = {
        "id": number,
        "type": "logs" if one.kind == "logs" else "timeseries",
        "title": one.title,
        "description": one.text,
        "datasource": source,
        "gridPos": {"h": 8, "w": one.width, "x": x, "y": y},
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": one.unit}, "overrides": [_coloured(name) for name in COLOURS]},
        "options": {},
    }
    if made["type"] == "timeseries":
        made["fieldConfig"]["defaults"]["custom"] = {"fillOpacity": 8, "lineWidth": 1, "spanNulls": False}
        made["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    return made


def _coloured(name: str) -> dict[str, Any]:
    """Lines of a side have its colour."""
    return {
        "matcher": {"id": "byRegexp", "options": f"/(^| ){name}( |$)/"},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": COLOURS[name]}}],
    }


def placed(panels: Sequence[Panel]) -> list[tuple[int, int]]:
    """Column and row of each panel; a row has two columns, and a wide panel takes both."""
    found: list[tuple[int, int]] = []
    x, y = 0, 0
    for one in panels:
        if x + one.width > 24:
            x, y = 0, y + 1
        found.append((x // 12, y))
        x += one.width
    return found


def board(uid: str, one: Board) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    panels = [
        panel(number, each, 12 * x, 8 * y)
        for number, (each, (x, y)) in enumerate(zip(one.panels, placed(one.panels), strict=True), 1)
    ]
    return {
        "uid": f"evenkeel-{uid}",
        "title": one.title,
        "tags": ["evenkeel"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "annotations": {"list": [SWITCHES]},
        "templating": {"list": [_choice(*choice) for choice in one.choices]},
        "panels": panels,
    }


def _choice(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def texts() -> dict[str, str]:
    """Every file by its name."""
    return {
        f"{name}.json": json.dumps(board(name.partition("_")[0], one), indent=2, ensure_ascii=False) + "\n"
        for name, one in {**BOARDS, **{f"logs_{store}": logs(store) for store in LogQuery._fields}}.items()
    }


def boards(store: str) -> dict[str, Board]:
    """Every dashboard of a stack with that log store."""
    return {**BOARDS, "logs": logs(store)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing and fail if a file is not current")
    options = parser.parse_args(arguments)
    stale = []
    for name, text in texts().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            print(f"{path.relative_to(ROOT)}: {'not current, run make docs' if options.check else 'written'}")
            if not options.check:
                path.write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
