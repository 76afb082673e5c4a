# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Keys and types of one item of C(app_deploy_apps).

C(read) returns the item with numbers as numbers and without keys that have no value, and names every key that is
unknown or of another type. What it names is left out of the item, so that the rest can still be checked.
"""

from __future__ import annotations

import datetime
import difflib
import re
import typing as t

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
Path = tuple[str, ...]
# A key's path in the item, what was found there, and what is needed.
Complaint = tuple[Path, str, str]


class Kind(t.NamedTuple):
    """What a value may be: C(take) returns it as it is used and raises C(ValueError) for anything else."""

    need: str
    take: t.Callable[[t.Any], t.Any]


def plain(value: t.Any) -> t.Any:
    """Return a copy that shares no dict or list.

    Ansible's own carry their templating along, which deepcopy would copy as well.
    """
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def word(value: t.Any) -> str:
    """Return a scalar as it is written in YAML; raises C(ValueError) for what has no such form.

    C(true) and C(false) stay YAML's words and never become Python's.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float, datetime.date)) and "\0" not in str(value):
        return str(value)
    # Without the value, which may be a secret.
    raise ValueError(f"found a {type(value).__name__}, need a text, a number or a boolean")


def shown(value: t.Any) -> str:
    """Return a value as a message shows it."""
    text = value if isinstance(value, str) and re.fullmatch(r"[!-~]+", value) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _line(value: t.Any) -> str:
    if not isinstance(value, str) or CONTROL.search(value):
        raise ValueError(value)
    return str(value)


def _prose(value: t.Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(value)
    return str(value)


def _token(value: t.Any) -> str:
    return _line(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _integer(value: t.Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+", value):
        return int(value)
    raise ValueError(value)


def _number(value: t.Any) -> int | float:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+\.[0-9]+", value):
        return float(value)
    return _integer(value)


def _switch(value: t.Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _list_of(take: t.Callable[[t.Any], t.Any]) -> t.Callable[[t.Any], list[t.Any]]:
    def taken(value: t.Any) -> list[t.Any]:
        if not isinstance(value, (list, tuple)):
            raise ValueError(value)
        return [take(each) for each in value]

    return taken


def _mapping(value: t.Any) -> dict[t.Any, t.Any]:
    if not isinstance(value, dict):
        raise ValueError(value)
    return t.cast(dict[t.Any, t.Any], plain(value))


LINE = Kind("one line of text", _line)
PROSE = Kind("a text", _prose)
TOKEN = Kind("one line of text or a whole number; write a version in quotes", _token)
INTEGER = Kind("a whole number", _integer)
NUMBER = Kind("a number", _number)
SWITCH = Kind("true or false", _switch)
LINES = Kind("a list of texts, each on one line", _list_of(_line))
WORDS = Kind('a list of words such as ["program", "--option"]', _list_of(word))
MAPPING = Kind("a mapping of names to values", _mapping)
ANYTHING = Kind("a value", lambda value: value)


def _compose(value: t.Any) -> list[str] | dict[t.Any, t.Any]:
    if isinstance(value, dict):
        return _mapping(value)
    return [_line(value)] if isinstance(value, str) else _list_of(_line)(value)


COMPOSE = Kind("the path of a Compose file, a list of paths, or the file's own keys", _compose)

SERVICE: dict[str, t.Any] = {
    "name": LINE,
    "image": LINE,
    "kind": LINE,
    "protocol": LINE,
    "command": WORDS,
    "port": INTEGER,
    "routes": [{"host": LINE, "path": LINE}],
    "replicas": INTEGER,
    "replicas_max": INTEGER,
    "health": {"path": LINE, "status": INTEGER, "body": PROSE, "release_key": LINE, "interval_seconds": NUMBER},
    "traces": SWITCH,
    "healthcheck": WORDS,
    "resources": {"memory": TOKEN, "cpus": NUMBER, "pids": INTEGER},
    "env": MAPPING,
    "secrets": [{"name": LINE, "value": ANYTHING}],
    "secrets_as": LINE,
    "secrets_as_reason": PROSE,
    "volumes": LINES,
    "read_only": SWITCH,
    "user": TOKEN,
    "stop_seconds": INTEGER,
    "connections": INTEGER,
    "schedule": LINE,
    "host": LINE,
    "waivers": [{"rule": LINE, "reason": PROSE}],
}
ITEM: dict[str, t.Any] = {
    "name": LINE,
    "release": TOKEN,
    "hosts": LINES,
    "port_base": INTEGER,
    "port_count": INTEGER,
    "services": [SERVICE],
    "migration": [
        {
            "service": LINE,
            "command": WORDS,
            "phase": LINE,
            "idempotent": SWITCH,
            "timeout_seconds": INTEGER,
            "revert": WORDS,
        }
    ],
    "database": {"max_connections": INTEGER, "reserved": INTEGER},
    "smoke": [{"path": LINE, "host": LINE, "status": INTEGER, "body": PROSE}],
    "probe": {
        "enabled": SWITCH,
        "url": LINE,
        "host": LINE,
        "connect_to": LINE,
        "ca_file": LINE,
        "verify": SWITCH,
        "status": INTEGER,
        "release_key": LINE,
    },
    "strategy": {
        "gate": {"successes": INTEGER, "interval_seconds": NUMBER, "timeout_seconds": INTEGER},
        "drain": {"timeout_seconds": INTEGER},
        "warm_seconds": INTEGER,
    },
}

# What stands under x-evenkeel of a service: the keys of SERVICE that Compose has no word for, and those of kind once.
EXTENSION_KEYS = (
    "kind",
    "port",
    "protocol",
    "routes",
    "health",
    "replicas",
    "replicas_max",
    "schedule",
    "host",
    "secrets",
    "secrets_as",
    "secrets_as_reason",
    "connections",
    "traces",
    "waivers",
)
EXTENSION: dict[str, t.Any] = {
    **{key: SERVICE[key] for key in EXTENSION_KEYS},
    "phase": LINE,
    "idempotent": SWITCH,
    "timeout_seconds": INTEGER,
}
# An item whose services stand in a Compose file.
COMPOSE_ITEM: dict[str, t.Any] = {
    "compose": COMPOSE,
    "domains": LINES,
    "variables": MAPPING,
    "secrets": MAPPING,
    **{key: shape for key, shape in ITEM.items() if key != "services"},
    "services": MAPPING,
}


def is_compose(app: t.Any) -> bool:
    """Tell whether an item names a Compose file."""
    return isinstance(app, dict) and app.get("compose") is not None


def read(app: t.Any) -> tuple[dict[str, t.Any], list[Complaint]]:
    """Return an item as it is used, and a complaint for each key that is left out of it."""
    found: list[Complaint] = []
    item = _mapping_of(app, COMPOSE_ITEM if is_compose(app) else ITEM, (), found) or {}
    if "domains" in item:
        item["hosts"] = [*item.pop("domains"), *item.get("hosts", [])]
    return item, found


def read_extension(value: t.Any) -> tuple[dict[str, t.Any], list[Complaint]]:
    """Return what stands under C(x-evenkeel) of a service as it is used, and a complaint for each key left out."""
    found: list[Complaint] = []
    if isinstance(value, dict) and isinstance(value.get("secrets"), (list, tuple)):
        # A name alone is enough for a secret.
        secrets = [{"name": one} if isinstance(one, str) else one for one in value["secrets"]]
        value = {**value, "secrets": secrets}
    return _mapping_of(value, EXTENSION, (), found) or {}, found


def _shown_at(path: Path, value: t.Any) -> str:
    """Return a value as a message shows it, but for what may be secret."""
    return f"a {type(value).__name__}" if {"secrets", "env", "variables"} & set(path) else shown(value)


def _value_of(value: t.Any, shape: t.Any, path: Path, found: list[Complaint]) -> t.Any:
    if isinstance(shape, dict):
        return _mapping_of(value, shape, path, found)
    if isinstance(shape, list):
        return _rows_of(value, shape[0], path, found)
    try:
        return shape.take(value)
    except ValueError:
        found.append((path, _shown_at(path, value), shape.need))
        return None


def _mapping_of(value: t.Any, shape: dict[str, t.Any], path: Path, found: list[Complaint]) -> dict[str, t.Any] | None:
    if not isinstance(value, dict):
        found.append((path, _shown_at(path, value), f"a mapping of {', '.join(shape)}"))
        return None
    taken = {}
    for key, each in value.items():
        if key not in shape:
            near = difflib.get_close_matches(str(key), shape, n=1)
            found.append(((*path, str(key)), "an unknown option", near[0] if near else f"one of {', '.join(shape)}"))
        # In YAML a key with nothing behind it is not set.
        elif each is not None and (kept := _value_of(each, shape[key], (*path, key), found)) is not None:
            taken[key] = kept
    return taken


def _rows_of(
    value: t.Any, shape: dict[str, t.Any], path: Path, found: list[Complaint]
) -> list[dict[str, t.Any]] | None:
    if not isinstance(value, (list, tuple)):
        found.append((path, _shown_at(path, value), "a list"))
        return None
    rows = []
    for number, each in enumerate(value):
        name = each.get("name") if isinstance(each, dict) else None
        named = isinstance(name, str) and name and not CONTROL.search(name)
        row = _mapping_of(each, shape, (*path, str(name) if named else f"[{number}]"), found)
        if row is not None:
            rows.append(row)
    return rows
