# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The three hosts, and runs of the playbooks users have."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import pytest
import testinfra

HERE = Path(__file__).resolve().parent.parent
PLAYBOOKS = HERE.parent.parent / "playbooks"
CONTAINER = "evenkeel-mol-app-deploy-"


@pytest.fixture(scope="session")
def on_hosts(ansible):
    """Return a function that runs an Ansible program on the scenario's hosts, with its variables and further ones."""

    def run(*argv, options=None):
        inventory = ["--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--diff"]
        variables = ["--extra-vars", f"@{HERE}/group_vars/all.yml", "--extra-vars", json.dumps(options or {})]
        return ansible(*argv, *inventory, *variables)

    return run


@pytest.fixture(scope="session")
def deploy(on_hosts):
    """Return a function that deploys a release."""

    def run(release, *argv, **options):
        options = {"release": release, **options}
        return on_hosts("ansible-playbook", str(PLAYBOOKS / "deploy.yml"), *argv, options=options)

    return run


@pytest.fixture(scope="session")
def rollback(on_hosts):
    """Return a function that goes back."""
    return lambda **options: on_hosts("ansible-playbook", str(PLAYBOOKS / "rollback.yml"), options=options)


@pytest.fixture(scope="session")
def module(on_hosts):
    """Return a function that calls a module on hosts."""

    def call(hosts, name, arguments):
        return on_hosts("ansible", hosts, "--module-name", f"evenkeel.platform.{name}", "--args", json.dumps(arguments))

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
