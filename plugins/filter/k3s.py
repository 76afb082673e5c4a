# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters over the options of the role k3s_cluster."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _k3s, _k3s_problems, _kubeconfig

PREFIX = "k3s_cluster_"
HEADER = "# Written by the role k3s_cluster; put your own keys into k3s_cluster_extra_config.\n"


def short(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without the prefix of the role."""
    return {name.removeprefix(PREFIX): value for name, value in options.items()}


def k3s_cluster_problems(
    options: Mapping[str, Any],
    servers: Sequence[str],
    hosts: Mapping[str, Mapping[str, Any]],
    name: str,
    url: str = "",
    known_keys: Collection[str] = (),
) -> list[str]:
    """Return one sentence for each problem of the options, of one host, and of the hosts together.

    Each of *hosts* has C(role), C(node_name), C(address) and C(facts) of the preflight. *url* is that of the API.
    """
    found = k3s_cluster_host_problems(options, hosts[name], name, url, known_keys)
    return list(dict.fromkeys(found + k3s_cluster_together(options, servers, hosts)))


def k3s_cluster_host_problems(
    options: Mapping[str, Any],
    host: Mapping[str, Any],
    name: str,
    url: str = "",
    known_keys: Collection[str] = (),
) -> list[str]:
    """Return one sentence for each problem of the options and of one host."""
    given = short(options)
    found = _k3s_problems.option_problems(given, known_keys)
    if host.get("facts"):
        found += _k3s_problems.host_problems(given, name, host["role"], host["facts"])
        found += secret_problems(given, bool(host["facts"]["k3s"]["installed"]))
    return found + (kubeconfig_problems(given, url) if url else [])


def k3s_cluster_together(
    options: Mapping[str, Any], servers: Sequence[str], hosts: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return one sentence for each problem of the hosts together."""
    together = {}
    for name, host in hosts.items():
        facts = host.get("facts") or {}
        together[name] = {
            **{key: host.get(key) for key in ("role", "node_name", "address")},
            "machine_id": (facts.get("k3s") or {}).get("machine_id", ""),
            "clock": facts.get("clock"),
        }
    absent = [name for name in servers if name not in hosts]
    return _k3s_problems.cluster_problems(short(options), servers, together, absent)


def secret_problems(options: Mapping[str, Any], installed: bool) -> list[str]:
    """Return the tokens that the controller lacks although the cluster has them already."""
    folder = Path(str(options["secrets_folder"])).expanduser() / str(options["name"])
    missing = [role for role in ("server", "agent") if not (folder / f"{role}-token").is_file()]
    if not installed or not missing:
        return []
    return [
        f"k3s_cluster: tokens of {options['name']} on the controller: found no {' and no '.join(missing)} token in "
        f"{folder} while the cluster runs, need them. Copy {' and '.join(map(_k3s.token_file, missing))} of a server "
        "there, with mode 0600."
    ]


def kubeconfig_problems(options: Mapping[str, Any], url: str) -> list[str]:
    """Return the cluster of somebody else that has the name already in the user's kubeconfig."""
    if not options["kubeconfig_enabled"]:
        return []
    path = Path(str(options["kubeconfig"])).expanduser()
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        config = None
    if not isinstance(config or {}, dict):
        config = None
    if config is None and path.is_file() and path.stat().st_size:
        return [
            f"k3s_cluster: kubeconfig {path}: found no YAML, need a kubeconfig file. "
            "Mend the file, or set k3s_cluster_kubeconfig to another."
        ]
    other = _kubeconfig.foreign(config or {}, str(options["name"]), url)
    return (
        [
            f"k3s_cluster: entry {options['name']} of kubeconfig {path}: found the cluster at {other}, need none or "
            f"the one at {url}. Set k3s_cluster_name, or remove the entry with kubectl config delete-cluster "
            f"{options['name']}."
        ]
        if other
        else []
    )


def k3s_cluster_config(options: Mapping[str, Any], node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration files of a node, and the keys they have."""
    # Values of Ansible carry tags, which YAML's writer does not know.
    parts = json.loads(json.dumps(_k3s.fragments(short(options), node)))
    return {
        "files": [
            {"path": f"{_k3s.CONFIG}/{name}", "content": HEADER + yaml.safe_dump(part, sort_keys=True, width=10000)}
            for name, part in sorted(parts.items())
        ],
        "keys": sorted({key.rstrip("+") for part in parts.values() for key in part}),
    }


def k3s_cluster_join(
    options: Mapping[str, Any], servers: Sequence[str], hosts: Mapping[str, Mapping[str, Any]], name: str
) -> dict[str, Any]:
    """Return the keys with which a server gets into its cluster at its first start."""
    given = short(options)
    kind = _k3s.datastore(str(given["datastore"]), len(servers))
    port = int(given["api_port"])
    registration = _k3s.url(given["api_address"], port) if given.get("api_address") else ""
    state = {each: (hosts[each].get("facts") or {}).get("k3s", {}) for each in servers if each in hosts}
    first = next((each for each in servers if state.get(each, {}).get("data")), servers[0] if servers else "")
    others = [
        # The first one has started the cluster by the time the others join it.
        {"address": hosts[each]["address"], "data": state[each].get("data") or (each == first and "etcd")}
        for each in servers
        if each in hosts and each != name
    ]
    return _k3s.join(kind, str(state.get(name, {}).get("data") or ""), others, port, registration)


class FilterModule:
    """Jinja filters over the options of a cluster."""

    def filters(self) -> dict[str, Any]:
        return {
            "k3s_cluster_config": k3s_cluster_config,
            "k3s_cluster_join": k3s_cluster_join,
            "k3s_cluster_problems": k3s_cluster_problems,
        }
