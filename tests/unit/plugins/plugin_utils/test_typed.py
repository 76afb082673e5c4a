# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A misspelt short option is refused, and a name that somebody uses is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.plugin_utils import _typed

ROOT = Path(__file__).resolve().parents[4]


def nobody(_name: str) -> bool:
    return False


def test_the_short_options_are_those_of_the_playbooks() -> None:
    text = (ROOT / "playbooks" / "vars" / "verbs.yml").read_text(encoding="utf-8")
    pairs = re.findall(r"(?m)^(app_deploy_\w+): (?:>-\n\s+)?\"?\{\{ \(?(\w+)", text)
    assert {short: about.option for short, about in _typed.SHORT.items()} == {short: option for option, short in pairs}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("relese", "release"),
        ("retyr", "retry"),
        ("edgeout", "edge_out"),
        ("edge-out", "edge_out"),
        ("reson", "reason"),
        ("Release", "release"),
        ("aplication", ""),
        ("registry", ""),
        ("app", ""),
        ("release", ""),
        ("app_deploy_release", ""),
        ("shop_release", ""),
        ("lab_size", ""),
        ("uninstall_app", ""),
        ("restore_instance", ""),
        ("environment_name", ""),
        ("ansible_user", ""),
    ],
)
def test_what_is_close_to_a_short_option_is_refused(typed: str, meant: str) -> None:
    found = _typed.unknown_problems({typed: "3.1"}, nobody)
    assert len(found) == bool(meant)
    assert all(f"did you mean {meant}? Type -e {meant}=3.1." in one for one in found)
    assert _typed.unknown_problems({typed: "3.1"}, lambda name: name == typed) == []


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("wait", "300", True),
        ("wait", 300, True),
        ("wait", "abc", False),
        ("wait", "-1", False),
        ("enabled", "no", True),
        ("enabled", True, True),
        ("enabled", "maybe", False),
        ("without_records", "ture", False),
        ("release", "anything", True),
    ],
)
def test_a_value_is_of_the_type_of_its_option(name: str, value: object, fits: bool) -> None:
    found = _typed.value_problems({name: value})
    assert len(found) == (not fits)
    assert all(one.startswith(f"preflight: option {name}: found {value}, need ") for one in found)
    # The sentence about the role's option would say the same again.
    sentence = f"app_deploy: {_typed.SHORT[name].option}: found {value}, need another."
    assert _typed.refused(sentence, {name: value}) == (not fits)


@pytest.mark.parametrize(
    ("content", "known"),
    [
        ("relese: 1\n", True),
        ("app_deploy_release: \"{{ relese | default('') }}\"\n", True),
        ("# relese: 1\n", False),
        ("shop_relese: 1\n", False),
        ("note: a word such as relese\n", False),
    ],
)
def test_a_name_is_known_where_an_inventory_sets_or_uses_it(content: str, known: bool, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.ini"
    hosts.write_text("[edge]\nedge1 retyr=1\n", encoding="utf-8")
    variables = tmp_path / "group_vars" / "all.yml"
    variables.parent.mkdir()
    variables.write_text(content, encoding="utf-8")
    for source in (tmp_path, hosts):
        assert _typed.mentioned("relese", ["edge1,", str(source)]) == known
        assert _typed.mentioned("retyr", [str(source)])
    assert not _typed.mentioned("relese", [str(tmp_path / "nosuch"), "edge1,"])
    playbook = tmp_path / "play.yml"
    playbook.write_text("- debug: {msg: '{{ reson }}', relese: 1}\n", encoding="utf-8")
    assert _typed.mentioned("reson", [], str(tmp_path))


GROUPS = {"all": ["edge1"], "edge": ["edge1"], "app": []}


@pytest.mark.parametrize(
    ("groups", "needed", "sentence"),
    [
        (GROUPS, ["edge"], ""),
        (GROUPS, [], ""),
        (
            GROUPS,
            ["edge", "app"],
            "inventory: group app (app_deploy_app_group) of inventories/x: found no host, need at ",
        ),
        ({"all": []}, [], "inventory: hosts of inventories/x: found none, need some. Set -i to "),
        ({"all": []}, ["edge"], "found none, need some in group edge. Set -i to "),
    ],
)
def test_an_inventory_has_hosts_for_the_run(groups: dict[str, list[str]], needed: list[str], sentence: str) -> None:
    options = {"app": "app_deploy_app_group"}
    found = _typed.group_problems([str(Path.cwd() / "inventories/x")], groups, needed, options)
    assert len(found) == bool(sentence)
    assert all(sentence in one for one in found)


def test_words_that_ansible_would_drop_are_named() -> None:
    [found] = _typed.value_problems({"command": "ls", "_raw_params": "-l /tmp"})
    assert "found -l /tmp behind a blank, need each value in one word or in JSON" in found
    assert _typed.value_problems({"command": "ls -l /tmp"}) == []
