# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run PostgreSQL's programs on the host, or in containers of the server's image.

All folders have the same path in both cases, so callers need not know which one it is.
"""

from __future__ import annotations

import os
import pwd
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

from evenkeel_backup import command, isolation, safepath
from evenkeel_backup.config import Config
from evenkeel_backup.faults import BackupFailure

# Network of a program: the server's, one that reaches the stores, or none.
SERVER, STORE, NONE = "server", "store", "none"
# Label with the run that started a container.
RUN = "org.evenkeel.backup.run"


class Where(ABC):
    """A way to run programs next to a server."""

    uid: int
    gid: int

    @abstractmethod
    def argv(self, program: str, *arguments: str, network: str = SERVER, env: Iterable[str] = ()) -> list[str]:
        """Return the command that runs a program; *env* names the variables to pass."""

    @abstractmethod
    def inside(self, program: str, *arguments: str, env: Iterable[str] = ()) -> list[str]:
        """Return the command that runs a program next to the server's data."""

    def leftovers(self) -> list[list[str]]:
        """Return commands that stop containers of killed runs; none on a host, where programs end with the run."""
        return []

    @abstractmethod
    def reach(self, folder: Path) -> None:
        """Make a folder visible to programs without network, and on a container host to all."""

    def own(self, path: Path, mode: int = 0o700) -> None:
        """Create a folder that the server's user owns; it follows no link, and root must not work in it."""
        safepath.make(path, mode, self.uid, self.gid)

    def give(self, path: Path) -> None:
        """Change the owner of a file or folder to the server's user."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def secret(self, source: Path, target: Path) -> Path:
        """Copy a secret to a file that only the server's user can read."""
        target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(source.read_bytes())
        self.give(target)
        return target


class Host(Where):
    """Run the distribution's programs as the server's system user."""

    def __init__(self, bin_dir: str, user: str, folders: Iterable[Path] = ()) -> None:
        self.bin_dir = bin_dir
        self.folders = list(folders)
        entry = pwd.getpwnam(user) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.user, self.uid, self.gid = entry.pw_name, entry.pw_uid, entry.pw_gid

    def _program(self, program: str) -> str:
        path = Path(self.bin_dir, program)
        return str(path) if self.bin_dir and path.exists() else shutil.which(program) or program

    def argv(
        self,
        program: str,
        *arguments: str,
        network: str = SERVER,
        env: Iterable[str] = (),  # noqa: ARG002 - on the host the environment is the program's own
    ) -> list[str]:
        argv = [self._program(program), *arguments]
        root = os.geteuid() == 0
        if network == NONE:
            return isolation.isolated(argv, self.bin_dir, self.folders, self.uid, self.gid, root)
        if not root or self.uid == 0:
            return argv
        # A program must end with its run, because the lock ends with the run.
        user = [f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups", "--pdeathsig=TERM"]
        return ["setpriv", *user, "--", *argv]

    def reach(self, folder: Path) -> None:
        if not any(folder.is_relative_to(one) for one in self.folders):
            self.folders.append(folder)

    def inside(self, program: str, *arguments: str, env: Iterable[str] = ()) -> list[str]:
        return self.argv(program, *arguments, env=env)


class Container(Where):
    """Run programs in containers of the server's image, or in the server's own container next to its data."""

    def __init__(
        self, docker: str, container: str, image: str, user: str, folders: Iterable[Path], stores: Iterable[Path] = ()
    ) -> None:
        self.docker, self.container, self.image, self.user = docker, container, image, user
        self.folders, self.stores = list(folders), list(stores)
        self.label = f"org.evenkeel.backup={self.folders[0]}"
        uid, _, gid = user.partition(":")
        self.uid, self.gid = int(uid), int(gid or uid)

    @property
    def server(self) -> str:
        """Return the container of the live server; a host that only restores has none."""
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

    def argv(self, program: str, *arguments: str, network: str = SERVER, env: Iterable[str] = ()) -> list[str]:
        joined = {STORE: "host", NONE: "none"}.get(network) or f"container:{self.server}"
        # A restored server does not see the repositories.
        folders = self.folders if network == NONE else [*self.folders, *self.stores]
        mounts = [argument for path in folders for argument in ("--volume", f"{path}:{path}")]
        names = [argument for name in sorted(env) for argument in ("--env", name)]
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
        return [*start, *limits, *where, *mounts, *names, "--entrypoint", program, self.image, *arguments]

    def reach(self, folder: Path) -> None:
        if not any(folder.is_relative_to(one) for one in self.folders):
            self.folders.append(folder)

    def leftovers(self) -> list[list[str]]:
        # Metrics run in parallel to backups, so containers of active runs are kept.
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

    def inside(self, program: str, *arguments: str, env: Iterable[str] = ()) -> list[str]:
        names = [argument for name in sorted(env) for argument in ("--env", name)]
        return [self.docker, "exec", "--interactive", "--user", self.user, *names, self.server, program, *arguments]


def of(config: Config) -> Where:
    """Return the way that an instance's configuration names."""
    where: Mapping[str, str] = config.where
    if where["kind"] == "container" and config.engine != "files":
        stores = []
        if config.engine == "physical":
            stores += [Path(item.location) for item in config.repositories if item.kind == "local"]
            stores += [Path(item.ca_file) for item in config.repositories if item.ca_file]
        user = str(where["user"])
        return Container(where["docker"], where["container"], where["image"], user, [config.work_dir], stores)
    user = "root" if config.engine == "files" and os.geteuid() == 0 else where["user"]
    return Host(where["bin_dir"], user, [config.work_dir])
