# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of faults, and their recognition in the messages of programs. Pure."""

from __future__ import annotations

import re
from collections.abc import Container

FAULTS = (
    "truncated_dump",
    "flipped_byte",
    "missing_wal",
    "wrong_key",
    "store_denied",
    "store_unreachable",
    "disk_full",
    "missing_role",
    "missing_extension",
    "major_mismatch",
    "empty_database",
    "stale_schedule",
    "partial_upload",
    "clock_jump",
    "size_anomaly",
    "corrupt_pages",
    "content_mismatch",
    "canary_missing",
    "catalogue_unreadable",
    "server_unreachable",
    "settings_wrong",
    "other_server",
    "key_not_escrowed",
    "target_live",
    "target_unknown",
    "target_out_of_range",
    "no_space",
    "confirmation_missing",
    "exchange_unfinished",
    "connections_open",
    "hook_failed",
    "lock_held",
    "store_locked",
    "certificate_wrong",
    "lock_timeout",
    "too_many_connections",
    "too_many_relations",
    "large_objects_missing",
    "database_left_out",
    "unlogged_tables",
    "canary_unwritten",
    "path_planted",
    "config_wrong",
    "tool_missing",
    "statement_failed",
    "failed",
)

# The first matching pattern names the fault. Full disks come first, because they cause further messages.
_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (fault, re.compile(pattern, re.IGNORECASE))
    for fault, pattern in (
        ("disk_full", r"no space left on device|disk quota exceeded|could not extend file|XMinioStorageFull"),
        # A certificate for another name is reported as an encryption error by pgBackRest, and by psql and restic as a
        # failed connection.
        (
            "certificate_wrong",
            r"x509:|certificate (?:has expired|signed by unknown authority|is valid for|is not valid)"
            r"|(?:server|root|client) certificate|certificate verify failed|SSL error: .*certificate"
            r"|unable to (?:find hostname|verify certificate)|in certificate common name",
        ),
        (
            "too_many_connections",
            r"too many clients already|remaining connection slots are reserved|too many connections for"
            r"|number of requested standby connections exceeds",
        ),
        (
            "lock_timeout",
            r"canceling statement due to lock timeout|could not obtain lock on relation"
            r"|canceling statement due to statement timeout[\s\S]*LOCK TABLE",
        ),
        ("too_many_relations", r"out of shared memory|max_locks_per_transaction"),
        (
            "wrong_key",
            r"wrong password or no key found|cipher header invalid|unable to decrypt|CryptoError|\[095\]|\[101\]"
            r"|unable to flush|is encrypted but no cipher|no key found",
        ),
        (
            "store_denied",
            r"access ?denied|\b403\b|forbidden|InvalidAccessKeyId|SignatureDoesNotMatch|permission denied"
            r"|read-only file system|operation not permitted",
        ),
        (
            "flipped_byte",
            r"ciphertext verification failed|hash (?:does not match|mismatch)|invalid data returned"
            r"|checksum (?:error|mismatch)"
            r"|data corruption|does not match (?:id|hash|expected)|invalid checksum|corrupt(?:ed)? (?:pack|data|blob)"
            r"|incorrect header check|unable to inflate|invalid (?:distance|stored block|block type|code lengths)"
            r"|could not uncompress|Fatal: Unmarshal:",
        ),
        (
            "partial_upload",
            r"no such blob|not found in (?:the )?(?:repository|index)"
            r"|pack \w+:? (?:does not exist|is missing|not referenced)"
            r"|unable to open missing file|FileMissingError|\[055\]|tree \w+.*not found|missing from backend"
            r"|/data/[0-9a-f]{2}/[0-9a-f]{64}: no such file|specified key does not exist"
            r"|does not exist in repository|incomplete pack|unexpected EOF|at least one source file could not be read",
        ),
        (
            "store_unreachable",
            r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|connection reset"
            r"|TLS handshake|HostConnectError|unable to (?:get address|connect)|repository does not exist"
            r"|unable to open (?:config|repository)|NoSuchBucket|\[049\]|unable to find a valid repository",
        ),
        # Locked in the store, by a run of any host; not the lock of this instance.
        ("store_locked", r"repository is already locked"),
        ("lock_held", r"unable to acquire lock"),
        ("missing_role", r"role \"?[^\"\n]+\"? does not exist"),
        (
            "missing_extension",
            r"extension \"?[^\"\n]+\"? (?:is not available|does not exist|must be installed)"
            r"|could not open extension control file"
            r"|could not access file \"[^\"]+\": No such file",
        ),
        (
            "major_mismatch",
            r"server version mismatch|unsupported version \([\d.]+\) in file header|incompatible with server"
            r"|initialized by PostgreSQL version|unrecognized configuration parameter",
        ),
        (
            "truncated_dump",
            r"unexpected end of (?:file|data|archive)|could not read from input file|end of file"
            r"|premature end|did not find magic string|file (?:is )?too short",
        ),
        ("clock_jump", r"is not later than latest backup label"),
        ("missing_wal", r"requested WAL segment|unable to find .* in the archive|\[044\]|WAL file .* missing"),
        (
            "target_out_of_range",
            r"recovery ended before configured recovery target was reached"
            r"|requested recovery stop point is before consistent",
        ),
        ("corrupt_pages", r"page verification failed|invalid page|checksum verification failed|heap tuple .* lacks"),
        (
            "server_unreachable",
            r"could not connect to server|connection to server .* failed"
            r"|the database system is (?:starting up|shutting down)"
            r"|No such container|is not running",
        ),
        (
            "tool_missing",
            r"No such file or directory: '?(?:\S*/)?(?:pg_\w+|psql|restic|pgbackrest|docker)|executable file not found",
        ),
    )
)


def fault_of(message: str, otherwise: str = "failed", among: Container[str] = FAULTS) -> str:
    """Return the first of some faults that a program's message matches, or *otherwise*."""
    for fault, pattern in _SIGNS:
        if fault in among and pattern.search(message):
            return fault
    return otherwise


class BackupFailure(Exception):
    """A refusal or a failed step in one sentence, with fault and stage."""

    def __init__(
        self, fault: str, what: str, subject: str, found: str, need: str, remedy: str, stage: str = ""
    ) -> None:
        self.fault = fault
        self.stage = stage
        found = " ".join(found.split()) or "nothing"
        self.found = found
        self.sentence = f"evenkeel-backup: {what} on {subject}: found {found}, need {need}. {remedy.rstrip('.')}."
        super().__init__(self.sentence)

    def as_dict(self) -> dict[str, str]:
        """Return the failure as it appears in reports and on standard output."""
        return {"stage": self.stage, "fault": self.fault, "sentence": self.sentence}


class Interrupted(Exception):
    """The run received a signal to stop; resources are released while it propagates."""


class Failures(Exception):
    """Several failures at once."""

    def __init__(self, failures: list[BackupFailure]) -> None:
        self.failures = failures
        super().__init__(" ".join(failure.sentence for failure in failures))
