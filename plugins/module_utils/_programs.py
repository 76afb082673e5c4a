# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Programs on a host and the library they share with the modules."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pkgutil
import re
import shutil
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file, _host_files
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._host_files import Change, Entry

PACKAGE = "ansible_collections.evenkeel.platform.plugins.module_utils"
LIBRARY = "lib/" + PACKAGE.replace(".", "/")
# Makes this library the one that is found where the host has collections of Ansible as well.
MARK = "lib/ansible_collections/__init__.py"
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")

Files = dict[str, tuple[str, int]]


def check(programs: t.Sequence[t.Mapping[str, t.Any]], state: str) -> None:
    """Refuse programs that cannot be written."""
    found = []
    for program in programs:
        where = f"program {program['name']}"
        if not NAME.match(program["name"]) or program["name"] == "lib":
            need = "lower case letters, digits and hyphens, other than lib"
            found.append(sentence("host_programs", "name", where, program["name"], need, "Set name"))
        if not _host_files.MODE.match(program["mode"]):
            need = "four octal digits in quotes, as '0755'"
            found.append(sentence("host_programs", "mode", where, program["mode"], need, "Set mode"))
        if state == "present" and not program.get("content"):
            found.append(sentence("host_programs", "content", where, "none", "its text", "Set content"))
    if found:
        raise Failure("\n".join(found))


def library() -> dict[str, str]:
    """Return the source of each module utility that came with the running module, by file name."""
    package = importlib.import_module(PACKAGE)
    found = {}
    for entry in pkgutil.iter_modules(package.__path__):
        spec = importlib.util.find_spec(f"{PACKAGE}.{entry.name}")
        source = t.cast(t.Any, spec.loader).get_source(spec.name) if spec and spec.loader else None
        if source is not None:
            found[f"{entry.name}.py"] = source
    if not found:
        raise Failure(
            sentence("host_programs", "the library", PACKAGE, "no source", "its modules", "Run it from the collection")
        )
    return found


def wanted(programs: t.Sequence[t.Mapping[str, t.Any]], sources: t.Mapping[str, str]) -> Files:
    """Return text and mode of every file below the base."""
    files: Files = {MARK: ("", 0o644)}
    files.update({f"{LIBRARY}/{name}": (text, 0o644) for name, text in sources.items()})
    files.update({each["name"]: (each["content"].rstrip("\n") + "\n", int(each["mode"], 8)) for each in programs})
    return files


def left(base: str, programs: t.Sequence[t.Mapping[str, t.Any]]) -> Files:
    """Return the library's files that stay when programs go: all while another program uses them, else none."""
    names = {program["name"] for program in programs}
    others = [path for path in _children(Path(base)) if path.is_file() and path.name not in names]
    if not any("evenkeel/lib" in (_file.read_text(str(path)) or "") for path in others):
        return {}
    return {
        MARK: ("", 0o644),
        **{
            f"{LIBRARY}/{path.name}": (_file.read_text(str(path)) or "", path.stat().st_mode & 0o777)
            for path in _children(Path(base, LIBRARY))
            if path.suffix == ".py"
        },
    }


def entries(base: str, files: Files) -> list[Entry]:
    """Return the files as they have to be on the host, the library before the programs that need it."""
    owner, group = str(os.geteuid()), str(os.getegid())
    names = sorted(files, key=lambda name: (not name.startswith("lib/"), name))
    return [Entry(str(Path(base, name)), files[name][1], owner, group, files[name][0]) for name in names]


def surplus(base: str, files: Files, programs: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return the paths of programs and of the library that are there and not among the files."""
    there = [f"{LIBRARY}/{path.name}" for path in _children(Path(base, LIBRARY)) if path.suffix == ".py"]
    names = [*there, MARK, *(program["name"] for program in programs)]
    return [str(Path(base, name)) for name in names if name not in files]


def clear(base: str, files: Files) -> None:
    """Remove the library's folders, and the base, where nothing is left in them."""
    if not any(name.startswith("lib/") for name in files):
        shutil.rmtree(Path(base, "lib"), ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(base).rmdir()


def actions(base: str, changes: t.Iterable[Change]) -> list[str]:
    """Return one sentence for each program, and one for the library as a whole."""
    library = str(Path(base, "lib"))
    own = [change for change in changes if not change.path.startswith(library)]
    number = sum(1 for change in changes if change.path.startswith(library))
    return _host_files.actions(own) + ([f"changed {number} files of the library"] if number else [])


def diff(changes: t.Iterable[Change]) -> dict[str, str]:
    """Return the paths of the files that change."""
    return {
        "before": "".join(f"{change.path}\n" for change in changes if change.what == "remove"),
        "after": "".join(f"{change.path}\n" for change in changes if change.what != "remove"),
    }


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
