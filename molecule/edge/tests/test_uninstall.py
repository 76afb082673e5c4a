# SPDX-License-Identifier: GPL-3.0-or-later
"""What an uninstall leaves; runs last, because it stops HAProxy on both edges."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import testinfra

testinfra_hosts = ["ansible://edge"]
HERE = Path(__file__).resolve().parent.parent
PLACES = [
    "/etc/haproxy/haproxy.cfg",
    "/etc/haproxy/certs",
    "/etc/haproxy/conf.d/10-frontends.cfg",
    "/etc/systemd/system/haproxy.service.d",
    "/etc/systemd/system/evenkeel-acme.timer",
    "/etc/evenkeel",
    "/usr/local/lib/evenkeel",
    "/var/lib/evenkeel/edge",
    "/usr/sbin/haproxy",
]


@pytest.fixture(scope="session")
def uninstall(ansible):
    """Return a function that uninstalls the role on both edges."""

    def run(**options):
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        extra = json.dumps(options)
        return ansible("ansible-playbook", "--inventory", inventory, str(HERE / "uninstall.yml"), "--extra-vars", extra)

    return run


@pytest.fixture(scope="session")
def refused(uninstall):
    """The message of an uninstall while an app is there, and whether each edge still ran."""
    run = uninstall()
    inventory = os.environ["MOLECULE_INVENTORY_FILE"]
    edges = testinfra.get_hosts(["ansible://edge"], ansible_inventory=inventory)
    return run, {edge.backend.hostname: edge.service("haproxy").is_running for edge in edges}


@pytest.fixture(scope="session")
def removed(refused, uninstall):
    """The result of an uninstall of both edges after the app was removed."""
    return uninstall(apps_first=True)


@pytest.fixture(scope="session")
def removed_again(removed, uninstall):
    """The result of a second uninstall."""
    return uninstall()


def test_edge_with_an_app_stays(host, refused):
    run, running = refused
    assert run.rc != 0
    assert "found apps shop, need none. Run playbooks/uninstall.yml for them first." in run.output
    assert running[host.backend.hostname]


def test_nothing_is_left(host, removed):
    assert removed.rc == 0, removed.raw
    assert [place for place in PLACES if host.file(place).exists] == []
    assert host.run("pgrep -x haproxy").rc == 1


@pytest.mark.long
def test_second_uninstall_changes_nothing(host, removed_again):
    assert removed_again.rc == 0, removed_again.raw
    assert re.search(rf"{host.backend.hostname} : ok=\d+ changed=0 ", removed_again.output), removed_again.raw
