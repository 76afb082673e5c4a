# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What to type next, after the state of an app. Pure decisions on plain data."""

from __future__ import annotations

import typing as t

Status = t.Mapping[str, t.Any]
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

    C(status) holds C(app), C(live) (release, colour, since), C(warm) (identity, until), C(held) (identity, result,
    at), C(unfinished) (release, identity, kind, owner, boundary), C(lease) (held, owner), C(pending_contract)
    and C(edges), by name C(confirmed), C(out), C(drift), C(maintenance). A key without a value may be missing.
    """
    app = str(status["app"])
    why, verb, options = _decide(status)
    return f"next, {why}: {command(verb, app, **options)}"


def _decide(status: Status) -> tuple[str, str, dict[str, str]]:
    live = status.get("live") or {}
    lease = status.get("lease") or {}
    unfinished = status.get("unfinished") or {}
    release = str(live.get("release") or "")
    if lease.get("held"):
        return f"wait for the run of {lease.get('owner') or 'somebody'} and look again", "status", {}
    if unfinished:
        return _finish(unfinished)
    if not release:
        return "deploy the first release", "deploy", {}
    return _edges(status, release) or _releases(status, live)


def _finish(unfinished: Status) -> tuple[str, str, dict[str, str]]:
    """A run whose runner is gone: the same verb again goes on where it ended."""
    verb = str(unfinished["kind"]) if unfinished.get("kind") in KINDS else "deploy"
    target = str(unfinished.get("release") or release_of(str(unfinished.get("identity") or "")))
    why = f"finish the {verb} of {target}, interrupted at boundary {unfinished.get('boundary') or 'leased'}"
    return why, verb, {"release": target} if verb == "deploy" else {}


def _edges(status: Status, release: str) -> tuple[str, str, dict[str, str]] | None:
    """What is wrong at the edges. The live release deployed again moves nothing, and settles what they hold."""
    edges: t.Mapping[str, Status] = status.get("edges") or {}

    def where(key: str) -> str:
        return ", ".join(sorted(name for name, edge in edges.items() if edge.get(key)))

    again = {"release": release}
    if names := where("out"):
        return f"bring {names} back in once it runs again", "deploy", again
    if names := ", ".join(sorted(name for name, edge in edges.items() if not edge.get("confirmed", True))):
        return f"have {names} confirmed, which answers 503 until then", "deploy", again
    if names := where("drift"):
        return f"put right what differs on {names}", "deploy", again
    if names := where("maintenance"):
        return f"take the maintenance page down on {names}", "maintenance", {"enabled": "false"}
    return None


def _releases(status: Status, live: Status) -> tuple[str, str, dict[str, str]]:
    warm = status.get("warm") or {}
    fresh = [row for row in status.get("held") or [] if str(row.get("at") or "") >= str(live.get("since") or "")]
    if fresh:
        newest = max(fresh, key=lambda row: str(row.get("at") or ""))
        target = release_of(str(newest["identity"]))
        reason = "left by a rollback" if newest.get("result") == "live" else "refused"
        return (
            f"try {target} again, which was {reason}",
            "deploy",
            {"release": target, "retry": str(newest["identity"])},
        )
    if warm:
        return f"go back to {warm.get('identity')}, warm until {warm.get('until')}", "rollback", {}
    if status.get("pending_contract"):
        return f"run the contract migration of {live['release']}", "contract", {}
    return "deploy another release", "deploy", {"release": "<release>"}
