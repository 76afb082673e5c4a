# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restored server may differ in, and what it may not."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenkeel_backup import manifest

SHOP: dict = {
    "name": "shop", "owner": "shop", "encoding": "UTF8", "extensions": [{"name": "pgcrypto", "version": "1.3"}],
    "relations": {"table": 2, "index": 3}, "rows": {"public.orders": 1000, "public.users": 10, "evenkeel_backup.canary": 3},
    "canary": {"sequence": 7, "token": "abc"},
}  # fmt: skip
MADE: dict = {
    "id": "x-000007",
    "sequence": 7,
    "engine": "logical",
    "bytes": 1000,
    "roles": ["shop", "reader"],
    "databases": [SHOP],
    "files": {},
}


def changed(**change: object) -> dict:
    made = copy.deepcopy(MADE)
    made["databases"][0].update(change)
    return made


@pytest.mark.parametrize(
    ("restored", "tolerance", "faults"),
    [
        pytest.param(MADE, 0, [], id="the same"),
        pytest.param({**MADE, "roles": ["shop", "reader", "evenkeel_drill"]}, 0, [], id="one role more"),
        pytest.param({**MADE, "roles": ["shop"]}, 0, ["missing_role"], id="a role less"),
        pytest.param({**MADE, "databases": []}, 0, ["content_mismatch"], id="no database"),
        pytest.param(changed(extensions=[]), 0, ["missing_extension"], id="no extension"),
        pytest.param(
            changed(rows={"public.orders": 999, "public.users": 10}), 0, ["content_mismatch"], id="a row less"
        ),
        pytest.param(
            changed(rows={"public.orders": 999, "public.users": 10}), 0.05, [], id="a row less, within tolerance"
        ),
        pytest.param(
            changed(rows={"public.orders": 900, "public.users": 10}), 0.05, ["content_mismatch"], id="beyond tolerance"
        ),
        pytest.param(changed(rows={"public.orders": 1000}), 0.05, ["content_mismatch"], id="a table less"),
        pytest.param(
            changed(rows={"public.orders": 0, "public.users": 0, "evenkeel_backup.canary": 3}),
            0.05,
            ["empty_database"],
            id="empty but for the canary",
        ),
        pytest.param(changed(relations={"table": 2, "index": 2}), 0, ["content_mismatch"], id="an index less"),
        pytest.param(
            changed(canary={"sequence": 6, "token": "abc"}),
            0.9,
            ["canary_missing"],
            id="an older canary, whatever the tolerance",
        ),
        pytest.param(
            changed(canary={"sequence": 7, "token": "abc-after"}),
            0.9,
            ["canary_missing"],
            id="a row from behind the position",
        ),
        pytest.param(changed(canary=None), 0, ["canary_missing"], id="no canary"),
        pytest.param(changed(owner="postgres"), 0, ["content_mismatch"], id="another owner"),
        pytest.param(changed(encoding="LATIN1"), 0, ["content_mismatch"], id="another encoding"),
    ],
)
def test_differences(restored: dict, tolerance: float, faults: list[str]) -> None:
    assert [failure.fault for failure in manifest.differences(MADE, restored, tolerance)] == faults


@pytest.mark.parametrize(
    ("found", "faults"),
    [
        pytest.param({"a": {"bytes": 5, "sha256": "00ff"}}, [], id="the same"),
        pytest.param({"a": {"bytes": 5}}, [], id="a size alone"),
        pytest.param({}, ["partial_upload"], id="missing"),
        pytest.param({"a": {"bytes": 4, "sha256": "00ff"}}, ["truncated_dump"], id="shorter"),
        pytest.param({"a": {"bytes": 5, "sha256": "00fe"}}, ["flipped_byte"], id="changed"),
    ],
)
def test_files(found: dict, faults: list[str]) -> None:
    made = {**MADE, "files": {"a": {"bytes": 5, "sha256": "00ff"}}}
    assert [failure.fault for failure in manifest.file_problems(made, found, "x")] == faults


@pytest.mark.parametrize(
    ("size", "good", "fault"),
    [
        pytest.param(1000, None, None, id="first"),
        pytest.param(0, None, "size_anomaly", id="nothing"),
        pytest.param(600, 1000, None, id="a little less"),
        pytest.param(400, 1000, "size_anomaly", id="shrunken"),
        pytest.param(4000, 1000, None, id="grown"),
    ],
)
def test_sizes(size: int, good: int | None, fault: str | None) -> None:
    found = manifest.size_problem({**MADE, "bytes": size}, {**MADE, "bytes": good} if good else None, 1, 0.5)
    assert (found.fault if found else None) == fault


@pytest.mark.parametrize(
    ("now", "good", "count"),
    [
        pytest.param(MADE, None, 0, id="first"),
        pytest.param(changed(rows={"evenkeel_backup.canary": 4}), MADE, 1, id="emptied"),
        pytest.param(changed(rows={}), changed(rows={}), 0, id="always empty"),
        pytest.param({**MADE, "databases": []}, MADE, 2, id="gone, and none left"),
    ],
)
def test_empty_databases(now: dict, good: dict | None, count: int) -> None:
    found = manifest.empty_problems(now, good)
    assert [failure.fault for failure in found] == ["empty_database"] * count


@pytest.mark.parametrize(
    ("behind", "jumped"),
    [pytest.param(0, False, id="now"), pytest.param(200, False, id="a little"), pytest.param(301, True, id="back")],
)
def test_clock(behind: int, jumped: bool) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert bool(manifest.clock_problem(now + timedelta(seconds=behind), now, "shop")) is jumped


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON))
def test_a_packed_manifest_is_one_word_and_comes_back(made: dict) -> None:
    word = manifest.pack(made)
    assert not set(word) & set(" ='\"\n")
    assert manifest.unpack(word) == json.loads(json.dumps(made))


def test_identities_sort_and_differ() -> None:
    at = datetime(2026, 1, 1, 2, tzinfo=UTC)
    assert manifest.identity(at, 17) == "20260101T020000Z-000017"
    assert manifest.identity(at, 17) < manifest.identity(at, 18)
