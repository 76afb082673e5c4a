# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restored server can reach, and what it may start. The same on a real server: tests/integration/backup."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evenkeel_backup import isolation
from evenkeel_backup.where import NONE, Host

USER = pwd.getpwuid(os.geteuid()).pw_name


def possible() -> bool:
    """Return whether this machine lets the tests make namespaces."""
    argv = isolation.isolated(["true"], "", [], os.geteuid(), os.getegid(), os.geteuid() == 0)
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not possible(), reason="needs the right to make namespaces")


def test_only_a_program_without_network_is_isolated() -> None:
    words = Host("", USER).argv("postgres", network=NONE)
    assert {"--net", "--mount", "--ipc", "--pid", "--kill-child", "--pdeathsig=KILL", "--no-new-privs"} <= set(words)
    assert "unshare" not in Host("", USER).argv("psql")


@pytest.mark.parametrize(
    ("bin_dir", "expected"),
    [
        pytest.param("", [], id="found by PATH"),
        pytest.param("/usr/lib/postgresql/17/bin", [], id="the distribution's"),
        pytest.param("/opt/pg/bin", ["/opt/pg/bin", "/opt/pg/lib", "/opt/pg/share"], id="a prefix of its own"),
        pytest.param(
            "/x/usr/lib/postgresql/15/bin",
            [
                "/x/usr/lib/postgresql/15/bin",
                "/x/usr/lib/postgresql/15/lib",
                "/x/usr/lib/postgresql/15/share",
                "/x/usr/lib",
                "/x/usr/share",
            ],
            id="Debian's layout elsewhere",
        ),
    ],
)
def test_programs_outside_the_system_are_shown_with_their_files(bin_dir: str, expected: list[str]) -> None:
    assert isolation.programs(bin_dir) == expected


@pytest.mark.parametrize("major", [13, 15, 17])
def test_the_settings_are_known_to_the_version(major: int) -> None:
    found = isolation.settings(major)
    assert found["max_worker_processes"] == found["max_logical_replication_workers"] == "0"
    assert ("archive_library" in found) is (major >= 15)
    assert ("sync_replication_slots" in found) is (major >= 17)


def isolated(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    words = Host("", USER, [folder]).argv(*argv, network=NONE)
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


CONNECT = (
    "import socket, sys\n"
    "s = socket.socket(socket.AF_UNIX)\n"
    "try: s.connect(sys.argv[1])\n"
    "except OSError as e: sys.exit(str(e))\n"
    "print('connected')"
)


@needs_namespaces
def test_sockets_are_out_of_reach_wherever_they_are(tmp_path: Path) -> None:
    work, run = tmp_path / "work", Path("/run") / f"evenkeel-test-{os.getpid()}"
    work.mkdir()
    places = [tmp_path / "app.sock", Path("/tmp") / f"evenkeel-test-{os.getpid()}.sock"]
    if os.geteuid() == 0:
        run.mkdir()
        places.append(run / "s")
    python = sys.executable if Path(sys.executable).resolve().is_relative_to("/usr") else "/usr/bin/python3"
    servers = []
    try:
        for place in places:
            servers.append(socket.socket(socket.AF_UNIX))
            servers[-1].bind(str(place))
            servers[-1].listen()
            # The control: it can be reached without isolation.
            reached = subprocess.run([python, "-c", CONNECT, str(place)], capture_output=True, text=True, check=False)
            assert reached.stdout == "connected\n"
            assert "No such file" in isolated(work, python, "-c", CONNECT, str(place)).stderr
        inside = work / "s"
        servers.append(socket.socket(socket.AF_UNIX))
        servers[-1].bind(str(inside))
        servers[-1].listen()
        assert isolated(work, python, "-c", CONNECT, str(inside)).stdout == "connected\n"
    finally:
        for server in servers:
            server.close()
        for place in places:
            place.unlink(missing_ok=True)
        if run.exists():
            run.rmdir()


@needs_namespaces
def test_files_outside_the_work_folder_are_not_there(tmp_path: Path) -> None:
    work, live = tmp_path / "work", tmp_path / "tablespace"
    for folder in (work, live):
        folder.mkdir()
    done = isolated(work, "sh", "-c", f"echo kept >{work}/inside; echo spoiled >{live}/data; echo x >/usr/x; exit 7")
    assert done.returncode == 7
    assert (work / "inside").read_text() == "kept\n"
    # The program's own mask is strict, the path to the folder must be open to its user.
    mask = os.umask(0o077)
    try:
        assert isolated(work, "sh", "-c", f"cat {work}/inside; umask").stdout == "kept\n0077\n"
    finally:
        os.umask(mask)
    assert not list(live.iterdir())
    assert "Read-only file system" in done.stderr
    assert isolated(work, "sh", "-c", "ls /proc").stdout.split()[0] == "1"


@needs_namespaces
def test_nothing_outlives_the_run(tmp_path: Path) -> None:
    """After kill -9 of the run nothing is left that writes, not even what a program started behind itself."""
    words = Host("", USER, [tmp_path]).argv(
        "sh", "-c", f"(while sleep .05; do date >>{tmp_path}/alive; done) & wait", network=NONE
    )
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    run = subprocess.Popen([sys.executable, "-c", script, *words], start_new_session=True)
    deadline = time.monotonic() + 30
    while not (tmp_path / "alive").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.kill()
    run.wait()
    time.sleep(1)
    size = (tmp_path / "alive").stat().st_size
    time.sleep(0.5)
    assert (tmp_path / "alive").stat().st_size == size
