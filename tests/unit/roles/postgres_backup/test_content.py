# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sum of a table, how streams and data files are read for it, and what a restored copy is said to lack."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import typing as t
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel_backup import content, content_hash, left_out, manifest, quiet
from evenkeel_backup.faults import BackupFailure, Failures

SALT = bytes(range(16))
END = b"\\.\n\n\n"
# What a row may be in COPY's text: no newline, and no backslash but one that escapes.
ROWS = st.lists(st.lists(st.sampled_from([b"a", b"\t", b"\\\\", b"\\N", b".", b"\xff"]), max_size=6).map(b"".join))


def total(rows: t.Iterable[bytes]) -> list[t.Any]:
    made = content_hash.Total(SALT)
    made.add(rows)
    return made.result


def test_the_sum_is_the_formula_of_the_docstring() -> None:
    rows = [b"1\ta", b"2\tb", b"2\tb", b""]
    digests = [int.from_bytes(blake2b(row, digest_size=16, salt=SALT).digest(), "little") for row in rows]
    assert total(rows) == [4, f"{sum(digests) % 2**128:032x}"]


@settings(max_examples=50)
@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_count(rows: list[bytes], chance: t.Any) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert total(shuffled) == total(rows)


@pytest.mark.parametrize(
    "restored",
    [
        pytest.param([b"1\ta", b"2\tb", b"3\td"], id="a changed byte"),
        pytest.param([b"1\tb", b"2\ta", b"3\tc"], id="values of two rows exchanged"),
        pytest.param([b"1\ta", b"1\ta", b"3\tc"], id="a row lost, another twice"),
        pytest.param([b"1\ta", b"2\tb", b"2\tb"], id="a pair, which exclusive or would not see"),
        pytest.param([b"1\ta", b"2\tb", b"3\t\\N"], id="null for a value"),
    ],
)
def test_as_many_rows_of_other_values_have_another_sum(restored: list[bytes]) -> None:
    made = total([b"1\ta", b"2\tb", b"3\tc"])
    found = total(restored)
    assert (found[0], found[1] == made[1]) == (3, False)


@settings(max_examples=200)
@given(st.lists(ROWS, max_size=4), st.integers(3, 40))
def test_a_stream_is_read_whatever_its_blocks(tables: list[list[bytes]], block: int) -> None:
    stream = b"".join(b"".join(row + b"\n" for row in rows) + b"\\.%d\n" % number for number, rows in enumerate(tables))
    before, content_hash.BLOCK = content_hash.BLOCK, block
    try:
        found = [(rest, one.result) for rest, one in content_hash.totals(io.BytesIO(stream).read, SALT)]
    finally:
        content_hash.BLOCK = before
    assert found == [(b"%d" % number, total(rows)) for number, rows in enumerate(tables)]


def test_a_wide_row_is_hashed_in_parts() -> None:
    wide = os.urandom(3 * content_hash.BLOCK).replace(b"\n", b"n").replace(b"\\", b"b")
    stream = io.BytesIO(b"first\n" + wide + b"\nlast\n" + END)
    assert next(content_hash.totals(stream.read, SALT))[1].result == total([b"first", wide, b"last"])


@pytest.mark.parametrize("stream", [b"1\ta", b"1\ta\n", b"1\ta\n\\", b"\\.0\n1\n"])
def test_a_stream_without_its_end_is_refused(stream: bytes) -> None:
    with pytest.raises(EOFError):
        list(content_hash.totals(io.BytesIO(stream).read, SALT))


def hashed(task: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run the program as add_dump does."""
    done = subprocess.run(
        content.WORKER,
        input=json.dumps({"tables": {}, "objects": {}, "page_bytes": 2048, **task}),
        env={content_hash.SALT: SALT.hex()},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_data_files_are_read_compressed_or_not_and_links_are_not_followed(tmp_path: Path) -> None:
    data = b"1\ta\n2\tb\n"
    (tmp_path / "1.dat").write_bytes(data + END)
    (tmp_path / "2.dat.gz").write_bytes(gzip.compress(data + END))
    (tmp_path / "3.dat").write_bytes(data)
    (tmp_path / "4.dat.gz").write_bytes(gzip.compress(data + END)[:-9])
    (tmp_path / "5.dat").symlink_to(tmp_path / "1.dat")
    (tmp_path / "6.dat").write_bytes(END)
    names = ("1.dat", "2.dat.gz", "3.dat", "4.dat.gz", "5.dat", "6.dat", "7.dat")
    found = hashed({"tables": {name: str(tmp_path / name) for name in names}})
    assert found["1.dat"] == found["2.dat.gz"] == total([b"1\ta", b"2\tb"])
    assert found["6.dat"] == total([])
    assert all(isinstance(found[name], str) for name in ("3.dat", "4.dat.gz", "5.dat", "7.dat"))
    assert set(content.data_files(tmp_path)) == {"1", "2", "3", "4", "6"}


def test_large_objects_have_the_lines_of_their_pages(tmp_path: Path) -> None:
    (tmp_path / "blob_17.dat").write_bytes(b"ab" * 1024 + b"c")
    (tmp_path / "blob_18.dat").write_bytes(b"")
    found = hashed({"objects": {name: str(tmp_path / f"blob_{name}.dat") for name in ("17", "18")}})
    lines = [b"17", b"17\t0\t\\\\x" + b"6162" * 1024, b"17\t1\t\\\\x63", b"18"]
    assert found["objects"] == total(lines)


LISTING = """;
; Archive created at 2026-11-30 20:00:00 UTC
;     dbname: shop
215; 1259 16385 TABLE public orders shop
3345; 0 16385 TABLE DATA public orders shop
3346; 0 16390 TABLE DATA odd 3347; 0 16391 TABLE DATA x shop
3351; 0 16400 MATERIALIZED VIEW DATA public summed shop
3352; 0 0 SEQUENCE SET public orders_id_seq shop
3353; 0 0 BLOBS - BLOBS
"""


def test_data_is_found_by_oid_and_not_by_name() -> None:
    assert content.data_entries(LISTING) == {16385: 3345, 16390: 3346}


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        pytest.param([], 2, [], id="nothing"),
        pytest.param([("a", 0), ("b", 0), ("c", 0)], 2, [["a", "c"], ["b"]], id="empty tables"),
        pytest.param([("a", 5), ("b", 9), ("c", 4)], 2, [["b"], ["a", "c"]], id="the largest alone"),
        pytest.param([("a", 5)], 4, [["a"]], id="more processes than tables"),
    ],
)
def test_tables_are_divided_among_processes(sizes: list, count: int, expected: list) -> None:
    assert content.shares(sizes, count) == expected


def survey(*tables: dict[str, t.Any], objects: int = 0) -> content.Survey:
    shape = {"bytes": 0, "unlogged": False, "money": False, "columns": None}
    return content.Survey(
        [{**shape, **table} for table in tables],
        {"money": "C", "page_bytes": 2048, "objects": objects, "pages": True},
    )


def test_a_dump_gets_a_sum_for_each_table(tmp_path: Path) -> None:
    (tmp_path / "3345.dat").write_bytes(b"1\ta\n" + END)
    entry: dict = {"name": "shop", "rows": {"public.orders": 1}}
    here = survey({"key": "public.orders", "oid": 16385, "columns": [[1, "id"], [3, "note"]]})
    content.add_dump(entry, here, LISTING, True, tmp_path, {"jobs": 2, "timeout_seconds": 60})
    salt = bytes.fromhex(entry["content"]["salt"])
    digest = int.from_bytes(blake2b(b"1\ta", digest_size=16, salt=salt).digest(), "little")
    assert entry["sums"] == {"public.orders": f"{digest:032x}"}
    assert entry["content"]["columns"] == {"public.orders": ["id", "note"]}
    assert entry["content"]["objects"] == {"count": 0, "sum": "0" * 32, "page": 2048}


@pytest.mark.parametrize(
    ("data", "rows", "objects", "words"),
    [
        pytest.param(b"1\ta\n" + END, 2, 0, "another number of rows", id="a row less than counted"),
        pytest.param(b"1\ta\n", 1, 0, "cannot be read", id="cut"),
        pytest.param(None, 1, 0, "not in the dump", id="no file"),
        pytest.param(b"1\ta\n" + END, 1, 1, "large objects are missing", id="no large object"),
    ],
)
def test_a_dump_that_is_not_what_was_counted_is_refused(
    tmp_path: Path, data: bytes | None, rows: int, objects: int, words: str
) -> None:
    if data is not None:
        (tmp_path / "3345.dat").write_bytes(data)
    entry: dict = {"name": "shop", "rows": {"public.orders": rows}}
    with pytest.raises(Failures) as caught:
        content.add_dump(
            entry,
            survey({"key": "public.orders", "oid": 16385}, objects=objects),
            LISTING,
            True,
            tmp_path,
            {"jobs": 2, "timeout_seconds": 60},
        )
    assert [(one.fault, one.stage) for one in caught.value.failures] == [("truncated_dump", "dump")]
    assert words in caught.value.failures[0].sentence
    assert "sums" not in entry


def test_a_script_holds_no_name_of_the_database() -> None:
    script = content.copy_script([("0", 16385, []), ("1", 16390, [3, 1])], "LATIN1", objects=True, snapshot="00-1")
    assert script.isascii()
    assert script.index("set transaction snapshot '00-1'") < script.index("set client_encoding to 'LATIN1'")
    assert "order by array_position('{3,1}'::int2[], a.attnum)" in script
    assert [line for line in script.splitlines() if "echo" in line] == [
        f"\\echo '\\\\.{name}'" for name in ("0", "1", "objects", "pages")
    ]


SHOP: dict = {
    "name": "shop",
    "owner": "shop",
    "encoding": "UTF8",
    "extensions": [],
    "relations": {},
    "rows": {"public.orders": 3, "public.users": 2},
    "sums": {"public.orders": "00aa", "public.users": "00bb"},
    "content": {"objects": {"count": 1, "sum": "00cc", "page": 2048}},
}
MADE: dict = {"id": "x-000007", "engine": "logical", "roles": [], "databases": [SHOP]}


@pytest.mark.parametrize(
    ("change", "subjects"),
    [
        pytest.param({}, [], id="the same"),
        pytest.param({"sums": {}}, [], id="not read"),
        pytest.param(
            {"sums": {"public.orders": "00ab", "public.users": "00bb"}}, ["content of public.orders"], id="one"
        ),
        pytest.param(
            {"sums": {"public.orders": "00ab", "public.users": "00ab"}},
            ["content of public.orders", "content of public.users"],
            id="both are named",
        ),
        pytest.param(
            {"sums": {"public.orders": "00ab"}, "rows": {"public.orders": 2, "public.users": 2}},
            ["rows of public.orders"],
            id="a lost row is named once",
        ),
        pytest.param({"objects": {"count": 1, "sum": "00cd"}}, ["large objects"], id="a large object"),
        pytest.param({"objects": {"count": 0, "sum": "0"}}, ["large objects"], id="no large object"),
        pytest.param(
            {"unread": [("columns of public.orders", "a", "a, b")]}, ["columns of public.orders"], id="columns"
        ),
    ],
)
def test_differences_of_values_are_named_by_table(change: dict, subjects: list[str]) -> None:
    restored = {"roles": [], "databases": [{**SHOP, "objects": {"count": 1, "sum": "00cc"}, **change}]}
    found = manifest.differences(MADE, restored)
    assert [one.fault for one in found] == ["content_mismatch"] * len(subjects)
    for one, subject in zip(found, subjects, strict=True):
        assert f"on shop: {subject}:" in one.sentence


def test_rows_recorded_at_the_position_have_no_tolerance() -> None:
    restored = {"roles": [], "databases": [{**SHOP, "rows": {"public.orders": 4, "public.users": 2}}]}
    assert not manifest.differences({**MADE, "databases": [SHOP]}, restored, 0.05)
    assert manifest.differences({**MADE, "databases": [{**SHOP, "exact": True}]}, restored, 0.05)


def test_a_manifest_with_too_many_sums_for_an_argument_has_none() -> None:
    def made(count: int) -> dict:
        names = [f"public.t{number}" for number in range(count)]
        return {
            "databases": [{"rows": dict.fromkeys(names, 1), "sums": {name: os.urandom(16).hex() for name in names}}]
        }

    few, many = made(100), made(9000)
    assert "sums" in manifest.unpack(content.pack(few))["databases"][0]
    assert len(content.pack(many)) < content.ARGUMENT_BYTES
    assert "sums" not in many["databases"][0]


@pytest.mark.parametrize(
    ("engine", "here", "words"),
    [
        pytest.param("logical", {}, [], id="nothing"),
        pytest.param("logical", {"unlogged": ["public.a"]}, [], id="a dump has unlogged tables"),
        pytest.param("physical", {"unlogged": ["public.a"]}, ["unlogged tables (public.a) are empty"], id="recovery"),
        pytest.param(
            "logical", {"invalid_indexes": ["public.i"]}, ["invalid indexes (public.i) are not"], id="indexes"
        ),
        pytest.param("logical", {"tablespaces": ["fast"]}, ["tablespaces (fast) is in the default"], id="tablespaces"),
        pytest.param("physical", {"tablespaces": ["fast"]}, ["tablespaces (fast) are in a folder"], id="moved"),
        pytest.param(
            "logical", {"foreign_tables": list("abcdefg")}, ["(a, b, c, d, e and 2 more)"], id="seven foreign tables"
        ),
        pytest.param("logical", {"sequences": 3}, ["the values of 3 sequences were not compared"], id="sequences"),
    ],
)
def test_what_a_copy_lacks_is_said(engine: str, here: dict, words: list[str]) -> None:
    found = left_out.sentences({"engine": engine}, {"name": "shop", "sums": {}, "left_out": here})
    assert len(found) == len(words)
    for one, word in zip(found, words, strict=True):
        assert one.startswith("shop: ")
        assert word in one


def test_a_standby_has_no_rows_of_unlogged_tables_and_counts_alone_are_said() -> None:
    entry = {"name": "shop", "left_out": {"unlogged": ["public.a"]}}
    found = left_out.sentences({"engine": "logical", "server": {"standby": True}}, entry, ["x was not compared"])
    assert [one.removeprefix("shop: ") for one in found] == [
        "unlogged tables (public.a) are empty, because the dump is of a standby",
        "rows were counted, and their values not compared",
        "x was not compared",
    ]


@pytest.mark.parametrize(
    ("snapshots", "after", "expected"),
    [
        pytest.param(["7:7:"], {"snapshot": "7:7:", "writers": 0}, True, id="quiet"),
        pytest.param(["7:7:", "7:7:"], {"snapshot": "7:7:", "writers": 0}, True, id="two databases"),
        pytest.param(["7:7:", "8:8:"], {"snapshot": "8:8:", "writers": 0}, False, id="committed between two"),
        pytest.param(["7:7:"], {"snapshot": "8:8:", "writers": 0}, False, id="committed before the position"),
        pytest.param(["7:7:"], {"snapshot": "7:7:", "writers": 1}, False, id="about to commit"),
        pytest.param(["7:9:7"], {"snapshot": "7:9:7", "writers": 0}, False, id="running"),
        pytest.param([], {"snapshot": "7:7:", "writers": 0}, False, id="no database"),
    ],
)
def test_snapshots_agree_with_a_position(snapshots: list[str], after: dict, expected: bool) -> None:
    assert quiet.agrees(snapshots, after) is expected


class Scripted:
    """A session that answers from a list, and the last answer from then on."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def run(self, _sql: str) -> str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_a_busy_server_is_waited_for_and_not_for_ever() -> None:
    def checked(snapshot: str, writers: int) -> str:
        return f"0/3000060\n{json.dumps({'snapshot': snapshot, 'writers': writers})}"

    held = quiet.Held({"shop": t.cast("t.Any", Scripted("7:7:", "8:8:", "9:9:"))})
    check = Scripted(checked("7:7:", 1), checked("9:9:", 0), checked("9:9:", 0))
    quiet.until_quiet(held, check.run)
    assert (held.position, held.attempts) == ("0/3000060", 3)
    busy = quiet.Held({"shop": t.cast("t.Any", Scripted("7:7:"))})
    quiet.until_quiet(busy, Scripted(checked("7:7:", 2)).run, 0)
    assert busy.position == ""


def test_too_many_databases_are_not_held() -> None:
    names = [f"d{number}" for number in range(quiet.MOST_SESSIONS + 1)]
    with quiet.moment(t.cast("t.Any", None), names) as held:
        assert held.position == ""


def test_a_failure_names_what_cannot_be_read() -> None:
    class Refusing:
        database, env = "shop", {"PATH": os.environ["PATH"]}

        def argv(self, *_words: str) -> list[str]:
            return ["sh", "-c", "echo 1; echo 'invalid page in block 3 of relation base/5/16385' >&2; exit 3"]

    with pytest.raises(BackupFailure) as caught:
        content._of_stream(t.cast("t.Any", Refusing()), "select 1;", SALT, 60)
    assert caught.value.fault == "corrupt_pages"
    assert "block 3" in caught.value.sentence
