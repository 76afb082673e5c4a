# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines through the agent into Loki, as the role sets both up, as plain processes of this machine."""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy, _log_agent

ROOT = Path(__file__).resolve().parents[3]
PATH = f"{ROOT / '.cache' / 'bin'}:{os.environ['PATH']}"
PROGRAMS = {name: shutil.which(name, path=PATH) or "" for name in ("loki", "otelcol")}
TEMPLATE = ROOT / "roles" / "monitoring" / "templates" / "loki.yml.j2"
CANARY = "canary-4711"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
WANTED = [label.rpartition(".")[2] for label in _compose_policy.LOGGING["options"]["labels"].split(",")]

pytestmark = pytest.mark.skipif(
    not all(PROGRAMS.values()),
    reason="loki or otelcol is not built: run lab/steps/loki.yml and lab/steps/collector.yml, as monitoring_alternative does",
)


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


def waits_for(condition: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.2)
    return condition()


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
        assert waits_for(lambda: get(self.ready)[0] == 200, 60), self.log.read_text(encoding="utf-8")[-2000:]
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

    def write(self, text: str, project: str = "shop-blue", service: str = "api-1") -> None:
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


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    made = Logs(tmp_path)
    yield made
    for program in (made.agent, made.loki):
        with contextlib.suppress(ProcessLookupError):
            program.stop(signal.SIGKILL)


def test_loki_is_ready_within_the_seconds_a_change_has(logs: Logs) -> None:
    logs.loki.start()
    logs.loki.stop()
    assert logs.loki.start() < 10


def test_line_has_its_names_and_no_secret(logs: Logs) -> None:
    logs.loki.start()
    logs.agent.start()
    told = {"level": "error", "release": "1.0", "message": f"no, token={CANARY}", "trace_id": TRACE, "span_id": SPAN}
    logs.write(json.dumps(told) + "\n")
    logs.write("first half, ")
    logs.write("second half\n")
    found = waits_for(lambda: len(lines := logs.read('{host_name="app1"}')) == 2 and lines, 30)
    (names, line), (_names, joined) = sorted(found, key=lambda one: "level" not in one[1])
    assert CANARY not in str(found)
    assert json.loads(line)["message"] == "no, ****"
    assert joined == "first half, second half"
    assert {
        "service_namespace": "shop",
        "service_name": "api",
        "colour": "blue",
        "release": "1.0",
        "trace_id": TRACE,
        "detected_level": "error",
    }.items() <= names.items()


def test_nothing_is_lost_while_loki_is_away_and_the_agent_is_killed(logs: Logs) -> None:
    logs.agent.start()
    for number in range(1000):
        logs.write(f"line {number}\n", "shop-background", "worker")
    figures = f"http://127.0.0.1:{logs.ports['figures']}/metrics"
    waiting = 'otelcol_exporter_queue_size{data_type="logs",exporter="otlp_http/loki"}'

    def waits() -> bool:
        found = [line for line in get(figures)[1].splitlines() if line.startswith(waiting)]
        return bool(found) and float(found[0].split()[-1]) > 0

    assert waits_for(waits, 20), get(figures)[1]
    logs.agent.stop(signal.SIGKILL)
    for number in range(1000, 2000):
        logs.write(f"line {number}\n", "shop-background", "worker")
    logs.agent.start()
    logs.loki.start()

    def numbers() -> list[int]:
        return sorted(int(line.split()[1]) for _names, line in logs.read('{service_name="worker"}'))

    found = waits_for(lambda: set(read := numbers()) == set(range(2000)) and read, 60)
    assert found, numbers()
    # What had been sent when the agent was killed, and its place in the file not yet kept, is sent again.
    assert [number for number in found if number >= 1000] == list(range(1000, 2000))


def test_what_is_older_than_its_days_is_deleted(tmp_path: Path) -> None:
    logs = Logs(tmp_path, days=1)
    # The waits of a day's work, made short; what is kept is the role's own.
    hurry = ["-compactor.compaction-interval=2s", "-compactor.retention-delete-delay=1s"]
    hurry += ["-compactor.apply-retention-interval=2s", "-validation.reject-old-samples=false"]

    def kept() -> int:
        return len([path for path in (tmp_path / "loki" / "chunks" / "fake").rglob("*") if path.is_file()])

    try:
        logs.loki.start(*hurry)
        logs.push("old", time.time() - 3 * 86400, "a line of three days ago")
        logs.push("new", time.time(), "a line of today")
        # The compactor looks at what is on the disk, and gets the index at a start.
        flush = urllib.request.Request(f"{logs.url}/flush", b"", method="POST")
        urllib.request.urlopen(flush, timeout=5).close()
        assert waits_for(lambda: kept() == 2, 30)
        logs.loki.stop()
        logs.loki.start(*hurry)
        assert waits_for(lambda: kept() == 1, 180)
        logs.loki.stop()
        logs.loki.start(*hurry)
        assert logs.read('{service_name="old"}', days=6) == []
        assert [line for _names, line in logs.read('{service_name="new"}')] == ["a line of today"]
    finally:
        logs.loki.stop(signal.SIGKILL)
