# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the singletons of an app run, and when one may move. Pure decisions on plain data."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import sentence

Homes = t.Mapping[str, str]


def moving(recorded: Homes, wanted: Homes) -> dict[str, str]:
    """The recorded host of each singleton that is to run on another one."""
    return {name: recorded[name] for name in sorted(wanted) if recorded.get(name, wanted[name]) != wanted[name]}


def refusals(app: str, leaving: Homes, hosts: t.Collection[str], typed: str) -> list[str]:
    """One sentence for each singleton that would leave a host nobody can ask whether it stopped."""
    return [
        sentence(
            "release_journal",
            "the singleton would leave a host that is no part of this run",
            f"{app}/{name}",
            f"it recorded on {host}",
            f"proof that it is stopped there, with {host} among {', '.join(hosts) or 'no hosts'}",
            f"Bring the host back, or see that it is stopped and set app_deploy_singleton_moved={name}@{host}",
        )
        for name, host in leaving.items()
        if host not in hosts and typed != f"{name}@{host}"
    ]
