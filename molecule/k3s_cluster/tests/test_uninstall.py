# SPDX-License-Identifier: GPL-3.0-or-later
"""What an uninstall leaves; runs last, because it takes the cluster away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

testinfra_hosts = ["ansible://k3s_server", "ansible://k3s_agent"]
HERE = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])


@pytest.fixture(scope="session")
def uninstalled(ansible):
    """Return the two uninstalls: one that keeps the data, and one that does not."""

    def run(*words: str):
        return ansible(
            "ansible-playbook", str(HERE / "uninstall.yml"), "-i", os.environ["MOLECULE_INVENTORY_FILE"], *words
        )

    return run(), run("-e", "k3s_cluster_uninstall_data=mol"), run("-e", "k3s_cluster_uninstall_data=mol")


def test_the_data_stays_until_its_name_is_typed(uninstalled):
    kept, removed, again = uninstalled
    assert kept.rc == removed.rc == again.rc == 0, kept.raw + removed.raw
    assert "left /var/lib/rancher/k3s/server with the data of the cluster" in kept.output
    assert "server1: left nothing" in removed.output
    assert "agent2: left nothing" in removed.output
    assert "changed=0" in again.output
    assert "changed=1" not in again.output


def test_nothing_is_left(host, uninstalled):
    for path in ("/etc/rancher", "/var/lib/rancher/k3s", "/usr/local/bin/k3s", "/run/k3s", "/var/lib/evenkeel/k3s"):
        assert not host.file(path).exists, path
    assert host.run("systemctl list-unit-files 'k3s*' --no-legend").stdout == ""
    assert host.run("pgrep -f containerd-shim").rc == 1
    assert host.run("grep -c /run/k3s /proc/self/mounts").stdout.strip() == "0"
    assert "KUBE-" not in host.run("iptables-save").stdout


def test_only_our_entry_of_the_kubeconfig_is_gone(uninstalled):
    config = yaml.safe_load((SCRATCH / "kubeconfig").read_text(encoding="utf-8"))
    assert [one["name"] for one in config["contexts"]] == ["other"]
    assert not (SCRATCH / "secrets" / "mol").exists()
