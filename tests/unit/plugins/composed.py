# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps of Compose files for the tests, read by Compose itself or by what it answered when the tests were written.

With EVENKEEL_RECORD_COMPOSE set to a docker command, new questions are asked and their answers are recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_problems, _compose_project, _model
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _compose_files

RECORDED = Path(__file__).parent / "module_utils/recorded/compose_projects.json"
HOSTS: dict[str, dict[str, Any]] = {
    "app1": {"address": "10.0.0.21", "memory_bytes": 2**31},
    "app2": {"address": "10.0.0.22", "memory_bytes": 2**31},
}
ONE = {"app1": HOSTS["app1"]}
WEB: dict[str, Any] = {
    "image": "registry.test/demo:${RELEASE}",
    "x-evenkeel": {"port": 3000, "routes": [{"path": "/"}]},
}


def item(compose: Any, **options: Any) -> dict[str, Any]:
    return {
        "name": "demo",
        "release": "1.0",
        "domains": ["demo.example.com"],
        "port_base": 20000,
        "compose": compose,
        **options,
    }


def run(words: list[str], environ_update: dict[str, str], cwd: str) -> tuple[int, str, str]:
    assert not os.environ, "the environment of the host is seen"
    done = subprocess.run(words, env=environ_update, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    docker = os.environ.get("EVENKEEL_RECORD_COMPOSE")
    if docker:
        known[key] = _compose_project.normalise(asked, docker, run)
        RECORDED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return dict(known[key])


def read(app: dict[str, Any]) -> _app_problems.Read:
    """Return project and problems of an item, as Compose reads its file."""
    asked = _compose_files.asked([app])
    return _compose_files.projects([app], {one["app"]: answer(one) for one in asked})[app["name"]]


def model(app: dict[str, Any], strict: bool = False) -> _model.Model:
    found = read(app)
    assert found["problems"] == []
    return _model.of(app, found["project"], strict)


def problems(app: dict[str, Any], hosts: dict[str, Any] | None = None, **facts: Any) -> list[str]:
    projects = {app["name"]: read(app)}
    more: Any = {"projects": projects, **facts}
    return _app_problems.problems([app], ONE if hosts is None else hosts, ["edge1"], more)
