# SPDX-License-Identifier: GPL-3.0-or-later
"""The neighbour, containers with published ports, and further runs of the role."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import testinfra

HERE = Path(__file__).resolve().parent
IMAGE = """
set -e
docker image inspect evenkeel-test/web >/dev/null 2>&1 && exit 0
root=$(mktemp -d)
mkdir -p "$root/bin" "$root/www"
cp /bin/busybox "$root/bin/"
echo hello >"$root/www/index.html"
tar -C "$root" -c . | docker import - evenkeel-test/web
rm -rf "$root"
"""
# Published port by name of the container; 8080 and 20000 are declared, 8081 is not.
WEBS = {"declared": 8080, "undeclared": 8081, "for-the-edge": 20000, "for-others": 20100}


@pytest.fixture(scope="session")
def prober():
    """Return the neighbour."""
    return testinfra.get_host("ansible://prober", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def machine():
    """Return the host under test, for fixtures that outlive a test."""
    return testinfra.get_host("ansible://docker-host", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def webs(machine):
    """Run one container for each published port; return their names."""
    answer = machine.run(IMAGE)
    assert answer.rc == 0, answer.stderr
    for name, port in WEBS.items():
        machine.run(f"docker rm --force {name}")
        answer = machine.run(
            f"docker run --detach --restart unless-stopped --name {name} --publish {port}:80 "
            "evenkeel-test/web /bin/busybox httpd -f -p 80 -h /www"
        )
        assert answer.rc == 0, answer.stderr
    return sorted(WEBS)


@pytest.fixture
def addresses(machine):
    """Return the host's addresses, v4 first; a boot may have changed them."""
    found = json.loads(machine.check_output("ip -json address show eth0"))[0]["addr_info"]
    return {
        "v4": next(item["local"] for item in found if item["family"] == "inet"),
        "v6": next(item["local"] for item in found if item["family"] == "inet6" and item["scope"] == "global"),
    }


@pytest.fixture
def reaches(prober, addresses):
    """Return a function that tests whether the neighbour reaches a port of the host."""

    def reach(port, family="v4", address=""):
        address = address or addresses[family]
        address = f"[{address}]" if ":" in address else address
        # A refused packet gets no answer; a connection that was accepted has time for its answer on a busy machine.
        limits = "--connect-timeout 1 --max-time 20"
        return prober.run(f"curl --silent {limits} http://{address}:{port}/").stdout.strip() == "hello"

    return reach


@pytest.fixture(scope="session")
def run_role():
    """Return a function that runs the role again with other options, and returns Ansible's output."""

    def run(options, playbook="again.yml", tags=""):
        argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(HERE.parent / playbook)]
        argv += ["--extra-vars", json.dumps(options)] + (["--tags", tags] if tags else [])
        answer = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        # Ansible wraps long lines.
        answer.stdout = " ".join(answer.stdout.split())
        return answer

    return run
