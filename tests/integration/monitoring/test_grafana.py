# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboards in a real Grafana, wherever there is one.

EVENKEEL_GRAFANA_URL names one that the role set up, with a user's name and password in it. EVENKEEL_GRAFANA_IMAGE names
an image, which is then run here with what the role would give it. EVENKEEL_LOG_STORE is the log store of that stack.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.log_rig import free_port

ROLE = Path(__file__).resolve().parents[3] / "roles" / "monitoring"
STORE = os.environ.get("EVENKEEL_LOG_STORE", "loki")
# One of the two dashboards of logs, as the role chooses it.
BOARDS = [
    path
    for path in sorted((ROLE / "files" / "dashboards").glob("*.json"))
    if not path.stem.startswith("logs_") or path.stem == f"logs_{STORE}"
]
SOURCE = {"loki": "loki", "victorialogs": "victoriametrics-logs-datasource"}[STORE]
URL, IMAGE = os.environ.get("EVENKEEL_GRAFANA_URL", "").rstrip("/"), os.environ.get("EVENKEEL_GRAFANA_IMAGE", "")
OPTIONS = {
    "ansible_managed": "",
    "monitoring_scrape_interval_seconds": 15,
    "monitoring_logs_enabled": True,
    "monitoring_log_store": STORE,
    "monitoring_jaeger_enabled": True,
}

pytestmark = pytest.mark.skipif(
    not (URL or IMAGE),
    reason="needs a Grafana: set EVENKEEL_GRAFANA_URL=http://admin:<password>@<host>:3000, or EVENKEEL_GRAFANA_IMAGE",
)


def files(folder: Path) -> None:
    """What the role puts at /etc/evenkeel/current."""
    jinja = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    jinja.filters["comment"] = lambda text: f"# {text}"
    for name in ("dashboards", "datasources"):
        text = jinja.from_string((ROLE / "templates" / f"{name}.yml.j2").read_text(encoding="utf-8")).render(OPTIONS)
        (folder / "provisioning" / name).mkdir(parents=True)
        (folder / "provisioning" / name / "evenkeel.yml").write_text(text, encoding="utf-8")
    (folder / "dashboards").mkdir()
    for board in BOARDS:
        (folder / "dashboards" / board.name).write_text(board.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Grafana, with a login in it."""
    if URL:
        yield URL
        return
    folder, port = tmp_path_factory.mktemp("grafana"), free_port()
    files(folder)
    # Grafana's own user reads it.
    folder.chmod(0o755)
    words = ["docker", "run", "--detach", "--rm", "--publish", f"127.0.0.1:{port}:3000"]
    words += ["--volume", f"{folder}:/etc/evenkeel/current:ro"]
    for name, value in {
        "GF_PATHS_PROVISIONING": "/etc/evenkeel/current/provisioning",
        "GF_SECURITY_ADMIN_PASSWORD": "evenkeel",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }.items():
        words += ["--env", f"{name}={value}"]
    started = subprocess.run([*words, IMAGE], capture_output=True, text=True, check=True).stdout.strip()
    found = f"http://admin:evenkeel@127.0.0.1:{port}"
    try:
        assert rig.until(lambda: answers(found), 120), "it was not ready within 120 s"
        yield found
    finally:
        subprocess.run(["docker", "rm", "--force", started], capture_output=True, check=False)


def answers(url: str) -> bool:
    try:
        return bool(ask(url, "/api/health"))
    except (urllib.error.URLError, OSError):
        return False


def ask(url: str, path: str) -> Any:
    parts = urllib.parse.urlsplit(url)
    asked = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() + path)
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        asked.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_dashboard_is_provisioned_as_it_was_written(path: Path, grafana: str) -> None:
    wanted = json.loads(path.read_text(encoding="utf-8"))
    found = ask(grafana, f"/api/dashboards/uid/{wanted['uid']}")
    assert found["meta"]["provisioned"]
    assert [panel["title"] for panel in found["dashboard"]["panels"]] == [panel["title"] for panel in wanted["panels"]]


def test_sources_are_there(grafana: str) -> None:
    assert {source["type"] for source in ask(grafana, "/api/datasources")} >= {"prometheus", SOURCE, "alertmanager"}


@pytest.mark.skipif(not URL, reason="an image that runs alone has no sources to ask")
def test_sources_answer(grafana: str) -> None:
    for source in ask(grafana, "/api/datasources"):
        if source["type"] in ("prometheus", SOURCE):
            assert ask(grafana, f"/api/datasources/uid/{source['uid']}/health")["status"] == "OK", source["name"]
