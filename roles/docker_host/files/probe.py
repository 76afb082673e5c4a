# SPDX-License-Identifier: GPL-3.0-or-later
"""Say in JSON what preflight has to know of a host. Reads only.

Arguments: the engine's data folder, the folder with what the engine has read,
the unit's drop-in, daemon.json, the folder with the role's records.
"""

import json
import os
import socket
import struct
import subprocess
import sys

CONTROLLERS = ("cpu", "memory", "pids", "devices")


def output(argv):
    try:
        return subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True, check=False
        ).stdout
    except OSError:
        return ""


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def parsed(path):
    text = read(path)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {}


def missing_controllers():
    """Name the controllers containers need and this kernel does not offer."""
    unified = read("/sys/fs/cgroup/cgroup.controllers")
    if unified is not None:
        # Version 2 has no devices controller: a program of the kernel does it.
        return [name for name in CONTROLLERS if name != "devices" and name not in unified.split()]
    rows = [line.split() for line in (read("/proc/cgroups") or "").splitlines() if not line.startswith("#")]
    enabled = {row[0] for row in rows if row[3] == "1"}
    return [name for name in CONTROLLERS if name not in enabled]


def overlay():
    if "overlay" in [line.split()[-1] for line in (read("/proc/filesystems") or "").splitlines()]:
        return True
    # Not loaded yet: a module of the running kernel will do.
    return bool(output(["modinfo", "-F", "filename", "overlay"]).strip())


def free_bytes(path):
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize


def packages():
    rows = output(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]).splitlines()
    return sorted(row.split()[0] for row in rows if row.endswith(" installed"))


def snaps():
    return [line.split()[0] for line in output(["snap", "list"]).splitlines()[1:] if line]


def unit(name):
    rows = output(["systemctl", "show", name, "-p", "MainPID", "-p", "ActiveState", "-p", "UnitFileState"])
    state = dict(line.split("=", 1) for line in rows.splitlines() if "=" in line)
    pid = int(state.get("MainPID") or 0)
    try:
        replaced = bool(pid) and os.readlink("/proc/%d/exe" % pid).endswith(" (deleted)")
    except OSError:
        replaced = False
    return {"active": state.get("ActiveState") == "active", "pid": pid, "replaced": replaced}


def gateways():
    """Name the interfaces with a default route."""
    names = [line.split()[0] for line in (read("/proc/net/route") or "").splitlines()[1:] if line.split()[1] == "0" * 8]
    for line in (read("/proc/net/ipv6_route") or "").splitlines():
        words = line.split()
        if words[0] == "0" * 32 and words[1] == "00" and words[-1] != "lo":
            names.append(words[-1])
    return sorted(set(names))


def networks():
    """Name the networks the host has routes to, but for the engine's own."""
    found = set()
    for line in (read("/proc/net/route") or "").splitlines()[1:]:
        words = line.split()
        interface, destination, flags, mask = words[0], int(words[1], 16), int(words[3], 16), int(words[7], 16)
        if mask and not flags & 0x200 and not interface.startswith(("docker", "br-", "*")):
            found.add("%s/%s" % tuple(socket.inet_ntoa(struct.pack("<L", word)) for word in (destination, mask)))
    return sorted(found)


def main():
    data_root, kept, dropin, daemon, records = sys.argv[1:6]
    print(
        json.dumps(
            {
                "controllers_missing": missing_controllers(),
                "overlay": overlay(),
                "free_bytes": free_bytes(data_root),
                "packages": packages(),
                "group": any(line.startswith("docker:") for line in (read("/etc/group") or "").splitlines()),
                "before": parsed(os.path.join(records, "before.json")),
                "installed": parsed(os.path.join(records, "installed.json")),
                "snaps": snaps(),
                "networks": networks(),
                "gateways": gateways(),
                "systemd": os.path.isdir("/run/systemd/system"),
                "engine": unit("docker.service"),
                "containerd": unit("containerd.service"),
                "started": parsed(os.path.join(kept, "started.json")),
                "loaded": parsed(os.path.join(kept, "loaded.json")),
                "unit_started": read(os.path.join(kept, "unit.conf")),
                "unit": read(dropin),
                "daemon": parsed(daemon),
            }
        )
    )


if __name__ == "__main__":
    main()
