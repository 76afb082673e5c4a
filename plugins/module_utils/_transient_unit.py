# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""A command in a transient unit of systemd, which outlives the connection that started it.

The unit stays after its end, so that its exit code and its lines can be read, until C(forget). C(call) runs a command
and returns its exit code, output and errors.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _jobs

Call = t.Callable[..., tuple[int, str, str]]
PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "Description", "InvocationID"),
    "ExecMainExitTimestampMonotonic",
)


def shown(
    call: Call, pattern: str, own: t.Callable[[t.Iterable[str]], t.Iterable[str]], *more: str
) -> dict[str, dict[str, str]]:
    """Return what systemd reports of the units that match *pattern* and are among *own*, and of *more*, by unit."""
    listed = call("systemctl", "list-units", "--all", "--plain", "--no-legend", pattern)[1]
    names = sorted({*own(line.split()[0] for line in listed.splitlines() if line.split()), *more})
    return _jobs.shown(call("systemctl", "show", f"--property={','.join(PROPERTIES)}", *names)[1]) if names else {}


def start(call: Call, unit: str, description: str, seconds: int, command: t.Sequence[str], *options: str) -> str:
    """Start a command; return why systemd did not, else an empty string."""
    rc, out, err = call(
        "systemd-run",
        f"--unit={unit}",
        f"--description={description}",
        "--quiet",
        "--service-type=exec",
        "--remain-after-exit",
        f"--property=RuntimeMaxSec={seconds}",
        *options,
        "--",
        *command,
    )
    return "" if rc == 0 else ((err or out).strip().splitlines() or ["an error"])[-1]


def printed(call: Call, unit: str, fields: t.Mapping[str, str], lines: int) -> list[str]:
    """Return the last lines of a unit, of its last run alone where that is known."""
    invocation = fields.get("InvocationID") or ""
    only = [f"_SYSTEMD_INVOCATION_ID={invocation}"] if invocation else [f"--unit={unit}"]
    return call("journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={lines}", *only)[1].splitlines()


def forget(call: Call, unit: str) -> None:
    """Let systemd forget a unit, which ends what still runs in it."""
    call("systemctl", "stop", unit)
    call("systemctl", "reset-failed", unit)
