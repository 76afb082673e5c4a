# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet in temporary folders on which the product's own functions run: proxies, engines and clock are simulated.

Everything that changes something runs in a C(Task), a thread of which only one runs at a time. It stops before each
write, each call to an engine and each poll of a lock, and goes on when the test says so; there it can be killed, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import threading
import types
import typing as t
from pathlib import Path
from unittest import mock

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _adapter,
    _clock,
    _compose_build,
    _compose_release,
    _compose_store,
    _controller,
    _edge,
    _edges,
    _entry,
    _file,
    _move,
    _names,
    _pair,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, ProxyDown
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import (
    Pair,
    Shown,
    Status,
    declared_out,
    parse_status,
    serves,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records
from ansible_collections.evenkeel.platform.plugins.modules import compose_release

APP = "shop"
ROLES = Path(__file__).parents[3] / "roles"
Data = dict[str, t.Any]
# What is wrong with a release, by its name.
UNHEALTHY = "1.8"  # its web containers never become healthy
WRONG = "1.7"  # its web containers answer, but not as its gate wants it
UNREACHABLE = "1.6"  # the probe through the public listener fails after the move
LAME = "1.5"  # its workers never become healthy
GOOD = ("1.0", "1.1", "1.2")


class Killed(BaseException):
    """The process was killed."""


class Broken(AssertionError):
    """What must hold does not hold."""


class Clock:
    """Time that passes only when somebody sleeps or the test says so."""

    CLOCK_MONOTONIC = 1

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.1)
        self.fleet.pause()


class Task(threading.Thread):
    """One process: it goes on by C(step) only."""

    def __init__(self, fleet: Fleet, name: str, body: t.Callable[[], t.Any]) -> None:
        super().__init__(name=name, daemon=True)
        self.fleet = fleet
        self.body = body
        self.go = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.ended = self.killed = self.dying = False
        # How many tasks of a playbook it has begun.
        self.begun = 0
        self.error: BaseException | None = None
        self.outcome = ""
        self.controller: Data = {}
        self.start()

    def run(self) -> None:
        self.go.acquire()
        try:
            if not self.killed:
                self.body()
                self.outcome = self.outcome or "done"
        except Killed:
            self.outcome = "killed"
        except Failure as failure:
            self.outcome = f"failed: {failure.sentence}"
        except BaseException as exc:  # noqa: BLE001 - it is raised again by step
            self.error = exc
        self.ended = True
        self.stopped.release()

    def step(self, times: int = 1) -> None:
        """Let it go on to its next stop."""
        for _time in range(times):
            if self.ended:
                break
            self.fleet.current = self
            self.go.release()
            self.stopped.acquire()
            self.fleet.current = None
            if self.error:
                raise self.error
            self.fleet.verify()

    def reach(self, number: int, limit: int = 20000) -> None:
        """Let it go on until it is about to begin its task of this number, or to its end."""
        for _time in range(limit):
            if self.ended or self.begun >= number:
                break
            self.step()

    def finish(self, limit: int = 20000) -> None:
        """Let it go on to its end."""
        self.step(limit)
        if not self.ended:
            raise Broken(f"{self.name} does not end")

    def kill(self) -> None:
        """End it where it stands, in the middle of what it does."""
        self.killed = True
        self.finish(100)

    def pause(self) -> None:
        self.stopped.release()
        self.go.acquire()
        if self.killed:
            raise Killed


@dataclasses.dataclass
class Container:
    """One container of an engine."""

    stack: str
    service: str
    release: str
    hash: str
    running: bool = True
    healthy: bool = True

    def inspected(self, number: str) -> Data:
        health = {"Status": "healthy" if self.healthy else "unhealthy"}
        return {
            "Id": number,
            "Name": f"/{self.stack}.{self.service}",
            "State": {"Running": self.running, "Status": "running" if self.running else "exited", "Health": health},
            "Config": {
                "Labels": {
                    "com.docker.compose.project": self.stack,
                    "com.docker.compose.service": self.service,
                    "com.docker.compose.config-hash": self.hash,
                }
            },
        }


class Host:
    """An app host: an engine and systemd, as far as the product calls them."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.folder = fleet.folder / name
        self.containers: dict[str, Container] = {}
        self.timers: set[str] = set()
        # Colours of which a crash took containers: what happens to requests to them is nobody's fault.
        self.crashed: set[str] = set()
        self.count = 0
        (self.folder / "units").mkdir(parents=True)
        self.retire_program = program("app_deploy", "evenkeel-retire", name)
        self.retire_program.STATE = self.folder / "state"
        self.retire_program.LOCKS = self.folder / "lock"
        self.retire_program.STACKS = str(self.folder / "stacks")
        self.retire_program.Stack = SimulatedStack

    def records(self, module: str) -> Records:
        return Records(module, APP, str(self.folder / "state"), str(self.folder / "lock"), 600, check_mode=False)

    def of(self, stack: str) -> dict[str, Container]:
        return {number: each for number, each in self.containers.items() if each.stack == stack}

    def runs(self, stack: str) -> bool:
        """Tell whether the web containers of a colour are there and well."""
        mine = self.of(stack).values()
        return bool(mine) and all(each.running and each.healthy for each in mine)

    # -- commands ------------------------------------------------------------

    def run_command(self, argv: list[str], **_options: t.Any) -> tuple[int, str, str]:
        words = [str(word) for word in argv[1:]]
        if argv[0] == "systemctl":
            return self.systemctl(words)
        if words[0] == "version" or words[:2] == ["compose", "version"]:
            return 0, "28.0.0", ""
        if words[0] == "ps":
            stack = words[-1].rpartition("=")[2]
            return 0, "\n".join(self.of(stack)), ""
        if words[0] == "inspect":
            return 0, json.dumps([self.containers[number].inspected(number) for number in words[1:]]), ""
        if words[0] in ("volume", "logs"):
            return 0, "", ""
        self.fleet.pause()
        if words[0] in ("stop", "rm"):
            for number in words[1:]:
                if number in self.containers:
                    self.end(number, remove=words[0] == "rm")
            return 0, "", ""
        return self.compose(words)

    def compose(self, words: list[str]) -> tuple[int, str, str]:
        stack = words[words.index("--project-name") + 1]
        path = Path(words[words.index("--file") + 1]) if "--file" in words else None
        services = json.loads(path.read_text(encoding="utf-8"))["services"] if path else {}
        if "config" in words:
            return 0, "\n".join(f"{name} {marked(service)}" for name, service in services.items()), ""
        if "stop" in words:
            for number in list(self.of(stack)):
                self.end(number)
                self.fleet.pause()
            return 0, "", ""
        if "down" in words:
            for number in list(self.of(stack)):
                self.end(number, remove=True)
                self.fleet.pause()
            return 0, "", ""
        return self.up(stack, services, recreate="--no-recreate" not in words)

    def up(self, stack: str, services: Data, recreate: bool) -> tuple[int, str, str]:
        wanted = {name: service for name, service in services.items() if not service.get("profiles")}
        for number, each in list(self.of(stack).items()):
            if recreate and (each.service not in wanted or each.hash != marked(wanted[each.service])):
                self.end(number, remove=True)
                self.fleet.pause()
        for name, service in wanted.items():
            there = [each for each in self.of(stack).values() if each.service == name]
            release = service["image"].rpartition(":")[2]
            ill = (release == UNHEALTHY and stack != f"{APP}-background") or (
                release == LAME and stack == f"{APP}-background"
            )
            for each in there:
                each.running = True
            if not there:
                self.count += 1
                number = f"{self.name}c{self.count}"
                self.containers[number] = Container(stack, name, release, marked(service), healthy=not ill)
            self.fleet.pause()
        self.crashed.discard(stack.removeprefix(f"{APP}-"))
        unwell = [each.service for each in self.of(stack).values() if not each.healthy]
        return (1, "", f"container {unwell[0]} is unhealthy") if unwell else (0, "", "")

    def end(self, number: str, remove: bool = False) -> None:
        """Stop a container, or remove it."""
        container = self.containers[number]
        colour = container.stack.removeprefix(f"{APP}-")
        if colour in _entry.COLOURS and container.running:
            for name in self.fleet.serving(colour):
                raise Broken(f"{self.fleet.who()} ends {colour} on {self.name}, which {name} serves")
        container.running = False
        if remove:
            del self.containers[number]

    def systemctl(self, words: list[str]) -> tuple[int, str, str]:
        if words[0] == "show":
            states = [
                f"Id={name}\nUnitFileState={'enabled' if name in self.timers else 'disabled'}\n"
                f"ActiveState={'active' if name in self.timers else 'inactive'}"
                for name in words[2:]
            ]
            return 0, "\n\n".join(states), ""
        self.fleet.pause()
        names = {word for word in words[1:] if not word.startswith("-")}
        if words[0] == "enable":
            self.timers |= names
        elif words[0] == "disable":
            self.timers -= names
        return 0, "", ""

    # -- programs ------------------------------------------------------------

    def retire(self) -> None:
        """Do what the timer does."""
        for path in sorted((self.folder / "state").glob("*/retire-*.json")):
            with _file.lock(str(self.folder / "lock" / f"evenkeel-{APP}.lock"), 5.0, "evenkeel-retire"):
                if path.exists():
                    self.fleet.pause()
                    self.retire_program.retire(path, self.run_command)

    def module(self, params: Data) -> types.SimpleNamespace:
        return types.SimpleNamespace(
            params={
                **params,
                "state_dir": str(self.folder / "state"),
                "lock_dir": str(self.folder / "lock"),
                "base_dir": str(self.folder / "stacks"),
                "unit_dir": str(self.folder / "units"),
            },
            check_mode=False,
            run_command=self.run_command,
            get_bin_path=lambda name: name,
        )

    def schedule(self) -> str:
        """Return what the timer of the app's job says, nothing where there is none or it is not on."""
        timer = f"{_names.job_unit(APP, 'report')}.timer"
        text = _file.read_text(str(self.folder / "units" / timer)) or ""
        found = [line.partition("=")[2] for line in text.splitlines() if line.startswith("OnCalendar=")]
        return found[0] if found and timer in self.timers else ""


class Edge(_adapter.Adapter):
    """An edge: a proxy with a memory and files, and the program that looks after it."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.state = fleet.folder / name / "state"
        self.locks = fleet.folder / name / "lock"
        self.up = True
        self.memory: dict[str, str | None] = {"live": None, "status": None}
        self.marks: dict[str, str] = {"memory": "off", "file": "off"}
        # The configuration that the process runs on; that of the files is in C(config).
        self.running_on = ""
        (self.state / APP).mkdir(parents=True)
        self.program = program("edge", "edge-sync", name)
        self.program.STATE = self.state
        self.program.LOCKS = self.locks
        self.program.time = fleet.clock
        self.program.edges = lambda: self.program.Edges(
            name, {each: f"{fleet.addresses[each]}:8405" for each in fleet.edge_names if each != name}
        )

    def records(self, module: str) -> Records:
        return Records(module, APP, str(self.state), str(self.locks), 30, check_mode=False)

    def path(self, name: str) -> str:
        return str(self.state / APP / f"{name}.map")

    def saved(self, name: str) -> str | None:
        return _entry.parse_file(_file.read_text(self.path(name)), APP)

    def status(self) -> Status:
        text = self.memory["status"] if self.up else None
        return parse_status(text or self.saved("status") or Status().text())

    def shown(self) -> Status:
        return self.status()

    def answer(self) -> Shown | None:
        """Return what the status address answers."""
        if not self.up or self.memory["live"] is None:
            return None
        return Shown(self.memory["live"], self.status(), self.program.record_of(APP))

    # -- the adapter -----------------------------------------------------------

    def _need(self) -> None:
        if not self.up:
            raise ProxyDown(f"{self.name}: HAProxy does not run.")

    def read(self) -> list[Data]:
        self._need()
        return [{"pid": 1, "old": False, "value": self.memory["live"]}]

    def read_saved(self) -> str | None:
        return self.saved("live")

    def healthy(self, colour: str) -> dict[str, list[str]]:
        self._need()
        hosts = self.fleet.hosts.values()
        return {"api": [host.name for host in hosts if host.runs(f"{APP}-{colour}")]}

    def move(self, value: str | None) -> list[str]:
        self._need()
        self.fleet.pause()
        self.memory["live"] = value
        return []

    def verify(self, value: str | None) -> list[str]:
        self._need()
        return [] if self.memory["live"] == value else [f"{self.name} holds {self.memory['live']}"]

    def save(self, value: str | None) -> None:
        _file.write_atomic(self.path("live"), "" if value is None else f"{APP} {value}\n")

    def show(self, status: Status) -> None:
        self.fleet.pause()
        if self.up and self.memory["live"] is not None:
            self.memory["status"] = status.text()
        _file.write_atomic(self.path("status"), f"{APP} {status.text()}\n")

    def config(self) -> str:
        return _file.read_text(str(self.state / "haproxy.cfg")) or ""

    def loaded(self) -> bool:
        return self.running_on == self.config()

    def maintenance(self) -> tuple[list[str | None], str | None]:
        return [self.marks["memory"]] if self.up else [], self.marks["file"]

    def set_maintenance(self, value: str) -> list[str]:
        self.fleet.pause()
        if self.up:
            self.marks["memory"] = value
        self.fleet.pause()
        self.marks["file"] = value
        return []

    def set_server(self, colour: str, service: str, server: str, state: str) -> list[str]:
        return []

    def sessions(self, colour: str) -> dict[str, int]:
        return {}

    def undecided(self) -> set[str]:
        return set()

    def backends(self) -> dict[str, dict[str, list[Data]]]:
        return {colour: {} for colour in _entry.COLOURS}

    # -- the process -------------------------------------------------------------

    def crash(self) -> None:
        """Lose the memory; the files stay."""
        self.up = False
        self.memory = {"live": None, "status": None}

    def load(self) -> None:
        self.memory = {"live": self.saved("live"), "status": self.saved("status")}
        self.marks["memory"] = self.marks["file"]
        self.running_on = self.config()
        self.up = True

    def start(self) -> None:
        """Do what a start of HAProxy does: settle under the lock of the edge, then read the files."""
        with self.program.edge_lock(60):
            self.program.settle()
        self.load()

    def confirm(self) -> None:
        """Do what the unit does that goes on asking after a start."""
        with self.program.edge_lock(60):
            self.program.settle()

    def withdraw(self) -> None:
        """Do what the timer does."""
        self.program.withdraw()

    def configure(self, record: Data, pair: Data) -> None:
        """Do what C(edge_config) does: a file for what is new, then a reload that keeps what memory holds."""
        records = self.records("edge_config")
        with _file.lock(str(self.locks / "evenkeel-edge.lock"), 60, "edge_config"):
            _pair.check(records, Pair(pair["token"], pair["run"]))
            _file.write_atomic(str(self.state / "haproxy.cfg"), _edge.record_text(record))
            for name, first in (("live", "none:0::"), ("status", Status().text())):
                if self.saved(name) is None:
                    _file.write_atomic(self.path(name), f"{APP} {first}\n")
            _file.write_atomic(str(self.state / APP / "edge.json"), _edge.record_text(record))
        self.fleet.pause()
        with _file.lock(str(self.locks / "evenkeel-edge.lock"), 60, "edge-sync"):
            self._need()
            for name, value in self.memory.items():
                if value is not None:
                    _file.write_atomic(self.path(name), f"{APP} {value}\n")
            self.load()


class SimulatedStack(_compose_store.Stack):
    """A stack whose lock is that of its app, and which nothing starts at boot."""

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        yield

    def boots(self) -> bool:
        return self.boot_marker.exists()

    def set_boot(self, wanted: bool) -> None:
        if wanted:
            self.boot_marker.touch()
        else:
            self.boot_marker.unlink(missing_ok=True)

    def may_boot(self) -> bool:
        return self.boots()


def marked(service: Data) -> str:
    return hashlib.sha256(json.dumps(service, sort_keys=True).encode()).hexdigest()[:12]


def built(engine: t.Any, stack: t.Any, params: Data, check_mode: bool) -> _compose_build.Build:
    """Return a release of a definition as it stands."""
    services = {name: {**service} for name, service in params["definition"]["services"].items()}
    text = json.dumps({"services": services}, sort_keys=True)
    content = _compose_release.digest_of(text)
    folder, exists = _compose_release.folder_for(content, stack.folders())
    active = {name: 1 for name, service in services.items() if not service.get("profiles")}
    record = {
        "schema": 1,
        "release": folder,
        "hash": content,
        "images": {},
        "services": {name: {} for name in services},
        "active": active,
    }
    return _compose_build.Build(folder, exists, text, record, [], b"", [], [])


def program(role: str, name: str, owner: str) -> t.Any:
    """Load a program of a role for one host."""
    loader = importlib.machinery.SourceFileLoader(f"{name}_{owner}", str(ROLES / role / "files" / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    with mock.patch("sys.dont_write_bytecode", True):
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    return module


class Fleet:
    """Edges and app hosts; the records lie on the first edge."""

    def __init__(self, folder: Path, edges: int = 1, hosts: int = 1) -> None:
        self.folder = folder
        self.clock = Clock(self)
        self.current: Task | None = None
        self.tasks: list[Task] = []
        self.runs = 0
        self.edge_names = [f"edge{number + 1}" for number in range(edges)]
        self.addresses = {name: f"10.0.0.{number + 11}" for number, name in enumerate(self.edge_names)}
        self.addresses |= {f"app{number + 1}": f"10.0.0.{number + 21}" for number in range(hosts)}
        self.edges = {name: Edge(self, name) for name in self.edge_names}
        self.hosts = {f"app{number + 1}": Host(self, f"app{number + 1}") for number in range(hosts)}
        self.record_host = self.edges["edge1"]
        # Edges the controller cannot reach; they go on serving.
        self.cut: set[str] = set()

    # -- processes -----------------------------------------------------------------

    def pause(self) -> None:
        if self.current is not None:
            self.current.pause()

    def between(self) -> None:
        """Stop between two tasks; there the end of a controller comes that leaves a task on a host to end."""
        if self.current is not None:
            self.current.begun += 1
        self.pause()
        if self.current is not None and self.current.dying:
            raise Killed

    def who(self) -> str:
        return self.current.name if self.current else "the test"

    def begin(self, name: str, body: t.Callable[[], t.Any]) -> Task:
        task = Task(self, name, body)
        self.tasks.append(task)
        return task

    @property
    def alive(self) -> list[Task]:
        return [task for task in self.tasks if not task.ended]

    # -- what stands in for the network and the machine ------------------------------

    def ask(self, edges: t.Sequence[t.Mapping[str, t.Any]], timeout: float = 3.0) -> dict[str, Shown | None]:
        """Return what each edge shows."""
        return {each["name"]: self.edges[self.name_of(each["url"])].answer() for each in edges}

    def name_of(self, url: str) -> str:
        """Return the name of the host that an address is of."""
        address = url.split("/")[2].partition(":")[0]
        return next(name for name, each in self.addresses.items() if each == address)

    def controller(self) -> Data:
        assert self.current is not None
        return self.current.controller

    def gone(self, controller: Data) -> bool:
        return any(task.ended for task in self.tasks if task.controller and task.controller == controller)

    def probe(self, options: Data, entry: _entry.Entry) -> tuple[Data, str]:
        """Ask the app through the public listener of an edge."""
        self.pause()
        ill = entry.release == UNREACHABLE
        seen = {"ok": not ill, "tries": 1, "seconds": 0.0, "answer": "500" if ill else "200"}
        return seen, "the status is 500" if ill else ""

    def adapter(self, module: str, app: str, folder: str, options: Data) -> _adapter.Adapter:
        return next(edge for edge in self.edges.values() if str(edge.state / app) == folder)

    @contextlib.contextmanager
    def patched(self) -> t.Iterator[None]:
        """Put the simulation in the place of proxies, engines, clock and network."""
        write, append = _file.write_atomic, _file.append_line

        def write_atomic(*arguments: t.Any, **options: t.Any) -> None:
            self.pause()
            write(*arguments, **options)

        def append_line(*arguments: t.Any, **options: t.Any) -> None:
            self.pause()
            append(*arguments, **options)

        def now() -> _clock.Instant:
            return _clock.Instant(self.clock.now, self.clock.now, "boot")

        with contextlib.ExitStack() as stack:
            for target, name, value in (
                (_file, "write_atomic", write_atomic),
                (_file, "append_line", append_line),
                (_file, "reserve", lambda folder: False),
                (_file, "time", self.clock),
                (_move, "time", self.clock),
                (_move, "probe", self.probe),
                (_clock, "now", now),
                (_edges, "ask", self.ask),
                (_controller, "this", self.controller),
                (_controller, "gone", self.gone),
                (_compose_build, "build", built),
                (compose_release, "Stack", SimulatedStack),
                (os, "fsync", lambda handle: None),
            ):
                stack.enter_context(mock.patch.object(target, name, value))
            stack.enter_context(mock.patch.dict(_adapter.KINDS, {"haproxy": t.cast(t.Any, self.adapter)}))
            try:
                yield
            finally:
                self.current = None
                for task in self.alive:
                    task.killed = True
                    for _time in range(200):
                        if task.ended:
                            break
                        task.go.release()
                        task.stopped.acquire()

    # -- what must hold at every step ----------------------------------------------

    def counted(self) -> dict[str, Edge]:
        """Return the edges that users may reach: up, confirmed, and not declared out by another one."""
        out = declared_out({name: edge.answer() for name, edge in self.edges.items()})
        return {
            name: edge
            for name, edge in self.edges.items()
            if edge.up and edge.memory["live"] and edge.status().confirmed and name not in out
        }

    def serving(self, colour: str) -> list[str]:
        """Return the edges that send users to a colour."""
        return [name for name, edge in self.counted().items() if serves(edge.memory["live"] or "", colour)]

    def verify(self) -> None:
        """Raise C(Broken) where requests are lost or two singletons run."""
        for colour in _entry.COLOURS:
            for name in self.serving(colour):
                for host in self.hosts.values():
                    if colour not in host.crashed and not host.runs(f"{APP}-{colour}"):
                        raise Broken(f"{name} serves {colour}, which does not run on {host.name}")
        bots = [
            host.name
            for host in self.hosts.values()
            for each in host.containers.values()
            if each.service == "bot" and each.running
        ]
        if len(bots) > 1:
            raise Broken(f"singleton bot runs on {', '.join(bots)}")
