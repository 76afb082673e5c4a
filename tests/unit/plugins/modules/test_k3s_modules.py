# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A kubeconfig keeps what is of others, and a node is waited for by what its host answers."""

from __future__ import annotations

import datetime
import importlib
import json

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _k3s_node
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure

URL = "https://192.0.2.11:6443"
SOURCE = """
clusters: [{name: default, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: CA}}]
users: [{name: default, user: {client-key-data: SECRETKEY}}]
"""
OTHER = "clusters: [{name: other, cluster: {server: x}}]\ncontexts: [{name: other, context: {}}]\n"


@pytest.fixture
def kubeconfig(capsys, tmp_path):
    path = tmp_path / "kube" / "config"

    def call(_check=False, **params):
        main = importlib.import_module("ansible_collections.evenkeel.platform.plugins.modules.k3s_kubeconfig").main
        given = {"path": str(path), "name": "prod", "server": URL, **params}
        if given.get("state") != "absent":
            given.setdefault("source", SOURCE)
        capsys.readouterr()
        with (
            patch_module_args({**given, "_ansible_check_mode": _check, "_ansible_diff": True}),
            pytest.raises(SystemExit),
        ):
            main()
        out = capsys.readouterr().out
        assert "SECRETKEY" not in out
        return json.loads(out), path

    return call


def test_a_cluster_is_added_once_and_taken_out_again(kubeconfig):
    done, path = kubeconfig(_check=True)
    assert done["changed"]
    assert not path.exists()
    done, _path = kubeconfig()
    assert done["changed"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert not kubeconfig()[0]["changed"]
    done, _path = kubeconfig(state="absent")
    assert done["changed"]
    assert done["diff"] == {"before": "prod\n", "after": ""}
    assert not kubeconfig(state="absent")[0]["changed"]


def test_entries_of_others_stay_and_the_mode_is_closed(kubeconfig):
    _done, path = kubeconfig(_check=True)
    path.parent.mkdir()
    path.write_text(OTHER, encoding="utf-8")
    path.chmod(0o644)
    kubeconfig()
    assert path.stat().st_mode & 0o777 == 0o600
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [one["name"] for one in found["contexts"]] == ["other", "prod"]
    kubeconfig(state="absent")
    assert [one["name"] for one in yaml.safe_load(path.read_text(encoding="utf-8"))["contexts"]] == ["other"]


def test_another_cluster_of_the_name_is_refused_and_kept(kubeconfig):
    kubeconfig()
    done, path = kubeconfig(server="https://192.0.2.99:6443", source=SOURCE.replace("CA", "OTHER"))
    assert done["failed"]
    assert f"found the cluster at {URL}, need none" in done["msg"]
    done, _path = kubeconfig(server="https://192.0.2.99:6443", state="absent")
    assert not done["changed"]
    assert URL in path.read_text(encoding="utf-8")


def test_a_file_that_is_no_kubeconfig_is_refused(kubeconfig):
    _done, path = kubeconfig(_check=True)
    path.parent.mkdir()
    path.write_text("- SECRETKEY\n", encoding="utf-8")
    assert "found no mapping" in kubeconfig()[0]["msg"]
    path.write_text("a: [SECRETKEY", encoding="utf-8")
    assert "found no YAML" in kubeconfig()[0]["msg"]


class Clock:
    """A clock that moves by sleeping alone."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds


class Host:
    """What a host answers: the node once it is ready, and its log."""

    def __init__(self, ready_at=None, log=(), voters=None, version="v1", message=""):
        self.clock, self.calls = Clock(), []
        self.ready_at, self.log, self.voters, self.version, self.message = ready_at, list(log), voters, version, message

    def is_up(self):
        return self.ready_at is not None and self.clock.now >= self.ready_at

    def node(self, name="n1", ready="True"):
        conditions = [{"type": "Ready", "status": ready, "message": self.message}]
        return {
            "metadata": {"name": name, "labels": {}},
            "status": {"conditions": conditions, "nodeInfo": {"kubeletVersion": self.version}},
        }

    def __call__(self, argv):
        self.calls.append(argv)
        words = " ".join(argv)
        if "journalctl" in words:
            return 0, "\n".join(self.log), ""
        if "systemctl show" in words:
            return 0, "ActiveState=active\nNRestarts=0\n", ""
        if "lease/" in words:
            # Before the start the old kubelet renewed it last.
            stamp = self.clock.now if self.is_up() else 900.0
            text = datetime.datetime.fromtimestamp(stamp, datetime.UTC).isoformat().replace("+00:00", "Z")
            return 0, json.dumps({"spec": {"renewTime": text}}), ""
        if "get nodes" in words:
            return 0, json.dumps({"items": self.voters(self.clock.now) if self.voters else []}), ""
        if "node/" in words:
            return 0, json.dumps(self.node(ready="True" if not self.message else "False")), ""
        return 0, "ok", ""


PARAMS = {
    "role": "agent",
    "name": "n1",
    "version": "v1",
    "binary": "/usr/local/bin/k3s",
    "server": "",
    "servers": 1,
    "ready_seconds": 60,
    "quorum_seconds": 30,
    "journal_lines": 2,
}


def started(host, **params):
    node = _k3s_node.Node({**PARAMS, **params}, host, print, host.clock)
    return node.start(again=True)


def test_a_node_that_is_only_still_called_ready_is_waited_for():
    host = Host(ready_at=1015.0)
    started(host)
    assert host.clock.now >= 1015.0
    assert ["systemctl", "restart", "--no-block", "k3s-agent.service"] in host.calls


def test_a_node_of_another_version_is_not_ready():
    with pytest.raises(Failure) as failure:
        started(Host(ready_at=0.0, version="v0"))
    assert "node on n1: found not all of it ready after 60 s" in failure.value.sentence


def test_a_refused_token_ends_the_wait():
    host = Host(log=["msg=starting", "msg=401 Unauthorized", "msg=last"])
    with pytest.raises(Failure) as failure:
        started(host)
    assert "token on n1: found one that the cluster refuses" in failure.value.sentence
    assert failure.value.result["journal"] == ["msg=401 Unauthorized", "msg=last"]
    assert host.clock.now < 1030


def test_a_network_without_plugin_is_named_at_the_end():
    message = "container runtime network not ready: NetworkReady=false reason:x message:cni plugin not initialized"
    with pytest.raises(Failure) as failure:
        started(Host(message=message))
    assert "container network on n1: found cni plugin not initialized" in failure.value.sentence


def voter(name, ready):
    kinds = [{"type": "Ready", "status": ready}, {"type": "EtcdIsVoter", "status": "True"}]
    return {
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/etcd": "true"}},
        "status": {"conditions": kinds},
    }


def quorum(third_ready_at, servers=3, empty=False):
    def voters(now):
        third = voter("n3", "True" if now >= third_ready_at else "Unknown")
        return [] if empty else [voter("n1", "True"), voter("n2", "True"), third]

    host = Host(voters=voters)
    params = {**PARAMS, "role": "server", "servers": servers}
    _k3s_node.Node(params, host, print, host.clock).wait_for_quorum()
    return host.clock.now


def test_a_server_waits_for_the_quorum_of_the_others():
    assert quorum(0) == 1000
    assert 1010 <= quorum(1010) <= 1012
    with pytest.raises(Failure, match="found 1 ready servers"):
        quorum(10**9)


def test_a_server_whose_api_does_not_answer_is_not_restarted_beside_others():
    with pytest.raises(Failure, match="found 0 ready servers"):
        quorum(0, empty=True)
    assert quorum(0, servers=1, empty=True) == 1000


def test_a_closed_port_is_named_before_a_start():
    host = Host()
    node = _k3s_node.Node({**PARAMS, "server": "https://127.0.0.1:9", "connect_seconds": 2}, host, print, host.clock)
    with pytest.raises(Failure, match=r"connection to https://127.0.0.1:9 on n1: found connection refused"):
        node.check_server()
