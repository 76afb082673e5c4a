# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare specs with defaults and code. Each function yields one sentence for each difference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ansible_collections.evenkeel.platform.tests.contract.tree import Tree, without_lines

ABSENT = object()
SECRET_OPTION = re.compile(r"_(?:password|passphrase|secret|token|private_key)$")
FILE_OPTIONS = {"mode", "owner", "group", "seuser", "serole", "setype", "selevel", "unsafe_writes", "attributes"}
COMPARED = {"type": "str", "required": False, "default": None, "elements": None}


def role_specs(tree: Tree, role: str) -> dict[str, Any]:
    """Return the entry points of a role's argument specs."""
    path = f"roles/{role}/meta/argument_specs.yml"
    loaded = without_lines(tree.load(path)) if path in tree.paths else {}
    specs: dict[str, Any] = (loaded or {}).get("argument_specs") or {}
    return specs


def options_of_role(tree: Tree, role: str) -> dict[str, Any]:
    """Return the options of all entry points of a role."""
    options: dict[str, Any] = {}
    for entry_point in role_specs(tree, role).values():
        for name, option in ((entry_point or {}).get("options") or {}).items():
            if name not in options or "default" in option:
                options[name] = option
    return options


def default_differences(tree: Tree) -> Iterator[str]:
    """Defaults and specs have equal keys and values. A required option has no default, an optional one may be unset."""
    for role in tree.roles():
        options = options_of_role(tree, role)
        path = f"roles/{role}/defaults/main.yml"
        defaults = (without_lines(tree.load(path)) or {}) if path in tree.paths else {}
        if not options:
            yield f"{role}: no argument specs"
        for name in sorted(defaults.keys() - options.keys()):
            yield f"{role}: {name} has a default and is not in the specs"
        for name, option in sorted(options.items()):
            commented = re.search(rf"^# {name}:", tree.text(path), re.MULTILINE) is not None
            yield from _default_difference(role, name, option, defaults.get(name, ABSENT), commented)


def _default_difference(role: str, name: str, option: dict[str, Any], default: Any, commented: bool) -> Iterator[str]:
    if option.get("required"):
        if default is not ABSENT:
            yield f"{role}: {name} is required and has a default"
        return
    wanted = option.get("default", ABSENT)
    if wanted is ABSENT and default is ABSENT:
        if not commented:
            yield f"{role}: {name} is neither required nor has a default, and no comment in defaults names it"
    elif wanted is ABSENT:
        yield f"{role}: {name} has default {default!r} in defaults and none in the specs"
    elif default is ABSENT:
        yield f"{role}: {name} has default {wanted!r} in the specs and none in defaults"
    elif wanted != default or type(wanted) is not type(default):
        yield f"{role}: {name} has default {default!r} in defaults and {wanted!r} in the specs"


def untyped_options(tree: Tree) -> Iterator[str]:
    """Each option of a role is described and typed to the last suboption, and a secret one is no_log."""
    for role in tree.roles():
        for entry_point, spec in role_specs(tree, role).items():
            where = f"{role}/{entry_point}"
            if not (spec or {}).get("short_description"):
                yield f"{where}: no short_description"
            for name, option in ((spec or {}).get("options") or {}).items():
                if not re.match(rf"{role}_", name):
                    yield f"{where}: {name} does not begin with {role}_"
                yield from _untyped(f"{where}: {name}", name, option or {})


def _untyped(where: str, name: str, option: dict[str, Any]) -> Iterator[str]:
    for key in ("type", "description"):
        if not option.get(key):
            yield f"{where} has no {key}"
    if option.get("type") == "list" and not option.get("elements"):
        yield f"{where} has no elements"
    if option.get("type") in {None, "str"} and SECRET_OPTION.search(name) and not option.get("no_log"):
        yield f"{where} is not no_log"
    for key, inner in (option.get("options") or {}).items():
        yield from _untyped(f"{where}.{key}", f"_{key}", inner or {})


def module_differences(name: str, documented: dict[str, Any], spec: dict[str, Any], files: bool) -> Iterator[str]:
    """A module's documented options are those of its argument spec, suboptions included."""
    known = {key: value for key, value in documented.items() if not (files and key in FILE_OPTIONS and key not in spec)}
    yield from _option_differences(name, known, spec)


def _option_differences(where: str, documented: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    for key in sorted(documented.keys() - spec.keys()):
        yield f"{where}.{key} is documented and not in the argument spec"
    for key in sorted(spec.keys() - documented.keys()):
        yield f"{where}.{key} is in the argument spec and not documented"
    for key in sorted(spec.keys() & documented.keys()):
        said, held = documented[key] or {}, spec[key] or {}
        for part, otherwise in COMPARED.items():
            if said.get(part, otherwise) != held.get(part, otherwise):
                found, need = said.get(part, otherwise), held.get(part, otherwise)
                yield f"{where}.{key} is documented with {part} {found!r} and has {need!r}"
        if sorted(map(str, said.get("choices") or [])) != sorted(map(str, held.get("choices") or [])):
            yield f"{where}.{key} is documented with choices {said.get('choices')} and has {held.get('choices')}"
        if sorted(said.get("aliases") or []) != sorted(held.get("aliases") or []):
            yield f"{where}.{key} is documented with aliases {said.get('aliases')} and has {held.get('aliases')}"
        yield from _option_differences(f"{where}.{key}", said.get("suboptions") or {}, held.get("options") or {})


def module_promises(name: str, document: dict[str, Any], returned: dict[str, Any]) -> Iterator[str]:
    """A module says whether it supports check mode and diff, both do, and each returned key is described."""
    for attribute in ("check_mode", "diff_mode"):
        support = ((document.get("attributes") or {}).get(attribute) or {}).get("support")
        if support is None:
            yield f"{name} has no attribute {attribute}"
        elif attribute == "check_mode" and support != "full":
            yield f"{name} supports check mode {support}, need full"
    for key, value in (returned or {}).items():
        for part in ("description", "returned", "type"):
            if not (value or {}).get(part):
                yield f"{name} returns {key} without {part}"


def group_differences(groups: dict[str, list[str]], modules: set[str]) -> Iterator[str]:
    """Action groups name modules there are."""
    for group, members in groups.items():
        for member in sorted(set(members) - modules):
            yield f"action group {group} names {member}, which is no module"
