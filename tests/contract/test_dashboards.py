# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboards are what their program says, and Prometheus reads each of their queries."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.evenkeel.platform.docs import dashboards

PROMTOOL = shutil.which("promtool")


def test_every_file_is_current() -> None:
    there = {path.name for path in dashboards.FOLDER.glob("*.json")}
    assert there == dashboards.texts().keys(), "run make docs"
    for name, text in dashboards.texts().items():
        assert (dashboards.FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run make docs"


def test_panels_fill_the_grid_without_overlap() -> None:
    for uid, board in dashboards.boards("loki").items():
        taken: set[tuple[int, int]] = set()
        for panel in dashboards.board(uid, board)["panels"]:
            place = panel["gridPos"]
            cells = {(x, place["y"]) for x in range(place["x"], place["x"] + place["w"])}
            assert not cells & taken, f"{uid}: {panel['title']}"
            assert place["x"] + place["w"] <= 24, f"{uid}: {panel['title']}"
            taken |= cells


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
def test_prometheus_reads_every_query(tmp_path: Path) -> None:
    asked = [dashboards.SWITCHES["expr"]] + [
        query
        for board in dashboards.BOARDS.values()
        for panel in board.panels
        if panel.source == "prometheus"
        for query in panel.queries.values()
    ]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(asked)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([PROMTOOL or "", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
