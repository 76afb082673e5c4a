#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_command
short_description: Run a command in a container of an app
version_added: 0.1.0
description:
  - Runs a command in a container that runs already, or in one of its own with the image, environment, secrets and
    limits of a service. The latter runs in a transient unit of systemd, so that it ends and is removed whether the
    controller lives or not.
  - Values of secrets of the app are masked in what is returned.
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
  state:
    description:
      - V(executed) runs the command in O(container) and returns once it ended.
      - V(started) starts a container of its own from the current release of O(stack) and returns at once.
      - V(finished) returns whether that one ended, and how, and removes its unit if so. It is repeated with C(until).
    type: str
    choices: [executed, started, finished]
    required: true
  container:
    description: For V(executed), the name of the container.
    type: str
  stack:
    description: For V(started), the stack with the service.
    type: str
  service:
    description: For V(started), the service as the stack has it, such as V(api.1).
    type: str
  command:
    description: The command, as a list of words. For V(started) without any, the command of the service.
    type: list
    elements: str
    default: []
  unit:
    description: For V(finished), the RV(unit) of V(started).
    type: str
  timeout_seconds:
    description:
      - How long the command may take. It is ended after that, with code 124.
      - A program in a container that runs already cannot be ended from outside; only the waiting for it ends.
    type: int
    default: 600
  lines:
    description: How many of its last lines to return.
    type: int
    default: 200
  base_dir:
    description: Folder of all stacks.
    type: path
    default: /opt/evenkeel/stacks
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.app_logs
  - module: evenkeel.platform.migration_run
"""

EXAMPLES = r"""
- name: Count the orders
  evenkeel.platform.app_command:
    app: shop
    state: executed
    container: shop.green.api.1
    command: [python, -m, shop.orders, --count]

- name: Start a check of the data
  evenkeel.platform.app_command:
    app: shop
    state: started
    stack: shop-green
    service: api.1
    command: [python, -m, shop.check]
  register: check

- name: Wait for the check of the data
  evenkeel.platform.app_command:
    app: shop
    state: finished
    unit: "{{ check.unit }}"
  register: checked
  until: checked.finished
  retries: 100
  delay: 3
"""

RETURN = r"""
unit:
  description: The unit of a container of its own.
  returned: always
  type: str
  sample: evenkeel-shop-run-0a1b2c3d.service
container:
  description: The container that the command runs in.
  returned: always
  type: str
  sample: shop.api.run-0a1b2c3d
finished:
  description: Whether it ended.
  returned: always
  type: bool
  sample: true
exit_code:
  description: Its exit code once it ended, 124 after O(timeout_seconds); none while it runs.
  returned: always
  type: int
  sample: 0
lines:
  description: Its last lines of output, without secrets.
  returned: always
  type: list
  elements: str
  sample: ["3214"]
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["started shop.api.run-0a1b2c3d"]
"""

import json
import secrets as randomness
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_commands,
    _compose_release,
    _jobs,
    _transient_unit,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import GUARD_ARGUMENTS, Guard, acting

ARGUMENT_SPEC: dict[str, t.Any] = {
    **GUARD_ARGUMENTS,
    "app": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["executed", "started", "finished"], "required": True},
    "container": {"type": "str"},
    "stack": {"type": "str"},
    "service": {"type": "str"},
    "command": {"type": "list", "elements": "str", "default": []},
    "unit": {"type": "str"},
    "timeout_seconds": {"type": "int", "default": 600},
    "lines": {"type": "int", "default": 200},
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
}
MODULE = "app_command"
Result = dict[str, t.Any]


class Command:
    """One command on this host."""

    def __init__(self, module: AnsibleModule, guard: Guard | None) -> None:
        self.module = module
        self.params = module.params
        self.guard = guard
        self.app = self.params["app"]
        self.values = _app_commands.secret_values(self.app, self.params["base_dir"])
        self.result: Result = {"changed": False, "unit": self.params["unit"] or "", "container": "", "finished": False}
        self.result.update({"exit_code": None, "lines": [], "actions": []})

    def call(self, *argv: str) -> tuple[int, str, str]:
        rc, out, err = self.module.run_command(
            list(argv), environ_update={"LC_ALL": "C"}, errors="surrogate_or_replace", expand_user_and_vars=False
        )
        return int(rc), str(out), str(err)

    def refusal(self, what: str, subject: str, found: str, need: str, remedy: str) -> Failure:
        found = _compose_release.mask(found, self.values)
        return Failure(sentence(MODULE, what, subject, found, need, remedy), **self.result)

    def shown(self, lines: t.Iterable[str]) -> list[str]:
        """Return the last lines, without secrets."""
        return [_compose_release.mask(line, self.values) for line in lines][-self.params["lines"] :]

    def executed(self) -> Result:
        """Run the command in a container that runs already."""
        name = self.params["container"]
        self.result["container"] = name
        rc, out, err = self.call("docker", "inspect", name)
        if rc != 0:
            last = (err.strip().splitlines() or ["no answer of the engine"])[-1]
            raise self.refusal("container", name, last, "it running", "Deploy the live release again")
        seen = json.loads(out)[0]
        if not (seen.get("State") or {}).get("Running"):
            state = str((seen.get("State") or {}).get("Status") or "unknown")
            raise self.refusal("container", name, f"it {state}", "it running", "Deploy the live release again")
        if self.module.check_mode:
            return dict(self.result, finished=True, exit_code=0, changed=True, actions=[f"ran a command in {name}"])
        command = _app_commands.inside((seen.get("Config") or {}).get("Entrypoint") or [], self.params["command"])
        limit = ["timeout", "--kill-after=5", str(self.params["timeout_seconds"])]
        rc, out, err = self.call(*limit, "docker", "exec", name, *command)
        lines = self.shown([*out.splitlines(), *err.splitlines()])
        return dict(
            self.result, finished=True, exit_code=rc, lines=lines, changed=True, actions=[f"ran a command in {name}"]
        )

    def units(self, *more: str) -> dict[str, dict[str, str]]:
        """Return what systemd reports of the app's one-off containers."""
        pattern = f"evenkeel-{self.app}-run-*"
        return _transient_unit.shown(self.call, pattern, lambda names: _app_commands.units(names, self.app), *more)

    def started(self) -> Result:
        """Start a container of its own, as the edges and the pair of the run allow it."""
        stack = Stack(self.params["stack"], self.params["base_dir"])
        number = randomness.token_hex(4)
        service = self.params["service"]
        unit = _app_commands.unit(self.app, number)
        name = _app_commands.container(self.app, service.partition(".")[0], number)
        result = dict(self.result, unit=unit, container=name, changed=True, actions=[f"started {name}"])
        release = stack.current()
        if release is None:
            if self.module.check_mode:
                return result
            raise self.refusal("release", f"stack {stack.name}", "none on this host", "one", "Deploy the app")
        if self.module.check_mode:
            return result
        for other, fields in self.units().items():
            if _jobs.migration_state(fields)[0] == "ended" and _app_commands.forgotten(fields, time.monotonic()):
                _transient_unit.forget(self.call, other)
        if self.guard:
            self.guard.ask()
        refused = _transient_unit.start(
            self.call,
            unit,
            f"{service} of {self.app}, once",
            self.params["timeout_seconds"],
            _app_commands.one_off(stack, release, service, name, self.params["command"]),
            # The container is removed even if the client is killed.
            f"--property=ExecStopPost=-/bin/sh -c '{_app_commands.DOCKER} rm --force {name} >/dev/null 2>&1'",
            "--setenv=COMPOSE_PROGRESS=quiet",
        )
        if refused:
            raise self.refusal("start", f"unit {unit}", refused, "it started", "Look at systemd")
        return result

    def finished(self) -> Result:
        """Return whether a container of its own ended, and how."""
        unit = self.params["unit"]
        if self.module.check_mode:
            return dict(self.result, finished=True, exit_code=0)
        fields = self.units(unit).get(unit, {})
        state, rc = _jobs.migration_state(fields)
        if state == "running":
            return self.result
        if state == "absent":
            remedy = "See whether the host was restarted, then run it again"
            raise self.refusal("unit", unit, "it gone", "its exit code", remedy)
        lines = _transient_unit.printed(self.call, unit, fields, self.params["lines"])
        _transient_unit.forget(self.call, unit)
        return dict(self.result, finished=True, exit_code=rc, lines=self.shown(lines))


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "executed", ("container", "command")),
            ("state", "started", ("stack", "service")),
            ("state", "finished", ("unit",)),
        ],
    )
    empty: Result = {"changed": False, "unit": "", "container": "", "finished": False, "exit_code": None, "lines": []}
    try:
        guard = Guard.of(module, MODULE)
        command = Command(module, guard)
        if module.params["state"] == "started":
            with acting(guard):
                result = command.started()
        else:
            result = command.executed() if module.params["state"] == "executed" else command.finished()
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **{**empty, "actions": [], **failure.result})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
