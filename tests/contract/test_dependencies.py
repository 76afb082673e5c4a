# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is listed as needed is used, and what is used is listed: collections and Python packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# Other people's collections, by the full name of one of their plugins.
USED = re.compile(
    # Python's own ansible.utils is a part of ansible-core.
    r"(?<!from )(?<!import )\b(ansible\.(?:netcommon|posix|utils|windows)|community\.[a-z]+|kubernetes\.core)\.[a-z][a-z0-9_]+\b"
)
SHIPPED = ("roles", "playbooks", "plugins", "molecule")
CHECKOUT = (*SHIPPED, "lab", "inventories", "examples", "benchmarks", "tests")
# Packages that nothing imports, with what needs them.
COMMANDS = {
    "ansible": "carries the collections of requirements.yml",
    "ansible-core": "ansible-playbook",
    "ansible-lint": "a linter",
    "antsibull-changelog": "a linter of changelogs/fragments",
    "antsibull-docs": "a linter of the plugins' documentation",
    "coverage": "of the unit tests, through pytest-cov",
    "cryptography": "the modules of community.crypto on the controller",
    "molecule": "the scenarios",
    "mypy": "types",
    "pytest-cov": "coverage of the unit tests",
    "requests": "the modules of community.docker on the controller",
    "ruff": "a linter",
    "types-PyYAML": "types of PyYAML for mypy",
    "yamllint": "a linter",
}
MODULES = {"pytest-testinfra": "testinfra"}


def files(folders: Iterable[str], *endings: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in endings and path.is_file() and path != Path(__file__).resolve():
                yield path


def collections(folders: Iterable[str]) -> set[str]:
    """Every collection of which a plugin is named in these folders."""
    return {
        match[1]
        for path in files(folders, ".yml", ".py", ".j2")
        for match in USED.finditer(path.read_text(encoding="utf-8"))
    }


def requirements() -> list[str]:
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    return [re.split(r"[\[=<>;]", line)[0] for line in lines if line and not line.startswith("#")]


def test_galaxy_lists_the_collections_that_are_used() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert set(galaxy["dependencies"]) == collections(SHIPPED)


def test_checkout_lists_the_collections_that_it_uses() -> None:
    listed = yaml.safe_load((ROOT / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert {one["name"] for one in listed} == collections(CHECKOUT)


def test_every_python_package_is_used() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in files((*CHECKOUT, "docs"), ".py"))
    for package in requirements():
        module = MODULES.get(package, package.replace("-", "_"))
        imported = re.search(rf'(?m)^\s*(?:import|from) {module}\b|importorskip\("{module}', code)
        assert imported or package in COMMANDS, f"{package}: nothing imports it, and no command is known that needs it"
    assert COMMANDS.keys() <= set(requirements())
