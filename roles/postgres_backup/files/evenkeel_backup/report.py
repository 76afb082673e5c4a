# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML page of a drill: one self-contained file."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenkeel_backup import disk

if TYPE_CHECKING:
    from evenkeel_backup.job import Job
    from evenkeel_backup.outcome import Outcome

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1b1f24;background:#fff}
h1{font-size:1.5em}table{border-collapse:collapse;width:100%;margin:1em 0}
td,th{text-align:left;padding:.35em .6em;border-bottom:1px solid #d5d9de;vertical-align:top}
.good{color:#0b6b2e;font-weight:600}.bad{color:#a40e26;font-weight:600}.num{text-align:right;font-variant-numeric:tabular-nums}
@media (prefers-color-scheme:dark){
body{color:#e6e8eb;background:#14171a}td,th{border-color:#343a40}.good{color:#5fd38a}.bad{color:#ff7b84}}
"""
SAYS = {
    "L0": "it is there, and the key opens it",
    "L1": "what is stored is what was made",
    "L2": "the catalogue can be read",
    "L3": "it restores, with no network",
    "L4": "pages, tables and indexes are sound",
    "L5": "it is the same as when it was made",
}
FOLDED_ROWS = 200


def page(document: dict[str, Any]) -> str:
    """Render the page of a drill's document. Pure."""
    drill, made = document["drill"], document["manifest"]
    steps = next(iter(document["ladder"].values()))
    good = not document["failures"]
    verdict = (
        f'<span class="{"good" if good else "bad"}">{"proven" if good else "NOT proven"} to L{drill["level"]}</span>'
    )
    facts = [
        ("Backup", f"{made['id']} ({made['engine']}, {made['type']})"),
        ("Of", f"{document['instance']} on {made['host']}, PostgreSQL {made['server'].get('version', '-')}"),
        ("Taken", made["started_at"]),
        ("Read from", drill["repository"]),
        ("Restored on", drill["host"] + (" (the host it was taken on)" if drill["same_host"] else "")),
        ("Restored in", f"{drill['seconds']:.1f} s, {drill['rate'] / 1e6:.1f} MB/s"),
        ("Drill", f"{drill['at']}, {document['seconds']:.1f} s in all"),
    ]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Drill of {_text(document['instance'])}: {_text(made['id'])}</title><style>{STYLE}</style>",
        f"<h1>Restore drill of {_text(document['instance'])}: {verdict}</h1>",
        _table([], facts),
        "<h2>Steps</h2><table><tr><th>Step<th>Proves<th>Result<th>Evidence<th class=num>Seconds</tr>",
    ]
    for step in steps:
        mark = '<td class="good">passed' if step["ok"] else '<td class="bad">failed'
        evidence = step["evidence"] or ", ".join(step["faults"])
        parts.append(
            f"<tr><td>{step['step']}<td>{SAYS[step['step']]}{mark}<td>{_text(evidence)}"
            f"<td class=num>{step['seconds']:.1f}</tr>"
        )
    parts.append("</table>")
    if document["failures"]:
        parts.append(
            "<h2>What failed</h2>"
            + _table(
                ["Stage", "Fault", "What to do"],
                [(one["stage"], one["fault"], one["sentence"]) for one in document["failures"]],
            )
        )
    rows = [
        (entry["name"], table, count, "every value" if table in entry.get("sums", {}) else "number of rows")
        for entry in made["databases"]
        for table, count in sorted(entry["rows"].items())
    ]
    if rows and "compared" in drill:
        head = ["Database", "Table", "Rows in the manifest", "Compared"]
        parts.append("<h2>What was compared</h2>" + _table(head, rows[:FOLDED_ROWS]))
        if len(rows) > FOLDED_ROWS:
            parts.append(f"<p>and {len(rows) - FOLDED_ROWS} more tables</p>")
        left_out = drill["compared"]["left_out"]
        if left_out:
            items = "".join(f"<li>{_text(one)}" for one in left_out)
            parts.append(f"<h2>Equal but for</h2><ul>{items}</ul>")
    return "".join(parts) + "</html>\n"


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(head: list[str], rows: list[tuple[Any, ...]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{_text(one)}" for one in head) + "</tr>"] if head else []
    lines += ["<tr>" + "".join(f"<td>{_text(one)}" for one in row) + "</tr>" for row in rows]
    return "<table>" + "".join(lines) + "</table>"


def write(job: Job, outcome: Outcome) -> Path:
    """Write the page of a drill next to its JSON."""
    document = outcome.as_dict()
    name = document["drill"]["at"].replace(":", "").replace("+0000", "Z")
    path = job.config.state_dir / "reports" / f"{name}-drill.html"
    disk.write_atomic(path, page(document), 0o644)
    return path
