# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The plan of a run: what is done on which host, in which order, with which arguments. Pure functions on plain data.

*fleet* is the app's hosts as the inventory has them::

    {"edges": {name: {"address": str, "status_url": str}}, "hosts": {name: {"address": str, ...}}, "record_host": str}

*facts* is what every host answered to C(release_facts), by host name; a host that gave no answer is missing.
Each step of a plan carries what it assumes (entry, move, pair), and the step checks that again under its lock.
Secrets stand in a plan by name only.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _edge_record,
    _entry,
    _journal,
    _model,
    _ports,
    _preflight,
    _stacks,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._model import Model
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, serves

Data = dict[str, t.Any]
STAGES = ("migrate", "withdraw", "start", "gate", "smoke", "switch", "handover", "drain", "seal")
PAST_MOVE = ("moved", "confirmed", "handed_over", "drained", "warm")


# -- what the edges serve ---------------------------------------------------


def edges_of(fleet: Data, facts: Data, out: t.Collection[str] = ()) -> Data:
    """Return what each edge that counts has answered; one that is declared out by this run does not count.

    An edge that was declared out before and answers again counts: the run brings it to the live entry first.
    """
    return {
        name: facts[name]["edge"]
        for name in fleet["edges"]
        if name in facts and facts[name].get("edge") and name not in set(out)
    }


def declared_out(edges: Data) -> set[str]:
    """Return the edges that a confirmed edge shows as declared out."""
    return {name for each in edges.values() if each["confirmed"] for name in each["out"]}


def deciding(edges: Data) -> list[Data]:
    """Return what the edges answered, the one that decides first; of those declared out only where there is no other.

    Better one that is confirmed: an edge that was away may hold a number, and a record, of its own.
    """
    declared = declared_out(edges)
    found = [edge for name, edge in edges.items() if name not in declared] or list(edges.values())
    return sorted(found, key=lambda edge: (edge["confirmed"], edge["move"], edge["entry"]["text"]), reverse=True)


def recorded_of(edges: Data) -> Data:
    """Return the edges' record of the app, with routes and ports of both colours; empty before the first release."""
    record: Data = next((edge["record"] for edge in deciding(edges) if edge["record"]), {})
    return record


def served(edges: Data) -> Data:
    """Return the C(entry), C(move) and C(warm) of the fleet: those of the edge with the highest move.

    An edge that the others show as declared out decides nothing, however far it went alone.
    """
    if not edges:
        return {
            "entry": {"text": "", "colour": "", "weight": 0, "release": "", "other_release": ""},
            "move": 0,
            "warm": {},
        }
    newest = deciding(edges)[0]
    warm = [edge["warm"] for edge in edges.values() if edge["warm"] and edge["move"] == newest["move"]]
    return {"entry": newest["entry"], "move": newest["move"], "warm": warm[0] if len(warm) == len(edges) else {}}


def entry_of(text: str) -> Data:
    """Return an entry's parts beside its text."""
    entry = _entry.parse(text, "release_plan", "the entry")
    return {
        "text": text,
        "colour": entry.colour,
        "weight": entry.weight,
        "release": entry.release,
        "other_release": entry.other_release,
    }


def highest_pair(facts: Data) -> Pair:
    """Return the highest pair that any host has met; the next token is above it."""
    return max([Pair(), *(Pair(each["pair"]["token"], each["pair"]["run"]) for each in facts.values())])


def refusals(app: str, fleet: Data, facts: Data, out: t.Collection[str] = (), check_mode: bool = False) -> list[str]:
    """Return why no forward run may begin, one sentence each, by what the hosts said of themselves."""
    found = _preflight.out_problems(out, fleet["edges"])
    counted = edges_of(fleet, facts, out)
    for name in [*fleet["hosts"], fleet["record_host"]]:
        if name not in facts and name not in fleet["edges"]:
            found.append(f"app_deploy: host {name}: found no answer, need it. Bring it back and run this again.")
    if fleet["record_host"] in fleet["edges"] and fleet["record_host"] not in facts:
        found.append(
            f"app_deploy: record host {fleet['record_host']}: found no answer, need the records. Bring it back, go "
            "back without it by 'ansible-playbook evenkeel.platform.rollback -e app=... -e without_records=true', or "
            "set app_deploy_record_host."
        )
    for name in fleet["edges"]:
        if name in out or (name == fleet["record_host"] and name not in facts):
            continue
        edge = (facts.get(name) or {}).get("edge")
        if edge is None:
            found.append(
                f"app_deploy: edge {name}: found no answer, need every edge to move all at once. "
                f"Bring it back, or declare it out with -e edge_out={name}."
            )
            continue
        found += edge["record_problems"]
        if not edge["running"] and not check_mode and name in counted:
            found.append(
                f"app_deploy: edge {name}: found HAProxy not running, need it. Run 'systemctl status haproxy' there, "
                f"or declare it out with -e edge_out={name}."
            )
    if len(out) and not counted:
        found.append(f"app_deploy: edge_out: found every edge declared out, need one that serves {app}. Leave one in.")
    return found


def releases_of(facts: Data, fleet: Data) -> Data:
    """Return what the record host answered, or an empty record."""
    empty: Data = {"releases": [], "live_rows": [], "ledger": [], "unfinished_lines": [], "lease": {}, "homes": {}}
    return {**empty, **((facts.get(fleet["record_host"]) or {}).get("records") or {})}


def kept_release(facts: Data, fleet: Data, identity: str) -> Data | None:
    """Return the kept release of an identity, or of the newest under a name."""
    kept = releases_of(facts, fleet)["releases"]
    exact = [each for each in kept if each["identity"] == identity]
    named = [each for each in kept if each["release"] == identity]
    return next(iter(exact + named), None)


def stays_by_hand(facts: Data, fleet: Data, release: str) -> str:
    """Return the live release that was named by hand and stays, though the inventory names C(release); else nothing.

    It stays until the inventory names another release than it did when that one was deployed.
    """
    row: Data = next(iter(releases_of(facts, fleet)["live_rows"]), {})
    entry = served(edges_of(fleet, facts))["entry"]
    kept = row.get("by_hand") and row.get("inventory_release") == release and row["release"] != release
    return row["identity"] if kept and entry["release"] == row["identity"] else ""


def older_side_runs(facts: Data, fleet: Data) -> list[str]:
    """Return the hosts on which containers of the side that is not live run; a contract migration would break them."""
    live = served(edges_of(fleet, facts))["entry"]["colour"]
    older = _entry.other(live)
    return [
        host
        for host in fleet["hosts"]
        if ((facts.get(host) or {}).get("host") or {}).get("stacks", {}).get(older, {}).get("running")
    ]


def way_back(facts: Data, fleet: Data, wanted: str = "") -> Data:
    """Return C(target), C(leaving) and C(moved) of a rollback, see C(_journal.way_back); C(target) may be empty."""
    records = releases_of(facts, fleet)
    entry = _entry.parse(served(edges_of(fleet, facts))["entry"]["text"], "release_plan", "the entry")
    named = kept_release(facts, fleet, wanted) if wanted else None
    identity = named["identity"] if named else wanted
    return _journal.way_back(entry, records["unfinished_lines"], records["live_rows"][::-1], identity)


# -- the plan ---------------------------------------------------------------


def release(
    model: Model, digests: Data, kind: str, fleet: Data, facts: Data, opened: Data, options: Data, note: str = ""
) -> Data:
    """Return the plan of a deploy or rollback that C(release_journal) has opened.

    *options*: C(out) (edges declared out), C(installing) (site.yml: look at everything), C(https_port).
    """
    counted = edges_of(fleet, facts, options["out"])
    now = served(counted)
    # Edges that were not of one mind end at one move, above that of each.
    strayed = [edge["move"] for edge in counted.values() if edge["entry"]["text"] != now["entry"]["text"]]
    now["move"] = max([now["move"], *(move + 1 for move in strayed if move >= now["move"])])
    recorded = recorded_of(counted)
    ports = _ports.allocate(model, _ports.recorded(recorded))
    colour = opened["to"]
    hosts = list(fleet["hosts"])
    # Where traffic moved already, the run goes on behind the move.
    moved = opened["settled"] or opened["resume"]["boundary"] in PAST_MOVE
    stages = _stages(kind, opened, model, moved)
    move_after = now["move"] + 1 if "switch" in stages and not moved else now["move"]
    record = _edge_record.record(model, ports, fleet["hosts"], colour, recorded)
    plan: Data = {
        "kind": kind,
        "app": model["name"],
        "identity": opened["identity"],
        "release": model["release"],
        "from": opened["from"],
        "to": colour,
        "stages": stages,
        "moved": moved,
        "mend": bool(opened["unchanged"]),
        "entry": now["entry"],
        "warm": now["warm"],
        "move": now["move"],
        "move_after": move_after,
        "entry_after": (
            f"{colour}:0:{opened['identity']}:{now['entry']['release']}"
            if move_after != now["move"]
            else now["entry"]["text"]
        ),
        "record": record,
        "probe": _probe(model, options),
        "gate": {
            "targets": _edge_record.gate_targets(model, colour, ports, fleet["hosts"]),
            **model["strategy"]["gate"],
        },
        "minimum_servers": _edge_record.minimum_servers(model, fleet["hosts"], recorded),
        "smoke": model["smoke"],
        "smoke_host": model["hosts"][0],
        "drain_seconds": model["strategy"]["drain"]["timeout_seconds"],
        "gate_seconds": model["strategy"]["gate"]["timeout_seconds"],
        "warm_seconds": model["strategy"]["warm_seconds"],
        "homes": homes(model, hosts),
        "outcome": _outcome(kind, model, opened, note),
        **_common(fleet, facts, opened, options, now["move"]),
    }
    plan["migration"] = _migration(model, digests, "expand")
    plan["guards"]["idle"] = {**plan["guards"]["before"], "colour": colour}
    plan["guards"]["after"] = {**plan["guards"]["before"], "move": move_after}
    wanting = [
        name
        for name, edge in counted.items()
        if options["installing"] or edge["record"] != record or not edge["loaded"]
    ]
    known_out = declared_out(counted)
    # Configured before it is asked for anything: an edge whose proxy does not know the app yet, and one that is let in
    # again, whose routes are those of an older release.
    known = [
        name
        for name, edge in counted.items()
        if name not in known_out
        and edge["record"]
        and all(worker["value"] is not None for worker in edge["workers"][:1])
    ]
    plan["edges_new"] = [name for name in wanting if name not in known] if stages or plan["mend"] else []
    plan["edges_changed"] = [name for name in wanting if name in known] if stages or plan["mend"] else []
    plan["behind"] = _behind(counted, now) if stages or plan["mend"] else {}
    plan["out"] = [name for name in options["out"] if name not in known_out]
    plan["readmitted"] = sorted(known_out & set(counted)) if stages or plan["mend"] else []
    plan["retire"] = _retire(plan, model)
    rules = _ports.rules(model, [fleet["edges"][name]["address"] for name in counted], ports)
    former: t.Any = opened["former"].get("model") or {}
    plan["hosts"] = {}
    for host in hosts:
        jobs = _stacks.jobs(model, host, hosts)
        plan["hosts"][host] = {
            "colour": _stack(model, _stacks.colour(model, colour, ports, fleet["hosts"][host]["address"]), digests),
            "background": _background(model, digests, fleet, host),
            "jobs": jobs,
            "jobs_change": options["installing"] or not former or jobs != _stacks.jobs(former, host, hosts),
            "leaving": sorted(name for name, home in opened["rehomed"].items() if home == host),
            # A host that loses a singleton stops it before another may start it.
            "batch": int(host in plan["homes"].values()),
            "rules": rules,
        }
    plan["batches"] = _batches(plan)
    return plan


def contract(model: Model, digests: Data, fleet: Data, facts: Data, opened: Data, options: Data) -> Data:
    """Return the plan of the contract migration of the live release."""
    now = served(edges_of(fleet, facts, options["out"]))
    return {
        "kind": "contract",
        "app": model["name"],
        "identity": opened["identity"],
        "release": model["release"],
        "from": "",
        "to": _entry.other(now["entry"]["colour"]),
        "stages": ["withdraw", "migrate", "seal"],
        "moved": False,
        "mend": False,
        "entry": now["entry"],
        "warm": {},
        "move": now["move"],
        "move_after": now["move"],
        "entry_after": now["entry"]["text"],
        "migration": _migration(model, digests, "contract"),
        "gate_seconds": model["strategy"]["gate"]["timeout_seconds"],
        "drain_seconds": 0,
        "homes": {},
        "hosts": {},
        "batches": [],
        "outcome": f"{model['name']}: the contract migration of {opened['identity']} was run",
        **_common(fleet, facts, opened, options, now["move"]),
    }


def _common(fleet: Data, facts: Data, opened: Data, options: Data, move: int) -> Data:
    """Return what every plan holds: the pair of its run, the edges that count, and the guard of its acts on hosts."""
    highest = highest_pair(facts)
    # A dry run has no lease; it stands for the run that would come next.
    pair = {"token": opened["token"] or highest.token + 1, "run": opened["run"] or "dry-run"}
    edges = [
        {"name": name, "url": about["status_url"]}
        for name, about in fleet["edges"].items()
        if name in edges_of(fleet, facts, options["out"])
    ]
    before = {"app": opened["app"], **pair, "move": move, "edges": edges}
    return {"pair": pair, "edge_names": [edge["name"] for edge in edges], "guards": {"before": before}}


def _batches(plan: Data) -> list[list[int]]:
    """Return the numbers of the hosts' batches, those that may go together in one list."""
    return [[number] for number in sorted({about["batch"] for about in plan["hosts"].values()})]


def batches(plan: Data, beside: t.Mapping[str, t.Collection[str]]) -> list[list[int]]:
    """Return the batches of a plan in one where each singleton was seen at its home alone.

    *beside* are the background services that each host has containers of, seen after the host has met the pair of
    the run, so that no older run can start one there any more.
    """
    seen = set(plan["hosts"]) <= set(beside)
    astray = any(
        home != host for host, found in beside.items() for name, home in plan["homes"].items() if name in found
    )
    return plan["batches"] if astray or not seen else [[number for one in plan["batches"] for number in one]]


def _outcome(kind: str, model: Model, opened: Data, note: str) -> str:
    app, identity = model["name"], opened["identity"]
    if note:
        return note
    if opened["held"]:
        return (
            f"{app}: {identity} is held ({opened['held_reason']}), left as it is; set retry={identity} to "
            "deploy it again"
        )
    if opened["unchanged"]:
        return f"{app}: {identity} is live on {opened['to']}, nothing to do"
    if kind == "rollback":
        return f"{app}: {identity} is live again on {opened['to']}"
    warm = model["strategy"]["warm_seconds"]
    kept = f", the release before stays warm for {warm} s" if opened["from"] and warm else ""
    return f"{app}: {identity} is live on {opened['to']}{kept}"


def _retire(plan: Data, model: Model) -> Data:
    """Return the order to stop the old side; the edges withdraw it when its time is over."""
    if not plan["from"] or "handover" not in plan["stages"]:
        return {}
    return {"colour": plan["from"], "stack": f"{model['name']}-{plan['from']}"}


def _background(model: Model, digests: Data, fleet: Data, host: str) -> Data:
    hosts = list(fleet["hosts"])
    return _stack(model, _stacks.background(model, host, hosts, fleet["hosts"][host]["address"]), digests)


def _migration(model: Model, digests: Data, phase: str) -> list[Data]:
    """Return the steps of a phase, each with the stack of its one container."""
    return [
        {**step, "stack": _stack(model, _stacks.migration(model, step), digests)}
        for step in model["migration"]
        if step["phase"] == phase
    ]


def _stages(kind: str, opened: Data, model: Model, moved: bool) -> list[str]:
    if opened["unchanged"] or opened["held"]:
        return []
    stages = list(STAGES)
    if kind == "rollback" or opened["migrated"] or not any(step["phase"] == "expand" for step in model["migration"]):
        stages.remove("migrate")
    if not model["smoke"]:
        stages.remove("smoke")
    if moved:
        # A release whose move was not read back is probed once more; one that the edges serve already is followed.
        stages = stages[stages.index("handover" if opened["settled"] else "switch") :]
    if not opened["from"]:
        stages.remove("drain")
    return stages


def _behind(counted: Data, now: Data) -> Data:
    """Return the edges that serve or record something else than the newest one, with what each of them serves."""
    return {
        name: {"entry": edge["entry"]["text"], "move": edge["move"]}
        for name, edge in counted.items()
        if now["entry"]["colour"]
        and not (
            edge["recorded"]
            and (edge["entry"]["text"], edge["move"], edge["confirmed"]) == (now["entry"]["text"], now["move"], True)
        )
    }


def _probe(model: Model, options: Data) -> Data:
    """Return what is requested through the public listener after the move; the app itself tells its release."""
    probe = _edge_record.probe(model, options["https_port"])
    return {**probe, "release": model["release"]} if probe else {}


def _stack(model: Model, definition: Data, digests: Data) -> Data:
    return {
        "definition": definition,
        "images": _stacks.pinned(definition, digests) if digests else {},
        "secrets": _stacks.secrets(model, definition),
        "waivers": _stacks.waivers(model, definition),
    }


def migration_seconds(model: Model, phase: str) -> int:
    """Return how long the migrations of a phase may take, 0 without any."""
    return sum(int(step["timeout_seconds"]) for step in model["migration"] if step["phase"] == phase)


def homes(model: Model, hosts: t.Sequence[str]) -> dict[str, str]:
    """Return the host of each singleton of the app."""
    return {
        name: _model.home_of(service, hosts)
        for name, service in model["services"].items()
        if service["x-evenkeel"]["kind"] == "singleton"
    }


# -- the way back of a run that failed --------------------------------------


def undo(plan: Data, fleet: Data, facts: Data, failures: t.Sequence[Data], lost: t.Sequence[str]) -> Data:
    """Return how a failed run goes back, from what the edges serve now.

    *failures* are the failed results with C(stage); *lost* are hosts that went away.
    """
    counted = edges_of(fleet, facts, [name for name in fleet["edges"] if name not in plan["edge_names"]])
    now = served(counted)
    records = releases_of(facts, fleet)
    serving = sorted(
        name
        for name, edge in counted.items()
        if (edge["entry"]["colour"], edge["entry"]["release"]) == (plan["to"], plan["identity"])
    )
    # A rollback never goes forward again, and without a side to go back to the release stays: its run stays open.
    back = serving if plan["kind"] == "deploy" and plan["from"] else []
    pair = Pair(plan["pair"]["token"], plan["pair"]["run"])
    begun = any(Pair(each["pair"]["token"], each["pair"]["run"]) == pair for each in counted.values())
    move_after = now["move"] + 1 if back else now["move"]
    # Another run may have made the colour live meanwhile, with whatever release.
    taken = any(serves(edge["entry"]["text"], plan["to"]) for edge in counted.values())
    remove = bool(back) or (begun and "withdraw" in plan["stages"] and not (taken or plan["moved"]))
    remove = remove and plan["kind"] != "contract"
    warm = plan["warm"] if not back and remove and plan["warm"].get("colour") == plan["to"] else {}
    # An edge that moved back by itself is the newest, and shows what the others will serve.
    returned = now["entry"]["colour"] == plan["from"]
    left = now["entry"]["release" if returned else "other_release"] if back else ""
    # Every edge ends at one move: one that moved back by itself is ahead of the others.
    moves = {
        name: {"entry": edge["entry"]["text"], "move": edge["move"]}
        for name, edge in counted.items()
        if name in back or (now["entry"]["colour"] and edge["move"] != move_after)
    }
    undo_plan: Data = {
        "app": plan["app"],
        "kind": plan["kind"],
        "identity": plan["identity"],
        "from": plan["from"],
        "to": plan["to"],
        "overtaken": highest_pair(facts) > pair,
        "edge_names": list(counted),
        "back": back,
        "stays": bool(serving) and not back,
        "moves": moves,
        "colour": plan["from"] if back else now["entry"]["colour"],
        "entry": now["entry"],
        "move_after": move_after,
        "remove": remove,
        "warm": warm,
        "retire": {"colour": plan["to"], "stack": f"{plan['app']}-{plan['to']}"} if warm else {},
        "gate": _gate_of(warm, plan, fleet, facts, counted),
        "hosts": {},
        "batches": [],
        "homes": {},
        "reasons": reasons(failures, lost),
        "evidence": evidence(failures),
        "result": "refused" if blames_release(failures, lost) else "failed",
        "seal": not (bool(serving) and not back),
        "free": True,
    }
    before = {**plan["guards"]["before"], "move": move_after}
    undo_plan["guards"] = {"idle": {**before, "colour": plan["to"]}, "background": before}
    kept = kept_release(facts, fleet, left) if back else None
    if kept is not None:
        model, digests = kept["content"]["model"], kept["content"]["digests"]
        undo_plan["homes"] = homes(model, list(fleet["hosts"]))
        rehomed = {name for name, home in plan["homes"].items() if undo_plan["homes"].get(name, home) != home}
        for host in fleet["hosts"]:
            undo_plan["hosts"][host] = {
                "background": _background(model, digests, fleet, host),
                "jobs": _stacks.jobs(model, host, list(fleet["hosts"])),
                "leaving": sorted(name for name in rehomed if plan["homes"][name] == host),
                "batch": int(host in undo_plan["homes"].values()),
                "label": kept["identity"],
            }
        undo_plan["batches"] = _batches(undo_plan)
    if not records["unfinished_lines"]:
        undo_plan["seal"] = False
    return undo_plan


def _gate_of(warm: Data, plan: Data, fleet: Data, facts: Data, counted: Data) -> Data:
    """Return how the side that was warm is probed after it was brought up again."""
    kept = kept_release(facts, fleet, warm["release"]) if warm else None
    if kept is None:
        return {"targets": [], "release": "", "successes": 1, "interval_seconds": 0.3, "timeout_seconds": 1}
    model = kept["content"]["model"]
    ports = _ports.allocate(model, _ports.recorded(recorded_of(counted)))
    targets = _edge_record.gate_targets(model, plan["to"], ports, fleet["hosts"])
    return {"targets": targets, "release": model["release"], **model["strategy"]["gate"]}


def blames_release(failures: t.Sequence[Data], lost: t.Sequence[str]) -> bool:
    """Tell whether a failure speaks against the release itself: only such a one holds it.

    A host that is gone, a registry that refuses, a full disk or an edge that does not answer say nothing of it.
    """
    if lost:
        return False
    for failure in failures:
        text = str(failure.get("msg") or "").lower()
        if "no space left" in text:
            return False
    return any(
        failure.get("evidence")
        or failure.get("failed_targets")
        or failure.get("migration_failed")
        or failure.get("smoke_failed")
        or (failure.get("probe") or {}).get("ok") is False
        for failure in failures
    )


def evidence(failures: t.Sequence[Data]) -> list[str]:
    """Return what the failed results show of containers, each line once."""
    return list(dict.fromkeys(line for failure in failures for line in failure.get("evidence") or []))


def reasons(failures: t.Sequence[Data], lost: t.Sequence[str]) -> list[str]:
    """Return one sentence for each reason, also where a host only went away."""
    stages = {str(failure.get("stage") or "") for failure in failures} - {""}
    during = f" during {', '.join(sorted(stages))}" if stages else ""
    found = [str(failure.get("reason") or failure.get("msg") or "").strip() for failure in failures]
    found += [
        f"app_deploy: host {name}: found it unreachable{during}, need it. Bring it back and run this again."
        for name in lost
    ]
    return list(dict.fromkeys(text for text in found if text)) or ["app_deploy: found no reason given. Run it with -v."]
