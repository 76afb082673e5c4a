# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left when the role is taken away; runs last, for it ends HAProxy on both edges."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

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


def uninstall(**options):
    argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(HERE / "uninstall.yml")]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "NO_COLOR": "1"}
    done = subprocess.run(
        [*argv, "--extra-vars", json.dumps(options)], capture_output=True, text=True, check=False, env=plain
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def test_edge_with_an_app_stays(host):
    if not host.file("/usr/sbin/haproxy").exists:
        return  # the test of the other edge has taken both away
    code, said = uninstall()
    assert code != 0
    assert "found apps shop, need none. Run playbooks/uninstall.yml for them first." in said
    assert host.service("haproxy").is_running


def test_nothing_is_left_and_a_second_run_changes_nothing(host):
    code, said = uninstall(apps_first=host.file("/usr/sbin/haproxy").exists)
    assert code == 0, said
    assert [place for place in PLACES if host.file(place).exists] == []
    assert host.run("pgrep -x haproxy").rc == 1
    code, said = uninstall()
    assert code == 0, said
    assert len(re.findall(r"edge1\d : ok=\d+ changed=0 ", said)) == 2, said
