# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run tasks of a role on this machine, to test their use of options."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
Play = Callable[[Path, list[dict[str, Any]], dict[str, Any], dict[str, Any]], None]


@pytest.fixture(scope="session")
def play() -> Play:
    """Return a function that runs plays on an inventory with further variables; files are written to a folder."""

    def run(folder: Path, plays: list[dict[str, Any]], inventory: dict[str, Any], variables: dict[str, Any]) -> None:
        (folder / "play.json").write_text(json.dumps(plays))
        (folder / "inventory.json").write_text(json.dumps(inventory))
        asked = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                *("-i", str(folder / "inventory.json"), str(folder / "play.json")),
                *("-e", json.dumps(variables)),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_CACHE_PLUGIN": "memory",
                "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert asked.returncode == 0, asked.stdout

    return run
