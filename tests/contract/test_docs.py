# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference is what the specs say, and its generator sees a page that is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.evenkeel.platform.docs import generate

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_current() -> None:
    asked = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_each_kind_of_stale_page_is_named(tmp_path: Path) -> None:
    (tmp_path / "old.md").write_text("x", encoding="utf-8")
    (tmp_path / "changed.md").write_text("x", encoding="utf-8")
    wanted = {"changed.md": "y", "new.md": "z"}
    assert generate.stale(wanted, tmp_path) == ["changed.md", "new.md", "old.md"]
    generate.write(wanted, tmp_path)
    assert not generate.stale(wanted, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Set O(state=taken) or V(x).", "Set `state=taken` or `x`.", id="option and value"),
        pytest.param("Like V(a\\)b\\)).", "Like `a)b)`.", id="escaped"),
        pytest.param("M(a.b.c) and P(a.b.c#lookup)", "`a.b.c` and `a.b.c`", id="plugins"),
        pytest.param("L(text, https://example.org) B(x) I(y)", "[text](https://example.org) **x** *y*", id="link"),
        pytest.param(["One.", "Two."], "One. Two.", id="list"),
        pytest.param(None, "", id="nothing"),
    ],
)
def test_markup_becomes_markdown(text: object, expected: str) -> None:
    assert generate.marked(text) == expected


def test_guide_to_the_output_names_each_option_of_the_callback() -> None:
    text = (ROOT / "plugins/callback/progress.py").read_text(encoding="utf-8")
    options = yaml.safe_load(text.split('r"""')[1].split('"""')[0])["options"]
    guide = (ROOT / "docs/guides/output.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in guide.splitlines() if line.startswith("| `")}
    assert rows.keys() == options.keys()
    for name, option in options.items():
        assert f"`{option['env'][0]['name']}`" in rows[name]


def test_suboptions_follow_their_option() -> None:
    options = {"a": {"type": "dict", "description": "x|y", "options": {"b": {"type": "int", "default": 1}}}}
    assert list(generate.rows(options, "options")) == ["| `a` | dict |  | x\\|y |", "| `a.b` | int | `1` |  |"]
