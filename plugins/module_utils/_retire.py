# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Orders to stop a colour once it is no longer warm: what they hold and what to do about one."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Shown, order_is_void, refusals

SCHEMA = 2


class Order(t.NamedTuple):
    """An order to stop a colour that was left behind by a move."""

    app: str
    colour: str
    move: int
    stack: str
    edges: list[dict[str, str]]


def order_text(app: str, colour: str, move: int, stack: str, edges: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return the text of an order."""
    record = {
        "schema": SCHEMA,
        "app": app,
        "colour": colour,
        "move": move,
        "stack": stack,
        "edges": [{"name": edge["name"], "url": edge["url"]} for edge in edges],
    }
    return json.dumps(record, indent=1, sort_keys=True) + "\n"


def parse(text: str) -> Order:
    """Return the order of its text; raises C(ValueError) for anything else."""
    record = json.loads(text)
    try:
        if record["schema"] != SCHEMA:
            raise ValueError(f"it is of schema {record['schema']}")
        return Order(record["app"], record["colour"], int(record["move"]), record["stack"], list(record["edges"]))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"it lacks {exc}") from exc


def verdict(order: Order, shown: t.Mapping[str, Shown | None]) -> tuple[str, str]:
    """Return C(stop), C(drop) or C(wait), and why."""
    if order_is_void(shown, order.move, order.colour):
        return "drop", f"move {order.move} was overtaken"
    reasons = refusals(shown, None, order.move, order.colour)
    return ("wait", ", ".join(reasons)) if reasons else ("stop", f"withdrawn at move {order.move}")
