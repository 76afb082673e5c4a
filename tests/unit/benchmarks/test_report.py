# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import report


def test_values_stand_in_one_table_and_records_in_one_of_their_own() -> None:
    values = {"lost_rows": 0, "by_size": [{"size": 1, "rate": {"mb": 2.5}}, {"size": 5, "rate": {"mb": 3.0}}]}
    assert list(report.table(values)) == [
        "| | |",
        "|---|---|",
        "| lost rows | 0 |",
        "\nby size:\n",
        "| size | rate |",
        "|---|---|",
        "| 1 | mb 2.5 |",
        "| 5 | mb 3 |",
    ]


def test_records_by_name_are_a_table_without_another() -> None:
    values = {"1 GB": {"dump": "fast"}, "5 GB": {"dump": "slow"}}
    assert list(report.table(values)) == ["|  | dump |", "|---|---|", "| 1 GB | fast |", "| 5 GB | slow |"]


@pytest.mark.parametrize("value", [[1, 2], [{"deep": {"er": {"x": 1}}}], {"points": [[1, 2]]}])
def test_what_fits_no_table_is_left_out(value: Any) -> None:
    assert list(report.table({"known": 1, "odd": value}))[3:] == []
