#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_journal
short_description: Open a release, note each boundary it reaches, and seal it
version_added: 0.1.0
description:
  - Keeps C(journal.jsonl), C(ledger.jsonl) and C(releases/) of an app on the record host.
  - The identity of a release is its name for the first content under that name, and
    C(<release>+<n>) for every further content.
  - On opening it says whether there is anything to do, and when an earlier run of the same content
    did not end, after which boundary to go on and why. What the edges serve decides.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
options:
  state:
    description:
      - V(planned) answers what V(opened) would, needs no token and writes nothing.
      - V(opened) keeps the rendered release, closes an unfinished run of another release as
        abandoned and notes the boundary C(leased).
      - V(appended) notes O(boundary), and O(homes) where they are given.
      - V(homed) notes O(homes) alone, for a release that is live already.
      - V(sealed) closes the run with a row in the ledger and removes old releases.
    type: str
    choices: [planned, opened, appended, homed, sealed]
    required: true
  token:
    description:
      - The token of the run; one lower than that of the lease is refused.
      - Required but for O(state=planned).
    type: int
  run:
    description: Identifies the run. Required with O(state=opened).
    type: str
  owner:
    description: Who runs it. Required with O(state=opened).
    type: str
  reason:
    description: Why this is done, for the ledger.
    type: str
    default: ""
  kind:
    description:
      - What is done. V(rollback) holds the release it replaces; V(contract) is the contract
        migration of the live release.
      - With O(state=opened) and V(rollback), a release older than a contract migration is refused
        unless O(retry) names it.
    type: str
    choices: [deploy, rollback, contract]
    default: deploy
  content:
    description:
      - The whole rendered release. C(release) is its name, C(migration) its migrations.
      - It must hold no secret value, but a keyed hash of each.
      - Required with O(state=planned) and O(state=opened).
    type: dict
  secrets:
    description:
      - Secret values by name. Only a hash of each, keyed by C(hash.key) of the record host, becomes part of the
        content, so that a changed secret is a new release.
      - With O(kind=rollback) they are only compared with those of the kept O(content).
    type: dict
    default: {}
  live:
    description: The entry that the edges serve, as RV(evenkeel.platform.blue_green_info#module:entry).
    type: str
    default: ""
  boundary:
    description:
      - The boundaries that were reached, in their order. Required with O(state=appended).
      - With O(state=sealed) they are noted first.
    type: list
    elements: str
    choices: [leased, recorded, fetched, migrating, migrated, started, gated, intended, moved, confirmed,
              handed_over, drained, baked, warm, sealed]
  lease_seconds:
    description:
      - With O(state=appended), how long the lease of the run lasts from now on. A stage that may last longer than
        the default is announced by a longer one.
    type: int
    default: 120
  free_lease:
    description: With O(state=sealed), also free the lease of the run.
    type: bool
    default: false
  detail:
    description:
      - What belongs to the boundary.
      - For C(baked) C(verdict), without which the bake is repeated. For C(warm) C(until), the time
        until which the old side is warm, in ISO 8601.
    type: dict
    default: {}
  restart:
    description: With O(state=appended), the boundary may be an earlier one than the last.
    type: bool
    default: false
  result:
    description: How the run ended. Required with O(state=sealed).
    type: str
    choices: [live, refused, rolled_back, abandoned]
  evidence:
    description: What proves the result; it goes to the ledger and must hold no secret.
    type: dict
    default: {}
  hold:
    description:
      - With O(state=sealed), identities that are held from now on beside the usual ones.
      - A refused or rolled back release is held always, and so is the one that a rollback replaced.
      - A contract migration that failed holds nothing.
    type: list
    elements: str
    default: []
  keep:
    description:
      - How many releases to keep. The live one, the one before, a warm one and held ones are never
        removed.
    type: int
    default: 5
  retry:
    description: Name or identity of a release to go on with though it is held or needs a person.
    type: str
    default: ""
  homes:
    description:
      - The host of each singleton by its name. With V(planned) and V(opened) it is compared with what is recorded, and
        a singleton whose recorded host is not among O(hosts) is refused.
      - With V(appended) and V(homed) it is what is recorded from now on. Required with O(state=homed).
    type: dict
    default: {}
  hosts:
    description: The hosts of this run that a singleton may leave, since they are asked whether it stopped.
    type: list
    elements: str
    default: []
  singleton_moved:
    description: A singleton and its recorded host, as C(bot@app1), typed by who has seen that it is stopped there.
    type: str
    default: ""
  held_ok:
    description: Return RV(held=true) for a held release instead of failing.
    type: bool
    default: false
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.release_info
  - module: evenkeel.platform.release_lease
"""

EXAMPLES = r"""
- name: Record the release
  evenkeel.platform.release_journal:
    app: shop
    state: opened
    token: "{{ lease.token }}"
    run: "{{ run }}"
    owner: alice@ci
    reason: Release 1.1
    content: "{{ rendered }}"
    live: "{{ edge.entry }}"
  register: release

- name: Note that the images are on every host
  evenkeel.platform.release_journal:
    app: shop
    state: appended
    token: "{{ lease.token }}"
    boundary: fetched

- name: Seal the release
  evenkeel.platform.release_journal:
    app: shop
    state: sealed
    token: "{{ lease.token }}"
    result: live
    live: "{{ edge.entry }}"
"""

RETURN = r"""
identity:
  description: The identity of the release.
  returned: always
  type: str
  sample: 1.1+2
hash:
  description: The sha256 of its content.
  returned: always
  type: str
  sample: 3f0a3b6f0f
unchanged:
  description: Whether this very content is live already and no run is unfinished.
  returned: always
  type: bool
  sample: false
held:
  description: Whether the release is held and no retry named it.
  returned: always
  type: bool
  sample: false
migrated:
  description: Whether the expanding migrations of this very release have run already.
  returned: always
  type: bool
  sample: false
held_reason:
  description: The sentence that says why it is held, or an empty string.
  returned: always
  type: str
  sample: ""
resume:
  description: After which boundary to go on; an empty boundary means from the start.
  returned: always
  type: dict
  contains:
    boundary: {description: The last boundary that counts., type: str, returned: always, sample: fetched}
    from_run: {description: The run that reached it., type: str, returned: always, sample: run-1}
    reason: {description: Why it goes on there., type: str, returned: always, sample: the images are on every host}
from:
  description: The colour that is live, empty before the first release.
  returned: always
  type: str
  sample: blue
to:
  description: The colour the release goes to.
  returned: always
  type: str
  sample: green
boundary:
  description: The boundary the run stands at, empty without an open run.
  returned: always
  type: str
  sample: fetched
abandoned:
  description: The identity of the unfinished run that was closed, or an empty string.
  returned: always
  type: str
  sample: ""
pruned:
  description: The identities of the releases that were removed.
  returned: always
  type: list
  elements: str
  sample: []
rehomed:
  description: The recorded host of each singleton that O(homes) sends to another one.
  returned: always
  type: dict
  sample: {bot: app1}
former:
  description: The content of the release that is live, empty unless its run was sealed and no other began since.
  returned: always
  type: dict
  sample: {}
other_secrets:
  description: Names of the secrets whose values of O(secrets) are others than a release that is gone back to ran with.
  returned: always
  type: list
  elements: str
  sample: [api/database_password]
ledger_row:
  description: The row that was written, empty unless sealed.
  returned: always
  type: dict
  sample: {}
"""

import hashlib
import hmac
import secrets
import time
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _clock,
    _entry,
    _file,
    _homes,
    _journal,
    _lease,
    _ledger,
    _releases,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._state import RELEASE, STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    "state": {"type": "str", "choices": ["planned", "opened", "appended", "homed", "sealed"], "required": True},
    "token": {"type": "int", "no_log": False},
    "run": {"type": "str"},
    "owner": {"type": "str"},
    "reason": {"type": "str", "default": ""},
    "kind": {"type": "str", "choices": list(_journal.KINDS), "default": "deploy"},
    "content": {"type": "dict"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "live": {"type": "str", "default": ""},
    "lease_seconds": {"type": "int", "default": 120},
    "free_lease": {"type": "bool", "default": False},
    "boundary": {"type": "list", "elements": "str", "choices": list(_journal.BOUNDARIES)},
    "detail": {"type": "dict", "default": {}},
    "restart": {"type": "bool", "default": False},
    "result": {"type": "str", "choices": list(_ledger.RESULTS)},
    "evidence": {"type": "dict", "default": {}},
    "hold": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "int", "default": 5},
    "retry": {"type": "str", "default": ""},
    "homes": {"type": "dict", "default": {}},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "singleton_moved": {"type": "str", "default": ""},
    "held_ok": {"type": "bool", "default": False},
}
MODULE = "release_journal"


def empty() -> dict[str, t.Any]:
    return {
        "changed": False,
        "identity": "",
        "hash": "",
        "unchanged": False,
        "held": False,
        "migrated": False,
        "held_reason": "",
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


def refuse_stale(records: Records, token: int | None) -> int:
    """Return the token, or refuse one that a newer lease has overtaken."""
    if token is None:
        raise Failure(sentence(MODULE, "no token is given", records.app, "none", "the token of the lease", "Set token"))
    lease = records.read("lease.json", read_only=True) or {}
    newest = int(lease.get("token") or 0)
    if token < newest:
        raise Failure(
            f"{MODULE}: the token is stale on {records.app}: found token {token}, need {newest}. "
            f"A newer run by {lease.get('owner')} took over at {lease.get('taken_at')}; "
            "this run stops here and changes nothing more."
        )
    return token


def secret_versions(records: Records, params: dict[str, t.Any], writing: bool) -> dict[str, str]:
    """Return a keyed hash of each secret value."""
    if not params["secrets"]:
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
        for name, value in params["secrets"].items()
    }


def recorded_homes(records: Records) -> dict[str, str]:
    return (records.read("homes.json", read_only=True) or {}).get("homes") or {}


def homing(records: Records, params: dict[str, t.Any]) -> bool:
    """Record where the singletons run from now on; tell whether that is new."""
    if not params["homes"] or params["homes"] == recorded_homes(records):
        return False
    records.write({"app": records.app, "homes": params["homes"]}, "homes.json")
    return True


def opening(records: Records, params: dict[str, t.Any], writing: bool) -> dict[str, t.Any]:
    kind, retry = params["kind"], params["retry"]
    content, versions = dict(params["content"]), secret_versions(records, params, writing)
    if kind == "deploy" and versions:
        content["secret_versions"] = versions
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
    token = refuse_stale(records, params["token"]) if writing else params["token"] or 0
    live = _entry.parse(params["live"], MODULE, records.app)
    lines = records.read_lines("journal.jsonl", read_only=not writing)
    rows = records.read_lines("ledger.jsonl", read_only=not writing)
    kept = _releases.read(records, read_only=not writing)
    digest = _journal.content_hash(content)
    known = {identity: record["hash"] for identity, record in kept.items()}
    identity = _journal.identity_of(release, digest, known, _releases.names(records))
    result = {
        **empty(),
        "identity": identity,
        "hash": digest,
        "migrated": bool((kept.get(identity) or {}).get("migrated_at")),
        "other_secrets": sorted(
            name for name, version in (content.get("secret_versions") or {}).items() if versions.get(name) != version
        )
        if versions
        else [],
    }
    run = _journal.unfinished(lines)
    result["former"] = {} if run else (kept.get(live.release) or {}).get("content") or {}
    result["from"], result["to"] = _journal.colours(live)
    result["rehomed"] = _homes.moving(recorded_homes(records), params["homes"])
    refused = _homes.refusals(records.app, result["rehomed"], params["hosts"], params["singleton_moved"])
    if refused:
        raise Failure(" ".join(refused), **result)
    replaced = _journal.replaced(kind, live, identity, run, rows)
    if replaced:
        result["from"], result["to"] = _entry.other(live.colour), live.colour
    elif not run and live.serves and live.release == identity and live.weight == 0 and kind != "contract":
        return dict(result, unchanged=True)
    held = _journal.refuse_held(identity, release, rows, retry)
    if held is not None and kind != "contract":
        text = _journal.held_sentence(records.app, identity, held)
        result.update(held=True, held_reason=text)
        if not params["held_ok"]:
            raise Failure(text, **result)
        return result
    past = _ledger.contract_since(rows, identity) if kind == "rollback" and identity in known else None
    if past is not None and retry not in (identity, release):
        raise Failure(
            sentence(
                MODULE,
                "the release is older than a contract migration",
                f"{records.app} {identity}",
                f"the contract migration of {past['identity']} done at {past['sealed_at']}",
                "the release to be named",
                f"Set app_deploy_retry={identity} when the schema still serves it",
            ),
            **result,
        )
    now = _clock.now().wall
    resumed = bool(run) and _journal.latest(run)["identity"] == identity and _journal.header(run).get("kind") == kind
    if resumed:
        result["from"], result["to"] = _journal.colours_of(run, live)
        result["resume"] = _journal.resume(run, live, content, records.app, retry)
    elif run:
        result["abandoned"] = _journal.latest(run)["identity"]
    before = _journal.header(run).get("live_before") if resumed else replaced or live.release
    result.update(changed=writing, boundary=result["resume"]["boundary"] or "leased")
    if not writing:
        return result
    if result["abandoned"]:
        row = _journal.row(
            run,
            now,
            result="abandoned",
            token=token,
            live=params["live"],
            evidence={},
            by_run=_journal.latest(run).get("run") or "",
        )
        row["reason"] = f"run {params['run']} of {params['owner']} opened {identity}"
        row["at_boundary"] = _journal.reached(run)
        records.append(row, "ledger.jsonl")
    if identity not in kept:
        record = {
            "identity": identity,
            "release": release,
            "hash": digest,
            "content": content,
            "created_at": _clock.iso(now),
            "owner": params["owner"],
            "reason": params["reason"],
            "run": params["run"],
            "token": token,
        }
        records.write(record, "releases", identity + ".json")
    line = {
        "at": _clock.iso(now),
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
        "resume": result["resume"],
    }
    records.append(line, "journal.jsonl")
    return result


def appending(records: Records, params: dict[str, t.Any]) -> dict[str, t.Any]:
    token = refuse_stale(records, params["token"])
    boundaries = params["boundary"]
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
    changed = append_all(records, params, run, boundaries, token)
    changed = homing(records, params) or changed
    renew_lease(records, token, params["lease_seconds"])
    opened = _journal.latest(run)
    return dict(
        empty(),
        changed=changed,
        identity=opened["identity"],
        hash=opened.get("hash") or "",
        boundary=boundaries[-1],
        **{"from": opened.get("from") or "", "to": opened.get("to") or ""},
    )


def renew_lease(records: Records, token: int, seconds: int, free: bool = False) -> None:
    """Prolong or free the lease of the run that makes this entry; a run without one has nothing to prolong."""
    lease = records.read("lease.json")
    if not lease or int(lease.get("token") or 0) != token or lease.get("freed_at"):
        return
    now = _clock.now()
    if free:
        after = _lease.freed(lease, now, app=records.app, token=token)
    else:
        after = _lease.renewed(lease, now, app=records.app, token=token, ttl=seconds)
    records.write(after, "lease.json")


def append_all(
    records: Records, params: dict[str, t.Any], run: list[dict[str, t.Any]], boundaries: list[str], token: int
) -> bool:
    """Note each boundary on the open *run*, which grows by it; tell whether any was new."""
    opened = _journal.latest(run) if run else {}
    changed = False
    for boundary in boundaries:
        if not _journal.appended(run, boundary, token, params["restart"], records.app):
            continue
        changed = True
        line = {
            "at": _clock.iso(time.time()),
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


def sealing(records: Records, params: dict[str, t.Any]) -> dict[str, t.Any]:
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
    append_all(records, params, run, params["boundary"] or [], token)
    now = _clock.now().wall
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
        hold=params["hold"],
    )
    # The row comes first: after a crash between the two the run is sealed again, and the ledger
    # tells by the token that its row is there already.
    if not (
        rows
        and rows[-1].get("token") == token
        and rows[-1]["identity"] == row["identity"]
        and rows[-1]["result"] == row["result"]
        and rows[-1]["started_at"] == row["started_at"]
    ):
        records.append(row, "ledger.jsonl")
        rows = [*rows, row]
    records.append(
        {
            "at": _clock.iso(now),
            "boundary": "sealed",
            "token": token,
            "run": row["run"],
            "identity": row["identity"],
            "detail": {"result": row["result"]},
        },
        "journal.jsonl",
    )
    if params["free_lease"]:
        renew_lease(records, token, 0, free=True)
    kept = _releases.read(records)
    live = _entry.parse(params["live"], MODULE, records.app)
    gone = _ledger.prune(
        {name: record["created_at"] for name, record in kept.items()},
        rows,
        max(1, params["keep"]),
        live=live.release or "",
    )
    gone = [name for name in gone if name not in (row["identity"], live.other_release)]
    if not records.check_mode:
        for name in gone:
            Path(records.path("releases", name + ".json")).unlink()
    opened = _journal.latest(run)
    return dict(
        empty(),
        changed=True,
        identity=row["identity"],
        hash=opened.get("hash") or "",
        boundary="sealed",
        pruned=gone,
        ledger_row=row,
        **{"from": row["from"], "to": row["to"]},
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "planned", ("content",)),
            ("state", "opened", ("content", "run", "owner", "token")),
            ("state", "appended", ("boundary", "token")),
            ("state", "homed", ("homes", "token")),
            ("state", "sealed", ("result", "token")),
        ],
    )
    params = module.params
    warnings: list[str] = []
    try:
        records = Records.of(module, MODULE)
        warnings = records.warnings
        with records.locked():
            if params["state"] in ("planned", "opened"):
                result = opening(records, params, writing=params["state"] == "opened")
            elif params["state"] == "appended":
                result = appending(records, params)
            elif params["state"] == "homed":
                refuse_stale(records, params["token"])
                result = dict(empty(), changed=homing(records, params))
            else:
                result = sealing(records, params)
    except Failure as failure:
        for text in warnings:
            module.warn(text)
        module.fail_json(msg=failure.sentence, **{**empty(), **failure.result})
    for text in warnings:
        module.warn(text)
    shown = {key: result[key] for key in ("identity", "boundary", "abandoned", "pruned")}
    module.exit_json(diff={"before": {}, "after": shown if result["changed"] else {}}, **result)


if __name__ == "__main__":
    main()
