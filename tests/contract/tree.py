# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a checkout, and their tasks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

LINE = "__line__"
SECTIONS = ("pre_tasks", "tasks", "post_tasks", "handlers")
BLOCKS = ("block", "rescue", "always")
# fmt: off
KEYWORDS = frozenset({
    "action", "any_errors_fatal", "args", "async", "become", "become_exe", "become_flags", "become_method",
    "become_user", "block", "always", "rescue", "changed_when", "check_mode", "collections", "connection",
    "debugger", "delay", "delegate_facts", "delegate_to", "diff", "environment", "failed_when", "ignore_errors",
    "ignore_unreachable", "listen", "local_action", "loop", "loop_control", "module_defaults", "name", "no_log",
    "notify", "poll", "port", "register", "remote_user", "retries", "run_once", "tags", "throttle", "timeout",
    "until", "vars", "when",
})
# fmt: on


class _Loader(yaml.SafeLoader):
    """Load Ansible's YAML, and record the line of each mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        mapping[LINE] = node.start_mark.line + 1
        return mapping


def _scalar(loader: yaml.SafeLoader, node: Any) -> Any:
    return loader.construct_scalar(node)


for _tag in ("!vault", "!unsafe", "!vault-encrypted"):
    _Loader.add_constructor(_tag, _scalar)


@dataclass(frozen=True)
class Task:
    """One task with the keywords inherited from its blocks."""

    path: str
    data: dict[str, Any]
    inherited: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"{self.path}:{self.data.get(LINE, 1)}"

    @property
    def module(self) -> str:
        """The action's short name: copy for ansible.builtin.copy."""
        return self.action.rpartition(".")[2]

    @property
    def action(self) -> str:
        return next((str(key) for key in self.data if key not in KEYWORDS and not self._is_extra(key)), "")

    @staticmethod
    def _is_extra(key: Any) -> bool:
        return key == LINE or str(key).startswith("with_")

    @property
    def args(self) -> Any:
        args = self.data.get(self.action)
        if isinstance(args, dict):
            return {key: value for key, value in args.items() if key != LINE}
        return args

    @property
    def options(self) -> dict[str, Any]:
        """The action's arguments where they are named, an empty mapping where they are not."""
        args = self.args
        return args if isinstance(args, dict) else {}

    @property
    def tags(self) -> list[str]:
        tags = self.data.get("tags") or []
        return tags.split(",") if isinstance(tags, str) else [str(tag) for tag in tags]

    def keyword(self, name: str) -> Any:
        return self.data.get(name, self.inherited.get(name))


@dataclass
class Tree:
    """A checkout, or planted files."""

    root: Path
    paths: list[str] = field(repr=False)
    _texts: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of_checkout(cls, root: Path) -> Tree:
        """Return all tracked files, and untracked ones that are not ignored."""
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        paths = {path for path in listed.split("\0") if path and (root / path).is_file()}
        return cls(root, sorted(path for path in paths if not (root / path).is_symlink()))

    @classmethod
    def planted(cls, root: Path, files: dict[str, str]) -> Tree:
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return cls(root, sorted(files))

    def matching(self, *patterns: str) -> list[str]:
        return [path for path in self.paths if any(fnmatch(path, pattern) for pattern in patterns)]

    def text(self, path: str) -> str:
        """Return the file's text; empty for a binary file."""
        if path not in self._texts:
            try:
                self._texts[path] = (self.root / path).read_text(encoding="utf-8")
            except (UnicodeDecodeError, FileNotFoundError):
                self._texts[path] = ""
        return self._texts[path]

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        yield from enumerate(self.text(path).splitlines(), start=1)

    def load(self, path: str) -> Any:
        return yaml.load(self.text(path), Loader=_Loader)

    def roles(self) -> list[str]:
        return sorted({path.split("/")[1] for path in self.matching("roles/*/*")})

    def task_files(self) -> list[str]:
        return self.matching("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml")

    def tasks(self, *patterns: str) -> Iterator[Task]:
        """Every task of the files, those within blocks and plays included."""
        for path in self.matching(*patterns) if patterns else self.task_files():
            yield from _tasks_of(path, self.load(path) or [], {})


def _tasks_of(path: str, entries: Any, inherited: dict[str, Any]) -> Iterator[Task]:
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        inner = {**inherited, **{key: entry[key] for key in ("no_log", "diff", "when", "check_mode") if key in entry}}
        groups = [key for key in (*SECTIONS, *BLOCKS) if isinstance(entry.get(key), list)]
        for key in groups:
            yield from _tasks_of(path, entry[key], inner)
        if not groups and "hosts" not in entry and "ansible.builtin.import_playbook" not in entry:
            yield Task(path, entry, inherited)


def without_lines(data: Any) -> Any:
    """The data as it was written, without the line numbers of its mappings."""
    if isinstance(data, dict):
        return {key: without_lines(value) for key, value in data.items() if key != LINE}
    if isinstance(data, list):
        return [without_lines(item) for item in data]
    return data


def strings(data: Any) -> Iterator[str]:
    """Every string within the data, keys left out."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for value in data.values():
            yield from strings(value)
    elif isinstance(data, list):
        for item in data:
            yield from strings(item)
