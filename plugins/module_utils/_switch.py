# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a move is to change, decided on plain data before anything is touched."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

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


def minimum(value: t.Any, app: str) -> dict[str, int] | int:
    """Return the servers a service needs: one number for all, or one for each service."""
    try:
        if isinstance(value, dict):
            return {str(name): int(count) for name, count in value.items()}
        return int(value)
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


def too_few(
    app: str, colour: str, healthy: dict[str, list[str]], need: dict[str, int] | int, exclude: t.Sequence[str] = ()
) -> list[str]:
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
        good = [name for name in healthy.get(service, []) if name not in exclude and f"{service}/{name}" not in exclude]
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


def told(release: str) -> str:
    """Return the name an app tells of itself: the identity without the number of its content."""
    return release.split("+", maxsplit=1)[0]
