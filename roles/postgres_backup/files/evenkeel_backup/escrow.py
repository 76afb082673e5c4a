# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify the external copy of the key by opening the repository with it."""

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
    """Return a keyed hash that identifies the verified key without revealing it. Pure."""
    return hmac.new(key.strip(), f"evenkeel {repository.location}".encode(), hashlib.sha256).hexdigest()[:32]


def proof(repository: Repository, key: bytes, identity: str, at: datetime, host: str) -> dict[str, Any]:
    """Return the record of a successful check. Pure."""
    return {"fingerprint": fingerprint(repository, key), "identity": identity, "at": stamp(at), "host": host}


def news(
    config: Config,
    repository: Repository,
    escrow: Mapping[str, Any],
    proven: Mapping[str, Any],
    key: bytes,
    now: datetime,
) -> bool:
    """Return whether a proof differs from the former one in more than its time, or replaces an expired one. Pure."""
    before = escrow.get(repository.name, {})
    same = all(before.get(name) == proven[name] for name in ("fingerprint", "identity", "host"))
    return not same or problem(config, repository, escrow, key, now) is not None


def problem(
    config: Config, repository: Repository, escrow: Mapping[str, Any], key: bytes, now: datetime
) -> BackupFailure | None:
    """Return why the copy of a repository's key is not verified. Pure."""
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
