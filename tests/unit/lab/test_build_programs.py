# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program of the lab is built once a version and machine, and nothing that may not be used is among them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

LAB = Path(__file__).resolve().parents[3] / "lab"
# For their licence or terms.
NOT_TO_BE_USED = (
    "github.com/grafana/loki",
    "github.com/grafana/grafana",
    "github.com/grafana/tempo",
    "github.com/hashicorp/nomad",
    "go.k6.io/k6",
)


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(LAB))
    found = importlib.import_module("build_programs")
    monkeypatch.setattr(found, "CACHE", tmp_path / "machine")
    monkeypatch.setattr(found, "BIN", tmp_path / "checkout")
    yield found
    sys.modules.pop("build_programs")


@pytest.fixture
def built(builder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def build(name: str, target: Path) -> None:
        names.append(name)
        target.write_text(f"{name}\n", encoding="utf-8")

    monkeypatch.setattr(builder, "build", build)
    return names


def test_program_is_built_once_a_machine(
    builder: ModuleType, built: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert builder.provide("otelcol")
    assert not builder.provide("otelcol")
    monkeypatch.setattr(builder, "BIN", tmp_path / "another checkout")
    assert not builder.provide("otelcol")
    assert (tmp_path / "another checkout" / "otelcol").read_text(encoding="utf-8") == "otelcol\n"
    assert built == ["otelcol"]


def test_program_is_built_anew_where_its_version_changes(
    builder: ModuleType, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    builder.provide("otelcol")
    monkeypatch.setattr(builder, "input_hash", lambda _program: "another")
    assert builder.provide("otelcol")
    assert built == ["otelcol", "otelcol"]


@pytest.mark.parametrize("name", ["otelcol", "victoria-logs"])
def test_hash_is_of_the_files_of_the_program(builder: ModuleType, name: str) -> None:
    program = builder.PROGRAMS[name]
    paths = {path.name for path in builder.inputs(program)}
    assert paths >= {"go.mod", "go.sum"}
    # The collector is a program of our own, with sources.
    assert ("main.go" in paths) == (name == "otelcol")


def test_every_program_has_its_module(builder: ModuleType) -> None:
    for name, program in builder.PROGRAMS.items():
        text = (LAB / "tools" / program.folder / "go.mod").read_text(encoding="utf-8")
        assert program.package == "." or f"\t{program.package}\n" in text or f"tool {program.package}\n" in text, name


def test_unknown_name_is_refused(builder: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert builder.main(["nothing"]) == 2
    assert "found nothing, need one of" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((LAB / "tools").rglob("go.mod")), ids=lambda path: path.parent.name)
def test_no_module_that_may_not_be_used_is_required(path: Path) -> None:
    words = path.read_text(encoding="utf-8").split()
    # A path ends at the module's own version: grafana/regexp is not grafana.
    assert [word for word in words for one in NOT_TO_BE_USED if word == one or word.startswith(f"{one}/")] == []
