# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_restore printed, as statements with a name, a reason and a fault; which backup is the newest good one."""

from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest

from evenkeel_backup import latest, load, logical, scratch
from evenkeel_backup.faults import FAULTS, BackupFailure, fault_of
from evenkeel_backup.load import Statement
from evenkeel_backup.state import State

LISTING = """;
; Selected TOC Entries:
;
2; 3079 16385 EXTENSION - pgcrypto\x20
3340; 0 16386 TABLE DATA public amounts shop
3345; 1259 16390 INDEX public orders_note shop
3346; 1259 16391 MATERIALIZED VIEW DATA public near shop
"""
# As pg_restore 15 prints it.
ERRORS = """pg_restore: while PROCESSING TOC:
pg_restore: from TOC entry 3345; 1259 16390 INDEX orders_note shop
pg_restore: error: could not execute query: ERROR:  function unaccent(text) does not exist
LINE 1: SELECT unaccent('unaccent', $1)
HINT:  No function matches the given name.
Command was: CREATE INDEX orders_note ON public.orders USING btree (public.plain(note));


pg_restore: from TOC entry 3340; 0 16386 TABLE DATA amounts shop
pg_restore: error: COPY failed for table "amounts": ERROR:  relation "limits" does not exist
CONTEXT:  SQL function "allowed" during startup
pg_restore: from TOC entry 2; 3079 16385 EXTENSION pgcrypto\x20
pg_restore: error: could not execute query: ERROR:  extension "pgcrypto" is not available
Command was: CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public;
pg_restore: error: could not execute query: ERROR:  role "access denied" does not exist
Command was: ALTER EXTENSION OWNER
pg_restore: warning: errors ignored on restore: {many}
"""


def test_statements_that_failed_have_the_name_that_pg_restore_lists() -> None:
    assert load.failed_statements(ERRORS.format(many=4), LISTING) == [
        Statement("EXTENSION - pgcrypto", 'extension "pgcrypto" is not available', "missing_extension", 2),
        Statement("EXTENSION - pgcrypto", 'role "access denied" does not exist', "missing_role", 2),
        Statement("TABLE DATA public amounts shop", 'relation "limits" does not exist', "statement_failed", 3340),
        Statement("INDEX public orders_note shop", "function unaccent(text) does not exist", "statement_failed", 3345),
    ]


def test_messages_of_two_workers_are_told_apart() -> None:
    errors = (
        "pg_restore: from TOC entry 3345; 1259 16390 INDEX orders_note shop\n"
        "pg_restore: pg_restore: from TOC entry 3340; 0 16386 TABLE DATA amounts shop\n"
        "pg_restore: error: could not execute query: ERROR:  one\n"
        'pg_restore: creating INDEX "public.x"\n'
        'pg_restore: pg_restore: error: COPY failed for table "amounts": ERROR:  two\n'
        "pg_restore: from TOC entry 3346; 1259 16391 MATERIALIZED VIEW DATA near shop\n"
        "pg_restore: warning: errors ignored on restore: {many}\n"
    )
    found = load.failed_statements(errors.format(many=6), LISTING)
    assert [(one.entry, one.reason) for one in found] == [
        (3340, "two"),
        (3345, "one"),
        (3346, "an error that could not be read"),
    ]
    assert load.failed_statements(errors.format(many=7), LISTING)[-1].name == "others"


def test_a_message_without_its_beginning_is_read() -> None:
    errors = (
        "pg_restore: pg_restore: from TOC entry 3345; 1259 16390 INDEX orders_note shop\n"
        "from TOC entry 3340; 0 16386 TABLE DATA amounts shop\n"
        "pg_restore: error: pg_restore: error: could not execute query: ERROR:  one\n"
        'COPY failed for table "amounts": ERROR:  two\n'
        "pg_restore: warning: errors ignored on restore: 4\n"
    )
    found = load.failed_statements(errors, LISTING)
    assert [(one.entry, one.reason) for one in found] == [(3340, "two"), (3345, "one")]


@pytest.mark.parametrize(
    ("findings", "unread"),
    [
        ("", []),
        (
            'btree index "traps.public.people_plain":\n    ERROR:  function unaccent(unknown, text) does not exist\n'
            "LINE 1: select unaccent('unaccent', $1)\n",
            ["traps.public.people_plain"],
        ),
        (
            'btree index "x.public.a":\n    ERROR:  type "earth" does not exist\n'
            'btree index "x.public.b":\n    ERROR:  item order invariant violated for index "b"\n',
            [],
        ),
        ('heap table "x.public.a", block 0, offset 1:\n    xmin 3 precedes relation freeze threshold\n', []),
        ('btree index "x.public.a":\n    ERROR:  could not open file "base/1/2": No such file or directory\n', []),
    ],
)
def test_an_index_that_cannot_be_evaluated_is_not_corrupt(findings: str, unread: list[str]) -> None:
    assert scratch.unread_indexes(findings) == unread


def test_what_cannot_be_parsed_is_counted() -> None:
    garbled = "pg_restore: pg_re\npg_restore: warning: errors ignored on restore: 1\n"
    assert [one.name for one in load.failed_statements(garbled, LISTING)] == ["others"]


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        ('extension "x" is not available', "missing_extension"),
        ('role "x" does not exist', "missing_role"),
        ("could not extend file: No space left on device", "disk_full"),
        ("server closed the connection unexpectedly", "server_unreachable"),
        # Words of the store's faults mean nothing in a statement.
        ("permission denied for schema x", "statement_failed"),
        ("unexpected end of data in my function", "statement_failed"),
        ("duplicate key value violates unique constraint", "statement_failed"),
    ],
)
def test_the_fault_of_a_statement(reason: str, fault: str) -> None:
    assert load.statement("TABLE x", reason).fault == fault
    assert fault in FAULTS


def test_the_end_of_pg_restore_is_not_named_by_a_statement_before_it() -> None:
    errors = ERRORS.partition("pg_restore: warning")[0]
    errors += "pg_restore: error: could not read from input file: end of file\n"
    errors += "pg_restore: error: a worker process died unexpectedly\n"
    text = load.fatal_lines(errors)
    assert "role" not in text
    assert fault_of(text) == "truncated_dump"
    assert load.fatal_lines("") == ""


def test_many_failures_are_few_sentences() -> None:
    found = load.failures("shop", [Statement(f"INDEX {number}", "no") for number in range(30)])
    assert len(found) == load.SHOWN + 1
    assert "10 more" in found[-1].sentence
    assert "shop: INDEX 0" in found[0].sentence


@pytest.mark.parametrize(
    ("head", "runs"),
    [
        (b"--\n\\restrict x\n\nSET a = b;\nSELECT pg_catalog.set_config('search_path', '', false);\nCREATE", True),
        # A psql that knows no \\restrict would run commands that stand in the archive.
        (b"--\nSET a = b;\nSELECT pg_catalog.set_config('search_path', '', false);\nCREATE", False),
        (b"--\n\\restrict x\nCREATE", False),
    ],
)
def test_a_script_keeps_the_search_path(tmp_path: Path, head: bytes, runs: bool) -> None:
    path = tmp_path / "script"
    path.write_bytes(head)
    assert load._keep_path(path) is runs
    assert path.read_bytes() == (head.replace(b"SELECT pg_", b"--LECT pg_") if runs else head)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        load._keep_path(tmp_path / "link")


def test_the_search_path_of_a_second_try() -> None:
    assert load._path({}) == '"$user", public'
    settings = [{"role": "x", "setting": "search_path=y"}, {"role": "", "setting": 'search_path="a b", c'}]
    assert load._path({"settings": settings}) == "'a b', 'c'"


def test_the_folder_of_a_database_is_below_its_backup() -> None:
    for name in ("..", ".", "...", "a/../b", "-x", "%2E%2E", "a b"):
        path = Path(logical.archive_of(name))
        assert path.parts[0] == "databases"
        assert len(path.parts) == 2
        assert ".." not in path.parts
    assert logical.archive_of("shop.v1") == "databases/shop.v1"
    assert len({logical.archive_of(name) for name in ("..", "%2E%2E", ".")}) == 3


# -- the newest good one ---------------------------------------------------------------


class Shelf:
    """A repository whose backups can be read, but for some."""

    def __init__(self, unreadable: set[str]) -> None:
        self.unreadable = unreadable
        self.read: list[str] = []

    def catalogue(self, repository: t.Any, key: bytes | None) -> list[dict]:
        return []

    def stored(self, made: dict, repository: t.Any, key: bytes | None, read_data: bool) -> str:
        self.read.append(made["id"])
        if made["id"] in self.unreadable:
            raise BackupFailure("flipped_byte", "x", "y", "a", "b", "c")
        return ""

    def readable(self, made: dict, repository: t.Any, key: bytes | None) -> str:
        return ""


def backup(sequence: int, level: int, rows: int = 9, reason: str = "schedule", database: str = "shop") -> dict:
    proofs = [{"repository": "local", "level": level}] if level >= 0 else []
    return {
        "id": f"{sequence}", "sequence": sequence, "reason": reason, "type": "full", "engine": "logical", "bytes": 100,
        "started_at": "2026-01-01T00:00:00+00:00", "copies": [{"repository": "local"}], "proofs": proofs,
        "databases": [{"name": database, "rows": {"public.orders": rows}}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("backups", "unreadable", "chosen", "passed"),
    [
        pytest.param([backup(1, 2), backup(2, 5)], set(), "2", {}, id="the newest"),
        pytest.param([backup(1, 2), backup(2, 0, 0)], set(), "1", {"2": "empty_database"}, id="an empty one"),
        pytest.param(
            [backup(1, -1), backup(2, -1, 0), backup(3, -1, 0)],
            set(),
            "1",
            {"2": "empty_database", "3": "empty_database"},
            id="empty ones without a proof",
        ),
        pytest.param([backup(1, 2), backup(2, 0)], {"2"}, "1", {"2": "flipped_byte"}, id="a damaged one"),
        pytest.param([backup(1, 2), backup(2, 0)], set(), "2", {}, id="one whose key was not escrowed"),
        pytest.param([backup(1, 2), backup(2, 2, reason="safety")], set(), "1", {}, id="a safety backup"),
        pytest.param([backup(1, 2, reason="safety")], set(), "1", {}, id="only a safety backup"),
        pytest.param(
            [backup(1, 2), backup(2, 2, database="other")],
            set(),
            "1",
            {"2": "it has no database shop"},
            id="one without the database",
        ),
        pytest.param([backup(1, 2), backup(2, 2, 0)], set(), "2", {}, id="one that was proven all the same"),
    ],
)
def test_the_newest_good_backup(
    tmp_path: Path, backups: list[dict], unreadable: set[str], chosen: str, passed: dict[str, str]
) -> None:
    job, repository = shelf(tmp_path, backups)
    engine: t.Any = Shelf(unreadable)
    found = latest.choose(job, engine, repository, "latest", None, "shop")
    assert found.made["id"] == chosen
    assert {one["backup"]: one["why"] for one in found.passed_over} == passed
    assert all(name in found.sentence for name in [chosen, *passed])
    assert found.level >= 2


def shelf(tmp_path: Path, backups: list[dict]) -> tuple[t.Any, t.Any]:
    (tmp_path / "backups").mkdir()
    state = State(tmp_path)
    for entry in backups:
        state.keep(entry)
    config = {"minimum_bytes": 1, "shrink_ratio": 0.5}
    return SimpleNamespace(state=state, config=config), SimpleNamespace(name="local")


def test_one_that_is_not_good_is_restored_only_by_its_name(tmp_path: Path) -> None:
    job, repository = shelf(tmp_path, [backup(1, 0), backup(2, 0)])
    engine: t.Any = Shelf({"1", "2"})
    with pytest.raises(BackupFailure, match="2: flipped_byte; 1: flipped_byte") as refusal:
        latest.choose(job, engine, repository, "latest", None)
    assert refusal.value.fault == "target_unknown"
    engine.read.clear()
    found = latest.choose(job, engine, repository, "2", None)
    assert (found.made["id"], found.level, found.passed_over, engine.read) == ("2", 0, [], [])
