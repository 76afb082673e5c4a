# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plots as plain SVG text: readable on a light and on a dark page, with nothing to install."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 860, 330
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 56, 48
COLOURS = ("#3b78c3", "#2e9d6a", "#9a6fc0", "#c08a2e")
RED = "#cf3f3f"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:15px}.faint{fill:#57606a}"
    ".grid{stroke:#d0d7de;stroke-width:1}.page{fill:#ffffff}.mark{stroke:#57606a;stroke-dasharray:4 4}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.grid{stroke:#3d444d}.page{fill:#0d1117}"
    ".mark{stroke:#9198a1}}"
)


def steps(highest: float, most: int = 5) -> list[float]:
    """Return round numbers from 0 to at least the highest value."""
    size = 1.0
    while highest / size > most:
        size *= 2.5 if str(size).lstrip("0.").startswith("2") else 2
    return [number * size for number in range(int(highest / size) + 2)]


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def frame(title: str, parts: Sequence[str], height: int = HEIGHT) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
            f' role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            text(LEFT, 24, title, "title"),
            *parts,
            "</svg>",
            "",
        ]
    )


def release_moving(moving: dict[str, Any]) -> str:
    """Answers per second by release over the time of one deploy, stacked, with what failed on top."""
    size = moving["bin_seconds"]
    answers: dict[str, list[int]] = moving["answers"]
    # The last bin is cut short by the end of the load.
    bins = max(len(values) for values in [*answers.values(), moving["failed"]]) - 1
    series = [(release, [value / size for value in values[:bins]]) for release, values in answers.items()]
    failed = [value / size for value in moving["failed"][:bins]]
    highest = max(sum(values[moment] for _, values in series) + failed[moment] for moment in range(bins))
    ticks = steps(max(highest, 1))
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(moment: float) -> float:
        return LEFT + across * moment / bins

    def y(value: float) -> float:
        return TOP + down * (1 - value / ticks[-1])

    parts = []
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(text(LEFT - 8, y(tick) + 4, f"{tick:g}", "faint", "end"))
    for second in steps(bins * size, 8):
        if second <= bins * size:
            parts.append(text(x(second / size), HEIGHT - BOTTOM + 18, f"{second:g}", "faint", "middle"))
    parts.append(text(WIDTH - RIGHT, HEIGHT - 10, "seconds", "faint", "end"))
    floor = [0.0] * bins
    shares = [*zip(series, COLOURS, strict=False), *([(("failed", failed), RED)] if any(failed) else [])]
    for (_, values), colour in shares:
        top = [low + value for low, value in zip(floor, values, strict=True)]
        edge = [f"{x(moment):.1f},{y(value):.1f}" for moment, value in _corners(top)]
        back = [f"{x(moment):.1f},{y(value):.1f}" for moment, value in reversed(_corners(floor))]
        parts.append(f'<polygon fill="{colour}" fill-opacity="0.85" points="{" ".join([*edge, *back])}"/>')
        floor = top
    for at, words, anchor in (
        (moving["command_began"], "deploy starts", "start"),
        (moving["command_ended"], "deploy ends", "end"),
    ):
        parts.append(
            f'<line class="mark" x1="{x(at / size):.1f}" x2="{x(at / size):.1f}" y1="{TOP - 8}" y2="{TOP + down}"/>'
        )
        parts.append(text(x(at / size) + (4 if anchor == "start" else -4), TOP - 10, words, "faint", anchor))
    legend = LEFT + 150.0
    for words, colour in [(f"release {release}", COLOURS[n]) for n, (release, _) in enumerate(series)] + [
        (f"failed: {sum(moving['failed'])}", RED)
    ]:
        parts.append(f'<rect x="{legend:.1f}" y="{HEIGHT - 20}" width="11" height="11" fill="{colour}"/>')
        parts.append(text(legend + 16, HEIGHT - 10, words))
        legend += 130
    return frame("Answers per second by release, as the app itself tells it, during one deploy", parts)


def _corners(values: Sequence[float]) -> list[tuple[float, float]]:
    """A line of steps: each value from the begin of its moment to the end."""
    return [(moment + end, value) for moment, value in enumerate(values) for end in (0, 1)]


def bars(title: str, rows: Sequence[tuple[str, float, str]], bar: float | None = None) -> str:
    """Named amounts as lying bars, and the bar to meet as a line."""
    height = TOP + 34 * len(rows) + 30
    most = max([value for _, value, _ in rows] + ([bar] if bar else []) + [1e-9])
    left = 230
    across = WIDTH - left - 150
    parts = []
    for row, (words, value, label) in enumerate(rows):
        y = TOP - 12 + 34 * row
        parts.append(text(left - 10, y + 17, words, "", "end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{max(1.0, across * value / most):.1f}" height="22"'
            f' fill="{COLOURS[row % len(COLOURS)]}" fill-opacity="0.85"/>'
        )
        parts.append(text(left + across * value / most + 8, y + 17, label))
    if bar:
        x = left + across * bar / most
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 18}" y2="{height - 26}"/>')
        parts.append(text(x, height - 10, f"bar: {bar:g}", "faint", "middle"))
    return frame(title, parts, height)
