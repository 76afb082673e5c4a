# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Commands of people in the containers of an app: their arguments, the names of their units, what is masked."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _stacks
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_release import LOADER_TARGET
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack

_UNIT = re.compile(r"evenkeel-(?P<app>[a-z][a-z0-9-]*)-run-[0-9a-f]{8}\.service\Z")
DOCKER = "/usr/bin/docker"
# Units that nobody asked about are removed after this time.
FORGOTTEN_SECONDS = 3600


def secret_values(app: str, base_dir: str) -> list[str]:
    """Return the secrets that this host stores for any stack of the app."""
    return [
        value for name in _stacks.stack_names(app) for value in Stack(name, base_dir).secret_values().values() if value
    ]


def inside(entrypoint: t.Sequence[str], command: t.Sequence[str]) -> list[str]:
    """Return a command as it runs in a container that was started with *entrypoint*.

    A container that loads its secrets into the environment of its program does the same for the command.
    """
    words = list(entrypoint)
    loads = words[: words.index("--") + 1] if LOADER_TARGET in words[:2] and "--" in words else []
    return [*loads, *command]


def unit(app: str, number: str) -> str:
    """Return the name of the unit of a one-off container."""
    return f"evenkeel-{app}-run-{number}.service"


def units(names: t.Iterable[str], app: str) -> list[str]:
    """Return those units that are one-off containers of an app."""
    return sorted(name for name in names if (match := _UNIT.match(name)) and match["app"] == app)


def container(app: str, service: str, number: str) -> str:
    """Return the name of a one-off container: no replica has such a name, as its last part is no number."""
    return f"{app}.{service}.run-{number}"


def one_off(stack: Stack, release: str, service: str, name: str, command: t.Sequence[str]) -> list[str]:
    """Return the arguments that run a service of a stack's release once, in a container of its own.

    systemd replaces C($NAME) in the arguments of a unit; each dollar sign is doubled, so that the command gets it.
    """
    argv = [
        DOCKER,
        "compose",
        f"--project-name={stack.name}",
        f"--project-directory={stack.path}",
        f"--file={stack.file(release)}",
        "--profile=scheduled",
        "run",
        "--rm",
        "--no-deps",
        "--no-TTY",
        "--quiet-pull",
        f"--name={name}",
        service,
        *command,
    ]
    return [word.replace("$", "$$") for word in argv]


def forgotten(fields: t.Mapping[str, str], now: float) -> bool:
    """Return whether a unit ended so long ago that nobody asks about it; *now* is of the monotonic clock."""
    ended = int(fields.get("ExecMainExitTimestampMonotonic") or 0) / 1_000_000
    return 0 < ended < now - FORGOTTEN_SECONDS
