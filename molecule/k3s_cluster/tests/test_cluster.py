# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster is after the role ran, and what a second, a changed and a wrong run do."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

testinfra_hosts = ["ansible://k3s_server"]
HERE = Path(__file__).resolve().parent.parent
SCRATCH = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
NODES = ("server1", "agent2")
UNITS = {"server1": "k3s.service", "agent2": "k3s-agent.service"}


@pytest.fixture
def play(ansible):
    """Return a function that runs a playbook of the scenario once more."""

    def run(name: str = "converge.yml", *words: str):
        return ansible("ansible-playbook", str(HERE / name), "-i", os.environ["MOLECULE_INVENTORY_FILE"], *words)

    return run


def container(name: str, *words: str) -> str:
    done = subprocess.run(
        ["docker", "exec", f"evenkeel-mol-k3s-cluster-{name}", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kubectl(host, *words: str):
    done = host.run("k3s kubectl " + " ".join(words))
    assert done.rc == 0, done.stderr
    return done.stdout


def pids() -> dict[str, str]:
    return {name: container(name, "systemctl", "show", "-P", "MainPID", unit).strip() for name, unit in UNITS.items()}


def nodes(host) -> dict[str, dict]:
    return {one["metadata"]["name"]: one for one in json.loads(kubectl(host, "get", "nodes", "-o", "json"))["items"]}


def test_every_node_is_ready(host):
    found = nodes(host)
    assert sorted(found) == sorted(NODES)
    for node in found.values():
        ready = next(one for one in node["status"]["conditions"] if one["type"] == "Ready")
        assert ready["status"] == "True", ready
    assert found["agent2"]["metadata"]["labels"]["evenkeel.test/kind"] == "k3s-agent"


def test_a_pod_runs_on_each_node(host, until):
    for name in NODES:
        spec = {
            "nodeName": name,
            "containers": [{"name": "c", "image": "evenkeel-lab/pause:1", "imagePullPolicy": "Never"}],
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"on-{name}"}, "spec": spec}
        host.run(f"echo '{json.dumps(pod)}' | k3s kubectl apply -f -")
    phase = "get pods -o jsonpath='{.items[*].status.phase}'"
    assert until(lambda: kubectl(host, phase) == "Running Running", 90), kubectl(host, "describe pods")


@pytest.mark.parametrize("name", NODES)
def test_tokens_are_in_no_readable_file_no_argument_and_no_log(name):
    for role in ("server", "agent"):
        token = (SCRATCH / "secrets" / "mol" / f"{role}-token").read_text(encoding="utf-8").strip()
        assert len(token) == 48
        assert oct((SCRATCH / "secrets" / "mol" / f"{role}-token").stat().st_mode & 0o777) == "0o600"
        find = f"grep -rlF {token} /etc /var/lib/rancher /var/lib/evenkeel 2>/dev/null | xargs -r stat -c '%a %n'"
        found = container(name, "bash", "-c", find).splitlines()
        assert [line for line in found if line.split()[0] not in ("600", "400")] == []
        assert bool(found) == (role == "agent" or name == "server1")
        assert container(name, "bash", "-c", f"ps axww | grep -F {token} | grep -v grep | wc -l").strip() == "0"
        assert container(name, "bash", "-c", f"journalctl --no-pager | grep -cF {token} || true").strip() == "0"


def test_an_old_fragment_is_gone_and_the_folder_is_closed(host):
    assert not host.file("/etc/rancher/k3s/config.yaml.d/80-evenkeel-old.yaml").exists
    assert host.file("/etc/rancher/k3s").mode == 0o755


def test_the_kubeconfig_has_both_clusters(host):
    path = SCRATCH / "kubeconfig"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [one["name"] for one in config["contexts"]] == ["other", "mol"]
    assert config["current-context"] == "other"
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_a_second_run_changes_and_restarts_nothing(host, play):
    before = pids()
    done = play()
    assert done.rc == 0, done.raw
    assert "changed=0" in done.output
    assert "changed=1" not in done.output
    assert pids() == before


def test_a_changed_option_restarts_the_node_once(host, play):
    before = pids()
    done = play("converge.yml", "-e", '{"k3s_cluster_node_labels": {"evenkeel.test/kind": "changed"}}')
    assert done.rc == 0, done.raw
    after = pids()
    assert all(after[name] != before[name] for name in NODES)
    assert {node["metadata"]["labels"]["evenkeel.test/kind"] for node in nodes(host).values()} == {"changed"}
    assert play().rc == 0


def test_an_unknown_key_is_refused_before_anything_changes(host, play):
    before = pids()
    done = play("converge.yml", "-e", '{"k3s_cluster_server_extra_config": {"kubelet-args": ["v=2"]}}')
    assert done.rc != 0
    assert "found kubelet-args, which k3s server" in done.output
    assert pids() == before
    assert play("converge.yml", "--check").output.count("changed=0") == len(NODES)


def test_a_wrong_token_is_named(host, play):
    token = SCRATCH / "secrets" / "mol" / "agent-token"
    right = token.read_text(encoding="utf-8")
    container("agent2", "systemctl", "stop", "k3s-agent.service")
    # A node that registers anew: with its certificates it would not need the token.
    container("agent2", "bash", "-c", "rm -rf /var/lib/rancher/k3s/agent/*.crt /var/lib/rancher/k3s/agent/*.key")
    try:
        token.write_text("0" * 48 + "\n", encoding="utf-8")
        began = time.monotonic()
        done = play("converge.yml", "--limit", "agent2")
        assert done.rc != 0
        assert "k3s_cluster: token on agent2: found one that the cluster refuses" in done.output
        assert time.monotonic() - began < 120
    finally:
        token.write_text(right, encoding="utf-8")
    assert play().rc == 0


def test_a_server_that_does_not_answer_is_named(play):
    container("agent2", "systemctl", "stop", "k3s-agent.service")
    done = play("converge.yml", "--limit", "agent2", "-e", "k3s_cluster_api_port=6449 k3s_cluster_connect_seconds=2")
    assert done.rc != 0
    assert "connection to https://" in done.output
    assert "refused" in done.output
    assert play().rc == 0


def test_the_kernel_settings_of_the_machine_are_as_before():
    before = (SCRATCH / "kernel.before").read_text(encoding="utf-8")
    names = [line.partition(" = ")[0] for line in before.splitlines()]
    after = subprocess.run(["sysctl", *names], capture_output=True, text=True, check=True).stdout
    assert after == before


@pytest.mark.parametrize("name", NODES)
def test_nothing_can_leave(name):
    assert "default" not in container(name, "ip", "route")
    assert "blackhole 10.42.0.0/16" in container(name, "ip", "route")
