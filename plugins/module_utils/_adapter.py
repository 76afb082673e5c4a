# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a proxy must be able to do so that traffic can be moved by it; one class for each kind."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry, _file, _haproxy
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._state import FOLDER

ADAPTER_ARGUMENTS: dict[str, t.Any] = {
    "adapter": {"type": "str", "choices": ["haproxy"], "default": "haproxy"},
    "adapter_options": {"type": "dict", "default": {}},
}


class Adapter(abc.ABC):
    """Moves one app's live entry in one proxy. Raw values are the entry's text, None when absent."""

    @abc.abstractmethod
    def read(self) -> list[dict[str, t.Any]]:
        """Return what each serving process holds: C(pid), C(old), C(value); the current one first."""

    @abc.abstractmethod
    def read_saved(self) -> str | None:
        """Return the value that a restart would load."""

    @abc.abstractmethod
    def healthy(self, colour: str) -> dict[str, list[str]]:
        """Return for each service of the colour the servers with a check passed since the reload."""

    @abc.abstractmethod
    def move(self, value: str | None) -> list[str]:
        """Make the value live at once in every process; return what was objected."""

    @abc.abstractmethod
    def verify(self, value: str | None) -> list[str]:
        """Read back from every process; return a sentence for each that does not hold the value."""

    @abc.abstractmethod
    def save(self, value: str | None) -> None:
        """Make what a restart loads equal to the value."""

    @abc.abstractmethod
    def stamp(self, moved: str) -> None:
        """Tell other edges which move the entry came by, C(<token>:<time>); this confirms the entry too."""

    @abc.abstractmethod
    def stamped(self) -> str:
        """Return what was told last; C(unconfirmed:) before it while the proxy waits for somebody to confirm it."""

    @abc.abstractmethod
    def wanted(self, colour: str, servers: list[str]) -> tuple[list[str], list[str]]:
        """Return all servers of a colour and those named, both as C(<service>/<server>)."""

    @abc.abstractmethod
    def exclude(self, colour: str, servers: list[str], ready: bool) -> tuple[list[str], list[str]]:
        """Keep these servers of a colour out of service, and with C(ready) put the others back.

        Return what changed and what was objected.
        """

    @abc.abstractmethod
    def excluded(self, colour: str) -> list[str]:
        """Return the servers of a colour that are kept out of service, as C(<service>/<server>)."""

    @abc.abstractmethod
    def sessions(self, colour: str) -> dict[str, int]:
        """Return the current sessions of each service of the colour, over all processes."""

    @abc.abstractmethod
    def backends(self) -> dict[str, dict[str, list[dict[str, t.Any]]]]:
        """Return colour, service, servers with C(server), C(status), C(check), C(sessions)."""


@dataclasses.dataclass
class HaproxyAdapter(Adapter):
    """The live entry is one key of a map file; HAProxy reads it once for each request."""

    module: str
    app: str
    folder: str
    options: dict[str, t.Any]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.options) - {"master_socket", "timeout_seconds"})
        socket = str(self.options.get("master_socket") or _haproxy.DEFAULT_MASTER)
        if unknown or not FOLDER.match(socket):
            raise Failure(
                sentence(
                    self.module,
                    "the options of the adapter are not usable",
                    self.app,
                    ", ".join(unknown) or socket,
                    "master_socket (a path) and timeout_seconds only",
                    "Set adapter_options",
                )
            )
        self.master = _haproxy.Master(socket, float(self.options.get("timeout_seconds") or 5), self.module)
        self.map = str(Path(self.folder, "live.map"))
        self.moved_map = str(Path(self.folder, "moved.map"))

    def prefix(self, colour: str) -> str:
        return f"{self.app}_{colour}_"

    def read(self) -> list[dict[str, t.Any]]:
        return [
            {"pid": each.pid, "old": each.old, "value": each.value}
            for each in _haproxy.read_key(self.master, self.map, self.app)
            if each.present or not each.old
        ]

    def read_saved(self) -> str | None:
        return _entry.parse_file(_file.read_text(self.map), self.app)

    def current(self) -> tuple[list[_haproxy.Server], dict[str, int]]:
        for _attempt in range(_haproxy.ATTEMPTS):
            worker = next(each for each in self.master.workers() if not each.old)
            try:
                return self.master.stat(worker)
            except _haproxy.WorkerGone:
                continue
        raise _haproxy.unstable(self.master)

    def healthy(self, colour: str) -> dict[str, list[str]]:
        result: dict[str, list[str]] = {}
        for server in self.current()[0]:
            if server.backend.startswith(self.prefix(colour)):
                names = result.setdefault(server.backend[len(self.prefix(colour)) :], [])
                if server.healthy:
                    names.append(server.name)
        return result

    def move(self, value: str | None) -> list[str]:
        return _haproxy.write_key(self.master, self.map, self.app, value)

    def verify(self, value: str | None) -> list[str]:
        return [
            f"worker {each.pid} holds {each.value!r} instead of {value!r}"
            for each in _haproxy.wrong(_haproxy.read_key(self.master, self.map, self.app), value)
        ]

    def save(self, value: str | None) -> None:
        _file.write_atomic(self.map, "" if value is None else f"{self.app} {value}\n", 0o600)

    def stamp(self, moved: str) -> None:
        _file.write_atomic(self.moved_map, f"{self.app} {moved}\n", 0o600)
        # A worker from before the map was there tells no move, and is believed by nobody.
        with contextlib.suppress(_haproxy.Unreachable):
            _haproxy.write_key(self.master, self.moved_map, self.app, moved)

    def stamped(self) -> str:
        return _entry.parse_file(_file.read_text(self.moved_map), self.app) or ""

    def excluded(self, colour: str) -> list[str]:
        prefix = self.prefix(colour)
        return sorted(
            f"{server.backend[len(prefix) :]}/{server.name}"
            for server in self.current()[0]
            if server.backend.startswith(prefix) and server.status.startswith("MAINT")
        )

    def wanted(self, colour: str, servers: list[str]) -> tuple[list[str], list[str]]:
        """Return all servers of a colour and those named, both as C(<service>/<server>)."""
        prefix = self.prefix(colour)
        known = [
            f"{each.backend[len(prefix) :]}/{each.name}"
            for each in self.current()[0]
            if each.backend.startswith(prefix)
        ]
        return known, [each for each in known if each in servers or each.split("/")[1] in servers]

    def exclude(self, colour: str, servers: list[str], ready: bool) -> tuple[list[str], list[str]]:
        known, out = self.wanted(colour, servers)
        before = set(self.excluded(colour))
        changed: list[str] = []
        problems: list[str] = []
        for name in known:
            if (name in out) == (name in before) or (name not in out and not ready):
                continue
            service, server = name.split("/")
            state = "maint" if name in out else "ready"
            for worker in self.master.workers():
                try:
                    answer = self.master.set_server(worker, self.prefix(colour) + service, server, state)
                except _haproxy.WorkerGone:
                    continue
                if answer and not worker.old:  # a stopping worker answers "Proxy is disabled."
                    problems.append(f"worker {worker.pid} answered to {name} {state}: {answer.splitlines()[0]}")
            changed.append(f"{name} {state}")
        after = set(self.excluded(colour))
        if not set(out) <= after or (ready and after - set(out)):
            problems.append(f"{', '.join(sorted(after)) or 'nothing'} is kept out of service")
        return changed, problems

    def sessions(self, colour: str) -> dict[str, int]:
        result: dict[str, int] = {}
        for worker in self.master.workers():
            try:
                backends = self.master.stat(worker)[1]
            except _haproxy.WorkerGone:
                continue
            for name, count in backends.items():
                if name.startswith(self.prefix(colour)):
                    service = name[len(self.prefix(colour)) :]
                    result[service] = result.get(service, 0) + count
        return result

    def backends(self) -> dict[str, dict[str, list[dict[str, t.Any]]]]:
        result: dict[str, dict[str, list[dict[str, t.Any]]]] = {colour: {} for colour in _entry.COLOURS}
        rows: dict[tuple[str, str], dict[str, t.Any]] = {}
        for worker in self.master.workers():
            try:
                servers = self.master.stat(worker)[0]
            except _haproxy.WorkerGone:
                continue
            for server in servers:
                for colour in _entry.COLOURS:
                    if not server.backend.startswith(self.prefix(colour)):
                        continue
                    row = rows.get((server.backend, server.name))
                    if row is None and not worker.old:
                        row = {
                            "server": server.name,
                            "status": server.status,
                            "check": server.check,
                            "healthy": server.healthy,
                            "sessions": 0,
                        }
                        rows[server.backend, server.name] = row
                        service = server.backend[len(self.prefix(colour)) :]
                        result[colour].setdefault(service, []).append(row)
                    if row is not None:
                        row["sessions"] += server.sessions
        return result


def of(module: t.Any, name: str, folder: str) -> Adapter:
    """Return the adapter a module's options name; a further kind is one more class here."""
    return {"haproxy": HaproxyAdapter}[module.params["adapter"]](
        module=name, app=module.params["app"], folder=folder, options=module.params["adapter_options"]
    )
