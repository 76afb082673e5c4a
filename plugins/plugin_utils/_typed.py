# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What was typed for a run: its inventory, and the short options after -e. Nothing here talks to a host."""

from __future__ import annotations

import difflib
import re
import typing as t
from pathlib import Path

from ansible.module_utils.parsing.convert_bool import BOOLEANS


class Short(t.NamedTuple):
    """What a short option of playbooks/vars/verbs.yml stands for."""

    option: str
    example: str
    need: str = ""


SHORT = {
    "app": Short("app_deploy_only", "shop"),
    "release": Short("app_deploy_release", "1.1"),
    "reason": Short("app_deploy_reason", "'...'"),
    "retry": Short("app_deploy_retry", "1.1"),
    "wait": Short("app_deploy_wait_seconds", "300", "a whole number of seconds"),
    "edge_out": Short("app_deploy_edge_out", "edge2"),
    "without_records": Short("app_deploy_break_glass", "true", "true or false"),
    "enabled": Short("app_deploy_maintenance_enabled", "false", "true or false"),
    "service": Short("app_deploy_service", "api"),
    "side": Short("app_deploy_side", "other"),
    "host": Short("app_deploy_host", "app1"),
    "since": Short("app_deploy_since", "10m"),
    "lines": Short("app_deploy_lines", "100"),
    "command": Short("app_deploy_command", "id"),
    "timeout": Short("app_deploy_timeout_seconds", "600"),
    "replicas": Short("app_deploy_replicas", "2"),
    "outage": Short("app_deploy_outage", "true", "true or false"),
}
# One letter too many, too few or swapped; "registry" is no "retry".
CUTOFF = 0.8
# Beyond this a file of an inventory is data, and no place for variables.
LIMIT = 1_000_000


def unknown_problems(extra: t.Mapping[str, t.Any], used: t.Callable[[str], bool]) -> list[str]:
    """Return one sentence for each variable that looks like a misspelt short option.

    *used* says whether the inventory or a playbook knows a name. Any other name is the business of whoever typed it.
    """
    found = []
    for name in sorted(map(str, extra)):
        near = difflib.get_close_matches(name.lower(), SHORT, n=1, cutoff=CUTOFF)
        # What is no text or number was not meant as a short option.
        if not near or name in SHORT or isinstance(extra[name], (dict, list)) or used(name):
            continue
        typed = str(extra[name])
        value = typed if re.fullmatch(r"[\w.,-]+", typed) else SHORT[near[0]].example
        found.append(
            f"preflight: unknown option {name}: found -e {name}=, need one of {', '.join(sorted(SHORT))}; did you mean "
            f"{near[0]}? Type -e {near[0]}={value}."
        )
    return found


def value_problems(extra: t.Mapping[str, t.Any]) -> list[str]:
    """Return one sentence for each short option whose value is of a wrong type, and for words that belong to none."""
    found = []
    rest = str(extra.get("_raw_params") or "").strip()
    if rest:
        # Ansible takes key=value words, and leaves what is behind a blank out of the value without a word.
        found.append(
            f"preflight: words after -e: found {rest} behind a blank, need each value in one word or in JSON. "
            """Type -e '{"command": "..."}'."""
        )
    return found + [
        f"preflight: option {name}: found {extra[name]}, need {about.need}. Type -e {name}={about.example}."
        for name, about in SHORT.items()
        if name in extra and about.need and not _fits(about.need, extra[name])
    ]


def _fits(need: str, value: t.Any) -> bool:
    if need == "true or false":
        return str(value).lower() in {str(one).lower() for one in BOOLEANS}
    return re.fullmatch(r"\d+(?:\.0+)?", str(value)) is not None


def refused(sentence: str, extra: t.Mapping[str, t.Any]) -> bool:
    """Return whether a sentence is about the option behind a short one that value_problems names already."""
    wrong = [
        about.option
        for name, about in SHORT.items()
        if name in extra and about.need and not _fits(about.need, extra[name])
    ]
    return any(sentence.startswith(f"app_deploy: {option}: ") for option in wrong)


def mentioned(name: str, sources: t.Iterable[str], playbooks: str = "") -> bool:
    """Return whether an inventory sets or uses a variable, or a template in a playbook uses it."""
    word = re.escape(name)
    use = rf"\{{[{{%][^}}]*\b{word}\b"
    sets = rf"^[\s-]*['\"]?{word}['\"]?\s*:|\b{word}\s*="
    for source in sources:
        path = Path(source)
        # A list of hosts such as "edge1," is no path.
        if "," in source or not path.exists():
            continue
        files = path.rglob("*") if path.is_dir() else [path, *_rooms(path.parent)]
        if any(re.search(f"{use}|{sets}", text, re.MULTILINE) for text in _texts(files)):
            return True
    if not playbooks:
        return False
    folder = Path(playbooks)
    return any(re.search(use, text) for text in _texts(folder.glob("*.y*ml"))) or any(
        re.search(f"{use}|{sets}", text, re.MULTILINE) for text in _texts(_rooms(folder))
    )


def _rooms(folder: Path) -> list[Path]:
    return [path for room in ("group_vars", "host_vars") for path in (folder / room).rglob("*")]


def _texts(files: t.Iterable[Path]) -> t.Iterator[str]:
    """Yield what files hold, without their comments."""
    for path in files:
        try:
            if path.is_file() and path.stat().st_size < LIMIT:
                text = path.read_text(encoding="utf-8", errors="replace")
                yield re.sub(r"(?m)^\s*#.*$", "", text)
        except OSError:
            continue


def group_problems(
    sources: t.Iterable[str],
    groups: t.Mapping[str, t.Sequence[str]],
    needed: t.Sequence[str],
    options: t.Mapping[str, str],
) -> list[str]:
    """Return why an inventory has no host for a run.

    *needed* are the groups of the run, of which each has to have a host; *options* the options that name groups.
    """
    named = [f"{group} ({options[group]})" if group in options else group for group in needed]
    read = ", ".join(_shown(source) for source in sources) or "no inventory"
    if not groups.get("all"):
        where = f" in group{'s' if len(named) > 1 else ''} {' and '.join(named)}" if named else ""
        return [f"inventory: hosts of {read}: found none, need some{where}. Set -i to the folder of your inventory."]
    empty = [label for group, label in zip(needed, named, strict=True) if not groups.get(group)]
    if not empty:
        return []
    several = len(empty) > 1
    return [
        f"inventory: group{'s' if several else ''} {' and '.join(empty)} of {read}: found no host, need at least one"
        f"{' in each' if several else ''}. Add hosts to {'them' if several else 'it'}, or set -i to another inventory."
    ]


def _shown(source: str) -> str:
    path = Path(source)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else source
