# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration, versions, joins, quorum and causes of k3s are decided from plain data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.filter.k3s import (
    k3s_cluster_config,
    k3s_cluster_join,
    k3s_cluster_problems,
    kubeconfig_problems,
    secret_problems,
)
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _host_facts,
    _k3s,
    _k3s_diagnosis,
    _k3s_node,
    _k3s_removal,
    _kubeconfig,
)

DEFAULTS = yaml.safe_load(
    (Path(__file__).resolve().parents[4] / "roles/k3s_cluster/defaults/main.yml").read_text(encoding="utf-8")
)
OPTIONS = {
    **DEFAULTS,
    "k3s_cluster_version": "v1.36.2+k3s1",
    "k3s_cluster_checksums": {"amd64": "a" * 64},
    "k3s_cluster_kubeconfig_enabled": False,
}
K3S = {
    "installed": False,
    "role": "",
    "version": "",
    "data": "",
    "foreign": [],
    "machine_id": "",
    "swap_bytes": 0,
}
FACTS = {
    "architecture": "x86_64",
    "memory_bytes": 4 * 1024**3,
    "networks": ["192.0.2.0/24"],
    "addresses": ["192.0.2.11"],
    "controllers_missing": [],
    "clock": 0.0,
    "k3s": K3S,
}
HELP = """NAME:
   k3s server - Run management server

OPTIONS:
   --config FILE, -c FILE                     (config) Load configuration from FILE (default: "x") [$K3S_CONFIG_FILE]
   --token value, -t value                    (cluster) Shared secret, see --token-file
   -v value                                   (logging) Number for the log level verbosity (default: 0)
   --cluster-init                             (cluster) Initialize a new cluster using embedded Etcd
   --kubelet-arg value [ --kubelet-arg value ]  (agent/flags) Customized flag for kubelet process
   --help, -h                                 show help
"""


def host(name="server1", role="server", **facts):
    return {
        "role": role,
        "node_name": name,
        "address": f"192.0.2.1{name[-1]}",
        "facts": {**FACTS, **facts, "k3s": {**K3S, "machine_id": name, **facts.get("k3s", {})}},
    }


def test_keys_are_those_before_the_descriptions():
    assert _k3s.keys(HELP) == {"token", "cluster-init", "kubelet-arg"}


def test_unknown_keys_are_named_and_nothing_without_a_list():
    assert _k3s.unknown_keys(["tokn", "token", "kubelet-arg+"], _k3s.keys(HELP)) == ["tokn"]
    assert not _k3s.unknown_keys(["tokn"], set())


@pytest.mark.parametrize(
    ("running", "wanted", "refused"),
    [
        ("", "v1.36.2+k3s1", ""),
        ("v1.36.2+k3s1", "v1.36.2+k3s1", ""),
        ("v1.36.2+k3s1", "v1.36.3+k3s1", ""),
        ("v1.36.2+k3s1", "v1.36.2+k3s2", ""),
        ("v1.36.2+k3s1", "v1.36.1+k3s1", "v1.36.2+k3s1 or later"),
        ("v1.35.2+k3s1", "v1.36.2+k3s1", "a patch release of 1.35"),
        ("v1.36.2+k3s1", "v1.35.9+k3s1", "a patch release of 1.36"),
    ],
)
def test_a_version_follows_another_within_its_minor_release(running, wanted, refused):
    found = _k3s.version_refusal(running, wanted)
    assert found.startswith(refused)
    assert bool(found) == bool(refused)


def config(node, **options):
    given = {**OPTIONS, **{f"k3s_cluster_{name}": value for name, value in options.items()}}
    base = {"name": "n1", "address": "192.0.2.11", "registration": "https://192.0.2.11:6443", "names": ["192.0.2.11"]}
    found = k3s_cluster_config(given, {**base, **node})
    return {Path(one["path"]).name: yaml.safe_load(one["content"]) for one in found["files"]}, found["keys"]


def test_a_server_has_both_tokens_by_file_and_an_agent_its_own():
    server, _keys = config({"role": "server"})
    agent, _keys = config({"role": "agent"})
    assert server["config.yaml"]["token-file"] == "/etc/rancher/k3s/server-token"
    assert server["config.yaml"]["agent-token-file"] == "/etc/rancher/k3s/agent-token"
    assert agent["config.yaml"] == {
        "token-file": "/etc/rancher/k3s/agent-token",
        "node-name": "n1",
        "node-ip": "192.0.2.11",
        "server": "https://192.0.2.11:6443",
    }
    assert list(agent) == ["config.yaml"]


def test_cis_encrypts_from_the_first_start_and_a_list_of_the_user_adds_to_its_own():
    files, keys = config({"role": "server"}, profile="cis", extra_config={"kubelet-arg": ["v=2"], "debug": True})
    assert files["30-evenkeel-profile.yaml"]["secrets-encryption"] is True
    assert files["90-evenkeel-extra.yaml"] == {"kubelet-arg+": ["v=2"], "debug": True}
    assert "kubelet-arg" in keys
    files, _keys = config({"role": "agent"}, profile="cis", extra_config={"kubelet-arg": ["v=2"]})
    assert "kube-apiserver-arg" not in files["30-evenkeel-profile.yaml"]


def test_labels_taints_and_components():
    files, _keys = config(
        {"role": "server"},
        node_labels={"b": "2", "a": "1"},
        node_taints=["x=y:NoSchedule"],
        disabled_components=["traefik"],
    )
    assert files["40-evenkeel-node.yaml"] == {"node-label": ["a=1", "b=2"], "node-taint": ["x=y:NoSchedule"]}
    assert files["20-evenkeel-components.yaml"] == {"disable": ["traefik"]}


@pytest.mark.parametrize(
    ("data", "name", "wanted"),
    [
        (["", "", ""], 1, {"cluster-init": True}),
        (["", "", ""], 2, {"server": "https://192.0.2.11:6443"}),
        (["etcd", "etcd", ""], 3, {"server": "https://192.0.2.11:6443"}),
        (["etcd", "etcd", ""], 1, {}),
        (["", "etcd", "etcd"], 1, {"server": "https://192.0.2.12:6443"}),
        (["sqlite", "", ""], 1, {"cluster-init": True}),
        (["sqlite", "", ""], 2, {"server": "https://192.0.2.11:6443"}),
    ],
)
def test_a_server_joins_those_that_hold_the_cluster(data, name, wanted):
    names = [f"server{number}" for number in range(1, len(data) + 1)]
    hosts = {each: host(each, k3s={"data": held}) for each, held in zip(names, data, strict=True)}
    assert k3s_cluster_join(OPTIONS, names, hosts, f"server{name}") == wanted


def test_one_server_with_sqlite_joins_nothing():
    assert not k3s_cluster_join(OPTIONS, ["server1"], {"server1": host()}, "server1")


@pytest.mark.parametrize(
    ("options", "hosts", "sentences"),
    [
        ({}, [host()], []),
        ({"version": "1.36"}, [host()], ["k3s_cluster_version: found 1.36, need a version"]),
        ({"checksums": {}}, [host()], ["checksum for server1: found none for amd64"]),
        ({"checksums": {"amd64": "abc"}}, [host()], ["checksum of amd64 in k3s_cluster_checksums: found abc"]),
        ({}, [host(architecture="mips")], ["architecture of server1: found mips"]),
        ({"extra_config": {"etcd-s3-secret-key": "x"}}, [host()], ["found a secret, which would be shown"]),
        ({"extra_config": {"tokn": 1}}, [host()], ["key tokn of k3s_cluster_extra_config: found a key that k3s"]),
        (
            {"extra_config": {"cluster-cidr": "x"}},
            [host()],
            ["key cluster-cidr of k3s_cluster_extra_config: found it set"],
        ),
        (
            {"pod_ranges": ["192.0.2.0/25"]},
            [host()],
            ["range 192.0.2.0/25 of k3s_cluster_pod_ranges: found 192.0.2.0/24"],
        ),
        (
            {"pod_ranges": ["192.0.2.0/25"]},
            [host(k3s={"installed": True, "version": "v1.36.2+k3s1"})],
            ["tokens of k3s"],
        ),
        ({"service_ranges": ["10.42.0.0/24"]}, [host()], ["found an overlap with 10.42.0.0/16"]),
        ({}, [host(k3s={"foreign": ["kubelet.service"]})], ["Kubernetes on server1: found kubelet.service"]),
        ({}, [host(memory_bytes=1024**3)], ["memory of server1: found 1024 MiB, need 1600 MiB"]),
        ({}, [host(), host("agent2", "agent", memory_bytes=1024**3)], []),
        ({"profile": "cis"}, [host(k3s={"swap_bytes": 1024**3})], ["swap of server1: found 1024 MiB, need none"]),
        ({}, [host(), host("server2")], ["group k3s_server: found 2 servers, need an odd number"]),
        (
            {"datastore": "sqlite"},
            [host(), host("server2"), host("server3")],
            ["found sqlite for 3 servers, need etcd"],
        ),
        (
            {},
            [host(), {**host("agent2", "agent"), "node_name": "server1"}],
            ["node name server1: found it on server1, agent2"],
        ),
        (
            {},
            [host(), host("agent2", "agent", k3s={"machine_id": "server1"})],
            ["machine id server1: found it on server1"],
        ),
        ({}, [host(), host("agent2", "agent", clock=95.0)], ["clocks of server1 and agent2: found 95 s between them"]),
        ({}, [{**host(), "address": ""}], ["address of server1: found none"]),
        ({}, [host(controllers_missing=["memory"])], ["control groups of server1: found no memory"]),
        ({"node_taints": ["x"]}, [host()], ["taint x: found this, need key=value:effect"]),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_beside_it(options, hosts, sentences):
    given = {**OPTIONS, **{f"k3s_cluster_{name}": value for name, value in options.items()}}
    named = {
        f"server{number}" if one["role"] == "server" else "agent2": one for number, one in enumerate(hosts, start=1)
    }
    servers = [name for name, one in named.items() if one["role"] == "server"]
    found = k3s_cluster_problems(
        given,
        servers,
        named,
        "server1",
        known_keys={"debug", "cluster-cidr", "etcd-s3-secret-key"} if "extra_config" in options else (),
    )
    assert len(found) == len(sentences), found
    for sentence, wanted in zip(found, sentences, strict=True):
        assert wanted in sentence
        assert sentence.startswith("k3s_cluster: ")
        assert ": found " in sentence
        assert ", need " in sentence
        assert sentence.endswith(".")


def test_a_run_without_a_server_is_refused():
    found = k3s_cluster_problems(
        OPTIONS, ["server1", "server2", "server3"], {"server1": host(), "server3": host("server3")}, "server1"
    )
    assert [one for one in found if "hosts of this run: found no server2" in one]


def test_a_cluster_whose_tokens_are_elsewhere_is_refused(tmp_path):
    options = {"secrets_folder": str(tmp_path), "name": "prod"}
    assert "found no server and no agent token" in secret_problems(options, True)[0]
    assert not secret_problems(options, False)


def node(name, ready="True", voter="True", etcd=True):
    kinds = [{"type": "Ready", "status": ready}, {"type": "EtcdIsVoter", "status": voter}]
    labels = {"node-role.kubernetes.io/etcd": "true"} if etcd else {}
    return {"metadata": {"name": name, "labels": labels}, "status": {"conditions": kinds}}


@pytest.mark.parametrize(
    ("nodes", "wanted"),
    [
        ([node("a"), node("b"), node("c")], (["b", "c"], 2)),
        ([node("a"), node("b", ready="Unknown"), node("c")], (["c"], 2)),
        ([node("a"), node("b"), node("c", voter="False"), node("d", etcd=False)], (["b"], 2)),
        ([node("a")], ([], 0)),
        ([node("a", etcd=False), node("b", etcd=False)], ([], 0)),
        ([], ([], 0)),
    ],
)
def test_the_quorum_beside_a_server(nodes, wanted):
    assert _k3s.quorum(nodes, "a") == wanted


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Node password rejected, duplicate hostname or contents of 'x' may not match", "node name"),
        ("etcd cluster join failed: duplicate node name found, please use a unique name", "node name"),
        ("starting kubernetes: bootstrap data already found and encrypted with different token", "token"),
        ("token CA hash does not match the Cluster CA certificate hash: a != b", "token"),
        ("critical configuration value mismatch between servers", "configuration"),
        ("x509: certificate has expired or is not yet valid: current time 2020 is before 2026", "clock"),
        ("flag provided but not defined: -tokn", "key tokn"),
        ("failed to find host-local: exec: not found", "program host-local"),
        ("listen tcp :6443: bind: address already in use", "port"),
        ("write /x: no space left on device", "disk"),
        ("Waiting for containerd startup", None),
    ],
)
def test_a_line_of_the_log_names_the_cause(line, what):
    found = _k3s_diagnosis.of_log(["level=info msg=x", line])
    assert (found[0].what if found else None) == what


def there(found):
    assert found is not None
    return found


def test_the_end_of_a_part_is_the_cause():
    # As k3s v1.36.3 logged it.
    lines = [
        "Error: unknown flag: --advertise-port",
        'time="2026-12-01T01:41:51Z" level=error msg="Shutdown request received: \\"apiserver exited: unknown flag: --advertise-port\\""',
        'time="2026-12-01T01:41:51Z" level=info msg="Closing database connections..."',
    ]
    found = there(_k3s_diagnosis.of_end(lines))
    assert (found.what, found.found) == ("apiserver", "its end by 'unknown flag: --advertise-port'")
    assert there(_k3s_diagnosis.of_end(['level=fatal msg="Error: no token"'])).found == "its end by 'Error: no token'"
    assert _k3s_diagnosis.of_end(lines[:1]) is None


def test_probes_name_a_closed_port_a_clock_and_a_skew():
    assert _k3s_diagnosis.of_port("https://a", "") is None
    assert "connection refused" in _k3s_diagnosis.sentence(
        there(_k3s_diagnosis.of_port("https://a", "connection refused")), "n1"
    )
    assert _k3s_diagnosis.of_clock("https://a", 5) is None
    assert "95 s behind" in there(_k3s_diagnosis.of_clock("https://a", -95)).found
    assert _k3s_diagnosis.of_skew("v1.36.2", "v1.35.1") is not None
    assert _k3s_diagnosis.of_skew("v1.33.2", "v1.36.1") is None
    assert _k3s_diagnosis.of_skew("v1.32.2", "v1.36.1") is not None
    assert _k3s_diagnosis.of_node("NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized")


def test_a_plan_starts_restarts_or_leaves_alone():
    files = {"/a": ("x", 0o600)}
    running = {"active": True, "enabled": True}
    plan = _k3s_node.plan
    assert not plan(files, files, {}, running, {"/a": "1"}, {"/a": "1"})
    assert plan(files, files, {}, running, {}, {"/a": "1"}).restart == "restart"
    assert plan(files, {}, {"k": ("1", "0")}, {"active": False, "enabled": False}, {}, {}) == (
        ("/a",),
        (),
        ("k",),
        True,
        "start",
    )
    assert plan(files, {"/a": ("x", 0o644), "/b": ("", 0o600)}, {}, running, {}, {})[:2] == (("/a",), ("/b",))


SAVED = """*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:CNI-abc - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -p tcp -j MINE
-A KUBE-SERVICES -j CNI-abc
COMMIT
*filter
:MINE - [0:0]
-A INPUT -j MINE
COMMIT
"""


def test_only_rules_and_chains_of_k3s_are_removed():
    assert _k3s_removal.rules(SAVED).splitlines() == [
        "*nat",
        '-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        "-F KUBE-SERVICES",
        "-F CNI-abc",
        "-X KUBE-SERVICES",
        "-X CNI-abc",
        "COMMIT",
    ]
    assert not _k3s_removal.rules("*filter\n:MINE - [0:0]\n-A INPUT -j MINE\nCOMMIT\n")


def test_mounts_of_k3s_inner_ones_first():
    text = "ext4 /var/lib/kubelet ext4 rw 0 0\ntmpfs /run/k3s/a/shm tmpfs rw 0 0\noverlay /run/k3s/a overlay rw 0 0\next4 / ext4 rw 0 0\nx /run/k3sx x rw 0 0\n"
    assert _k3s_removal.mounts(text) == ["/run/k3s/a/shm", "/run/k3s/a"]


def test_descendants_go_with_their_process():
    assert _k3s_removal.family({2: 1, 3: 2, 4: 3, 5: 1}, [2]) == {2, 3, 4}


SOURCE = {
    "clusters": [
        {"name": "default", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "CA"}}
    ],
    "users": [{"name": "default", "user": {"client-key-data": "KEY"}}],
    "contexts": [{"name": "default", "context": {"cluster": "default", "user": "default"}}],
}
OTHERS = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {},
    "clusters": [{"name": "other", "cluster": {"server": "https://other"}}],
    "users": [{"name": "other", "user": {"token": "x"}}],
    "contexts": [{"name": "other", "context": {"cluster": "other", "user": "other"}}],
    "current-context": "other",
    "extensions": [{"name": "kept"}],
}


def test_an_entry_comes_and_goes_beside_those_of_others():
    url = "https://192.0.2.11:6443"
    with_ours = _kubeconfig.merged(OTHERS, "prod", _kubeconfig.entry(SOURCE, "prod", url))
    assert _kubeconfig.names(with_ours) == ["other", "prod"]
    assert with_ours["current-context"] == "other"
    assert there(_kubeconfig.held(with_ours, "clusters", "prod"))["server"] == url
    assert _kubeconfig.merged(with_ours, "prod", _kubeconfig.entry(SOURCE, "prod", url)) == with_ours
    assert _kubeconfig.without(with_ours, "prod") == OTHERS


def test_another_cluster_of_the_name_is_seen(tmp_path):
    ours = _kubeconfig.merged({}, "prod", _kubeconfig.entry(SOURCE, "prod", "https://a"))
    assert not _kubeconfig.foreign(ours, "prod", "https://a")
    assert not _kubeconfig.foreign(ours, "prod", "https://b", "CA")
    assert _kubeconfig.foreign(ours, "prod", "https://b") == "https://a"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(ours), encoding="utf-8")
    options = {"kubeconfig_enabled": True, "kubeconfig": str(path), "name": "prod"}
    assert not kubeconfig_problems(options, "https://a")
    assert "found the cluster at https://a" in kubeconfig_problems(options, "https://b")[0]


def planted(root, *paths):
    for name in paths:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    return root


def test_a_host_tells_ours_from_others(tmp_path):
    ours = planted(
        tmp_path / "ours",
        "var/lib/evenkeel/k3s/node.json",
        "etc/systemd/system/k3s.service",
        "var/lib/rancher/k3s/server/db/state.db",
        "etc/rancher/k3s/config.yaml",
    )
    found = _host_facts.k3s(ours)
    assert (found["installed"], found["data"], found["foreign"]) == (True, "sqlite", [])
    theirs = planted(
        tmp_path / "theirs", "etc/systemd/system/k3s.service", "var/lib/rancher/k3s/server/db/etcd/member/x"
    )
    assert _host_facts.k3s(theirs)["foreign"] == ["k3s.service", "/var/lib/rancher/k3s/server"]
    assert _host_facts.k3s(planted(tmp_path / "rke", "etc/systemd/system/rke2-server.service"))["foreign"] == [
        "rke2-server.service"
    ]
    left = planted(tmp_path / "left", "var/lib/rancher/k3s/server/db/state.db", "var/lib/evenkeel/k3s/left.json")
    assert not _host_facts.k3s(left)["foreign"]
