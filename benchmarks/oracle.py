#!/usr/bin/env python3
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare the orders acknowledged to a load with those in the shop: each must exist exactly once.

A stored order without acknowledgement is not a loss, because only its answer was lost; it is counted separately.
A missing acknowledged order or a duplicate is a fault, with exit code 1.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.benchmarks import request
from ansible_collections.evenkeel.platform.benchmarks.load import BadTarget, Target

DETAILS = 10


class NoList(Exception):
    """The shop did not list its orders."""


def compare(acknowledged: Iterable[str], stored: Iterable[str], run: str) -> dict[str, Any]:
    """Return counts and first ids of each kind, for the orders with the run's prefix."""
    acknowledged_ids = set(acknowledged)
    held = collections.Counter(order for order in stored if order.startswith(run))
    missing = sorted(acknowledged_ids - held.keys())
    duplicated = sorted(order for order, times in held.items() if times > 1)
    unacknowledged = sorted(held.keys() - acknowledged_ids)
    return {
        "run": run,
        "acknowledged": len(acknowledged_ids),
        "stored": sum(held.values()),
        "missing": len(missing),
        "duplicated": len(duplicated),
        "unacknowledged": len(unacknowledged),
        "examples": {
            "missing": missing[:DETAILS],
            "duplicated": duplicated[:DETAILS],
            "unacknowledged": unacknowledged[:DETAILS],
        },
    }


def held_by(target: Target, timeout_seconds: float = 60.0) -> list[str]:
    """Return all orders of the shop in order of arrival."""
    try:
        status, text = request.get(target, "/api/orders/ids", timeout_seconds)
    except request.NoAnswer as exc:
        raise NoList(f"oracle: list of orders of {target.host}: found {exc}.") from exc
    if status != 200:
        raise NoList(f"oracle: list of orders of {target.host}: found status {status}, need 200.")
    return text.split()


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="https://127.0.0.1:8443", help="scheme, address, port (%(default)s)")
    parser.add_argument("--host", default="shop.lab.test", help="the name asked for (%(default)s)")
    parser.add_argument("--ids-file", required=True, help="what load.py wrote")
    parser.add_argument("--run", help="mark of the run; the beginning of the first id where it is left out")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    acknowledged = Path(options.ids_file).read_text(encoding="ascii").split()
    run = options.run or (acknowledged[0][:8] if acknowledged else "")
    if not run:
        print(f"oracle: --ids-file: found no id in {options.ids_file}, need one. Set --run.", file=sys.stderr)
        return 2
    try:
        result = compare(acknowledged, held_by(Target.parse(options.url, options.host)), run)
    except (BadTarget, NoList) as exc:
        print(exc, file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2))
    return 1 if result["missing"] or result["duplicated"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
