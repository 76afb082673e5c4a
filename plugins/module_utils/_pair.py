# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The highest pair of token and run that this host has met for an app: C(pair.json), with a short lock of its own.

An act may hold the lock of the app for as long as a container takes to stop. So the pair has another lock: a newer
run makes itself known at once, and the act sees it before its next call.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _entry, _file
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, parse_status
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

FILE = "pair.json"


def of_record(record: t.Mapping[str, t.Any] | None) -> Pair:
    """Return the pair of a record: its own C(token) and C(run), or those under C(moved_by)."""
    pairs = [Pair()]
    for part in (record or {}, (record or {}).get("moved_by") or {}):
        try:
            pairs.append(Pair(int(part.get("token") or 0), str(part.get("run") or "")))
        except (TypeError, ValueError):
            continue
    return max(pairs)


def of_status(text: str | None) -> Pair:
    """Return the pair of a status; a damaged one has none."""
    try:
        return parse_status(text or "").pair
    except ValueError:
        return Pair()


def highest(records: Records, read_only: bool = True) -> Pair:
    """Return the highest pair of all records, so that a damaged one never lets an old run in."""
    status = _entry.parse_file(_file.read_text(records.path("status.map")), records.app)
    return max(
        of_record(records.read(FILE, read_only=read_only)),
        of_record(records.read("state.json", read_only=True)),
        of_status(status),
    )


def refuse_lower(module: str, app: str, pair: Pair, known: Pair) -> None:
    """Refuse a run that a newer one has overtaken."""
    if pair < known:
        raise Failure(
            sentence(
                module,
                "the run was overtaken",
                app,
                str(pair),
                f"at least {known}, which this host has met",
                "A newer run has taken over; this run stops here and changes nothing more",
            ),
            overtaken=True,
            pair=pair._asdict(),
            highest=known._asdict(),
        )


def check(records: Records, pair: Pair) -> None:
    """Refuse when this host has met a higher pair; to be called before each step of an act."""
    refuse_lower(records.module, records.app, pair, highest(records))


def raise_to(records: Records, pair: Pair) -> bool:
    """Make the pair known to this host, or refuse a lower one; tell whether it was new."""
    if records.check_mode:
        known = highest(records)
        refuse_lower(records.module, records.app, pair, known)
        return pair > known
    # The dot keeps it apart from the lock of an app whose name ends in "-pair".
    path = str(Path(records.lock_dir, f"evenkeel-{records.app}.pair.lock"))
    with _file.lock(path, records.lock_seconds, records.module):
        known = highest(records, read_only=False)
        refuse_lower(records.module, records.app, pair, known)
        if of_record(records.read(FILE)) == pair:
            return False
        records.write({"app": records.app, "token": pair.token, "run": pair.run}, FILE)
        return pair > known
