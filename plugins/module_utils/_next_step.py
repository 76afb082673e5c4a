# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What to type next, after the state of an app. Pure decisions on plain data."""

from __future__ import annotations

import typing as t

Status = t.Mapping[str, t.Any]
Step = tuple[str, str, dict[str, str]]
KINDS = ("deploy", "rollback", "contract")


def command(verb: str, app: str, **options: str) -> str:
    """Return a verb as a user types it."""
    words = [f"ansible-playbook evenkeel.platform.{verb} -e app={app}"]
    return " ".join([*words, *(f"-e {name}={value}" for name, value in options.items() if value)])


def release_of(identity: str) -> str:
    """Return the release of an identity: C(1.1) of C(1.1+2)."""
    return identity.partition("+")[0]


def next_step(status: Status) -> str:
    """Return one line that says what to do and the command for it, the most urgent first.

    C(status) holds C(app), C(inventory_release), C(live) (release, colour, since), C(recorded) (the identity that the
    ledger has as live) and C(previous) (the one before), C(warm) (identity, until), C(held) (identity, result, at),
    C(unfinished) (release, identity, kind, owner, boundary), C(lease) (held, owner), C(pending_contract), C(edges),
    by name C(confirmed), C(out), C(drift), C(behind), C(maintenance) and C(down), and C(no_records). C(down) is what
    to do so that an edge answers, C(no_records) the same for the record host. A key without a value may be missing.
    """
    app = str(status["app"])
    why, verb, options = _decide(status)
    return f"next, {why}: {command(verb, app, **options)}"


def _decide(status: Status) -> Step:
    live = status.get("live") or {}
    lease = status.get("lease") or {}
    unfinished = status.get("unfinished") or {}
    edges: t.Mapping[str, Status] = status.get("edges") or {}
    release = str(live.get("release") or "")
    recorded = str(status.get("recorded") or "")
    if edges and all(edge.get("down") for edge in edges.values()):
        return f"{_remedy(status)}, as no edge takes requests, and look again", "status", {}
    if status.get("no_records"):
        return _without_records(status)
    if lease.get("held"):
        return f"wait for the run of {lease.get('owner') or 'somebody'} and look again", "status", {}
    if unfinished:
        return _finish(status, unfinished)
    if not release:
        return _first(status)
    if recorded and recorded != release:
        return _follow(status, release)
    return _edges(status, release) or _releases(status, live)


def _down(status: Status) -> list[str]:
    """Return the edges that do not answer; a deploy has to declare them out."""
    return sorted(name for name, edge in (status.get("edges") or {}).items() if edge.get("down"))


def _remedy(status: Status) -> str:
    """Return what brings back each host that does not answer."""
    edges = status.get("edges") or {}
    remedies = [str(status.get("no_records") or ""), *(str(edges[name]["down"]) for name in _down(status))]
    return " and ".join(dict.fromkeys(remedy for remedy in remedies if remedy))


def _or_without(status: Status, step: Step, otherwise: str) -> Step:
    """Return a step of a run that needs every edge: without those that are down, they are declared out."""
    names = _down(status)
    if not names:
        return step
    return f"{_remedy(status)}, or {otherwise}", step[1], {**step[2], "edge_out": ",".join(names)}


def _without_records(status: Status) -> Step:
    """The record host is down: nothing is known of runs, and only a warm side can be gone back to."""
    warm = status.get("warm") or {}
    if warm:
        why = f"{_remedy(status)}, or go back to {warm.get('identity')}, possible until {warm.get('until')}"
        return why, "rollback", {"without_records": "true"}
    return f"{_remedy(status)}, as every run needs the records, and look again", "status", {}


def _finish(status: Status, unfinished: Status) -> Step:
    """A run whose runner is gone: the same verb again goes on where it ended."""
    verb = str(unfinished["kind"]) if unfinished.get("kind") in KINDS else "deploy"
    target = str(unfinished.get("release") or release_of(str(unfinished.get("identity") or "")))
    at = f"interrupted at boundary {unfinished.get('boundary') or 'leased'}"
    why = f"finish the {verb} of {target}"
    step: Step = (f"{why}, {at}", verb, {"release": target} if verb == "deploy" else {})
    if verb == "rollback":
        return step
    return _or_without(status, step, f"{why} without {', '.join(_down(status))}, {at}")


def _follow(status: Status, release: str) -> Step:
    """The traffic moved and nothing followed it, as after a rollback without records."""
    why = f"have workers, singletons, jobs and records follow to {release}"
    if release == status.get("previous"):
        return why, "rollback", {}
    step: Step = (why, "deploy", {"release": release_of(release)})
    return _or_without(status, step, f"{why} without {', '.join(_down(status))}")


def _first(status: Status) -> Step:
    release = str(status.get("inventory_release") or "")
    held = [row for row in status.get("held") or [] if release and release_of(str(row["identity"])) == release]
    why, options = "deploy the first release", {}
    if held:
        newest = _newest(held)
        why = f"set another release in app_deploy_apps, or try {release} again, which was {_reason(newest)}"
        options = {"retry": str(newest["identity"])}
    return _or_without(status, (why, "deploy", options), f"{why}, without {', '.join(_down(status))}")


def _edges(status: Status, release: str) -> Step | None:
    """What is wrong at the edges. The live release deployed again moves nothing, and settles what they hold."""
    edges: t.Mapping[str, Status] = status.get("edges") or {}

    def where(key: str) -> str:
        return ", ".join(sorted(name for name, edge in edges.items() if edge.get(key)))

    again = {"release": release_of(release)}
    if any(edge.get("down") and not edge.get("out") for edge in edges.values()):
        return _or_without(status, ("", "deploy", again), f"declare {', '.join(_down(status))} out")
    if names := where("out"):
        return f"bring {names} back in once it runs again", "deploy", again
    if names := ", ".join(sorted(name for name, edge in edges.items() if not edge.get("confirmed", True))):
        return f"have {names} confirmed, which answers 503 until then", "deploy", again
    if names := where("behind"):
        return f"bring {names} to {release}, which the other edges serve", "deploy", again
    if names := where("drift"):
        return f"put right what differs on {names}", "deploy", again
    if names := where("maintenance"):
        return f"take the maintenance page down on {names}", "maintenance", {"enabled": "false"}
    return None


def _releases(status: Status, live: Status) -> Step:
    """Nothing is wrong: say what is live, and never push a release that was refused."""
    warm = status.get("warm") or {}
    another = {"release": "<release>"}
    fresh = [row for row in status.get("held") or [] if str(row.get("at") or "") >= str(live.get("since") or "")]
    if status.get("pending_contract") and not warm:
        return f"run the contract migration of {live['release']}", "contract", {}
    if fresh:
        newest = _newest(fresh)
        identity = str(newest["identity"])
        last = f"{release_of(identity)}, which was {_reason(newest)}, goes again with -e retry={identity} only"
        return f"{live['release']} is live, deploy another release ({last})", "deploy", another
    if warm:
        why = f"{live['release']} is live, go back to {warm.get('identity')} if need be, possible until"
        return f"{why} {warm.get('until')}", "rollback", {}
    return f"{live['release']} is live, deploy another release", "deploy", another


def _newest(rows: t.Iterable[Status]) -> Status:
    return max(rows, key=lambda row: str(row.get("at") or ""))


def _reason(row: Status) -> str:
    return "left by a rollback" if row.get("result") == "live" else "refused"
