# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of an object store: mirrored, verified, and restored with all objects and their metadata."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks.backup_rig import KEY, RUNNER, Instance, missing
from ansible_collections.evenkeel.platform.benchmarks.store import ACCESS, SECRET, Store, program

REASON = missing("restic", "rclone") or ("" if program() else "versitygw is not built: ansible-playbook lab/store.yml")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON or "all there")
BUCKET = "uploads"


class Client:
    """The app's access to its bucket."""

    def __init__(self, store: Store) -> None:
        options = {
            "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": f"https://127.0.0.1:{store.port}", "REGION": "us-east-1",
            "NO_CHECK_BUCKET": "true", "ACCESS_KEY_ID": ACCESS, "SECRET_ACCESS_KEY": SECRET,
        }  # fmt: skip
        self.ca = str(store.certificate)
        self.env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RCLONE_CONFIG": ""} | {
            f"RCLONE_CONFIG_APP_{name}": value for name, value in options.items()
        }

    def __call__(self, *words: str, given: bytes = b"") -> bytes:
        argv = ["rclone", "--retries=1", "--low-level-retries=2", f"--ca-cert={self.ca}", *words]
        done = subprocess.run(argv, input=given, env=self.env, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def put(self, name: str, content: bytes, kind: str = "text/plain") -> None:
        self("rcat", f"--header-upload=Content-Type: {kind}", f"app:{BUCKET}/{name}", given=content)

    def content(self) -> dict[str, tuple[bytes, str]]:
        """Return the content type of each object by name."""
        listed = json.loads(self("lsjson", "--recursive", "--files-only", f"app:{BUCKET}"))
        return {one["Path"]: (self("cat", f"app:{BUCKET}/{one['Path']}"), one["MimeType"]) for one in listed}


@pytest.fixture(scope="module")
def store(folder: Path) -> t.Iterator[Store]:
    with Store(folder) as one:
        (one.folder / "data" / BUCKET).mkdir()
        yield one


@pytest.fixture(scope="module")
def app(store: Store) -> Client:
    made = Client(store)
    for number in range(12):
        made.put(f"2026/{number}", os.urandom(3000), "image/x-own")
    made.put("odd name 'of' ümlauts", b"x")
    return made


@pytest.fixture(scope="module")
def uploads(folder: Path, store: Store, app: Client) -> Instance:
    assert app.content()
    made = Instance(
        folder,
        "uploads",
        "files",
        buckets=[
            {
                "name": "pictures",
                "location": f"s3:https://127.0.0.1:{store.port}/{BUCKET}",
                "credentials_file": str(store.credentials("app")),
                "ca_file": str(store.certificate),
            }
        ],
        hooks={name: [["sh", "-c", f"echo {name} >> {folder / 'hooks.log'}"]] for name in ("stop_app", "start_app")},
    )
    made.good("prepare")
    made.good("escrow-check", "--key-file", "-", given=KEY)
    made.good("backup")
    return made


def test_every_object_is_proven_byte_for_byte(uploads: Instance) -> None:
    drilled = uploads.good("drill")
    assert drilled["drill"]["level"] == 5
    assert "13 files byte for byte" in drilled["ladder"]["local"][-1]["evidence"]


def test_an_object_that_was_replaced_by_one_of_its_size_is_taken_and_one_that_went_goes(
    uploads: Instance, app: Client
) -> None:
    app.put("2026/3", b"n" * 3000)
    app("deletefile", f"app:{BUCKET}/2026/4")
    uploads.good("backup")
    into = uploads.folder / "back"
    uploads.good("restore", "--into", str(into))
    (kept,) = [path for path in into.rglob("pictures") if path.is_dir()]
    assert (kept / "2026" / "3").read_bytes() == b"n" * 3000
    assert not (kept / "2026" / "4").exists()


def test_nobody_restores_over_a_bucket_without_its_name(uploads: Instance, app: Client) -> None:
    before = app.content()
    assert uploads.faults("restore", "--mode", "in_place") == {("target", "confirmation_missing")}
    assert uploads.faults("restore", "--mode", "in_place", "--confirm", "uploads") == {
        ("target", "confirmation_missing")
    }
    plan = uploads.good("restore", "--mode", "in_place", "--confirm", "pictures", "--plan")["plan"]
    assert plan["steps"][0] == "take a safety backup"
    assert app.content() == before


def test_a_bucket_comes_back_with_what_its_objects_say_of_themselves(uploads: Instance, app: Client) -> None:
    wanted = app.content()
    good = uploads.good("backup")["backup"]["id"]
    app("delete", f"app:{BUCKET}/2026")
    app.put("2026/1", b"overwritten by a defect")
    app.put("planted", b"by a defect")
    (uploads.folder / "hooks.log").unlink(missing_ok=True)
    # The bucket is nearly empty, so its safety backup is not good, which must not prevent the restore.
    done = uploads.good("restore", "--mode", "in_place", "--confirm", "pictures", "--backup", good)
    assert app.content() == wanted
    assert wanted["2026/0"][1] == "image/x-own"
    assert f"{len(wanted)} objects byte for byte" in done["restored"]["compared"]
    assert (uploads.folder / "hooks.log").read_text().split() == ["stop_app", "start_app"]
    # The replaced content is in a backup, too.
    uploads.good("restore", "--backup", done["restored"]["before"], "--into", str(uploads.folder / "before"))
    assert [path.name for path in (uploads.folder / "before").rglob("planted")] == ["planted"]


def test_a_bucket_goes_back_where_the_app_does_not_come_up(uploads: Instance, app: Client) -> None:
    app.put("new", b"since the backup")
    wanted = app.content()
    hooks = uploads.options["hooks"]
    flag = uploads.folder / "failed once"
    uploads.options["hooks"] = {
        **hooks, "start_app": [["sh", "-c", f"test -e '{flag}' || {{ touch '{flag}'; exit 1; }}"]],
    }  # fmt: skip
    uploads.write()
    try:
        code, said = uploads.run("restore", "--mode", "in_place", "--confirm", "pictures")
    finally:
        uploads.options["hooks"] = hooks
        uploads.write()
    assert (code, {failure["fault"] for failure in said["failures"]}) == (5, {"hook_failed"})
    assert app.content() == wanted


@pytest.mark.parametrize(
    ("step", "result"),
    [pytest.param("exchange", "undone", id="half-way"), pytest.param("start_app", "finished", id="at its end")],
)
def test_a_killed_restore_of_a_bucket_is_settled(uploads: Instance, app: Client, step: str, result: str) -> None:
    good = uploads.good("backup")["backup"]["id"]
    restored = app.content()
    for number in range(12):
        app.put(f"2026/{number}", os.urandom(400_000))
    live = app.content()
    hooks = uploads.options["hooks"]
    uploads.options["hooks"] = {**hooks, "start_app": [["sleep", "0.5"], *hooks["start_app"]]}
    uploads.write()
    argv = [sys.executable, str(RUNNER), "restore", uploads.name, "--config-dir", str(uploads.configs)]
    words = ["--mode", "in_place", "--confirm", "pictures", "--backup", good]
    run = subprocess.Popen([*argv, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = Path(uploads.options["state_dir"]) / "exchange.json"
    try:
        deadline = time.monotonic() + 120
        while not journal.exists() or json.loads(journal.read_text())["step"] != step:
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.1)
        run.kill()
        run.wait()
        assert next(value for name, value in uploads.metrics().items() if "exchange_unfinished" in name) == 1
        document = uploads.good("settle")
    finally:
        uploads.options["hooks"] = hooks
        uploads.write()
    assert document["settled"]["result"] == result
    assert app.content() == (live if result == "undone" else restored)
    assert not journal.exists()
    assert next(value for name, value in uploads.metrics().items() if "exchange_unfinished" in name) == 0


def test_a_bucket_that_lost_nearly_all_is_no_good_backup(uploads: Instance, app: Client) -> None:
    uploads.good("backup")
    app("delete", f"app:{BUCKET}")
    assert uploads.faults("backup") == {("L0", "size_anomaly")}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"location": "{place}/nowhere"}, ("dump", "store_unreachable"), id="no such bucket"),
        pytest.param({"credentials_file": "{wrong}"}, ("dump", "store_denied"), id="wrong secret"),
        pytest.param({"ca_file": ""}, ("dump", "certificate_wrong"), id="unknown authority"),
        pytest.param({"location": "s3:https://127.0.0.1:9/uploads"}, ("dump", "store_unreachable"), id="store is gone"),
        pytest.param({"credentials_file": ""}, ("store", "config_wrong"), id="no credentials on this host"),
    ],
)
def test_a_bucket_that_cannot_be_read_is_named(
    uploads: Instance, store: Store, change: dict[str, str], fault: tuple[str, str]
) -> None:
    words = {
        "place": f"s3:https://127.0.0.1:{store.port}",
        "wrong": str(store.credentials("wrong", "another-secret")),
    }
    good = uploads.options["buckets"]
    changed = {name: value.format(**words) for name, value in change.items()}
    uploads.options["buckets"] = [{**good[0], **changed}]
    uploads.write()
    try:
        assert uploads.faults("backup") == {fault}
        if fault[1] != "config_wrong":
            assert uploads.faults("prepare") == {("prepare", fault[1])}
    finally:
        uploads.options["buckets"] = good
        uploads.write()


def test_no_room_for_a_mirror_is_told_before_it_is_begun(uploads: Instance, app: Client) -> None:
    app.put("large", os.urandom(3_000_000))
    small = uploads.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    before = uploads.options["work_dir"]
    uploads.options["work_dir"] = str(small / "work")
    uploads.write()
    try:
        assert uploads.faults("backup") == {("target", "no_space")}
        assert not list((small / "work").rglob("large"))
    finally:
        uploads.options["work_dir"] = before
        uploads.write()
        subprocess.run(["umount", str(small)], check=True)


def test_the_secret_is_in_no_list_of_processes(uploads: Instance, store: Store) -> None:
    """Record rclone's arguments by a program of that name."""
    fake, seen = uploads.folder / "fake", uploads.folder / "seen"
    fake.mkdir()
    (fake / "rclone").write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >>'{seen}'\nexit 1\n")
    (fake / "rclone").chmod(0o755)
    uploads.faults("backup", env={"PATH": f"{fake}:{os.environ['PATH']}"})
    assert "--json" in seen.read_text()
    assert SECRET not in seen.read_text()
    assert ACCESS not in seen.read_text()
    state = Path(uploads.options["state_dir"])
    assert not [path for path in state.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
