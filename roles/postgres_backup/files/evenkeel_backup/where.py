# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the programs of PostgreSQL run: on the host, or in containers of the server's own image.

Every folder has the same path on both sides, so nothing above this file knows which it is.
"""

from __future__ import annotations

import os
import pwd
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from evenkeel_backup import command
from evenkeel_backup.config import Config
from evenkeel_backup.faults import BackupFailure

# How a program stands to the network: that of the server, that of the stores, or none at all.
SERVER, STORE, NONE = "server", "store", "none"
# The label that names the run which started a container.
RUN = "org.evenkeel.backup.run"


class Where(ABC):
    """One way to run programs beside a server."""

    uid: int
    gid: int

    @abstractmethod
    def argv(self, program: str, *words: str, network: str = SERVER, env: Iterable[str] = ()) -> list[str]:
        """The command that runs a program; *env* names what it is to see of the environment."""

    @abstractmethod
    def inside(self, program: str, *words: str, env: Iterable[str] = ()) -> list[str]:
        """The command that runs a program beside the server's data."""

    def strays(self) -> list[list[str]]:
        """The commands that end what a killed run left running; none where its programs end with it."""
        return []

    def reach(self, folder: Path) -> None:  # noqa: B027 - on the host every folder is there
        """Let programs see a folder that was named in a call."""

    def own(self, path: Path, mode: int = 0o700) -> None:
        """Make a folder that the server's user owns, and may enter."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(mode)
        self.give(path)

    def give(self, path: Path) -> None:
        """Hand a file or folder to the server's user."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def secret(self, source: Path, target: Path) -> Path:
        """A copy of a secret that the server's user alone can read."""
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(source.read_bytes())
        self.give(target)
        return target


class Host(Where):
    """Programs of the distribution, as the server's system user."""

    def __init__(self, bin_dir: str, user: str) -> None:
        self.bin_dir = bin_dir
        entry = pwd.getpwnam(user) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.user, self.uid, self.gid = entry.pw_name, entry.pw_uid, entry.pw_gid

    def _program(self, program: str) -> str:
        path = Path(self.bin_dir, program)
        return str(path) if self.bin_dir and path.exists() else shutil.which(program) or program

    def argv(
        self,
        program: str,
        *words: str,
        network: str = SERVER,
        env: Iterable[str] = (),  # noqa: ARG002 - on the host the environment is the program's own
    ) -> list[str]:
        prefix: list[str] = []
        if network == NONE:
            prefix = (
                ["unshare", "--net", "--"] if os.geteuid() == 0 else ["unshare", "--map-current-user", "--net", "--"]
            )
        if os.geteuid() == 0 and self.uid != 0:
            # A program must not outlive the run that started it: its lock ends with the run.
            prefix += [
                "setpriv",
                f"--reuid={self.uid}",
                f"--regid={self.gid}",
                "--init-groups",
                "--pdeathsig=TERM",
                "--",
            ]
        return [*prefix, self._program(program), *words]

    def inside(self, program: str, *words: str, env: Iterable[str] = ()) -> list[str]:
        return self.argv(program, *words, env=env)


class Container(Where):
    """Programs in containers of the server's image; those that need its data run in the server's own."""

    def __init__(self, docker: str, container: str, image: str, user: str, folders: Iterable[Path]) -> None:
        self.docker, self.container, self.image, self.user = docker, container, image, user
        self.folders = list(folders)
        self.label = f"org.evenkeel.backup={self.folders[0]}"
        uid, _, gid = user.partition(":")
        self.uid, self.gid = int(uid), int(gid or uid)

    @property
    def server(self) -> str:
        """The container of the live server; a host that only restores has none."""
        if not self.container:
            raise BackupFailure(
                "config_wrong",
                "there is no live server",
                "where.container",
                "nothing",
                "the name of the server's container",
                "Run it on the host of the server, or set where.container",
                "server",
            )
        return self.container

    def argv(self, program: str, *words: str, network: str = SERVER, env: Iterable[str] = ()) -> list[str]:
        joined = {STORE: "host", NONE: "none"}.get(network) or f"container:{self.server}"
        mounts = [word for path in self.folders for word in ("--volume", f"{path}:{path}")]
        names = [word for name in sorted(env) for word in ("--env", name)]
        start = [
            self.docker,
            "run",
            "--rm",
            "--interactive",
            "--init",
            "--pull",
            "never",
            "--read-only",
            "--tmpfs",
            "/tmp",  # noqa: S108 - within the container
        ]
        limits = [
            "--label",
            self.label,
            "--label",
            f"{RUN}={os.getpid()}",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
        ]
        where = ["--network", joined, "--user", self.user]
        return [*start, *limits, *where, *mounts, *names, "--entrypoint", program, self.image, *words]

    def reach(self, folder: Path) -> None:
        if not any(folder.is_relative_to(one) for one in self.folders):
            self.folders.append(folder)

    def strays(self) -> list[list[str]]:
        # Figures are measured beside a backup: what a run that is at work started is left to it.
        text = '{{.ID}} {{.Label "' + RUN + '"}}'
        listed = command.run(
            [self.docker, "ps", "--all", "--format", text, "--filter", f"label={self.label}"], seconds=60
        )
        found = [line.partition(" ") for line in listed.out.splitlines() if line]
        return [
            [self.docker, "rm", "--force", name]
            for name, _, pid in found
            if not pid.strip().isdigit() or not Path("/proc", pid.strip()).exists()
        ]

    def inside(self, program: str, *words: str, env: Iterable[str] = ()) -> list[str]:
        names = [word for name in sorted(env) for word in ("--env", name)]
        return [self.docker, "exec", "--interactive", "--user", self.user, *names, self.server, program, *words]


def of(config: Config) -> Where:
    """The way an instance's configuration asks for."""
    where: Mapping[str, str] = config.where
    if where["kind"] == "container" and config.engine != "files":
        folders = [config.work_dir]
        if config.engine == "physical":
            folders += [Path(item.location) for item in config.repositories if item.kind == "local"]
            folders += [Path(item.ca_file) for item in config.repositories if item.ca_file]
        return Container(where["docker"], where["container"], where["image"], str(where["user"]), folders)
    return Host(where["bin_dir"], "root" if config.engine == "files" and os.geteuid() == 0 else where["user"])
