# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A temporary folder for each test file."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import backup_rig


@pytest.fixture(scope="module")
def folder() -> t.Iterator[Path]:
    with backup_rig.scratch() as path:
        yield path


# Of the files with a test for each attack, kill and kind of value, those that make test runs; the others are long.
SHORT = {
    "test_attackers.py": {
        "test_the_account_reads_passwords_and_is_no_superuser",
        "test_nothing_that_a_databases_owner_planted_runs_in_a_backup",
        "test_what_a_restore_runs_is_no_superusers",
        "test_a_certificate_for_another_name_is_named",
    },
    "test_content.py": {
        "test_no_kind_of_value_raises_a_false_alarm[1]",
        "test_each_change_is_found_by_table[byte]",
        "test_each_change_is_found_by_table[values of two rows exchanged]",
        "test_each_change_is_found_by_table[a row lost, another twice]",
    },
    "test_content_physical.py": {"test_a_quiet_server_is_compared_by_value_and_what_differs_is_said"},
    "test_interrupted.py": {"test_a_second_restore_settles_the_first"},
    "test_outside.py": {"test_a_drill_and_a_recovery_leave_the_publisher_alone"},
    "test_restore.py": {
        "test_what_cannot_be_restored_is_named_and_the_rest_is_kept",
        "test_the_properties_of_a_database_come_back",
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what make test leaves out."""
    for item in items:
        short = SHORT.get(item.path.name)
        if short is not None and not {item.name, item.name.partition("[")[0]} & short:
            item.add_marker(pytest.mark.long)
