# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person reads of a run: whole outputs of real playbooks, on a pipe and on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = str(Path(sys.executable).with_name("ansible-playbook"))
SECONDS = re.compile(r"\d+\.\d s\b")
# An action whose result is its own arguments: it runs in a moment and needs no host.
ANSWER = """
import time
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        result = dict(self._task.args)
        time.sleep(result.pop("takes", 0))
        return result
"""
INVENTORY = """
[app]
app1
app2
app3
[edge]
edge1
[all:vars]
ansible_connection=local
ansible_python_interpreter={python}
"""


class Screen:
    """Runs playbooks in a folder of their own and returns what a person would see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "action_plugins").mkdir()
        (folder / "action_plugins" / "answer.py").write_text(ANSWER)
        (folder / "inventory").write_text(INVENTORY.format(python=sys.executable))
        (folder / "ansible.cfg").write_text(
            f"[defaults]\ncollections_path = {ROOT / '.collection'}\nstdout_callback = evenkeel.platform.progress\n"
            "callback_result_format = yaml\nlocalhost_warning = false\ninterpreter_python = auto_silent\n"
        )
        self.code = 0

    def run(self, plays: str, *arguments: str, terminal: bool = False, **env: str) -> str:
        (self.folder / "play.yml").write_text(plays)
        shell = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "EVENKEEL_"))}
        for name in ("NO_COLOR", "COLUMNS"):
            shell.pop(name, None)
        shell |= {"ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "EVENKEEL_QUIET_SECONDS": "60", "TERM": "xterm"}
        shell |= {"LC_ALL": "C.UTF-8", "ANSIBLE_HOME": str(self.folder / "home"), "ANSIBLE_FORKS": "1"} | env
        argv = [PROGRAM, "-i", str(self.folder / "inventory"), "play.yml", *arguments]
        read = self.on_terminal if terminal else self.on_pipe
        return SECONDS.sub("0.0 s", read(argv, shell)).strip("\n")

    def on_pipe(self, argv: list[str], env: dict[str, str]) -> str:
        done = subprocess.run(
            argv,
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.code = done.returncode
        return done.stdout

    def on_terminal(self, argv: list[str], env: dict[str, str]) -> str:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        process = subprocess.Popen(argv, cwd=self.folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        found = b""
        with contextlib.suppress(OSError):  # the end of a terminal is an error
            while piece := os.read(ours, 65536):
                found += piece
        os.close(ours)
        self.code = process.wait(60)
        return found.decode().replace("\r\n", "\n")


def rendered(text: str) -> str:
    """What is left on a terminal: a carriage return writes over the line."""
    lines = []
    for line in text.split("\n"):
        seen = ""
        for piece in line.split("\r"):
            seen = piece + seen[len(piece) :]
        lines.append(seen.rstrip())
    return "\n".join(lines)


@pytest.fixture
def screen(tmp_path: Path) -> Screen:
    return Screen(tmp_path)


DEPLOY = """
- name: Deploy 1.1
  hosts: app:edge
  gather_facts: false
  tasks:
    - name: lease | Take the lease
      answer: {changed: true, actions: [took the lease with token 7]}
      run_once: true
    - name: start | Read the stack
      answer: {}
      when: "'app' in group_names"
    - name: start | Start the idle colour
      answer: {changed: true, actions: [wrote release 3-1a2b, started 2 containers]}
      when: "'app' in group_names"
    - name: start | Open the ports of the idle colour for the edges
      answer: {changed: true}
      when: inventory_hostname == 'app2'
    - name: gate | Probe each server
      answer: {}
      when: "'edge' in group_names"
    - name: switch | Move the traffic
      answer: {changed: true, actions: [moved shop to green]}
      when: "'edge' in group_names"
    - name: prune | Remove old releases
      answer: {changed: true}
      when: false
    - name: Load modules
      answer: {changed: true}
      loop: [br_netfilter, overlay]
      when: "'edge' in group_names"
    - name: report | Print the outcome
      ansible.builtin.debug: {msg: ["shop: release 1.1 is live on green, 1.0 is warm until 12:00"]}
      run_once: true
"""


def test_deploy_is_a_dozen_lines(screen: Screen) -> None:
    assert (
        screen.run(DEPLOY, EVENKEEL_SHOW_COUNTS="1")
        == """\
Deploy 1.1
  lease       app1              0.0 s  took the lease with token 7
  start       app1-app3         0.0 s
              wrote release 3-1a2b
              started 2 containers
              open the ports of the idle colour for the edges (app2)
  switch      edge1             0.0 s  moved shop to green
  tasks       edge1             0.0 s  load modules (br_netfilter, overlay)

  app1        2 changed
  app2        2 changed
  app3        1 changed
  edge1       2 changed
shop: release 1.1 is live on green, 1.0 is warm until 12:00
Done in 0.0 s.
tasks 9 (skipped 1), remote runs 12, polls 0"""
    )
    assert screen.code == 0


def test_run_that_changes_nothing_is_one_line(screen: Screen) -> None:
    plays = "- hosts: app\n  gather_facts: false\n  tasks:\n    - {name: gate | Probe, answer: {}}\n"
    assert screen.run(plays) == "Nothing to change, 0.0 s."


def test_stage_that_took_long_is_printed_unchanged(screen: Screen) -> None:
    plays = "- hosts: app\n  gather_facts: false\n  tasks:\n    - {name: gate | Probe, answer: {}}\n"
    assert (
        screen.run(plays, EVENKEEL_QUIET_SECONDS="0")
        == """\
app
  gate        app1-app3         0.0 s

Nothing to change, 0.0 s."""
    )


MESSAGES = """
- name: Write an environment
  hosts: app1
  gather_facts: false
  tasks:
    - {name: Write it, answer: {changed: true}}
    - {name: Print what is next, ansible.builtin.debug: {msg: "Describe the apps\\nand run site.yml."}}
    - {name: Read it, answer: {}}
    - {name: Print it, ansible.builtin.debug: {msg: "{{ item }}"}, loop: [one, two]}
"""


def test_messages_come_below_what_moved_before(screen: Screen) -> None:
    assert (
        screen.run(MESSAGES)
        == """\
Write an environment
  tasks       app1              0.0 s  write it
Describe the apps
and run site.yml.
one
two

  app1        1 changed
Done in 0.0 s."""
    )


FAILURE = """
- name: Deploy 1.2
  hosts: app
  gather_facts: false
  tasks:
    - name: gate | Probe each server
      answer:
        failed: true
        msg: "health_gate: service api: found status 500, need 200. Run ansible-playbook evenkeel.platform.status."
        evidence: ["api.1 exited with code 1", "  last line of its log"]
        failed_targets: ["health_gate: service api: found status 500, need 200."]
        transcript:
          api: [{at_seconds: 1, ok: false, problem: first}, {at_seconds: 2, ok: false, problem: refused},
                {at_seconds: 3.5, ok: false, answer: status 500}]
        invocation: {module_args: {password: secret}}
      when: inventory_hostname != 'app3'
"""


def test_failure_shows_sentence_evidence_and_next_command_once(screen: Screen) -> None:
    assert (
        screen.run(FAILURE)
        == """\
Deploy 1.2
  failed      app1           gate | Probe each server: health_gate: service api: found status 500, need 200. Run ansi...
  failed      app2           gate | Probe each server: health_gate: service api: found status 500, need 200. Run ansi...
  gate        app1, app2        0.0 s

  app1        1 failed
  app2        1 failed
Failed after 0.0 s.

Failed: gate | Probe each server, on app1, app2
  health_gate: service api: found status 500, need 200. Run ansible-playbook evenkeel.platform.status.
    api.1 exited with code 1
      last line of its log
    api after 0.0 s: refused
    api after 0.0 s: status 500
  Next: ansible-playbook evenkeel.platform.status"""
    )
    assert screen.code == 2


RESCUED = """
- name: Deploy 1.2
  hosts: app1
  gather_facts: false
  tasks:
    - name: start | Try
      block:
        - name: start | Start the idle colour
          answer: {failed: true, msg: "compose_release: found exit code 1", evidence: [last line of the log]}
      rescue:
        - name: undo | Move the traffic back
          answer: {changed: true, actions: [moved shop to blue]}
"""


def test_rescued_failure_is_one_line(screen: Screen) -> None:
    assert (
        screen.run(RESCUED)
        == """\
Deploy 1.2
  failed      app1           start | Start the idle colour: compose_release: found exit code 1
  start       app1              0.0 s
  undo        app1              0.0 s  moved shop to blue

  app1        1 changed, 1 rescued
Done in 0.0 s."""
    )
    assert screen.code == 0


def test_failed_rescue_tells_what_it_began_with(screen: Screen) -> None:
    plays = RESCUED + "        - {name: undo | Explain, ansible.builtin.fail: {msg: release 1.2 was refused.}}\n"
    assert (
        screen.run(plays).partition("Failed after 0.0 s.")[2]
        == """

Failed: undo | Explain, on app1
  release 1.2 was refused.
  It began with start | Start the idle colour, on app1
    compose_release: found exit code 1
    last line of the log"""
    )


UNREACHABLE = """
- name: Reach the edge
  hosts: edge1
  gather_facts: false
  tasks:
    - name: gate | Ping
      ansible.builtin.ping:
      vars: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}
"""


def test_unreachable_host_is_named_with_the_reason(screen: Screen) -> None:
    lines = screen.run(UNREACHABLE).splitlines()
    assert lines[1].startswith("  unreachable edge1          gate | Ping: ")
    assert lines[3:7] == [
        "  edge1       1 unreachable",
        "Failed after 0.0 s.",
        "",
        "Unreachable: gate | Ping, on edge1",
    ]
    assert "ssh: connect to host 127.0.0.1 port 1: Connection refused" in lines[7]
    assert len(lines) == 8


FAILING = """
- name: Fail in several ways
  hosts: app1
  gather_facts: false
  tasks:
    - name: install | Install packages
      answer: {failed: "{{ item != 'curl' }}", changed: true, msg: "apt: no package {{ item }}"}
      loop: [nginx, curl, haproxy]
      ignore_errors: true
    - name: secrets | Write them
      answer: {failed: true, msg: hunter2, evidence: [hunter2]}
      no_log: true
      ignore_errors: true
    - name: secrets | Write each
      answer: {failed: true, msg: hunter2}
      loop: [hunter2]
      no_log: true
      ignore_errors: true
    - name: preflight | Validate the options
      ansible.builtin.validate_argument_spec:
        argument_spec: {port: {type: int, required: true}, mode: {type: str, choices: [a]}}
        provided_arguments: {mode: b}
"""


def test_loops_hidden_results_and_specifications(screen: Screen) -> None:
    found = screen.run(FAILING)
    assert "hunter2" not in found
    assert (
        found
        == """\
Fail in several ways
  ignored     app1           install | Install packages (nginx): apt: no package nginx
  ignored     app1           install | Install packages (haproxy): apt: no package haproxy
  ignored     app1           secrets | Write them: the output of this task is hidden by no_log.
  ignored     app1           secrets | Write each: the output of this task is hidden by no_log.
  failed      app1           preflight | Validate the options: missing required arguments: port
  preflight   app1              0.0 s

  app1        1 failed, 1 changed, 3 ignored
Failed after 0.0 s.

Failed: preflight | Validate the options, on app1
  missing required arguments: port
  value of mode must be one of: a, got: b"""
    )


MANY = """
- name: Run in batches
  hosts: app
  serial: 2
  gather_facts: false
  handlers:
    - name: service | Restart it
      answer: {changed: true, actions: [restarted]}
  tasks:
    - name: configure | Write it
      answer: {changed: true, warnings: [mind the gap]}
      notify: service | Restart it
    - name: configure | Include more
      ansible.builtin.include_tasks: more.yml
    - name: Say hello
      ansible.builtin.debug: {msg: "hello {{ inventory_hostname }}"}
    - name: Print a variable
      ansible.builtin.debug: {var: group_names}

- name: Run freely
  hosts: app
  strategy: ansible.builtin.free
  gather_facts: false
  tasks:
    - name: one | Do it
      answer: {changed: true}
    - name: two | Do it
      answer: {changed: true}
      delegate_to: edge1

- name: Match nothing
  hosts: nobody
  tasks: []
"""


def test_batches_handlers_includes_and_free_hosts(screen: Screen) -> None:
    (screen.folder / "more.yml").write_text("- {name: configure | Write more, answer: {changed: true}}\n")
    found = screen.run(MANY.replace("hosts: nobody", "hosts: 'app:!app'"), EVENKEEL_SHOW_COUNTS="1")
    assert (
        found
        == """\
[WARNING]: mind the gap
Run in batches
  configure   app1, app2        0.0 s  write it, write more
app1: hello app1
app2: hello app2
group_names:
  app
  service     app1, app2        0.0 s  restarted
  configure   app3              0.0 s  write it, write more
hello app3
group_names:
  app
  service     app3              0.0 s  restarted
Run freely
  one         app1-app3         0.0 s  do it
  two         app1-app3         0.0 s  do it
Match nothing
  no hosts matched

  app1        5 changed
  app2        5 changed
  app3        5 changed
Done in 0.0 s.
tasks 14 (skipped 0), remote runs 15, polls 0"""
    )


def test_verbose_is_the_default_callback(screen: Screen) -> None:
    plays = FAILURE.replace("hosts: app", "hosts: app1")
    mine = screen.run(plays, "-v")
    theirs = screen.run(plays, "-v", ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default")
    assert mine == theirs
    assert "TASK [gate | Probe each server]" in mine


CHECKED = """
- name: Write a file
  hosts: app1
  gather_facts: false
  tasks:
    - name: configure | Write the settings
      ansible.builtin.copy: {dest: "{{ playbook_dir }}/settings", content: "a\\n", mode: "0600"}
"""


def test_check_and_diff(screen: Screen) -> None:
    found = screen.run(CHECKED, "--check", "--diff")
    assert (
        found
        == """\
Write a file (check)
  configure | Write the settings
--- before
+++ after: FOLDER/settings
@@ -0,0 +1 @@
+a

  configure   app1              0.0 s  write the settings

  app1        1 changed
Done in 0.0 s, nothing was changed: this was a check.""".replace("FOLDER", str(screen.folder))
    )
    assert not (screen.folder / "settings").exists()


@pytest.mark.parametrize("argument", ["--list-tasks", "--syntax-check"])
def test_modes_that_run_nothing_are_left_alone(screen: Screen, argument: str) -> None:
    mine = screen.run(DEPLOY, argument)
    assert mine == screen.run(DEPLOY, argument, ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default")
    assert screen.code == 0


UNDONE = """
- name: Deploy 1.2
  hosts: app
  any_errors_fatal: true
  gather_facts: false
  tasks:
    - name: gate | Try
      block:
        - name: gate | Probe each server
          answer: {failed: true, msg: "health_gate: {{ inventory_hostname }} is down"}
          when: inventory_hostname != 'app3'
      rescue:
        - name: undo | Include the way back
          ansible.builtin.include_tasks: undo.yml

- name: Never run
  hosts: app
  gather_facts: false
  tasks: [{name: one | Do it, answer: {changed: true}}]
"""
UNDO = """
- name: undo | Move the traffic back
  answer: {changed: true, actions: [moved shop to blue]}
- name: undo | Explain
  ansible.builtin.fail: {msg: release 1.2 was refused. Run make status.}
  run_once: true
- name: report | Print the outcome
  ansible.builtin.debug: {msg: never}
"""


def test_undone_release_on_several_hosts(screen: Screen) -> None:
    (screen.folder / "undo.yml").write_text(UNDO)
    assert (
        screen.run(UNDONE)
        == """\
Deploy 1.2
  failed      app1           gate | Probe each server: health_gate: app1 is down
  failed      app2           gate | Probe each server: health_gate: app2 is down
  gate        app1, app2        0.0 s
  failed      app1           undo | Explain: release 1.2 was refused. Run make status.
  undo        app1-app3         0.0 s  moved shop to blue

  app1        1 failed, 1 changed, 1 rescued
  app2        1 changed, 1 rescued
  app3        1 changed
Failed after 0.0 s.

Failed: undo | Explain, on app1
  release 1.2 was refused. Run make status.
  It began with gate | Probe each server, on app1
    health_gate: app1 is down
  It began with gate | Probe each server, on app2
    health_gate: app2 is down
  Next: make status"""
    )


WAITING = """
- name: Wait for it
  hosts: app1
  gather_facts: false
  tasks:
    - name: gate | Probe each server
      answer: {attempt: 1}
      register: answer
      until: answer.attempts | default(0) == 3
      retries: 5
      delay: 0
    - name: switch | Move the traffic
      answer: {changed: true, warnings: [mind the gap]}
"""


def test_terminal_shows_what_runs_and_keeps_the_lines(screen: Screen) -> None:
    found = screen.run(WAITING, terminal=True, EVENKEEL_QUIET_SECONDS="0", ANSIBLE_NOCOLOR="1")
    assert "\r  gate        Probe each server  0 s" in found
    assert "\r  gate        waiting for probe each server, try 2 of 6  0 s" in found
    assert "\x1b" not in found
    assert (
        rendered(found)
        == """\
Wait for it
  gate        app1              0.0 s
[WARNING]: mind the gap
  switch      app1              0.0 s  move the traffic

  app1        1 changed
Done in 0.0 s."""
    )


def test_terminal_has_colours_where_they_are_wanted(screen: Screen) -> None:
    assert "\x1b[0;33m  switch" in screen.run(WAITING, terminal=True)
    assert "\x1b" not in screen.run(WAITING, terminal=True, NO_COLOR="1")


def test_pipe_has_no_control_characters(screen: Screen) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", screen.run(WAITING))


@pytest.mark.parametrize("arguments", [[], ["-v"]])
def test_counts_are_written_for_measurements(screen: Screen, arguments: list[str]) -> None:
    path = screen.folder / "counts.json"
    screen.run(WAITING, *arguments, EVENKEEL_COUNTS_FILE=str(path))
    counts: dict[str, Any] = json.loads(path.read_text())
    assert counts.pop("seconds") > 0
    assert counts.pop("hosts")["app1"]["changed"] == 1
    changed = ["switch | Move the traffic: app1"]
    assert counts == {"tasks": 2, "skipped": 0, "remote_runs": 2, "polls": 2, "changed_tasks": changed}


def test_counts_file_that_cannot_be_written_is_a_warning(screen: Screen) -> None:
    found = screen.run(WAITING, EVENKEEL_COUNTS_FILE=str(screen.folder / "none" / "counts.json"))
    assert "[WARNING]: progress: counts_file" in found
    assert screen.code == 0
