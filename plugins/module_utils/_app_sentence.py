# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The sentences in which problems of an app are reported."""

from __future__ import annotations

import typing as t

# Takes a key, what was found there, what is needed, and what to do.
Say = t.Callable[[str, t.Any, str, str], None]


def saying(found: list[str], subject: str, broken: t.Collection[tuple[str, ...]] = ()) -> Say:
    """Return a function that adds one sentence about *subject* to *found*.

    A key in *broken*, or one that holds such a key, was reported already.
    """
    silent = {".".join(path).replace(".[", "[") for path in broken}

    def say(key: str, value: t.Any, need: str, todo: str) -> None:
        if key not in silent and not any(each.startswith((f"{key}.", f"{key}[")) for each in silent):
            found.append(f"app_deploy: {key} of {subject}: found {value}, need {need}. {todo.rstrip('.')}.")

    return say
