# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The folders of a stack: releases, pointer, secrets. PRIVATE to the collection."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as release

STALE_SECONDS = 3600
LOCKS = Path("/run/lock")
UNITS = Path("/etc/systemd/system")
UNIT = "evenkeel-stack@.service"
BUNDLE = re.compile(r"/files/([0-9a-f]{16})")


class Stack:
    """The folders of one stack."""

    def __init__(self, name: str, base_dir: str) -> None:
        self.name = name
        self.base = Path(base_dir)
        self.path = self.base / name
        self.releases = self.path / "releases"
        self.secrets = self.path / "secrets"
        # What releases carry along, each below the hash of its content.
        self.files = self.path / "files"
        self.pointer = self.path / "current"
        self.boot_marker = self.path / "boot"
        self.former_record = self.path / "former.json"
        # What `systemctl enable` would make; it also works before the unit's file is there.
        self.boot_link = UNITS / "multi-user.target.wants" / UNIT.replace("@", f"@{name}")

    def folders(self) -> list[str]:
        """Return the release folders there are."""
        try:
            return sorted(entry.name for entry in self.releases.iterdir() if release.FOLDER.match(entry.name))
        except FileNotFoundError:
            return []

    def current(self) -> str | None:
        """Return the release the pointer names, if that folder is there."""
        try:
            name = self.pointer.readlink().name
        except OSError:
            return None
        return name if self.file(name).is_file() else None

    def file(self, folder: str) -> Path:
        """Return the path of a release's compose file."""
        return self.releases / folder / "compose.yaml"

    def record(self, folder: str | None) -> dict[str, Any]:
        """Return what was kept of a release; an unreadable record is an error."""
        if not folder:
            return {}
        path = self.releases / folder / "release.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as exc:
            raise release.ReleaseError(
                f"compose_release: record on {path}: found {exc}, need JSON. Move the release's folder away."
            ) from exc
        return record

    def text(self, folder: str | None) -> str:
        """Return a release's compose file, or nothing."""
        try:
            return self.file(folder).read_text(encoding="utf-8") if folder else ""
        except FileNotFoundError:
            return ""

    def secret_values(self) -> dict[str, str]:
        """Return all secrets kept for this stack by their path, for masking."""
        return {
            str(path.relative_to(self.secrets)): path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
            for path in sorted(self.secrets.glob("*/*/*"))
        }

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other run off this stack."""
        LOCKS.mkdir(parents=True, exist_ok=True)
        handle = os.open(LOCKS / f"evenkeel-stack-{self.name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def make_folders(self) -> None:
        """Make the stack's folders: open to pass through for the secrets' owners, not to list."""
        for path, mode in ((self.base, 0o711), (self.path, 0o711), (self.releases, 0o700), (self.secrets, 0o711)):
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)

    def write(self, folder: str, files: dict[str, str]) -> None:
        """Write a release in one step: all of its files or none."""
        self.make_folders()
        with new_folder(self.releases, folder) as temporary:
            for name, text in files.items():
                write_new(temporary / name, text, 0o600)

    def write_bundle(self, name: str, bundle: dict[str, tuple[bytes, int]]) -> None:
        """Write files that a release mounts, in one step; containers read them as whatever user they have."""
        self.make_folders()
        self.files.mkdir(exist_ok=True)
        self.files.chmod(0o711)
        with new_folder(self.files, name, mode=0o755) as temporary:
            for path, (data, mode) in bundle.items():
                place = temporary / path
                for parent in reversed(place.relative_to(temporary).parents[:-1]):
                    (temporary / parent).mkdir(exist_ok=True)
                    (temporary / parent).chmod(0o755)
                place.write_bytes(data)
                place.chmod(mode)

    def point(self, folder: str) -> None:
        """Let the pointer name a release, in one step."""
        temporary = self.path / ".current-new"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("releases") / folder)
        temporary.rename(self.pointer)
        sync_folder(self.path)

    def unpoint(self) -> None:
        """Let the pointer name nothing."""
        self.pointer.unlink(missing_ok=True)
        sync_folder(self.path)

    def former(self) -> dict[str, Any] | None:
        """Return which release stood before the current one, and the move it was replaced at."""
        try:
            record: dict[str, Any] = json.loads(self.former_record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return record

    def set_former(self, record: dict[str, Any] | None) -> None:
        """Store which release stands before the current one."""
        if record is not None and record != self.former():
            write_new(self.former_record.with_suffix(".new"), json.dumps(record, sort_keys=True) + "\n", 0o600)
            self.former_record.with_suffix(".new").rename(self.former_record)
            sync_folder(self.path)

    def boots(self) -> bool:
        """Whether the stack is started at boot."""
        return self.boot_marker.exists() and self.boot_link.is_symlink()

    def set_boot(self, wanted: bool) -> None:
        """Have the stack started at boot, or not."""
        if wanted and not self.boots():
            write_new(self.boot_marker, "", 0o644)
            self.boot_link.parent.mkdir(parents=True, exist_ok=True)
            if not self.boot_link.is_symlink():
                self.boot_link.symlink_to(UNITS / UNIT)
            sync_folder(self.path)
        if not wanted:
            self.boot_link.unlink(missing_ok=True)
            if self.boot_marker.exists():
                self.boot_marker.unlink()
                sync_folder(self.path)

    def may_boot(self) -> bool:
        """Whether anything of the boot is set up for the stack."""
        return self.boot_marker.exists() or self.boot_link.is_symlink()

    def prune(self, keep: int, protected: list[str | None]) -> list[str]:
        """Remove old releases, the secrets that only they used, and what a killed run left half done."""
        gone = release.to_prune(self.folders(), keep, protected)
        left = self._secret_versions(gone)
        for folder in gone:
            shutil.rmtree(self.releases / folder)
        used = self._secret_versions(self.folders())
        stale = [path for path in children(self.secrets) if path.name not in used]
        stale += [path for path in children(self.releases) if path.name.startswith(".new-")]
        mounted = {name for folder in self.folders() for name in BUNDLE.findall(self.text(folder))}
        stale += [path for path in children(self.files) if path.name not in mounted]
        for path in stale:
            # A young one may belong to a run that has not come to its release yet.
            if path.name in left or time.time() - path.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(path)
        return gone

    def _secret_versions(self, folders: list[str]) -> set[str]:
        return {
            version for folder in folders for version in (self.record(folder).get("secret_versions") or {}).values()
        }


def children(path: Path) -> list[Path]:
    """Return what a folder holds; nothing if it is not there."""
    try:
        return sorted(path.iterdir())
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def new_folder(parent: Path, name: str, mode: int = 0o700) -> Iterator[Path]:
    """Give a folder that gets its name only when everything in it is written."""
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    try:
        yield temporary
        temporary.chmod(mode)
        sync_folder(temporary)
        temporary.rename(parent / name)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(parent)


def write_new(path: Path, text: str, mode: int, owner: int | None = None) -> None:
    """Write a file that nobody else could have opened before it was complete."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(text.encode())
        stream.flush()
        if owner is not None:
            os.fchown(handle, owner, owner)
        os.fchmod(handle, mode)
        os.fsync(handle)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
