# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What a host knows of an app: the input of a plan, read in one go."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _adapter,
    _edge_info,
    _file,
    _pair,
    _release_records,
    _releases,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

MODULE = "release_facts"
FIREWALL = "/etc/evenkeel/firewall.d"
PARTS = ("edge", "host", "records", "releases")
STACKS = ("blue", "green", "background", "migration")
Run = t.Callable[[list[str]], tuple[int, str, str]]


def read(
    records: Records, parts: t.Collection[str], count: int, run: Run, adapter: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return C(pair), C(edge), C(host) and C(records) of an app; raises Failure where a record is of a newer version.

    C(parts) is what the host is to the app, C(run) runs a command, C(adapter) are the options of the adapter.
    """
    pair = _pair.highest(records)
    edge: dict[str, t.Any] = {}
    host: dict[str, t.Any] = {}
    if "edge" in parts:
        edge = _edge_info.read(records, _adapter.of(adapter, MODULE, records.app, records.folder))
    if "host" in parts:
        host = {
            **stacks(records.app, run),
            "firewall": firewall(records.app),
            "orders": orders(records),
            "releases": list(_releases.read(records, read_only=True).values()) if "releases" in parts else [],
        }
    return {
        "pair": {"token": pair.token, "run": pair.run},
        "edge": edge,
        "host": host,
        "records": _release_records.facts(records, count) if "records" in parts else {},
    }


def stacks(app: str, run: Run) -> dict[str, t.Any]:
    """Return the number of running and of other containers of each stack of the app; none without Docker."""
    found = {part: {"running": 0, "other": 0} for part in STACKS}
    form = '{{ .Label "com.docker.compose.project" }} {{ .State }}'
    status, out, _err = run(["docker", "ps", "--all", "--format", form])
    for line in out.splitlines() if status == 0 else []:
        project, _space, state = line.partition(" ")
        part = project.removeprefix(f"{app}-")
        if project.startswith(f"{app}-") and part in found:
            found[part]["running" if state == "running" else "other"] += 1
    return {"engine": status == 0, "stacks": found}


def firewall(app: str) -> list[str]:
    """Return the rules of the app's file in the firewall, without comments."""
    text = _file.read_text(str(Path(FIREWALL, f"app-{app}.nft"))) or ""
    return [line.strip() for line in text.splitlines() if "accept" in line]


def orders(records: Records) -> list[str]:
    """Return the colours that wait to be stopped."""
    return sorted(path.stem.removeprefix("retire-") for path in Path(records.folder).glob("retire-*.json"))
