# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Decisions about k3s on plain data: configuration, versions, restarts and the quorum of its servers."""

from __future__ import annotations

import re
import typing as t

Options = t.Mapping[str, t.Any]
Config = dict[str, t.Any]

CONFIG = "/etc/rancher/k3s"
DATA = "/var/lib/rancher/k3s"
# A key in the output of "k3s server --help": "--name value, -n value", of which only the long form is a key here.
FLAG = re.compile(r"^\s+-")
LONG_FLAG = re.compile(r"--([a-z0-9][a-z0-9-]*)")
# Of every command, and no key of a configuration file.
NO_KEYS = {"help", "version", "config"}
VERSION = re.compile(
    r"v?(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)(?:-(?P<pre>[\w.]+))?(?:\+k3s(?P<build>[\w.-]*))?"
)
# What uname calls an architecture, and what k3s' files are called for it.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf", "s390x": "s390x", "riscv64": "riscv64"}
COMPONENTS = ("coredns", "local-storage", "metrics-server", "servicelb", "traefik")
PREFIX = "evenkeel"

# Kernel settings that the kubelet needs with protect-kernel-defaults.
KERNEL = {
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}
CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)


# -- what is installed -------------------------------------------------------


def artifact(architecture: str) -> str:
    """Return the name of the program's file in a release, for an architecture as uname calls it; empty for none."""
    name = ARCHITECTURES.get(architecture, "")
    return {"": "", "amd64": "k3s"}.get(name, f"k3s-{name}")


def keys(text: str) -> set[str]:
    """Return the keys of a configuration file that a help text lists."""
    found: set[str] = set()
    for line in text.splitlines():
        if FLAG.match(line):
            # The flags stand before the description, which may name others.
            found.update(LONG_FLAG.findall(re.split(r"\s{2,}(?=\S)", line.strip())[0]))
    return found - NO_KEYS


def unknown_keys(wanted: t.Iterable[str], known: t.Collection[str]) -> list[str]:
    """Return the keys that k3s would only warn about."""
    return sorted({key.rstrip("+") for key in wanted} - set(known)) if known else []


def version(text: str) -> tuple[int, int, int] | None:
    """Return major, minor and patch of a version, None where there is none."""
    match = VERSION.search(text or "")
    return (int(match["major"]), int(match["minor"]), int(match["patch"])) if match else None


def version_refusal(running: str, wanted: str) -> str:
    """Return what is needed instead where one version cannot follow another by a restart; empty where it can."""
    before, after = version(running), version(wanted)
    if before is None or after is None or before == after:
        return ""
    if before[:2] != after[:2]:
        return f"a patch release of {before[0]}.{before[1]}, for another minor release needs a snapshot and a plan"
    return f"{running} or later, for k3s does not go back without a snapshot" if after < before else ""


# -- configuration -----------------------------------------------------------


def fragments(options: Options, node: Options) -> dict[str, Config]:
    """Return the configuration of one node, by the name of its file below /etc/rancher/k3s.

    *options* are the role's, without their prefix. *node* has C(role), C(name), C(address), C(registration), the URL
    at which an agent registers, and C(names), by which the API is reached.
    """
    server = node["role"] == "server"
    base: Config = {"token-file": token_file(node["role"]), "node-name": node["name"]}
    if node.get("address"):
        base["node-ip"] = node["address"]
    found: dict[str, Config] = {"config.yaml": base}
    if server:
        base["agent-token-file"] = token_file("agent")
        base["write-kubeconfig-mode"] = "0600"
        base["https-listen-port"] = int(options["api_port"])
        base["tls-san"] = list(dict.fromkeys(node["names"]))
        found[_part(10, "network")] = {
            "cluster-cidr": ",".join(options["pod_ranges"]),
            "service-cidr": ",".join(options["service_ranges"]),
            "flannel-backend": options["flannel_backend"],
            "disable-network-policy": not options["network_policy_enabled"],
        }
        if options["disabled_components"]:
            found[_part(20, "components")] = {"disable": sorted(options["disabled_components"])}
    else:
        base["server"] = node["registration"]
    if options["profile"] == "cis":
        found[_part(30, "profile")] = cis(server)
    labels, taints = options["node_labels"] or {}, list(options["node_taints"] or [])
    if labels or taints:
        found[_part(40, "node")] = {
            **({"node-label": [f"{key}={labels[key]}" for key in sorted(labels)]} if labels else {}),
            **({"node-taint": taints} if taints else {}),
        }
    extra = {**(options["extra_config"] or {}), **((options["server_extra_config"] or {}) if server else {})}
    if extra:
        profile = found.get(_part(30, "profile"), {})
        # A list here adds to that of the profile: k3s takes the last file's otherwise.
        found[_part(90, "extra")] = {
            f"{key}+" if key in profile and isinstance(value, list) else key: value for key, value in extra.items()
        }
    return found


def _part(number: int, name: str) -> str:
    return f"config.yaml.d/{number}-{PREFIX}-{name}.yaml"


def token_file(role: str) -> str:
    return f"{CONFIG}/{role}-token"


def cis(server: bool) -> Config:
    """Return the keys of the profile cis."""
    kubelet = ["streaming-connection-idle-timeout=5m", f"tls-cipher-suites={','.join(CIPHERS)}", "pod-max-pids=4096"]
    found: Config = {"protect-kernel-defaults": True, "kubelet-arg": kubelet}
    if server:
        found["secrets-encryption"] = True
        found["kube-apiserver-arg"] = [
            "enable-admission-plugins=NodeRestriction",
            f"admission-control-config-file={CONFIG}/{PREFIX}-admission.yaml",
            f"audit-policy-file={CONFIG}/{PREFIX}-audit.yaml",
            f"audit-log-path={DATA}/server/logs/audit.log",
            "audit-log-maxage=30",
            "audit-log-maxbackup=10",
            "audit-log-maxsize=100",
            f"tls-cipher-suites={','.join(CIPHERS)}",
        ]
        found["kube-controller-manager-arg"] = ["terminated-pod-gc-threshold=10"]
    return found


def typed_keys() -> set[str]:
    """Return the keys that options of their own set, which the dictionary of further keys must leave to them."""
    options = {
        "api_port": 6443,
        "pod_ranges": [],
        "service_ranges": [],
        "flannel_backend": "",
        "network_policy_enabled": True,
        "disabled_components": ["x"],
        "profile": "default",
        "node_labels": {"a": "b"},
        "node_taints": ["x"],
        "extra_config": {},
        "server_extra_config": {},
    }
    node = {"name": "x", "address": "x", "registration": "x", "names": []}
    parts = [part for role in ("server", "agent") for part in fragments(options, {**node, "role": role}).values()]
    return {key for part in parts for key in part} | {"cluster-init", "token", "agent-token"}


def join(datastore: str, has_data: str, others: t.Sequence[Options], port: int, registration: str = "") -> Config:
    """Return how a server gets into its cluster; the keys matter at its first start alone.

    *has_data* names the datastore the server holds, *others* are the other servers with C(address) and C(data).
    """
    holding = [one for one in others if one["data"]]
    if datastore != "etcd" or has_data == "etcd":
        return {}
    if has_data == "sqlite" or not holding:
        # Alone so far: a new cluster, or one that turns from SQLite to etcd.
        return {"cluster-init": True}
    return {"server": registration or url(holding[0]["address"], port)}


def url(address: str, port: int) -> str:
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def datastore(wanted: str, servers: int) -> str:
    """Return the datastore of a cluster."""
    return ("sqlite" if servers == 1 else "etcd") if wanted == "auto" else wanted


# -- running -----------------------------------------------------------------


def ready(node: Options) -> bool:
    return condition(node, "Ready").get("status") == "True"


def condition(node: Options, kind: str) -> Options:
    conditions = (node.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def is_voter(node: Options) -> bool:
    return ready(node) and condition(node, "EtcdIsVoter").get("status") == "True"


def quorum(nodes: t.Sequence[Options], name: str) -> tuple[list[str], int]:
    """Return the voters beside one server, and how many of them have to be there when it stops."""
    members = [one for one in nodes if "node-role.kubernetes.io/etcd" in one["metadata"].get("labels", {})]
    others = [one["metadata"]["name"] for one in members if one["metadata"]["name"] != name and is_voter(one)]
    return others, len(members) // 2 + 1 if len(members) > 1 else 0
