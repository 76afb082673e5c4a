# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The highest pair of token and run that a host met for an app."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _file
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

NAME = "pair.json"


def highest(records: Records) -> Pair:
    """Return the highest pair of all records of this host."""
    found = [Pair()]
    for name in (NAME, "state.json"):
        record: dict[str, t.Any] = records.read(name, read_only=True) or {}
        found.append(Pair(int(record.get("token") or 0), str(record.get("run") or "")))
    return max(found)


def check(records: Records, pair: Pair) -> None:
    """Refuse a run that a newer one has overtaken on this host."""
    met = highest(records)
    if met > pair:
        raise Failure(
            sentence(
                records.module,
                "the run was overtaken",
                f"app {records.app}",
                str(pair),
                f"at least {met}, which this host has met",
                "A newer run has taken over; this one stops here and changes nothing more",
            ),
            overtaken=True,
        )


def raise_to(records: Records, pair: Pair) -> bool:
    """Let this host know the pair; tell whether it is new here."""
    lock = str(Path(records.lock_dir, f"evenkeel-{records.app}-pair.lock"))
    with _file.lock(lock, records.lock_seconds, records.module):
        check(records, pair)
        if highest(records) == pair:
            return False
        records.write({"app": records.app, "token": pair.token, "run": pair.run}, NAME)
    return True
