# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one map entry that holds all a move changes: C(<colour>:<weight>:<live release>:<other>)."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

COLOURS = ("blue", "green")
_ENTRY = re.compile(r"(blue|green|none)?:(\d{1,3})?:([A-Za-z0-9._+-]*):([A-Za-z0-9._+-]*)\Z")


@dataclasses.dataclass(frozen=True)
class Entry:
    """What an edge serves of an app; an empty colour or release means: nothing yet."""

    colour: str = ""
    weight: int = 0
    release: str = ""
    other_release: str = ""

    def __str__(self) -> str:
        return f"{self.colour}:{self.weight}:{self.release}:{self.other_release}"

    @property
    def serves(self) -> bool:
        return bool(self.colour and self.release)

    def release_of(self, colour: str) -> str:
        """Return the release that stands on a colour, as far as the entry knows it."""
        if colour == self.colour:
            return self.release
        return self.other_release


def as_dict(entry: Entry) -> dict[str, t.Any]:
    """Return the entry as modules return it; C(text) is empty when nothing is live."""
    return {
        "text": str(entry) if entry.serves else "",
        "colour": entry.colour if entry.serves else "",
        "weight": entry.weight,
        "release": entry.release,
        "other_release": entry.other_release,
    }


def other(colour: str) -> str:
    return "green" if colour == "blue" else "blue"


def parse(text: str | None, module: str, where: str) -> Entry:
    """Return the entry of a map value; an absent or empty one is an entry that serves nothing."""
    value = (text or "").strip()
    if not value:
        return Entry()
    match = _ENTRY.match(value)
    if not match:
        raise Failure(
            sentence(
                module,
                "the live entry is not readable",
                where,
                repr(text),
                "<colour>:<weight>:<live release>:<other release>",
                "Compare the map file with 'show map' of HAProxy and set the right one aside by hand",
            )
        )
    colour, weight, release, second = match.groups()
    return Entry("" if colour in (None, "none") else colour, int(weight or 0), release, second)


def readable(text: str) -> Entry | None:
    """Return the entry of another edge's text, or None when it cannot be read."""
    try:
        return parse(text, "blue_green", "another edge")
    except Failure:
        return None


def parse_file(text: str | None, app: str) -> str | None:
    """Return the raw value of the app's key in a map file, or None without one."""
    for line in (text or "").splitlines():
        words = line.split(None, 1)
        if words and words[0] == app:
            return words[1].strip() if len(words) > 1 else ""
    return None
