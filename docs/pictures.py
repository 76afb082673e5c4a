# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Draws the dashboards from what the monitored lab really shows, one picture each, into docs/images.

The panels are those of docs/dashboards.py, so a picture shows what Grafana would.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.benchmarks import panels, plot, rig
from ansible_collections.evenkeel.platform.docs import dashboards

FOLDER = Path(__file__).resolve().parent / "images"
ROW_INCHES = 2.3
LEGENDS = 6
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


def with_gaps(points: Sequence[tuple[float, float]], step: float) -> tuple[list[float], list[float]]:
    """The points of a line, with a gap where no value came, as in Grafana."""
    times: list[float] = []
    values: list[float] = []
    for at, value in points:
        if times and at - times[-1] > 1.5 * step:
            times.append(at)
            values.append(float("nan"))
        times.append(at)
        values.append(value)
    return times, values


def colour_of(line: panels.Series, number: int) -> str:
    """A side's own colour, else the next one."""
    side = next((dashboards.COLOURS[word] for word in line.legend.split() if word in dashboards.COLOURS), "")
    return {"blue": LINES[0], "green": LINES[1]}.get(side) or LINES[number % len(LINES)]


def draw_lines(axes: Axes, one: panels.Shown, rows: int = 10) -> None:
    """The newest lines of a log, the newest first."""
    every = sorted(((at, line.legend, text) for line in one.series for at, text in line.texts), reverse=True)
    axes.axis("off")
    for row, (at, service, text) in enumerate(every[:rows]):
        y = 0.93 - row / rows
        columns = (time.strftime("%H:%M:%S", time.gmtime(at)), service[:20], " ".join(text.split())[:95])
        for x, words in zip((0.0, 0.08, 0.24), columns, strict=True):
            # A line may hold what the library takes for mathematics.
            axes.text(x, y, words.replace("$", r"\$"), transform=axes.transAxes, fontsize=7)


def draw(axes: Axes, one: panels.Shown, begin: float, end: float, switches: Sequence[float]) -> None:
    """One panel."""
    axes.set_title(one.panel.title)
    if one.panel.kind == "logs" and one.series:
        draw_lines(axes, one)
        return
    axes.set_xlim(0, (end - begin) / 60)
    axes.set_xlabel("minutes", fontsize=7, color=plot.FAINT)
    axes.tick_params(labelsize=7)
    axes.grid(axis="y")
    if not one.series:
        axes.text(0.5, 0.5, "nothing in this time", transform=axes.transAxes, ha="center", color=plot.FAINT)
        axes.set_yticks([])
        return
    for number, line in enumerate(one.series):
        times, values = with_gaps(line.points, one.step)
        minutes = [(at - begin) / 60 for at in times]
        name = (line.legend or "value") if number < LEGENDS else "_"
        axes.plot(minutes, values, color=colour_of(line, number), linewidth=1.1, label=name)
    if all(value >= 0 for line in one.series for _at, value in line.points):
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda value, _place: amount(value, one.panel.unit))
    for at in switches:
        plot.mark(axes, (at - begin) / 60)
    more = len(one.series) - LEGENDS
    axes.legend(loc="upper left", fontsize=6, title=f"and {more} more" if more > 0 else None, title_fontsize=6)


@mpl.rc_context(plot.STYLE)
def picture(title: str, every: Sequence[panels.Shown], begin: float, end: float, switches: Sequence[float]) -> str:
    """One dashboard, on the grid that Grafana has as well."""
    placed = dashboards.placed([one.panel for one in every])
    rows = 1 + max(y for _x, y in placed)
    made = plot.figure(0.4 + ROW_INCHES * rows, 10)
    made.suptitle(f"{title}, as the lab shows it", fontsize=12, fontweight="bold")
    grid = GridSpec(rows, 2, figure=made)
    for one, (x, y) in zip(every, placed, strict=True):
        place = grid[y, :] if one.panel.width > 12 else grid[y, x]
        draw(made.add_subplot(place), one, begin, end, switches)
    return plot.svg(made, title)


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
        print(f"pictures: the monitored lab: found no answer ({exc}), need make watch-lab. Run it first.")
        return 1
    for uid, board in panels.BOARDS.items():
        of_board = [one for one in every if one.board == uid]
        if all(one.error for one in of_board):
            print(f"pictures: dashboard {uid}: left out, {of_board[0].error}")
            continue
        path = FOLDER / f"dashboard-{uid}.svg"
        path.write_text(picture(board.title, of_board, begin, end, switches), encoding="utf-8")
        empty = [one.panel.title for one in of_board if not one.series]
        print(f"{path.relative_to(FOLDER.parent.parent)}: written{', nothing in ' + ', '.join(empty) if empty else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
