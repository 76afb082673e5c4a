# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result file of a benchmark: content, whether its bar is met, and validation.

`bar` is a list of conditions on the document itself, each with `of`, a dotted path, and `at_most` or `at_least`:
`{"of": "results.failed", "at_most": 0}`. `met` is true when each one holds, and null where there are no results.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
KEYS = (
    "figure",
    "command",
    "commit",
    "date",
    "machine",
    "versions",
    "results",
    "control",
    "peers",
    "bar",
    "met",
    "reason",
)
LATENCY = ("p50", "p95", "max", "samples")
LOSS = ("requests", "failed", "by_kind")
Document = dict[str, Any]


class NotMeasured(Exception):
    """The benchmark could not run; the text is the reason."""


@dataclass
class Measured:
    """The result of a benchmark function."""

    results: dict[str, Any]
    bar: list[dict[str, Any]]
    control: dict[str, Any] | None = None
    peers: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def at(document: Any, path: str) -> Any:
    """Return the value at a dotted path; None without one."""
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def holds(document: Document, condition: dict[str, Any]) -> bool:
    value = at(document, condition["of"])
    if not isinstance(value, (int, float)):
        return False
    return value <= condition.get("at_most", value) and value >= condition.get("at_least", value)


def met(document: Document) -> bool | None:
    if document["results"] is None:
        return None
    return all(holds(document, condition) for condition in document["bar"])


def document(figure: str, measured: Measured | None, reason: str = "") -> Document:
    """Return the document of one run."""
    found: Document = {
        "figure": figure,
        "command": f"make bench FIGURE={figure}",
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": {**versions(), **(measured.versions if measured else {})},
        "results": measured.results if measured else None,
        "control": measured.control if measured else None,
        "peers": measured.peers if measured else {},
        "bar": measured.bar if measured else [],
        "met": None,
        "reason": reason,
    }
    found["met"] = met(found)
    return found


def write(found: Document) -> Path:
    path = RESULTS / f"{found['figure']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compact(json.dumps(found, indent=2)) + "\n", encoding="utf-8")
    return path


def compact(text: str) -> str:
    """Format JSON with each list of numbers on one line."""
    return re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)


def load() -> dict[str, Document]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}


def problems(name: str, found: Document) -> Iterator[str]:
    """Return the problems of a result file, one sentence each."""
    say = f"benchmarks: %s of figure {name}: found %s, need %s. Run make bench FIGURE={name}."
    if tuple(found) != KEYS:
        yield say % ("keys", ", ".join(found), ", ".join(KEYS))
        return
    if found["figure"] != name:
        yield say % ("name", found["figure"], "the file's own")
    if found["command"] != f"make bench FIGURE={name}":
        yield say % ("command", found["command"], f"make bench FIGURE={name}")
    if not re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found["commit"]):
        yield say % ("commit", found["commit"], "40 hexadecimal digits, with +changes where the tree had some")
    try:
        datetime.datetime.fromisoformat(found["date"])
    except ValueError:
        yield say % ("date", found["date"], "an ISO 8601 time")
    if set(found["machine"]) != {"cores", "memory_bytes", "kernel"}:
        yield say % ("machine", ", ".join(found["machine"]), "cores, memory_bytes and kernel")
    if found["results"] is None and not found["reason"]:
        yield say % ("reason", "none", "why there are no results")
    if found["results"] is not None and not found["bar"]:
        yield say % ("bar", "none", "at least one condition")
    for condition in found["bar"]:
        if "of" not in condition or not {"at_most", "at_least"} & set(condition):
            yield say % ("bar", json.dumps(condition), "of, and at_most or at_least")
        elif at(found, condition["of"]) is None:
            yield say % ("bar", f"no value at {condition['of']}", "a number there")
    if found["met"] != met(found):
        yield say % ("met", found["met"], f"{met(found)}, as results and bar say")
    yield from (say % problem for problem in _shapes(found["results"], "results"))
    yield from (say % problem for problem in _shapes(found["control"], "control"))


def _shapes(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Whatever names p50 is a latency, whatever counts failed is a loss: both in full, wherever they stand.

    A list of what failed in each moment, for a picture, counts nothing.
    """
    if isinstance(value, dict):
        for mark, keys in (("p50", LATENCY), ("failed", LOSS)):
            if mark in value and not isinstance(value[mark], list) and not set(keys) <= set(value):
                yield path, ", ".join(value), ", ".join(keys)
        if "failed" in value and isinstance(value.get("by_kind"), dict):
            total = sum(value["by_kind"].values())
            if total != value["failed"]:
                yield path, f"{value['failed']} failed and {total} by kind", "the same"
        for key, inner in value.items():
            yield from _shapes(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _shapes(inner, f"{path}.{number}")


# Machine


def output(*argv: str) -> str:
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """Return the commit, marked if the tree differs from it outside of results and docs."""
    changed = output(
        "git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results", ":!docs"
    )
    return (output("git", "rev-parse", "HEAD") or "0" * 40) + ("+changes" if changed else "")


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "memory_bytes": memory, "kernel": platform.release()}


def versions() -> dict[str, str]:
    ansible = re.search(r"core ([\d.]+)", output("ansible", "--version"))
    return {
        "python": platform.python_version(),
        "ansible-core": ansible[1] if ansible else "",
        "docker": output("docker", "version", "--format", "{{.Server.Version}}"),
    }
