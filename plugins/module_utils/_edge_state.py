# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What an edge holds of an app beside the live entry (C(state.json) of schema 2), and how it changes.

Pure decisions on plain data; each takes what is held and returns what is to be held, or refuses.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry, _protocol
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Status

# A side may be stopped at the end of its warm time, so nobody goes back to it shortly before.
WARM_MARGIN_SECONDS = 30
READ_STATUS = "Run ansible-playbook evenkeel.platform.status, then start over from what it shows"
NOTHING = Entry()
NOBODY = Pair()


@dataclasses.dataclass(frozen=True)
class EdgeState:
    """The live entry with its move, and what of the app is warm, withdrawn or declared out."""

    entry: Entry = NOTHING
    # Whether the record names this entry, or a higher move is shown: not so after a crash right behind a move, which
    # then counts though no record has its number. C(left) is what the record names instead.
    entry_recorded: bool = True
    left: Entry = NOTHING
    move: int = 0
    moved_at: str = ""
    moved_by: Pair = NOBODY
    previous: str = ""
    warm: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    withdrawn: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    out: t.Mapping[str, t.Mapping[str, t.Any]] = dataclasses.field(default_factory=dict)

    def serves(self, colour: str) -> bool:
        return _protocol.serves(str(self.entry), colour)


def of(record: t.Mapping[str, t.Any] | None, status: Status, entry: Entry) -> EdgeState:
    """Return what is held, by the record, the status shown and the entry that is served.

    Where record and status differ, one of them was lost or a crash came between the two writes. The higher move
    counts, and a colour is withdrawn, or an edge declared out, as long as either says so.
    """
    record = record or {}
    by = record.get("moved_by") or {"token": record.get("token")}
    withdrawn = {colour: int(move) for colour, move in (record.get("withdrawn") or {}).items()}
    for colour, move in status.withdrawn.items():
        withdrawn[colour] = max(move, withdrawn.get(colour, 0))
    warm = dict(record.get("warm") or {})
    named = _entry.parse(record.get("entry"), "blue_green", "state.json")
    recorded = "entry" not in record or named == entry or status.move > int(record.get("move") or 0)
    return EdgeState(
        entry=entry,
        entry_recorded=recorded,
        left=NOTHING if recorded else named,
        move=max(int(record.get("move") or 0), status.move) + (0 if recorded else 1),
        moved_at=str(record.get("moved_at") or ""),
        moved_by=Pair(int(by.get("token") or 0), str(by.get("run") or "")),
        previous=str(record.get("previous") or ""),
        warm={**warm, "move": int(warm.get("move") or 0)} if warm else {},
        withdrawn=withdrawn,
        out={**{name: {} for name in status.out}, **(record.get("out") or {})},
    )


def record(held: EdgeState, app: str) -> dict[str, t.Any]:
    """Return the content of C(state.json)."""
    return {
        "app": app,
        "entry": str(held.entry) if held.entry.serves else "",
        "move": held.move,
        "moved_at": held.moved_at,
        "moved_by": held.moved_by._asdict(),
        "previous": held.previous,
        "warm": dict(held.warm),
        "withdrawn": dict(held.withdrawn),
        "out": {name: dict(about) for name, about in held.out.items()},
    }


def status(held: EdgeState, pair: Pair, confirmed: bool) -> Status:
    """Return what the edge shows to hosts and to other edges."""
    return Status(confirmed, held.move, pair, dict(held.withdrawn), tuple(sorted(held.out)))


def takes_back(before: EdgeState, after: EdgeState) -> bool:
    """Tell whether a withdrawal or a declaration goes: it must be shown gone before the record forgets it."""
    return bool(set(before.withdrawn) - set(after.withdrawn) or set(before.out) - set(after.out))


def _refuse(what: str, subject: str, found: str, need: str, remedy: str = READ_STATUS) -> t.NoReturn:
    raise Failure(sentence("blue_green", what, subject, found, need, remedy))


def _at_move(held: EdgeState, move: int, app: str) -> None:
    if held.move != move:
        _refuse("the edge is at another move", app, f"move {held.move} ({held.entry})", f"move {move}")


def _idle(held: EdgeState, colour: str, app: str) -> None:
    if held.serves(colour):
        _refuse("the colour serves requests", f"{colour} of {app}", f"the entry {held.entry}", "an idle colour")


def withdraw(held: EdgeState, app: str, colour: str, move: int) -> EdgeState:
    """Refuse further moves to an idle colour, so that hosts may stop, re-create or remove it."""
    _at_move(held, move, app)
    _idle(held, colour, app)
    warm = {} if held.warm.get("colour") == colour else held.warm
    return dataclasses.replace(held, withdrawn={**held.withdrawn, colour: move}, warm=warm)


def restore(held: EdgeState, app: str, colour: str, move: int, warm: t.Mapping[str, t.Any]) -> EdgeState:
    """Take back the withdrawal of an idle colour on which its former release runs and is well again."""
    _at_move(held, move, app)
    _idle(held, colour, app)
    again = {"colour": colour, "release": str(warm["release"]), "until": int(warm["until"]), "move": move}
    return dataclasses.replace(held, withdrawn=without(held.withdrawn, colour), warm=again)


def gated(held: EdgeState, app: str, colour: str, move: int) -> EdgeState:
    """Take back the withdrawal of a colour that has just passed its gate."""
    _at_move(held, move, app)
    return dataclasses.replace(held, withdrawn=without(held.withdrawn, colour))


def declared(held: EdgeState, edge: str, about: t.Mapping[str, t.Any]) -> EdgeState:
    """Record that another edge is down for good; an earlier declaration of it stays as it is."""
    return held if held.out.get(edge) else dataclasses.replace(held, out={**held.out, edge: about})


def admitted(held: EdgeState, edge: str) -> EdgeState:
    """Remove the declaration of another edge."""
    return dataclasses.replace(held, out=without(held.out, edge))


def without(mapping: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
    return {name: value for name, value in mapping.items() if name != key}


def expired(held: EdgeState, now: float) -> EdgeState:
    """Withdraw the warm side once its time is over; it belongs to the move that left it."""
    if not held.warm or now < held.warm["until"]:
        return held
    colour = str(held.warm["colour"])
    if held.serves(colour):
        return dataclasses.replace(held, warm={})
    return dataclasses.replace(held, warm={}, withdrawn={**held.withdrawn, colour: held.warm["move"]})


def warm_side(held: EdgeState, now: float, release: str = "") -> tuple[str, str, str]:
    """Return colour and release of the warm side, and why there is none to go back to at once."""
    if not held.warm:
        return "", "", "no side is warm"
    colour, found = str(held.warm["colour"]), str(held.warm["release"])
    if colour in held.withdrawn:
        return "", "", f"{colour} is withdrawn"
    if now >= held.warm["until"] - WARM_MARGIN_SECONDS:
        return "", "", f"the warm time of {colour} is over"
    if release and found != release:
        return "", "", f"release {found} is warm, not {release}"
    return colour, found, ""


def moved(
    held: EdgeState, after: Entry, *, move: int, pair: Pair, moved_at: str, warm_until: int = 0, back: bool = False
) -> EdgeState:
    """Return what is held once the entry is moved; with C(warm_until) the side that is left stays warm.

    A side that was gone back from (C(back)) is not warm, and one that gets requests is not withdrawn.
    """
    left = held.entry
    warm: dict[str, t.Any] = {}
    if warm_until and not back and left.serves and left.colour != after.colour:
        warm = {"colour": left.colour, "release": left.release, "until": warm_until, "move": move}
    text = str(after)
    return dataclasses.replace(
        held,
        entry=after,
        entry_recorded=True,
        left=NOTHING,
        move=move,
        moved_at=moved_at,
        moved_by=pair,
        previous=str(left) if left.serves else "",
        warm=warm,
        withdrawn={colour: at for colour, at in held.withdrawn.items() if not _protocol.serves(text, colour)},
    )


def as_result(held: EdgeState, pair: Pair) -> dict[str, t.Any]:
    """Return the part of a module's result that tells what the edge holds."""
    return {
        "move": held.move,
        "moved_at": held.moved_at,
        "pair": pair._asdict(),
        "withdrawn": dict(held.withdrawn),
        "warm": dict(held.warm),
        "out": {name: dict(about) for name, about in held.out.items()},
    }


def taken_over(held: EdgeState, shown: _protocol.Shown, name: str, now: str) -> EdgeState:
    """Return what an edge that was away holds after it took over what other edges show (C(_protocol.judged))."""
    entry = _entry.parse(shown.entry, "edge-sync", "the other edges")
    others = {each: held.out.get(each) or {} for each in shown.status.out if each != name}
    after = dataclasses.replace(held, out={**without(held.out, name), **others})
    if (entry, shown.status.move) == (held.entry, held.move):
        return after
    return dataclasses.replace(
        after,
        entry=entry,
        entry_recorded=True,
        left=NOTHING,
        move=shown.status.move,
        moved_at=now,
        moved_by=shown.status.pair,
        previous=held.previous if entry == held.entry else str(held.entry),
        # Only those that made the move know what it left warm.
        warm=held.warm if entry == held.entry else {},
        withdrawn=dict(shown.status.withdrawn),
    )
