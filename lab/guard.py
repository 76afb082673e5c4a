#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that the lab does not change this machine.

guard.py record [--unless-recorded] FILE    record clock, free disk and kernel settings
guard.py compare FILE                       print changes since then, fail if there are any
guard.py isolation CONTAINER ...            fail if a machine of the lab reaches the internet
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from build_images import docker_command

SYSCTL = Path("/proc/sys")
TREES = ("vm", "kernel", "fs", "net/ipv4", "net/ipv6", "net/netfilter", "net/core")
# Counters and seeds that change on their own.
MOVING = (
    "kernel/random/", "kernel/ns_last_pid", "kernel/pty/nr", "fs/dentry-state", "fs/file-nr",
    "fs/inode-nr", "fs/inode-state", "fs/aio-nr", "fs/quota/", "fs/binfmt_misc/", "net/netfilter/nf_conntrack_count",
    "net/ipv4/route/flush", "net/ipv6/route/flush", "vm/stat_refresh", "vm/compact_memory",
    "vm/drop_caches", "net/ipv4/tcp_fastopen_key", "net/ipv6/conf/all/stable_secret",
)  # fmt: skip
# The engine enables forwarding for each network with IPv6, and creates and
# removes the network's interface.
ENGINE = ("/forwarding", "/mc_forwarding", "/ip_forward")
CLOCK_TOLERANCE_SECONDS = 1.0
DISK_TOLERANCE_GIB = 40.0
# Reserved addresses without any machine.
PROBES = ("198.51.100.1", "2001:db8::1")


def settings(root: Path = SYSCTL) -> Iterator[tuple[str, str]]:
    """Yield name and value of each kernel setting that must not change."""
    for tree in TREES:
        for folder, folders, files in os.walk(root / tree):
            here = os.path.relpath(folder, root)
            if here in ("net/ipv4/conf", "net/ipv6/conf", "net/ipv4/neigh", "net/ipv6/neigh"):
                folders[:] = [name for name in folders if name in ("all", "default", "lo")]
            for name in files:
                key = f"{here}/{name}"
                if key.startswith(MOVING) or key.endswith(ENGINE):
                    continue
                try:
                    yield key.replace("/", "."), (root / key).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError):
                    continue  # write-only, or not readable


def snapshot() -> dict[str, Any]:
    """Return the machine's state as plain data."""
    return {
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip(),
        "clock_offset_seconds": time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME),
        "free_disk_gib": shutil.disk_usage("/").free / 2**30,
        "settings": dict(settings()),
    }


def recorded_boot(file: Path) -> str:
    """Return the boot id of a record, empty without a record."""
    return str(json.loads(file.read_text(encoding="utf-8"))["boot"]) if file.exists() else ""


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return one sentence for each change."""
    if before["boot"] != after["boot"]:
        return []  # another boot, nothing to compare
    found = []
    moved = after["clock_offset_seconds"] - before["clock_offset_seconds"]
    if abs(moved) > CLOCK_TOLERANCE_SECONDS:
        found.append(f"clock: moved by {moved:+.3f} s")
    used = before["free_disk_gib"] - after["free_disk_gib"]
    if used > DISK_TOLERANCE_GIB:
        found.append(f"disk: {used:.1f} GiB less free than before")
    for key in sorted(before["settings"].keys() | after["settings"].keys()):
        old, new = before["settings"].get(key), after["settings"].get(key)
        # A kernel module loaded since may add settings; none may change or vanish.
        if old is not None and old != new:
            found.append(f"{key}: was {old!r}, is {new!r}")
    return found


def ways_out(container: str) -> list[str]:
    """Return one sentence for each route from a machine of the lab to the internet."""

    def inside(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([docker_command(), "exec", container, *argv], capture_output=True, text=True, check=False)

    found = []
    for family in ("-4", "-6"):
        routes = inside("ip", family, "route", "show", "default")
        if routes.returncode:
            return [f"{container}: {routes.stderr.strip()}"]
        if routes.stdout.strip():
            found.append(f"{container}: has a default route: {routes.stdout.strip()}")
    for probe in PROBES:
        # Connecting a datagram socket only looks up the route.
        code = (
            "import errno, socket, sys\n"
            f"s = socket.socket(socket.{'AF_INET6' if ':' in probe else 'AF_INET'}, socket.SOCK_DGRAM)\n"
            f"sys.exit(0 if s.connect_ex(({probe!r}, 9)) == errno.ENETUNREACH else 1)\n"
        )
        if inside("python3", "-c", code).returncode:
            found.append(f"{container}: {probe} is not unreachable")
    return found


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    record = verbs.add_parser("record")
    record.add_argument("--unless-recorded", action="store_true")
    record.add_argument("file", type=Path)
    verbs.add_parser("compare").add_argument("file", type=Path)
    verbs.add_parser("isolation").add_argument("containers", nargs="+")
    options = parser.parse_args()
    now = snapshot()
    if options.verb == "isolation":
        found = [line for name in options.containers for line in ways_out(name)]
    elif options.verb == "compare":
        found = differences(json.loads(options.file.read_text(encoding="utf-8")), now)
    else:
        found = []
        if options.unless_recorded and recorded_boot(options.file) == now["boot"]:
            return 0
        options.file.parent.mkdir(parents=True, exist_ok=True)
        options.file.write_text(json.dumps(now, indent=1), encoding="utf-8")
        print(f"recorded {options.file}")
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
