# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Records of apps on an edge: validation, maps, and the records after a change.

All functions but ``read_record`` work on plain data. A *record* is the ``edge.json`` of
``docs/architecture.md`` section 4.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
import typing as t
from pathlib import Path

SCHEMA = 2
COLOURS = ("blue", "green")
PROTOCOLS = ("http1", "h2", "grpc")
APP = re.compile(r"[a-z][a-z0-9-]{0,30}")
# /var/lib/evenkeel/edge is the edge's own folder.
RESERVED = ("edge",)
SERVICE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
SERVER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
HOST = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# Characters in a path of a route or check that have no meaning to HAProxy.
PATH = re.compile(r"/[A-Za-z0-9/._~!&()*+,;=:@?-]*")


class EdgeError(Exception):
    """One sentence for the person who runs the playbook."""


def upgraded(record: t.Any) -> t.Any:
    """Return a record in schema 2; schema 1 had one check for both colours."""
    if not isinstance(record, dict) or record.get("schema") != 1:
        return record
    services = {
        name: {**about, "health": {colour: about.get("health") for colour in COLOURS}}
        for name, about in (record.get("services") or {}).items()
    }
    return {**record, "schema": SCHEMA, "services": services}


def record_problems(record: t.Any) -> list[str]:
    """Return every reason why a record cannot be rendered, one sentence each."""
    if not isinstance(record, dict):
        return [f"edge: record of an app: found {type(record).__name__}, need a dictionary. Set edge_app."]
    name = str(record.get("app", ""))
    found: list[str] = []

    def refuse(what: str, value: t.Any, need: str, todo: str = "Set it in edge_app") -> None:
        found.append(f"edge: {what} of app {name or '(without name)'}: found {value!r}, need {need}. {todo}.")

    if record.get("schema") != SCHEMA:
        refuse("schema of the record", record.get("schema"), "1 or 2", "Run the collection's version that wrote it")
    if not APP.fullmatch(name) or name in RESERVED:
        refuse("name", name, "a small letter and up to 30 of a-z, 0-9 and -, and not edge")
    hosts = record.get("hosts") or []
    if not hosts:
        refuse("public names", hosts, "at least one")
    for host in hosts:
        if not HOST.fullmatch(str(host)):
            refuse("public name", host, "a name in small letters")
    services = record.get("services") or {}
    for service, about in services.items():
        if not SERVICE.fullmatch(str(service)):
            refuse("service", service, "a small letter and then a-z, 0-9, - and _")
        protocols = about.get("protocol") or {}
        if not isinstance(protocols, dict) or set(protocols) - set(COLOURS):
            refuse(f"protocol of service {service}", protocols, "one for each colour")
            protocols = {}
        for colour, protocol in protocols.items():
            if protocol not in PROTOCOLS:
                refuse(f"protocol of service {service} ({colour})", protocol, f"one of {', '.join(PROTOCOLS)}")
        for colour in COLOURS:
            _refuse_health(refuse, (about.get("health") or {}).get(colour) or {}, f"of service {service} ({colour})")
        for colour in COLOURS:
            names = set()
            for server in (about.get("servers") or {}).get(colour) or []:
                label = f"server {server.get('name')} ({service}, {colour})"
                if not SERVER.fullmatch(str(server.get("name", ""))) or server["name"] in names:
                    refuse(label, server.get("name"), "a name of its own of letters, digits, ., _ and -")
                names.add(server.get("name"))
                if not _is_address(server.get("address")):
                    refuse(f"address of {label}", server.get("address"), "an IP address")
                port = server.get("port")
                if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
                    refuse(f"port of {label}", port, "1 to 65535")
    for colour in COLOURS:
        for route in (record.get("routes") or {}).get(colour) or []:
            label = f"{colour} route {route.get('host')}{route.get('path')}"
            if route.get("host") != "*" and route.get("host") not in hosts:
                refuse(f"host of {label}", route.get("host"), "one of its public names or *")
            if not PATH.fullmatch(str(route.get("path", ""))):
                refuse(f"path of {label}", route.get("path"), "a path that starts with /")
            if route.get("service") not in services:
                refuse(f"service of {label}", route.get("service"), f"one of {', '.join(sorted(services)) or 'none'}")
    return found


def read_record(path: Path) -> tuple[t.Any, list[str]]:
    """Return the record in a file, None without a file, and the reasons why it cannot be used."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError) as exc:
        problem = (
            f"edge: record {path}: found one that cannot be read ({exc}), need JSON. "
            "Deploy the app again after moving the file away."
        )
        return None, [problem]
    return record, record_problems(upgraded(record))


def _refuse_health(refuse: t.Callable[[str, t.Any, str], None], health: dict[str, t.Any], label: str) -> None:
    if not PATH.fullmatch(str(health.get("path", ""))):
        refuse(f"health path {label}", health.get("path"), "a path that starts with /")
    if not re.fullmatch(r"[1-5][0-9][0-9]", str(health.get("status", ""))):
        refuse(f"health status {label}", health.get("status"), "a status from 100 to 599")
    if not HOST.fullmatch(str(health.get("host", ""))):
        refuse(f"health host {label}", health.get("host"), "a name in small letters")
    if health.get("proto") not in (None, "", "https"):
        refuse(f"health proto {label}", health["proto"], "https or nothing")
    interval = health.get("interval_seconds")
    if not isinstance(interval, (int, float)) or isinstance(interval, bool) or not 0.1 <= interval <= 3600:
        refuse(f"health interval {label}", interval, "0.1 to 3600 seconds")


def _is_address(value: t.Any) -> bool:
    try:
        ipaddress.ip_address(str(value))
    except ValueError:
        return False
    return True


def conflicts(records: t.Sequence[dict[str, t.Any]]) -> list[str]:
    """Return one sentence for each public name of two apps."""
    owner: dict[str, str] = {}
    found = []
    for record in records:
        for host in record["hosts"]:
            first = owner.setdefault(host, record["app"])
            if first != record["app"]:
                found.append(
                    f"edge: public name {host}: found it with apps {first} and {record['app']}, need one owner. "
                    f"Take it from one of them in app_deploy_apps."
                )
    return found


def merged(
    records: t.Sequence[dict[str, t.Any]], record: dict[str, t.Any] | None, state: str, app: str
) -> list[dict[str, t.Any]]:
    """Return the records after the change, sorted by name."""
    kept = {each["app"]: each for each in records if each["app"] != app}
    if record is not None and state == "present":
        kept[app] = record
    return [kept[name] for name in sorted(kept)]


def fingerprint(records: t.Sequence[dict[str, t.Any]]) -> str:
    """Return a hash that changes with the records."""
    return hashlib.sha256(json.dumps(list(records), sort_keys=True).encode()).hexdigest()


def record_text(record: dict[str, t.Any]) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"


def routes(record: dict[str, t.Any], colour: str) -> dict[str, str]:
    """Return the routes map of one colour: ``<host><path>/`` to service, with a row for each host of ``*``."""
    table = {}
    for route in (record.get("routes") or {}).get(colour) or []:
        for host in record["hosts"] if route["host"] == "*" else [route["host"]]:
            table[f"{host}{route['path'].rstrip('/')}/"] = route["service"]
    return dict(sorted(table.items()))


def map_text(table: dict[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in table.items())


def header_pattern(names: t.Iterable[str]) -> str:
    """Return a regular expression for header names in lower case, with any separator in place of ``-``.

    A ``*`` at the end of a name stands for any rest.
    """
    parts = []
    for name in sorted({name.lower() for name in names}):
        words = [re.escape(word) for word in name.removesuffix("*").split("-")]
        parts.append("[^a-z0-9]".join(words) + (".*" if name.endswith("*") else ""))
    return f"^({'|'.join(parts)})$"


def refusal(output: str, stage: str, config_dir: str) -> str:
    """Return the line with HAProxy's reason to refuse a configuration, with the final paths."""
    lines = [line.strip() for line in output.splitlines() if "ALERT" in line]
    # "config : parsing [file:line] : reason" comes before "Error(s) found in ...".
    line = lines[0] if lines else output.strip().partition("\n")[0] or "no reason given"
    line = re.sub(r"^\[ALERT\]\s*\(\d+\)\s*:\s*", "", line)
    line = re.sub(r"^config\s*:\s*", "", line)
    return line.replace(f"{stage}/etc", config_dir).rstrip(".")
