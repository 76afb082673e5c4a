# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Docker command line and the folders of a stack. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_guard as guard
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as release


class Reply(NamedTuple):
    """What a command answered."""

    rc: int
    stdout: str
    stderr: str


class Commands:
    """Runs ``docker`` with an argument list and a fixed locale."""

    def __init__(self, run_command: Callable[..., Any], docker: str | None) -> None:
        self._run_command = run_command
        self.docker = docker

    @property
    def available(self) -> bool:
        """Whether the host has the command line at all."""
        return self.docker is not None

    def __call__(self, *arguments: str, data: str | None = None) -> Reply:
        rc, stdout, stderr = self._run_command(
            [self.docker or "docker", *arguments],
            data=data,
            binary_data=True,
            environ_update={"LC_ALL": "C", "COMPOSE_ANSI": "never", "DOCKER_CLI_HINTS": "false"},
        )
        return Reply(rc, stdout, stderr)


class Stack:
    """The folders of one stack."""

    def __init__(self, name: str, base_dir: str) -> None:
        self.name = name
        self.base = base_dir
        self.path = os.path.join(base_dir, name)
        self.releases = os.path.join(self.path, "releases")
        self.secrets = os.path.join(self.path, "secrets")
        self.boot_marker = os.path.join(self.path, "boot")

    def folders(self) -> list[str]:
        """Return the release folders there are."""
        try:
            return sorted(entry for entry in os.listdir(self.releases) if release.FOLDER.match(entry))
        except FileNotFoundError:
            return []

    def current(self) -> str | None:
        """Return the release the pointer names, if that folder is there."""
        try:
            name = os.path.basename(os.readlink(os.path.join(self.path, "current")))
        except OSError:
            return None
        return name if os.path.isfile(self.file(name)) else None

    def file(self, folder: str) -> str:
        """Return the path of a release's compose file."""
        return os.path.join(self.releases, folder, "compose.yaml")

    def record(self, folder: str | None) -> dict[str, Any]:
        """Return what was kept of a release; an unreadable record is an error."""
        if not folder:
            return {}
        path = os.path.join(self.releases, folder, "release.json")
        try:
            with open(path, encoding="utf-8") as handle:
                return json.load(handle)
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise release.ReleaseError(
                f"compose_release: record on {path}: found {exc}, need JSON. Move the release's folder away."
            ) from exc

    def text(self, folder: str | None) -> str:
        """Return a release's compose file, or nothing."""
        if not folder:
            return ""
        with contextlib.suppress(FileNotFoundError), open(self.file(folder), encoding="utf-8") as handle:
            return handle.read()
        return ""

    def secret_values(self, folder: str | None = None) -> dict[str, str]:
        """Return all secrets kept for this stack by their path, for masking."""
        found = {}
        for root, _folders, files in os.walk(self.secrets):
            for file in files:
                if file == release.LOADER_NAME:
                    continue
                path = os.path.join(root, file)
                with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as handle:
                    found[os.path.relpath(path, self.secrets)] = handle.read().rstrip("\n")
        return found

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other run off this stack."""
        os.makedirs("/run/lock", exist_ok=True)
        handle = os.open(f"/run/lock/evenkeel-stack-{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def make_folders(self) -> None:
        """Make the stack's folders: open to pass through for the secrets' owners, not to list."""
        for path, mode in ((self.base, 0o711), (self.path, 0o711), (self.releases, 0o700), (self.secrets, 0o711)):
            make_folder(path, mode)

    def write(self, folder: str, files: dict[str, str]) -> None:
        """Write a release in one step: all of its files or none."""
        self.make_folders()
        temporary = tempfile.mkdtemp(prefix=".new-", dir=self.releases)
        try:
            for name, text in files.items():
                write_new(os.path.join(temporary, name), text, 0o600)
            os.rename(temporary, os.path.join(self.releases, folder))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(self.releases)

    def point(self, folder: str) -> None:
        """Let the pointer name a release, in one step."""
        temporary = os.path.join(self.path, ".current-new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(os.path.join("releases", folder), temporary)
        os.rename(temporary, os.path.join(self.path, "current"))
        sync_folder(self.path)

    def boots(self) -> bool:
        """Whether the stack is to run after a boot."""
        return os.path.exists(self.boot_marker)

    def set_boot(self, wanted: bool) -> None:
        """Say whether the stack is to run after a boot."""
        if wanted and not self.boots():
            write_new(self.boot_marker, "", 0o644)
        elif not wanted:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.boot_marker)
        sync_folder(self.path)

    def prune(self, keep: int, protected: list[str | None]) -> list[str]:
        """Remove old releases and the secrets that only they used."""
        gone = release.to_prune(self.folders(), keep, protected)
        for folder in gone:
            shutil.rmtree(os.path.join(self.releases, folder))
        used = {
            version
            for folder in self.folders()
            for version in (self.record(folder).get("secret_versions") or {}).values()
        }
        with contextlib.suppress(FileNotFoundError):
            for version in os.listdir(self.secrets):
                if version not in used:
                    shutil.rmtree(os.path.join(self.secrets, version))
        return gone


def make_folder(path: str, mode: int, owner: int | None = None) -> None:
    """Make a folder with a mode, or give an existing one that mode."""
    os.makedirs(path, mode=mode, exist_ok=True)
    os.chmod(path, mode)
    if owner is not None:
        os.chown(path, owner, owner)


def write_new(path: str, text: str, mode: int, owner: int | None = None) -> None:
    """Write a file that nobody else could have opened before it was complete."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        _write_all(handle, text.encode())
        if owner is not None:
            os.fchown(handle, owner, owner)
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def sync_folder(path: str) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
            stack.path,
            "--file",
            "-",
            "--profile",
            "*",
            "config",
            "--format",
            "json",
            data=json.dumps(definition),
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
        return json.loads(reply.stdout)

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
            "healthcheck": bool((config.get("Healthcheck") or {}).get("Test")),
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
                release.pull_sentence(reference, where, reply.stderr or reply.stdout), rc=reply.rc, stderr=reply.stderr
            )

    def pg_version(self, volume: str) -> int | None:
        """Return the PostgreSQL major version that wrote a volume, if one did."""
        reply = self.commands("volume", "inspect", "--format", "{{ .Mountpoint }}", volume)
        if reply.rc != 0:
            return None
        return pg_version_below(reply.stdout.strip())

    def compose(self, stack: Stack, folder: str | None, *arguments: str) -> Reply:
        """Run compose for a release of a stack, or for what runs under its name."""
        where = ["--file", stack.file(folder)] if folder else []
        return self.commands(
            "compose", "--project-name", stack.name, "--project-directory", stack.path, *where, *arguments
        )

    def containers(self, stack: str) -> list[dict[str, Any]]:
        """Return what runs, or ran, under a stack's name."""
        reply = self.commands(
            "ps", "--all", "--no-trunc", "--quiet", "--filter", f"label=com.docker.compose.project={stack}"
        )
        names = reply.stdout.split()
        if reply.rc != 0 or not names:
            return []
        reply = self.commands("inspect", *names)
        try:
            return json.loads(reply.stdout)
        except ValueError:
            return []

    def volumes(self, stack: str) -> list[str]:
        """Return the volumes compose made for a stack."""
        reply = self.commands("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={stack}")
        return sorted(reply.stdout.split()) if reply.rc == 0 else []

    def explain(self, stack: str, values: list[str], lines: int = 20) -> list[str]:
        """Say of each service that does not run well how it ended and what it said last."""
        found = []
        for container in sorted(self.containers(stack), key=lambda entry: entry.get("Name") or ""):
            state = container.get("State") or {}
            health = state.get("Health") or {}
            status = health.get("Status") or ""
            if state.get("Running") and not state.get("Restarting") and status in ("", "healthy"):
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


def pg_version_below(path: str) -> int | None:
    """Return what PG_VERSION says in a data folder or in the folders images put it in."""
    for below in ("", "data", "pgdata", "pgroot/data"):
        with contextlib.suppress(OSError), open(os.path.join(path, below, "PG_VERSION"), encoding="utf-8") as handle:
            return guard.major(handle.read().strip())
    with contextlib.suppress(OSError):
        for entry in sorted(os.listdir(path)):
            if entry.isdigit() and os.path.isfile(os.path.join(path, entry, "docker", "PG_VERSION")):
                return int(entry)
    return None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
