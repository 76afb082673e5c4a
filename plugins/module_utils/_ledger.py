# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger: what was live, held, warm and pending. Pure reading of sealed rows, oldest first."""

from __future__ import annotations

import typing as t

Row = dict[str, t.Any]
# Refused: there is evidence against the release, which is held.
# Failed: a host, a registry or a disk failed, and not the release.
RESULTS = ("live", "refused", "failed", "rolled_back", "abandoned")


def held(rows: list[Row]) -> dict[str, Row]:
    """Return the identities that automation must not deploy again, each with the row that says why.

    A row holds the identities of its C(hold) list; a later row that made one of them live frees it.
    """
    result: dict[str, Row] = {}
    for row in rows:
        if row["result"] == "live":
            result.pop(row["identity"], None)
        for identity in row.get("hold") or []:
            result[identity] = row
    return result


def live_history(rows: list[Row]) -> list[Row]:
    """Return the rows that left their release live, newest first, each identity once in a row."""
    result: list[Row] = []
    for row in reversed(rows):
        if row["result"] != "live" or row.get("kind") == "contract":
            continue
        if not result or result[-1]["identity"] != row["identity"]:
            result.append(row)
    return result


def warm(rows: list[Row], now: float, parse: t.Callable[[str], float]) -> Row | None:
    """Return the side that the last live row left warm, while its time lasts."""
    history = live_history(rows)
    if not history:
        return None
    row = history[0]
    until = row.get("warm_until")
    if not until or not row.get("previous") or parse(until) <= now:
        return None
    return {"identity": row["previous"], "colour": row.get("from") or "", "until": until}


def contract_row(rows: list[Row], identity: str) -> Row | None:
    """Return the row of the contract migration of a release, when it ran."""
    for row in reversed(rows):
        if row.get("kind") == "contract" and row["result"] == "live" and row["identity"] == identity:
            return row
    return None


def pending_contract(rows: list[Row], releases: dict[str, Row]) -> list[Row]:
    """Return the contract migrations of the live release that have not run yet."""
    history = live_history(rows)
    if not history:
        return []
    identity = history[0]["identity"]
    if contract_row(rows, identity):
        return []
    content = (releases.get(identity) or {}).get("content") or {}
    return [
        {"identity": identity, "service": step.get("service"), "command": step.get("command")}
        for step in content.get("migration") or []
        if step.get("phase") == "contract"
    ]


def contract_since(rows: list[Row], identity: str) -> Row | None:
    """Return the contract migration that ran after the release was last live, if any."""
    for row in reversed(rows):
        if row["identity"] == identity and row["result"] == "live":
            return None
        if row.get("kind") == "contract" and row["result"] == "live":
            return row
    return None


def protected(rows: list[Row], live: str = "", unfinished: str = "") -> set[str]:
    """Return the identities whose records are kept whatever the count says."""
    names = {live, unfinished} | set(held(rows))
    history = live_history(rows)
    names |= {row["identity"] for row in history[:2]}
    if history:
        names.add(history[0].get("previous") or "")
    return names - {""}


def prune(created: dict[str, str], rows: list[Row], keep: int, live: str = "", unfinished: str = "") -> list[str]:
    """Return the identities to remove: all but the newest C(keep) and those protected."""
    safe = protected(rows, live, unfinished)
    newest = sorted(created, key=lambda identity: (created[identity], identity), reverse=True)
    return sorted(identity for identity in newest[keep:] if identity not in safe)
