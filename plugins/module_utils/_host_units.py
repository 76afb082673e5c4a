# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Units of systemd: what they are, and which calls of systemctl bring them to what they have to be."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
RELOADED = "reloaded systemd"
# See systemctl(1), is-enabled: these are started by others, or cannot be enabled.
ENABLED = frozenset({"enabled", "enabled-runtime"})
AS_ENABLED = ENABLED | {"static", "alias", "indirect", "generated"}
RUNNING = frozenset({"active", "activating", "reloading", "refreshing"})
PAST = {"enable": "enabled", "disable": "disabled", "start": "started", "stop": "stopped", "restart": "restarted"}

Unit = t.Mapping[str, t.Any]
Systemctl = t.Callable[..., tuple[int, str, str]]


def settle(units: t.Sequence[Unit], systemctl: Systemctl, check_mode: bool = False, reload: bool = False) -> list[str]:
    """Bring units to the wanted states, and return what was done, or would be in check mode."""
    if not units:
        return []
    names = [unit["name"] for unit in units]
    # A timer keeps its service loaded, whose file may have changed alone.
    names += [service for service in map(_service_of, names) if service and service not in names]
    states = _ask(names, systemctl)
    outdated = {name for name in names if states[name]["NeedDaemonReload"] == "yes"}
    actions: list[str] = []
    # systemd remembers a unit as missing or broken that it was asked for before its file was there.
    if outdated or reload or any(states[unit["name"]]["LoadState"] != "loaded" for unit in units if _needed(unit)):
        if not check_mode:
            _call(systemctl, ["daemon-reload"], [])
            states = _ask(names, systemctl)
        actions += [RELOADED] if outdated else []
    _refuse_missing(units, states, check_mode)
    for verb, wanted in _verbs(units, states, outdated):
        if not check_mode:
            _call(systemctl, [verb, "--", *wanted], actions)
        actions += [f"{PAST[verb]} {name}" for name in wanted]
    return actions


def _ask(names: t.Sequence[str], systemctl: Systemctl) -> dict[str, dict[str, str]]:
    """Return the properties of each unit; systemctl answers in the order of the names, a blank line between."""
    code, out, err = systemctl("show", f"--property={','.join(PROPERTIES)}", "--", *names)
    blocks = out.strip().split("\n\n")
    if code or len(blocks) != len(names):
        raise Failure(
            sentence(
                "host_units", "systemctl show", "this host", err.strip() or f"{len(blocks)} units",
                f"an answer for {len(names)} units", "Check that systemd runs",
            )
        )  # fmt: skip
    found = {}
    for name, block in zip(names, blocks, strict=True):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[name] = {key: values.get(key, "") for key in PROPERTIES}
    return found


def _service_of(name: str) -> str:
    return f"{name.removesuffix('.timer')}.service" if name.endswith(".timer") else ""


def _needed(unit: Unit) -> bool:
    return bool(unit.get("enabled")) or unit.get("state") in ("started", "restarted")


def _refuse_missing(units: t.Sequence[Unit], states: dict[str, dict[str, str]], check_mode: bool) -> None:
    found = []
    for unit in units:
        state = states[unit["name"]]["LoadState"]
        # In check mode its file may be one that this run would write.
        if state != "loaded" and _needed(unit) and (state == "masked" or not check_mode):
            need, remedy = "a unit that systemd can load", f"See systemctl status {unit['name']}"
            found.append(sentence("host_units", "unit", unit["name"], state, need, remedy))
    if found:
        raise Failure("\n".join(found))


def _verbs(
    units: t.Sequence[Unit], states: dict[str, dict[str, str]], outdated: t.Container[str]
) -> list[tuple[str, list[str]]]:
    """Return the verbs of systemctl with the units that need them; a unit is enabled before it starts."""
    found: dict[str, list[str]] = {verb: [] for verb in ("stop", "disable", "enable", "start", "restart")}
    for unit in units:
        name, state, enabled = unit["name"], unit.get("state"), unit.get("enabled")
        runs = states[name]["ActiveState"] in RUNNING
        at_boot = states[name]["UnitFileState"]
        if enabled and at_boot not in AS_ENABLED:
            found["enable"].append(name)
        elif enabled is False and at_boot in ENABLED:
            found["disable"].append(name)
        if state == "stopped" and runs:
            found["stop"].append(name)
        elif state == "restarted" or (state == "started" and runs and name in outdated and name.endswith(".timer")):
            found["restart"].append(name)
        elif state == "started" and not runs:
            found["start"].append(name)
    return [(verb, names) for verb, names in found.items() if names]


def _call(systemctl: Systemctl, words: list[str], done: list[str]) -> None:
    code, _out, err = systemctl(*words)
    if code:
        subject = " ".join(words[2:]) or "systemd"
        raise Failure(
            sentence("host_units", f"systemctl {words[0]}", subject, err.strip() or f"code {code}", "it done",
                     "See journalctl -xe"),
            actions=done,
        )  # fmt: skip
