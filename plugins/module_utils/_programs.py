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
import pkgutil
import re
import shutil
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

PACKAGE = "ansible_collections.evenkeel.platform.plugins.module_utils"
LIBRARY = "lib/" + PACKAGE.replace(".", "/")
# Makes this library the one that is found where the host has collections of Ansible as well.
MARK = "lib/ansible_collections/__init__.py"
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
MODE = re.compile(r"0?[0-7]{3}\Z")

Files = dict[str, tuple[str, int]]
Change = dict[str, str]


def check(programs: t.Sequence[t.Mapping[str, t.Any]], state: str) -> None:
    """Refuse programs that cannot be written."""
    found = []
    for program in programs:
        where = f"program {program['name']}"
        if not NAME.match(program["name"]) or program["name"] == "lib":
            need = "lower case letters, digits and hyphens, other than lib"
            found.append(sentence("host_programs", "name", where, program["name"], need, "Set name"))
        if not MODE.match(program["mode"]):
            need = "three octal digits, as 0755"
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


def compare(base: str, files: Files, programs: t.Sequence[t.Mapping[str, t.Any]]) -> Change:
    """Return what to do about each file that differs: C(write) or C(remove)."""
    change: Change = {}
    for name, (text, mode) in files.items():
        path = Path(base, name)
        if _file.read_text(str(path)) != text or path.stat().st_mode & 0o777 != mode:
            change[name] = "write"
    there = [f"{LIBRARY}/{path.name}" for path in _children(Path(base, LIBRARY)) if path.suffix == ".py"]
    there += [MARK] if Path(base, MARK).is_file() else []
    there += [program["name"] for program in programs if Path(base, program["name"]).is_file()]
    change.update({name: "remove" for name in there if name not in files})
    return dict(sorted(change.items()))


def apply(base: str, change: Change, files: Files) -> None:
    """Write and remove files; the library before the programs that need it."""
    for name in sorted(change, key=lambda each: (not each.startswith(LIBRARY), each)):
        path = Path(base, name)
        if change[name] == "write":
            _file.ensure_folder(str(path.parent), 0o755)
            _file.write_atomic(str(path), *files[name])
        else:
            path.unlink(missing_ok=True)
    if not any(name.startswith("lib/") for name in files):
        shutil.rmtree(Path(base, "lib"), ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(base).rmdir()


def actions(change: Change) -> list[str]:
    """Return one sentence for each program, and one for the library as a whole."""
    own = [f"{'wrote' if what == 'write' else 'removed'} {name}" for name, what in change.items() if "/" not in name]
    number = sum(1 for name in change if "/" in name)
    return own + ([f"changed {number} files of the library"] if number else [])


def diff(change: Change) -> dict[str, str]:
    """Return the names of the files that change."""
    return {
        "before": "".join(f"{name}\n" for name, what in change.items() if what == "remove"),
        "after": "".join(f"{name}\n" for name, what in change.items() if what == "write"),
    }


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
