# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters over the options of a role."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

CUTOFF = 0.6


def known_options(spec: Mapping[str, Any]) -> list[str]:
    """Return the option names of every entry point of a role's argument specs, sorted."""
    entry_points = spec.get("argument_specs")
    if not isinstance(entry_points, Mapping):
        raise AnsibleFilterError("unknown_options: the specs have no mapping named argument_specs.")
    names: set[str] = set()
    for entry_point in entry_points.values():
        names.update((entry_point or {}).get("options") or {})
    return sorted(names)


def role_of(options: Iterable[str]) -> str:
    """Return the common prefix of all option names, which is the role's name."""
    split = [name.split("_")[:-1] for name in options]
    words = []
    for column in zip(*split, strict=False):
        if len(set(column)) > 1:
            break
        words.append(column[0])
    return "_".join(words)


def unknown_options(names: Iterable[str], spec: Mapping[str, Any], role: str = "") -> list[str]:
    """Return one sentence for each variable that no entry point of the specs declares."""
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise AnsibleFilterError(f"unknown_options: found {type(names).__name__}, need a list of variable names.")
    if not isinstance(spec, Mapping):
        raise AnsibleFilterError(f"unknown_options: found {type(spec).__name__}, need the parsed argument specs.")
    known = known_options(spec)
    prefix = role or role_of(known)
    sentences = []
    for name in sorted({str(name) for name in names}):
        if name.startswith("__") or name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=CUTOFF)
        need = near[0] if near else "an option of the role's argument specs"
        advice = "Rename the variable" if near else "Remove the variable"
        sentences.append(
            f"{prefix + ': ' if prefix else ''}unknown option on {name}: found {name}, need {need}. {advice}."
        )
    return sentences


class FilterModule:
    """Jinja filters over the options of a role."""

    def filters(self) -> dict[str, Any]:
        return {"unknown_options": unknown_options}
