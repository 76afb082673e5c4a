# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Columns that each release reads and writes in the table of orders.

1.0 writes channel, 1.1 writes note instead. Between expand and contract the table
has both, each with a default, so both releases work side by side on it."""

from __future__ import annotations

import re

MOST_CHARACTERS = 200
MOST_BYTES = 65536


class BadOrder(Exception):
    pass


def columns(version: tuple[int, ...]) -> tuple[str, ...]:
    return ("id", "item", "note" if version >= (1, 1) else "channel", "release")


def insert(version: tuple[int, ...]) -> str:
    names = columns(version)
    places = ", ".join(f"${n}" for n in range(1, len(names) + 1))
    return f"INSERT INTO orders ({', '.join(names)}) VALUES ({places}) RETURNING seq"  # noqa: S608 - the names are constants


def probe(version: tuple[int, ...]) -> str:
    """Fail, without reading a row, if the schema does not fit this release."""
    return f"SELECT {', '.join(columns(version))}, processed_at FROM orders LIMIT 0"  # noqa: S608 - the names are constants


def _text(name: str, value: object, default: str | None = None) -> str:
    if value is None and default is not None:
        return default
    # PostgreSQL cannot store NUL or unpaired surrogates, and input is never changed.
    if not isinstance(value, str) or re.search("[\x00\ud800-\udfff]", value):
        raise BadOrder(f"shop: {name} of the order is wrong: need a text without NUL and lone surrogates.")
    if len(value) > MOST_CHARACTERS:
        raise BadOrder(
            f"shop: {name} of the order is too long: found {len(value)} characters, need {MOST_CHARACTERS} at most."
        )
    return value


def values(version: tuple[int, ...], release: str, body: object, header_id: str | None) -> tuple[str, str, str, str]:
    """Return the row for an order, with its id exactly as received."""
    if not isinstance(body, dict):
        raise BadOrder("shop: body of the order is wrong: need a JSON object.")
    body_id = body.get("id")
    if header_id is not None and body_id is not None and header_id != body_id:
        raise BadOrder("shop: id of the order is in the header and in the body, and they differ. Send one.")
    order_id = _text("id", body_id if header_id is None else header_id, "")
    if not order_id:
        raise BadOrder("shop: id of the order is missing. Send it as header X-Order-Id or JSON field id.")
    item = _text("item", body.get("item"), "")
    third = _text("note", body.get("note"), "") if version >= (1, 1) else _text("channel", body.get("channel"), "shop")
    return (order_id, item, third, release)
