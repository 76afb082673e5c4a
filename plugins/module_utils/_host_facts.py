# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Facts of a host that the preflight checks need, read from files and short commands. Nothing here writes."""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
import socket
import struct
import time
import typing as t
from pathlib import Path

Run = t.Callable[[list[str]], tuple[int, str, str]]
Facts = dict[str, t.Any]

# Packages whose presence decides something.
PACKAGES = re.compile(r"docker[\w.-]*|containerd[\w.]*|runc|podman[\w-]*|haproxy|ufw|firewalld|keepalived")
CONTROLLERS = ("cpu", "memory", "pids", "devices")
LISTEN, UNCONNECTED = "0A", "07"
REJECTED = 0x200
# The program that holds a port a container publishes, and that port in "docker ps".
PROXY = "docker-proxy"
PUBLISHED = re.compile(
    r"\[?(?P<address>[0-9a-fA-F.:]+?)\]?:(?P<first>\d+)(?:-(?P<last>\d+))?->[\d-]+/(?P<protocol>\w+)"
)
# The engine's own bridges move; a network of theirs is not taken.
ENGINE_INTERFACES = ("docker", "br-", "veth")


def text(path: Path) -> str | None:
    """Return the content of a file, or None when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def without_logins(path: Path) -> str | None:
    """Return the content of a file whose URLs may hold user and password, without these."""
    content = text(path)
    return None if content is None else re.sub(r"://[^/@\s\"]+@", "://", content)


def rows(path: Path) -> list[list[str]]:
    return [line.split() for line in (text(path) or "").splitlines() if line.strip()]


def operating_system(root: Path) -> dict[str, str]:
    """Return id, version and family of /etc/os-release, in the spelling of Ansible's facts."""
    values = {}
    for line in (text(root / "etc/os-release") or "").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values[key] = value.strip().strip("\"'")
    name = values.get("ID", "")
    like = [name, *values.get("ID_LIKE", "").split()]
    family = "Debian" if {"debian", "ubuntu"} & set(like) else name.capitalize()
    return {
        "distribution": {"debian": "Debian", "ubuntu": "Ubuntu"}.get(name, name.capitalize() or "unknown"),
        "version": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "family": family,
    }


def memory_bytes(root: Path) -> int | None:
    for row in rows(root / "proc/meminfo"):
        if row[0] == "MemTotal:":
            return int(row[1]) * 1024
    return None


def disk(path: Path) -> dict[str, int]:
    """Return size and free space of the disk where a folder is, or will be."""
    while not path.exists():
        path = path.parent
    usage = os.statvfs(path)
    return {"free_bytes": usage.f_bavail * usage.f_frsize, "size_bytes": usage.f_blocks * usage.f_frsize}


def _ip4(word: str) -> str:
    return socket.inet_ntoa(struct.pack("=L", int(word, 16)))


def _ip6(word: str) -> str:
    packed = b"".join(struct.pack("=L", int(word[start : start + 8], 16)) for start in range(0, 32, 8))
    return str(ipaddress.IPv6Address(packed))


def addresses(root: Path) -> list[str]:
    """Return the addresses of the host itself, loopback left out."""
    found = set()
    last = ""
    for row in rows(root / "proc/net/fib_trie"):
        if row[0] == "|--":
            last = row[1]
        elif row[:2] == ["/32", "host"] and row[2:] == ["LOCAL"]:
            found.add(last)
    for row in rows(root / "proc/net/if_inet6"):
        found.add(str(ipaddress.IPv6Address(bytes.fromhex(row[0]))))
    return sorted(one for one in found if not ipaddress.ip_address(one).is_loopback)


def programs(root: Path) -> dict[str, dict[str, t.Any]]:
    """Return name and pid of the program that holds each socket, by the socket's inode."""
    found: dict[str, dict[str, t.Any]] = {}
    for process in (root / "proc").glob("[0-9]*"):
        name = (text(process / "comm") or "").strip()
        try:
            links = list((process / "fd").iterdir())
        except OSError:
            continue
        for link in links:
            try:
                match = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            except OSError:
                continue
            if match:
                found.setdefault(match[1], {"program": name, "pid": int(process.name)})
    return found


def listening(root: Path) -> list[dict[str, t.Any]]:
    """Return the ports on which something waits, each with the program that holds it."""
    owners = programs(root)
    found: dict[tuple[str, str, int], dict[str, t.Any]] = {}
    for table, protocol, state in (
        ("tcp", "tcp", LISTEN),
        ("tcp6", "tcp", LISTEN),
        ("udp", "udp", UNCONNECTED),
        ("udp6", "udp", UNCONNECTED),
    ):
        for row in rows(root / "proc/net" / table)[1:]:
            local, status, inode = row[1], row[3], row[9]
            if status != state:
                continue
            host, port = local.split(":")
            address = _ip6(host) if table.endswith("6") else _ip4(host)
            owner = owners.get(inode, {"program": "", "pid": 0})
            found.setdefault(
                (protocol, address, int(port, 16)),
                {"protocol": protocol, "address": address, "port": int(port, 16), **owner},
            )
    return [found[key] for key in sorted(found)]


def with_containers(found: list[dict[str, t.Any]], run: Run) -> list[dict[str, t.Any]]:
    """Return listening ports with the container behind each that the engine's proxy holds; Docker is asked for them."""
    if not any(one["program"] == PROXY for one in found):
        return found
    status, out, _err = run(["docker", "ps", "--format", "{{.Names}}\t{{.Ports}}"])
    owners: dict[tuple[str, str, int], str] = {}
    for line in out.splitlines() if status == 0 else []:
        name, _tab, ports = line.partition("\t")
        for match in map(PUBLISHED.fullmatch, ports.split(", ")):
            if match:
                first, last = int(match["first"]), int(match["last"] or match["first"])
                for port in range(first, last + 1):
                    owners[match["protocol"], match["address"], port] = name
    held = [(one, owners.get((one["protocol"], one["address"], one["port"]), "")) for one in found]
    return [{**one, "container": name} if name and one["program"] == PROXY else one for one, name in held]


def public_names(root: Path) -> dict[str, list[str]]:
    """Return the public names of each app that this edge routes; a record nobody can read is named elsewhere."""
    found = {}
    for path in sorted((root / "var/lib/evenkeel").glob("*/edge.json")):
        names = (parsed(path) or {}).get("hosts")
        if isinstance(names, list):
            found[path.parent.name] = [str(name) for name in names]
    return found


def apt_sources(root: Path) -> dict[str, str]:
    """Return the text of each file with apt sources by its path."""
    folder = root / "etc/apt"
    paths = [folder / "sources.list", *folder.glob("sources.list.d/*.list"), *folder.glob("sources.list.d/*.sources")]
    found = {f"/{path.relative_to(root)}": without_logins(path) for path in sorted(paths) if path.is_file()}
    return {path: content for path, content in found.items() if content is not None}


def parsed(path: Path) -> dict[str, t.Any] | None:
    """Return the object in a JSON file, None where there is none."""
    try:
        found = json.loads(without_logins(path) or "")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def firewalls(root: Path, run: Run) -> list[str]:
    """Return the firewalls of others that are switched on."""
    found = []
    if re.search(r"(?mi)^ENABLED=yes", text(root / "etc/ufw/ufw.conf") or ""):
        found.append("ufw")
    if run(["systemctl", "is-active", "--quiet", "firewalld.service"])[0] == 0:
        found.append("firewalld")
    return found


def versions(run: Run) -> dict[str, str]:
    """Return the versions of the engine, of Compose and of HAProxy; empty for what is not installed."""
    found = {}
    for name, argv in (
        ("docker", ["docker", "--version"]),
        ("compose", ["docker", "compose", "version", "--short"]),
        ("haproxy", ["haproxy", "-v"]),
    ):
        code, out, _err = run(argv)
        number = re.search(r"\d+(?:\.\d+)+", out) if code == 0 else None
        found[name] = number[0] if number else ""
    return found


def packages(run: Run) -> list[str]:
    """Return the installed packages that decide something."""
    _code, out, _err = run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"])
    names = [line.split()[0] for line in out.splitlines() if line.endswith(" installed")]
    return sorted(name for name in names if PACKAGES.fullmatch(name))


def snaps(run: Run) -> list[str]:
    _code, out, _err = run(["snap", "list"])
    return [line.split()[0] for line in out.splitlines()[1:] if line]


def controllers_missing(root: Path) -> list[str]:
    """Return the controllers that containers need and this kernel does not offer."""
    unified = text(root / "sys/fs/cgroup/cgroup.controllers")
    if unified is not None:
        # Version 2 has no devices controller: a program of the kernel does it.
        return [name for name in CONTROLLERS if name != "devices" and name not in unified.split()]
    enabled = {row[0] for row in rows(root / "proc/cgroups") if row[-1] == "1"}
    return [name for name in CONTROLLERS if name not in enabled]


def overlay(root: Path, run: Run) -> bool:
    """Return whether the kernel has the overlay file system, or a module of it."""
    if any(row[-1] == "overlay" for row in rows(root / "proc/filesystems")):
        return True
    return bool(run(["modinfo", "-F", "filename", "overlay"])[1].strip())


def gateways(root: Path) -> list[str]:
    """Return the interfaces with a default route."""
    names = {row[0] for row in rows(root / "proc/net/route")[1:] if row[1] == "0" * 8}
    names |= {row[-1] for row in rows(root / "proc/net/ipv6_route") if row[0] == "0" * 32 and row[1] == "00"}
    return sorted(names - {"lo"})


def networks(root: Path) -> list[str]:
    """Return the networks the host has routes to, but for the engine's own."""
    found = set()
    for row in rows(root / "proc/net/route")[1:]:
        destination, flags, mask = (int(row[column], 16) for column in (1, 3, 7))
        if mask and not flags & REJECTED and not row[0].startswith(("*", *ENGINE_INTERFACES)):
            found.add(f"{_ip4(f'{destination:08X}')}/{_ip4(f'{mask:08X}')}")
    return sorted(found)


def connection(root: Path, pid: int) -> str:
    """Return SSH_CONNECTION as the nearest parent has it: sudo takes it from its children."""
    while pid > 1:
        for entry in (text(root / f"proc/{pid}/environ") or "").split("\0"):
            if entry.startswith("SSH_CONNECTION="):
                return entry.partition("=")[2]
        status = dict(row[:2] for row in rows(root / f"proc/{pid}/status") if len(row) > 1)
        pid = int(status.get("PPid:", 0))
    return ""


def refused_calendars(expressions: t.Iterable[str], run: Run) -> dict[str, str]:
    """Return the calendar expressions that systemd refuses, each with its reason."""
    found = {}
    for expression in sorted(set(expressions)):
        code, _out, err = run(["systemd-analyze", "calendar", "--", expression])
        if code == 0:
            continue
        # Without the program nothing is known, and that is said of systemd itself.
        reason = err.strip().splitlines()[0] if err.strip() else f"exit {code}"
        if code != 127:
            found[expression] = reason.rpartition(": ")[2].rstrip(".") or reason
    return found


def swap_bytes(root: Path) -> int:
    return sum(int(row[2]) * 1024 for row in rows(root / "proc/swaps")[1:])


def k3s(root: Path) -> Facts:
    """Return what a host holds of k3s and of other Kubernetes distributions."""
    mark = parsed(root / "var/lib/evenkeel/k3s/node.json")
    server = root / "var/lib/rancher/k3s/server/db"
    data = "etcd" if (server / "etcd/member").is_dir() else "sqlite" if (server / "state.db").is_file() else ""
    units = sorted(path.name for path in (root / "etc/systemd/system").glob("*.service"))
    foreign = [name for name in units if re.fullmatch(r"(rke2-.*|kubelet|k0s\w*|microk8s.*)[.]service", name)]
    if mark is None:
        foreign += [name for name in units if re.fullmatch(r"k3s(-agent)?[.]service", name)]
        # Data that an uninstall of ours has left is marked by a file of its own.
        left = (root / "var/lib/evenkeel/k3s/left.json").exists()
        foreign += ["/etc/rancher/k3s/config.yaml"] if (root / "etc/rancher/k3s/config.yaml").exists() else []
        foreign += ["/var/lib/rancher/k3s/server"] if data and not left else []
    foreign += ["/usr/bin/kubelet"] if (root / "usr/bin/kubelet").exists() else []
    return {
        "installed": mark is not None,
        "role": str((mark or {}).get("role") or ""),
        "version": str((mark or {}).get("version") or ""),
        "data": data,
        "foreign": foreign,
        "machine_id": (text(root / "etc/machine-id") or "").strip(),
        "swap_bytes": swap_bytes(root),
    }


def gather(root: Path, run: Run, folders: t.Iterable[str], calendars: t.Iterable[str]) -> Facts:
    """Return everything the checks ask of a host."""
    daemon = root / "etc/docker/daemon.json"
    return {
        "python": platform.python_version(),
        "architecture": platform.machine(),
        "os": operating_system(root),
        "systemd": (root / "run/systemd/system").is_dir(),
        "memory_bytes": memory_bytes(root),
        "disks": {folder: disk(Path(folder)) for folder in folders},
        "addresses": addresses(root),
        "networks": networks(root),
        "gateways": gateways(root),
        "listening": with_containers(listening(root), run),
        "connection": connection(root, os.getpid()),
        "public_names": public_names(root),
        "apt_sources": apt_sources(root),
        "daemon": parsed(daemon),
        "daemon_text": without_logins(daemon),
        "written": parsed(root / "var/lib/evenkeel/docker_host/daemon.json"),
        "firewalls": firewalls(root, run),
        "versions": versions(run),
        "packages": packages(run),
        "snaps": snaps(run),
        "overlay": overlay(root, run),
        "controllers_missing": controllers_missing(root),
        "refused_calendars": refused_calendars(calendars, run),
        "k3s": k3s(root),
        "clock": time.time(),
        "stacks": sorted(path.name for path in (root / "opt/evenkeel/stacks").glob("*") if path.is_dir()),
    }
