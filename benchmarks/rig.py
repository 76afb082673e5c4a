# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab for tests and benchmarks: run playbooks like a user, with load in parallel, and inspect the result.

Each process has its own group and a time limit, and is stopped by its id.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from ansible_collections.evenkeel.platform.benchmarks import oracle, request
from ansible_collections.evenkeel.platform.benchmarks.load import Target

ROOT = Path(__file__).resolve().parent.parent
LAB_ID = int(os.environ.get("EVENKEEL_LAB_ID") or 0)
ADDRESS = "127.0.0.1"
PORT = 8443 + 100 * LAB_ID
URL = f"https://{ADDRESS}:{PORT}"
HOST = "shop.lab.test"
APP = "shop"
STATE = f"/var/lib/evenkeel/{APP}"
# The second edge of a lab with EVENKEEL_LAB_EDGES=2.
EDGES = int(os.environ.get("EVENKEEL_LAB_EDGES") or 1)
URLS = [URL, f"https://{ADDRESS}:{PORT + 1}"][:EDGES]
PLAYBOOK_SECONDS = 600
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
BANNER = re.compile(r"^TASK \[(?:[\w.]+ : )?(?P<name>.+?)\] \**$", re.MULTILINE)
RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=\d+.*)$", re.MULTILINE)


Answer = TypeVar("Answer")


class Silent(Exception):
    """The lab gave no valid answer."""


def environment() -> dict[str, str]:
    """What a user's shell would have: the checkout's own tools first, no colours, and each task with its result."""
    tools = [str(ROOT / ".cache" / "venv" / "bin"), str(Path(sys.executable).parent), "/usr/bin"]
    env = {
        **os.environ,
        "PATH": os.pathsep.join([*tools, os.environ.get("PATH", "")]),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
    }
    if EDGES > 1:
        env["ANSIBLE_INVENTORY"] = f"{ROOT / 'lab' / 'edge2.yml'},{ROOT / 'inventories' / 'lab'}"
    for name in ("ANSIBLE_FORCE_COLOR", "EVENKEEL_COUNTS_FILE", "PYTHONPATH", "PYTEST_ADDOPTS"):
        env.pop(name, None)
    return env


# Playbooks


@dataclass
class Play:
    """A running or finished playbook."""

    argv: list[str]
    log: Path
    process: subprocess.Popen[bytes]
    began: float
    ended: float = 0.0
    counts_file: Path | None = None

    @functools.cached_property
    def counts(self) -> dict[str, Any]:
        """What a counted run asked of its hosts: tasks, remote runs, polls, and what changed."""
        if self.counts_file is None or not self.counts_file.exists():
            raise Silent(f"rig: {self.command}: found no counts, need a counted run that ended.\n{self.tail()}")
        counts: dict[str, Any] = json.loads(self.counts_file.read_text(encoding="utf-8"))
        return counts

    @property
    def output(self) -> str:
        return ESCAPES.sub("", self.log.read_text(encoding="utf-8", errors="replace"))

    @property
    def said(self) -> str:
        """Return the output with single spaces, so that wrapped sentences can be found."""
        return " ".join(self.output.split())

    @property
    def code(self) -> int:
        return self.process.wait(0)

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def command(self) -> str:
        return shlex.join(self.argv)

    @property
    def tasks(self) -> list[str]:
        return [match["name"] for match in BANNER.finditer(self.output)]

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        """What each host was asked and answered: of a counted run, else of the last PLAY RECAP."""
        if self.counts_file is not None:
            hosts = self.counts["hosts"].items()
            return {host: {**summary, "failed": summary["failures"]} for host, summary in hosts}
        _, _, text = self.output.rpartition("PLAY RECAP")
        return {
            match["host"]: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", match["counts"])}
            for match in RECAP.finditer(text)
        }

    @property
    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.recap.items() if counts["changed"]}

    @property
    def changed_tasks(self) -> list[str]:
        """Each task that reported changed, for the reader of a failure."""
        if self.counts_file is not None:
            return list(self.counts["changed_tasks"])
        found, task = [], ""
        for line in self.output.splitlines():
            banner = BANNER.match(line)
            if banner:
                task = banner["name"]
            elif line.startswith("changed: "):
                found.append(f"{task}: {line}")
        return found

    def wait(self, limit_seconds: float = PLAYBOOK_SECONDS) -> Play:
        try:
            self.process.wait(max(0.1, self.began + limit_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill(self.process)
            raise Silent(f"rig: {self.command}: found no end within {limit_seconds:g} s.\n{self.tail()}") from None
        self.ended = time.monotonic()
        return self

    def wait_for_task(self, pattern: str, limit_seconds: float = 300) -> str:
        """Wait until a task with a name starts, and return its name; raise if the run ends first."""
        wanted = re.compile(pattern)
        until = time.monotonic() + limit_seconds
        while time.monotonic() < until:
            running = self.process.poll() is None
            name = next((task for task in self.tasks if wanted.match(task)), None)
            if name:
                return name
            if not running:
                raise Silent(f"rig: {self.command}: found its end before a task {pattern!r}.\n{self.tail()}")
            time.sleep(0.03)
        raise Silent(f"rig: {self.command}: found no task {pattern!r} within {limit_seconds:g} s.\n{self.tail()}")

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.output.splitlines()[-lines:])


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its group at once, like a power cut of the controller."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def begin(*arguments: str, folder: Path, counted: bool = False) -> Play:
    """Start `ansible-playbook` with these arguments in the checkout, its output in a file of the folder.

    A counted run prints what users see, and its counts are there once it has ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"play-{time.time_ns()}.log"
    argv = ["ansible-playbook", *arguments]
    env, counts_file = environment(), None
    if counted:
        counts_file = log.with_suffix(".counts.json").absolute()
        env |= {"ANSIBLE_STDOUT_CALLBACK": "evenkeel.platform.progress", "EVENKEEL_COUNTS_FILE": str(counts_file)}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Play(argv, log, process, time.monotonic(), counts_file=counts_file)


def play(*arguments: str, folder: Path, limit_seconds: float = PLAYBOOK_SECONDS, counted: bool = False) -> Play:
    """Run a playbook to its end."""
    run = begin(*arguments, folder=folder, counted=counted)
    try:
        return run.wait(limit_seconds)
    finally:
        if run.process.poll() is None:
            kill(run.process)


def on_hosts(pattern: str, script: str, limit_seconds: float = 60) -> dict[str, str]:
    """Run a shell script on hosts as root, and return the output of each host."""
    argv = ["ansible", pattern, "-b", "-m", "ansible.builtin.shell", "-a", script]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={**environment(), "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_seconds,
        check=False,
    )
    try:
        results = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]
        return {host: result["stdout"] for host, result in results.items()}
    except (ValueError, KeyError, IndexError):
        raise Silent(f"rig: {shlex.join(argv)}: found {done.stdout[-2000:]}{done.stderr[-2000:]}") from None


# State of the lab


def get(path: str, url: str = URL, timeout_seconds: float = 10) -> tuple[int, str]:
    """Send one request through the edge, and return status and body."""
    try:
        return request.get(Target.parse(url, HOST), path, timeout_seconds)
    except request.NoAnswer as exc:
        raise Silent(f"rig: {url}{path}: found {exc}.") from exc


def live_release(url: str = URL) -> str:
    """Return the release that the app reports through the edge."""
    status, body = get("/api/version", url)
    if status != 200:
        raise Silent(f"rig: {url}/api/version: found status {status}, need 200. {body[:200]}")
    return str(json.loads(body)["release"])


def reachable() -> str:
    """Return why the lab cannot be used; empty if it is up."""
    try:
        with socket.create_connection((ADDRESS, 2211 + 100 * LAB_ID), timeout=3):
            return ""
    except OSError as exc:
        return f"the lab is down: port {2211 + 100 * LAB_ID} of {ADDRESS} answers {exc}. Run make lab."


SNAPSHOT = (
    "for id in $(docker ps --all --quiet --no-trunc --filter label=com.docker.compose.project 2>/dev/null | sort); do"
    " docker inspect --format '{% raw %}{{.Id}} {{.Name}} {{.State.Status}} {{.RestartCount}}{% endraw %}' $id; done;"
    f" cat {STATE}/live.map {STATE}/edge.json {STATE}/routes-*.map 2>/dev/null || true"
)


def until(seen: Callable[[], Answer], limit_seconds: float = 60, pause_seconds: float = 1) -> Answer:
    """Call a function until its result is true, or return the last result after the timeout."""
    last = time.monotonic() + limit_seconds
    while not (answer := seen()):
        if time.monotonic() > last:
            break
        time.sleep(pause_seconds)
    return answer


def snapshot(pattern: str = "edge:app") -> dict[str, str]:
    """Return the state that a refused run must not change: containers, live entry, edge record, routes."""
    return on_hosts(pattern, SNAPSHOT)


def live_entry() -> str:
    """Return the live entry from the edges' files, which must agree."""
    entries = set(on_hosts("edge", f"cat {STATE}/live.map").values())
    if len(entries) != 1:
        raise Silent(f"rig: live entry: found {sorted(entries)}, need the same on every edge.")
    return entries.pop().split(maxsplit=1)[1]


def containers(colour: str) -> dict[str, list[str]]:
    """Return the ids of a colour's running containers by host."""
    script = f"docker ps --quiet --no-trunc --filter label=com.docker.compose.project={APP}-{colour} | sort"
    return {host: text.split() for host, text in on_hosts("app", script).items()}


def bot_overlaps() -> dict[str, Any]:
    """Return how often two bots polled at once, counted by their upstream."""
    script = (
        "python3 -c 'import urllib.request as r;"
        """print(r.urlopen("http://{{ platform_address }}:8090/stats").read().decode())'"""
    )
    (text,) = on_hosts("data1", script).values()
    stats: dict[str, Any] = json.loads(text)
    return stats


def proxy_retries() -> dict[str, int]:
    """Return the edges' counts of retries and redispatches."""
    script = (
        'python3 -c \'import socket; c = socket.socket(socket.AF_UNIX); c.connect("/run/haproxy/admin.sock");'
        ' c.sendall(b"show stat json" + bytes([10])); print(b"".join(iter(lambda: c.recv(65536), b"")).decode())\''
    )
    found = {"retries": 0, "redispatches": 0}
    for text in on_hosts("edge", script).values():
        for fields in json.loads(text):
            row = {field["field"]["name"]: field["value"]["value"] for field in fields}
            if row.get("svname") == "BACKEND":
                found["retries"] += int(row.get("wretr") or 0)
                found["redispatches"] += int(row.get("wredis") or 0)
    return found


# Load


@dataclass
class Outcome:
    """The summary of a load, and the shop's orders of it."""

    summary: dict[str, Any]
    orders: dict[str, Any]
    records_file: Path
    failed: int = field(init=False)

    def __post_init__(self) -> None:
        self.failed = int(self.summary["failed"])

    @property
    def releases(self) -> set[str]:
        return set(self.summary["releases"])

    @functools.cached_property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.records_file.read_text(encoding="utf-8").splitlines()]


class Traffic:
    """A load in parallel to a `with` block; `outcome` is set afterwards."""

    def __init__(
        self,
        folder: Path,
        rate: float,
        seconds: float = 900,
        tail_seconds: float = 2,
        url: str = URL,
        timeout_seconds: float = 5,
        upload_share: float = 0,
        web_sockets: int = 0,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.url = url
        self.tail_seconds = tail_seconds
        stamp = time.time_ns()
        self.summary_file = folder / f"load-{stamp}.json"
        self.records_file = folder / f"load-{stamp}.jsonl"
        self.ids_file = folder / f"load-{stamp}.ids"
        self.argv = [
            sys.executable,
            str(ROOT / "benchmarks" / "load.py"),
            *("--url", url, "--host", HOST, "--rate", str(rate), "--seconds", str(seconds)),
            *("--timeout", str(timeout_seconds)),
            *("--upload-share", str(upload_share)),
            *("--web-sockets", str(web_sockets)),
            *("--summary-file", str(self.summary_file)),
            *("--records-file", str(self.records_file)),
            *("--ids-file", str(self.ids_file)),
        ]
        self.process: subprocess.Popen[bytes] | None = None
        self._outcome: Outcome | None = None

    def __enter__(self) -> Traffic:
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        stream: IO[bytes] | None = self.process.stderr
        assert stream is not None
        line = stream.readline().decode()
        if "running" not in line:
            kill(self.process)
            raise Silent(f"rig: load: found {line + stream.read().decode()!r}, need it running.")
        time.sleep(1)  # some traffic before the block starts
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if kind is None:
            time.sleep(self.tail_seconds)
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            kill(self.process)
            raise Silent("rig: load: found no end within 60 s.") from None
        finally:
            assert self.process.stderr is not None
            self.process.stderr.close()

    @property
    def outcome(self) -> Outcome:
        if self._outcome is None:
            summary = json.loads(self.summary_file.read_text(encoding="utf-8"))
            acknowledged = self.ids_file.read_text(encoding="ascii").split()
            stored = oracle.held_by(Target.parse(self.url, HOST))
            self._outcome = Outcome(summary, oracle.compare(acknowledged, stored, summary["run"]), self.records_file)
        return self._outcome


@contextlib.contextmanager
def ended(run: Play) -> Iterator[Play]:
    """Stop the run at the end of the block in any case."""
    try:
        yield run
    finally:
        if run.process.poll() is None:
            kill(run.process)
