# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls of systemctl that bring units to their wanted states."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _host_units
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

LOADED = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
MISSING = {"LoadState": "not-found", "ActiveState": "inactive", "UnitFileState": "", "NeedDaemonReload": "no"}
ON = {"enabled": True, "state": "started"}
OFF = {"enabled": False, "state": "stopped"}


class Systemd:
    """A systemd whose units become what a daemon-reload finds."""

    def __init__(self, units: dict[str, dict[str, str]], after_reload: dict[str, dict[str, str]] | None = None) -> None:
        self.units, self.after_reload = units, after_reload or {}
        self.calls: list[str] = []
        self.broken = ""

    def __call__(self, *words: str) -> tuple[int, str, str]:
        if words[0] == "show":
            found = [(name, self.units.get(name, MISSING)) for name in words[3:]]
            blocks = [f"Id={name}\n" + "\n".join(f"{k}={v}" for k, v in had.items()) for name, had in found]
            return 0, "\n\n".join(blocks) + "\n", ""
        self.calls.append(" ".join(word for word in words if word != "--"))
        if words[0] == self.broken:
            return 1, "", "Job failed."
        if words[0] == "daemon-reload":
            self.units = {name: {**had, "NeedDaemonReload": "no"} for name, had in self.units.items()}
            self.units.update(self.after_reload)
        return 0, "", ""


@pytest.mark.parametrize(
    ("had", "wanted", "calls"),
    [
        ({}, ON, []),
        ({"ActiveState": "inactive"}, ON, ["start a.timer"]),
        ({"ActiveState": "failed", "UnitFileState": "disabled"}, ON, ["enable a.timer", "start a.timer"]),
        ({}, OFF, ["stop a.timer", "disable a.timer"]),
        (MISSING, OFF, []),
        ({}, {"state": "restarted"}, ["restart a.timer"]),
        ({"NeedDaemonReload": "yes"}, {}, ["daemon-reload"]),
        ({"NeedDaemonReload": "yes"}, ON, ["daemon-reload", "restart a.timer"]),
        ({"UnitFileState": "static"}, ON, []),
        ({"UnitFileState": "indirect", "ActiveState": "inactive"}, OFF, []),
    ],
)
def test_only_what_differs_is_called_and_check_mode_tells_the_same(
    had: dict[str, str], wanted: dict[str, object], calls: list[str]
) -> None:
    units = [{"name": "a.timer", **wanted}]
    dry = Systemd({"a.timer": {**LOADED, **had}})
    told = _host_units.settle(units, dry, check_mode=True)
    assert dry.calls == []
    systemd = Systemd({"a.timer": {**LOADED, **had}})
    assert _host_units.settle(units, systemd) == told
    assert systemd.calls == calls


def test_changed_service_of_a_timer_is_loaded_and_its_timer_goes_on() -> None:
    systemd = Systemd({"a.timer": LOADED, "a.service": {**LOADED, "NeedDaemonReload": "yes"}})
    assert _host_units.settle([{"name": "a.timer", **ON}], systemd) == ["reloaded systemd"]
    assert systemd.calls == ["daemon-reload"]


def test_reload_that_is_asked_for_counts_as_no_change() -> None:
    systemd = Systemd({"a.service": LOADED})
    assert _host_units.settle([{"name": "a.service", **ON}], systemd, reload=True) == []
    assert systemd.calls == ["daemon-reload"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_masked_unit_is_refused(check_mode: bool) -> None:
    systemd = Systemd({"a.service": {**MISSING, "LoadState": "masked"}})
    with pytest.raises(Failure, match=r"unit on a\.service: found masked"):
        _host_units.settle([{"name": "a.service", **ON}], systemd, check_mode)


def test_running_service_with_a_new_file_is_not_restarted() -> None:
    systemd = Systemd({"docker.service": {**LOADED, "NeedDaemonReload": "yes"}})
    assert _host_units.settle([{"name": "docker.service", **ON}], systemd) == [_host_units.RELOADED]
    assert systemd.calls == ["daemon-reload"]


def test_unit_that_systemd_remembers_as_missing_is_loaded_first() -> None:
    new = {**LOADED, "ActiveState": "inactive", "UnitFileState": "disabled"}
    systemd = Systemd({"a.timer": MISSING, "b.timer": LOADED}, {"a.timer": new})
    done = _host_units.settle([{"name": name, **ON} for name in ("a.timer", "b.timer")], systemd)
    assert done == ["enabled a.timer", "started a.timer"]
    assert systemd.calls == ["daemon-reload", "enable a.timer", "start a.timer"]


def test_units_that_are_not_there_are_all_named_and_nothing_is_started() -> None:
    systemd = Systemd({"a.timer": MISSING, "b.timer": {**LOADED, "ActiveState": "inactive"}, "c.timer": MISSING})
    with pytest.raises(Failure) as refused:
        _host_units.settle([{"name": name, **ON} for name in systemd.units], systemd)
    assert "unit on a.timer: found not-found" in refused.value.sentence
    assert "unit on c.timer" in refused.value.sentence
    assert systemd.calls == ["daemon-reload"]
    assert _host_units.settle([{"name": "a.timer", **ON}], systemd, check_mode=True) == [
        "enabled a.timer",
        "started a.timer",
    ]


def test_call_that_fails_is_named_with_what_was_done() -> None:
    systemd = Systemd({"a.timer": {**LOADED, "ActiveState": "inactive", "UnitFileState": "disabled"}})
    systemd.broken = "start"
    with pytest.raises(Failure, match=r"systemctl start on a\.timer: found Job failed\.") as failed:
        _host_units.settle([{"name": "a.timer", **ON}], systemd)
    assert failed.value.result["actions"] == ["enabled a.timer"]
