# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""An app's Compose files on the controller: read, checked as far as that goes without Compose, and handed to a host."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_problems,
    _app_shape,
    _compose_app,
    _compose_app_problems,
    _compose_keys,
    _compose_project,
    _model,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._app_sentence import Say, saying
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import plain, word

Data = dict[str, t.Any]
INLINE = "compose.json"
# Below the folder of the project on a host; no path of a user's begins so.
OWN = ".evenkeel"
# All that travels with a release is part of what is recorded of it.
LARGEST = 512 * 1024


class _Loader(yaml.SafeLoader):
    """Reads YAML with the two tags of the Compose Specification, which say how files are merged."""


def _untagged(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> t.Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(t.cast(yaml.ScalarNode, node))


_Loader.add_multi_constructor("!", _untagged)


class Files:
    """The files of one item of C(app_deploy_apps)."""

    def __init__(self, app: Data, release: str = "") -> None:
        """*release* stands in for the one that the item names."""
        self.item, _complaints = _app_shape.read(app)
        self.name = str(self.item.get("name", ""))
        self.release = release or str(self.item.get("release", ""))
        self.problems: list[str] = []
        self.folder = Path("/")
        self.texts: dict[str, str] = {}
        self.order: list[str] = []
        self.documents: dict[str, Data] = {}
        say = saying(self.problems, f"app {self.name}")
        _compose_app_problems.check_item(say, self.item)
        compose = self.item.get("compose")
        if isinstance(compose, dict):
            self._add(say, INLINE, json.dumps(plain(compose)))
        elif compose:
            self._read(say, compose)
        self._read_beside(say)

    def _read(self, say: Say, paths: list[str]) -> None:
        self.folder = Path(paths[0]).parent
        for path in paths:
            if not path.startswith("/"):
                need = "a full path on the controller"
                say("compose", path, need, f'Write "{{{{ playbook_dir }}}}/{path}" or another full path')
                continue
            file = Path(path)
            inside = file.is_relative_to(self.folder)
            name = str(file.relative_to(self.folder)) if inside else f"{OWN}/{len(self.order)}-{file.name}"
            try:
                self._add(say, name, file.read_text(encoding="utf-8"))
            except (OSError, ValueError) as exc:
                found = getattr(exc, "strerror", None) or "no text in UTF-8"
                say("compose", f"{path}: {found}", "a file that can be read", "Set compose")

    def _add(self, say: Say, name: str, text: str) -> None:
        self.texts[name] = text
        self.order.append(name)
        try:
            document = yaml.load(text, _Loader)  # noqa: S506 - the loader is the safe one with two tags more
        except yaml.MarkedYAMLError as exc:
            mark = exc.problem_mark
            where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
            say("compose", f"{exc.problem} at {where}", "YAML", "Correct it")
            return
        except yaml.YAMLError as exc:
            say("compose", f"{str(exc).splitlines()[0]} in {name}", "YAML", "Correct it")
            return
        if not isinstance(document, dict):
            say("compose", f"no mapping in {name}", "the keys of a Compose file", "Correct it")
            return
        self.documents[name] = document
        for place, key, need, todo in _compose_keys.problems(document):
            subject = f"{place} of {name} of app {self.name}" if place else f"{name} of app {self.name}"
            found = "it set" if need.startswith("it left out") else "an unknown key"
            saying(self.problems, subject)(key, found, need, todo)

    def _read_beside(self, say: Say) -> None:
        """Read the files that Compose itself opens while it reads the project."""
        for document in list(self.documents.values()):
            services = document.get("services")
            for name, service in services.items() if isinstance(services, dict) else ():
                if not isinstance(service, dict):
                    continue
                for key in ("env_file", "label_file"):
                    given = service.get(key) or []
                    for one in given if isinstance(given, list) else [given]:
                        entry = one if isinstance(one, dict) else {"path": one}
                        required = entry.get("required") is not False
                        self._beside(say, f"{key} of service {name}", str(entry.get("path")), required)
                extended = service.get("extends")
                if isinstance(extended, dict) and extended.get("file"):
                    self._beside(say, f"extends of service {name}", str(extended["file"]), True)

    def _beside(self, say: Say, key: str, path: str, required: bool) -> None:
        name = path.removeprefix("./")
        if "$" in path or name in self.texts:
            return
        if outside(path):
            say(key, path, "a file beside the Compose file", "Move it there, and name it without ..")
            return
        try:
            self.texts[name] = (self.folder / name).read_text(encoding="utf-8")
        except (OSError, ValueError) as exc:
            if required:
                found = f"{path}: {getattr(exc, 'strerror', None) or 'no text in UTF-8'}"
                say(key, found, "a file that can be read", "Correct the path")

    def asked(self) -> Data:
        """Return what a host is asked to normalise, as C(_compose_project.PROJECT_ARGUMENTS)."""
        extra: Data = {"services": {}, "volumes": {}}
        for document in self.documents.values():
            for section, merged in extra.items():
                entries = document.get(section)
                for name, entry in entries.items() if isinstance(entries, dict) else ():
                    own = entry.get(_compose_app.EXTENSION) if isinstance(entry, dict) else None
                    merged[name] = _compose_app.merged(merged.get(name), own)
        # Older versions of Compose leave extensions of services out of the normal form; those of a file they keep.
        name = f"{OWN}/extension.json"
        given = {key: {one: own for one, own in value.items() if own} for key, value in extra.items()}
        text = json.dumps({_compose_app.EXTENSION: given}, default=str)
        return {
            "app": self.name,
            "release": self.release,
            "files": {**self.texts, name: text},
            "order": [*self.order, name],
            "variables": self.variables(),
        }

    def variables(self) -> dict[str, str]:
        """Return what C(${...}) can see."""
        found = {"RELEASE": self.release}
        for name, value in self.item.get("variables", {}).items():
            if value is not None and not isinstance(value, (dict, list)):
                found[str(name)] = word(value)
        return found

    def place(self, variable: str) -> str:
        """Return the file and line in which a variable stands."""
        pattern = re.compile(rf"(?<!\$)\$(?:\{{{re.escape(variable)}\b|{re.escape(variable)}\b)")
        for name, text in self.texts.items():
            for number, line in enumerate(text.splitlines(), start=1):
                if pattern.search(line):
                    return f"{name}:{number}"
        return ""

    def project(self, answer: t.Mapping[str, t.Any] | None) -> tuple[Data | None, list[str]]:
        """Return the project that a host has read, with what travels with it, and every problem so far.

        Without an answer there is no project yet.
        """
        found = list(self.problems)
        if not answer or not _compose_project.answered(answer) or answer["release"] != self.release:
            return None, found
        say = saying(found, f"app {self.name}")
        if not self.problems or answer["unset"]:
            for sentence in _compose_project.explain(answer, self.place):
                say(*sentence)
        if found or not answer["normal"]:
            return None, found
        project = {
            **answer,
            "files": {},
            "variables": self.variables(),
            "secrets": answer["normal"].get("secrets") or {},
        }
        self._travelling(project, found)
        return (None if found else project), found

    def _travelling(self, project: Data, found: list[str]) -> None:
        """Read what the project mounts from beside its file."""
        held: dict[str, Data] = project["files"]
        for name, service in project["normal"].get("services", {}).items():
            say = saying(found, f"service {self.name}/{name}")
            for mount in service.get("volumes") or []:
                source = str(mount.get("source") or "")
                if mount["type"] == "bind" and source and _compose_app.travels(source) and source not in held:
                    self._hold(say, "volumes", source, held, bool(mount.get("read_only")))
        for name, config in (project["normal"].get("configs") or {}).items():
            if config.get("file"):
                self._hold(saying(found, f"config {name} of app {self.name}"), "file", config["file"], held, True)
        size = sum(len(one["data"]) for each in held.values() for one in each["entries"].values())
        if size > LARGEST:
            saying(found, f"app {self.name}")(
                "compose",
                f"{size // 1024} KiB beside the file",
                f"at most {LARGEST // 1024} KiB, as each release keeps them",
                "Put them into an image",
            )

    def _hold(self, say: Say, key: str, source: str, held: dict[str, Data], read_only: bool) -> None:
        path = self.folder / source
        entries: Data = {}
        if outside(source):
            say(key, source, "a path beside the Compose file", "Move it there, or name a full path on the host")
        elif path.is_dir() and not read_only:
            todo = "Write :ro behind it for files of the release, or name a volume for data"
            say(key, source, "it read-only, as a release never writes what it carries along", todo)
        elif path.is_dir():
            for file in sorted(each for each in path.rglob("*") if each.is_file()):
                entries |= _compose_app.one_file(str(file.relative_to(path)), file.read_bytes(), _mode(file))
            held[source] = {"name": "", "entries": entries}
        elif path.is_file():
            entries = _compose_app.one_file(path.name, path.read_bytes(), _mode(path))
            held[source] = {"name": path.name, "entries": entries}
        else:
            say(key, f"{source}, which is not there", "a file or folder beside the Compose file", "Correct the path")


def _mode(file: Path) -> str:
    return "0555" if file.stat().st_mode & 0o100 else "0444"


def outside(path: str) -> bool:
    """Tell whether a path leads out of the folder of the Compose file."""
    return path.startswith(("/", "~")) or ".." in Path(path).parts


def secret_values(app: Data) -> dict[str, str]:
    """Return the values of an item's secrets, those of files beside its Compose file included."""
    values = _model.secret_values(app)
    if not _app_shape.is_compose(app):
        return values
    files = Files(app)
    for document in files.documents.values():
        secrets = document.get("secrets")
        for name, secret in secrets.items() if isinstance(secrets, dict) else ():
            path = str(secret.get("file") or "") if isinstance(secret, dict) else ""
            if path and str(name) not in values and not outside(path) and (files.folder / path).is_file():
                values[str(name)] = (files.folder / path).read_text(encoding="utf-8")
    return values


def described(app: Data) -> Data:
    """Return an app with its services as rows of name, kind and replicas, as far as its files say without Compose."""
    if not _app_shape.is_compose(app):
        return app
    files = Files(app)
    seen: Data = {}
    for document in files.documents.values():
        services = document.get("services")
        for name, service in services.items() if isinstance(services, dict) else ():
            seen[name] = _compose_app.merged(seen.get(name) or {}, service if isinstance(service, dict) else {})
    normal = {
        name: {
            "depends_on": service["depends_on"] if isinstance(service.get("depends_on"), dict) else {},
            # Which ports does not matter here.
            "expose": ["1"] if service.get("expose") or service.get("ports") else [],
            "restart": service.get("restart"),
            "deploy": service.get("deploy"),
            "scale": service.get("scale"),
        }
        for name, service in seen.items()
    }
    own = {name: service.get(_compose_app.EXTENSION) or {} for name, service in seen.items()}
    project = {"normal": {"services": normal, _compose_app.EXTENSION: {"services": own}}}
    rows = []
    for name, more in _compose_app.extensions(files.item, project).items():
        try:
            number = _compose_app.replicas(normal[name], more)
        except (TypeError, ValueError):
            number = 1
        rows.append({"name": name, "kind": more["kind"], "replicas": number})
    return {**app, "services": [row for row in rows if row["kind"] != "once"]}


def projects(
    apps: t.Iterable[t.Any], answers: t.Mapping[str, t.Any], release: str = "", only: str = ""
) -> dict[str, _app_problems.Read]:
    """Return project and problems of each app that has a Compose file, from what a host has *answered*."""
    found: dict[str, _app_problems.Read] = {}
    for app in apps:
        if not _app_shape.is_compose(app) or not app.get("name"):
            continue
        name = str(app["name"])
        files = Files(app, release if not only or only == name else "")
        project, problems = files.project(answers.get(name))
        found[name] = {"project": project, "problems": problems}
    return found


def asked(apps: t.Iterable[t.Any], release: str = "", only: str = "") -> list[Data]:
    """Return what a host is asked to normalise: the files of each app that has any without a problem."""
    found = []
    for app in apps:
        if _app_shape.is_compose(app) and app.get("name"):
            files = Files(app, release if not only or only == app["name"] else "")
            if files.order and len(files.documents) == len(files.order):
                found.append(files.asked())
    return found
