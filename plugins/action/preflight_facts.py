# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module preflight_facts: it never fails, and knows which schedules to ask about."""

from __future__ import annotations

import time
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import HostChecks
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import DefaultsOnly


class ActionModule(ActionBase):
    """Read the facts of one host."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"folders", "calendars", "apps", "parts", "images"})

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if variables["inventory_hostname"] not in variables["groups"]["all"]:
            # The localhost on which a play says that its groups have no host.
            result.update(changed=False)
            return result
        checks = HostChecks(DefaultsOnly(self._loader), variables["inventory_hostname"], variables, {}, None)
        arguments = {
            "folders": [*(self._task.args.get("folders") or ["/var/lib", "/opt"]), checks.data_root()],
            "calendars": [
                *(self._task.args.get("calendars") or []),
                *(expression for expression, _option in checks.schedules().values()),
            ],
            "apps": list(self._task.args.get("apps") or []),
            "parts": list(self._task.args.get("parts") or []),
        }
        arguments["images"] = checks.images(arguments["apps"]) if self._task.args.get("images") else []
        began = time.time()
        try:
            answer = self._execute_module(
                module_name="evenkeel.platform.preflight_facts", module_args=arguments, task_vars=variables
            )
        except AnsibleError as exc:
            answer = {"failed": True, "msg": str(exc)}
        if "host" in answer:
            answer["host"]["clock"] = apart(answer["host"].get("clock"), began, time.time())
        result.update(
            changed=False, **{key: answer[key] for key in ("host", "releases", "ansible_facts") if key in answer}
        )
        if "host" not in answer:
            result["unreachable_reason"] = reason(answer)
        return result


def apart(clock: float | None, began: float, ended: float) -> float | None:
    """Return by how many seconds a clock is surely ahead of the controller's; it was read between two times of that."""
    if clock is None:
        return None
    return round(clock - ended if clock > ended else min(clock - began, 0.0), 1)


def reason(answer: dict[str, t.Any]) -> str:
    """Return in a few words why a module gave no answer."""
    # What the host's shell printed says more than that its answer could not be read.
    said = str(answer.get("module_stderr") or answer.get("module_stdout") or answer.get("msg") or "")
    lines = [line.strip().rstrip(".") for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "no answer"
    # ssh's own words, without those that Ansible puts before them.
    return last.rpartition("ssh: ")[2][:200]
