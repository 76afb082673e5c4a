# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of the tools, as they print them, and the fault each one names."""

from __future__ import annotations

import pytest

from evenkeel_backup.command import Done, need
from evenkeel_backup.faults import FAULTS, BackupFailure, fault_of


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("pg_dump: error: could not write to file: No space left on device", "disk_full"),
        ("Fatal: wrong password or no key found", "wrong_key"),
        ("ERROR: [095]: unable to flush", "wrong_key"),
        ("P00 ERROR: [101]: cipher header invalid", "wrong_key"),
        ("Fatal: unable to open repository at s3:https://store/x: client.BucketExists: Access Denied.", "store_denied"),
        ("The request signature we calculated does not match: SignatureDoesNotMatch", "store_denied"),
        ("*** HTTP request failed with 403 (Forbidden):", "store_denied"),
        ("open /srv/backup/locks/x: read-only file system", "store_denied"),
        ("ciphertext verification failed", "flipped_byte"),
        ("Fatal: Unmarshal: illegal base64 data at input byte 212", "flipped_byte"),
        ("Pack ID does not match, want 0f, got e1", "failed"),
        ("error for tree 5c: load <data/5c>: invalid data returned", "flipped_byte"),
        ("pack 5c does not exist", "partial_upload"),
        ("id 5c: not found in repository", "partial_upload"),
        ("dial tcp 192.0.2.1:7070: connect: connection refused", "store_unreachable"),
        ("dial tcp: lookup store.lab: no such host", "store_unreachable"),
        ("Fatal: unable to open config file: stat /srv/backup/config: no such file or directory", "store_unreachable"),
        ('pg_restore: error: could not execute query: ERROR:  role "shop" does not exist', "missing_role"),
        ('ERROR:  extension "pgcrypto" is not available', "missing_extension"),
        ('FATAL:  could not access file "timescaledb": No such file or directory', "missing_extension"),
        ("pg_dump: error: aborting because of server version mismatch", "major_mismatch"),
        ("pg_restore: error: unsupported version (1.16) in file header", "major_mismatch"),
        ("pg_restore: error: could not read from input file: end of file", "truncated_dump"),
        ("FATAL:  recovery ended before configured recovery target was reached", "target_out_of_range"),
        ("pg_checksums: error: checksum verification failed in file", "corrupt_pages"),
        (
            'psql: error: connection to server on socket "/run/x" failed: No such file or directory',
            "server_unreachable",
        ),
        ("ERROR: [050]: unable to acquire lock on file '/tmp/pgbackrest/wal-backup.lock'", "lock_held"),
        ("Fatal: unable to create lock in backend: repository is already locked by PID 1 on db", "store_locked"),
        ("ERROR:  canceling statement due to lock timeout", "lock_timeout"),
        (
            "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout\n"
            "pg_dump: detail: Query was: LOCK TABLE public.orders IN ACCESS SHARE MODE",
            "lock_timeout",
        ),
        ('pg_dump: error: could not obtain lock on relation "public.orders"', "lock_timeout"),
        (
            'connection to server at "127.0.0.1", port 5432 failed: server certificate for "db" does not match host name',
            "certificate_wrong",
        ),
        ("x509: certificate is valid for localhost, not store.lab", "certificate_wrong"),
        ("x509: certificate signed by unknown authority", "certificate_wrong"),
        (
            "ERROR: [095]: unable to find hostname 'store.lab' in certificate common name or subject alternative names",
            "certificate_wrong",
        ),
        (
            "ERROR: [095]: unable to verify certificate presented by 'store.lab:7070': [18] self-signed certificate",
            "certificate_wrong",
        ),
        (
            'connection to server on socket "/s" failed: FATAL:  remaining connection slots are reserved for superusers',
            "too_many_connections",
        ),
        ("connection to server failed: FATAL:  sorry, too many clients already", "too_many_connections"),
        ('connection to server failed: FATAL:  too many connections for database "shop"', "too_many_connections"),
        ('connection to server on socket "/s" failed: FATAL:  role "keeper" does not exist', "missing_role"),
        (
            "ERROR:  out of shared memory\nHINT:  You might need to increase max_locks_per_transaction.",
            "too_many_relations",
        ),
        ("pack 1c95b032ef62: does not exist Fatal: repository contains errors", "partial_upload"),
        ("something else", "failed"),
        ("", "failed"),
        (
            "ERROR: [106]: new backup label '20261121-183653F' is not later than latest backup label '20261124-183647F'",
            "clock_jump",
        ),
    ],
)
def test_the_fault_of_a_message(message: str, fault: str) -> None:
    assert fault_of(message) == fault
    assert fault in FAULTS


@pytest.mark.parametrize(
    ("done", "store", "fault"),
    [
        pytest.param(Done(1, "", "open: permission denied"), True, "store_denied", id="a store"),
        pytest.param(Done(1, "", "open: permission denied"), False, "failed", id="a folder of this host"),
        pytest.param(Done(1, "", "No space left on device"), False, "disk_full", id="a disk of this host"),
    ],
)
def test_the_same_words_of_a_store_and_of_this_host(done: Done, store: bool, fault: str) -> None:
    with pytest.raises(BackupFailure) as failure:
        need(done, "the dump failed", "shop", "code 0", "Look", store=store)
    assert failure.value.fault == fault


def test_a_failure_is_one_sentence() -> None:
    failure = BackupFailure("failed", "it broke", "shop", "a\nmessage  over\nlines", "none", "Look at it.")
    assert failure.sentence == "evenkeel-backup: it broke on shop: found a message over lines, need none. Look at it."
