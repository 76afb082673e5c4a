# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Output of playbooks is parsed correctly, and a process is stopped with its group."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig

OUTPUT = """\

PLAY [Deploy the apps] *********************************************************

TASK [evenkeel.platform.app_deploy : lease | Take the lease] *******************
\x1b[0;33mchanged: [edge1]\x1b[0m

TASK [start | Start the colour's containers] ***********************************
included: evenkeel.platform.compose_stack for app1, app2

TASK [evenkeel.platform.app_deploy : app | Say] ********************************
changed: [app1] => (item=a)
fatal: [app2]: FAILED! =>
    msg: 'release_lease: another run holds the lease on shop: found
        run 1 of anna, need it free.'

PLAY RECAP *********************************************************************
app1                       : ok=66   changed=22   unreachable=0    failed=0    skipped=23   rescued=0    ignored=0
edge1                      : ok=55   changed=0    unreachable=0    failed=1    skipped=17   rescued=1    ignored=0
"""


def played(output: str, folder: Path, *argv: str) -> rig.Play:
    log = folder / "play.log"
    log.write_text(output, encoding="utf-8")
    process = subprocess.Popen(argv or ["true"], start_new_session=True)
    return rig.Play(["ansible-playbook", "site.yml"], log, process, time.monotonic())


def test_output_of_a_playbook_is_read(tmp_path: Path) -> None:
    run = played(OUTPUT, tmp_path).wait()
    assert run.tasks == ["lease | Take the lease", "start | Start the colour's containers", "app | Say"]
    assert run.recap["edge1"]["failed"] == 1
    assert run.changed == {"app1": 22}
    assert run.changed_tasks == ["lease | Take the lease: changed: [edge1]", "app | Say: changed: [app1] => (item=a)"]
    assert "on shop: found run 1 of anna, need it free." in run.said
    assert run.wait_for_task(r"start \| ") == "start | Start the colour's containers"


COUNTED = """
- hosts: localhost
  gather_facts: false
  tasks:
    - {name: one | Add a host, ansible.builtin.add_host: {name: web}}
    - {name: two | Print it, ansible.builtin.debug: {msg: told}, changed_when: true}
    - {name: three | Skip it, ansible.builtin.ping: {}, when: false}
"""


@pytest.mark.parametrize("counted", [True, False])
def test_run_is_read_whatever_callback_the_user_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: bool
) -> None:
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "ansible.builtin.minimal")
    (tmp_path / "play.yml").write_text(COUNTED)
    run = rig.play(str(tmp_path / "play.yml"), folder=tmp_path, counted=counted)
    assert run.code == 0, run.output
    assert "told" in run.said
    assert run.changed == {"localhost": 2}
    assert [line.partition(":")[0] for line in run.changed_tasks] == ["one | Add a host", "two | Print it"]
    if counted:
        assert {key: run.counts[key] for key in ("tasks", "skipped", "remote_runs", "polls")} == {
            "tasks": 3,
            "skipped": 1,
            "remote_runs": 0,
            "polls": 0,
        }
    else:
        assert run.tasks == ["one | Add a host", "two | Print it", "three | Skip it"]
        with pytest.raises(rig.Silent, match="found no counts"):
            str(run.counts)


def test_run_that_ends_before_the_task_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(rig.Silent, match="found its end before a task"):
        played(OUTPUT, tmp_path).wait_for_task(r"switch \| ")


def test_run_over_its_limit_is_ended_with_its_group(tmp_path: Path) -> None:
    run = played("", tmp_path, "sh", "-c", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        time.sleep(0.01)
    with pytest.raises(rig.Silent, match="found no end within"):
        run.wait(0.2)
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}:
        time.sleep(0.01)


def test_ended_leaves_no_process(tmp_path: Path) -> None:
    with rig.ended(played("", tmp_path, "sleep", "60")) as run:
        assert run.process.poll() is None
    assert run.process.poll() is not None
