# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three hosts, and runs of the playbooks users have."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import testinfra

HERE = Path(__file__).resolve().parent.parent
PLAYBOOKS = HERE.parent.parent / "playbooks"
CONTAINER = "evenkeel-mol-app-deploy-"


def ansible(*argv, options=None):
    """Run an Ansible program on the scenario's hosts, with the scenario's variables and further ones."""
    argv = [*argv, "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--diff"]
    argv += ["--extra-vars", f"@{HERE}/group_vars/all.yml", "--extra-vars", json.dumps(options or {})]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}
    plain.pop("PY_COLORS", None)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=plain)
    raw = done.stdout + done.stderr
    return SimpleNamespace(rc=done.returncode, output=" ".join(raw.split()), raw=raw)


@pytest.fixture(scope="session")
def deploy():
    """Return a function that deploys a release."""

    def run(release, *argv, **options):
        options = {"release": release, **options}
        return ansible("ansible-playbook", str(PLAYBOOKS / "deploy.yml"), *argv, options=options)

    return run


@pytest.fixture(scope="session")
def rollback():
    """Return a function that goes back."""
    return lambda **options: ansible("ansible-playbook", str(PLAYBOOKS / "rollback.yml"), options=options)


@pytest.fixture(scope="session")
def module():
    """Return a function that calls a module on hosts."""

    def call(hosts, name, arguments):
        return ansible("ansible", hosts, "--module-name", f"evenkeel.platform.{name}", "--args", json.dumps(arguments))

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
def until():
    """Return a function that waits for a condition, and says whether it came."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.5)
        return False

    return wait


@pytest.fixture(scope="session")
def powered_off():
    """Return a context in which a host is off; it comes back with its address, as a machine does."""

    @contextlib.contextmanager
    def off(name):
        container = CONTAINER + name

        def docker(*argv):
            return subprocess.run(["docker", *argv], check=True, capture_output=True, text=True).stdout

        [(network, had)] = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"].items()
        docker("stop", "--time", "20", container)
        try:
            yield
        finally:
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
