# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Taking a node off a host: its processes, mounts, interfaces, packet filter rules and files."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _k3s, _k3s_node

Run = t.Callable[[list[str]], tuple[int, str, str]]

INTERFACES = re.compile(r"cni0|flannel[\w.-]*|kube-ipvs0|kube-bridge")
# Not /var/lib/kubelet or the data folder themselves, which may be disks of the user.
MOUNTS = ("/run/k3s/", "/var/lib/kubelet/pods/", "/var/lib/kubelet/plugins/", "/run/netns/cni-")
CHAINS = re.compile(r"^:(?P<chain>(?:KUBE|CNI|FLANNEL)-[\w-]*|(?:CNI|KUBE)-[0-9a-f]+)\s", re.MULTILINE)
JUMP = re.compile(r"\b(?:KUBE|CNI|FLANNEL)-|flanneld", re.IGNORECASE)
SHIM = "/run/k3s/containerd/"
FILES = ("/usr/local/bin/k3s", _k3s_node.KERNEL_FILE)
FOLDERS = (
    _k3s.CONFIG,
    "/run/k3s",
    "/run/flannel",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
)
LINKS = ("kubectl", "crictl", "ctr")
KEPT = ("server/db", "storage")
# The password by which a cluster knows a node again. Without it the name would be refused.
NODE = "/etc/rancher/node"


def rules(saved: str) -> str:
    """Return the input of iptables-restore --noflush that removes what k3s added to a saved rule set."""
    found: list[str] = []
    table: list[str] = []
    chains: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table, chains = [line], []
        elif match := CHAINS.match(line):
            chains.append(match["chain"])
        elif line.startswith("-A ") and line.split()[1] not in chains and JUMP.search(line):
            table.append("-D" + line[2:])
        elif line == "COMMIT" and (len(table) > 1 or chains):
            found += [*table, *(f"-F {one}" for one in chains), *(f"-X {one}" for one in chains), "COMMIT"]
    return "".join(f"{line}\n" for line in found)


def mounts(text: str) -> list[str]:
    """Return the mount points of k3s, inner ones first, of the content of /proc/self/mounts."""
    points = [line.split()[1].replace("\040", " ") for line in text.splitlines() if len(line.split()) > 1]
    return sorted({one for one in points if one.startswith(MOUNTS)}, reverse=True)


def family(parents: t.Mapping[int, int], first: t.Iterable[int]) -> set[int]:
    """Return processes with all their descendants."""
    found = set(first)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _removable(folder: Path) -> bool:
    """Return whether there is something to remove; of a disk of its own the empty folder stays."""
    return folder.is_dir() and (_filled(folder) or not folder.is_mount())


class Removal:
    """The host's side of an uninstall."""

    def __init__(self, run: Run, restore: t.Callable[[str, str], tuple[int, str, str]], keep_data: bool) -> None:
        self.run, self.restore, self.keep_data = run, restore, keep_data

    # -- what is there -------------------------------------------------------

    def units(self) -> list[str]:
        return [one for one in _k3s_node.UNITS.values() if Path("/etc/systemd/system", one).exists()]

    def processes(self) -> set[int]:
        parents, first = {}, []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                parents[int(folder.name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
                words = folder.joinpath("cmdline").read_text(errors="replace").split("\0")
                if "containerd-shim" in words[0] and any(word.startswith(SHIM) for word in words):
                    first.append(int(folder.name))
        return family(parents, first) - {os.getpid(), 1}

    def interfaces(self) -> list[str]:
        return sorted(path.name for path in Path("/sys/class/net").iterdir() if INTERFACES.fullmatch(path.name))

    def mounted(self) -> list[str]:
        return mounts(Path("/proc/self/mounts").read_text())

    def rule_sets(self) -> dict[str, str]:
        found = {}
        for program in ("iptables", "ip6tables"):
            code, out, _err = self.run([f"{program}-save"])
            if code == 0 and (text := rules(out)):
                found[program] = text
        return found

    def paths(self) -> list[str]:
        """Return the files and folders that go."""
        found = [path for path in FILES if Path(path).exists()]
        for name in LINKS:
            link = Path("/usr/local/bin", name)
            if link.is_symlink() and link.readlink().name == "k3s":
                found.append(str(link))
        found += [f"/etc/systemd/system/{unit}" for unit in self.units()]
        found += [path for path in FOLDERS if _removable(Path(path))]
        data = Path(_k3s.DATA)
        if _removable(data):
            kept = self.kept()
            inner = [str(path) for path in sorted(data.iterdir()) if str(path) not in kept]
            found += inner if kept else [str(data)]
        if Path(NODE).is_dir() and not self.keep_data:
            found.append(NODE)
        found += [f"{_k3s_node.STATE}/node.json"] if Path(_k3s_node.STATE, "node.json").exists() else []
        return found

    def kept(self) -> list[str]:
        """Return the folders with data that stay: the datastore with its keys, and volumes."""
        held = [name for name in KEPT if self.keep_data and _filled(Path(_k3s.DATA, name))]
        # The datastore is read with the keys beside it.
        return [str(Path(_k3s.DATA, name.partition("/")[0])) for name in held]

    # -- what is done --------------------------------------------------------

    def apply(self) -> None:
        units = self.units()
        for unit in units:
            self.run(["systemctl", "disable", "--now", unit])
        for _attempt in range(5):
            pids = self.processes()
            if not pids:
                break
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.3)
        for point in self.mounted():
            self.run(["umount", "--lazy", point])
        for path in Path("/run/netns").glob("cni-*"):
            with contextlib.suppress(OSError):
                path.unlink()
        for name in self.interfaces():
            self.run(["ip", "link", "delete", name])
        for program, text in self.rule_sets().items():
            self.restore(program, text)
        kept = self.kept()
        for gone in self.paths():
            path = Path(gone)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for folder in ("/etc/rancher", "/var/lib/rancher"):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        left = Path(_k3s_node.STATE, "left.json")
        if kept:
            _file.write_atomic(str(left), '{"schema": 1}\n')
        else:
            left.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(_k3s_node.STATE).rmdir()
        if units:
            self.run(["systemctl", "daemon-reload"])
            self.run(["systemctl", "reset-failed", *units])

    def left(self) -> list[str]:
        """Return one sentence for each thing that is still on the host."""
        found = [f"{path} with the data of the cluster" for path in self.kept()]
        found += [f"{NODE} with the password of the node"] if self.keep_data and Path(NODE).is_dir() else []
        found += [f"process {pid} of a container" for pid in sorted(self.processes())]
        found += [f"mount {path}" for path in self.mounted()]
        found += [f"interface {name}" for name in self.interfaces()]
        found += [f"rules of {program}" for program in self.rule_sets()]
        found += [path for path in self.paths() if path not in self.kept()]
        return found
