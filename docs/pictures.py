# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws the dashboards from what the watched lab really shows, one picture each, into docs/images.

The panels are those of docs/dashboards.py, so a picture shows what Grafana would.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.benchmarks import panels, plot, rig
from ansible_collections.evenkeel.platform.docs import dashboards

FOLDER = Path(__file__).resolve().parent / "images"
WIDE, HIGH, GAP = 415, 230, 10
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 44, 58
LINES = (*plot.COLOURS, "#b5566f", "#4a9fa8", "#8a8a3c", "#7b6a58")
SIZES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"))


def amount(value: float, unit: str) -> str:
    """A figure as Grafana writes one of that unit."""
    value = round(value, 12)
    if unit in {"percentunit", "percent"}:
        return f"{value * (100 if unit == 'percentunit' else 1):.3g} %"
    if unit in {"bytes", "Bps"}:
        for size, word in SIZES:
            if abs(value) >= size:
                return f"{value / size:.3g} {word}{'/s' if unit == 'Bps' else ''}"
        return f"{value:.3g} B{'/s' if unit == 'Bps' else ''}"
    if unit == "s" and value:
        for size, word in TIMES:
            if abs(value) >= size:
                return f"{value / size:.3g} {word}"
    words = {"reqps": " req/s", "ops": " /s", "cps": " /s", "d": " d", "s": " s"}
    return f"{value:.3g}{words.get(unit, '')}"


def rounded(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest value, which is 0 at most, to above the highest."""
    size = 10.0 ** math.floor(math.log10((high - low) or 1))
    step = next(part * size for part in (0.25, 0.5, 1.0, 2.0, 2.5) if (high - low) / (part * size) <= 4)
    return [step * number for number in range(math.floor(low / step), math.ceil(high / step) + 1)]


def pieces(points: Sequence[tuple[float, float]], step: float) -> Iterator[list[tuple[float, float]]]:
    """The line in parts: where no value came there is a hole, as in Grafana."""
    part: list[tuple[float, float]] = []
    for point in points:
        if part and point[0] - part[-1][0] > 1.5 * step:
            yield part
            part = []
        part.append(point)
    yield part


def legend(lines: Sequence[tuple[str, str]], wide: int) -> Iterator[str]:
    """Names beside their colours, in as many rows as there is room for; then how many are left."""
    x, row = 12.0, 0
    for number, (words, colour) in enumerate(lines):
        length = 5.7 * len(words) + 24
        # In the last row there is to be room for how many are left.
        if x + length > wide - 12 - (70 if row == 1 and number < len(lines) - 1 else 0):
            x, row = 12.0, row + 1
        if row > 1:
            yield plot.text(wide - 12, HIGH - 8, f"and {len(lines) - number} more", "faint small", "end")
            return
        y = HIGH - 34 + 14 * row
        yield f'<rect x="{x:.1f}" y="{y}" width="8" height="8" fill="{colour}"/>'
        yield plot.text(x + 12, y + 8, words, "small")
        x += length


def colour_of(line: panels.Series, number: int) -> str:
    """A side's own colour, else the next one."""
    side = next((dashboards.COLOURS[word] for word in line.legend.split() if word in dashboards.COLOURS), "")
    return {"blue": LINES[0], "green": LINES[1]}.get(side) or LINES[number % len(LINES)]


def newest(one: panels.Shown, wide: int) -> Iterator[str]:
    """The newest lines of a log, the newest first, as long as there is room."""
    every = sorted(((at, line.legend, text) for line in one.series for at, text in line.texts), reverse=True)
    for row, (at, service, text) in enumerate(every[: (HIGH - TOP - 14) // 17]):
        y = TOP + 16 + 17 * row
        yield plot.text(12, y, time.strftime("%H:%M:%S", time.gmtime(at)), "faint small")
        yield plot.text(66, y, service[:20], "small")
        yield plot.text(180, y, " ".join(text.split())[: (wide - 190) // 6], "faint small")


def drawn(one: panels.Shown, begin: float, end: float, switches: Sequence[float], wide: int) -> Iterator[str]:
    """The parts of one panel, from its upper left corner."""
    yield f'<rect class="grid" fill="none" width="{wide}" height="{HIGH}" rx="4"/>'
    yield plot.text(12, 20, one.panel.title, "title")
    # The sentence of a panel is cut by its frame, as Grafana shows it on demand alone.
    yield plot.text(12, 36, one.panel.text, "faint small")
    if one.panel.kind == "logs" and one.series:
        yield from newest(one, wide)
        return
    values = [value for line in one.series for _at, value in line.points]
    if not values:
        yield plot.text(wide / 2, HIGH / 2, "nothing in this time", "faint", "middle")
        return
    ticks = rounded(min(0.0, *values), max(0.0, *values) or (1.0 if min(values) >= 0 else 0.0))
    across, down = wide - LEFT - RIGHT, HIGH - TOP - BOTTOM

    def x(at: float) -> float:
        return LEFT + across * (at - begin) / (end - begin)

    def y(value: float) -> float:
        return TOP + down * (1 - (value - ticks[0]) / (ticks[-1] - ticks[0]))

    for tick in ticks:
        yield f'<line class="grid" x1="{LEFT}" x2="{wide - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        yield plot.text(LEFT - 6, y(tick) + 4, amount(tick, one.panel.unit), "faint small", "end")
    for at in switches:
        yield f'<line class="mark" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{TOP}" y2="{TOP + down}"/>'
    length = round((end - begin) / 60)
    for minutes in range(0, length + 1, max(1, length // 4)):
        anchor = "end" if minutes == length else "middle"
        yield plot.text(x(begin + 60 * minutes), TOP + down + 14, f"{minutes} min", "faint small", anchor)
    colours = [colour_of(line, number) for number, line in enumerate(one.series)]
    for line, colour in zip(one.series, colours, strict=True):
        for part in pieces(line.points, one.step):
            points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in part)
            yield f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{points}"/>'
    yield from legend([(line.legend, colour) for line, colour in zip(one.series, colours, strict=True)], wide)


def picture(uid: str, every: Sequence[panels.Shown], begin: float, end: float, switches: Sequence[float]) -> str:
    """One dashboard."""
    title = dashboards.BOARDS[uid].title
    parts, x, y = [], GAP, 44
    for one in every:
        wide = WIDE if one.panel.width <= 12 else 2 * WIDE + GAP
        if x + wide > 2 * WIDE + 2 * GAP + 1:
            x, y = GAP, y + HIGH + GAP
        body = "".join(drawn(one, begin, end, switches, wide))
        parts.append(f'<svg x="{x}" y="{y}" width="{wide}" height="{HIGH}">{body}</svg>')
        x += wide + GAP
    style = "<style>.small{font-size:10.5px}</style>"
    return plot.frame(f"{title}, as the lab shows it", [style, *parts], y + HIGH + GAP)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=int, default=30, help="how far back the pictures reach (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        end = panels.clock()
        begin = end - 60 * options.minutes
        every = panels.shown(begin, end)
        switches = panels.switches(begin, end)
    except rig.Silent as exc:
        print(f"pictures: the watched lab: found no answer ({exc}), need make watch-lab. Run it first.")
        return 1
    for uid in dashboards.BOARDS:
        of_board = [one for one in every if one.board == uid]
        if all(one.error for one in of_board):
            print(f"pictures: dashboard {uid}: left out, {of_board[0].error}")
            continue
        path = FOLDER / f"dashboard-{uid}.svg"
        path.write_text(picture(uid, of_board, begin, end, switches), encoding="utf-8")
        empty = [one.panel.title for one in of_board if not one.series]
        print(f"{path.relative_to(FOLDER.parent.parent)}: written{', nothing in ' + ', '.join(empty) if empty else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
