# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.tests import mutants

DEFECT = mutants.Mutant("web", "mode", ("test_mode",), "roles/web/tasks/x.yml", 'mode: "0600"', 'mode: "0644"')
WHOLE = {"name": "mode", "tests": ["test_mode"], "file": "x", "find": "a", "replace": "b"}


def test_a_defect_is_planted_where_its_place_is_found_once() -> None:
    assert mutants.plant(DEFECT, 'a\nmode: "0600"\n') == 'a\nmode: "0644"\n'


@pytest.mark.parametrize("text", ["", 'mode: "0600"\nmode: "0600"\n'], ids=["nowhere", "twice"])
def test_a_defect_without_a_single_place_is_refused(text: str) -> None:
    with pytest.raises(mutants.MutantError, match="need it once"):
        mutants.plant(DEFECT, text)


@pytest.mark.parametrize(
    "entries",
    [{"name": "x"}, [{key: WHOLE[key] for key in ("name", "tests", "file", "find")}]],
    ids=["no list", "no replace"],
)
def test_an_incomplete_list_is_refused(entries: object) -> None:
    with pytest.raises(mutants.MutantError, match="need"):
        mutants.read_mutants("web", entries)


@pytest.mark.parametrize("text", ["", "def test_mode_of_another():\n    pass\n"], ids=["none", "only the beginning"])
def test_a_defect_whose_test_is_not_there_is_refused(text: str) -> None:
    mutants.refuse_unknown_tests([DEFECT], "web", ["def test_mode(host):\n    pass\n"])
    with pytest.raises(mutants.MutantError, match="found test_mode"):
        mutants.refuse_unknown_tests([DEFECT], "web", [text])


def test_rows_of_declared_defects_stay_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "TABLE", tmp_path / "mutants.md")
    other = mutants.Mutant("edge", "port", ("test_port",), "roles/edge/x", "a", "b")
    gone = mutants.Mutant("web", "gone", ("test_gone",), "roles/web/tasks/x.yml", "a", "b")
    declared = {("web", "mode"), ("edge", "port")}
    mutants.write_table({DEFECT: "verify", gone: "verify"}, declared)
    mutants.write_table({other: ""}, declared)
    mutants.write_table({DEFECT: "converge"}, declared)
    text = (tmp_path / "mutants.md").read_text(encoding="utf-8")
    assert text.startswith("# Planted defects")
    assert text.splitlines()[-2:] == [
        "| edge | port | `roles/edge/x` | **nothing** |",
        "| web | mode | `roles/web/tasks/x.yml` | converge |",
    ]
