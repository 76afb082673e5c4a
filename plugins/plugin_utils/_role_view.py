# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The options of a role as one host sees them, without running the role: read, filled in and templated at once."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import jinja2
import yaml
from ansible.errors import AnsibleError
from ansible.template import Templar

from ansible_collections.evenkeel.platform.plugins.module_utils import _preflight

try:
    # ansible-core keeps where a value was written, and has no public name for it yet.
    from ansible._internal._datatag._tags import Origin
except ImportError:
    Origin = None

ROLES = Path(__file__).parents[2] / "roles"
# Stands in for what a missing variable would have made of a value; no check judges it.
UNKNOWN = "(unknown)"
BARE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
# Names that templates have from Jinja and Ansible and not from variables.
BUILT_IN = {"lookup", "q", "query", "now", "omit", "undef", "range", "dict", "namespace", "vars", "true", "false"}


class Missing(t.NamedTuple):
    """A value that cannot be templated: the variable that is not there, if it is that, the error, and the place."""

    variable: str
    error: str
    place: str
    origin: str


def origin(value: t.Any) -> str:
    """Return the file and line a value was written in, relative to the working folder; empty when nobody knows."""
    tag = Origin.get_tag(value) if Origin is not None else None
    if tag is None or not tag.path:
        return ""
    path = Path(str(tag.path))
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{tag.line_num}" if tag.line_num else str(shown)


def located(sentence: str, values: t.Mapping[str, t.Any]) -> str:
    """Return where the inventory holds what a sentence is about.

    *values* are variables as they were written. The words before "found" name options and items; the place with
    the most of them wins. A key alone, such as "port", is no place: none is better than a guess.
    """
    subject = sentence.partition(": found ")[0]
    words = set(re.findall(r"[\w.-]+", subject)) | set(re.findall(r"[A-Za-z][\w-]*", sentence))
    named = set(re.findall(r"[\w.-]+", subject.replace("/", " ")))
    best = (2, "")
    for option, value in values.items():
        for depth, node in _walk(value, named, 5 if option in words else 0):
            if depth > best[0] and (where := origin(node)):
                best = (depth, where)
    return best[1]


def _walk(node: t.Any, words: set[str], depth: int) -> t.Iterator[tuple[int, t.Any]]:
    yield depth, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _walk(value, words, depth + 2 if str(key) in words else depth)
    elif isinstance(node, (list, tuple)):
        for item in node:
            name = item.get("name") if isinstance(item, dict) else None
            if name is None or str(name) in words:
                yield from _walk(item, words, depth + (3 if name is not None else 0))


class RoleFiles:
    """Defaults, variables and argument spec of a role, each file read once a run."""

    # Ansible's loader marks each value with its place, which takes time and serves nobody in a spec.
    yaml_loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    def __init__(self, loader: t.Any) -> None:
        self.loader = loader
        self._read: dict[tuple[str, str], dict[str, t.Any]] = {}

    def read(self, role: str, file: str) -> dict[str, t.Any]:
        """Return a file whose values are templates."""
        if (role, file) not in self._read:
            path = ROLES / role / file
            found = self.loader.load_from_file(str(path), trusted_as_template=True) if path.exists() else {}
            self._read[role, file] = found or {}
        return self._read[role, file]

    def spec(self, role: str) -> dict[str, t.Any]:
        path = ROLES / role / "meta" / "argument_specs.yml"
        if (role, path.name) not in self._read:
            content = path.read_text(encoding="utf-8")
            self._read[role, path.name] = yaml.load(content, Loader=self.yaml_loader)  # noqa: S506 - a safe loader
        return self._read[role, path.name]


class DefaultsOnly(RoleFiles):
    """Enough to read options with: no variables, and a spec that knows the names of the defaults alone."""

    def read(self, role: str, file: str) -> dict[str, t.Any]:
        return super().read(role, file) if file.startswith("defaults/") else {}

    def spec(self, role: str) -> dict[str, t.Any]:
        return {"argument_specs": {"main": {"options": {key: {} for key in self.read(role, "defaults/main.yml")}}}}


class Options(dict[str, t.Any]):
    """The options of a role that have a value, each templated when it is first asked for."""

    def __init__(self, view: RoleView) -> None:
        super().__init__()
        self._view = view

    def __missing__(self, name: str) -> t.Any:
        self[name] = value = self._view.expanded(name)
        return value

    def get(self, name: str, otherwise: t.Any = None) -> t.Any:
        value = self[name] if self._view.has(name) else None
        return otherwise if value is None else value

    def all(self) -> dict[str, t.Any]:
        """Return every option of the role that has a value."""
        return {name: self[name] for name in self._view.known if self._view.has(name)}


class RoleView:
    """One role on one host; *missing* fills with what was needed and not there, *breaches* with those of the spec."""

    def __init__(self, files: RoleFiles, role: str, raw: t.Mapping[str, t.Any], more: t.Mapping[str, t.Any]) -> None:
        self.role = role
        self.raw = raw
        self.spec = files.spec(role)
        self.known = self.spec["argument_specs"]["main"]["options"]
        self.missing: list[Missing] = []
        self.breaches: list[str] | None = None
        self._variables = {
            **files.read(role, "defaults/main.yml"),
            **raw,
            **files.read(role, "vars/main.yml"),
            "role_path": str(ROLES / role),
            "role_name": role,
            **more,
        }
        self._templar = Templar(loader=files.loader, variables=self._variables)
        self.options = Options(self)

    @property
    def written(self) -> dict[str, t.Any]:
        """The role's variables as the inventory has them."""
        return {name: value for name, value in self.raw.items() if name.startswith(f"{self.role}_")}

    def has(self, name: str) -> bool:
        return name in self._variables

    def template(self, value: t.Any) -> t.Any:
        return self._templar.template(value)

    def internal(self, name: str) -> t.Any:
        """Return a variable of the role's vars/main.yml; a missing one is an error of the collection."""
        return self.template(self._variables[name])

    def expanded(self, name: str, otherwise: t.Any = None) -> t.Any:
        """Return one variable, with UNKNOWN for each part that cannot be templated."""
        if not self.has(name):
            return otherwise
        value = self._variables[name]
        try:
            return self.template(value)
        except AnsibleError:
            return self._expand(value, (name,), ())

    def _expand(self, value: t.Any, path: tuple[str, ...], through: tuple[str, ...]) -> t.Any:
        """Template leaf by leaf, so that one missing variable hides no other."""
        if isinstance(value, dict):
            return {key: self._expand(each, (*path, str(key)), through) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            found = []
            for number, item in enumerate(value):
                label = _preflight.place(path[-1], self._named(item), number)
                found.append(self._expand(item, (*path[:-1], label), through))
            return found
        try:
            return self.template(value)
        except AnsibleError as exc:
            bare = BARE.fullmatch(str(value).strip())
            name = bare[1] if bare else ""
            if name in self._variables and name not in through:
                return self._expand(self._variables[name], path, (*through, name))
            self._miss(value, str(exc), path)
            return UNKNOWN

    def _named(self, item: t.Any) -> t.Any:
        if not isinstance(item, dict) or "name" not in item:
            return item
        try:
            return {"name": self.template(item["name"])}
        except AnsibleError:
            return {}

    def _miss(self, value: t.Any, error: str, path: tuple[str, ...]) -> None:
        # A secret is known by its own name, not by the key its value stands under.
        secret = path[-1] == "value" and len(path) > 1 and path[-2].startswith("secret ")
        place = " of ".join(reversed(path[:-1] if secret else path))
        for variable in sorted(names(str(value)) - set(self._variables) - BUILT_IN) or [""]:
            self.missing.append(Missing(variable, error.splitlines()[0].rstrip("."), place, origin(value)))


def names(template: str) -> set[str]:
    """Return the variables that a template reads."""
    try:
        tree = jinja2.Environment(autoescape=True).parse(template)
    except jinja2.TemplateSyntaxError:
        return set()
    found = list(tree.find_all(jinja2.nodes.Name))
    return {one.name for one in found if one.ctx == "load"} - {one.name for one in found if one.ctx != "load"}
