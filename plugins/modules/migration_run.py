#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_run
short_description: Run a migration of an app in a systemd unit
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Starts the service C(migration) of a stack that M(evenkeel.platform.compose_release) has staged, in a transient
    unit of systemd, so that it ends by itself if the controller dies.
  - V(started) returns at once. V(finished) checks once and is repeated with C(until).
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.guard
  - evenkeel.platform.state.folders
attributes:
  diff_mode:
    support: none
options:
  app:
    description: Name of the app.
    type: str
    required: true
  token:
    description: The token of the run, part of the unit's name.
    type: int
    required: true
  step:
    description: The number of the migration within the release, part of the unit's name.
    type: int
    default: 0
  state:
    description:
      - V(started) starts the unit. If the unit exists already, or if the same migration of the same release still runs
        in the unit of an earlier run, it attaches to that one. If another migration is running, it fails.
      - V(finished) returns whether it ended, and how.
      - V(removed) removes a unit that ended from systemd.
    type: str
    choices: [started, finished, removed]
    default: started
  unit:
    description: For V(finished) and V(removed), the RV(unit) of V(started), which may be that of an earlier run.
    type: str
  timeout_seconds:
    description: How long the migration may take.
    type: int
    default: 600
  stack:
    description: The staged stack. Left out, C(<app>-migration).
    type: str
  lines:
    description: How many of its last lines to return.
    type: int
    default: 20
  base_dir:
    description: Folder of all stacks.
    type: path
    default: /opt/evenkeel/stacks
"""

EXAMPLES = r"""
- name: Start the migration
  evenkeel.platform.migration_run:
    app: shop
    token: 42
    timeout_seconds: 300
  register: migration

- name: Wait for the migration
  evenkeel.platform.migration_run:
    app: shop
    token: 42
    state: finished
    unit: "{{ migration.unit }}"
  register: migrated
  until: migrated.finished
  retries: 100
  delay: 3
"""

RETURN = r"""
unit:
  description: The unit.
  returned: always
  type: str
  sample: evenkeel-shop-migrate-42-0.service
attached:
  description: Whether V(started) found it already there.
  returned: always
  type: bool
  sample: false
finished:
  description: Whether it ended.
  returned: always
  type: bool
  sample: true
rc:
  description: Its exit code once it ended, 124 after O(timeout_seconds); none while it runs.
  returned: always
  type: int
  sample: 0
lines:
  description: Its last lines of output, without secrets.
  returned: always
  type: list
  elements: str
  sample: ["applied 0003_orders"]
reason:
  description: Why it failed, in one sentence.
  returned: always
  type: str
  sample: ""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["started evenkeel-shop-migrate-42-0.service"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release, _jobs, _transient_unit
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import GUARD_ARGUMENTS, Guard, acting

ARGUMENT_SPEC: dict[str, t.Any] = {
    **GUARD_ARGUMENTS,
    "app": {"type": "str", "required": True},
    "token": {"type": "int", "required": True, "no_log": False},
    "step": {"type": "int", "default": 0},
    "state": {"type": "str", "choices": ["started", "finished", "removed"], "default": "started"},
    "unit": {"type": "str"},
    "timeout_seconds": {"type": "int", "default": 600},
    "stack": {"type": "str"},
    "lines": {"type": "int", "default": 20},
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
}
Result = dict[str, t.Any]


class Migration:
    """One migration on this host."""

    def __init__(self, module: AnsibleModule, guard: Guard | None) -> None:
        params = module.params
        self.module = module
        self.guard = guard
        self.app = params["app"]
        self.stack = Stack(params["stack"] or f"{self.app}-migration", params["base_dir"])
        self.unit = params["unit"] or _jobs.migration_unit(self.app, params["token"], params["step"])
        self.result: Result = {"unit": self.unit, "attached": False, "finished": False, "rc": None, "lines": []}
        self.result.update({"reason": "", "actions": [], "changed": False})

    def command(self, *argv: str) -> tuple[int, str, str]:
        rc, stdout, stderr = self.module.run_command(list(argv), environ_update={"LC_ALL": "C"})
        return int(rc), str(stdout), str(stderr)

    def units(self) -> dict[str, dict[str, str]]:
        """Return what systemd reports of the app's migrations."""
        pattern = f"evenkeel-{self.app}-*"
        return _transient_unit.shown(self.command, pattern, lambda names: _jobs.migrations(names, self.app), self.unit)

    def started(self) -> Result:
        """Start the unit, or attach to the one that does the same."""
        release = self.stack.current()
        what = f"migration {self.module.params['step']} of {self.app}, release {release}"
        units = self.units()
        running = {name for name, fields in units.items() if _jobs.migration_state(fields)[0] == "running"}
        same = [self.unit] if _jobs.migration_state(units.get(self.unit, {}))[0] != "absent" else []
        same += sorted(name for name in running - {self.unit} if units[name].get("Description") == what)
        if same:
            return dict(self.result, unit=same[0], attached=True)
        if running:
            need = "none, since two migrations must not run at once"
            found = ", ".join(sorted(running))
            raise Failure(
                sentence("migration_run", "another migration", f"app {self.app}", found, need, "Wait until it ended"),
                **self.result,
            )
        if self.module.check_mode:
            return dict(self.result, changed=True, actions=[f"started {self.unit}"])
        for name in sorted(name for name, fields in units.items() if _jobs.migration_state(fields)[0] == "ended"):
            # What ended was read by its own run; systemd keeps it until it is stopped.
            _transient_unit.forget(self.command, name)
        if release is None:
            need, remedy = "a staged release", "Stage it with compose_release"
            where = f"stack {self.stack.name}"
            raise Failure(sentence("migration_run", "release", where, "none", need, remedy), **self.result)
        if self.guard:
            self.guard.ask()
        folder = self.stack.releases / release
        command = ["docker", "compose", f"--project-name={self.stack.name}", f"--project-directory={self.stack.path}"]
        command += [f"--file={folder / 'compose.yaml'}", "run", "--rm", "--no-deps", "--quiet-pull", "migration"]
        refused = _transient_unit.start(self.command, self.unit, what, self.module.params["timeout_seconds"], command)
        if refused:
            where = f"unit {self.unit}"
            raise Failure(
                sentence("migration_run", "start", where, refused, "it started", "Look at systemd"), **self.result
            )
        return dict(self.result, changed=True, actions=[f"started {self.unit}"])

    def finished(self) -> Result:
        """Return whether it ended, and how."""
        if self.module.check_mode:
            return dict(self.result, finished=True, rc=0)
        fields = self.units().get(self.unit, {})
        state, rc = _jobs.migration_state(fields)
        if state == "running":
            return self.result
        if state == "absent":
            need, remedy = "its exit code", "See whether the host was restarted, then deploy again"
            reason = sentence("migration_run", "unit", self.unit, "it gone", need, remedy)
            return dict(self.result, finished=True, rc=255, reason=reason)
        # Without secrets.
        values = list(self.stack.secret_values().values())
        printed = _transient_unit.printed(self.command, self.unit, fields, self.module.params["lines"])
        lines = [_compose_release.mask(line, values) for line in printed]
        reason = ""
        if rc:
            found = f"exit code {rc}" + (" after its time was over" if rc == 124 else "")
            reason = sentence("migration_run", "migration", f"app {self.app}", found, "0", "Read its last lines")
        return dict(self.result, finished=True, rc=rc, lines=lines, reason=reason)

    def removed(self) -> Result:
        """Let systemd forget the unit, once it ended."""
        state, rc = _jobs.migration_state(self.units().get(self.unit, {}))
        if state != "ended":
            return dict(self.result, finished=state == "absent")
        if not self.module.check_mode:
            _transient_unit.forget(self.command, self.unit)
        return dict(self.result, finished=True, rc=rc, changed=True, actions=[f"removed {self.unit}"])


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        guard = Guard.of(module, "migration_run")
        migration = Migration(module, guard)
        if module.params["state"] == "started":
            with acting(guard):
                result = migration.started()
        else:
            result = migration.finished() if module.params["state"] == "finished" else migration.removed()
    except Failure as failure:
        empty = {"unit": "", "attached": False, "finished": False, "rc": None, "lines": [], "reason": "", "actions": []}
        module.fail_json(msg=failure.sentence, **{**empty, **failure.result, "reason": failure.sentence})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
