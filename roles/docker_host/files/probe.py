# SPDX-License-Identifier: GPL-3.0-or-later
"""Report in JSON what preflight has to know of a host. Reads only.

Arguments: the engine's data folder, the folder with what the engine has read,
the unit's drop-in, daemon.json, the folder with the role's records, and then
paths, of which it reports those that exist.
"""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTROLLERS = ("cpu", "memory", "pids", "devices")
REJECTED = 0x200


def output(argv: list[str]) -> str:
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    except OSError:
        return ""


def read(path: Path | str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def rows(path: str) -> list[list[str]]:
    return [line.split() for line in (read(path) or "").splitlines()]


def parsed(path: Path) -> Any:
    text = read(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {}


def missing_controllers() -> list[str]:
    """Name the controllers containers need and this kernel does not offer."""
    unified = read("/sys/fs/cgroup/cgroup.controllers")
    if unified is not None:
        # Version 2 has no devices controller: a program of the kernel does it.
        return [name for name in CONTROLLERS if name != "devices" and name not in unified.split()]
    enabled = {row[0] for row in rows("/proc/cgroups") if row[-1] == "1"}
    return [name for name in CONTROLLERS if name not in enabled]


def overlay() -> bool:
    """Return whether the kernel has overlay, or a module for it."""
    if ["overlay"] in [row[-1:] for row in rows("/proc/filesystems")]:
        return True
    return bool(output(["modinfo", "-F", "filename", "overlay"]).strip())


def free_bytes(path: Path) -> int:
    """Return the free space where a folder is, or will be."""
    while not path.exists():
        path = path.parent
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize


def packages() -> tuple[list[str], list[str]]:
    """Name the packages that are installed, and those of them that are held."""
    found = output(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Want} ${db:Status-Status}\n"]).splitlines()
    installed = sorted(line.split() for line in found if line.endswith(" installed"))
    return [row[0] for row in installed], [row[0] for row in installed if row[1] == "hold"]


def snaps() -> list[str]:
    return [line.split()[0] for line in output(["snap", "list"]).splitlines()[1:] if line]


def unit(name: str) -> dict[str, Any]:
    """Return a unit's main process, and whether its program was replaced since it started."""
    found = output(["systemctl", "show", name, "-p", "MainPID", "-p", "ActiveState"])
    state = dict(line.split("=", 1) for line in found.splitlines() if "=" in line)
    pid = int(state.get("MainPID") or 0)
    try:
        replaced = pid > 0 and str(Path(f"/proc/{pid}/exe").readlink()).endswith(" (deleted)")
    except OSError:
        replaced = False
    return {"active": state.get("ActiveState") == "active", "pid": pid, "replaced": replaced}


def gateways() -> list[str]:
    """Name the interfaces with a default route."""
    names = {row[0] for row in rows("/proc/net/route")[1:] if row[1] == "0" * 8}
    names |= {row[-1] for row in rows("/proc/net/ipv6_route") if row[0] == "0" * 32 and row[1] == "00"}
    return sorted(names - {"lo"})


def networks() -> list[str]:
    """Name the networks the host has routes to, but for the engine's own."""
    found = set()
    for row in rows("/proc/net/route")[1:]:
        destination, flags, mask = (int(row[column], 16) for column in (1, 3, 7))
        if mask and not flags & REJECTED and not row[0].startswith(("docker", "br-", "*")):
            found.add("/".join(socket.inet_ntoa(struct.pack("<L", word)) for word in (destination, mask)))
    return sorted(found)


def apt_sources() -> dict[str, str]:
    """Return the files in which apt finds its repositories, by path."""
    folder = Path("/etc/apt/sources.list.d")
    paths = [Path("/etc/apt/sources.list"), *folder.glob("*.list"), *folder.glob("*.sources")]
    return {str(path): text for path in paths if (text := read(path)) is not None}


def firewalls() -> list[str]:
    """Name the firewalls that are switched on, beside the role's own."""
    # The unit of ufw is active on a host where ufw itself is off.
    ufw = re.search(r"(?mi)^\s*ENABLED\s*=\s*[\"']?yes", read("/etc/ufw/ufw.conf") or "")
    found = ["ufw"] if ufw and Path("/usr/sbin/ufw").exists() else []
    return found + (["firewalld"] if unit("firewalld.service")["active"] else [])


def address(text: str) -> str:
    """Return the address that the kernel prints as words of the machine's byte order."""
    packed = b"".join(struct.pack("=L", int(text[start : start + 8], 16)) for start in range(0, len(text), 8))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def owners() -> dict[str, int]:
    """Return the process that holds each socket, by inode."""
    found = {}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            found[target[8:-1]] = int(link.parts[2])
    return found


def listening() -> list[dict[str, Any]]:
    """Return each port on which a program listens, with the program's name."""
    processes = owners()
    found = []
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        for row in rows(f"/proc/net/{protocol}")[1:] + rows(f"/proc/net/{protocol}6")[1:]:
            if row[3] != state:
                continue
            where, port = row[1].split(":")
            pid = processes.get(row[9], 0)
            program = (read(f"/proc/{pid}/comm") or "").strip() if pid else ""
            found.append(
                {"protocol": protocol, "address": address(where), "port": int(port, 16), "pid": pid, "program": program}
            )
    return found


def main() -> None:
    """Print what was found."""
    data_root, started, dropin, daemon, records, *wanted = map(Path, sys.argv[1:])
    installed, held = packages()
    print(
        json.dumps(
            {
                "controllers_missing": missing_controllers(),
                "overlay": overlay(),
                "free_bytes": free_bytes(data_root),
                "packages": installed,
                "held": held,
                "present": [str(path) for path in wanted if os.path.lexists(path)],
                "group": any(row[0].startswith("docker:") for row in rows("/etc/group") if row),
                "before": parsed(records / "before.json"),
                "installed": parsed(records / "installed.json"),
                "snaps": snaps(),
                "networks": networks(),
                "gateways": gateways(),
                "systemd": Path("/run/systemd/system").is_dir(),
                "engine": unit("docker.service"),
                "containerd": unit("containerd.service"),
                "started": parsed(started / "started.json"),
                "loaded": parsed(started / "loaded.json"),
                "unit_started": read(started / "unit.conf"),
                "unit": read(dropin),
                "daemon": parsed(daemon),
                "daemon_text": read(daemon),
                "written": parsed(records / "daemon.json"),
                "apt_sources": apt_sources(),
                "firewalls": firewalls(),
                "listening": listening(),
            }
        )
    )


if __name__ == "__main__":
    main()
