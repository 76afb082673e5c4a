# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a move is to change, decided on plain data before anything is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry, _protocol
from ansible_collections.evenkeel.platform.plugins.module_utils._edge_state import EdgeState
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair

MODULE = "blue_green"


def target(before: Entry, app: str, colour: str, weight: int, release: str, other_release: str) -> Entry:
    """Return the entry to make live."""
    if not 0 <= weight <= 100:
        raise Failure(sentence(MODULE, "the weight is not usable", app, str(weight), "0 to 100 percent", "Set weight"))
    if weight and before.serves and before.colour != colour:
        raise Failure(
            sentence(
                MODULE,
                "a weight cannot change the live colour",
                app,
                f"{before.colour} live",
                f"{colour} live already",
                "Move to the colour with weight 0 first",
            )
        )
    mine = release or before.release_of(colour)
    if not mine:
        raise Failure(
            sentence(
                MODULE,
                "no release is known",
                f"colour {colour} of {app}",
                f"the entry {str(before)!r}",
                "the release that stands there",
                "Set release",
            )
        )
    theirs = other_release or before.release_of(_entry.other(colour))
    if weight and not theirs:
        raise Failure(
            sentence(
                MODULE,
                "no release is known",
                f"colour {_entry.other(colour)} of {app}",
                f"the entry {str(before)!r}",
                "the release that takes the weight",
                "Set other_release",
            )
        )
    return Entry(colour, weight, mine, theirs)


def gaining(before: Entry, after: Entry) -> str:
    """Return the colour that gets traffic it did not get before, or an empty string."""
    if after.weight > before.weight or (after.weight and not before.serves):
        return _entry.other(after.colour)
    if after.colour != before.colour or not before.serves:
        return after.colour
    return ""


def refuse_withdrawn(app: str, after: Entry, withdrawn: t.Mapping[str, int]) -> None:
    """Refuse an entry that sends requests to a colour that hosts may be stopping."""
    for colour, move in sorted(withdrawn.items()):
        if _protocol.serves(str(after), colour):
            raise Failure(
                sentence(
                    MODULE,
                    "the colour is withdrawn",
                    f"{colour} of {app}",
                    f"it withdrawn at move {move}",
                    "it to have passed its gate since",
                    "Start the release on it and run health_gate with colour and move",
                )
            )


def next_move(held: EdgeState, after: Entry, move: int, assumed: Entry | None, app: str) -> int:
    """Return the number of the move, or refuse an edge that is not where the plan assumed it.

    An edge that serves the wanted entry already takes at least the number of the plan: that of the move which the
    plan was about to make, or with nothing to change the one it was made for.
    """
    before = held.entry
    if before == after:
        planned = assumed is not None and assumed != after
        return max(held.move, move + (1 if planned else 0))
    if held.move != move or (assumed is not None and assumed != before):
        raise Failure(
            sentence(
                MODULE,
                "the edge is not where the plan assumed it",
                app,
                f"move {held.move} with the entry {before}",
                f"move {move}" + (f" with the entry {assumed}" if assumed is not None else ""),
                "Make a new plan from what the edges serve",
            ),
            replan=True,
        )
    return move + 1


class Known(t.NamedTuple):
    """Pair, move and entry of an edge; no entry, where it shows one that cannot be read."""

    pair: Pair
    move: int
    entry: Entry | None


def takeover(run: str, token: int, own: Known, peers: t.Sequence[Known], after: Entry) -> tuple[Pair, int]:
    """Return pair and move of a warm rollback: above all that any edge knows.

    A peer that is moved by the same run has taken them already; its numbers are used, so that all edges end with
    the same.
    """
    top = max(each.pair for each in [own, *peers])
    pair = top if top.run == run else Pair(max(top.token + 1, token), run)
    done = [each.move for each in peers if each.pair == pair and each.entry == after and each.move > own.move]
    return pair, max(done) if done else max(each.move for each in [own, *peers]) + 1


def minimum(value: t.Any, app: str) -> dict[str, int] | int:
    """Return the servers a service needs: one number for all, or one for each service.

    At least one: no requests go to a side without a passed check. Only in a dict a single service may need none,
    one that the release does not have.
    """
    try:
        if isinstance(value, dict):
            need = {str(name): int(count) for name, count in value.items()}
            return need if any(need.values()) else 1
        return max(1, int(value))
    except (TypeError, ValueError):
        raise Failure(
            sentence(
                MODULE,
                "the number of servers is not usable",
                app,
                repr(value),
                "a number, or a dict of service and number",
                "Set min_servers",
            )
        ) from None


def too_few(app: str, colour: str, healthy: t.Mapping[str, list[str]], need: dict[str, int] | int) -> list[str]:
    """Return a sentence for each service with too few servers that passed a check."""
    services = sorted(set(healthy) | set(need if isinstance(need, dict) else ()))
    result = []
    if not services and need:
        result.append(
            sentence(
                MODULE,
                "there is no backend",
                f"{app}_{colour}_*",
                "none",
                "one for each web service",
                "Run the edge role's configuration of the app first",
            )
        )
    for service in services:
        wanted = need.get(service, 1) if isinstance(need, dict) else need
        good = healthy.get(service, [])
        if len(good) < wanted:
            result.append(
                sentence(
                    MODULE,
                    "too few servers have passed a check since the last reload",
                    f"{app}_{colour}_{service}",
                    f"{len(good)}" + (f" ({', '.join(good)})" if good else ""),
                    str(wanted),
                    f"Start {colour} and wait for its gate, or lower min_servers",
                )
            )
    return result


def dead(former: Entry, before: t.Mapping[str, list[str]], now: t.Mapping[str, list[str]]) -> str:
    """Return why requests cannot go back to the former side, or an empty string.

    It must be as well as it was when it was left: the release on it may lack a service that the new one has.
    """
    if not former.serves:
        return ""
    well = [service for service, servers in before.items() if servers]
    ill = [service for service in well if not now.get(service)]
    if well and not ill:
        return ""
    return f"{former.colour} has no server with a passed check" + (f" for {', '.join(sorted(ill))}" if ill else "")


def base_release(release: str) -> str:
    """Return the name an app reports of itself: the identity without the number of its content."""
    return release.split("+", maxsplit=1)[0]
