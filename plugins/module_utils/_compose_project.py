# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""A user's Compose files in the normal form, which Compose itself gives on a host.

C(normalise) runs there, in the call that reads what the host knows. C(explain) says on the controller what Compose
found wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import typing as t
from pathlib import Path

# How an app's files are handed to a host.
PROJECT_ARGUMENTS: dict[str, t.Any] = {
    "app": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "files": {"type": "dict", "required": True},
    "order": {"type": "list", "elements": "str", "required": True},
    "variables": {"type": "dict", "required": True},
    # Whether registries are to be asked for its images.
    "images": {"type": "bool", "default": False},
}
UNSET = re.compile(r'The \\?"([^"\\]+)\\?" variable is not set')
REQUIRED = re.compile(r"required variable (\S+) is missing a value(?:: (.*))?")
Run = t.Callable[..., tuple[int, str, str]]


@contextlib.contextmanager
def _without_environment() -> t.Iterator[None]:
    """Take everything out of the environment, as a program that is started inherits it."""
    kept = dict(os.environ)
    os.environ.clear()
    try:
        yield
    finally:
        os.environ.update(kept)


def normalise(asked: dict[str, t.Any], docker: str | None, run: Run) -> dict[str, t.Any]:
    """Return C(normal), the project as Compose understands it, or C(error); both are empty without Compose.

    *asked* is of C(PROJECT_ARGUMENTS). What C(${...}) can see is C(variables) and nothing else. *run* takes the words
    of a command, C(environ_update) and C(cwd): without path resolution, Compose opens env_file from there.
    """
    answer: dict[str, t.Any] = {
        "app": asked["app"],
        "release": asked["release"],
        "normal": {},
        "error": "",
        "unset": [],
    }
    if docker is None:
        return answer
    with tempfile.TemporaryDirectory(prefix="evenkeel-") as folder:
        for path, text in asked["files"].items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        named = [word for path in asked["order"] for word in ("--file", str(Path(folder, path)))]
        words = [docker, "compose", "--env-file", "/dev/null", "--project-name", asked["app"]]
        words += ["--project-directory", folder, *named, "--profile", "*"]
        words += ["config", "--format", "json", "--no-path-resolution"]
        variables = {str(name): str(value) for name, value in asked["variables"].items()}
        with _without_environment():
            status, out, error = run(words, environ_update=variables, cwd=folder)
        error = error.replace(folder + "/", "")
    if re.search("is not a docker command|unknown command: docker compose|unknown shorthand|unknown flag", error):
        return answer
    answer["unset"] = sorted(set(UNSET.findall(error)))
    if status != 0:
        lines = [line.strip() for line in error.splitlines() if line.strip() and "level=warning" not in line]
        answer["error"] = lines[-1] if lines else "no message"
        return answer
    answer["normal"] = literal(json.loads(out))
    return answer


def literal(value: t.Any) -> t.Any:
    """Return the normal form as it is meant: Compose writes each dollar sign twice in it."""
    if isinstance(value, dict):
        return {key: literal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [literal(each) for each in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def images(answer: t.Mapping[str, t.Any]) -> list[str]:
    """Return the images that the services of a project name."""
    services = answer["normal"].get("services") or {}
    return sorted({str(service["image"]) for service in services.values() if service.get("image")})


def answered(answer: t.Mapping[str, t.Any] | None) -> bool:
    """Tell whether Compose has read the files; it has not where the host lacks it."""
    return bool(answer and (answer["normal"] or answer["error"]))


def explain(answer: t.Mapping[str, t.Any], places: t.Callable[[str], str]) -> list[tuple[str, str, str, str]]:
    """Return key, what was found, what is needed and what to do for each complaint of Compose.

    *places* names the file and line that a variable stands in.
    """
    found = []
    names = dict.fromkeys(answer["unset"])
    missing = REQUIRED.search(answer["error"])
    if missing:
        names[missing[1]] = None
    for name in names:
        where = places(name)
        found.append(
            (
                "compose",
                f"${{{name}}} without a value" + (f" in {where}" if where else ""),
                "one, as the environment of a host is not read",
                f"Set variables.{name}, or write $${name} for a dollar sign",
            )
        )
    if answer["error"] and not missing:
        found.append(("compose", f"an error of Compose ({answer['error']})", "a valid Compose file", "Correct it"))
    return found
