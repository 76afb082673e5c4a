# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One module destroys, under its rule; a guard that cannot ask refuses."""

from __future__ import annotations

import ast
import re
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest

from evenkeel_backup import destroy, target
from evenkeel_backup.destroy import OwnDatabase
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job

PACKAGE = Path(destroy.__file__).parent
# safepath.py removes trees without following links, for destroy.py and for the program's own temporary files;
# restore_role.py drops the role with a random name that the same run created a moment before.
ALLOWED = {"destroy.py", "restore_role.py", "safepath.py"}
# Statements and calls that drop, end or remove what may be another's.
HARM = re.compile(
    r"\b(?:drop|truncate)\s+(?:if\s+exists\s+)?(?:database|role|user|owned|schema|table|tablespace|extension|view|index"
    # A sentence may speak of a "DROP DATABASE that was interrupted".
    r"|sequence|function|server|subscription|publication|materialized|foreign)\b(?!\s+that\b)"
    r"|\b(?:dropdb|dropuser)\b|\bpg_(?:terminate_backend|cancel_backend|drop_replication_slot)\b"
    r"|\brmtree\b|\bremovedirs\b|--clean\b|\bwith\s*\(\s*force\s*\)|\brm\s+-r",
    re.IGNORECASE,
)
# Modules that remove files of the program itself: its lock, its journal, its state, its reports, its temporary files.
OWN_FILES = {
    "cli.py",
    "destroy.py",
    "disk.py",
    "job.py",
    "journal.py",
    "lock.py",
    "safepath.py",
    "state.py",
    "where.py",
}
REMOVING = re.compile(r"\.unlink\(|\bos\.(?:unlink|remove|rmdir)\(")


def code_of(text: str) -> str:
    """Return source without comments and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return ast.unparse(tree)


def harms(files: dict[str, str]) -> list[str]:
    """Return each destructive statement or call outside the modules that may have it."""
    found = []
    for name, text in files.items():
        for pattern, allowed in ((HARM, ALLOWED), (REMOVING, OWN_FILES)):
            found += [f"{name}: {match[0]}" for match in pattern.finditer(code_of(text)) if name not in allowed]
    return found


def test_nothing_is_destroyed_outside_its_module() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py")}
    assert len(files) > 30
    assert harms(files) == []


@pytest.mark.parametrize(
    "line",
    [
        "run(f'drop database {x}')",
        "run('DROP  ROLE x')",
        "run(['dropdb', x])",
        "run('select pg_terminate_backend(pid)')",
        "run('select pg_drop_replication_slot(x)')",
        "shutil.rmtree(path)",
        "run(['pg_restore', '--clean'])",
        "path.unlink()",
        "os.remove(path)",
    ],
)
def test_the_rule_catches(line: str) -> None:
    assert harms({"restore.py": line})
    assert not harms({"restore.py": f"# {line}\n'''{line}'''"})


@pytest.mark.parametrize("answer", ["", "refused", "done\nbut not really"])
def test_no_clear_yes_is_a_no(answer: str) -> None:
    server: t.Any = SimpleNamespace(run=lambda sql: answer, ask=lambda sql: [])
    own = OwnDatabase(5, "evenkeel_restore_0123456789abcdef", "mark")
    for harm in (destroy.drop_database, destroy.end_sessions):
        with pytest.raises(BackupFailure, match="not the one that this run created"):
            harm(server, own)


@pytest.mark.parametrize(
    "name", ["shop", "evenkeel_restore_", "evenkeel_restore_0123456789abcdef2", "evenkeel_restore_0123456789abcdeg"]
)
def test_only_scratch_names_are_ever_in_a_statement_that_drops(name: str) -> None:
    asked: list[str] = []
    server: t.Any = SimpleNamespace(run=asked.append, ask=asked.append)
    with pytest.raises(BackupFailure, match="a scratch name"):
        destroy.drop_database(server, OwnDatabase(5, name, "mark"))
    assert asked == []


def test_a_guard_that_cannot_ask_says_no() -> None:
    class Gone:
        def __enter__(self) -> t.Any:
            raise BackupFailure("server_unreachable", "x", "y", "a", "b", "c")

        def __exit__(self, *_why: object) -> None: ...

    config = SimpleNamespace(engine="logical", server={"data_dir": "/data", "host": "/run", "port": 5432})
    job: t.Any = SimpleNamespace(config=config, server=Gone)
    with pytest.raises(BackupFailure):
        Job.live(job)


@pytest.mark.parametrize(
    ("name", "fits"), [("a" * 63, True), ("a" * 64, False), ("ä" * 31, True), ("ä" * 32, False), ("a\0", False)]
)
def test_a_name_that_would_be_cut_is_refused(name: str, fits: bool) -> None:
    if fits:
        target.name_that_fits(name)
        return
    with pytest.raises(BackupFailure, match="63 at most"):
        target.name_that_fits(name)


def test_a_link_is_removed_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    destroy.remove(tmp_path / "link")
    assert (tmp_path / "precious").is_dir()
    assert not (tmp_path / "link").is_symlink()
