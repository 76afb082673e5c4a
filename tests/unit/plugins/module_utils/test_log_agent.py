# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The agent's settings: what is read, what is hidden, where it goes, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _log_agent

ROOT = Path(__file__).resolve().parents[4]
OTELCOL = shutil.which("otelcol", path=f"{ROOT / '.cache' / 'bin'}:{os.environ['PATH']}")
CANARY = "canary-4711"
OPTIONS: dict[str, Any] = {
    "agent_enabled": True,
    "agent_program": "/srv/otelcol",
    "agent_buffer_megabytes": 10,
    "agent_container_logs": ["/var/lib/docker/containers/*/*-json.log"],
    "agent_redact": [],
    "agent_elasticsearch": {},
    "logs_enabled": True,
    "jaeger_enabled": False,
}
SEARCH = {"url": "https://search.example.com:9200", "api_key": CANARY, "index": "shop"}


def made(**changed: Any) -> dict[str, Any]:
    return _log_agent.settings({**OPTIONS, **changed}, "app1", "192.0.2.21", "192.0.2.31")


@pytest.mark.parametrize(
    ("changed", "logs", "traces"),
    [
        pytest.param({}, ["otlp_http/loki"], [], id="Loki"),
        pytest.param({"log_store": "victorialogs"}, ["otlp_http/victorialogs"], [], id="VictoriaLogs"),
        pytest.param({"jaeger_enabled": True}, ["otlp_http/loki"], ["otlp_grpc/jaeger"], id="traces too"),
        pytest.param({"logs_enabled": False, "jaeger_enabled": True}, [], ["otlp_grpc/jaeger"], id="traces alone"),
        pytest.param({"agent_elasticsearch": SEARCH}, ["otlp_http/loki", "elasticsearch"], [], id="both"),
        pytest.param({"logs_enabled": False, "agent_elasticsearch": SEARCH}, ["elasticsearch"], [], id="search alone"),
    ],
)
def test_pipelines_are_those_of_the_targets(changed: dict[str, Any], logs: list[str], traces: list[str]) -> None:
    pipelines = made(**changed)["service"]["pipelines"]
    assert pipelines.get("logs", {}).get("exporters", []) == logs
    assert pipelines.get("traces", {}).get("exporters", []) == traces


def test_everything_that_is_named_is_described() -> None:
    found = made(jaeger_enabled=True, agent_elasticsearch=SEARCH)
    for pipeline in found["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= found[kind].keys()
    assert set(found["service"]["extensions"]) == found["extensions"].keys()


def test_every_target_waits_on_the_disk_and_for_ever() -> None:
    for name, target in made(jaeger_enabled=True, agent_elasticsearch=SEARCH)["exporters"].items():
        assert target["sending_queue"]["storage"] == "file_storage", name
        assert target["sending_queue"]["queue_size"] == 10 * 1024 * 1024, name
        retry = target.get("retry_on_failure") or target["retry"]
        assert retry.get("max_elapsed_time") == 0 or retry["max_retries"] >= 1000000, name


def test_nothing_listens_on_every_address() -> None:
    said = json.dumps(made(jaeger_enabled=True))
    assert "0.0.0.0" not in said
    assert made()["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "192.0.2.21:4317"
    six = _log_agent.settings(OPTIONS, "app1", "2001:db8::21", "2001:db8::31")
    assert six["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "[2001:db8::21]:4318"
    assert six["exporters"]["otlp_http/loki"]["endpoint"] == "http://[2001:db8::31]:3100/otlp"
    six = _log_agent.settings({**OPTIONS, "log_store": "victorialogs"}, "app1", "2001:db8::21", "2001:db8::31")
    store = six["exporters"]["otlp_http/victorialogs"]
    assert store["endpoint"] == "http://[2001:db8::31]:9428/insert/opentelemetry"
    # Else every attribute would be a part of the name of a stream.
    assert store["headers"]["VL-Stream-Fields"] == "host.name,service.namespace,service.name"


def test_key_stands_in_its_file_alone() -> None:
    found = made(agent_elasticsearch=SEARCH)
    assert CANARY not in json.dumps(found)
    assert found["exporters"]["elasticsearch"]["api_key"] == "${file:/etc/evenkeel/agent/elasticsearch_api_key}"


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        pytest.param(f"login with password={CANARY} failed", True, id="password"),
        pytest.param(f'{{"api_key": "{CANARY}", "id": 7}}', True, id="key in JSON"),
        pytest.param(f"POSTGRES_PASSWORD={CANARY}", True, id="end of a name"),
        pytest.param(f"aws_secret_access_key = {CANARY}", True, id="middle of a name"),
        pytest.param(f'{{"accessToken":"two {CANARY}"}}', True, id="two words"),
        pytest.param(f'{{"a": "quoted \\" too", "clientSecret": "a\\"{CANARY}"}}', True, id="quote in a value"),
        pytest.param(f'{{"msg":"{{\\"db_password\\": \\"two {CANARY}\\"}}"}}', True, id="JSON in JSON"),
        pytest.param(f"secret='two {CANARY}'", True, id="single quotes"),
        pytest.param(f"psql --db-password {CANARY}", True, id="command line"),
        pytest.param(f"Authorization: Bearer {CANARY}", True, id="bearer"),
        pytest.param(f"postgresql://shop:{CANARY}@db/shop", True, id="URL"),
        pytest.param("110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsawx started", True, id="bot token"),
        pytest.param("-----BEGIN PRIVATE KEY-----MIGHAgEA", True, id="private key"),
        pytest.param("GET /api/orders?page=2 200 in 12 ms", False, id="request"),
        pytest.param("the secret of good coffee, and a token of thanks", False, id="words"),
        pytest.param('{"tokens": 512, "token_type": "bearer"}', False, id="about tokens"),
        pytest.param("connected to postgresql://db:5432/shop", False, id="URL without one"),
    ],
)
def test_secrets_in_lines_are_hidden(line: str, hidden: bool) -> None:
    masked = line
    for pattern in _log_agent.REDACTED:
        masked = re.sub(pattern, "****", masked)
    assert (masked != line) is hidden
    assert not (hidden and CANARY in masked)


@pytest.mark.parametrize(
    ("changed", "sentences"),
    [
        pytest.param({}, [], id="sound"),
        pytest.param({"agent_enabled": False, "logs_enabled": False, "agent_program": ""}, [], id="off"),
        pytest.param({"logs_enabled": False}, ["target on the agent: found none"], id="nowhere"),
        pytest.param({"agent_program": ""}, ["program on the agent"], id="no program"),
        pytest.param({"agent_program": "", "agent_url": "https://x.example.com/a.tar.gz"}, ["program on the agent"], id="no checksum"),
        pytest.param({"agent_buffer_megabytes": 0}, ["buffer on the agent: found 0"], id="no buffer"),
        pytest.param({"agent_redact": ["("]}, ["pattern on monitoring_agent_redact: found ("], id="pattern"),
        pytest.param({"agent_redact": ["("], "logs_enabled": False}, ["target", "pattern"], id="all at once"),
    ],
)  # fmt: skip
def test_every_problem_is_named(changed: dict[str, Any], sentences: list[str]) -> None:
    found = _log_agent.problems({**OPTIONS, **changed})
    assert len(found) == len(sentences), found
    for sentence, part in zip(found, sentences, strict=True):
        assert sentence.startswith("monitoring: ")
        assert part in sentence


@pytest.mark.skipif(
    OTELCOL is None, reason="otelcol is not built: make up builds it, or go build in lab/tools/collector"
)
@pytest.mark.parametrize("changed", [{}, {"jaeger_enabled": True}, {"logs_enabled": False, "jaeger_enabled": True}])
def test_collector_takes_the_settings(changed: dict[str, Any], tmp_path: Path) -> None:
    found = made(**changed, agent_redact=[r"\bcard \d+$"])
    # Only root may make the folder in which it waits.
    found["extensions"]["file_storage"] = {"directory": str(tmp_path)}
    path = tmp_path / "otelcol.yml"
    path.write_text(yaml.safe_dump(found), encoding="utf-8")
    argv = [OTELCOL or "otelcol", "validate", "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
