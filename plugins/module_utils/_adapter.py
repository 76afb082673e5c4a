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
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, ProxyDown, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Status, parse_status
from ansible_collections.evenkeel.platform.plugins.module_utils._state import FOLDER

__all__ = ["ADAPTER_ARGUMENTS", "Adapter", "HaproxyAdapter", "ProxyDown", "of"]

ADAPTER_ARGUMENTS: dict[str, t.Any] = {
    "adapter": {"type": "str", "choices": ["haproxy"], "default": "haproxy"},
    "adapter_options": {"type": "dict", "default": {}},
}


class Adapter(abc.ABC):
    """Moves one app's live entry in one proxy. Raw values are the entry's text, None when absent.

    Whatever needs the proxy raises C(ProxyDown) when it does not answer.
    """

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
        """Make the value live at once in every process; return a sentence for each that refused."""

    @abc.abstractmethod
    def verify(self, value: str | None) -> list[str]:
        """Read back from every process; return a sentence for each that does not hold the value."""

    @abc.abstractmethod
    def save(self, value: str | None) -> None:
        """Make what a restart loads equal to the value."""

    @abc.abstractmethod
    def show(self, status: Status) -> None:
        """Show this status of the app to hosts and other edges, at once and after a restart."""

    @abc.abstractmethod
    def shown(self) -> Status:
        """Return the status that is shown; that of the file when the proxy does not run."""

    @abc.abstractmethod
    def loaded(self) -> bool:
        """Tell whether the proxy runs on the configuration that its files hold; False after a crash before a reload."""

    @abc.abstractmethod
    def maintenance(self) -> tuple[list[str | None], str | None]:
        """Return the maintenance mark of each serving process, the current one first, and that of the file.

        There is no process, where the proxy does not run.
        """

    @abc.abstractmethod
    def set_maintenance(self, value: str) -> list[str]:
        """Set the mark in every process, read it back and save it; return a sentence for each that refused."""

    @abc.abstractmethod
    def set_server(self, colour: str, service: str, server: str, state: str) -> list[str]:
        """Set a server to C(drain) or C(ready) in every process that takes requests; return each refusal."""

    @abc.abstractmethod
    def sessions(self, colour: str) -> dict[str, int]:
        """Return the current sessions of each service of the colour, over all processes."""

    @abc.abstractmethod
    def undecided(self) -> set[str]:
        """Return the public requests that were accepted and have no backend yet, for their body is awaited.

        They may have read the entry already, so those older than a move may still go to the colour it left.
        """

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

    def prefix(self, colour: str) -> str:
        return f"{self.app}_{colour}_"

    # -- maps: one key each, in memory and in a file ---------------------------

    def map(self, name: str) -> str:
        return str(Path(self.folder, f"{name}.map"))

    def saved(self, name: str) -> str | None:
        return _entry.parse_file(_file.read_text(self.map(name)), self.app)

    def write_file(self, name: str, value: str | None) -> None:
        _file.write_atomic(self.map(name), "" if value is None else f"{self.app} {value}\n", 0o600)

    def write_memory(self, name: str, value: str | None) -> list[str]:
        return _haproxy.write_key(self.master, self.map(name), self.app, value)

    def readings(self, name: str) -> list[_haproxy.Reading]:
        return _haproxy.read_key(self.master, self.map(name), self.app)

    def differing(self, name: str, value: str | None) -> list[str]:
        return [
            f"worker {each.pid} holds {each.value!r} instead of {value!r}"
            for each in _haproxy.wrong(self.readings(name), value)
        ]

    # -- the entry -------------------------------------------------------------

    def read(self) -> list[dict[str, t.Any]]:
        return [
            {"pid": each.pid, "old": each.old, "value": each.value}
            for each in self.readings("live")
            if each.present or not each.old
        ]

    def read_saved(self) -> str | None:
        return self.saved("live")

    def move(self, value: str | None) -> list[str]:
        return self.write_memory("live", value)

    def verify(self, value: str | None) -> list[str]:
        return self.differing("live", value)

    def save(self, value: str | None) -> None:
        self.write_file("live", value)

    # -- the status ------------------------------------------------------------

    def show(self, status: Status) -> None:
        problems: list[str] = []
        with contextlib.suppress(ProxyDown):  # it loads the file when it starts
            # An app that is not configured yet has the file alone, which the first reload with it loads.
            if self.readings("status")[0].present or self.readings("live")[0].present:
                problems = self.write_memory("status", status.text())
        self.write_file("status", status.text())
        if problems:
            raise Failure(
                sentence(
                    self.module,
                    "the status is not shown",
                    self.app,
                    "; ".join(problems),
                    f"every worker of HAProxy to show {status.text()}",
                    "Run the role edge on this host, then run it again",
                )
            )

    def shown(self) -> Status:
        text = None
        with contextlib.suppress(ProxyDown):
            text = self.readings("status")[0].value
        try:
            return parse_status(text or self.saved("status") or "")
        except ValueError:
            return Status()

    # -- the configuration -----------------------------------------------------

    def loaded(self) -> bool:
        return (_file.read_text(str(_haproxy.LOADED)) or "").strip() == _haproxy.digest()

    # -- maintenance -----------------------------------------------------------

    def maintenance(self) -> tuple[list[str | None], str | None]:
        served: list[str | None] = []
        with contextlib.suppress(ProxyDown):
            served = [each.value for each in self.readings("maintenance") if each.present or not each.old]
        return served, self.saved("maintenance")

    def set_maintenance(self, value: str) -> list[str]:
        problems: list[str] = []
        with contextlib.suppress(ProxyDown):  # it loads the file when it starts
            problems = self.write_memory("maintenance", value) + self.differing("maintenance", value)
        if not problems:
            self.write_file("maintenance", value)
        return problems

    # -- servers and sessions --------------------------------------------------

    def current(self) -> tuple[list[_haproxy.Server], dict[str, int]]:
        for _attempt in range(_haproxy.ATTEMPTS):
            worker = next(each for each in self.master.workers() if not each.old)
            try:
                return self.master.stat(worker)
            except _haproxy.WorkerGone:
                continue
        raise _haproxy.unstable(self.master)

    def set_server(self, colour: str, service: str, server: str, state: str) -> list[str]:
        problems: list[str] = []
        for worker in self.master.workers():
            # A stopping worker refuses it; what it still has is counted among the sessions.
            if worker.old:
                continue
            try:
                answer = self.master.worker(
                    worker, f"set server {self.prefix(colour)}{service}/{server} state {state}"
                ).strip()
            except _haproxy.WorkerGone:
                answer = "it ended"
            if answer:
                problems.append(f"worker {worker.pid} answered: {answer.splitlines()[0]}")
        return problems

    def healthy(self, colour: str) -> dict[str, list[str]]:
        result: dict[str, list[str]] = {}
        for server in self.current()[0]:
            if server.backend.startswith(self.prefix(colour)):
                names = result.setdefault(server.backend[len(self.prefix(colour)) :], [])
                if server.healthy:
                    names.append(server.name)
        return result

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

    def undecided(self) -> set[str]:
        result: set[str] = set()
        for worker in self.master.workers():
            try:
                streams = self.master.streams(worker)
            except _haproxy.WorkerGone:
                continue
            result.update(
                f"{worker.pid} {name}"
                for name, (frontend, backend) in streams.items()
                if frontend.startswith("public") and not backend
            )
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


KINDS: dict[str, type[HaproxyAdapter]] = {"haproxy": HaproxyAdapter}


def of(params: t.Mapping[str, t.Any], name: str, app: str, folder: str) -> Adapter:
    """Return the adapter that options name, for a module or program C(name); a further kind is one more class."""
    kind = KINDS[params.get("adapter") or "haproxy"]
    return kind(module=name, app=app, folder=folder, options=dict(params.get("adapter_options") or {}))
