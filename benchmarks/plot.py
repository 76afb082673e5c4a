# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plots as SVG by matplotlib: the same text for the same values, so that a file tells whether it is current."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 8.6
COLOURS = ("#3b78c3", "#2e9d6a", "#9a6fc0", "#c08a2e")
RED = "#cf3f3f"
FAINT = "#57606a"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#d0d7de",
    "axes.axisbelow": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": "#d0d7de",
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
    "legend.fontsize": 8,
    # Text stays text, and names within the file are the same in every run.
    "svg.fonttype": "none",
    "svg.hashsalt": "evenkeel",
}


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure in inches; to be drawn within mpl.rc_context(STYLE)."""
    return Figure(figsize=(width, height), layout="constrained")


def svg(made: Figure, title: str) -> str:
    """The text of a figure, without the time and the versions that made it."""
    out = io.StringIO()
    made.savefig(out, format="svg", metadata={"Title": title, "Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def mark(axes: Axes, at: float, words: str = "", align: str = "left") -> None:
    """A dashed line across a plot, with its name above."""
    axes.axvline(at, color=FAINT, linestyle="--", linewidth=0.9)
    if words:
        axes.annotate(
            words,
            (at, 1),
            (4 if align == "left" else -4, -9),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            color=FAINT,
            fontsize=8,
            ha=align,
        )


@mpl.rc_context(STYLE)
def release_moving(moving: dict[str, Any]) -> str:
    """Answers per second by release over the time of one deploy, stacked, with what failed on top."""
    size = moving["bin_seconds"]
    answers: dict[str, list[int]] = moving["answers"]
    # The last bin is cut short by the end of the load.
    bins = max(len(values) for values in [*answers.values(), moving["failed"]]) - 1
    series = [
        (f"release {release}", values, colour)
        for (release, values), colour in zip(answers.items(), COLOURS, strict=False)
    ]
    series.append((f"failed: {sum(moving['failed'])}", moving["failed"], RED))
    title = "Answers per second by release, as the app itself reports it, during one deploy"
    made = figure(3.3)
    axes = made.add_subplot()
    edges = [size * moment for moment in range(bins + 1)]
    floor = [0.0] * bins
    for label, values, colour in series:
        top = [low + value / size for low, value in zip(floor, values[:bins], strict=False)]
        axes.stairs(top, edges, baseline=floor, fill=True, color=colour, alpha=0.85, label=label)
        floor = top
    axes.set(title=title, xlabel="seconds", xlim=(0, edges[-1]), ylim=(0, max(floor) * 1.18))
    axes.grid(axis="y")
    mark(axes, moving["command_began"], "deploy starts", "left")
    mark(axes, moving["command_ended"], "deploy ends", "right")
    made.legend(loc="outside lower center", ncols=len(series))
    return svg(made, title)


@mpl.rc_context(STYLE)
def bars(title: str, rows: Sequence[tuple[str, float, str]], bar: float | None = None) -> str:
    """Named amounts as horizontal bars, and the bar to meet as a line."""
    made = figure(0.9 + 0.36 * len(rows))
    axes = made.add_subplot()
    places = range(len(rows))
    drawn = axes.barh(
        places,
        [value for _name, value, _label in rows],
        height=0.65,
        alpha=0.85,
        color=[COLOURS[place % len(COLOURS)] for place in places],
    )
    axes.bar_label(drawn, [label for _name, _value, label in rows], padding=5)
    axes.set_yticks(places, [name for name, _value, _label in rows], color="black")
    axes.set(title=title, xlim=(0, 1.25 * max([value for _name, value, _label in rows] + [bar or 0.0, 1e-9])))
    axes.invert_yaxis()
    axes.tick_params(left=False)
    axes.grid(axis="x")
    if bar:
        mark(axes, bar)
        axes.set_xlabel(f"dashed: the bar, {bar:g}")
    return svg(made, title)
