# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check that every panel of the monitored lab shows data, changes with faults, and is empty without exporters."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.evenkeel.platform.benchmarks import panels as lab
from ansible_collections.evenkeel.platform.benchmarks.figures.deploy import need_lab
from ansible_collections.evenkeel.platform.benchmarks.result import Measured


def panels(_folder: Path) -> Measured:
    need_lab()
    seen = lab.Seen(lab.looked_back(), lab.silenced())
    every = sorted(seen.before)
    may_move = [one for one in every if one[1] not in lab.CONSTANT]
    may_empty = [one for one in every if one[0] not in lab.OUTLIVES and one[1] not in lab.OF_WHAT_IS_MISSING]
    short = {
        "without_data": [one for one in every if not seen.has_data(*one)],
        "still": [one for one in may_move if not seen.moved(*one)],
        "not_empty": [one for one in may_empty if not seen.fell_empty(*one)],
    }
    return Measured(
        results={
            "panels": len(every),
            "with_data_percent": round(100 * (1 - len(short["without_data"]) / len(every)), 1),
            "moved_percent": round(100 * (1 - len(short["still"]) / len(may_move)), 1),
            "empty_without_exporters_percent": round(100 * (1 - len(short["not_empty"]) / len(may_empty)), 1),
            "may_stand_still": len(every) - len(may_move),
            "may_outlive_exporters": len(every) - len(may_empty),
            **{name: [": ".join(one) for one in found] for name, found in short.items()},
        },
        bar=[
            {"of": "results.with_data_percent", "at_least": 100},
            {"of": "results.moved_percent", "at_least": 100},
            {"of": "results.empty_without_exporters_percent", "at_least": 100},
        ],
    )
