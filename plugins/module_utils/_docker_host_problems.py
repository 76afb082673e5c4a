# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find on a host what the engine's setup would break, or be broken by.

PRIVATE to the collection: import from modules and filters of evenkeel.platform only.

Every function takes plain data and returns one sentence for each problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DAEMON_JSON = "/etc/docker/daemon.json"

# Options of the role that together become one key of daemon.json.
LOG_OPTIONS = frozenset({"log_max_size", "log_max_file", "log_compress", "log_options"})

# How to turn off each firewall that keeps rules of its own.
FIREWALLS = {
    "ufw": "ufw disable",
    "firewalld": "systemctl disable --now firewalld",
}

Source = dict[str, str]


def option_keys(options: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> set[str]:
    """Return the keys of daemon.json that the user's own options set."""
    keys = {"log-opts" if option in LOG_OPTIONS else option.replace("_", "-") for option in options}
    return keys | set(extra or {})


def merged_daemon(
    wanted: Mapping[str, Any],
    present: Mapping[str, Any] | None,
    written: Iterable[str],
    chosen: Iterable[str],
) -> dict[str, Any]:
    """Return the content of daemon.json: what the role wants, and the keys that others put there.

    present is the file's content, written the keys that the role wrote before,
    chosen the keys that the user's options set.
    """
    ours = {*written, *chosen, *wanted}
    return {**{key: value for key, value in (present or {}).items() if key not in ours}, **wanted}


def daemon_problems(
    host: str,
    wanted: Mapping[str, Any],
    present: Mapping[str, Any] | None,
    written: Iterable[str],
    chosen: Iterable[str],
) -> list[str]:
    """Name each key of daemon.json that the role must neither replace nor keep.

    present is None where there is no file. A key that somebody else set is
    replaced only if the user's options name it.
    """
    ours = {*written, *chosen}
    problems = []
    for key, value in sorted((present or {}).items()):
        if key in ours:
            continue
        where = f"docker_host: key '{key}' in {DAEMON_JSON} of {host}"
        if key == "hosts":
            problems.append(
                f"{where}: found listeners, need none, for the engine's unit already passes --host. "
                "Remove the key and set the listeners in a drop-in of the unit."
            )
        elif key in wanted and wanted[key] != value:
            problems.append(
                f"{where}: found {_short(value)} that the role did not write, need {_short(wanted[key])}. "
                f"Set {_option(key)} to the value you want."
            )
    merged = merged_daemon(wanted, present, written, chosen)
    if merged.get("userns-remap"):
        problems.append(
            f"docker_host: key 'userns-remap' of {host}: found {_short(merged['userns-remap'])}, need no such key, "
            "because secrets are files owned by the service's user on the host, which a remapped container cannot "
            "read. Remove the key and set 'user' for each service."
        )
    return problems


def daemon_text_problems(host: str, text: str | None) -> list[str]:
    """Say whether daemon.json is something else than a JSON object; None is no file."""
    if text is None or not text.strip():
        return []
    try:
        found = "" if isinstance(json.loads(text), dict) else "JSON that is not an object"
    except ValueError as error:
        found = f"text that is not JSON ({error})"
    if not found:
        return []
    return [f"docker_host: {DAEMON_JSON} of {host}: found {found}, need a JSON object. Correct or remove the file."]


def _option(key: str) -> str:
    if key == "log-opts":
        return "docker_host_daemon.log_max_size, log_max_file and log_options"
    return f"docker_host_daemon.{key.replace('-', '_')}"


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def apt_sources(path: str, text: str) -> list[Source]:
    """Return the enabled repositories of one file of apt: path, uri, suite and signed_by of each."""
    read = _deb822(text) if path.endswith(".sources") else _one_line(text)
    return [{"path": path, **source} for source in read]


def _one_line(text: str) -> list[Source]:
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb(?:-src)?\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)", line)
        if match:
            settings = dict(part.split("=", 1) for part in (match[1] or "").split() if "=" in part)
            key = next((value for name, value in settings.items() if name.lower() == "signed-by"), "")
            found.append({"uri": match[2].rstrip("/"), "suite": match[3], "signed_by": key})
    return found


def _deb822(text: str) -> list[Source]:
    found = []
    for stanza in re.split(r"\n[ \t]*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')} {line.strip()}".strip()
            elif ":" in line:
                name, _colon, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields.get("enabled", "yes").lower() in ("no", "false", "0", "off"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                found.append({"uri": uri.rstrip("/"), "suite": suite, "signed_by": fields.get("signed-by", "")})
    return found


def source_problems(host: str, files: Mapping[str, str], ours: Source | None = None) -> list[str]:
    """Name each file that gives a repository another key than the one before does: apt then refuses all sources.

    files is the content of each file of apt's by path, ours the repository
    that the role is about to write, with its path; what that path holds now
    does not count.
    """
    first: dict[tuple[str, str], Source] = {}
    if ours:
        first[(ours["uri"].rstrip("/"), ours["suite"])] = ours
    problems = []
    for path in sorted(files):
        if ours and path == ours["path"]:
            continue
        for source in apt_sources(path, files[path]):
            other = first.setdefault((source["uri"], source["suite"]), source)
            if source["signed_by"] == other["signed_by"]:
                continue
            problem = (
                f"docker_host: apt source {source['uri']} {source['suite']} of {host}: "
                f"found {_key(source['signed_by'])} in {path}, need {_key(other['signed_by'])} as in {other['path']}, "
                f"or apt reads no source at all. Remove {path} or that entry of it."
            )
            if problem not in problems:
                problems.append(problem)
    return problems


def _key(signed_by: str) -> str:
    if not signed_by:
        return "no key"
    return "a key written into the file" if "BEGIN PGP" in signed_by else f"key {signed_by}"


def firewall_problems(host: str, active: Iterable[str]) -> list[str]:
    """Name each other firewall that is switched on, by the names of FIREWALLS."""
    return [
        f"docker_host: firewall of {host}: found {name} switched on, need the role's own alone. "
        f"Run {FIREWALLS[name]}, or set docker_host_firewall_enabled to false."
        for name in sorted(set(active) & set(FIREWALLS))
    ]


def port_problems(
    owner: str, host: str, wanted: Sequence[Mapping[str, Any]], listening: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Name each wanted port on which another program listens already.

    wanted: port, setting (what to set instead) and programs (which may hold the
    port already), optionally protocol (tcp) and address (all of them).
    listening: port, protocol, address, program and pid, as the host reports.
    """
    problems = []
    for want in wanted:
        for held in listening:
            if (int(held["port"]), held["protocol"]) != (int(want["port"]), want.get("protocol", "tcp")):
                continue
            if not _meet(str(want.get("address") or ""), str(held["address"])):
                continue
            if held["program"] in want.get("programs", ()):
                continue
            program = f"{held['program']} (process {held['pid']})" if held["program"] else "an unknown program"
            problem = (
                f"{owner}: {held['protocol']} port {held['port']} of {host}: found it in use by {program}, "
                f"need it free. Stop {held['program'] or 'that program'}, or set {want['setting']}."
            )
            if problem not in problems:
                problems.append(problem)
    return problems


def _meet(wanted: str, held: str) -> bool:
    everywhere = {"", "*", "0.0.0.0", "::"}  # noqa: S104 - nothing is bound here
    return wanted in everywhere or held in everywhere or wanted == held
