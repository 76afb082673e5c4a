#!/usr/bin/env python3
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write docs/figures.md and its plots from the files in benchmarks/results; with --check print outdated files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.benchmarks import plot
from ansible_collections.evenkeel.platform.benchmarks.result import ROOT, Document, at, load

DOCS = ROOT / "docs"
IMAGES = DOCS / "images"
HEAD = """\
# Figures

Written by `make bench` from the files in [benchmarks/results](../benchmarks/results), never by hand. How they are
measured, and how to measure them yourself, is said in [benchmarks/README.md](../benchmarks/README.md). A figure that
does not meet its bar is shown as it is.
"""
TITLES = {
    "lab_time": "The lab from nothing",
    "site_time": "From bare hosts to a running platform",
    "deploy_loss": "Requests lost by deploys",
    "crash_matrix": "What a fault in the middle of a release leaves behind",
    "deploy_time": "What a deploy takes beyond the app's own start",
    "rollback_time": "From Enter to the last answer of the bad release",
    "backup_faults": "Faults of backups, and who names them",
    "backup_traps": "Databases with a trap, and what comes back of them",
    "backup_kills": "Kills at random moments of a run",
    "backup_corruption": "Random damage to repositories, and who notices it",
    "backup_pitr": "Points in time, and how much a loss costs",
    "backup_rates": "How fast backups and restores are, and what the app notices",
    "backup_retention": "Random schedules of backups and the last verified copy",
    "alert_faults": "From a fault to the receiver",
    "alert_quiet": "Alerts while nothing is wrong",
    "panels": "Panels that show what happens",
    "log_ingest": "How fast logs are stored",
    "monitoring_cost": "What watching costs",
}


def number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) and value < 10 else f"{value:.1f}" if value is not None else "-"


def words(key: str) -> str:
    return key.replace("_", " ")


def value_of(value: Any) -> str | None:
    """Return a value as a table cell; None if it does not fit."""
    if isinstance(value, dict) and "p50" in value:
        parts = ", ".join(f"{key} {number(value[key])}" for key in ("p50", "p95", "max"))
        return f"{parts} ({value['samples']} samples)"
    if isinstance(value, dict):
        if all(isinstance(inner, (int, float)) for inner in value.values()):
            return ", ".join(f"{words(key)} {number(inner)}" for key, inner in value.items()) or "none"
        return None
    if isinstance(value, list):
        return "; ".join(map(str, value)) if all(isinstance(one, str) for one in value) and value else None
    return value if isinstance(value, str) else number(value)


def rows_of(values: Any) -> list[dict[str, str]]:
    """Return the rows of a tabular value: a list of records, or records by name; empty for other values."""
    if isinstance(values, dict):
        values = [{"": name, **record} for name, record in values.items() if isinstance(record, dict)]
    if not isinstance(values, list) or not all(isinstance(record, dict) for record in values):
        return []
    cells = [{key: value_of(value) for key, value in record.items()} for record in values]
    whole = [{key: cell for key, cell in row.items() if cell is not None} for row in cells]
    return whole if all(row.keys() == record.keys() for row, record in zip(whole, values, strict=True)) else []


def grid(rows: list[dict[str, str]]) -> Iterator[str]:
    yield f"| {' | '.join(words(key) for key in rows[0])} |"
    yield "|" + "---|" * len(rows[0])
    for row in rows:
        yield f"| {' | '.join(row.get(key, '-') for key in rows[0])} |"


def table(values: dict[str, Any]) -> Iterator[str]:
    cells = {key: value_of(value) for key, value in values.items()}
    if any(cell is not None for cell in cells.values()):
        yield "| | |"
        yield "|---|---|"
        yield from (f"| {words(key)} | {cell} |" for key, cell in cells.items() if cell is not None)
    elif rows := rows_of(values):
        yield from grid(rows)
        return
    for key, value in values.items():
        if cells[key] is None and (rows := rows_of(value)):
            yield f"\n{words(key)}:\n"
            yield from grid(rows)


def condition(found: Document, one: dict[str, Any]) -> str:
    limit = " and ".join(f"{words(key)} {number(one[key])}" for key in ("at_least", "at_most") if key in one)
    return f"`{one['of']}` {limit} (found {number(at(found, one['of']))})"


def section(name: str, found: Document) -> Iterator[str]:
    yield f"\n## {TITLES.get(name, words(name))}\n"
    verdict = {True: "Met.", False: "**Not met.**", None: "**Not measured.**"}[found["met"]]
    machine = found["machine"]
    where = (
        f"{machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, kernel {machine['kernel']}, "
        + ", ".join(f"{key} {value}" for key, value in found["versions"].items() if value)
    )
    yield f"`{found['command']}`, {found['date'][:10]}, commit {found['commit'][:10]}; {where}.\n"
    if found["results"] is None:
        yield f"{verdict} {found['reason']}"
        return
    yield f"{verdict} Bar: {'; '.join(condition(found, one) for one in found['bar'])}.\n"
    for file, title in images_of(name, found):
        yield f"![{title}](images/{file.name})\n"
    yield from table(found["results"])
    if found["control"]:
        yield "\nControl:\n"
        yield from table(found["control"])
    for peer, values in found["peers"].items():
        yield f"\n{peer}:\n"
        yield from table(values)


def release_moving(found: Document) -> Iterator[tuple[Path, str, str]]:
    moving = found["results"].get("moving")
    if moving:
        yield IMAGES / "release-moving.svg", "A release moving under load", plot.release_moving(moving)
    control = found["control"]
    if control:
        rows = [
            (title, 1e3 * part["failed"] / part["requests"], f"{part['failed']:,} of {part['requests']:,}")
            for title, part in (("Evenkeel", found["results"]), ("docker compose up -d", control))
        ]
        title = "Failed requests in a thousand while a release is replaced"
        yield IMAGES / "deploy-loss.svg", title, plot.bars(title, rows)


def rollback(found: Document) -> Iterator[tuple[Path, str, str]]:
    rows = [
        (words(key), found["results"][key]["p95"], f"{found['results'][key]['p95']:.2f} s")
        for key in ("enter_to_last_bad_answer", "whole_command_seconds")
    ]
    control = found["control"]
    if control:
        rows.append(("a playbook of one empty task", control["seconds"]["p95"], f"{control['seconds']['p95']:.2f} s"))
    title = "Seconds from Enter, p95"
    yield IMAGES / "rollback-time.svg", title, plot.bars(title, rows, found["bar"][0]["at_most"])


PLOTS: dict[str, Callable[[Document], Iterator[tuple[Path, str, str]]]] = {
    "deploy_loss": release_moving,
    "rollback_time": rollback,
}


def plots_of(name: str, found: Document) -> list[tuple[Path, str, str]]:
    return list(PLOTS[name](found)) if name in PLOTS and found["results"] is not None else []


def images_of(name: str, found: Document) -> list[tuple[Path, str]]:
    return [(path, title) for path, title, _ in plots_of(name, found)]


def files(found: dict[str, Document]) -> dict[Path, str]:
    """Return all generated files with their content."""
    order = [name for name in TITLES if name in found] + [name for name in found if name not in TITLES]
    lines = [HEAD, *(line for name in order for line in section(name, found[name]))]
    made = {DOCS / "figures.md": "\n".join(lines).rstrip() + "\n"}
    for name in order:
        made.update({path: content for path, _, content in plots_of(name, found[name])})
    return made


def write() -> None:
    for path, content in files(load()).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def stale() -> list[str]:
    return [
        str(path.relative_to(ROOT))
        for path, content in files(load()).items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not current")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    found = stale()
    for path in found:
        print(f"report: {path}: found another content than the results make. Run python3 benchmarks/report.py.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
