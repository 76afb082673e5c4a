# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Folders and files of a role on a host: what differs, and how it is changed."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

MODE = re.compile(r"0[0-7]{3}\Z")
HIDDEN = "the content is not shown\n"


class Entry(t.NamedTuple):
    """A folder (C(text) is None) or a file as it has to be.

    C(secret) keeps its content out of the diff; C(keep) leaves a file that is there as it is.
    """

    path: str
    mode: int
    owner: str
    group: str
    text: str | None = None
    secret: bool = False
    keep: bool = False


class Change(t.NamedTuple):
    """What has to be done to a path: C(create), C(write), C(set) its attributes, or C(remove)."""

    what: t.Literal["create", "write", "set", "remove"]
    path: str
    before: str = ""
    after: str = ""


def entries(
    folders: t.Iterable[dict[str, t.Any]], files: t.Iterable[dict[str, t.Any]], absent: t.Iterable[str] = ()
) -> list[Entry]:
    """Return the wanted folders, then the files; raise one Failure that names every wrong option."""
    found: list[Entry] = []
    problems = []
    for kind, item in [*(("folder", each) for each in folders), *(("file", each) for each in files)]:
        # Without a slash at its end, behind which the target of a link would stand.
        path = os.path.normpath(item["path"])
        if not path.startswith("/"):
            problems.append(sentence("host_files", "path", kind, path, "an absolute path", "Set path"))
        if not MODE.match(item["mode"]):
            need = "four octal digits in quotes, as '0644'"
            problems.append(sentence("host_files", "mode", path, item["mode"], need, "Set mode"))
            continue
        text = None if kind == "folder" else item.get("secret_content") or item.get("content") or ""
        secret = kind == "file" and item.get("secret_content") is not None
        keep = bool(item.get("keep"))
        entry = Entry(path, int(item["mode"], 8), item["owner"], item["group"], text, secret, keep)
        if any(each.path == path and each != entry for each in found):
            problems.append(sentence("host_files", "path", path, "two descriptions that differ", "one", "Remove one"))
        found += [] if entry in found else [entry]
    for path in sorted({os.path.normpath(each) for each in absent} & {entry.path for entry in found}):
        problems.append(sentence("host_files", "path", path, "it wanted and absent", "one of both", "Remove one"))
    if problems:
        raise Failure("\n".join(problems))
    return found


def compare(wanted: t.Iterable[Entry], absent: t.Iterable[str]) -> list[Change]:
    """Return what differs on this host, in the order in which it is changed; raise a Failure for what is in the way."""
    changes, problems = [], []
    for entry in wanted:
        try:
            change = _difference(entry)
        except Failure as failure:
            problems.append(failure.sentence)
        else:
            changes += [change] if change else []
    for path in absent:
        if Path(path).is_dir() and not Path(path).is_symlink():
            problems.append(sentence("host_files", "file to remove", path, "a folder", "a file", "Set absent"))
        elif os.path.lexists(path):
            changes.append(Change("remove", path, before=f"{path}\n"))
    if problems:
        raise Failure("\n".join(problems))
    return changes


def _difference(entry: Entry) -> Change | None:
    try:
        status = os.lstat(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        after = f"{entry.path}/\n" if entry.text is None else _shown(entry, entry.text)
        return Change("create", entry.path, after=after)
    # Such a link, to a disk of its own for example, was made by someone who may do all this anyway.
    if entry.text is None and stat.S_ISLNK(status.st_mode) and _is_own(status) and Path(entry.path).is_dir():
        status = os.stat(entry.path)  # noqa: PTH116 - beside its lstat
    if entry.text is None and not stat.S_ISDIR(status.st_mode):
        found = "a link" if stat.S_ISLNK(status.st_mode) else "a file"
        raise Failure(sentence("host_files", "folder", entry.path, found, "a folder, or nothing", "Move it away"))
    if entry.text is not None and stat.S_ISDIR(status.st_mode):
        raise Failure(sentence("host_files", "file", entry.path, "a folder", "a file, or nothing", "Move it away"))
    if entry.keep:
        return None
    if entry.text is not None:
        regular = stat.S_ISREG(status.st_mode)
        before = (_file.read_text(entry.path) or "") if regular else ""
        if before != entry.text or not regular:
            return Change("write", entry.path, _shown(entry, before), _shown(entry, entry.text))
    # An owner that is missing here is one that a package of this run creates; in check mode it is not there yet.
    had = (
        stat.S_IMODE(status.st_mode),
        _name(pwd.getpwuid, status.st_uid, entry.owner),
        _name(grp.getgrgid, status.st_gid, entry.group),
    )
    need = (entry.mode, entry.owner, entry.group)
    return Change("set", entry.path, _attributes(had), _attributes(need)) if had != need else None


def apply(wanted: t.Iterable[Entry], changes: t.Sequence[Change]) -> None:
    """Make the changes: folders before files, each file whole or not at all.

    A Failure carries what was done before it as C(actions) and C(paths).
    """
    by_path = {entry.path: entry for entry in wanted}
    owners = {change.path: _owner(by_path[change.path]) for change in changes if change.what != "remove"}
    for number, change in enumerate(changes):
        try:
            _apply(change, by_path.get(change.path), owners.get(change.path, (0, 0)))
        except OSError as exc:
            done = changes[:number]
            raise Failure(
                sentence("host_files", "path", change.path, exc.strerror or str(exc), "it writable", "Mend it"),
                actions=actions(done),
                paths=[each.path for each in done],
            ) from exc


def _apply(change: Change, entry: Entry | None, owner: tuple[int, int]) -> None:
    if entry is None:
        Path(change.path).unlink(missing_ok=True)
        return
    parent = str(Path(entry.path).parent)
    _file.ensure_folder(parent, 0o755)
    if entry.text is not None and change.what != "set":
        _file.write_atomic(entry.path, entry.text, entry.mode, owner)
        return
    if change.what == "create":
        # Already there where it is the parent of one before it.
        Path(entry.path).mkdir(mode=0o700, exist_ok=True)
        _file.fsync_folder(parent)
    # Opened once, so that nobody can put a link in its place between two calls.
    own_link = entry.text is None and Path(entry.path).is_symlink() and _is_own(os.lstat(entry.path))
    handle = os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if own_link else os.O_NOFOLLOW))
    try:
        os.fchown(handle, *owner)
        os.fchmod(handle, entry.mode)
    finally:
        os.close(handle)


def _is_own(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _owner(entry: Entry) -> tuple[int, int]:
    return _number(entry, "owner"), _number(entry, "group")


def actions(changes: t.Iterable[Change]) -> list[str]:
    """Return one sentence for each change."""
    words = {"create": "created", "write": "wrote", "set": "set mode and owner of", "remove": "removed"}
    return [f"{words[change.what]} {change.path}" for change in changes]


def diff(changes: t.Iterable[Change]) -> list[dict[str, str]]:
    """Return the differences for C(--diff)."""
    return [
        {
            "before_header": change.path,
            "after_header": change.path,
            "before": change.before,
            # Two texts that are not shown would be no difference.
            "after": f"{change.after}(changed)\n" if change.before == change.after else change.after,
        }
        for change in changes
    ]


def _shown(entry: Entry, text: str) -> str:
    return HIDDEN if entry.secret else text


def _attributes(values: tuple[int, str, str]) -> str:
    return f"mode {values[0]:04o}, owner {values[1]}, group {values[2]}\n"


def _name(ask: t.Callable[[int], t.Any], number: int, wanted: str) -> str:
    """Return the name of a user or group; its number where that is what was wanted, or where it has no name."""
    if wanted == str(number):
        return wanted
    try:
        return t.cast(str, ask(number)[0])
    except KeyError:
        return str(number)


def _number(entry: Entry, what: t.Literal["owner", "group"]) -> int:
    name = getattr(entry, what)
    try:
        return pwd.getpwnam(name).pw_uid if what == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        if name.isdecimal():
            return int(name)
        raise Failure(
            sentence("host_files", what, entry.path, name, "a name or number of this host", f"Set {what}")
        ) from None
