# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of an in-place restore: each step is on the disk before it is done.

The file exists from before the app is stopped until the app was started again. What it records decides, together
with what the server or the disk shows, whether an interrupted restore is finished or undone.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenkeel_backup import disk
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.manifest import stamp
from evenkeel_backup.state import now

FILE = "exchange.json"
SCHEMA = 1
BACK = "back"


@dataclass
class Journal:
    """An open journal; *noted* holds kind, step and the names that the exchange uses."""

    path: Path
    noted: dict[str, Any]

    def step(self, name: str, **facts: Any) -> None:
        """Record the step that is done next, with what it needs to be repeated or undone."""
        self.noted |= {**facts, "step": name, "at": stamp(now())}
        disk.write_json(self.path, self.noted)

    def close(self) -> None:
        """Remove the journal: the exchange is finished or undone, and the app runs."""
        self.path.unlink(missing_ok=True)
        disk.fsync_folder(self.path.parent)


def path_of(state_dir: Path) -> Path:
    """Return the journal's file."""
    return state_dir / FILE


def begin(state_dir: Path, kind: str, **facts: Any) -> Journal:
    """Open the journal of a new exchange; nothing was changed yet."""
    made = Journal(path_of(state_dir), {"schema": SCHEMA, "kind": kind, "began": stamp(now())})
    made.step("stop_app", **facts)
    return made


def opened(state_dir: Path) -> Journal | None:
    """Return the journal of an unfinished exchange, or None. One that cannot be read is a failure, never ignored."""
    path = path_of(state_dir)
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as failure:
        raise _unreadable(path, str(failure)) from None
    if not isinstance(noted, dict) or noted.get("schema") != SCHEMA or not {"kind", "step"} <= set(noted):
        raise _unreadable(path, "no journal of this version")
    return Journal(path, noted)


def _unreadable(path: Path, found: str) -> BackupFailure:
    return BackupFailure(
        "exchange_unfinished",
        "the journal of an in-place restore cannot be read",
        str(path),
        found,
        "the steps of the restore",
        "See which data is live, start the app, then remove that file",
        "restore",
    )


def problem(noted: dict[str, Any], instance: str) -> BackupFailure:
    """Return an unfinished exchange as a problem, with the next command. Pure."""
    return BackupFailure(
        "exchange_unfinished",
        "an in-place restore was interrupted",
        instance,
        f"it at step {noted['step']} since {noted['at']}",
        "it finished or undone",
        f"Run 'evenkeel-backup settle {instance}'",
        "restore",
    )
