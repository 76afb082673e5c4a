# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the panels of the dashboards show, as the lab's own Prometheus and VictoriaLogs answer their queries."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.docs import dashboards

HOST = "data1"
# As the lab's inventory has it.
BOARDS = dashboards.boards("victorialogs")
# So long a time is looked at for what moves.
LOOKED_BACK_SECONDS = 5400
# The longest range that a panel's query averages over, and the time after which Prometheus forgets a figure.
EMPTY_SECONDS = 660
# Budgets are over hours and days, and are meant to outlive an exporter.
OUTLIVES = {"slo"}
# They count what is missing, and so show most when everything is.
OF_WHAT_IS_MISSING = {"Alerts that fire", "Targets that do not answer"}
# What an objective says of itself is the same as long as nobody changes it.
CONSTANT = {"Objective"}
# Stops all that has metrics or writes logs; Prometheus and VictoriaLogs stay, to be queried.
STOP = """
systemctl stop prometheus-node-exporter.service evenkeel-metrics.timer otelcol.service 2>/dev/null
store=$(docker ps --quiet --filter name=monitoring-victorialogs)
docker stop $(docker ps --quiet --filter name=monitoring- | grep -v -x -e "$store") 2>/dev/null
systemctl stop haproxy.service 2>/dev/null
docker pause $(docker ps --quiet --filter name=shop-) 2>/dev/null
docker start monitoring-prometheus-1 2>/dev/null
true
"""
START = """
docker unpause $(docker ps --all --quiet --filter status=paused) 2>/dev/null
systemctl start haproxy.service 2>/dev/null
docker start $(docker ps --all --quiet --filter name=monitoring-) 2>/dev/null
systemctl start prometheus-node-exporter.service evenkeel-metrics.timer otelcol.service 2>/dev/null
true
"""
# Runs on the host that watches: its ports are open there alone. Reads [base, path, parameters] lists, answers in order;
# a query that is refused or a server that is not there is an answer with an error.
ASK = r"""
import base64, gzip, json, sys, urllib.error, urllib.parse, urllib.request
answers = []
for base, path, words in json.loads(gzip.decompress(base64.b64decode(sys.argv[1]))):
    try:
        with urllib.request.urlopen(base + path + "?" + urllib.parse.urlencode(words), timeout=30) as answer:
            text = answer.read().decode()
            if path == "query":
                # Lines of a log, each as JSON.
                answers.append([json.loads(line) for line in text.splitlines()])
            else:
                answers.append(json.loads(text)["data"]["result"])
    except urllib.error.HTTPError as refused:
        answers.append({"error": refused.read().decode()})
    except OSError as gone:
        answers.append({"error": str(gone)})
print(base64.b64encode(gzip.compress(json.dumps(answers).encode())).decode())
"""
PROMETHEUS, LOGS = "http://127.0.0.1:9090/api/v1/", "http://127.0.0.1:9428/select/logsql/"


@dataclass(frozen=True)
class Series:
    """One line of a panel: its legend, and its values by time in seconds; of a log the texts as well."""

    legend: str
    points: tuple[tuple[float, float], ...]
    texts: tuple[tuple[float, str], ...] = ()

    @property
    def moves(self) -> bool:
        """Whether its value is not the same all the time."""
        return len({value for _at, value in self.points}) > 1


@dataclass(frozen=True)
class Shown:
    """A panel and what it shows."""

    board: str
    panel: dashboards.Panel
    series: tuple[Series, ...]
    step: float
    error: str = ""


def plain(expr: str) -> str:
    """A query as it is asked where everything is chosen."""
    return re.sub(r"\$\w+", ".+", expr)


def legend_of(form: str, labels: dict[str, str]) -> str:
    """What stands beside a line."""
    return " ".join(re.sub(r"{{([\w.]+)}}", lambda match: labels.get(match[1], ""), form).split())


def ask(questions: list[tuple[str, str, dict[str, str]]]) -> list[list[dict] | dict[str, str]]:
    """The answers of the lab's servers, in order."""
    asked = base64.b64encode(gzip.compress(json.dumps(questions).encode())).decode()
    script = f"python3 - {asked} <<'EOF'\n{ASK}\nEOF"
    (text,) = rig.on_hosts(HOST, script, 180).values()
    found: list[list[dict] | dict[str, str]] = json.loads(gzip.decompress(base64.b64decode(text)))
    return found


def clock() -> float:
    """The time of the host that watches, in seconds."""
    (text,) = rig.on_hosts(HOST, "date +%s.%N").values()
    return float(text)


def shown(begin: float, end: float, points: int = 120) -> list[Shown]:
    """Every panel of every dashboard over a time, in seconds of the lab's clock."""
    every = [(board, panel) for board, one in BOARDS.items() for panel in one.panels]
    step = max(5, round((end - begin) / points))
    questions, places = [], []
    for place, (_board, panel) in enumerate(every):
        for form, expr in panel.queries.items():
            words = {"query": plain(expr), "start": f"{begin:.3f}", "end": f"{end:.3f}", "step": f"{step}s"}
            if panel.source == "prometheus":
                questions.append((PROMETHEUS, "query_range", words))
            elif panel.kind == "logs":
                questions.append((LOGS, "query", {**words, "limit": "1000"}))
            else:
                questions.append((LOGS, "stats_query_range", words))
            places.append((place, form))
    series: dict[int, list[Series]] = {}
    errors: dict[int, str] = {}
    for (place, form), answer in zip(places, ask(questions), strict=True):
        if isinstance(answer, dict):
            errors[place] = answer["error"]
        else:
            series.setdefault(place, []).extend(_series(form, answer))
    return [
        Shown(board, panel, tuple(series.get(place, ())), step, errors.get(place, ""))
        for place, (board, panel) in enumerate(every)
    ]


def _series(form: str, answer: list[dict]) -> Iterator[Series]:
    lines: dict[str, list[tuple[float, str]]] = {}
    for one in answer:
        if "_msg" in one:
            at = datetime.datetime.fromisoformat(one["_time"]).timestamp()
            lines.setdefault(one.get("service.name", ""), []).append((at, one["_msg"]))
            continue
        points = tuple((float(at), float(value)) for at, value in one["values"])
        yield Series(legend_of(form, one["metric"]), points)
    for service, texts in lines.items():
        # A line of a log stands for itself as its length.
        yield Series(service, tuple((at, float(len(text))) for at, text in texts), tuple(texts))


def switches(begin: float, end: float) -> list[float]:
    """When the live side moved, as the dashboards mark it."""
    words = {"query": str(dashboards.SWITCHES["expr"]), "start": f"{begin:.3f}", "end": f"{end:.3f}", "step": "15"}
    (answer,) = ask([(PROMETHEUS, "query_range", words)])
    return sorted(float(one["values"][0][0]) for one in answer) if isinstance(answer, list) else []


# What a panel shows, judged


@dataclass(frozen=True)
class Seen:
    """All panels: over the time that is looked back, and once nothing tells its figures any more."""

    before: dict[tuple[str, str], Shown]
    silent: dict[tuple[str, str], Shown]

    def has_data(self, board: str, title: str) -> bool:
        return bool(self.before[board, title].series)

    def moved(self, board: str, title: str) -> bool:
        """Whether some series changed its value; one that comes or goes has changed as well."""
        most = max(len(line.points) for one in self.before.values() for line in one.series)
        return any(line.moves or len(line.points) < most for line in self.before[board, title].series)

    def fell_empty(self, board: str, title: str) -> bool:
        return not self.silent[board, title].series


def by_panel(every: list[Shown]) -> dict[tuple[str, str], Shown]:
    return {(one.board, one.panel.title): one for one in every}


def looked_back() -> dict[tuple[str, str], Shown]:
    """What every panel showed until now."""
    end = clock()
    return by_panel(shown(end - LOOKED_BACK_SECONDS, end, 360))


def silenced() -> dict[tuple[str, str], Shown]:
    """Stop all that tells figures and lines, wait until it is forgotten, and start it again."""
    rig.on_hosts("machines", STOP, 240)
    try:
        time.sleep(EMPTY_SECONDS)
        end = clock()
        return by_panel(shown(end - 10, end, 2))
    finally:
        rig.on_hosts("machines", START, 240)
