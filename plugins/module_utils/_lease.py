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
) -> Lease:
    """Return the lease after taking it, or refuse with who holds it."""
    known = max(highest(lease), floor)
    if lease and lease.get("run") == run and not lease.get("freed_at") and highest(lease) >= known:
        return dict(lease, **_renewal(now, ttl))
    broken = None
    if lease is not None and held(lease, now) and lease.get("run") != run:
        if not preempt:
            raise Failure(
                sentence(
                    "release_lease",
                    "another run holds the lease",
                    app,
                    f"run {lease['run']} of {lease['owner']} ({lease.get('reason') or 'no reason given'}), "
                    f"since {lease['taken_at']}, expiring at {lease['expires_at']}",
                    "it free",
                    "Wait for that run (wait_seconds), or break its lease with state=broken and a reason",
                ),
                lease=public(lease),
                token=highest(lease),
            )
        broken = _broken(lease, now, owner, run, reason)
    return {
        "token": known + 1,
        "owner": owner,
        "run": run,
        "reason": reason,
        "taken_at": _clock.iso(now.wall),
        "freed_at": None,
        "broken": broken,
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
                _freed_how(current),
                "a held lease",
                "This run stops here and changes nothing more; start a new run",
            )
        )
    return dict(current, **_renewal(now, ttl))


def freed(lease: Lease | None, now: _clock.Instant, *, app: str, token: int) -> Lease:
    """Return the freed lease; freeing twice changes nothing, and the token is never lowered."""
    current = _owned(lease, app=app, token=token)
    return current if current.get("freed_at") else dict(current, freed_at=_clock.iso(now.wall))


def broken(lease: Lease | None, now: _clock.Instant, *, owner: str, run: str, reason: str) -> Lease | None:
    """Return the lease taken away from its holder; a free or expired one is left as it is."""
    if not lease or not held(lease, now):
        return lease
    return dict(lease, freed_at=_clock.iso(now.wall), broken=_broken(lease, now, owner, run, reason))


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


def _freed_how(lease: Lease) -> str:
    if lease.get("broken") and lease["broken"].get("run") == lease.get("run"):
        return f"it broken by {lease['broken']['by']} at {lease['freed_at']} ({lease['broken']['reason']})"
    return f"it freed at {lease['freed_at']}"


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
        raise Failure(
            f"release_lease: the token is stale on {app}: found token {token}, need {lease['token']}. "
            f"A newer run by {lease['owner']} took over at {lease['taken_at']}; "
            "this run stops here and changes nothing more.",
            token=highest(lease),
            lease=public(lease),
        )
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
