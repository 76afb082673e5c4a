# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stack asks of the Docker command line. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_guard as guard
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_present as present
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as release
from ansible_collections.evenkeel.platform.plugins.module_utils import _registry as registry
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import Guard

PATIENCE = 15
SOCKET = "/var/run/docker.sock"
# Of networks and volumes that belong to an app and to none of its stacks.
SHARED_LABEL = "evenkeel.shared"


class Reply(NamedTuple):
    """What a command answered."""

    rc: int
    stdout: str
    stderr: str


class Commands:
    """Runs ``docker`` with an argument list and a fixed locale."""

    def __init__(self, run_command: Callable[..., Any], docker: str | None, guard: Guard | None = None) -> None:
        self._run_command = run_command
        self.docker = docker
        self.guard = guard

    @property
    def available(self) -> bool:
        """Whether the host has the command line at all."""
        return self.docker is not None

    def __call__(self, *arguments: str, data: str | None = None) -> Reply:
        if self.guard:
            self.guard.check()
        rc, stdout, stderr = self._run_command(
            [self.docker or "docker", *arguments],
            data=data,
            binary_data=True,
            environ_update={"LC_ALL": "C", "COMPOSE_ANSI": "never", "DOCKER_CLI_HINTS": "false"},
        )
        return Reply(rc, stdout, stderr)


class Engine:
    """What a stack needs to know of the engine and tell it."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands

    def normalise(self, definition: dict[str, Any], stack: Stack) -> dict[str, Any]:
        """Return the definition as compose understands it."""
        reply = self.commands(
            "compose",
            "--project-name",
            stack.name,
            "--project-directory",
            str(stack.path),
            "--file",
            "-",
            "--profile",
            "*",
            "config",
            "--format",
            "json",
            data=json.dumps(definition),
        )
        if reply.rc != 0 and re.search(
            "'compose' is not a docker command|unknown flag|unknown shorthand", reply.stderr
        ):
            raise release.ReleaseError(
                f"compose_release: compose on stack {stack.name}: found a Docker without it, need compose v2. "
                "Install its plugin, as the docker_host role does.",
                rc=reply.rc,
                stderr=reply.stderr,
            )
        if reply.rc != 0:
            line = _last_line(reply.stderr)
            raise release.ReleaseError(
                f"compose_release: definition on stack {stack.name}: found an error of compose ({line}), "
                "need a valid compose file. Correct compose_stack_definition.",
                rc=reply.rc,
                stderr=reply.stderr,
            )
        unset = sorted(set(re.findall(r'The \\?"([^"\\]+)\\?" variable is not set', reply.stderr)))
        if unset:
            raise release.ReleaseError(
                f"compose_release: variable on stack {stack.name}: found {', '.join('$' + name for name in unset)} "
                "in the definition, need values. Write $$ for a dollar sign."
            )
        normal: dict[str, Any] = json.loads(reply.stdout)
        return normal

    def answers(self) -> bool:
        """Whether there is an engine with compose v2, and it runs."""
        return (
            self.commands.available
            and self.commands("version", "--format", "{{ .Server.Version }}").rc == 0
            and self.commands("compose", "version", "--short").rc == 0
        )

    def image(self, reference: str) -> dict[str, Any] | None:
        """Return what the engine knows of an image it has, or nothing."""
        reply = self.commands("image", "inspect", reference)
        if reply.rc != 0:
            if "no such image" in reply.stderr.lower():
                return None
            raise release.ReleaseError(
                f"compose_release: engine on this host: found {_last_line(reply.stderr)}, need an answer. "
                "Start the engine.",
                rc=reply.rc,
                stderr=reply.stderr,
            )
        data = json.loads(reply.stdout)[0]
        config = data.get("Config") or {}
        return {
            "id": data.get("Id") or "",
            "digests": data.get("RepoDigests") or [],
            "user": config.get("User") or "",
            "volumes": sorted(config.get("Volumes") or {}),
            "healthcheck": (config.get("Healthcheck") or {}).get("Test") or [],
            "entrypoint": config.get("Entrypoint") or [],
            "command": config.get("Cmd") or [],
            "environment": config.get("Env") or [],
            "labels": config.get("Labels") or {},
        }

    def pull(self, reference: str, where: str) -> None:
        """Bring an image here, or say in one sentence why not."""
        reply = self.commands("pull", "--quiet", reference)
        if reply.rc != 0:
            raise release.ReleaseError(
                release.pull_sentence(reference, where, reply.stderr or reply.stdout),
                rc=reply.rc,
                stderr=reply.stderr,
                fault=release.fault_of(reply.stderr or reply.stdout),
            )

    def pg_version(self, volume: str) -> int | None:
        """Return the PostgreSQL major version that wrote a volume, if one did."""
        reply = self.commands("volume", "inspect", "--format", "{{ .Mountpoint }}", volume)
        if reply.rc != 0:
            return None
        return pg_version_below(Path(reply.stdout.strip()))

    def unshared(self, shared: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return kind and options of each network and volume of a stack that is not there."""
        found = []
        for kind in ("network", "volume"):
            wanted = shared.get(f"{kind}s") or []
            if wanted:
                there = self.commands(kind, "ls", "--format", "{{ .Name }}").stdout.split()
                found += [(kind, options) for options in wanted if options["name"] not in there]
        return found

    def make(self, kind: str, options: dict[str, Any]) -> Reply:
        """Make a network or a volume that outlives the stack."""
        words = ["--label", f"{SHARED_LABEL}=true"]
        for key, value in sorted((options.get("labels") or {}).items()):
            words += ["--label", f"{key}={value}"]
        for key, value in sorted((options.get("driver_opts") or {}).items()):
            words += ["--opt", f"{key}={value}"]
        words += ["--driver", options["driver"]] if options.get("driver") else []
        words += ["--internal"] if options.get("internal") else []
        words += ["--ipv6"] if options.get("enable_ipv6") else []
        reply = self.commands(kind, "create", *words, options["name"])
        # Another stack of the app may have made it meanwhile.
        return Reply(0, "", "") if "already exists" in reply.stderr else reply

    def unmake(self, kind: str, name: str) -> bool:
        """Remove a network or a volume that nothing uses; tell whether it is gone."""
        return self.act(kind, "rm", name).rc == 0

    def act(self, *arguments: str) -> Reply:
        """Run a command that changes what runs; the edges are asked again right before it."""
        if self.commands.guard:
            self.commands.guard.ask()
        return self.commands(*arguments)

    def up(self, stack: Stack, folder: str, wait_seconds: int, recreate: bool = True) -> Reply:
        """Start a release and wait until it is healthy."""
        return self.act(*up_arguments(stack, folder, wait_seconds, recreate))

    def down(self, stack: Stack, folder: str | None = None) -> Reply:
        """Remove the containers of a stack; its volumes stay."""
        return self.act(*compose_arguments(stack, folder, "down", "--remove-orphans"))

    def remove(self, stack: Stack, services: list[str]) -> Reply:
        """Stop and remove the containers of some services of a stack, by what the engine itself knows of them."""
        names = [
            str(each["Id"])
            for each in self.containers(stack.name)
            if ((each.get("Config") or {}).get("Labels") or {}).get("com.docker.compose.service") in services
        ]
        reply = self.act("stop", *names)
        return reply if reply.rc != 0 else self.act("rm", "--force", *names)

    def stop(self, stack: Stack, folder: str | None = None) -> Reply:
        """Stop the containers of a stack."""
        return self.act(*compose_arguments(stack, folder, "stop"))

    def hashes(self, stack: Stack, folder: str) -> dict[str, str]:
        """Return the hash by which compose sees whether a container is of this release, by service."""
        reply = self.commands(*compose_arguments(stack, folder, "config", "--hash", "*"))
        if reply.rc != 0:
            return {}
        return dict(line.split()[:2] for line in reply.stdout.splitlines() if len(line.split()) > 1)

    def lookup(self, reference: str, login: str, where: str) -> str:
        """Return an image's digest in its registry, which is asked by the engine and gives nothing else."""
        connection = _EngineConnection(SOCKET)
        headers = {"X-Registry-Auth": registry.engine_header(login)} if login else {}
        try:
            connection.request("GET", f"/distribution/{reference}/json", headers=headers)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
            if answer.status == 200:
                return str(json.loads(text)["Descriptor"]["digest"])
            with contextlib.suppress(ValueError, AttributeError):
                text = str(json.loads(text).get("message") or text)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as exc:
            text = f"{type(exc).__name__}: {exc}"
        finally:
            connection.close()
        raise release.ReleaseError(
            release.pull_sentence(reference, where, text), fault=release.fault_of(text), output=text
        )

    def services(self, stack: str) -> list[str]:
        """Return the services of a stack that have a container, running or not."""
        labels = [(each.get("Config") or {}).get("Labels") or {} for each in self.containers(stack)]
        return sorted({str(one.get("com.docker.compose.service")) for one in labels})

    def containers(self, stack: str) -> list[dict[str, Any]]:
        """Return what runs, or ran, under a stack's name, without the containers of single commands."""
        reply = self.commands(
            "ps", "--all", "--no-trunc", "--quiet", "--filter", f"label=com.docker.compose.project={stack}"
        )
        names = reply.stdout.split()
        if reply.rc != 0 or not names:
            return []
        reply = self.commands("inspect", *names)
        try:
            found: list[dict[str, Any]] = json.loads(reply.stdout)
        except ValueError:
            return []
        # A command that somebody runs in a container of its own is none of the stack's services.
        return [dict(each) for each in present.standing(found)]

    def volumes(self, stack: str) -> list[str]:
        """Return the volumes compose made for a stack."""
        reply = self.commands("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={stack}")
        return sorted(reply.stdout.split()) if reply.rc == 0 else []

    def unsteady(self, stack: str, within_seconds: int) -> list[str]:
        """Name the services that do not run, are unhealthy, or were started again by the engine of late."""
        found = set()
        for container in self.containers(stack):
            state = container.get("State") or {}
            health = (state.get("Health") or {}).get("Status") or ""
            again = bool(container.get("RestartCount")) and _age_seconds(state.get("StartedAt") or "") < within_seconds
            runs = state.get("Running") and not state.get("Restarting") and health in ("", "healthy")
            if again or not runs or state.get("OOMKilled"):
                labels = (container.get("Config") or {}).get("Labels") or {}
                found.add(labels.get("com.docker.compose.service") or container.get("Name") or "")
        return sorted(found)

    def _at_rest(self, container: dict[str, Any]) -> dict[str, Any]:
        """Wait a moment for a container that starts again and again to fall: only then it tells its exit code."""
        for _attempt in range(PATIENCE):
            if not container.get("RestartCount") or not (container.get("State") or {}).get("Running"):
                break
            time.sleep(0.2)
            reply = self.commands("inspect", container["Id"])
            if reply.rc != 0:
                break
            container = json.loads(reply.stdout)[0]
        return container

    def explain(self, stack: str, values: list[str], lines: int = 20) -> list[str]:
        """Say of each service that does not run well how it ended and what it said last."""
        found = []
        for seen in sorted(self.containers(stack), key=lambda entry: entry.get("Name") or ""):
            container = self._at_rest(seen)
            state = container.get("State") or {}
            health = state.get("Health") or {}
            status = health.get("Status") or ""
            fine = state.get("Running") and not state.get("Restarting") and status in ("", "healthy")
            if fine and not container.get("RestartCount"):
                continue
            labels = (container.get("Config") or {}).get("Labels") or {}
            service = labels.get("com.docker.compose.service") or container.get("Name") or ""
            said = [f"service {service}: {state.get('Status') or 'unknown'}"]
            if status:
                said.append(f"health {status}")
            if not state.get("Running") or state.get("Restarting"):
                said.append(f"exit code {state.get('ExitCode')}")
            if state.get("OOMKilled"):
                said.append("killed for want of memory")
            if container.get("RestartCount"):
                said.append(f"{container['RestartCount']} restarts")
            if state.get("Error"):
                said.append(str(state["Error"]))
            probes = health.get("Log") or []
            if status not in ("", "healthy") and probes:
                last = probes[-1]
                said.append(f"last probe exit {last.get('ExitCode')}: {str(last.get('Output') or '').strip()[:200]}")
            found.append(release.mask("; ".join(said), values))
            reply = self.commands("logs", "--tail", str(lines), container.get("Id") or "")
            for line in (reply.stdout + reply.stderr).strip().splitlines()[-lines:]:
                found.append(release.mask(f"  {service} | {line}", values))
        return found


class _EngineConnection(http.client.HTTPConnection):
    """A connection to the engine's own socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def compose_arguments(stack: Stack, folder: str | None, *arguments: str) -> list[str]:
    """Return the arguments of compose for a release of a stack, or for what runs under its name."""
    where = ["--file", str(stack.file(folder))] if folder else []
    return ["compose", "--project-name", stack.name, "--project-directory", str(stack.path), *where, *arguments]


def up_arguments(stack: Stack, folder: str, wait_seconds: int, recreate: bool = True) -> list[str]:
    """Return the arguments that start a release. Its images are pinned, so one that is here is never pulled."""
    return compose_arguments(
        stack,
        folder,
        "up",
        "--detach",
        "--no-build",
        "--pull",
        "missing",
        *(["--remove-orphans"] if recreate else ["--no-recreate"]),
        "--wait",
        "--wait-timeout",
        str(wait_seconds),
    )


def pg_version_below(path: Path) -> int | None:
    """Return what PG_VERSION says in a data folder or in the folders images put it in."""
    for below in ("", "data", "pgdata", "pgroot/data"):
        with contextlib.suppress(OSError):
            return guard.major((path / below / "PG_VERSION").read_text(encoding="utf-8").strip())
    # Since 18 the images keep each major version in a folder of its own, below /var/lib/postgresql.
    numbers = [int(file.parent.parent.name) for file in path.glob("[0-9]*/docker/PG_VERSION")]
    return max(numbers, default=None)


def _age_seconds(stamp: str) -> float:
    """Return how long ago a moment of the engine was; it writes nanoseconds, in UTC."""
    match = re.match(r"\d+-\d+-\d+T\d+:\d+:\d+", stamp)
    if match is None:
        return 0.0
    moment = datetime.datetime.fromisoformat(match[0]).replace(tzinfo=datetime.UTC)
    return (datetime.datetime.now(datetime.UTC) - moment).total_seconds()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
