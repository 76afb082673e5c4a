#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: scheduled_jobs
short_description: Manage the scheduled jobs of an app on a host
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes a timer and a service for each job, enables the timers, and removes those of other jobs of the app, in one
    call. A job runs a container of the stack's current release.
  - Units are named C(evenkeel-job-<app>.<job>), so that units of two apps never share a name.
  - A job that is running when its timer is removed is not stopped.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.guard
  - evenkeel.platform.state.folders
options:
  app:
    description: Name of the app.
    type: str
    required: true
  jobs:
    description: All jobs of the app on this host. An empty list removes all.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the job, which is a service of the stack.
        type: str
        required: true
      schedule:
        description: When it runs, in the format of systemd's C(OnCalendar=).
        type: str
        required: true
  stack:
    description: The stack with the jobs' services. Left out, C(<app>-background).
    type: str
  base_dir:
    description: Folder of all stacks.
    type: path
    default: /opt/evenkeel/stacks
  unit_dir:
    description: Folder of the units.
    type: path
    default: /etc/systemd/system
"""

EXAMPLES = r"""
- name: Set the jobs of the shop
  evenkeel.platform.scheduled_jobs:
    app: shop
    jobs:
      - {name: report, schedule: "*-*-* 03:00:00"}
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["wrote evenkeel-job-shop.report.timer", "started evenkeel-job-shop.report.timer"]
jobs:
  description: The timers of the app on this host.
  returned: always
  type: list
  elements: str
  sample: [evenkeel-job-shop.report.timer]
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _jobs
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import GUARD_ARGUMENTS, Guard, acting
from ansible_collections.evenkeel.platform.plugins.module_utils._state import APP

ARGUMENT_SPEC: dict[str, t.Any] = {
    **GUARD_ARGUMENTS,
    "app": {"type": "str", "required": True},
    "jobs": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "schedule": {"type": "str", "required": True}},
    },
    "stack": {"type": "str"},
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
    "unit_dir": {"type": "path", "default": "/etc/systemd/system"},
}


class Systemd:
    """Runs systemctl; the guard is asked again before each change."""

    def __init__(self, module: AnsibleModule, guard: Guard | None) -> None:
        self.module = module
        self.guard = guard

    def __call__(self, *arguments: str, change: bool = True) -> str:
        if change and self.guard:
            self.guard.ask()
        rc, stdout, stderr = self.module.run_command(["systemctl", *arguments], environ_update={"LC_ALL": "C"})
        if rc != 0 and change:
            found = (stderr or stdout).strip().splitlines()[-1:] or ["an error"]
            raise Failure(
                sentence("scheduled_jobs", "systemctl", arguments[0], found[0], "it done", "Look at the unit"), rc=rc
            )
        return str(stdout)

    def running(self, timers: t.Sequence[str]) -> set[str]:
        """Return those timers that are enabled and active."""
        if not timers:
            return set()
        seen = _jobs.shown(self("show", "--property=Id,UnitFileState,ActiveState", *timers, change=False))
        return {
            name
            for name, fields in seen.items()
            if fields.get("UnitFileState") == "enabled" and fields.get("ActiveState") == "active"
        }


def run(module: AnsibleModule, guard: Guard | None) -> dict[str, t.Any]:
    """Bring the units of the app into the wanted state."""
    app, folder = module.params["app"], Path(module.params["unit_dir"])
    stack = module.params["stack"] or f"{app}-background"
    wanted = _jobs.units(app, module.params["jobs"], stack, module.params["base_dir"])
    there = _jobs.of_app((path.name for path in folder.glob("evenkeel-job-*")), app)
    before = {name: _file.read_text(str(folder / name)) or "" for name in there}
    written = [name for name in sorted(wanted) if before.get(name) != wanted[name]]
    gone = [name for name in there if name not in wanted]
    systemd = Systemd(module, guard)
    timers = [name for name in sorted(wanted) if name.endswith(".timer")]
    idle = sorted(set(timers) - systemd.running([name for name in timers if name in before]))
    again = [name for name in timers if name in written and name not in idle]
    actions = [f"removed {name}" for name in gone] + [f"wrote {name}" for name in written]
    actions += [f"started {name}" for name in idle] + [f"restarted {name}" for name in again]
    if actions and not module.check_mode:
        if guard:
            guard.ask()
        old = [name for name in gone if name.endswith(".timer")]
        if old:
            systemd("disable", "--now", *old)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
        for name in written:
            _file.write_atomic(str(folder / name), wanted[name], 0o644)
        if gone or written:
            systemd("daemon-reload")
        if idle:
            systemd("enable", "--now", *idle)
        if again:
            systemd("restart", *again)
    diff = [
        {"before": before.get(name, ""), "after": wanted.get(name, ""), "before_header": name, "after_header": name}
        for name in sorted({*gone, *written})
    ]
    return {"changed": bool(actions), "actions": actions, "jobs": timers, "diff": diff}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        problems = _jobs.problems(module.params["jobs"])
        if not APP.match(module.params["app"]):
            need = "a lower case letter, then at most 30 of a-z, 0-9 and -"
            problems.append(sentence("scheduled_jobs", "name", "app", repr(module.params["app"]), need, "Set app"))
        if problems:
            raise Failure("\n".join(problems))
        guard = Guard.of(module, "scheduled_jobs")
        with acting(guard):
            result = run(module, guard)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{"actions": [], "jobs": [], **failure.result})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
