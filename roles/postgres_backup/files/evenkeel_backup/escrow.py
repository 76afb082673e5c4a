# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of the key that is kept elsewhere: proven by opening the repository with it, not promised."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evenkeel_backup.config import Config, Repository
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.manifest import moment, stamp


def fingerprint(repository: Repository, key: bytes) -> str:
    """A keyed hash: tells whether the key in use is the one that was proven, and nothing else. Pure."""
    return hmac.new(key.strip(), f"evenkeel {repository.location}".encode(), hashlib.sha256).hexdigest()[:32]


def proof(repository: Repository, key: bytes, identity: str, at: datetime, host: str) -> dict[str, Any]:
    """What is noted of an opening. Pure."""
    return {"fingerprint": fingerprint(repository, key), "identity": identity, "at": stamp(at), "host": host}


def news(
    config: Config,
    repository: Repository,
    escrow: Mapping[str, Any],
    proven: Mapping[str, Any],
    key: bytes,
    now: datetime,
) -> bool:
    """Whether a proof says more than the one before did, but for its time: then one that counted still does. Pure."""
    before = escrow.get(repository.name, {})
    same = all(before.get(name) == proven[name] for name in ("fingerprint", "identity", "host"))
    return not same or problem(config, repository, escrow, key, now) is not None


def problem(
    config: Config, repository: Repository, escrow: Mapping[str, Any], key: bytes, now: datetime
) -> BackupFailure | None:
    """Why a repository's key does not count as safe. Pure."""
    noted = escrow.get(repository.name)
    if not noted:
        found = "no proof"
    elif noted["fingerprint"] != fingerprint(repository, key):
        found = f"a proof of another key, of {noted['at']}"
    elif (now - moment(noted["at"])).total_seconds() > config["escrow_max_age_seconds"]:
        found = f"a proof of {noted['at']}"
    else:
        return None
    return BackupFailure(
        "key_not_escrowed",
        "the key's copy is not proven",
        f"repository {repository.name}",
        found,
        "one with the key in use",
        "Run 'evenkeel-backup escrow-check --key-file -' with the copy kept outside this host",
        "escrow",
    )
