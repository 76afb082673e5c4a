# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What has to be true of hosts and options before a cluster is touched, one sentence for each problem."""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _k3s

Options = t.Mapping[str, t.Any]
Facts = t.Mapping[str, t.Any]

# Of a host that k3s was measured on by its authors: server with workload and agent.
MEMORY_MB = {"server": 1600, "agent": 512}
CLOCK_SECONDS = 30
SHA256 = re.compile(r"[0-9a-f]{64}")
NODE_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
LABEL = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
TAINT = re.compile(r"[^=:\s]+(=[^=:\s]*)?:(NoSchedule|PreferNoSchedule|NoExecute)")
VERSION = re.compile(r"v\d+\.\d+\.\d+(-[\w.]+)?\+k3s[\w.-]*")


# Keys whose values are secrets.
SECRET_KEYS = {
    "datastore-endpoint",
    "etcd-s3-access-key",
    "etcd-s3-secret-key",
    "etcd-s3-session-token",
    "vpn-auth",
}


def _sentence(what: str, found: str, need: str, advice: str) -> str:
    return f"k3s_cluster: {what}: found {found}, need {need}. {advice}."


def option_problems(options: Options, known_keys: t.Collection[str] = ()) -> list[str]:
    """Return what is wrong with the options alone; *known_keys* are those of the program, empty where unknown."""
    found = []
    wanted = str(options["version"])
    if not VERSION.fullmatch(wanted):
        found.append(
            _sentence("k3s_cluster_version", wanted or "none", "a version as v1.34.4+k3s1", "Set k3s_cluster_version")
        )
    for architecture, digest in sorted((options["checksums"] or {}).items()):
        if not SHA256.fullmatch(str(digest)):
            found.append(
                _sentence(
                    f"checksum of {architecture} in k3s_cluster_checksums",
                    str(digest) or "none",
                    "64 hexadecimal digits",
                    "Set it to that of the file sha256sum of the release",
                )
            )
    extra = {**(options["extra_config"] or {}), **(options["server_extra_config"] or {})}
    for key in sorted(extra):
        if key.rstrip("+") in _k3s.typed_keys() and not isinstance(extra[key], list):
            found.append(
                _sentence(
                    f"key {key} of k3s_cluster_extra_config",
                    "it set by an option of its own",
                    "one place for it",
                    "Set the option only",
                )
            )
    for key in sorted(SECRET_KEYS & set(extra)):
        found.append(
            _sentence(
                f"key {key} of k3s_cluster_extra_config",
                "a secret, which would be shown in diffs and logs",
                "it in a file of its own",
                f"Write it to a fragment of yours in {_k3s.CONFIG}/config.yaml.d with mode 0600",
            )
        )
    for key in _k3s.unknown_keys(extra, known_keys):
        found.append(
            _sentence(
                f"key {key} of k3s_cluster_extra_config",
                f"a key that k3s {wanted} does not have",
                "one of k3s server --help",
                "Rename or remove it",
            )
        )
    found += _network_problems(options)
    for taint in options["node_taints"] or []:
        if not TAINT.fullmatch(str(taint)):
            found.append(_sentence(f"taint {taint}", "this", "key=value:effect", "Set k3s_cluster_node_taints"))
    for label in options["node_labels"] or {}:
        if not LABEL.fullmatch(str(label)):
            found.append(_sentence(f"label {label}", "this", "a name of Kubernetes", "Set k3s_cluster_node_labels"))
    return found


def _network_problems(options: Options) -> list[str]:
    found, networks = [], []
    for option in ("pod_ranges", "service_ranges"):
        for text in options[option]:
            try:
                networks.append((option, ipaddress.ip_network(str(text))))
            except ValueError as error:
                found.append(
                    _sentence(f"k3s_cluster_{option}", f"{text} ({error})", "a network", f"Set k3s_cluster_{option}")
                )
    for number, (option, network) in enumerate(networks):
        for other, earlier in networks[:number]:
            if network.version == earlier.version and network.overlaps(earlier):
                found.append(
                    _sentence(
                        f"range {network} of k3s_cluster_{option}",
                        f"an overlap with {earlier} of k3s_cluster_{other}",
                        "ranges apart",
                        f"Set k3s_cluster_{option}",
                    )
                )
    return found


def host_problems(options: Options, name: str, role: str, facts: Facts) -> list[str]:
    """Return what is wrong with one host; *facts* are those of the preflight, with C(k3s)."""
    found, state = [], facts["k3s"]
    architecture = str(facts.get("architecture") or "")
    if architecture:
        if not _k3s.artifact(architecture):
            found.append(
                _sentence(
                    f"architecture of {name}",
                    architecture,
                    f"one of {', '.join(_k3s.ARCHITECTURES)}, for which k3s has a program",
                    "Take the host out of the group",
                )
            )
        elif not (options["checksums"] or {}).get(_k3s.ARCHITECTURES[architecture]):
            found.append(
                _sentence(
                    f"checksum for {name}",
                    f"none for {_k3s.ARCHITECTURES[architecture]}",
                    "the sha256 of the program",
                    f"Set {_k3s.ARCHITECTURES[architecture]} in k3s_cluster_checksums",
                )
            )
    memory = facts.get("memory_bytes")
    if memory is not None and memory // 1024**2 < MEMORY_MB[role]:
        found.append(
            _sentence(
                f"memory of {name}",
                f"{memory // 1024**2} MiB",
                f"{MEMORY_MB[role]} MiB for k3s as {role}",
                "Give the host more, or take it out of the group",
            )
        )
    if options["profile"] == "cis" and state["swap_bytes"]:
        found.append(
            _sentence(
                f"swap of {name}",
                f"{state['swap_bytes'] // 1024**2} MiB",
                "none with k3s_cluster_profile cis",
                "Switch it off with swapoff -a and take it out of /etc/fstab",
            )
        )
    if state["foreign"]:
        found.append(
            _sentence(
                f"Kubernetes on {name}",
                ", ".join(state["foreign"]),
                "none but the one of this role",
                "Uninstall it, or take the host out of the group",
            )
        )
    # A node that is set up has addresses of these ranges itself.
    for option in ("pod_ranges", "service_ranges") if not state["installed"] else ():
        for text in options[option]:
            found += _overlaps(name, option, text, [*facts["networks"], *facts["addresses"]])
    missing = [one for one in facts["controllers_missing"] if one in ("cpu", "memory", "pids")]
    if missing:
        found.append(
            _sentence(
                f"control groups of {name}",
                f"no {', '.join(missing)}",
                "cpu, memory and pids",
                "Add cgroup_enable=memory to the command line of the kernel, and reboot",
            )
        )
    refused = _k3s.version_refusal(state["version"], str(options["version"]))
    if refused:
        found.append(
            _sentence(
                f"k3s_cluster_version for {name}",
                f"{options['version']} while {state['version']} is installed",
                refused,
                "Set k3s_cluster_version",
            )
        )
    return found


def _overlaps(name: str, option: str, text: str, taken: t.Iterable[str]) -> list[str]:
    """Return the first network of a host that a range overlaps."""
    try:
        network = ipaddress.ip_network(str(text))
    except ValueError:
        return []
    for other in taken:
        used = ipaddress.ip_network(other, strict=False)
        if used.version == network.version and network.overlaps(used):
            return [
                _sentence(
                    f"range {network} of k3s_cluster_{option}",
                    f"{used} in use on {name}",
                    "a range apart from the networks of the hosts",
                    f"Set k3s_cluster_{option}",
                )
            ]
    return []


def cluster_problems(
    options: Options, servers: t.Sequence[str], hosts: t.Mapping[str, Options], absent: t.Sequence[str] = ()
) -> list[str]:
    """Return what is wrong with the hosts of a cluster together.

    *servers* are all of the inventory, *hosts* those of this run with C(role), C(node_name), C(address), C(machine_id)
    and C(clock), in seconds beside the controller's. *absent* are servers that are not in the run.
    """
    found, group = [], options["server_group"]
    kind = _k3s.datastore(str(options["datastore"]), len(servers))
    if not servers:
        found.append(_sentence(f"group {group}", "no host", "one, three or five servers", f"Add hosts to {group}"))
    elif kind == "etcd" and len(servers) % 2 == 0:
        found.append(
            _sentence(
                f"group {group}",
                f"{len(servers)} servers",
                f"an odd number of them, for {len(servers)} bear no more failures than {len(servers) - 1}",
                f"Add a host to {group}, or make one an agent",
            )
        )
    elif kind == "sqlite" and len(servers) > 1:
        found.append(
            _sentence(
                "k3s_cluster_datastore",
                f"sqlite for {len(servers)} servers",
                "etcd for more than one",
                "Set k3s_cluster_datastore to etcd",
            )
        )
    if absent and any(one["role"] == "server" for one in hosts.values()):
        found.append(
            _sentence(
                "hosts of this run",
                f"no {', '.join(absent)}",
                "every server, or nobody knows which of them hold the cluster",
                "Take --limit away, or add them to it",
            )
        )
    for key, what, option in (
        ("node_name", "node name", "Set k3s_cluster_node_name"),
        ("machine_id", "machine id", "Run systemd-machine-id-setup on a cloned host, after emptying /etc/machine-id"),
    ):
        owners: dict[str, list[str]] = {}
        for name, host in hosts.items():
            if host.get(key):
                owners.setdefault(str(host[key]), []).append(name)
        found += [
            _sentence(f"{what} {value}", f"it on {', '.join(names)}", "one of its own for each host", option)
            for value, names in owners.items()
            if len(names) > 1
        ]
    found += [
        _sentence(
            f"node name of {name}",
            str(host["node_name"]),
            "lower case, digits, . and -",
            "Set k3s_cluster_node_name",
        )
        for name, host in hosts.items()
        if not NODE_NAME.fullmatch(str(host["node_name"]))
    ]
    addressless = [name for name, host in hosts.items() if host["role"] == "server" and not host.get("address")]
    if addressless:
        found.append(
            _sentence(
                f"address of {', '.join(addressless)}",
                "none",
                "one at which the other nodes reach the server",
                "Set platform_address or k3s_cluster_address",
            )
        )
    clocks = {name: float(host["clock"]) for name, host in hosts.items() if host.get("clock") is not None}
    if clocks:
        first, last = min(clocks, key=lambda one: clocks[one]), max(clocks, key=lambda one: clocks[one])
        apart = clocks[last] - clocks[first]
        if apart > CLOCK_SECONDS:
            found.append(
                _sentence(
                    f"clocks of {first} and {last}",
                    f"{apart:.0f} s between them",
                    f"at most {CLOCK_SECONDS} s",
                    "Set up time synchronisation",
                )
            )
    return found
