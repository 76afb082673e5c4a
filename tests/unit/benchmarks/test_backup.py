# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The relay to a store stops at its limit, plain tools are judged by exit codes, and sizes follow the settings."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import store
from ansible_collections.evenkeel.platform.benchmarks.figures import backup_faults, backup_peers, backup_rates


@pytest.fixture
def echo():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    one, _address = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    while data := one.recv(100):
                        one.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_a_relay_passes_bytes_until_it_is_cut(echo: int) -> None:
    relay = store.Relay(echo)
    with socket.create_connection(("127.0.0.1", relay.port), 5) as one:
        one.sendall(b"hello")
        assert one.recv(100) == b"hello"
        relay.cut_after(5)
        one.sendall(b"12345")
        assert one.recv(100) == b"12345"
        one.sendall(b"6")
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", relay.port), 5)


@pytest.mark.parametrize(
    ("backup", "check", "detected", "says"),
    [
        pytest.param((0, ""), (0, "no errors were found"), False, "no errors were found", id="both well"),
        pytest.param((1, "Fatal: no"), (0, "no errors were found"), True, "Fatal: no", id="the backup failed"),
        pytest.param(None, (1, "broken"), True, "broken", id="the check failed"),
        pytest.param(None, (0, "status: error"), False, "status: error", id="told in the text alone"),
    ],
)
def test_a_plain_tool_is_judged_by_its_codes(backup, check, detected: bool, says: str) -> None:
    found = backup_peers.outcome_of(backup, check)
    assert (found["detected"], found["says"]) == (detected, says)


def test_a_tool_that_does_not_end_is_ended_with_all_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup_peers, "LIMIT_SECONDS", 0.5)
    assert backup_peers.call(["sh", "-c", "sleep 60 | cat"]) == (124, "not finished within 0.5 s")


def test_a_fault_that_a_tool_cannot_meet_is_not_counted() -> None:
    peer = "restic"
    faults = {
        "met": {"peers": {peer: backup_peers.outcome_of(None, (1, "x"))}},
        "missed": {"peers": {peer: backup_peers.outcome_of(None, (0, ""))}},
        "not met": {"peers": {peer: backup_peers.none("stores no WAL")}},
    }
    assert backup_faults.summary(peer, faults) == {"faults": 2, "detected": 1, "not_detected": ["missed"]}


def test_sizes_are_measured_from_the_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backup_rates.sizes() == [0.1, 1, 5]
    monkeypatch.setenv("EVENKEEL_BENCH_SIZES", "5,0.1")
    assert backup_rates.sizes() == [0.1, 5]


@pytest.mark.parametrize(
    ("fault", "stage", "alert"),
    [
        pytest.param("flipped_byte", "L1", "BackupFailed", id="backup"),
        pytest.param("missing_role", "L3", "BackupDrillFailed", id="drill"),
        pytest.param("stale_schedule", "schedule", "BackupStale", id="schedule"),
        pytest.param("key_not_escrowed", "escrow", "BackupKeyNotEscrowed", id="key"),
        pytest.param("wrong_key", "escrow", "BackupFailed", id="wrong key"),
    ],
)
def test_a_fault_is_told_by_an_alert_that_there_is(fault: str, stage: str, alert: str) -> None:
    assert backup_faults.alert_of(fault, stage) == alert
    rules = Path(__file__).parents[3] / "roles" / "postgres_backup" / "files" / "rules" / "backup.yml"
    assert f"- alert: {alert}\n" in rules.read_text(encoding="utf-8")
