# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loki and an agent for logs as the role sets both up, as plain processes of this machine; for tests and figures."""

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
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy, _log_agent

ROOT = Path(__file__).resolve().parents[1]
PATH = f"{ROOT / '.cache' / 'bin'}:{os.environ['PATH']}"
PROGRAMS = {name: shutil.which(name, path=PATH) or "" for name in ("loki", "otelcol")}
TEMPLATE = ROOT / "roles" / "monitoring" / "templates" / "loki.yml.j2"
MISSING = (
    ""
    if all(PROGRAMS.values())
    else "loki or otelcol is not built: make molecule SCENARIO=monitoring_alternative builds both"
)
WANTED = [label.rpartition(".")[2] for label in _compose_policy.LOGGING["options"]["labels"].split(",")]


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
    """A process that can be started again."""

    def __init__(self, argv: list[str], log: Path, ready: str) -> None:
        self.argv, self.log, self.ready = argv, log, ready
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> float:
        """Start it and return the seconds it took to be ready."""
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


class Logs:
    """Loki, an agent, and one container's file."""

    def __init__(self, folder: Path, days: int = 14) -> None:
        self.folder = folder
        self.ports = {name: free_port() for name in ("loki", "grpc", "health", "figures", "otlp", "otlp_http")}
        self.url = f"http://127.0.0.1:{self.ports['loki']}"
        self.file = folder / "containers" / "abc" / "abc-json.log"
        self.file.parent.mkdir(parents=True)
        (folder / "agent").mkdir()
        (folder / "loki.yml").write_text(yaml.safe_dump(self.loki_settings(days)), encoding="utf-8")
        (folder / "otelcol.yml").write_text(yaml.safe_dump(self.agent_settings()), encoding="utf-8")
        self.loki = Program(
            [PROGRAMS["loki"], f"-config.file={folder / 'loki.yml'}"], folder / "loki.log", f"{self.url}/ready"
        )
        self.agent = Program(
            [PROGRAMS["otelcol"], "--config", str(folder / "otelcol.yml")],
            folder / "otelcol.log",
            f"http://127.0.0.1:{self.ports['health']}/",
        )

    def loki_settings(self, days: int) -> dict[str, Any]:
        """What the role renders, in a folder and on ports of the test's own."""
        jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
        jinja.filters["comment"] = lambda text: f"# {text}"
        text = jinja.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
            ansible_managed="", monitoring_loki_retention={"days": days, "gigabytes": 1}
        )
        found: dict[str, Any] = yaml.safe_load(text.replace("/loki", f"{self.folder}/loki"))
        found["server"] |= {
            "http_listen_address": "127.0.0.1",
            "http_listen_port": self.ports["loki"],
            "grpc_listen_port": self.ports["grpc"],
        }
        return found

    def agent_settings(self) -> dict[str, Any]:
        options = {
            "loki_enabled": True,
            "agent_container_logs": [str(self.folder / "containers" / "*" / "*-json.log")],
            "agent_buffer_megabytes": 50,
        }
        made = _log_agent.settings(options, "app1", "127.0.0.1", "127.0.0.1")
        text = yaml.safe_dump(made).replace(_log_agent.STATE, str(self.folder / "agent"))
        for ours, port in (("loki", 3100), ("otlp", 4317), ("otlp_http", 4318), ("health", 13133)):
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

    def read(self, query: str, days: int = 1) -> list[tuple[dict[str, str], str]]:
        asked = {"query": query, "limit": "5000", "start": str(time.time_ns() - days * 86400 * 10**9)}
        status, body = get(f"{self.url}/loki/api/v1/query_range?{urllib.parse.urlencode(asked)}")
        assert status == 200, body
        return [(one["stream"], line[1]) for one in json.loads(body)["data"]["result"] for line in one["values"]]

    def push(self, service: str, at: float, text: str) -> None:
        values = [[str(int(at * 10**9)), text]]
        body = json.dumps({"streams": [{"stream": {"service_name": service}, "values": values}]}).encode()
        asked = urllib.request.Request(
            f"{self.url}/loki/api/v1/push", body, {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(asked, timeout=5) as answer:
            assert answer.status == 204
