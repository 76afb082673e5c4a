# SPDX-License-Identifier: GPL-3.0-or-later
"""Say in JSON what preflight has to know of a host. Reads only.

Arguments: the engine's data folder, the folder with what the engine has read,
the unit's drop-in, daemon.json, the folder with the role's records, and then
paths of which it tells those that are there.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
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
    """Say whether the kernel has overlay, or a module of it."""
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


def named(entry: Callable[[int], tuple[Any, ...]], number: int) -> str:
    try:
        return str(entry(number)[0])
    except KeyError:
        return str(number)


def folders(paths: list[Path]) -> list[str]:
    """Tell mode, owner, group and path of each of them that is a folder."""
    found = []
    for path in paths:
        try:
            seen = path.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(seen.st_mode):
            owner, group = named(pwd.getpwuid, seen.st_uid), named(grp.getgrgid, seen.st_gid)
            found.append(f"{stat.S_IMODE(seen.st_mode):o} {owner} {group} {path}")
    return found


def snaps() -> list[str]:
    return [line.split()[0] for line in output(["snap", "list"]).splitlines()[1:] if line]


def unit(name: str) -> dict[str, Any]:
    """Tell of a unit's main process, and whether its program was replaced since it started."""
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


def main() -> None:
    """Print what was found."""
    data_root, kept, dropin, daemon, records, *asked = map(Path, sys.argv[1:])
    installed, held = packages()
    print(
        json.dumps(
            {
                "controllers_missing": missing_controllers(),
                "overlay": overlay(),
                "free_bytes": free_bytes(data_root),
                "packages": installed,
                "held": held,
                "there": [str(path) for path in asked if os.path.lexists(path)],
                "folders": folders(asked),
                "group": any(row[0].startswith("docker:") for row in rows("/etc/group") if row),
                "before": parsed(records / "before.json"),
                "installed": parsed(records / "installed.json"),
                "snaps": snaps(),
                "networks": networks(),
                "gateways": gateways(),
                "systemd": Path("/run/systemd/system").is_dir(),
                "engine": unit("docker.service"),
                "containerd": unit("containerd.service"),
                "started": parsed(kept / "started.json"),
                "loaded": parsed(kept / "loaded.json"),
                "unit_started": read(kept / "unit.conf"),
                "unit": read(dropin),
                "daemon": parsed(daemon),
            }
        )
    )


if __name__ == "__main__":
    main()
