# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""One node of a k3s cluster: what is on the host, what has to change, and how it is started and waited for."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import hashlib
import http.client
import json
import ssl
import time
import typing as t
import urllib.parse
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _k3s, _k3s_diagnosis
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

Run = t.Callable[[list[str]], tuple[int, str, str]]
Options = t.Mapping[str, t.Any]

STATE = "/var/lib/evenkeel/k3s"
BINARY = "/usr/local/bin/k3s"
UNITS = {"server": "k3s.service", "agent": "k3s-agent.service"}
JOIN = f"{_k3s.CONFIG}/config.yaml.d/00-{_k3s.PREFIX}-join.yaml"
KERNEL_FILE = "/etc/sysctl.d/90-evenkeel-k3s.conf"
KUBELET = f"{_k3s.DATA}/agent/kubelet.kubeconfig"
PROBE_SECONDS = 3.0
# k3s tries to join again every few seconds; what it logs twice over is no passing state.
SURE_SECONDS = 12.0
RESTARTS = 5


class Change(t.NamedTuple):
    """What has to be done on a host."""

    write: tuple[str, ...]
    remove: tuple[str, ...]
    kernel: tuple[str, ...]
    enable: bool
    restart: str

    def __bool__(self) -> bool:
        return bool(self.write or self.remove or self.kernel or self.enable or self.restart)

    def actions(self, unit: str) -> list[str]:
        found = [f"wrote {path}" for path in self.write] + [f"removed {path}" for path in self.remove]
        found += [f"set {name}" for name in self.kernel] + ([f"enabled {unit}"] if self.enable else [])
        return found + ([f"{'started' if self.restart == 'start' else 'restarted'} {unit}"] if self.restart else [])


def plan(
    wanted: t.Mapping[str, tuple[str, int]],
    present: t.Mapping[str, tuple[str, int]],
    kernel: t.Mapping[str, tuple[str, str]],
    unit: Options,
    started: t.Mapping[str, str],
    fingerprint: t.Mapping[str, str],
) -> Change:
    """Return what has to change.

    *wanted* and *present* are text and mode by path, *kernel* has the wanted and the present value of each setting,
    *unit* says whether the unit is C(active) and C(enabled). *started* is the fingerprint of what the running program
    was started with, *fingerprint* that of what is wanted.
    """
    write = tuple(path for path, each in sorted(wanted.items()) if present.get(path) != each)
    remove = tuple(sorted(set(present) - set(wanted)))
    differs = tuple(sorted(name for name, (need, found) in kernel.items() if need != found))
    restart = "start" if not unit["active"] else "" if dict(started) == dict(fingerprint) else "restart"
    return Change(write, remove, differs, not unit["enabled"], restart)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class Node:
    """The host's side of a node."""

    def __init__(self, params: Options, run: Run, warn: t.Callable[[str], None], clock: t.Any = time) -> None:
        self.params, self.run, self.warn, self.clock = params, run, warn, clock
        self.role, self.name = params["role"], params["name"]
        self.last: list[str] = []
        self.unit = UNITS[self.role]
        self.other = UNITS["agent" if self.role == "server" else "server"]

    # -- what is there -------------------------------------------------------

    def wanted(self) -> dict[str, tuple[str, int]]:
        """Return text and mode of every file of this module, by path."""
        files = {one["path"]: (one["content"].rstrip("\n") + "\n", int(one["mode"], 8)) for one in self.params["files"]}
        files[f"/etc/systemd/system/{self.unit}"] = (self.params["unit"].rstrip("\n") + "\n", 0o644)
        join = self.params["join"]
        before = _file.read_text(JOIN)
        if before is not None and not self.turns_to_etcd():
            # It is read at the first start alone, and another value later would be no reason to restart.
            files[JOIN] = (before, 0o600)
        elif join:
            files[JOIN] = (json.dumps(join, indent=2, sort_keys=True) + "\n", 0o600)
        if self.params["kernel"]:
            lines = [f"{name} = {value}" for name, value in sorted(self.params["kernel"].items())]
            files[KERNEL_FILE] = ("\n".join(["# Written by evenkeel.platform.k3s_cluster.", *lines, ""]), 0o644)
        return files

    def turns_to_etcd(self) -> bool:
        db = Path(_k3s.DATA, "server/db")
        return bool(self.params["join"].get("cluster-init")) and not (db / "etcd").exists()

    def present(self, wanted: t.Iterable[str]) -> dict[str, tuple[str, int]]:
        """Return the files that are there: the wanted ones, and what an earlier run wrote beside them."""
        folder = Path(_k3s.CONFIG, "config.yaml.d")
        paths = {*wanted, *map(str, folder.glob(f"[0-9][0-9]-{_k3s.PREFIX}-*.yaml")), KERNEL_FILE}
        paths |= {f"{_k3s.CONFIG}/{_k3s.PREFIX}-{name}.yaml" for name in ("audit", "admission")}
        found = {}
        for path in paths:
            text = _file.read_text(path)
            if text is not None:
                found[path] = (text, Path(path).stat().st_mode & 0o777)
        return found

    def kernel(self) -> dict[str, tuple[str, str]]:
        found = {}
        for name, value in self.params["kernel"].items():
            path = "/proc/sys/" + name.replace(".", "/")
            found[name] = (str(value), (_file.read_text(path) or "").strip())
        return found

    def unit_state(self) -> dict[str, t.Any]:
        names = "ActiveState,SubState,UnitFileState,NRestarts,MainPID,Result"
        _code, out, _err = self.run(["systemctl", "show", "--property", names, self.unit])
        state = dict(line.partition("=")[::2] for line in out.splitlines())
        return {
            # A program that is being restarted over and over is no running one.
            "active": state.get("ActiveState") in ("active", "reloading"),
            "activating": state.get("ActiveState") == "activating",
            "enabled": state.get("UnitFileState") == "enabled",
            "restarts": int(state.get("NRestarts") or 0),
            "pid": int(state.get("MainPID") or 0),
        }

    def fingerprint(self, wanted: t.Mapping[str, tuple[str, int]]) -> dict[str, str]:
        """Return what the program is started with: its file, its configuration, and the secrets it reads."""
        found = {path: digest(text) for path, (text, _mode) in wanted.items() if path not in (JOIN, KERNEL_FILE)}
        for path in self.params["watched"]:
            text = _file.read_text(path)
            if text is not None:
                found[path] = digest(text)
        with contextlib.suppress(FileNotFoundError):
            status = Path(self.params["binary"]).stat()
            found[self.params["binary"]] = f"{status.st_size} {status.st_mtime_ns}"
        if self.turns_to_etcd():
            found["datastore"] = "etcd"
        return found

    def record(self) -> dict[str, t.Any]:
        try:
            found = json.loads(_file.read_text(f"{STATE}/node.json") or "")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def write_record(self, started: t.Mapping[str, str]) -> None:
        content = {"schema": 1, "role": self.role, "version": self.params["version"], "started": dict(started)}
        text = json.dumps(content, indent=2, sort_keys=True) + "\n"
        if _file.read_text(f"{STATE}/node.json") != text:
            _file.write_atomic(f"{STATE}/node.json", text)

    # -- before a start ------------------------------------------------------

    def check_program(self) -> None:
        """Refuse a program of another version, and keys it does not have."""
        _code, out, err = self.run([self.params["binary"], "--version"])
        if self.params["version"] not in out.split():
            raise Failure(
                f"k3s_cluster: program of {self.name}: found {next(iter((out or err).splitlines()), 'none')}, need "
                f"version {self.params['version']}. Set k3s_cluster_version and k3s_cluster_checksums to one release."
            )
        _code, out, _err = self.run([self.params["binary"], self.role, "--help"])
        known = _k3s.keys(out)
        unknown = _k3s.unknown_keys(self.params["keys"], known)
        if unknown:
            raise Failure(
                f"k3s_cluster: keys of {self.name}: found {', '.join(unknown)}, which k3s {self.role} "
                f"{self.params['version']} does not have, need keys of k3s {self.role} --help. "
                "Rename or remove them in k3s_cluster_extra_config."
            )

    def check_server(self) -> None:
        """Refuse to join a server that does not answer, or whose clock is elsewhere."""
        url = self.params["server"]
        if not url:
            return
        end = self.clock.monotonic() + self.params["connect_seconds"]
        while True:
            error, seconds = probe(url)
            if not error or self.clock.monotonic() >= end:
                break
            self.clock.sleep(1)
        cause = _k3s_diagnosis.of_port(url, error) or _k3s_diagnosis.of_clock(url, seconds)
        if cause:
            raise Failure(_k3s_diagnosis.sentence(cause, self.name))

    def wait_for_quorum(self) -> None:
        """Wait until the cluster bears that this server stops; refuse where it does not."""
        end = self.clock.monotonic() + self.params["quorum_seconds"]
        while True:
            nodes = self.nodes()
            voters, need = _k3s.quorum(nodes, self.name)
            if len(voters) >= need and (nodes or self.params["servers"] == 1):
                return
            if self.clock.monotonic() >= end:
                raise Failure(
                    f"k3s_cluster: quorum beside {self.name}: found {len(voters)} ready servers "
                    f"({', '.join(voters) or 'none'}), need {need or 'their answer'} before this one restarts. "
                    "Bring the others back first; nothing was restarted."
                )
            self.clock.sleep(2)

    # -- the API -------------------------------------------------------------

    def kubectl(self, *words: str) -> tuple[int, str, str]:
        config = f"{_k3s.CONFIG}/k3s.yaml" if self.role == "server" else KUBELET
        return self.run([self.params["binary"], "kubectl", "--kubeconfig", config, "--request-timeout=5s", *words])

    def read(self, *words: str) -> dict[str, t.Any]:
        code, out, _err = self.kubectl("get", *words, "--output", "json")
        try:
            found = json.loads(out) if code == 0 else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def nodes(self) -> list[dict[str, t.Any]]:
        return list(self.read("nodes").get("items") or [])

    def renewed(self) -> float:
        """Return when the kubelet last renewed its lease, by the clock of this host."""
        lease = self.read("--namespace", "kube-node-lease", f"lease/{self.name}")
        text = str((lease.get("spec") or {}).get("renewTime") or "")
        try:
            return datetime.datetime.fromisoformat(text).timestamp()
        except ValueError:
            return 0.0

    # -- starting ------------------------------------------------------------

    def apply(self, change: Change, wanted: t.Mapping[str, tuple[str, int]]) -> None:
        for path in change.write:
            _file.ensure_folder(str(Path(path).parent), 0o755)
            _file.write_atomic(path, *wanted[path])
        for path in change.remove:
            Path(path).unlink(missing_ok=True)
        for name in change.kernel:
            value = self.params["kernel"][name]
            code, _out, err = self.run(["sysctl", "-q", "-w", f"{name}={value}"])
            if code:
                raise Failure(
                    f"k3s_cluster: kernel setting {name} of {self.name}: found it refused ({err.strip()}), need "
                    f"{value}. "
                    "Set it on the host, or k3s_cluster_profile to default."
                )
        if self.role == "server":
            Path(_k3s.DATA, "server/logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        if change.write or change.enable:
            self.run(["systemctl", "daemon-reload"])
        if change.enable:
            self.run(["systemctl", "enable", self.unit])

    def start(self, again: bool) -> dict[str, t.Any]:
        """Start the node and wait until it is ready; say why where it is not."""
        began = self.clock.time()
        before = self.unit_state()["restarts"]
        self.run(["systemctl", "reset-failed", self.unit])
        self.run(["systemctl", "restart" if again else "start", "--no-block", self.unit])
        end = self.clock.monotonic() + self.params["ready_seconds"]
        first_seen: dict[str, float] = {}
        node: dict[str, t.Any] = {}
        while True:
            # Short pauses first: a server is there in a few seconds.
            self.clock.sleep(1 if self.clock.time() - began < 20 else 2)
            node = self.read(f"node/{self.name}")
            if self.is_ready(node, began):
                return node
            self.last = self.log(began)
            found = _k3s_diagnosis.of_log(self.last)
            now = self.clock.monotonic()
            restarts = self.unit_state()["restarts"] - before
            if restarts >= RESTARTS:
                raise self.failure(self.cause(node, found, restarts), began)
            if found and found[0].final:
                seen = first_seen.setdefault(found[0].what, now)
                if now - seen >= SURE_SECONDS:
                    raise self.failure(found[0], began)
            if now >= end:
                raise self.failure(self.cause(node, found, restarts), began)

    def is_ready(self, node: Options, began: float) -> bool:
        """Return whether the node is ready since the start; it stays Ready for a while after its kubelet is gone."""
        if not node or not _k3s.ready(node) or self.renewed() < began:
            return False
        info = (node.get("status") or {}).get("nodeInfo") or {}
        if info.get("kubeletVersion") != self.params["version"]:
            return False
        if self.role == "server" and self.kubectl("get", "--raw", "/readyz")[0]:
            return False
        member = "node-role.kubernetes.io/etcd" in node["metadata"].get("labels", {})
        return not member or _k3s.is_voter(node)

    def log(self, since: float) -> list[str]:
        argv = ["journalctl", "--unit", self.unit, "--since", f"@{int(since)}", "--output", "cat", "--no-pager"]
        return self.run([*argv, "--lines", "400"])[1].splitlines()

    def cause(
        self, node: Options, found: tuple[_k3s_diagnosis.Cause, str] | None, restarts: int
    ) -> _k3s_diagnosis.Cause:
        """Return the best that can be said about a node that did not get ready in time."""
        if found:
            return found[0]
        if self.params["server"]:
            error, seconds = probe(self.params["server"])
            cause = _k3s_diagnosis.of_port(self.params["server"], error) or _k3s_diagnosis.of_clock(
                self.params["server"], seconds
            )
            if cause:
                return cause
        message = str(_k3s.condition(node, "Ready").get("message") or "")
        cause = _k3s_diagnosis.of_node(message)
        if cause:
            return cause
        ended = _k3s_diagnosis.of_end(self.last)
        if restarts and ended:
            return ended
        if restarts >= RESTARTS:
            found_word = f"it ended {restarts} times in a row"
        else:
            found_word = message or ("no node of this name" if not node else "not all of it ready")
            found_word += f" after {self.params['ready_seconds']} s"
        return _k3s_diagnosis.Cause(
            "node",
            found_word,
            "it ready",
            f"See journalctl --unit {self.unit}",
        )

    def failure(self, cause: _k3s_diagnosis.Cause, began: float) -> Failure:
        lines = [line[:400] for line in self.log(began)[-self.params["journal_lines"] :]]
        return Failure(_k3s_diagnosis.sentence(cause, self.name), journal=lines)


def probe(url: str) -> tuple[str, float]:
    """Return the error of a connection to a server, and by how many seconds its clock is ahead of this one."""
    parts = urllib.parse.urlsplit(url)
    # Nothing is sent but the request: k3s itself verifies the server by its token.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 6443, timeout=PROBE_SECONDS, context=context
    )
    try:
        client.request("GET", "/ping")
        answer = client.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or type(exc).__name__
        return reason[0].lower() + reason[1:], 0.0
    finally:
        client.close()
    date = answer.headers.get("Date")
    return "", email.utils.parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
