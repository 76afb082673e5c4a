# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What C(playbooks/status.yml) prints of an app. Pure functions on plain data.

The edges say what is live and warm; the records say who released it and why. A host that does not answer has none.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _edge_state, _next_step, _plan

Data = dict[str, t.Any]
SILENT = "does not answer"


def lines(state: Data, now: float) -> list[str]:
    """Return the report of an app, the next command last.

    C(state) holds C(app), C(inventory_release), C(record_host), C(edges) (what each that answered returned as
    C(edge)), C(records) (of the record host), C(lost) (why there is no answer, by host) and C(run_lives) (whether
    the run that holds the lease may still be alive).
    """
    answers: Data = {name: edge for name, edge in state["edges"].items() if edge}
    records: Data = state["records"]
    live = _plan.served(_voices(answers))["entry"]
    found = [state["app"]]
    for name in state["edges"]:
        found += _edge(name, answers.get(name), state["lost"].get(name, SILENT))
    found += _since(answers, records)
    found.append(f"  warm: {_warm_text(answers, records, now)}")
    if records:
        found += _records(records)
    else:
        found.append(f"  record host {state['record_host']}: {state['lost'].get(state['record_host'], SILENT)}")
    row: Data = next(iter(records.get("live_rows") or []), {})
    lease = dict(records.get("lease") or {})
    lease["held"] = bool(lease.get("held")) and state["run_lives"]
    status = {
        "app": state["app"],
        "inventory_release": state["inventory_release"],
        "live": {"release": live["release"], "since": row.get("sealed_at") or ""} if live["release"] else {},
        "recorded": row.get("identity") or "",
        "previous": row.get("previous") or "",
        "warm": warm(answers, now),
        "held": records.get("held") or [],
        "unfinished": records.get("unfinished") or {},
        "lease": lease,
        "pending_contract": records.get("pending_contract") or [],
        "edges": {name: _shown(name, answers, live, state["lost"]) for name in state["edges"]},
        "no_records": "" if records else _remedy(state["record_host"], state["lost"]),
    }
    return [*found, f"  {_next_step.next_step(status)}"]


def _voices(answers: Data) -> Data:
    """Return the edges whose word counts: those that run, unless none does."""
    return {name: edge for name, edge in answers.items() if edge.get("running", True)} or answers


def _remedy(name: str, lost: t.Mapping[str, str]) -> str:
    return f"mend {name}" if lost.get(name, SILENT) != SILENT else f"start {name}"


def _shown(name: str, answers: Data, live: Data, lost: t.Mapping[str, str]) -> Data:
    """Return what the next command is chosen by, of one edge."""
    edge = answers.get(name)
    out = name in _plan.declared_out(answers)
    if edge is None:
        return {"down": _remedy(name, lost), "out": out}
    return {
        "down": "" if edge.get("running", True) else f"start HAProxy on {name}",
        "out": out,
        "confirmed": edge["confirmed"],
        "drift": edge["drift"],
        "behind": edge["confirmed"] and not out and edge["entry"]["text"] != live["text"],
        "maintenance": edge.get("maintenance", False),
    }


def _edge(name: str, edge: Data | None, why: str) -> list[str]:
    if edge is None:
        return [f"  edge {name}: {why}"]
    live = edge["entry"]
    text = f"  edge {name}: {live['colour'] or 'none'} serves {live['release'] or 'no release'}"
    if int(live["weight"]):
        text += f", {live['weight']} % to the other side"
    if not edge.get("running", True):
        text += ", but HAProxy does not run"
    if edge["drift"]:
        text += f", but {'; '.join(edge['drift'])}"
    if edge["out"]:
        text += f", declared out: {', '.join(sorted(edge['out']))}"
    found = [text]
    for service, servers in (edge["backends"].get(live["colour"]) or {}).items():
        healthy = sum(bool(server["healthy"]) for server in servers)
        sessions = sum(int(server["sessions"]) for server in servers)
        found.append(f"    {service}: {healthy} of {len(servers)} slots healthy, {sessions} sessions")
    return found


def _since(answers: Data, records: Data) -> list[str]:
    """Return since when the live release serves; where no row of the ledger is of it, the edges know when."""
    voices = _voices(answers)
    live = _plan.served(voices)["entry"]["release"]
    row: Data = next(iter(records.get("live_rows") or []), {})
    if row and row["identity"] == live:
        reason = f" ({row['reason']})" if row.get("reason") else ""
        return [f"  since {row['sealed_at']} by {row['owner']}{reason}"]
    found = []
    moved = sorted(
        str(edge["moved_at"])
        for edge in voices.values()
        if live and edge["entry"]["release"] == live and edge.get("moved_at")
    )
    if moved:
        found.append(f"  since {moved[0]}, as the edges say")
    if row and answers:
        found.append(
            f"  records: name {row['identity']} as live, so workers, singletons and jobs may still be those of "
            f"{row['identity']}"
        )
    return found


def _sides(answers: Data, now: float) -> dict[str, tuple[str, str]]:
    """Return colour and release that each edge which takes requests would go back to at once; empty where none."""
    declared = _plan.declared_out(answers)
    return {
        name: _edge_state.warm_side(_edge_state.EdgeState(warm=edge["warm"], withdrawn=edge["withdrawn"]), now)[:2]
        for name, edge in answers.items()
        if edge["confirmed"] and edge.get("running", True) and name not in declared
    }


def warm(answers: Data, now: float) -> Data:
    """Return the side that every edge can go back to, and until when the first of them refuses; or nothing."""
    sides = _sides(answers, now)
    if len(set(sides.values())) != 1 or not all(release for _colour, release in sides.values()):
        return {}
    colour, release = next(iter(sides.values()))
    until = min(int(answers[name]["warm"]["until"]) for name in sides) - _edge_state.WARM_MARGIN_SECONDS
    return {"identity": release, "colour": colour, "until": _clock.iso(until)}


def _warm_text(answers: Data, records: Data, now: float) -> str:
    side = warm(answers, now)
    if side:
        return f"{side['identity']} on {side['colour']} until {side['until']}"
    if not answers:
        return "not known, as no edge answers"
    sides = _sides(answers, now)
    if any(release for _colour, release in sides.values()):
        each = [f"{release} on {colour}" if release else "nothing" for colour, release in sides.values()]
        return ", ".join(f"{what} at {name}" for name, what in zip(sides, each, strict=True))
    row: Data = next(iter(records.get("live_rows") or []), {})
    return "nothing, a rollback would start the old release again" if row.get("previous") else "nothing"


def _records(records: Data) -> list[str]:
    lease, unfinished = records["lease"], records["unfinished"]
    held = f"held by {lease.get('owner') or ''} since {lease.get('taken_at') or ''}" if lease.get("held") else "free"
    found = [f"  lease: {held}"]
    if unfinished:
        found.append(f"  unfinished: {unfinished['identity']} at {unfinished['boundary']}, by {unfinished['owner']}")
    for row in records["held"]:
        why = "left by a rollback" if row["result"] == "live" else row["result"]
        found.append(f"  held: {row['identity']} ({why} {row['at']})")
    found += [
        f"  contract migration pending: {step['identity']} {step['service']}" for step in records["pending_contract"]
    ]
    found.append("  last releases:")
    for row in records["ledger"]:
        found.append(
            f"    {row['sealed_at']}  {row['identity']:<12} {row['result']:<11} {row['kind']} by {row['owner']}, "
            f"{row['seconds']} s"
        )
    return found
