# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""One entry of a kubeconfig file, put in or taken out beside those of others."""

from __future__ import annotations

import copy
import typing as t

Config = dict[str, t.Any]

SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
EMPTY: Config = {"apiVersion": "v1", "kind": "Config", "preferences": {}}


def entry(source: t.Mapping[str, t.Any], name: str, server: str) -> dict[str, Config]:
    """Return cluster, user and context of k3s' own file under the name of the cluster."""
    try:
        cluster, user = source["clusters"][0]["cluster"], source["users"][0]["user"]
    except (KeyError, IndexError, TypeError):
        raise ValueError("no cluster and user") from None
    return {
        "clusters": {**cluster, "server": server},
        "users": dict(user),
        "contexts": {"cluster": name, "user": name},
    }


def held(config: t.Mapping[str, t.Any], section: str, name: str) -> Config | None:
    """Return what a section has under a name."""
    for one in config.get(section) or []:
        if isinstance(one, dict) and one.get("name") == name:
            return dict(one.get(SECTIONS[section]) or {})
    return None


def foreign(config: t.Mapping[str, t.Any], name: str, server: str, authority: str = "") -> str:
    """Return the URL of another cluster that has the name already; empty where there is none.

    It is the same cluster where the URL or the authority is the same.
    """
    there = held(config, "clusters", name)
    if there is None:
        return ""
    same = there.get("server") == server or (authority and there.get("certificate-authority-data") == authority)
    return "" if same else str(there.get("server") or "no URL")


def merged(config: t.Mapping[str, t.Any] | None, name: str, wanted: t.Mapping[str, Config]) -> Config:
    """Return the file with the entry; what else it has stays, in its order."""
    found = {**copy.deepcopy(EMPTY), **copy.deepcopy(dict(config or {}))}
    for section, key in SECTIONS.items():
        entries = list(found.get(section) or [])
        before = held(found, section, name)
        # A namespace that a user chose for the context is theirs.
        content = {**(before or {}), **wanted[section]} if section == "contexts" else dict(wanted[section])
        number = next((at for at, one in enumerate(entries) if isinstance(one, dict) and one.get("name") == name), None)
        if number is None:
            entries.append({"name": name, key: content})
        else:
            entries[number] = {"name": name, key: content}
        found[section] = entries
    if not found.get("current-context"):
        found["current-context"] = name
    return found


def without(config: t.Mapping[str, t.Any], name: str) -> Config:
    """Return the file without the entry."""
    found = copy.deepcopy(dict(config))
    for section in SECTIONS:
        if section in found:
            found[section] = [
                one for one in found[section] or [] if not (isinstance(one, dict) and one.get("name") == name)
            ]
    if found.get("current-context") == name:
        found["current-context"] = ""
    return found


def names(config: t.Mapping[str, t.Any]) -> list[str]:
    """Return the names of the contexts, for people."""
    return [str(one.get("name")) for one in config.get("contexts") or [] if isinstance(one, dict)]
