# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Specs, defaults, documentation and code say the same, and each comparison catches a planted difference."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.tests.contract import specs
from ansible_collections.evenkeel.platform.tests.contract.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "evenkeel.platform"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
DEFAULTS = "roles/web/defaults/main.yml"
SPECS = "roles/web/meta/argument_specs.yml"


@pytest.fixture(scope="module")
def checkout() -> Tree:
    return Tree.of_checkout(ROOT)


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """The documentation of all modules, fragments merged in."""
    if not MODULES:
        return {}
    names = [f"{COLLECTION}.{name}" for name in MODULES]
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    program = Path(sys.executable).with_name("ansible-doc")
    asked = subprocess.run(
        [str(program), "--json", "--type", "module", *names],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    answer: dict[str, Any] = json.loads(asked.stdout)
    return answer


def test_defaults_equal_specs(checkout: Tree) -> None:
    found = list(specs.default_differences(checkout))
    assert not found, "\n".join(found)


def test_role_options_are_typed_and_described(checkout: Tree) -> None:
    found = list(specs.untyped_options(checkout))
    assert not found, "\n".join(found)


def test_documentation_equals_the_argument_spec(documents: dict[str, Any]) -> None:
    found: list[str] = []
    for name in MODULES:
        module = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{name}")
        spec = getattr(module, "ARGUMENT_SPEC", None)
        if not isinstance(spec, dict):
            found.append(f"{name} has no dict ARGUMENT_SPEC at its top level")
            continue
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        options = documents[f"{COLLECTION}.{name}"]["doc"].get("options") or {}
        found += specs.module_differences(name, options, spec, "add_file_common_args" in source)
        if "supports_check_mode=True" not in source:
            found.append(f"{name} does not say supports_check_mode=True")
    assert not found, "\n".join(found)


def test_modules_keep_what_their_documents_promise(documents: dict[str, Any]) -> None:
    found = [
        line
        for name in MODULES
        for line in specs.module_promises(
            name, documents[f"{COLLECTION}.{name}"]["doc"], documents[f"{COLLECTION}.{name}"]["return"] or {}
        )
    ]
    assert not found, "\n".join(found)


def test_action_groups_name_modules() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8")) or {}
    assert not list(specs.group_differences(runtime.get("action_groups") or {}, set(MODULES)))


def role(defaults: str, options: str) -> dict[str, str]:
    return {DEFAULTS: defaults, SPECS: f"argument_specs: {{main: {{short_description: x, options: {options}}}}}\n"}


PORT = "{web_port: {type: int, description: x, default: 80}}"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        pytest.param(role("web_port: 81\n", PORT), "has default 81 in defaults and 80", id="value"),
        pytest.param(role("web_port: '80'\n", PORT), "has default '80' in defaults and 80", id="type"),
        pytest.param(role("web_port: true\n", PORT.replace("80", "1")), "has default True", id="bool for int"),
        pytest.param(role("{}\n", PORT), "none in defaults", id="absent from defaults"),
        pytest.param(role("web_port: 80\nweb_x: 1\n", PORT), "web_x has a default and is not", id="absent from specs"),
        pytest.param(
            role("web_port: 80\n", PORT.replace("default: 80", "required: true")), "is required", id="required"
        ),
        pytest.param(role("{}\n", PORT.replace(", default: 80", "")), "neither required", id="neither"),
        pytest.param({DEFAULTS: "{}\n"}, "no argument specs", id="no specs"),
    ],
)
def test_a_planted_difference_of_defaults_is_seen(files: dict[str, str], sentence: str, tmp_path: Path) -> None:
    found = list(specs.default_differences(Tree.planted(tmp_path, files)))
    assert len(found) == 1
    assert sentence in found[0]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(role("web_port: 80\n", PORT), id="equal"),
        pytest.param(role("# web_port: the distribution's own\n{}\n", PORT.replace(", default: 80", "")), id="unset"),
    ],
)
def test_equal_defaults_are_left_in_peace(files: dict[str, str], tmp_path: Path) -> None:
    tree = Tree.planted(tmp_path, files)
    assert not list(specs.default_differences(tree))
    assert not list(specs.untyped_options(tree))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param("{web_x: {description: x}}", "has no type", id="type"),
        pytest.param("{web_x: {type: str}}", "has no description", id="description"),
        pytest.param("{web_x: {type: list, description: x}}", "has no elements", id="elements"),
        pytest.param("{x: {type: str, description: x}}", "does not begin with web_", id="prefix"),
        pytest.param("{web_password: {type: str, description: x}}", "is not no_log", id="secret"),
        pytest.param(
            "{web_x: {type: dict, description: x, options: {y: {type: str}}}}", "web_x.y has no", id="suboption"
        ),
    ],
)
def test_a_planted_gap_of_a_spec_is_seen(options: str, sentence: str, tmp_path: Path) -> None:
    found = list(specs.untyped_options(Tree.planted(tmp_path, role("{}\n", options))))
    assert len(found) == 1
    assert sentence in found[0]


@pytest.mark.parametrize(
    ("documented", "spec", "sentence"),
    [
        pytest.param({"x": {}}, {}, "m.x is documented and not in", id="not in spec"),
        pytest.param({}, {"x": {}}, "m.x is in the argument spec and not", id="not documented"),
        pytest.param({"x": {"type": "int"}}, {"x": {}}, "type 'int' and has 'str'", id="type"),
        pytest.param({"x": {"default": 1}}, {"x": {"default": 2}}, "default 1 and has 2", id="default"),
        pytest.param({"x": {"required": True}}, {"x": {}}, "required True and has False", id="required"),
        pytest.param({"x": {"choices": ["a"]}}, {"x": {"choices": ["a", "b"]}}, "choices", id="choices"),
        pytest.param({"x": {"aliases": ["a"]}}, {"x": {}}, "aliases", id="aliases"),
        pytest.param({"x": {"suboptions": {"y": {}}}}, {"x": {}}, "m.x.y is documented", id="suboption not in spec"),
        pytest.param({"x": {}}, {"x": {"options": {"y": {}}}}, "m.x.y is in", id="suboption not documented"),
    ],
)
def test_a_planted_difference_of_a_module_is_seen(documented: Any, spec: Any, sentence: str) -> None:
    found = list(specs.module_differences("m", documented, spec, files=False))
    assert len(found) == 1
    assert sentence in found[0]


def test_file_options_may_come_from_their_fragment() -> None:
    assert not list(specs.module_differences("m", {"mode": {"type": "raw"}}, {}, files=True))


FULL = {"check_mode": {"support": "full"}, "diff_mode": {"support": "none"}}


@pytest.mark.parametrize(
    ("attributes", "returned", "sentence"),
    [
        pytest.param({"check_mode": FULL["check_mode"]}, {}, "no attribute diff_mode", id="diff_mode"),
        pytest.param({**FULL, "check_mode": {"support": "partial"}}, {}, "need full", id="partial check"),
        pytest.param(FULL, {"x": {"description": "x", "type": "str"}}, "x without returned", id="return"),
    ],
)
def test_a_planted_gap_of_a_promise_is_seen(attributes: Any, returned: Any, sentence: str) -> None:
    found = list(specs.module_promises("m", {"attributes": attributes}, returned))
    assert len(found) == 1
    assert sentence in found[0]


def test_a_planted_member_of_an_action_group_is_seen() -> None:
    assert list(specs.group_differences({"release": ["blue_green", "x"]}, {"blue_green"})) == [
        "action group release names x, which is no module"
    ]
