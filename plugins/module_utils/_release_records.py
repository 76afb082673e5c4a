# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The records of an app on the record host: lease, journal, ledger, kept releases. The caller holds the app's lock.

Decisions are those of C(_lease), C(_journal) and C(_ledger); here they meet the files. Every function takes the
options of the module C(release_journal) as plain data and returns its result.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _clock,
    _entry,
    _file,
    _homes,
    _journal,
    _lease,
    _ledger,
    _pair,
    _releases,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair
from ansible_collections.evenkeel.platform.plugins.module_utils._state import RELEASE, Records

MODULE = "release_journal"
Params = t.Mapping[str, t.Any]
Result = dict[str, t.Any]
LEASE_ARGUMENTS: dict[str, t.Any] = {
    "wait_seconds": {"type": "float", "default": 0.0},
    "token_floor": {"type": "int", "default": 0, "no_log": False},
    "preempt": {"type": "bool", "default": False},
    "dead_run": {"type": "str", "default": ""},
    "controller": {"type": "dict", "default": {}},
}


def empty() -> Result:
    """Return the result of a call that found and did nothing; every state returns these keys."""
    return {
        "changed": False,
        "identity": "",
        "hash": "",
        "token": 0,
        "run": "",
        "unchanged": False,
        "settled": False,
        "held": False,
        "held_reason": "",
        "migrated": False,
        "resume": dict(_journal.NO_RESUME),
        "from": "",
        "to": "",
        "boundary": "",
        "abandoned": "",
        "pruned": [],
        "rehomed": {},
        "former": {},
        "other_secrets": [],
        "ledger_row": {},
    }


# -- lease ------------------------------------------------------------------


def token_floor(records: Records, given: int) -> int:
    """Return the highest token known beside the lease, so that a lost lease file lowers nothing."""
    journal = records.read_lines("journal.jsonl", read_only=True)
    return max([given, _pair.highest(records).token, *(int(line.get("token") or 0) for line in journal)])


def take_lease(records: Records, params: Params) -> _lease.Lease:
    """Take the lease, or renew that of the same run; where another run holds it, Failure has the key C(lease)."""
    before = records.read("lease.json")
    after = _lease.taken(
        before,
        _clock.now(),
        app=records.app,
        owner=params["owner"],
        run=params["run"],
        reason=params["reason"],
        ttl=params["lease_seconds"],
        floor=token_floor(records, params["token_floor"]),
        preempt=params["preempt"],
        dead_run=params["dead_run"],
        controller=params["controller"],
    )
    if after != before:
        records.write(after, "lease.json")
        _pair.raise_to(records, Pair(after["token"], after["run"]))
    return after


def break_lease(records: Records, params: Params) -> _lease.Lease | None:
    """Revoke the lease of its holder and raise the token."""
    before = records.read("lease.json")
    after = _lease.broken(
        before,
        _clock.now(),
        owner=params["owner"],
        run=params["run"] or "",
        reason=params["reason"],
        floor=token_floor(records, params["token_floor"]),
    )
    if after is not None and after != before:
        records.write(after, "lease.json")
        _pair.raise_to(records, Pair(after["token"], after["run"]))
    return after


def prolong_lease(records: Records, token: int, seconds: int, free: bool = False) -> None:
    """Renew or free the lease of the run that makes an entry; a run without one has nothing to renew."""
    lease = records.read("lease.json")
    if not lease or int(lease.get("token") or 0) != token or lease.get("freed_at"):
        return
    now = _clock.now()
    if free:
        after = _lease.freed(lease, now, app=records.app, token=token)
    else:
        after = _lease.renewed(lease, now, app=records.app, token=token, ttl=seconds)
    records.write(after, "lease.json")


def refuse_stale(records: Records, token: int | None) -> int:
    """Return the token, or refuse one that a newer lease has overtaken."""
    if token is None:
        raise Failure(sentence(MODULE, "no token is given", records.app, "none", "the token of the lease", "Set token"))
    lease = records.read("lease.json", read_only=True) or {}
    if token < _lease.highest(lease):
        raise Failure(_lease.stale(lease, records.app, token).replace("release_lease", MODULE, 1))
    return token


# -- what a release is ------------------------------------------------------


def secret_versions(records: Records, values: Params, writing: bool) -> dict[str, str]:
    """Return a keyed hash of each secret value; the key stays on the record host."""
    if not values:
        return {}
    path = str(Path(records.state_dir, "hash.key"))
    key = (_file.read_text(path) or "").strip()
    if not key and writing and not records.check_mode:
        # The key serves all apps, so two that are released for the first time at once must not make two.
        with _file.lock(str(Path(records.lock_dir, "evenkeel-hash-key.lock")), records.lock_seconds, MODULE):
            key = (_file.read_text(path) or "").strip()
            if not key:
                key = secrets.token_hex(32)
                _file.write_atomic(path, key + "\n")
    key = key or secrets.token_hex(32)
    return {
        name: hmac.new(key.encode(), str(value).encode(), hashlib.sha256).hexdigest()[:24]
        for name, value in values.items()
    }


def given_numbers(records: Records) -> dict[str, int]:
    """Return the highest number given under each release's name, from the record of names, files and ledger."""
    given = {str(k): int(v) for k, v in ((records.read("names.json", read_only=True) or {}).get("names") or {}).items()}
    seen = _releases.names(records) | {
        str(row["identity"]) for row in records.read_lines("ledger.jsonl", read_only=True)
    }
    for identity in seen:
        release = identity.partition("+")[0]
        given[release] = max(given.get(release, 0), _journal.number_of(identity, release))
    return given


def _keep_release(records: Records, params: Params, identity: str, digest: str, content: Result, token: int) -> None:
    release = str(content["release"])
    now = _clock.iso(_clock.now().wall)
    names = given_numbers(records)
    names[release] = max(names.get(release, 0), _journal.number_of(identity, release))
    # The name comes first: after a crash between the two a number is lost, never given twice.
    records.write({"app": records.app, "names": names}, "names.json")
    records.write(
        {
            "identity": identity,
            "release": release,
            "hash": digest,
            "content": content,
            "created_at": now,
            "owner": params["owner"],
            "reason": params["reason"],
            "run": params["run"],
            "token": token,
        },
        "releases",
        identity + ".json",
    )


def recorded_homes(records: Records) -> dict[str, str]:
    return (records.read("homes.json", read_only=True) or {}).get("homes") or {}


def record_homes(records: Records, homes: Params) -> bool:
    """Record the host of each singleton; tell whether that is new."""
    if not homes or dict(homes) == recorded_homes(records):
        return False
    records.write({"app": records.app, "homes": dict(homes)}, "homes.json")
    return True


# -- open, append, seal -----------------------------------------------------


def open_run(records: Records, params: Params, writing: bool) -> Result:
    """Take the lease and open a run, or say why nothing is to be done; then the lease is free again.

    Without C(writing) the answer is the same, with no token and nothing written.
    """
    read_only = not writing
    live = _entry.parse(params["live"], MODULE, records.app)
    content = dict(params["content"])
    release = str(content.get("release") or "")
    if not RELEASE.match(release):
        raise Failure(
            sentence(
                MODULE,
                "the name of the release is not usable",
                records.app,
                repr(release),
                "letters, digits and . _ + -, at most 128",
                "Set release",
            )
        )
    token = 0
    if writing:
        token = take_lease(records, params)["token"]
        # Room for going back: the records of a way back are written though the disk is full.
        records.reserve()
    try:
        result = _opened(records, params, live, content, token, read_only)
    except Failure:
        if writing:
            prolong_lease(records, token, 0, free=True)
        raise
    if writing and (result["unchanged"] or result["held"]):
        prolong_lease(records, token, 0, free=True)
    return result


def _opened(
    records: Records, params: Params, live: _entry.Entry, content: Result, token: int, read_only: bool
) -> Result:
    kind, retry = params["kind"], params["retry"]
    versions = secret_versions(records, params["secrets"], not read_only)
    if kind == "deploy" and versions:
        content["secret_versions"] = versions
    release = str(content["release"])
    lines = records.read_lines("journal.jsonl", read_only=read_only)
    rows = records.read_lines("ledger.jsonl", read_only=read_only)
    kept = _releases.read(records, read_only=read_only)
    digest = _journal.content_hash(content)
    known = {identity: record["hash"] for identity, record in kept.items()}
    identity = _journal.identity_of(release, digest, known, given_numbers(records))
    run = _journal.unfinished(lines)
    rehomed = _homes.moving(recorded_homes(records), params["homes"])
    found = _journal.opened_as(kind, live, identity, run, rows, bool(rehomed))
    result = {
        **empty(),
        "identity": identity,
        "hash": digest,
        "token": token,
        "run": params["run"] or "",
        "migrated": bool((kept.get(identity) or {}).get("migrated_at")),
        "other_secrets": _changed_secrets(content, versions),
        # Behind a move that came first, what runs beside the colours is still that of another release.
        "former": {} if run or found["settled"] else (kept.get(live.release) or {}).get("content") or {},
        "from": found["from"],
        "to": found["to"],
        "settled": found["settled"],
        "rehomed": rehomed,
        "unchanged": found["unchanged"],
    }
    refused = _homes.refusals(records.app, rehomed, params["hosts"], params["singleton_moved"])
    if refused:
        raise Failure(" ".join(refused), **result)
    if found["unchanged"]:
        if found["abandon"]:
            result.update(changed=not read_only, abandoned=_journal.latest(run)["identity"])
            _abandon(records, params, run, identity, token, read_only)
        return result
    held = _journal.refuse_held(identity, release, rows, retry)
    # A run that goes on was let past the hold when it began, by a retry that named it; only a later row holds it anew.
    passed = found["same"] and _token(held) < _token(_journal.header(run))
    if held is not None and kind != "contract" and not found["settled"] and not passed:
        text = _journal.held_sentence(records.app, identity, held)
        result.update(held=True, held_reason=text)
        if not params["held_ok"]:
            raise Failure(text, **result)
        return result
    _refuse_past_contract(records, params, rows, identity, known, result)
    if found["same"]:
        result["from"], result["to"] = _journal.colours_of(run, live)
        result["resume"] = _journal.resume(run, live, content, records.app, retry)
    elif found["abandon"]:
        result["abandoned"] = _journal.latest(run)["identity"]
    if found["settled"] and not found["same"]:
        result["resume"] = {
            "boundary": "confirmed",
            "from_run": "",
            "reason": f"the edges serve {identity} already; workers, jobs and records follow",
        }
    result.update(changed=not read_only, boundary=result["resume"]["boundary"] or "leased")
    if read_only:
        return result
    if result["abandoned"]:
        _abandon(records, params, run, identity, token, read_only)
    if identity not in kept:
        _keep_release(records, params, identity, digest, content, token)
    way = _journal.way_back(live, run, rows, identity) if kind == "rollback" else {}
    # Behind a move that came first, the release before is the one whose row is the newest.
    followed = next(iter(_ledger.live_history(rows)), {}).get("identity") if found["settled"] else ""
    before = (
        _journal.header(run).get("live_before") if found["same"] else way.get("leaving") or followed or live.release
    )
    records.append(
        {
            "at": _clock.iso(_clock.now().wall),
            "boundary": "leased",
            "opened": True,
            "token": token,
            "run": params["run"],
            "owner": params["owner"],
            "reason": params["reason"],
            "kind": kind,
            "identity": identity,
            "release": release,
            "hash": digest,
            "from": result["from"],
            "to": result["to"],
            "live": params["live"],
            "live_before": before,
            "by_hand": params["by_hand"],
            "inventory_release": params["inventory_release"],
            "resume": result["resume"],
        },
        "journal.jsonl",
    )
    pending = kind == "contract" or not result["migrated"]
    if params["migrating"] and pending and result["resume"]["boundary"] in ("", "recorded", "fetched"):
        # What is opened begins with its migrations, so that is noted at once.
        run = _journal.unfinished(records.read_lines("journal.jsonl"))
        _append_all(records, {**params, "restart": True, "detail": {}}, run, ["fetched", "migrating"], token)
        result["boundary"] = "migrating"
    return result


def _token(line: Result | None) -> int:
    return int((line or {}).get("token") or 0)


def _changed_secrets(content: Result, versions: dict[str, str]) -> list[str]:
    recorded = content.get("secret_versions") or {}
    return sorted(name for name, version in recorded.items() if versions.get(name) != version) if versions else []


def _refuse_past_contract(
    records: Records, params: Params, rows: list[Result], identity: str, known: dict[str, str], result: Result
) -> None:
    if params["kind"] != "rollback" or identity not in known:
        return
    past = _ledger.contract_since(rows, identity)
    if past is None or params["retry"] in (identity, identity.partition("+")[0]) or result["settled"]:
        return
    raise Failure(
        sentence(
            MODULE,
            "the release is older than a contract migration",
            f"{records.app} {identity}",
            f"the contract migration of {past['identity']} done at {past['sealed_at']}",
            "the release to be named",
            f"Set retry={identity} when the schema still serves it",
        ),
        **result,
    )


def _abandon(records: Records, params: Params, run: list[Result], identity: str, token: int, read_only: bool) -> None:
    """Close the run that another one takes over from: a row in the ledger, then the boundary that ends it."""
    if read_only:
        return
    opened = _journal.latest(run)
    now = _clock.now().wall
    by_run = opened.get("run") or ""
    row = _journal.row(run, now, result="abandoned", token=token, live=params["live"], evidence={}, by_run=by_run)
    row["reason"] = f"run {params['run']} of {params['owner']} opened {identity}"
    row["at_boundary"] = _journal.reached(run)
    records.append(row, "ledger.jsonl")
    _append_sealed(records, now, token, by_run, opened["identity"], "abandoned")


def _append_sealed(records: Records, now: float, token: int, run: str, identity: str, result: str) -> None:
    line = {"at": _clock.iso(now), "boundary": "sealed", "token": token, "run": run, "identity": identity}
    records.append({**line, "detail": {"result": result}}, "journal.jsonl")


def append(records: Records, params: Params) -> Result:
    """Note the boundaries an open run has reached, and renew its lease for the stage ahead."""
    token = refuse_stale(records, params["token"])
    boundaries = list(params["boundary"])
    run = _journal.unfinished(records.read_lines("journal.jsonl"))
    if not run and records.check_mode:
        return dict(empty(), changed=True, boundary=boundaries[-1])
    if "sealed" in boundaries:
        raise Failure(
            sentence(
                MODULE,
                "a run is not closed by a boundary",
                records.app,
                "boundary sealed",
                "state sealed with a result",
                "Set state to sealed",
            )
        )
    changed = _append_all(records, params, run, boundaries, token)
    changed = record_homes(records, params["homes"]) or changed
    prolong_lease(records, token, params["lease_seconds"])
    opened = _journal.latest(run)
    return dict(
        empty(),
        changed=changed,
        identity=opened["identity"],
        hash=opened.get("hash") or "",
        token=token,
        boundary=boundaries[-1],
        **{"from": opened.get("from") or "", "to": opened.get("to") or ""},
    )


def _append_all(records: Records, params: Params, run: list[Result], boundaries: list[str], token: int) -> bool:
    """Note each boundary on the open *run*, which grows by it; tell whether any was new."""
    opened = _journal.latest(run) if run else {}
    changed = False
    for boundary in boundaries:
        if not _journal.appended(run, boundary, token, params["restart"], records.app):
            continue
        changed = True
        line = {
            "at": _clock.iso(_clock.now().wall),
            "boundary": boundary,
            "token": token,
            "run": params["run"] or opened.get("run"),
            "identity": opened["identity"],
            "detail": params["detail"],
        }
        records.append(line, "journal.jsonl")
        run.append(line)
        if boundary == "migrated" and opened.get("kind") == "deploy":
            record = records.read("releases", opened["identity"] + ".json")
            if record is not None:
                records.write(dict(record, migrated_at=line["at"]), "releases", opened["identity"] + ".json")
    return changed


def seal(records: Records, params: Params) -> Result:
    """Close the open run with a row in the ledger, prune what is not kept, and free the lease where asked."""
    token = refuse_stale(records, params["token"])
    lines = records.read_lines("journal.jsonl")
    rows = records.read_lines("ledger.jsonl")
    run = _journal.unfinished(lines)
    if not run:
        if records.check_mode:
            return dict(empty(), changed=True)
        if lines and lines[-1].get("token") == token and rows and rows[-1].get("token") == token:
            return dict(empty(), identity=rows[-1]["identity"], boundary="sealed", ledger_row=rows[-1])
        raise Failure(
            sentence(
                MODULE,
                "no release is under way",
                records.app,
                "every run sealed",
                "an open one",
                "Open the run first with state=opened",
            )
        )
    _append_all(records, params, run, list(params["boundary"] or []), token)
    record_homes(records, params["homes"])
    now = _clock.now().wall
    identity = _journal.header(run)["identity"]
    former = next(iter(_ledger.live_history(rows)), None)
    row = _journal.row(
        run,
        now,
        result=params["result"],
        token=token,
        live=params["live"],
        evidence=params["evidence"],
        reason=params["reason"],
        owner=params["owner"] or "",
        by_run=params["run"] or "",
        former=former if former and former["identity"] == identity else None,
    )
    # The row comes first: after a crash between the two the run is sealed again, and the ledger
    # tells by the token that its row is there already.
    last = rows[-1] if rows else {}
    if any(last.get(key) != row[key] for key in ("token", "identity", "result", "started_at")):
        records.append(row, "ledger.jsonl")
        rows = [*rows, row]
    _append_sealed(records, now, token, row["run"], row["identity"], row["result"])
    if params["free_lease"]:
        prolong_lease(records, token, 0, free=True)
    opened = _journal.latest(run)
    return dict(
        empty(),
        changed=True,
        identity=row["identity"],
        hash=opened.get("hash") or "",
        token=token,
        boundary="sealed",
        pruned=_prune(records, params, rows, row["identity"]),
        ledger_row=row,
        **{"from": row["from"], "to": row["to"]},
    )


def _prune(records: Records, params: Params, rows: list[Result], identity: str) -> list[str]:
    """Remove the records of releases that are no longer kept; return their identities."""
    live = _entry.parse(params["live"], MODULE, records.app)
    created = {name: record["created_at"] for name, record in _releases.read(records).items()}
    gone = _ledger.prune(created, rows, max(1, params["keep"]), live=live.release or "")
    gone = [name for name in gone if name not in (identity, live.other_release)]
    if not records.check_mode:
        for name in gone:
            Path(records.path("releases", name + ".json")).unlink()
    return gone


def rebuild(records: Records, params: Params) -> Result:
    """Write what a lost record host held, from the releases that the other hosts kept and what the edges serve.

    Records that are there already stay as they are.
    """
    live = _entry.parse(params["live"], MODULE, records.app)
    token = take_lease(records, params)["token"]
    kept = _releases.read(records)
    rows = records.read_lines("ledger.jsonl")
    changed = False
    for record in params["releases"]:
        if record["identity"] not in kept:
            _keep_release(records, params, record["identity"], record["hash"], record["content"], token)
            changed = True
    row: Result = {}
    known = {*kept, *(record["identity"] for record in params["releases"])}
    if live.serves and live.release in known and not _ledger.live_history(rows):
        at = _clock.iso(_clock.now().wall)
        row = {
            "identity": live.release,
            "release": live.release.partition("+")[0],
            "kind": "deploy",
            "result": "live",
            "from": "",
            "to": live.colour,
            "previous": live.other_release if live.other_release in known else "",
            "live": params["live"],
            "owner": params["owner"],
            "run": params["run"],
            "token": token,
            "reason": params["reason"] or "rebuilt from the other hosts",
            "started_at": at,
            "sealed_at": at,
            "seconds": 0.0,
            "timings": [],
            "warm_until": None,
            "by_hand": True,
            "inventory_release": params["inventory_release"],
            "hold": [],
            "evidence": {"rebuilt": True},
        }
        records.append(row, "ledger.jsonl")
        changed = True
    changed = record_homes(records, params["homes"]) or changed
    prolong_lease(records, token, 0, free=True)
    return dict(empty(), changed=changed, identity=live.release, token=token, to=live.colour, ledger_row=row)


# -- reading ----------------------------------------------------------------


def facts(records: Records, count: int) -> Result:
    """Return what the records say: releases kept, ledger, lease, what is held, pending or unfinished."""
    now = _clock.now()
    lines = records.read_lines("journal.jsonl", read_only=True)
    rows = records.read_lines("ledger.jsonl", read_only=True)
    kept = _releases.read(records, read_only=True)
    lease = records.read("lease.json", read_only=True)
    newest = sorted(kept.values(), key=lambda record: (record["created_at"], record["identity"]), reverse=True)
    run = _journal.unfinished(lines)
    return {
        "releases": newest,
        "ledger": rows[::-1][:count],
        "live_rows": _ledger.live_history(rows)[:2],
        "lease": dict(_lease.public(lease), held=_lease.held(lease, now)),
        "held": [
            {
                "identity": identity,
                "result": row["result"],
                "at": row["sealed_at"],
                "reason": row.get("reason"),
                "owner": row.get("owner"),
            }
            for identity, row in _ledger.held(rows).items()
        ],
        "pending_contract": _ledger.pending_contract(rows, kept),
        "unfinished": open_facts(run),
        "unfinished_lines": run,
        "warm": _ledger.warm(rows, now.wall, _clock.parse) or {},
        "homes": recorded_homes(records),
    }


def open_facts(run: list[Result]) -> Result:
    """Return what people need of the run that was opened and not sealed, or nothing."""
    if not run:
        return {}
    opened = _journal.latest(run)
    keys = ("identity", "release", "kind", "run", "owner", "reason", "from", "to", "token")
    return dict(
        {key: opened.get(key) for key in keys},
        boundary=_journal.reached(run),
        since=_journal.header(run)["at"],
        at=run[-1]["at"],
    )
