# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

from ansible_collections.evenkeel.platform.tests import run as runner
from ansible_collections.evenkeel.platform.tests import sanity

OUTPUT = """Running sanity test "pep8"
ERROR: Found 1 pep8 issue(s) which need to be resolved:
ERROR: plugins/filter/x.py:7:1: E302: expected 2 blank lines, found 1
Running sanity test "import" on Python 3.13
Running sanity test "shellcheck"
WARNING: Required program "shellcheck" not found.
FATAL: The 1 sanity test(s) listed below (out of 3) failed. See error output above for details.
"""


def test_each_sanity_test_is_one_case() -> None:
    cases = {case.name: case for case in sanity.read_cases(OUTPUT, 1)}
    assert list(cases) == ["pep8", "import-3.13", "shellcheck"]
    assert "E302" in cases["pep8"].failure
    assert cases["shellcheck"].skip == 'Required program "shellcheck" not found.'
    assert not cases["import-3.13"].failure


def test_a_run_that_ends_without_naming_a_failure_is_one() -> None:
    assert [case.name for case in sanity.read_cases("", 1)] == ["ansible-test"]


def test_the_report_is_counted_by_the_runner(tmp_path: Path) -> None:
    sanity.write_junit(sanity.read_cases(OUTPUT, 1), tmp_path / "x.xml")
    assert str(runner.read_junit(tmp_path / "x.xml", "sanity")) == "1 passed, 1 failed, 1 skipped"
