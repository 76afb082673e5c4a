# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Units of scheduled jobs and of migrations: their names, their text, and what systemd reports of them."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _names
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import sentence

HEADER = "# Written by Evenkeel; the next release writes it anew.\n"
_MIGRATION = re.compile(r"evenkeel-(?P<app>[a-z][a-z0-9-]*)-migrate-(?P<token>[0-9]+)-(?P<step>[0-9]+)\.service\Z")
_JOB = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")


def problems(jobs: t.Sequence[t.Mapping[str, str]]) -> list[str]:
    """Return one sentence for each job that no unit can be written for."""
    found = []
    names = [job["name"] for job in jobs]
    for job in jobs:
        where = f"job {job['name']}"
        if not _JOB.match(job["name"]):
            need = "lower case letters, digits, hyphens and underscores"
            found.append(sentence("scheduled_jobs", "name", where, repr(job["name"]), need, "Rename it"))
        if names.count(job["name"]) > 1:
            found.append(sentence("scheduled_jobs", "name", where, "it twice", "it once", "Remove one"))
        if not job["schedule"].strip() or "\n" in job["schedule"]:
            need = "one line, as systemd.time describes it"
            found.append(sentence("scheduled_jobs", "schedule", where, repr(job["schedule"]), need, "Set schedule"))
    return list(dict.fromkeys(found))


def units(app: str, jobs: t.Sequence[t.Mapping[str, str]], stack: str, base_dir: str) -> dict[str, str]:
    """Return the text of each unit file by its name."""
    found = {}
    for job in jobs:
        unit = _names.job_unit(app, job["name"])
        # The container's name is fixed, so that the engine refuses a second one while one runs.
        run = (
            f"/usr/bin/docker compose --project-name {stack} --project-directory {base_dir}/{stack} "
            f"--file {base_dir}/{stack}/current/compose.yaml --profile scheduled run --rm --no-deps "
            f"--name {_names.container_name(app, job['name'])} {job['name']}"
        )
        found[f"{unit}.service"] = (
            f"{HEADER}[Unit]\nDescription={job['name']} of {app}\nRequires=docker.service\nAfter=docker.service\n\n"
            f"[Service]\nType=oneshot\nExecStart={run}\n"
        )
        found[f"{unit}.timer"] = (
            f"{HEADER}[Unit]\nDescription=Schedule of {job['name']} of {app}\n\n"
            f"[Timer]\nOnCalendar={job['schedule']}\nPersistent=true\nRandomizedDelaySec=30s\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )
    return found


def of_app(files: t.Iterable[str], app: str) -> list[str]:
    """Return those unit files that are of an app's jobs."""
    return sorted(name for name in files if _names.parse_job_unit(name)[0] == app)


def shown(text: str) -> dict[str, dict[str, str]]:
    """Return what C(systemctl show) prints of several units, by unit."""
    found = {}
    for block in text.strip().split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if fields.get("Id"):
            found[fields["Id"]] = fields
    return found


def migration_unit(app: str, token: int, step: int) -> str:
    """Return the name of a migration's unit."""
    return f"evenkeel-{app}-migrate-{token}-{step}.service"


def migrations(names: t.Iterable[str], app: str) -> list[str]:
    """Return those units that are migrations of an app."""
    found = []
    for name in names:
        match = _MIGRATION.match(name)
        if match and match["app"] == app:
            found.append(name)
    return sorted(found)


def migration_state(fields: t.Mapping[str, str]) -> tuple[str, int | None]:
    """Return C(absent), C(running) or C(ended) and the exit code of a migration's unit.

    A unit that was ended by a signal, by the end of its time or before its program has no exit code of its own;
    it counts as 124 after its time and as 255 otherwise.
    """
    if fields.get("LoadState", "not-found") == "not-found":
        return "absent", None
    active, sub = fields.get("ActiveState"), fields.get("SubState")
    if active in ("activating", "deactivating", "reloading") or (active == "active" and sub != "exited"):
        return "running", None
    result = fields.get("Result")
    if result == "success":
        return "ended", 0
    if result == "timeout":
        return "ended", 124
    status = int(fields.get("ExecMainStatus") or 0)
    return "ended", status if result == "exit-code" and status else 255
