# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets reach the stores as they are, and a lock that another run left does not end a backup."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evenkeel_backup import config, pgbackrest, restic
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.logical import Logical

LOCAL = {"name": "local", "location": "/srv/backup", "key_file": "/k"}


def made(**more: object) -> config.Config:
    server = {"data_dir": "/data"}
    return config.complete(
        {"instance": "shop", "engine": "physical", "server": server, "repositories": [{**LOCAL, **more}]}
    )


@pytest.mark.parametrize("secret", ['"quoted"', "'", "a=b=", " blanks ", "x\"'"])
def test_a_secret_keeps_its_quotes_and_blanks(tmp_path: Path, secret: str) -> None:
    path = tmp_path / "s3"
    path.write_text(f"AWS_ACCESS_KEY_ID=shop\nAWS_SECRET_ACCESS_KEY={secret}\nOTHER=x\n")
    assert restic.read_credentials(path) == {"AWS_ACCESS_KEY_ID": "shop", "AWS_SECRET_ACCESS_KEY": secret}


def test_a_key_of_several_lines_is_refused_where_it_would_break_the_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("one\ntwo\n")
    with pytest.raises(BackupFailure, match="the key has several lines") as refusal:
        pgbackrest.keys_of(made(key_file=str(key)), None)
    assert refusal.value.fault == "config_wrong"
    key.write_text("one\n")
    assert pgbackrest.keys_of(made(key_file=str(key)), None) == {"local": "one"}


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A restic that is locked until `unlock` was called as often as the file says."""
    monkeypatch.setattr(restic, "LOCK_POLL_SECONDS", 0)
    left = tmp_path / "left"
    (tmp_path / "restic").write_text(
        f"""#!/bin/sh
left=$(cat {left})
echo "$1" >>{tmp_path}/calls
if [ "$1" = unlock ]; then echo $((left - 1)) >{left}; exit 0; fi
[ "$left" -le 0 ] && exit 0
echo "unable to create lock in backend: repository is already locked exclusively by PID 7 on other by root" >&2
exit 1
"""
    )
    (tmp_path / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return left


def test_a_lock_of_another_host_is_waited_for(tmp_path: Path, locked: Path) -> None:
    locked.write_text("2\n")
    one = restic.Restic(made().repositories[0], tmp_path, 60)
    one.forget(["x"])
    assert (tmp_path / "calls").read_text().split() == ["unlock", "forget", "unlock", "forget"]


def test_a_lock_that_stays_is_named_as_the_stores(
    tmp_path: Path, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic, "LOCK_SECONDS", 0)
    locked.write_text("99\n")
    with pytest.raises(BackupFailure) as failure:
        restic.Restic(made().repositories[0], tmp_path, 60).forget(["x"])
    # Not the lock of this instance, which means that all is well.
    assert failure.value.fault == "store_locked"
    assert "on other" in failure.value.sentence


def test_a_store_that_takes_no_connection_is_named_without_asking_restic(tmp_path: Path, locked: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        location = f"s3:https://127.0.0.1:{listener.getsockname()[1]}/backups/shop"
        one = restic.Restic(made(kind="s3", location=location).repositories[0], tmp_path, 60)
        with pytest.raises(BackupFailure, match=r"unable to connect to 127\.0\.0\.1:.*[Rr]efused") as failure:
            one.snapshots("shop")
        assert failure.value.fault == "store_unreachable"
        listener.listen()
        locked.write_text("0\n")
        assert one.run("cat").code == 0
    assert (tmp_path / "calls").read_text().split() == ["cat"]


@pytest.mark.parametrize(
    ("faults", "calls"), [(["lock_timeout"], 2), (["lock_timeout"] * 2, 2), (["failed"], 1), ([], 1)]
)
def test_a_dump_is_tried_again_after_a_lock_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: list[str], calls: int
) -> None:
    left, seen = list(faults), []

    def once(*_words: object) -> str:
        seen.append(1)
        if left:
            raise BackupFailure(left.pop(0), "the dump failed", "shop", "x", "y", "z")
        return "dumped"

    job: Any = SimpleNamespace(actions=[])
    engine = Logical(job)
    monkeypatch.setattr(engine, "_dump_once", once)

    server: Any = SimpleNamespace(database="shop")
    if len(faults) > 1 or faults == ["failed"]:
        with pytest.raises(BackupFailure):
            engine._dump(server, tmp_path / "x", 1)
    else:
        dumped: Any = engine._dump(server, tmp_path / "x", 1)
        assert dumped == "dumped"
    assert len(seen) == calls
