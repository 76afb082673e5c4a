# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an app's records lie on a host, and how a record is read and written."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

SCHEMA = 1
# Records of another schema than 1, by the name of their file.
SCHEMAS = {"state.json": 2}
APP = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
FOLDER = re.compile(r"/[A-Za-z0-9._/+-]*\Z")

FOLDER_ARGUMENTS: dict[str, t.Any] = {
    "state_dir": {"type": "path", "default": "/var/lib/evenkeel"},
    "lock_dir": {"type": "path", "default": "/run/lock"},
}
STATE_ARGUMENTS: dict[str, t.Any] = {
    **FOLDER_ARGUMENTS,
    "app": {"type": "str", "required": True},
    "lock_seconds": {"type": "float", "default": 30.0},
}


def refuse_name(module: str, app: str, place: str = "app", option: str = "app") -> None:
    """Refuse a name of an app that could not be the name of a folder."""
    if not APP.match(app):
        need = "a lower case letter, then at most 30 of a-z, 0-9 and -"
        raise Failure(sentence(module, "the name is not usable", place, repr(app), need, f"Set {option}"))


@dataclasses.dataclass
class Records:
    """One app's folder on this host; warnings gather what was set aside."""

    module: str
    app: str
    state_dir: str
    lock_dir: str
    lock_seconds: float
    check_mode: bool
    warnings: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, module: t.Any, name: str) -> Records:
        params = module.params
        refuse_name(name, params["app"])
        for option in ("state_dir", "lock_dir"):
            if not FOLDER.match(params[option]):
                raise Failure(
                    sentence(
                        name,
                        "the folder is not usable",
                        option,
                        repr(params[option]),
                        "an absolute path of letters, digits and . _ / + -",
                        f"Set {option}",
                    )
                )
        return cls(
            module=name,
            app=params["app"],
            state_dir=params["state_dir"],
            lock_dir=params["lock_dir"],
            lock_seconds=params["lock_seconds"],
            check_mode=module.check_mode,
        )

    @property
    def folder(self) -> str:
        return str(Path(self.state_dir, self.app))

    def path(self, *names: str) -> str:
        return str(Path(self.folder, *names))

    @contextlib.contextmanager
    def locked(self, edge: bool = False) -> t.Iterator[None]:
        """Hold the edge-wide lock (when asked) and then the app's lock; nothing in check mode."""
        with contextlib.ExitStack() as stack:
            if not self.check_mode:
                if edge:
                    stack.enter_context(
                        _file.lock(str(Path(self.lock_dir, "evenkeel-edge.lock")), self.lock_seconds, self.module)
                    )
                stack.enter_context(
                    _file.lock(str(Path(self.lock_dir, f"evenkeel-{self.app}.lock")), self.lock_seconds, self.module)
                )
            yield

    def _broken(self, path: str, why: str, read_only: bool) -> None:
        if self.check_mode or read_only:
            self.warnings.append(f"{self.module}: {path} does not parse ({why}); it is left in place and not used.")
            return
        target = _file.set_aside(path)
        self.warnings.append(f"{self.module}: {path} does not parse ({why}); it was set aside as {target}.")

    def read(self, *names: str, read_only: bool = False) -> dict[str, t.Any] | None:
        """Return a JSON record; one that does not parse is set aside and reported, never guessed."""
        path = self.path(*names)
        text = _file.read_text(path)
        if text is None:
            return None
        try:
            record = json.loads(text)
        except ValueError as exc:
            self._broken(path, str(exc), read_only)
            return None
        if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
            self._broken(path, "no schema number", read_only)
            return None
        newest = SCHEMAS.get(names[-1], SCHEMA)
        if record["schema"] > newest:
            raise Failure(
                sentence(
                    self.module,
                    "the record is of a newer version",
                    path,
                    f"schema {record['schema']}",
                    f"at most {newest}",
                    "Run this from a checkout at least as new as the one that wrote it",
                )
            )
        return record

    def write(self, record: dict[str, t.Any], *names: str) -> None:
        schema = SCHEMAS.get(names[-1], SCHEMA)
        text = json.dumps(dict(record, schema=schema), indent=1, sort_keys=True) + "\n"
        if not self.check_mode:
            with self.writing(self.path(*names)):
                _file.write_atomic(self.path(*names), text)

    def append(self, record: dict[str, t.Any], *names: str) -> None:
        text = json.dumps(dict(record, schema=SCHEMA), sort_keys=True)
        if not self.check_mode:
            with self.writing(self.path(*names)):
                _file.append_line(self.path(*names), text)

    @contextlib.contextmanager
    def writing(self, path: str) -> t.Iterator[None]:
        """Say in one sentence what keeps a record from being written: a full disk, a read-only one."""
        try:
            yield
        except OSError as exc:
            raise Failure(
                sentence(
                    self.module,
                    "the record cannot be written",
                    path,
                    exc.strerror or str(exc),
                    "a disk that takes it",
                    "Make room or mend the file system, then run it again",
                )
            ) from exc

    def read_lines(self, *names: str, read_only: bool = False) -> list[dict[str, t.Any]]:
        """Return the records of a JSONL file; a torn last line and broken lines are set aside."""
        path = self.path(*names)
        text = _file.read_text(path)
        if text is None:
            return []
        good, bad, whole = split_lines(text)
        if bad:
            if self.check_mode or read_only:
                self.warnings.append(f"{self.module}: {len(bad)} lines of {path} do not parse; they are not used.")
            else:
                target = _file.broken_name(path)
                _file.write_atomic(target, "".join(line + "\n" for line in bad))
                _file.write_atomic(path, whole)
                self.warnings.append(
                    f"{self.module}: {len(bad)} lines of {path} do not parse; they were set aside in {target}."
                )
        elif text != whole and not (self.check_mode or read_only):
            _file.write_atomic(path, whole)
        return good

    def reserve(self) -> None:
        """Set room aside for the records of a run that meets a full disk."""
        if not self.check_mode:
            with self.writing(self.path(_file.RESERVE)):
                _file.reserve(self.folder)


def split_lines(text: str) -> tuple[list[dict[str, t.Any]], list[str], str]:
    """Return the records, the lines that do not parse, and the text with only the records.

    A last line without a newline counts when it parses: the crash came between the last byte
    and the newline. Otherwise it is torn.
    """
    good: list[dict[str, t.Any]] = []
    kept: list[str] = []
    bad: list[str] = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            bad.append(line)
            continue
        if isinstance(record, dict) and isinstance(record.get("schema"), int):
            good.append(record)
            kept.append(line)
        else:
            bad.append(line)
    return good, bad, "".join(line + "\n" for line in kept)


def inform(module: t.Any, name: str, read: t.Callable[[Records], dict[str, t.Any]]) -> None:
    """Exit as a module that changes nothing, with what *read* finds in the records of the app."""
    try:
        records = Records.of(module, name)
        result = read(records)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **failure.result)
    else:
        for text in dict.fromkeys(records.warnings):
            module.warn(text)
        module.exit_json(changed=False, **result)
