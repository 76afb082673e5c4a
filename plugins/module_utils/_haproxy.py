# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HAProxy's runtime interface through the master socket: every worker, old ones included.

Seen on 2.6 and 3.0, and relied on here:

- An answer to C(show ...) or C(set ...) ends with an empty line and the end of the stream once our
  side is shut down; a wrong pid on 3.0 answers but leaves the stream open.
- After a reload the old worker goes on serving the connections it has, so it is moved as well.
- With a server state file, a reload plants the last check's status (C(L7OK)) although no check has
  run yet; only its code tells: 0 when planted, the HTTP status when passed.
- A stopping worker refuses C(set server) with C(Proxy is disabled.), and its checks stand still.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import re
import socket
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import ProxyDown, sentence

DEFAULT_MASTER = "/run/haproxy-master.sock"
CONFIG_DIR = Path("/etc/haproxy")
# Where edge-sync writes the digest of the configuration that HAProxy loaded.
LOADED = Path("/run/evenkeel/edge-loaded")
_PROC = re.compile(r"(?P<pid>\d+)\s+(?P<type>master|worker)\s+(?P<reloads>\d+)\s")
_FAILED = re.compile(r"\[failed:\s*(\d+)\]")
_STREAM = re.compile(r"(?P<id>0x[0-9a-f]+): .*?\bsrc=(?P<src>\S+) fe=(?P<fe>\S+) be=(?P<be>\S+)")
_MAP_LINE = re.compile(r"0x[0-9a-f]+ (\S+) ?(.*)\Z")
ATTEMPTS = 5
_GONE = "Can't find the target PID"


def config_files(folder: Path = CONFIG_DIR) -> list[Path]:
    """Return the configuration files that HAProxy reads, in its order."""
    return [path for path in [folder / "haproxy.cfg", *sorted((folder / "conf.d").glob("*.cfg"))] if path.is_file()]


def digest(folder: Path = CONFIG_DIR) -> str:
    """Return a hash over everything that HAProxy reads when it starts, but for maps and certificates."""
    total = hashlib.sha256()
    for path in [*config_files(folder), *sorted((folder / "pages").glob("*.html"))]:
        total.update(f"{path.name}\0".encode())
        total.update(path.read_bytes())
        total.update(b"\0")
    return total.hexdigest()


class WorkerGone(Exception):
    """The worker ended between the listing and the command."""


@dataclasses.dataclass(frozen=True)
class Worker:
    pid: int
    old: bool


@dataclasses.dataclass(frozen=True)
class Server:
    """One row of C(show stat) of a worker."""

    backend: str
    name: str
    status: str
    check: str
    check_code: int
    sessions: int

    @property
    def healthy(self) -> bool:
        return healthy(self)


def healthy(server: Server) -> bool:
    """Tell whether a layer-7 check has passed since this worker started, and the server is up."""
    return server.status == "UP" and server.check == "L7OK" and server.check_code > 0


def parse_workers(text: str) -> list[Worker]:
    """Return the workers of C(show proc), the newest first; C(old) is all but the current one.

    After a reload that failed the master lists even the serving worker as old: the newest is the current one then.
    """
    found: list[tuple[bool, int, int]] = []
    old = False
    for line in text.splitlines():
        if line.startswith("#"):
            old = line.strip() == "# old workers"
            continue
        match = _PROC.match(line)
        if match and match["type"] == "worker" and int(match["pid"]) > 0:
            # The third column counts the reloads a worker has seen.
            found.append((old, int(match["reloads"]), int(match["pid"])))
    found.sort(key=lambda each: each[:2])
    return [Worker(pid, was_old and index > 0) for index, (was_old, _reloads, pid) in enumerate(found)]


def parse_failed(text: str) -> int:
    """Return how many reloads in a row have failed, by C(show proc)."""
    match = _FAILED.search(text)
    return int(match[1]) if match else 0


def parse_streams(text: str) -> dict[str, tuple[str, str]]:
    """Return frontend and backend of each stream of C(show sess); the backend is empty until one is chosen."""
    result = {}
    for line in text.splitlines():
        match = _STREAM.match(line)
        if match:
            result[f"{match['id']} {match['src']}"] = (match["fe"], "" if match["be"] == "<NONE>" else match["be"])
    return result


def parse_map(text: str) -> dict[str, str]:
    """Return the entries of C(show map <file>)."""
    result: dict[str, str] = {}
    for line in text.splitlines():
        match = _MAP_LINE.match(line)
        if match:
            result.setdefault(match[1], match[2].strip())
    return result


def parse_stat(text: str) -> tuple[list[Server], dict[str, int]]:
    """Return the servers and the current sessions of each backend (those in its queue included)."""
    rows = csv.DictReader(io.StringIO(text.lstrip("# ").strip() + "\n"))
    servers: list[Server] = []
    sessions: dict[str, int] = {}
    for row in rows:
        name = row.get("svname") or ""
        if name == "FRONTEND" or not row.get("pxname"):
            continue
        current = int(row.get("scur") or 0)
        if name == "BACKEND":
            sessions[row["pxname"]] = current + int(row.get("qcur") or 0)
            continue
        servers.append(
            Server(
                backend=row["pxname"],
                name=name,
                status=row.get("status") or "",
                check=(row.get("check_status") or "").replace("*", "").strip(),
                check_code=int(row.get("check_code") or 0),
                sessions=current,
            )
        )
    return servers, sessions


class Master:
    """One command, one connection; answers are text."""

    def __init__(self, path: str, timeout: float, module: str) -> None:
        self.path, self.timeout, self.module = path, timeout, module

    def command(self, text: str, payload: str = "") -> str:
        """Return the whole answer to one command; C(payload) is what it reads up to an empty line."""
        if "\n" in text or ";" in text:
            raise ValueError("one command at a time")
        # An empty line would end the payload.
        lines = [line for line in payload.splitlines() if line.strip()]
        data = text.encode() + (" <<\n" + "\n".join(lines) + "\n" if lines else "").encode() + b"\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(self.timeout)
            try:
                stream.connect(self.path)
                stream.sendall(data)
                stream.shutdown(socket.SHUT_WR)
                answer = b""
                while True:
                    part = stream.recv(65536)
                    answer += part
                    if not part or answer.startswith(_GONE.encode()):
                        break
            except TimeoutError:
                raise ProxyDown(
                    sentence(
                        self.module,
                        "HAProxy does not answer",
                        self.path,
                        f"no end of the answer to '{text}' after {self.timeout:g} s",
                        "an answer",
                        "See 'systemctl status haproxy'",
                    )
                ) from None
            except OSError as exc:
                raise ProxyDown(
                    sentence(
                        self.module,
                        "HAProxy is not running",
                        self.path,
                        str(exc.strerror or exc),
                        "its master socket to answer",
                        "Start haproxy, or set allow_down where that is meant",
                    )
                ) from None
        return answer.decode("utf-8", "replace").strip("\n")

    def workers(self) -> list[Worker]:
        workers = parse_workers(self.command("show proc"))
        if not workers:
            raise ProxyDown(
                sentence(
                    self.module,
                    "HAProxy has no worker",
                    self.path,
                    "a master alone",
                    "a current worker",
                    "See 'systemctl status haproxy'",
                )
            )
        return workers

    def worker(self, worker: Worker, text: str, payload: str = "") -> str:
        answer = self.command(f"@!{worker.pid} {text}", payload)
        if answer.startswith(_GONE):
            raise WorkerGone(worker.pid)
        if not answer and text.startswith("show "):
            raise WorkerGone(worker.pid)
        return answer

    def read_map(self, worker: Worker, path: str) -> dict[str, str] | None:
        """Return the map of a worker, None when its configuration has no such map."""
        answer = self.command(f"@!{worker.pid} show map {path}")
        if answer.startswith(_GONE):
            raise WorkerGone(worker.pid)
        if answer.startswith("Unknown map"):
            return None
        return parse_map(answer)

    def write_map(self, worker: Worker, path: str, key: str, value: str | None) -> str:
        """Set one key, or remove it for None; return what HAProxy objects, or an empty string."""
        if value is None:
            answer = self.worker(worker, f"del map {path} {key}")
            return "" if answer.startswith("Key not found") else answer
        answer = self.worker(worker, f"set map {path} {key} {value}")
        if answer.startswith("entry not found"):
            answer = self.worker(worker, f"add map {path} {key} {value}")
        return answer

    def stat(self, worker: Worker) -> tuple[list[Server], dict[str, int]]:
        return parse_stat(self.worker(worker, "show stat"))

    def streams(self, worker: Worker) -> dict[str, tuple[str, str]]:
        return parse_streams(self.worker(worker, "show sess"))


@dataclasses.dataclass
class Reading:
    """One key of one map in one worker."""

    pid: int
    old: bool
    present: bool
    value: str | None


def read_key(master: Master, path: str, key: str) -> list[Reading]:
    """Return the key in every worker that is alive, the current one first."""
    for _attempt in range(ATTEMPTS):
        result: list[Reading] = []
        for worker in master.workers():
            try:
                entries = master.read_map(worker, path)
            except WorkerGone:
                if worker.old:
                    continue
                break
            result.append(Reading(worker.pid, worker.old, entries is not None, (entries or {}).get(key)))
        else:
            return result
    raise unstable(master)


def unstable(master: Master) -> ProxyDown:
    return ProxyDown(
        sentence(
            master.module,
            "HAProxy does not stay up",
            master.path,
            f"a current worker that ended at once, {ATTEMPTS} times",
            "one that answers",
            "See 'journalctl -u haproxy'",
        )
    )


def write_key(master: Master, path: str, key: str, value: str | None) -> list[str]:
    """Set the key in every worker that has the map; return what was objected."""
    problems: list[str] = []
    for worker in master.workers():
        try:
            answer = master.write_map(worker, path, key, value)
        except WorkerGone:
            if not worker.old:
                problems.append(f"worker {worker.pid} ended during the move")
            continue
        if answer.startswith("Unknown map") and worker.old:
            continue  # it was started before the app had a map, so it serves nothing of it
        if answer:
            problems.append(f"worker {worker.pid} answered: {answer.splitlines()[0]}")
    return problems


def wrong(readings: list[Reading], value: str | None) -> list[Reading]:
    """Return the workers that do not hold the value; an old one without the map is no matter."""
    return [each for each in readings if each.value != value and (each.present or not each.old)]
