# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content of daemon.json, problems with it, and what the engine needs to follow a change."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.module_utils import _docker_host_problems as host_problems

# Keys that a running engine reloads on SIGHUP. All others need a restart.
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)

# Options that become log-opts, and the drivers that accept them.
LOG_KEYS = {"log_max_size": "max-size", "log_max_file": "max-file", "log_compress": "compress"}
SIZED_DRIVERS = ("local", "json-file")


def _key(option: str) -> str:
    return option.replace("_", "-")


def docker_daemon(options: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Turn typed options into the content of daemon.json."""
    if not isinstance(options, Mapping) or not isinstance(extra or {}, Mapping):
        raise AnsibleFilterError("docker_daemon: options and extra must be dictionaries")
    result: dict[str, Any] = {}
    log_options: dict[str, str] = {}
    sized = options.get("log_driver") in SIZED_DRIVERS
    for option, value in options.items():
        if value is None or value == "" or value == [] or value == {}:
            continue
        if option == "userland_proxy" and value:
            # The engine's default. Written out, engine 26 refuses every reload:
            # "userland-proxy is enabled, but userland-proxy-path is not set".
            continue
        if option in LOG_KEYS:
            if sized:
                log_options[LOG_KEYS[option]] = str(value).lower() if isinstance(value, bool) else str(value)
        elif option == "log_options":
            log_options.update({str(key): str(item) for key, item in value.items()})
        elif option == "default_ulimits":
            result["default-ulimits"] = {
                name: {"Name": name, "Soft": int(limit["soft"]), "Hard": int(limit["hard"])}
                for name, limit in value.items()
            }
        else:
            result[_key(option)] = value
    if log_options:
        result["log-opts"] = log_options
    result.update(extra or {})
    return result


def docker_daemon_merged(
    wanted: Mapping[str, Any], seen: Mapping[str, Any], options: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Add to the wanted content the keys that others wrote into the host's daemon.json."""
    return host_problems.merged_daemon(wanted, seen["daemon"], *_ours(seen, options, extra))


def docker_host_problems(
    seen: Mapping[str, Any],
    host: str,
    wanted: Mapping[str, Any],
    options: Mapping[str, Any],
    extra: Mapping[str, Any],
    source: Mapping[str, str] | None = None,
) -> list[str]:
    """Name what others set up on the host that the role must not replace and cannot work beside.

    seen is what probe.py reports, source the apt repository that the role will write.
    """
    problems = host_problems.daemon_text_problems(host, seen["daemon_text"])
    if not problems:
        problems = host_problems.daemon_problems(host, wanted, seen["daemon"], *_ours(seen, options, extra))
    problems += host_problems.source_problems(host, seen["apt_sources"], dict(source) if source else None)
    if wanted.get("metrics-addr"):
        address, _colon, port = str(wanted["metrics-addr"]).rpartition(":")
        metrics = {
            "port": port,
            "address": address.strip("[]"),
            "programs": ["dockerd"],
            "setting": "docker_host_daemon.metrics_addr",
        }
        problems += host_problems.port_problems("docker_host", host, [metrics], seen["listening"])
    return problems


def _ours(seen: Mapping[str, Any], options: Mapping[str, Any], extra: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """Return the keys that the role wrote before, and those that the user's options set."""
    return list((seen["written"] or {}).get("keys") or []), host_problems.option_keys(options, extra)


def docker_daemon_action(
    wanted: Mapping[str, Any],
    started: Mapping[str, Any] | None,
    loaded: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what the running engine needs to follow the wanted content.

    started is what the engine read when it started, loaded what it read last.
    """
    started = started or {}
    loaded = started if loaded is None else loaded
    restart = sorted(
        key for key in {*wanted, *started} if key not in RELOADABLE and wanted.get(key) != started.get(key)
    )
    # A reload keeps the old value of a removed key, so removal needs a restart.
    restart += sorted(key for key in loaded if key in RELOADABLE and key not in wanted)
    reload = sorted(key for key in wanted if key in RELOADABLE and wanted[key] != loaded.get(key))
    action = "restart" if restart else "reload" if reload else "none"
    return {"action": action, "restart": restart, "reload": reload}


def docker_daemon_problems(
    options: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
    taken: Iterable[str] = (),
    source: str = "",
) -> list[str]:
    """Name every contradiction in the options; taken are networks the host already uses."""
    problems: list[str] = []

    def add(what: str, found: str, need: str, advice: str) -> None:
        problems.append(f"docker_host: {what}: found {found}, need {need}. {advice}")

    typed = docker_daemon(options)
    for key in sorted(extra or {}):
        if _key(key) != key:
            add(
                f"key '{key}' of docker_host_daemon_extra",
                "an underscore",
                "the engine's own spelling",
                f"Write '{_key(key)}'.",
            )
        if _key(key) in typed:
            add(
                f"key '{key}' of docker_host_daemon_extra",
                "the same key among the typed options",
                "one place for it",
                f"Set docker_host_daemon.{key.replace('-', '_')} only.",
            )
    if "hosts" in (extra or {}):
        add(
            "key 'hosts' of docker_host_daemon_extra",
            "listeners in daemon.json",
            "none, for the unit already passes --host and the engine refuses both",
            "Set them through a unit of your own.",
        )
    if options.get("live_restore") and (extra or {}).get("swarm-default-advertise-addr"):
        add(
            "live_restore of docker_host_daemon",
            "true beside a swarm address",
            "false in a swarm",
            "Set docker_host_daemon.live_restore to false.",
        )
    if options.get("ip6tables") and not options.get("experimental") and source == "distribution":
        add(
            "ip6tables of docker_host_daemon",
            "true while experimental is false",
            "both true, for an engine older than 27 does not start otherwise",
            "Set docker_host_daemon.experimental to true.",
        )
    if options.get("fixed_cidr_v6") and not options.get("ipv6"):
        add(
            "fixed_cidr_v6 of docker_host_daemon",
            "a network while ipv6 is false",
            "ipv6 true",
            "Set docker_host_daemon.ipv6 to true.",
        )
    if options.get("log_options") and options.get("log_driver") == "none":
        add("log_options of docker_host_daemon", "options for log driver none", "no options", "Remove them.")
    if options.get("log_driver") in SIZED_DRIVERS and not options.get("log_max_size"):
        add(
            "log_max_size of docker_host_daemon",
            "nothing",
            "a size, or one container can fill the disk",
            "Set it, for example to 10m.",
        )
    data_root = str(options.get("data_root") or "/var/lib/docker")
    if not data_root.startswith("/") or data_root == "/":
        add("data_root of docker_host_daemon", repr(data_root), "an absolute folder of its own", "Set it so.")
    problems.extend(_pool_problems(options, taken))
    return problems


def _pool_problems(options: Mapping[str, Any], taken: Iterable[str]) -> list[str]:
    problems: list[str] = []
    pools: list[Any] = []
    for pool in options.get("default_address_pools") or []:
        where = f"docker_host: address pool {pool.get('base')}"
        try:
            network = ipaddress.ip_network(str(pool.get("base")))
        except ValueError as error:
            problems.append(
                f"{where}: found {error}, need a network such as 172.20.0.0/14. "
                "Set base in docker_host_daemon.default_address_pools."
            )
            continue
        size = int(pool.get("size") or 0)
        if not network.prefixlen <= size <= network.max_prefixlen - 2:
            problems.append(
                f"{where}: found size {size}, need one from {network.prefixlen} to {network.max_prefixlen - 2}. "
                "Set size in docker_host_daemon.default_address_pools."
            )
        for other in pools:
            if network.version == other.version and network.overlaps(other):
                problems.append(
                    f"{where}: found an overlap with pool {other}, need pools apart. "
                    "Set docker_host_daemon.default_address_pools."
                )
        for name in taken:
            used = ipaddress.ip_network(name, strict=False)
            if network.version == used.version and network.overlaps(used):
                problems.append(
                    f"{where}: found {used} in use on the host, need a pool apart from it. "
                    "Set docker_host_daemon.default_address_pools."
                )
        pools.append(network)
    return problems


class FilterModule:
    """Filters about the engine's configuration."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "docker_daemon": docker_daemon,
            "docker_daemon_merged": docker_daemon_merged,
            "docker_host_problems": docker_host_problems,
            "docker_daemon_action": docker_daemon_action,
            "docker_daemon_problems": docker_daemon_problems,
        }
