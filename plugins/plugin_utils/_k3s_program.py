# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What the staged program of k3s says about itself, where the controller can run it."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _k3s

SECONDS = 20


def known_keys(options: t.Mapping[str, t.Any]) -> frozenset[str]:
    """Return the keys that servers or agents take; none where the program is not staged or is for another machine."""
    machine = platform.machine()
    name, system = _k3s.artifact(machine), platform.system()
    digest = str((options.get("k3s_cluster_checksums") or {}).get(_k3s.ARCHITECTURES.get(machine, ""), ""))
    folder = options.get("k3s_cluster_artifact_folder")
    if not folder:
        folder = Path(str(options["k3s_cluster_cache_folder"]), str(options["k3s_cluster_version"]))
    path = Path(folder).expanduser() / name
    if system != "Linux" or not name or not digest or not path.is_file():
        return frozenset()
    return _keys(str(path), digest)


@functools.cache
def _keys(path: str, digest: str) -> frozenset[str]:
    # Nothing is run but what the user has pinned.
    with Path(path).open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
            return frozenset()
    found: set[str] = set()
    for role in ("server", "agent"):
        try:
            done = subprocess.run([path, role, "--help"], capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.SubprocessError):
            return frozenset()
        found |= _k3s.keys(done.stdout) if done.returncode == 0 else set()
    return frozenset(found)
