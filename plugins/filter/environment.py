# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters over the description of an environment."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

GROUPS = ("edge", "app", "data", "ops")
NEEDED = ("edge", "app")
NAME = re.compile(r"[a-z][a-z0-9_]*")
SECRET = re.compile(r"\bvault_\w+")
# Others give these out; nothing that is made up here would fit.
GIVEN = ("vault_alert_receiver", "vault_registry_password", "vault_shop_store_secret")
HOST = re.compile(r"(?P<name>[a-z][a-z0-9-]*)=(?P<address>[0-9a-fA-F.:]+)/(?P<groups>[a-z+]+)")


@dataclass(frozen=True)
class Host:
    """One host of the description, with its problems."""

    word: str
    name: str = ""
    address: str = ""
    groups: tuple[str, ...] = ()
    problem: str = ""


def read_host(word: str) -> Host:
    """Read <name>=<address>/<group>+<group>."""
    found = HOST.fullmatch(word)
    if not found:
        return Host(word, problem="<name>=<address>/<group>+<group>")
    groups = tuple(found["groups"].split("+"))
    if set(groups) - set(GROUPS):
        return Host(word, problem=f"groups among {', '.join(GROUPS)}")
    try:
        address = ipaddress.ip_address(found["address"])
    except ValueError:
        return Host(word, problem="an IPv4 or IPv6 address")
    return Host(word, found["name"], str(address), groups)


def problems_of(name: str, hosts: list[Host]) -> list[str]:
    """Return one sentence for each problem of the description."""
    said = []
    if not NAME.fullmatch(name):
        found = name or "none"
        said.append(
            f"new_environment: name of the environment: found {found}, need a-z, 0-9 and _. Set environment_name."
        )
    if not hosts:
        said.append(
            "new_environment: hosts: found none, need one at least. "
            "Set environment_hosts, for example edge1=192.0.2.11/edge+app."
        )
    said += [
        f"new_environment: host {host.word}: found a wrong form, need {host.problem}. Correct environment_hosts."
        for host in hosts
        if host.problem
    ]
    good = [host for host in hosts if not host.problem]
    for kind in ("name", "address"):
        values = [getattr(host, kind) for host in good]
        said += [
            f"new_environment: {kind} {value}: found it twice, need it once. Correct environment_hosts."
            for value in sorted({value for value in values if values.count(value) > 1})
        ]
    missing = [group for group in NEEDED if not any(group in host.groups for host in good)]
    if hosts and len(good) == len(hosts):
        said += [
            f"new_environment: group {group}: found no host, need one at least. Correct environment_hosts."
            for group in missing
        ]
    return said


def new_environment(hosts: str, name: str) -> dict[str, Any]:
    """Return the problems, the inventory and the ranges of an environment."""
    read = [read_host(word) for word in re.split(r"[,\s]+", hosts) if word]
    good = [host for host in read if not host.problem]
    return {
        "problems": problems_of(name, read),
        "inventory": {
            "all": {
                "hosts": {host.name: {"ansible_host": host.address, "platform_address": host.address} for host in good},
                "children": {
                    group: {"hosts": {host.name: {} for host in good if group in host.groups}} for group in GROUPS
                },
            }
        },
        "ranges": [str(ipaddress.ip_network(host.address)) for host in good],
        # The example app has a database, which needs a host.
        "full": any("data" in host.groups for host in good),
        "watched": any("ops" in host.groups for host in good),
    }


def environment_secrets(texts: list[str]) -> dict[str, list[str]]:
    """Return the secrets that the files of an environment read: generated ones, and those that others give out."""
    names = sorted({name for text in texts for name in SECRET.findall(text)})
    return {
        "generated": [name for name in names if name not in GIVEN],
        "given": [name for name in names if name in GIVEN],
    }


class FilterModule:
    """Jinja filters over the description of an environment."""

    def filters(self) -> dict[str, Any]:
        return {"environment_secrets": environment_secrets, "new_environment": new_environment}
