# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notes which tasks of converge.yml reported a change, once in check mode and once for real."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: changes
type: notification
short_description: Note which tasks reported a change
description:
  - Writes C(changes-check.json) or C(changes-converge.json) into molecule's folder of the scenario,
    at the first run of each.
"""


class CallbackModule(CallbackBase):
    """One pair of task and host for each change."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "changes"

    def __init__(self) -> None:
        super().__init__()
        self.changes: set[tuple[str, str]] = set()
        self.wanted = False

    def v2_playbook_on_start(self, playbook: t.Any) -> None:
        self.wanted = Path(playbook._file_name).name == "converge.yml"

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if result.is_changed():
            self.changes.add((result.task.get_name().strip(), result.host.get_name()))

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        folder = os.environ.get("MOLECULE_EPHEMERAL_DIRECTORY")
        mode = "check" if context.CLIARGS.get("check") else "converge"
        if self.wanted and folder and not stats.failures:
            path = Path(folder) / f"changes-{mode}.json"
            if not path.exists():
                path.write_text(json.dumps(sorted(self.changes)), encoding="utf-8")
