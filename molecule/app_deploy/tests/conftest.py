# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three hosts, and runs of the playbooks users have."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import testinfra

HERE = Path(__file__).resolve().parent.parent
PLAYBOOKS = HERE.parent.parent / "playbooks"
CONTAINER = "evenkeel-mol-app-deploy-"
# Fails for one container as long as a file is there, as a connection that was lost does.
DOCKER = """#!/bin/sh
case "$1 $*" in exec*{container}*) [ ! -e {flag} ] || {{ echo "no route to host" >&2; exit 1; }};; esac
exec {docker} "$@"
"""


def arguments(*argv, options=None):
    """An Ansible program on the scenario's hosts, with its variables and further ones."""
    inventory = ["--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--diff"]
    variables = ["--extra-vars", f"@{HERE}/group_vars/all.yml", "--extra-vars", json.dumps(options or {})]
    return [*argv, *inventory, *variables]


# Without pipelining the first thing Ansible does is to make a folder; where it cannot, the host is unreachable.
UNPIPELINED = {"ANSIBLE_PIPELINING": "0"}


@pytest.fixture(scope="session")
def on_hosts(ansible):
    """Return a function that runs an Ansible program on the scenario's hosts to its end."""
    return lambda *argv, options=None: ansible(*arguments(*argv, options=options))


@pytest.fixture(scope="session")
def play(on_hosts):
    """Return a function that runs a playbook of the collection with short variables."""

    def run(playbook, *argv, **options):
        return on_hosts("ansible-playbook", str(PLAYBOOKS / f"{playbook}.yml"), *argv, options=options)

    return run


@pytest.fixture(scope="session")
def deploy(play):
    """Return a function that deploys a release."""
    return lambda release, *argv, **options: play("deploy", *argv, release=release, **options)


@pytest.fixture(scope="session")
def rollback(play):
    """Return a function that goes back."""
    return lambda *argv, **options: play("rollback", *argv, **options)


@pytest.fixture
def begin(environment, tmp_path):
    """Return a function that starts a playbook and returns at once; what is left of it is killed after the test."""
    started = []

    def kill(process):
        """End it and all its workers at once, as a power cut of the controller would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def run(playbook, env=None, **options):
        log = tmp_path / f"{len(started)}.log"
        argv = arguments("ansible-playbook", str(PLAYBOOKS / f"{playbook}.yml"), options=options)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                argv,
                env={**environment, "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)

        def at(task, seconds=120):
            """Wait until a task begins whose name has this in it."""
            wanted = re.compile(rf"^TASK \[.*{re.escape(task)}", re.MULTILINE)
            end = time.monotonic() + seconds
            while not wanted.search(log.read_text(encoding="utf-8")):
                assert process.poll() is None, f"ended before {task}: {log.read_text(encoding='utf-8')}"
                assert time.monotonic() < end, f"no {task}: {log.read_text(encoding='utf-8')}"
                time.sleep(0.05)

        def end(seconds=240):
            rc = process.wait(seconds)
            raw = log.read_text(encoding="utf-8")
            return SimpleNamespace(rc=rc, output=" ".join(raw.split()), raw=raw)

        return SimpleNamespace(kill=lambda: kill(process), at=at, end=end)

    yield run
    for process in started:
        if process.poll() is None:
            kill(process)


@pytest.fixture
def lost(tmp_path):
    """Return a function that prepares the loss of one host: the environment for Ansible, and what causes the loss."""

    def prepare(name):
        flag, program = tmp_path / f"{name} is lost", tmp_path / "bin" / "docker"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            DOCKER.format(container=CONTAINER + name, flag=f"'{flag}'", docker=shutil.which("docker")), encoding="utf-8"
        )
        program.chmod(0o755)
        env = {"PATH": f"{program.parent}:{os.environ['PATH']}", **UNPIPELINED}
        return SimpleNamespace(env=env, cut=flag.touch)

    return prepare


@pytest.fixture(scope="session")
def module(on_hosts):
    """Return a function that calls a module on hosts."""

    def call(hosts, name, options):
        return on_hosts("ansible", hosts, "--module-name", f"evenkeel.platform.{name}", "--args", json.dumps(options))

    return call


@pytest.fixture(scope="session")
def hosts():
    """Return the hosts by their names."""
    return {name: testinfra.get_host(f"docker://{CONTAINER}{name}") for name in ("edge-a", "edge-b", "app-a")}


@pytest.fixture(scope="session")
def edges(hosts):
    """Return both edges."""
    return [hosts["edge-a"], hosts["edge-b"]]


@pytest.fixture(scope="session")
def app(hosts):
    """Return the host that runs the app."""
    return hosts["app-a"]


@pytest.fixture(scope="session")
def powered_off(environment):
    """Return a context in which a host is off; it comes back with its address, as a machine does."""

    @contextlib.contextmanager
    def off(host):
        container = CONTAINER + host

        def docker(*argv):
            return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True).stdout

        [(network, had)] = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"].items()
        docker("stop", "--time", "20", container)
        environment.update(UNPIPELINED)
        try:
            yield
        finally:
            for name in UNPIPELINED:
                del environment[name]
            docker("network", "disconnect", network, container)
            docker(
                *("network", "connect", "--ip", had["IPAddress"], "--ip6", had["GlobalIPv6Address"]), network, container
            )
            docker("start", container)

    return off


@pytest.fixture(scope="session")
def reboot(powered_off):
    """Return a function that boots a host anew."""

    def boot(name):
        with powered_off(name):
            pass

    return boot
