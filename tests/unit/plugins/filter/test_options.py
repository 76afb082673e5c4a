# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.filter.options import FilterModule, unknown_options

SPEC: dict[str, Any] = {
    "argument_specs": {
        "main": {"options": {"docker_host_port": {"type": "int"}, "docker_host_mirrors": {"type": "list"}}},
        "reload": {"options": {"docker_host_reload_reason": {"type": "str"}}},
        "bare": None,
    }
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["docker_host_port", "docker_host_mirrors"], [], id="known"),
        pytest.param(["docker_host_reload_reason"], [], id="other entry point"),
        pytest.param(["__docker_host_state"], [], id="internal"),
        pytest.param(
            ["docker_host_prot"],
            [
                "docker_host: unknown option on docker_host_prot: found docker_host_prot, "
                "need docker_host_port. Rename the variable."
            ],
            id="misspelt",
        ),
        pytest.param(
            ["zzz"],
            [
                "docker_host: unknown option on zzz: found zzz, "
                "need an option of the role's argument specs. Remove the variable."
            ],
            id="nothing near",
        ),
    ],
)
def test_each_unknown_name_is_one_sentence(names: list[str], expected: list[str]) -> None:
    assert unknown_options(names, SPEC) == expected


def test_sentences_are_sorted_and_named_once() -> None:
    sentences = unknown_options(["docker_host_b", "docker_host_a", "docker_host_b"], SPEC)
    assert [sentence.split(": ")[1] for sentence in sentences] == [
        "unknown option on docker_host_a",
        "unknown option on docker_host_b",
    ]


def test_role_can_be_named() -> None:
    assert unknown_options(["edge_x"], {"argument_specs": {}}, role="edge")[0].startswith("edge: unknown option")


def test_role_is_left_out_when_options_tell_none() -> None:
    assert unknown_options(["x"], {"argument_specs": {}})[0].startswith("unknown option on x")


@pytest.mark.parametrize(
    ("names", "spec"),
    [
        pytest.param("docker_host_port", SPEC, id="names are a string"),
        pytest.param(3, SPEC, id="names are a number"),
        pytest.param([], None, id="no specs"),
        pytest.param([], {}, id="specs without entry points"),
    ],
)
def test_wrong_input_is_refused(names: Any, spec: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="unknown_options: "):
        unknown_options(names, spec)


def test_filter_is_offered_under_its_name() -> None:
    assert FilterModule().filters() == {"unknown_options": unknown_options}
