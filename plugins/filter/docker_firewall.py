# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that accept traffic: lines of nft from typed options, and problems with them."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.module_utils import _docker_host_problems as host_problems

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}")
WITH_PORTS = ("tcp", "udp", "sctp")
# By IANA number: names are resolved by /etc/protocols, which a slim host lacks.
WITHOUT_PORTS = {"vrrp": 112, "esp": 50, "gre": 47}
Ranges = list[tuple[int, int]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RuleError(ValueError):
    """An invalid rule; the text says what was found and what is needed."""


def _range(text: Any) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", str(text))
    if not match:
        raise RuleError(f"port {text!r}, need a port or a range such as 20000-20099")
    low, high = int(match[1]), int(match[2] or match[1])
    if not 1 <= low <= high <= 65535:
        raise RuleError(f"port {text}, need rising ports from 1 to 65535")
    return low, high


def _ranges(ports: Iterable[Any]) -> Ranges:
    merged: Ranges = []
    for low, high in sorted(_range(port) for port in ports):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def _networks(sources: Iterable[Any]) -> list[Network]:
    found: list[Network] = []
    for source in sources:
        try:
            found.append(ipaddress.ip_network(str(source)))
        except ValueError as error:
            raise RuleError(f"source {source}: {error}, need an address or a network") from error
    return found


def _parse(rule: Mapping[str, Any]) -> tuple[str, str, Ranges, list[Network]]:
    name = str(rule.get("name") or "")
    if not NAME.fullmatch(name):
        raise RuleError(f"name {name!r}, need up to 64 letters, digits, spaces and ._:/-")
    protocol = str(rule.get("protocol") or "tcp")
    if protocol not in (*WITH_PORTS, *WITHOUT_PORTS):
        raise RuleError(f"protocol {protocol}, need one of {', '.join((*WITH_PORTS, *WITHOUT_PORTS))}")
    ports = _ranges(rule.get("ports") or [])
    if protocol in WITH_PORTS and not ports:
        raise RuleError("no ports, need at least one")
    if protocol in WITHOUT_PORTS and ports:
        raise RuleError(f"ports for {protocol}, need none")
    return name, protocol, ports, _networks(rule.get("from") or [])


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def docker_firewall_rules(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Turn rules into lines of nft that accept what they declare."""
    lines: list[str] = []
    for rule in rules:
        try:
            name, protocol, ports, networks = _parse(rule)
        except RuleError as error:
            raise AnsibleFilterError(f"docker_host: rule {rule.get('name')}: found {error}.") from error
        if protocol in WITH_PORTS:
            spans = _set(str(low) if low == high else f"{low}-{high}" for low, high in ports)
            match = f"{protocol} dport {spans}"
        else:
            match = f"meta l4proto {WITHOUT_PORTS[protocol]}"
        end = f'{match} counter accept comment "{name}"'
        v4 = list(ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network)))
        v6 = list(ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network)))
        if not networks:
            lines.append(end)
        for family, members in (("ip", v4), ("ip6", v6)):
            if members:
                lines.append(f"{family} saddr {_set(str(network) for network in members)} {end}")
    return lines


def docker_firewall_problems(rules: Iterable[Mapping[str, Any]], option: str) -> list[str]:
    """Name every rule that is invalid or contradicts another."""
    problems: list[str] = []
    parsed: list[tuple[str, str, Ranges, list[Network]]] = []
    for number, rule in enumerate(rules):
        where = f"rule {rule.get('name') or number} of {option}"
        try:
            name, protocol, ports, networks = _parse(rule)
        except RuleError as error:
            problems.append(f"docker_host: {where}: found {error}. Set {option} so.")
            continue
        if any(network.prefixlen == 0 for network in networks) and len(networks) > 1:
            versions = {network.version for network in networks if network.prefixlen == 0}
            if any(network.prefixlen and network.version in versions for network in networks):
                problems.append(
                    f"docker_host: {where}: found everybody and single networks among its sources, "
                    f"need one or the other. Set 'from' of the rule."
                )
        for other_name, other_protocol, other_ports, other_networks in parsed:
            if name == other_name:
                problems.append(
                    f"docker_host: {where}: found the name twice, need a name of its own. "
                    f"Rename one of them in {option}."
                )
            if protocol != other_protocol or bool(networks) == bool(other_networks):
                continue
            both = [p for p in ports for q in other_ports if p[0] <= q[1] and q[0] <= p[1]]
            if both:
                wide, narrow = (other_name, name) if networks else (name, other_name)
                problems.append(
                    f"docker_host: rule {narrow} of {option}: found its {protocol} ports open to everybody by rule "
                    f"{wide}, need ports that one of them declares. Take them out of one rule."
                )
        parsed.append((name, protocol, ports, networks))
    return problems


def docker_firewall_connection(
    connection: str, ssh_port: int, ssh_from: Iterable[str], rules: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Refuse rules that would cut the SSH connection of this run; connection is the text of SSH_CONNECTION."""
    words = connection.split()
    if len(words) != 4:
        return []
    client, port = ipaddress.ip_address(words[0].split("%")[0]), int(words[3])
    if isinstance(client, ipaddress.IPv6Address) and client.ipv4_mapped:
        client = client.ipv4_mapped
    allowed = [{"name": "ssh", "ports": [ssh_port], "from": list(ssh_from)}, *rules]
    for rule in allowed:
        try:
            _name, protocol, ports, networks = _parse(rule)
        except RuleError:
            continue
        if protocol != "tcp" or not any(low <= port <= high for low, high in ports):
            continue
        if not networks or any(client in network for network in networks):
            return []
    return [
        f"docker_host: SSH connection of this run: found port {port} from {client}, need it among what the firewall "
        "lets in, or it would cut us off. Set docker_host_firewall_ssh_port and docker_host_firewall_ssh_from."
    ]


def docker_firewall_trusted(gateways: Iterable[str], trusted: Iterable[str]) -> list[str]:
    """Name each trusted pattern that matches an interface with the default route."""
    return [
        f"docker_host: interface {gateway}: found it trusted as '{pattern}' while it holds the default route, "
        "need only the engine's bridges trusted. Set docker_host_firewall_trusted_interfaces."
        for gateway in gateways
        for pattern in trusted
        if fnmatch.fnmatchcase(gateway, pattern)
    ]


def docker_firewall_others(active: Iterable[str], host: str) -> list[str]:
    """Name each other firewall of the host that is switched on."""
    return host_problems.firewall_problems(host, active)


class FilterModule:
    """Filters about the host's firewall."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "docker_firewall_rules": docker_firewall_rules,
            "docker_firewall_problems": docker_firewall_problems,
            "docker_firewall_connection": docker_firewall_connection,
            "docker_firewall_trusted": docker_firewall_trusted,
            "docker_firewall_others": docker_firewall_others,
        }
