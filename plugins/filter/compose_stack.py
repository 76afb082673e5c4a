# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters over the stacks of the compose_stack role."""

from __future__ import annotations

from typing import Any


def compose_stack_problems(stacks: list[dict[str, Any]]) -> list[str]:
    """Return one sentence for each stack that contradicts itself or another one."""
    problems = []
    names = [stack["name"] for stack in stacks]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(
            f"compose_stack: name on stack {name}: found it {names.count(name)} times, need it once. "
            "Rename one in compose_stack_stacks."
        )
    for stack in stacks:
        state = stack.get("state", "present")
        given = [key for key in ("definition", "template") if stack.get(key)]
        if state == "present" and len(given) != 1:
            problems.append(
                f"compose_stack: definition on stack {stack['name']}: found {' and '.join(given) or 'none'}, "
                "need one of definition and template. Set one of them."
            )
        if stack.get("remove_volumes") and state != "absent":
            problems.append(
                f"compose_stack: remove_volumes on stack {stack['name']}: found it with state {state}, need absent. "
                "Set state to absent, or leave remove_volumes out."
            )
        for secret in stack.get("secrets") or []:
            if secret.get("as") == "environment" and not str(secret.get("reason") or "").strip():
                problems.append(
                    f"compose_stack: reason on secret {secret['name']} of stack {stack['name']}: found none, "
                    "need one for as: environment. Set reason."
                )
    return problems


class FilterModule:
    """Jinja filters over stacks."""

    def filters(self) -> dict[str, Any]:
        return {"compose_stack_problems": compose_stack_problems}
