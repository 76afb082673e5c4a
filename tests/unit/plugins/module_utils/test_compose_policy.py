# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every rule of a stack: one definition that keeps it, and each way to break it."""

from __future__ import annotations

import copy

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy as policy

SOUND = {
    "image": "registry.example.com/shop/app:1.0",
    "user": "10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "mem_limit": "67108864",
    "cpus": 0.5,
    "pids_limit": 50,
    "restart": "unless-stopped",
    "logging": {"driver": "local", "options": {"max-size": "10m"}},
    "healthcheck": {"test": ["CMD", "true"]},
    "environment": {"MODE": "production", "DATABASE_PASSWORD_FILE": "/run/secrets/database_password", "TOKEN": ""},
    "volumes": [
        {"type": "volume", "source": "data", "target": "/data"},
        {"type": "bind", "source": "/etc/app/app.conf", "target": "/app.conf"},
    ],
    "ports": [{"host_ip": "192.0.2.1", "published": "20000", "target": 8000}],
}
MISSING = object()


def rules(changes, image=None):
    service = copy.deepcopy(SOUND)
    for key, value in changes.items():
        if value is MISSING:
            del service[key]
        else:
            service[key] = value
    images = None if image is None else {"web": image}
    return [finding.rule for finding in policy.lint({"web": service}, images)]


def bind(source):
    return {"volumes": [{"type": "bind", "source": source, "target": "/x"}]}


def limits(**values):
    return {"deploy": {"resources": {"limits": values}}, "mem_limit": MISSING, "cpus": MISSING, "pids_limit": MISSING}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        pytest.param({}, [], id="sound"),
        pytest.param({"image": "a/b"}, ["image-tag"], id="no-tag"),
        pytest.param({"image": "localhost:5000/b"}, ["image-tag"], id="port-is-no-tag"),
        pytest.param({"image": "a/b:latest"}, ["image-tag"], id="latest"),
        pytest.param({"image": "a/b@sha256:" + "0" * 64}, [], id="digest-needs-no-tag"),
        pytest.param({"privileged": True}, ["privileged"], id="privileged"),
        pytest.param({"network_mode": "host"}, ["host-network"], id="host-network"),
        pytest.param({"network_mode": "service:other"}, [], id="network-of-a-service"),
        pytest.param({"pid": "host"}, ["host-pid"], id="host-pid"),
        pytest.param({"ipc": "host"}, ["host-ipc"], id="host-ipc"),
        pytest.param({"uts": "host"}, ["host-uts"], id="host-uts"),
        pytest.param({"userns_mode": "host"}, ["host-userns"], id="host-userns"),
        pytest.param({"devices": ["/dev/kvm:/dev/kvm:rwm"]}, ["device"], id="device"),
        pytest.param({"devices": [{"source": "/dev/kvm"}]}, ["device"], id="device-of-newer-compose"),
        pytest.param({"cap_drop": MISSING}, ["cap-drop"], id="no-cap-drop"),
        pytest.param({"cap_drop": ["NET_RAW"]}, ["cap-drop"], id="one-dropped"),
        pytest.param({"cap_drop": ["all"]}, [], id="lower-case-all"),
        pytest.param({"cap_add": ["CHOWN", "CAP_SETUID"]}, [], id="harmless-capabilities"),
        pytest.param({"cap_add": ["CHOWN", "SYS_ADMIN"]}, ["cap-add"], id="sys-admin"),
        pytest.param({"security_opt": MISSING}, ["no-new-privileges"], id="no-security-opt"),
        pytest.param({"security_opt": ["no-new-privileges:false"]}, ["no-new-privileges"], id="new-privileges"),
        pytest.param({"security_opt": ["no-new-privileges=true"]}, [], id="written-with-equals"),
        pytest.param(
            {"security_opt": ["no-new-privileges:true", "seccomp=unconfined"]}, ["security-opt"], id="no-seccomp"
        ),
        pytest.param(bind("/var/run/docker.sock"), ["docker-socket"], id="socket"),
        pytest.param(bind("/run/docker.sock"), ["docker-socket"], id="socket-of-run"),
        pytest.param(bind("/var/run"), ["docker-socket"], id="folder-of-the-socket"),
        pytest.param(bind("/"), ["system-mount"], id="root"),
        pytest.param(bind("/etc"), ["system-mount"], id="etc"),
        pytest.param(bind("/proc/sys"), ["system-mount"], id="below-proc"),
        pytest.param(bind("/srv/data"), [], id="srv"),
        pytest.param({"user": MISSING}, ["root-user"], id="no-user"),
        pytest.param({"user": "0:10"}, ["root-user"], id="uid-0"),
        pytest.param({"user": "root"}, ["root-user"], id="root-by-name"),
        pytest.param({"read_only": MISSING}, ["read-only"], id="writable"),
        pytest.param({"mem_limit": MISSING}, ["memory-limit"], id="no-memory"),
        pytest.param({"cpus": 0}, ["cpu-limit"], id="no-cpu"),
        pytest.param({"pids_limit": -1}, ["pids-limit"], id="pids-without-end"),
        pytest.param(limits(memory="1", cpus="0.5", pids=5), [], id="limits-of-deploy"),
        pytest.param(limits(memory="1"), ["cpu-limit", "pids-limit"], id="one-limit-of-deploy"),
        pytest.param({"healthcheck": MISSING}, ["healthcheck"], id="no-healthcheck"),
        pytest.param({"healthcheck": {"disable": True}}, ["healthcheck"], id="healthcheck-disabled"),
        pytest.param({"healthcheck": {"test": ["NONE"]}}, ["healthcheck"], id="healthcheck-none"),
        pytest.param({"restart": MISSING}, ["restart"], id="no-restart"),
        pytest.param({"restart": "always"}, ["restart"], id="always-revives-what-was-stopped"),
        pytest.param({"restart": "on-failure:5"}, [], id="on-failure"),
        pytest.param({"logging": MISSING}, ["log-options"], id="no-logging"),
        pytest.param({"logging": {"driver": "json-file"}}, ["log-options"], id="log-without-end"),
        pytest.param({"logging": {"driver": "journald"}}, [], id="journal-limits-itself"),
        pytest.param({"ports": [{"published": "80", "target": 80}]}, ["open-port"], id="port-on-every-address"),
        pytest.param({"ports": [{"host_ip": "::", "target": 80}]}, ["open-port"], id="port-on-every-v6-address"),
        pytest.param({"volumes": [{"type": "volume", "target": "/x"}]}, ["anonymous-volume"], id="nameless-volume"),
        pytest.param({"environment": {"DB_PASSWORD": "x"}}, ["environment-secret"], id="password-in-environment"),
        pytest.param({"environment": {"API_TOKEN": None}}, [], id="token-passed-through"),
    ],
)
def test_rules(changes, found):
    assert rules(changes) == found


@pytest.mark.parametrize(
    ("changes", "image", "found"),
    [
        pytest.param({"user": MISSING}, {"user": "10001"}, [], id="user-of-the-image"),
        pytest.param({"user": MISSING}, {"user": ""}, ["root-user"], id="image-of-root"),
        pytest.param({"healthcheck": MISSING}, {"healthcheck": True}, [], id="healthcheck-of-the-image"),
        pytest.param({}, {"volumes": ["/data"]}, [], id="declared-volume-is-mounted"),
        pytest.param({}, {"volumes": ["/cache"]}, ["anonymous-volume"], id="declared-volume-is-not-mounted"),
        pytest.param({"tmpfs": ["/cache:size=1m"]}, {"volumes": ["/cache"]}, [], id="declared-volume-is-tmpfs"),
        pytest.param({}, {"local": True}, ["local-image"], id="built-here"),
    ],
)
def test_rules_that_know_the_image(changes, image, found):
    assert rules(changes, image) == found


def test_sentence_names_service_rule_and_way_out():
    [finding] = policy.lint({"web": {**SOUND, "privileged": True}})
    assert finding.sentence("shop") == (
        "compose_release: privileged on service web of stack shop: found privileged: true, need no privileged "
        "container. Set it, or waive rule privileged for this service with a reason."
    )


def test_environment_secret_is_named_without_its_value():
    [finding] = policy.lint({"web": {**SOUND, "environment": {"DB_PASSWORD": "canary-value"}}})
    assert "DB_PASSWORD" in finding.sentence("shop")
    assert "canary-value" not in finding.sentence("shop")


def test_waiver_covers_its_service_and_rule_only():
    bare = {"image": "a/b:1"}
    findings = policy.lint({"one": bare, "two": bare})
    left = policy.unwaived(
        findings,
        [
            {"service": "one", "rule": "read-only", "reason": "x"},
            {"service": "*", "rule": "cap-drop", "reason": "x"},
        ],
    )
    assert ("one", "read-only") not in {(finding.service, finding.rule) for finding in left}
    assert ("two", "read-only") in {(finding.service, finding.rule) for finding in left}
    assert "cap-drop" not in {finding.rule for finding in left}


@pytest.mark.parametrize(
    ("waiver", "words"),
    [
        ({"service": "web", "rule": "readonly", "reason": "x"}, "need read-only"),
        ({"service": "wbe", "rule": "read-only", "reason": "x"}, "found wbe, need * or web"),
        ({"service": "web", "rule": "read-only", "reason": " "}, "reason on waiver of read-only"),
    ],
    ids=["rule", "service", "reason"],
)
def test_waiver_that_cannot_be_meant_is_named(waiver, words):
    [problem] = policy.waiver_problems([waiver], ["web"], "shop")
    assert words in problem


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ({}, "services on stack shop"),
        ({"services": {"web": {}}}, "image on service web"),
        ({"services": {"web": {"image": "a:1", "build": "."}}}, "build on service web"),
        ({"services": {"web": {"image": "a:1", "env_file": "x"}}}, "env_file on service web"),
        ({"services": {"web": {"image": "a:1", "secrets": ["x"]}}}, "secrets on service web"),
        ({"services": {"web": {"image": "a:1"}}, "secrets": {"x": {"file": "y"}}}, "secrets on stack shop"),
    ],
    ids=["empty", "no-image", "build", "env-file", "service-secrets", "top-secrets"],
)
def test_what_a_stack_cannot_have(definition, words):
    [problem] = policy.unsupported(definition, "shop")
    assert words in problem
