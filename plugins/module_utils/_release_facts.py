# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What a host knows of an app: the input of a plan, read in one go."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _adapter,
    _compose_present,
    _edge_info,
    _edge_servers,
    _file,
    _jobs,
    _pair,
    _release_records,
    _releases,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

MODULE = "release_facts"
FIREWALL = "/etc/evenkeel/firewall.d"
UNITS = Path("/etc/systemd/system")
PARTS = ("edge", "host", "records", "releases")
STACKS = ("blue", "green", "background", "migration")
Run = t.Callable[[list[str]], tuple[int, str, str]]


def read(
    records: Records, parts: t.Collection[str], count: int, run: Run, adapter: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return what a host knows of an app, by part; raises Failure where a record is of a newer version.

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
        "details": details(records, parts, run) if "details" in parts else {},
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


def details(records: Records, parts: t.Collection[str], run: Run) -> dict[str, t.Any]:
    """Return each container of the app, the state of our units on this host, and the servers set to drain."""
    units = ["evenkeel-edge-withdraw.timer"] if "edge" in parts else []
    if "host" in parts:
        jobs = [name for name in _jobs.of_app(_names_in(UNITS), records.app) if name.endswith(".timer")]
        units += ["evenkeel-retire.timer", *jobs]
    return {
        "containers": containers(records.app, run) if "host" in parts else [],
        "units": unit_states(units, run),
        "draining": _edge_servers.recorded(records) if "edge" in parts else {},
    }


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def unit_states(units: t.Sequence[str], run: Run) -> dict[str, str]:
    """Return what systemd says of each unit: C(active), C(inactive), C(failed) and their like."""
    if not units:
        return {}
    _status, out, _err = run(["systemctl", "is-active", *units])
    return {unit: state.strip() for unit, state in zip(units, out.splitlines(), strict=False)}


def containers(app: str, run: Run) -> list[dict[str, t.Any]]:
    """Return the containers of the app's stacks, those of one-off commands marked."""
    form = '{{ .ID }} {{ .Label "com.docker.compose.project" }}'
    status, out, _err = run(["docker", "ps", "--all", "--no-trunc", "--format", form])
    stacks_of_app = {f"{app}-{part}" for part in STACKS}
    ids = [line.split()[0] for line in out.splitlines() if line.partition(" ")[2] in stacks_of_app]
    if status != 0 or not ids:
        return []
    _status, out, _err = run(["docker", "inspect", *ids])
    try:
        found: list[dict[str, t.Any]] = json.loads(out)
    except ValueError:
        return []
    return sorted((_container(app, each) for each in found), key=lambda row: str(row["name"]))


def _container(app: str, seen: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    labels = _compose_present.labels(seen)
    state = seen.get("State") or {}
    return {
        "name": str(seen.get("Name") or "").lstrip("/"),
        "part": labels.get(_compose_present.PROJECT_LABEL, "").removeprefix(f"{app}-"),
        "service": _compose_present.service_of(seen),
        "running": bool(state.get("Running")) and not state.get("Restarting"),
        # Empty for one that runs and is healthy, or ended as it should.
        "problem": _compose_present.state_of(seen),
        "exit": int(state.get("ExitCode") or 0),
        "restarts": int(seen.get("RestartCount") or 0),
        "image": str((seen.get("Config") or {}).get("Image") or ""),
        "oneoff": not _compose_present.standing([seen]),
    }
