# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboards in a real Grafana, wherever there is one: EVENKEEL_GRAFANA_URL, with a user's name and password in it."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

URL = os.environ.get("EVENKEEL_GRAFANA_URL", "").rstrip("/")
BOARDS = sorted((Path(__file__).resolve().parents[3] / "roles" / "monitoring" / "files" / "dashboards").glob("*.json"))

pytestmark = pytest.mark.skipif(
    not URL, reason="needs a Grafana: set EVENKEEL_GRAFANA_URL=http://admin:<password>@<host>:3000"
)


def ask(path: str) -> Any:
    parts = urllib.parse.urlsplit(URL)
    asked = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() + path)
    if parts.username:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        asked.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_dashboard_is_provisioned_as_it_was_written(path: Path) -> None:
    wanted = json.loads(path.read_text(encoding="utf-8"))
    found = ask(f"/api/dashboards/uid/{wanted['uid']}")
    assert found["meta"]["provisioned"]
    assert [panel["title"] for panel in found["dashboard"]["panels"]] == [panel["title"] for panel in wanted["panels"]]


def test_sources_answer() -> None:
    for source in ask("/api/datasources"):
        if source["type"] in ("prometheus", "loki"):
            assert ask(f"/api/datasources/uid/{source['uid']}/health")["status"] == "OK", source["name"]
