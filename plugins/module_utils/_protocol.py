# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What edges and hosts show each other of a release, and what each may do. Pure decisions on plain data.

Two facts order everything. The *pair* C((token, run)) orders runs: a host that met a higher pair refuses a
lower one. The *move* is a counter that each change of the live entry raises by at least one: it orders entries,
so no two clocks are ever compared.

Each edge shows, beside the live entry, one *status* of the app:
C(confirmed,move=12,token=7,run=20261130T101500Z-00af3e,withdrawn=green@12+blue@11,out=edge2)
"""

from __future__ import annotations

import typing as t

STATUS_HEADER = "Evenkeel-Status"
RECORD_HEADER = "Evenkeel-Record"
CONFIRMED = "confirmed"
UNCONFIRMED = "unconfirmed"


class Pair(t.NamedTuple):
    """A token with the run it was given to; ordered by token, then by run."""

    token: int = 0
    run: str = ""

    def __str__(self) -> str:
        return f"token {self.token} of run {self.run or 'unknown'}"


class Status(t.NamedTuple):
    """What an edge shows of an app beside its live entry."""

    confirmed: bool = True
    move: int = 0
    pair: Pair = Pair()
    withdrawn: t.Mapping[str, int] = {}
    out: tuple[str, ...] = ()

    def text(self) -> str:
        parts = [
            CONFIRMED if self.confirmed else UNCONFIRMED,
            f"move={self.move}",
            f"token={self.pair.token}",
            f"run={self.pair.run}",
            "withdrawn=" + "+".join(f"{colour}@{self.withdrawn[colour]}" for colour in sorted(self.withdrawn)),
            "out=" + "+".join(sorted(self.out)),
        ]
        return ",".join(parts)


class Shown(t.NamedTuple):
    """An edge's whole answer: the live entry's text, its status, and the hash of the record it serves from."""

    entry: str
    status: Status
    record: str = ""


def parse_status(text: str) -> Status:
    """Return the status of its text; raises C(ValueError) for anything else."""
    words = (text or "").strip().split(",")
    if words[0] not in (CONFIRMED, UNCONFIRMED):
        raise ValueError(f"{text!r} is no status of an edge")
    fields = dict(word.partition("=")[::2] for word in words[1:])
    return Status(
        confirmed=words[0] == CONFIRMED,
        move=int(fields.get("move") or 0),
        pair=Pair(int(fields.get("token") or 0), fields.get("run", "")),
        withdrawn={
            colour: int(move)
            for colour, _at, move in (part.partition("@") for part in fields.get("withdrawn", "").split("+") if part)
        },
        out=tuple(sorted(part for part in fields.get("out", "").split("+") if part)),
    )


def serves(entry: str, colour: str) -> bool:
    """Tell whether an entry C(<colour>:<weight>:<release>:<other>) sends any request to the colour."""
    live, weight = [*entry.strip().split(":"), "", ""][:2]
    return live == colour or (live in ("blue", "green") and int(weight or 0) > 0)


def declared_out(shown: t.Mapping[str, Shown | None]) -> set[str]:
    """Return the edges that a confirmed edge shows as declared out."""
    return {name for each in shown.values() if each and each.status.confirmed for name in each.status.out}


def _counted(shown: t.Mapping[str, Shown | None]) -> dict[str, Shown | None]:
    out = declared_out(shown)
    return {name: each for name, each in shown.items() if name not in out}


def refusals(shown: t.Mapping[str, Shown | None], pair: Pair | None, move: int, colour: str = "") -> list[str]:
    """Return why an act on a host must not go on, after what every edge showed; empty when it may.

    C(shown) maps each edge's name to its answer, None where it gave none; an edge declared out by another one
    is not counted. C(pair) is that of the run that acts, None for the timer, which acts for nobody.
    C(move) is the move the act was planned for. With C(colour) the act touches that colour, which every edge
    must show withdrawn at that very move; without it the act touches workers, singletons or jobs, and every
    edge must be at that very move.
    """
    counted = _counted(shown)
    found = [] if counted else ["no edge is there to be asked"]
    for name, each in sorted(counted.items()):
        if each is None:
            found.append(f"{name} does not show what it serves")
            continue
        status = each.status
        if pair is not None and status.pair > pair:
            found.append(f"{name} has met {status.pair}, which is newer")
        if colour and serves(each.entry, colour):
            found.append(f"{name} serves {colour} ({each.entry.strip()})")
        elif colour and status.withdrawn.get(colour) != move:
            at = status.withdrawn.get(colour)
            found.append(f"{name} shows {colour} " + (f"withdrawn at move {at}" if at is not None else "not withdrawn"))
        elif not colour and status.move != move:
            found.append(f"{name} is at move {status.move}")
    return found


def order_is_void(shown: t.Mapping[str, Shown | None], move: int, colour: str) -> bool:
    """Tell whether an order to stop a colour, left by C(move), has been overtaken for good.

    It has once an edge is past that move and does not show the colour withdrawn at it: the colour became live
    again, or another move left another order.
    """
    return any(
        each is not None and each.status.move > move and each.status.withdrawn.get(colour) != move
        for each in shown.values()
    )


def judged(own: Shown, others: t.Sequence[Shown], name: str = "") -> Shown:
    """Return what an edge that was away holds of an app, after what the other edges show.

    The entry of the higher move is newer. Where the newer one is served from a record this edge was not told
    of, where two entries are of one move, or where another edge shows this one declared out, the result is
    unconfirmed: the app is answered 503 here until a controller or an edge has settled it.
    """
    sure = [each for each in others if each.status.confirmed]
    if not sure:
        return own
    highest = max([own.status.pair, *(each.status.pair for each in sure)])
    newest = max(sure, key=lambda each: each.status.move)
    out = any(name and name in each.status.out for each in sure)
    if newest.status.move > own.status.move:
        confirmed = newest.record == own.record and not out
        status = newest.status._replace(confirmed=confirmed, pair=highest)
        return Shown(newest.entry, status, own.record)
    if newest.status.move == own.status.move and newest.entry != own.entry:
        return own._replace(status=own.status._replace(confirmed=False, pair=highest))
    if not own.status.confirmed and newest.record != own.record:
        return own
    return own._replace(status=own.status._replace(confirmed=not out, pair=highest))
