# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lease of an app: who may change it, under which token. Pure decisions on plain data."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

Lease = dict[str, t.Any]
PUBLIC = (
    "token",
    "owner",
    "run",
    "reason",
    "taken_at",
    "renewed_at",
    "expires_at",
    "ttl_seconds",
    "freed_at",
    "broken",
    "controller",
)


def public(lease: Lease | None) -> Lease:
    """Return what people may see, with the same keys whether there is a lease or not."""
    return {key: (lease or {}).get(key) for key in PUBLIC}


def held(lease: Lease | None, now: _clock.Instant) -> bool:
    """Tell whether somebody holds the lease at this moment.

    Within one boot of the record host the monotonic clock decides, so a stepped wall clock
    neither kills nor prolongs a lease. After a reboot only the wall clock is left; when that
    stands before the last renewal nothing can be known, and the lease counts as expired: the
    token, not the lease, keeps a sleeping holder from changing anything.
    """
    if not lease or lease.get("freed_at") or not lease.get("run"):
        return False
    if lease.get("boot") and lease["boot"] == now.boot:
        elapsed = now.monotonic - float(lease["monotonic"])
    else:
        elapsed = now.wall - _clock.parse(lease["renewed_at"])
    return 0 <= elapsed < float(lease["ttl_seconds"])


def highest(lease: Lease | None) -> int:
    return int((lease or {}).get("token") or 0)


def taken(
    lease: Lease | None,
    now: _clock.Instant,
    *,
    app: str,
    owner: str,
    run: str,
    reason: str,
    ttl: int,
    floor: int = 0,
    preempt: bool = False,
    dead_run: str = "",
    controller: dict[str, t.Any] | None = None,
) -> Lease:
    """Return the lease after taking it, or refuse with who holds it.

    C(dead_run) is the run whose process the caller has seen to be gone: its lease is broken at once.
    """
    known = max(highest(lease), floor)
    if lease and lease.get("run") == run and not lease.get("freed_at") and highest(lease) >= known:
        return dict(lease, **_renewal(now, ttl))
    broken = None
    if lease is not None and held(lease, now) and lease.get("run") != run:
        dead = bool(dead_run) and lease.get("run") == dead_run
        if not preempt and not dead:
            raise Failure(
                sentence(
                    "release_lease",
                    "another run holds the lease",
                    app,
                    f"run {lease['run']} of {lease['owner']} ({lease.get('reason') or 'no reason given'}), "
                    f"since {lease['taken_at']}, expiring at {lease['expires_at']}",
                    "it free",
                    f"Wait for it with -e wait=300, or, if that run is gone, take its lease away with "
                    f"'ansible-playbook evenkeel.platform.unlock -e app={app} -e reason=...'",
                ),
                lease=public(lease),
                token=highest(lease),
            )
        broken = _broken(lease, now, owner, run, "its process is gone" if dead else reason)
    return {
        "token": known + 1,
        "owner": owner,
        "run": run,
        "reason": reason,
        "taken_at": _clock.iso(now.wall),
        "freed_at": None,
        "broken": broken,
        "controller": controller or {},
        **_renewal(now, ttl),
    }


def renewed(lease: Lease | None, now: _clock.Instant, *, app: str, token: int, ttl: int) -> Lease:
    current = _owned(lease, app=app, token=token)
    if current.get("freed_at"):
        raise Failure(
            sentence(
                "release_lease",
                "the lease is no longer held",
                app,
                f"it freed at {current['freed_at']}",
                "a held lease",
                "This run stops here and changes nothing more; start a new run",
            )
        )
    return dict(current, **_renewal(now, ttl))


def freed(lease: Lease | None, now: _clock.Instant, *, app: str, token: int) -> Lease:
    """Return the freed lease; freeing twice changes nothing, and the token is never lowered."""
    current = _owned(lease, app=app, token=token)
    return current if current.get("freed_at") else dict(current, freed_at=_clock.iso(now.wall))


def broken(
    lease: Lease | None, now: _clock.Instant, *, owner: str, run: str, reason: str, floor: int = 0
) -> Lease | None:
    """Return the lease taken away from its holder, its token raised so that the holder's acts are refused.

    A free or expired lease is left as it is.
    """
    if not lease or not held(lease, now):
        return lease
    token = max(highest(lease), floor) + 1
    taken_away = {**_broken(lease, now, owner, run, reason), "alone": True}
    return dict(lease, token=token, freed_at=_clock.iso(now.wall), broken=taken_away, run=run)


def _renewal(now: _clock.Instant, ttl: int) -> Lease:
    return {
        "renewed_at": _clock.iso(now.wall),
        "expires_at": _clock.iso(now.wall + ttl),
        "ttl_seconds": ttl,
        "boot": now.boot,
        "monotonic": now.monotonic,
    }


def _broken(lease: Lease, now: _clock.Instant, owner: str, run: str, reason: str) -> Lease:
    return {
        "by": owner,
        "by_run": run,
        "reason": reason,
        "at": _clock.iso(now.wall),
        "token": lease["token"],
        "owner": lease["owner"],
        "run": lease["run"],
    }


def stale(lease: Lease, app: str, token: int) -> str:
    """Return the sentence that stops a run whose token a newer run, or a person, has overtaken."""
    taken_away = lease.get("broken") or {}
    if taken_away.get("alone") and taken_away.get("token") == token:
        why = f"Its lease was taken away by {taken_away['by']} at {taken_away['at']} ({taken_away['reason']})"
    else:
        why = f"A newer run by {lease.get('owner')} took over at {lease.get('taken_at')}"
    return (
        f"release_lease: the token is stale on {app}: found token {token}, need {highest(lease)}. "
        f"{why}; this run stops here and changes nothing more."
    )


def _owned(lease: Lease | None, *, app: str, token: int) -> Lease:
    if lease is None:
        raise Failure(
            sentence(
                "release_lease",
                "there is no lease",
                app,
                "no lease.json",
                f"one with token {token}",
                "Take the lease first with state=taken",
            )
        )
    if token < highest(lease):
        raise Failure(stale(lease, app, token), token=highest(lease), lease=public(lease))
    if token > highest(lease):
        raise Failure(
            sentence(
                "release_lease",
                "the token is unknown",
                app,
                f"token {token}",
                f"{lease['token']}, the one this lease was given",
                "Take the lease first with state=taken",
            )
        )
    return lease
