# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A log store and a log agent as the role sets them up, as processes of this machine; for tests and figures."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _compose_policy,
    _log_agent,
    _log_store,
    _monitoring_stack,
)

ROOT = Path(__file__).resolve().parents[1]
PATH = f"{ROOT / '.cache' / 'bin'}:{os.environ['PATH']}"
PROGRAMS = {
    "victorialogs": shutil.which("victoria-logs", path=PATH) or "",
    # Never built here: a program or an image that somebody names.
    "loki": os.environ.get("EVENKEEL_LOKI_BINARY") or os.environ.get("EVENKEEL_LOKI_IMAGE", ""),
    "otelcol": shutil.which("otelcol", path=PATH) or "",
}
TEMPLATE = ROOT / "roles" / "monitoring" / "templates" / "loki.yml.j2"
WANTED = [label.rpartition(".")[2] for label in _compose_policy.LOGGING["options"]["labels"].split(",")]


def missing(store: str) -> str:
    """Return why a store cannot be run here; empty where it can."""
    if not PROGRAMS["otelcol"]:
        return "otelcol is not built: run python3 lab/build_programs.py otelcol"
    if PROGRAMS[store]:
        return ""
    if store == "loki":
        return "Loki is not run here: set EVENKEEL_LOKI_BINARY to its program, or EVENKEEL_LOKI_IMAGE to its image"
    return "victoria-logs is not built: run python3 lab/build_programs.py victoria-logs"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Program:
    """A process that can be restarted."""

    def __init__(self, argv: list[str], log: Path, ready: str, container: str = "") -> None:
        self.argv, self.log, self.ready, self.container = argv, log, ready, container
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> float:
        """Start the process, and return the seconds until it was ready."""
        began = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([*self.argv, *more], stdout=out, stderr=out)
        assert rig.until(lambda: get(self.ready)[0] == 200, 60, 0.2), self.log.read_text(encoding="utf-8")[-2000:]
        return time.monotonic() - began

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None
        if self.container:
            # A client that was killed leaves its container behind.
            subprocess.run(["docker", "rm", "--force", self.container], capture_output=True, check=False)


class Logs:
    """A log store, an agent, and the log file of one container."""

    def __init__(self, folder: Path, name: str = "victorialogs", days: int = 14) -> None:
        self.folder, self.kind = folder, _log_store.STORES[name]
        self.ports = {port: free_port() for port in ("store", "grpc", "health", "figures", "otlp", "otlp_http")}
        self.url = f"http://127.0.0.1:{self.ports['store']}"
        self.file = folder / "containers" / "abc" / "abc-json.log"
        self.file.parent.mkdir(parents=True)
        (folder / "agent").mkdir()
        (folder / "otelcol.yml").write_text(yaml.safe_dump(self.agent_settings()), encoding="utf-8")
        self.store = self._loki(days) if name == "loki" else self._victorialogs(days)
        self.agent = Program(
            [PROGRAMS["otelcol"], "--config", str(folder / "otelcol.yml")],
            folder / "otelcol.log",
            f"http://127.0.0.1:{self.ports['health']}/",
        )

    def _victorialogs(self, days: int) -> Program:
        """VictoriaLogs with the options that the role gives its container."""
        options = {
            "images": dict.fromkeys(_monitoring_stack.UIDS, "unused"),
            "address": "127.0.0.1",
            "base_dir": "/unused",
            "logs_enabled": True,
            "log_store": "victorialogs",
            "logs_retention": {"days": days, "gigabytes": 1},
            "prometheus_retention": {"days": 1, "gigabytes": 1},
        }
        command = _monitoring_stack.definition(options)["services"]["victorialogs"]["command"]
        argv = [word.replace(_monitoring_stack.VICTORIALOGS_DATA, str(self.folder / "store")) for word in command]
        argv.append(f"-httpListenAddr=127.0.0.1:{self.ports['store']}")
        return Program([PROGRAMS["victorialogs"], *argv], self.folder / "store.log", f"{self.url}/health")

    def _loki(self, days: int) -> Program:
        """Loki with the settings that the role renders, in a folder and on ports of the test's own."""
        jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        jinja.filters["comment"] = lambda text: f"# {text}"
        text = jinja.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            ansible_managed="", monitoring_logs_retention={"days": days, "gigabytes": 1}
        )
        found: dict[str, Any] = yaml.safe_load(text.replace("/loki", f"{self.folder}/store"))
        found["server"] |= {
            "http_listen_address": "127.0.0.1",
            "http_listen_port": self.ports["store"],
            "grpc_listen_port": self.ports["grpc"],
        }
        settings = self.folder / "loki.yml"
        settings.write_text(yaml.safe_dump(found), encoding="utf-8")
        program, container = [PROGRAMS["loki"]], ""
        if not os.environ.get("EVENKEEL_LOKI_BINARY"):
            container = f"evenkeel-loki-{self.ports['store']}"
            program = ["docker", "run", "--rm", "--name", container, "--network", "host"]
            program += ["--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{self.folder}:{self.folder}"]
            program.append(PROGRAMS["loki"])
        argv = [*program, f"-config.file={settings}"]
        return Program(argv, self.folder / "store.log", f"{self.url}/ready", container)

    def agent_settings(self) -> dict[str, Any]:
        options = {
            "logs_enabled": True,
            "log_store": self.kind.name,
            "agent_container_logs": [str(self.folder / "containers" / "*" / "*-json.log")],
            "agent_buffer_megabytes": 50,
        }
        made = _log_agent.settings(options, "app1", "127.0.0.1", "127.0.0.1")
        text = yaml.safe_dump(made).replace(_log_agent.STATE, str(self.folder / "agent"))
        for ours, port in (("store", self.kind.port), ("otlp", 4317), ("otlp_http", 4318), ("health", 13133)):
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[ours]}")
        found: dict[str, Any] = yaml.safe_load(text.replace("port: 8888", f"port: {self.ports['figures']}"))
        # A machine of tests may have no journal.
        found["receivers"].pop("journald")
        found["service"]["pipelines"]["logs"]["receivers"].remove("journald")
        return found

    def write(self, text: str, project: str = "shop-blue", service: str = "api.1") -> None:
        """A line as the engine's driver json-file keeps it."""
        line = {
            "log": text,
            "stream": "stdout",
            "attrs": {
                f"com.docker.compose.{key}": value for key, value in zip(WANTED, (project, service), strict=True)
            },
            "time": datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z"),
        }
        with self.file.open("a", encoding="utf-8") as kept:
            kept.write(json.dumps(line) + "\n")

    def read(self, field: str, value: str, days: int = 1) -> list[tuple[dict[str, str], str]]:
        """The lines of one stream, each with its fields; field names are those of the agent in both stores."""
        start = time.time() - days * 86400
        if self.kind.name == "victorialogs":
            asked = {"query": f'{{{field}="{value}"}}', "limit": "5000", "start": f"{start:.3f}"}
            status, body = get(f"{self.url}/select/logsql/query?{urllib.parse.urlencode(asked)}")
            assert status == 200, body
            found = [json.loads(line) for line in body.splitlines()]
            return [(one, one.pop("_msg")) for one in found]
        query = f'{{{field.replace(".", "_")}="{value}"}}'
        asked = {"query": query, "limit": "5000", "start": str(int(start * 10**9))}
        status, body = get(f"{self.url}/loki/api/v1/query_range?{urllib.parse.urlencode(asked)}")
        assert status == 200, body
        dots = {name.replace(".", "_"): name for name in _log_store.STREAM_FIELDS}
        return [
            ({dots.get(name, name): text for name, text in one["stream"].items()}, line[1])
            for one in json.loads(body)["data"]["result"]
            for line in one["values"]
        ]

    def count(self, field: str, value: str) -> int:
        """The number of lines of the last hour in one stream."""
        if self.kind.name == "victorialogs":
            query = urllib.parse.quote(f'{{{field}="{value}"}} _time:1h | count() lines')
            status, body = get(f"{self.url}/select/logsql/query?query={query}")
            return int(json.loads(body)["lines"]) if status == 200 and body else 0
        query = urllib.parse.quote(f'sum(count_over_time({{{field.replace(".", "_")}="{value}"}}[1h]))')
        status, body = get(f"{self.url}/loki/api/v1/query?query={query}")
        found = json.loads(body)["data"]["result"] if status == 200 else []
        return int(found[0]["value"][1]) if found else 0

    def query(self, expr: str, kind: str) -> list[dict[str, Any]]:
        """The answer to the query of a panel over the last ten minutes, as Grafana would ask for it."""
        end = time.time()
        asked = {"query": expr, "start": f"{end - 600:.3f}", "end": f"{end:.3f}", "step": "60s"}
        path = "/loki/api/v1/query_range"
        if self.kind.name == "victorialogs":
            path = "/select/logsql/query" if kind == "logs" else "/select/logsql/stats_query_range"
        status, body = get(f"{self.url}{path}?{urllib.parse.urlencode(asked)}")
        assert status == 200, body
        if path == "/select/logsql/query":
            return [json.loads(line) for line in body.splitlines()]
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return found

    def push(self, service: str, at: float, text: str) -> None:
        """Hand one line to the store without the agent, by the interface that both know."""
        values = [[str(int(at * 10**9)), text]]
        path = "/insert/loki/api/v1/push" if self.kind.name == "victorialogs" else "/loki/api/v1/push"
        name = "service.name" if self.kind.name == "victorialogs" else "service_name"
        body = json.dumps({"streams": [{"stream": {name: service}, "values": values}]}).encode()
        asked = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": "application/json"}, method="POST")
        with urllib.request.urlopen(asked, timeout=5) as answer:
            assert answer.status == 204
