# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of releases: boundaries, identities and where a rerun resumes. Pure decisions."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _entry, _ledger
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

Line = dict[str, t.Any]
MODULE = "release_journal"
BOUNDARIES = [
    "leased",
    "recorded",
    "fetched",
    "migrating",
    "migrated",
    "started",
    "gated",
    "intended",
    "moved",
    "confirmed",
    "handed_over",
    "drained",
    "warm",
    "sealed",
]
KINDS = ("deploy", "rollback", "contract")


def content_hash(content: dict[str, t.Any]) -> str:
    """Return the sha256 of the canonical JSON: sorted keys, no spaces, UTF-8.

    The strategy says how a release is moved, not what it is: another one makes no other release.
    """
    model = {key: value for key, value in (content.get("model") or {}).items() if key != "strategy"}
    text = json.dumps({**content, "model": model}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def identity_of(release: str, digest: str, known: dict[str, str], given: dict[str, int]) -> str:
    """Return the identity of a content.

    C(known) maps the kept identities to their hashes. The first content under a name takes the name itself, each
    further one C(<release>+<n>), n from 2. C(given) is the highest number ever given under each name, 1 for the
    name itself: an identity is never given twice, also after its record was pruned.
    """
    for identity, present in known.items():
        if present == digest and (identity == release or identity.startswith(release + "+")):
            return identity
    highest = max([given.get(release, 0), *(number_of(name, release) for name in known)])
    return f"{release}+{highest + 1}" if highest else release


def number_of(identity: str, release: str) -> int:
    """Return the number of an identity under a release's name: 1 for the name itself, 0 for one of another name."""
    name, _plus, number = identity.partition("+")
    if name != release:
        return 0
    return int(number) if number.isdigit() else 1


def unfinished(lines: list[Line]) -> list[Line]:
    """Return the lines of the last run that was opened and not sealed, oldest first."""
    start: int | None = None
    for index, line in enumerate(lines):
        if line.get("boundary") == "sealed":
            start = None
        elif start is None or (line.get("opened") and line.get("identity") != lines[start].get("identity")):
            start = index
    return [] if start is None else lines[start:]


def header(run: list[Line]) -> Line:
    """Return the line that opened the run first: what was live before, and since when."""
    for line in run:
        if line.get("opened"):
            return line
    return run[0]


def latest(run: list[Line]) -> Line:
    """Return the line that opened the run last: who drives it now, and between which colours."""
    for line in reversed(run):
        if line.get("opened"):
            return line
    return run[0]


def reached(run: list[Line]) -> str:
    """Return the boundary the run stands at; a restart or a resume moves it back."""
    boundary = "leased"
    for line in run:
        boundary = line["boundary"]
        if line.get("opened"):
            boundary = (line.get("resume") or {}).get("boundary") or boundary
    return boundary


def detail_of(run: list[Line], boundary: str) -> dict[str, t.Any]:
    for line in reversed(run):
        if line.get("boundary") == boundary and not line.get("opened"):
            return line.get("detail") or {}
    return {}


def colours(live: Entry) -> tuple[str, str]:
    """Return from and to of an ordinary release: the first one goes to blue, from nothing."""
    if not live.serves:
        return "", "blue"
    return live.colour, _entry.other(live.colour)


def colours_of(run: list[Line], live: Entry) -> tuple[str, str]:
    """Return from and to of a resumed run: those recorded once it moved, else those of today."""
    opened = latest(run)
    if live.serves and live.colour == opened.get("to") and live.release == opened["identity"]:
        return opened.get("from") or "", opened["to"]
    return colours(live)


def _resume(boundary: str, run: list[Line], reason: str) -> dict[str, t.Any]:
    return {"boundary": boundary, "from_run": latest(run).get("run") or "", "reason": reason}


def went_past_intent(run: list[Line]) -> bool:
    """Tell whether traffic or background services may have changed in a run."""
    return bool(run) and BOUNDARIES.index(reached(run)) >= BOUNDARIES.index("intended")


def way_back(live: Entry, run: list[Line], rows: list[Line], wanted: str = "") -> dict[str, t.Any]:
    """Return where a rollback goes: C(target), C(leaving), and whether the edges serve the target already (C(moved)).

    Going back twice is going back once: where a rollback was broken off, or a release that was under way has been
    left already, the target is what was live before the release that is left, by the proxy and the journal.
    """
    sealed = next(iter(_ledger.live_history(rows)), {})
    opened = latest(run) if run else {}
    if opened.get("kind") == "rollback":
        target, leaving = opened["identity"], header(run).get("live_before") or ""
    elif opened and opened.get("kind") != "contract" and went_past_intent(run):
        target, leaving = header(run).get("live_before") or "", opened["identity"]
    elif sealed and live.serves and live.release != sealed["identity"]:
        target, leaving = live.release, sealed["identity"]
    else:
        target, leaving = sealed.get("previous") or "", sealed.get("identity") or ""
    if wanted and wanted != target:
        target, leaving = wanted, leaving if live.release == wanted else live.release
    return {"target": target, "leaving": leaving, "moved": live.serves and live.release == target}


def opened_as(
    kind: str, live: Entry, identity: str, run: list[Line], rows: list[Line], rehomed: bool = False
) -> dict[str, t.Any]:
    """Return what a run that is opened finds: C(unchanged), C(abandon), C(same), C(from), C(to), C(settled).

    C(settled) means that the edges serve the release already and only what follows traffic is to be done.
    """
    same = bool(run) and latest(run)["identity"] == identity and header(run).get("kind") == kind
    origin, target = colours(live)
    serving = live.serves and live.release == identity and live.weight == 0
    found = {
        "unchanged": False,
        "abandon": bool(run) and not same,
        "same": same,
        "from": origin,
        "to": target,
        "settled": False,
    }
    if kind == "contract":
        return found
    sealed = next(iter(_ledger.live_history(rows)), {})
    if kind == "rollback":
        if serving and not run and sealed.get("identity") == identity:
            found.update({"unchanged": True, "to": live.colour})
        elif serving:
            found.update({"from": _entry.other(live.colour), "to": live.colour, "settled": True})
        return found
    if serving and not same:
        disturbed = went_past_intent(run) and latest(run).get("kind") != "contract"
        if disturbed or rehomed or sealed.get("identity") != identity:
            # Workers and jobs may be those of the run that was broken off, of a release that only traffic has left,
            # or on another host.
            found.update({"from": "", "to": live.colour, "settled": True})
        else:
            found.update({"unchanged": True, "to": live.colour})
    return found


NO_RESUME: dict[str, t.Any] = {"boundary": "", "from_run": "", "reason": ""}


def resume(run: list[Line], live: Entry, content: dict[str, t.Any], app: str, retry: str) -> dict[str, t.Any]:
    """Return the last boundary that still counts and why; the run goes on with the stage after it.

    This is the table of crash boundaries: what the proxy serves decides, never what was meant.
    """
    opened = latest(run)
    identity, to = opened["identity"], opened.get("to") or ""
    at = reached(run)
    serves_to = live.colour == to and live.release == identity
    if at in ("leased", "recorded"):
        return _resume("recorded", run, "nothing was changed yet")
    if at == "fetched":
        return _resume("fetched", run, "the images are on every host")
    if at == "migrating":
        phase = "contract" if opened.get("kind") == "contract" else "expand"
        steps = [step for step in content.get("migration") or [] if step.get("phase", "expand") == phase]
        if all(step.get("idempotent") for step in steps):
            return _resume("fetched", run, "the migration was started with unknown outcome and is declared idempotent")
        if retry in (identity, opened.get("release")) and retry:
            return _resume("fetched", run, "the migration was started with unknown outcome and a retry was named")
        raise Failure(
            sentence(
                MODULE,
                "the migration of an earlier run was started and its end is not known",
                f"{app} {identity}",
                f"boundary migrating, reached by run {opened.get('run')} of {opened.get('owner')} "
                f"at {run[-1].get('at')}, and a step that is not declared idempotent",
                "a person to look at the database; traffic was not touched",
                f"When the schema is as it should be, set retry={identity} to run it again",
            ),
            identity=identity,
        )
    if at == "migrated":
        return _resume("migrated", run, "the migration is done")
    if at == "started":
        return _resume("migrated", run, "the idle colour is removed and made again")
    if not serves_to and colours(live)[1] != to:
        return _resume("migrated", run, f"the edges serve {live.colour or 'nothing'} now, so the other colour is made")
    if at == "gated":
        return _resume("started", run, "the gate has to pass again")
    if at in ("intended", "moved"):
        if serves_to:
            return _resume("moved", run, f"the edges serve {to} with {identity}; read-back and probe come next")
        return _resume("started", run, f"the edges serve {live.colour or 'nothing'}, so the gate has to pass again")
    if not serves_to:
        return _resume("started", run, f"the edges went back to {live.colour or 'nothing'} after {at}")
    return _resume(at, run, f"{at} was reached and the edges still serve {identity}")


def refuse_held(identity: str, release: str, rows: list[Line], retry: str) -> Line | None:
    """Return the row that holds the release, or None; refusing is the caller's."""
    row = _ledger.held(rows).get(identity)
    if row is None or retry in (identity, release):
        return None
    return row


def held_sentence(app: str, identity: str, row: Line) -> str:
    # The row of a rollback tells of the release it went to.
    ended = f"left by a rollback to {row['identity']}" if row["identity"] != identity else row["result"]
    return sentence(
        MODULE,
        "the release is held",
        f"{app} {identity}",
        f"it {ended} at {row['sealed_at']} by {row.get('owner')} ({row.get('reason') or 'no reason given'})",
        "other content, or a retry by name",
        f"Set retry={identity} to try it again",
    )


def appended(run: list[Line], boundary: str, token: int, restart: bool, app: str) -> bool:
    """Tell whether the line is to be written; refuse one that goes back without a restart."""
    if not run:
        raise Failure(
            sentence(
                MODULE,
                "no release is under way",
                app,
                "every run sealed",
                "an open one",
                "Open the run first with state=opened",
            )
        )
    at = reached(run)
    if at == boundary and run[-1].get("token") == token:
        return False
    if BOUNDARIES.index(boundary) < BOUNDARIES.index(at) and not restart:
        raise Failure(
            sentence(
                MODULE,
                "the boundary goes back",
                app,
                f"{boundary} after {at}",
                f"{at} or a later one",
                "Set restart to true when the run really starts that stage again",
            )
        )
    return True


def row(
    run: list[Line],
    now: float,
    *,
    result: str,
    token: int,
    live: str,
    evidence: dict[str, t.Any],
    reason: str = "",
    owner: str = "",
    by_run: str = "",
    former: Line | None = None,
) -> Line:
    """Return the ledger row that closes a run.

    C(former) is the last row that left a release live: a row that seals that release once more keeps its C(previous).
    """
    opened = header(run)
    first = run[0]
    stages: list[Line] = []
    previous = _clock.parse(first["at"])
    for line in run[1:]:
        if line.get("opened"):
            previous = _clock.parse(line["at"])
            continue
        at = _clock.parse(line["at"])
        stages.append({"boundary": line["boundary"], "at": line["at"], "seconds": round(max(0.0, at - previous), 3)})
        previous = at
    identity = opened["identity"]
    last = latest(run)
    before = opened.get("live_before") or ""
    holds: list[str] = []
    # A contract migration that failed says nothing against the release, which is live all the while.
    judged = opened.get("kind") != "contract"
    if judged and result in ("refused", "rolled_back") and identity not in holds:
        holds.append(identity)
    if result == "live" and opened.get("kind") == "rollback" and before and before != identity and before not in holds:
        holds.append(before)
    return {
        "identity": identity,
        "release": opened.get("release"),
        "kind": opened.get("kind") or "deploy",
        "result": result,
        "from": last.get("from") or "",
        "to": last.get("to") or "",
        "previous": before if before != identity else ((former or {}).get("previous") or ""),
        "live": live,
        "owner": owner or last.get("owner"),
        "run": by_run or last.get("run"),
        "token": token,
        "reason": reason or last.get("reason") or "",
        "started_at": first["at"],
        "sealed_at": _clock.iso(now),
        "seconds": round(max(0.0, now - _clock.parse(first["at"])), 3),
        "timings": stages,
        "warm_until": detail_of(run, "warm").get("until"),
        "by_hand": bool(last.get("by_hand")),
        "inventory_release": last.get("inventory_release") or "",
        "hold": holds,
        "evidence": evidence,
    }
