# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running the role again with other options, and asking the engine of the host."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent.parent
STACKS = "/opt/evenkeel/stacks"
CANARIES = ("Canary-4711-xyzzy", "Reg1stry-Canary-Word")


@pytest.fixture(scope="session")
def run_role(ansible):
    """Return a function that runs converge.yml with other variables on the host with stacks; only demo by default."""

    def play(options=None, check=False, tags="compose_stack_service"):
        argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--limit", "stacks", "--diff"]
        argv += ["--tags", tags, "--extra-vars", json.dumps({"stacks": ["{{ demo }}"], **(options or {})})]
        return ansible(*argv, str(HERE / "converge.yml"), *(["--check"] if check else []))

    return play


@pytest.fixture
def inspect(host):
    """Return what the engine knows of a service's container."""

    def ask(service, stack="demo"):
        ids = host.check_output(
            "docker ps --all --quiet --filter label=com.docker.compose.project=%s "
            "--filter label=com.docker.compose.service=%s",
            stack,
            service,
        ).split()
        return json.loads(host.check_output("docker inspect " + " ".join(ids)))[0] if ids else None

    return ask


@pytest.fixture
def digests(inspect):
    """Return the digest each service of a stack runs with."""
    return lambda: {name: inspect(name)["Config"]["Image"] for name in ("web", "legacy", "database")}


@pytest.fixture
def reboot(host):
    """Boot the machine anew and wait until systemd has started everything."""

    def boot():
        name = host.ansible.get_variables().get("ansible_host", "evenkeel-mol-compose-stack-stack-host")
        subprocess.run(["docker", "restart", name], check=True, capture_output=True)
        end = time.monotonic() + 120
        while host.run("systemctl is-system-running").stdout.strip() not in ("running", "degraded"):
            assert time.monotonic() < end, host.run("systemctl list-jobs").stdout
            time.sleep(1)

    return boot
