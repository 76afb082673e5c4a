# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a host as preflight reads it, and paths that follow the engine's data folder."""

from __future__ import annotations

import importlib.util
import os
import socket
from pathlib import Path

import jinja2
import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
SPEC = importlib.util.spec_from_file_location("docker_host_probe", ROLES / "docker_host/files/probe.py")
assert SPEC is not None
assert SPEC.loader is not None
probe = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(probe)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_listening_port_is_reported_with_its_program(family):
    address = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        found = [entry for entry in probe.listening() if entry["port"] == port and entry["protocol"] == "tcp"]
    program = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert found == [
        {"protocol": "tcp", "address": address, "port": port, "pid": os.getpid(), "program": program},
    ]


@pytest.mark.parametrize(
    ("conf", "program", "expected"),
    [("ENABLED=yes\n", True, ["ufw"]), ("ENABLED=no\n", True, []), ("ENABLED=yes\n", False, []), (None, True, [])],
)
def test_ufw_counts_only_if_it_is_switched_on(monkeypatch, conf, program, expected):
    monkeypatch.setattr(probe, "read", lambda path: conf if str(path) == "/etc/ufw/ufw.conf" else None)
    monkeypatch.setattr(probe, "unit", lambda _name: {"active": False})
    monkeypatch.setattr(probe.Path, "exists", lambda _path: program)
    assert probe.firewalls() == expected


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({}, "/var/lib/docker"),
        ({"docker_host_daemon": {"debug": True}}, "/var/lib/docker"),
        ({"docker_host_daemon": {"data_root": "/srv/docker"}}, "/srv/docker"),
    ],
)
def test_log_agent_reads_below_the_engine_s_data_folder(variables, folder):
    defaults = yaml.safe_load((ROLES / "monitoring/defaults/main.yml").read_text(encoding="utf-8"))
    environment = jinja2.Environment(undefined=jinja2.ChainableUndefined)
    paths = [environment.from_string(path).render(variables) for path in defaults["monitoring_agent_container_logs"]]
    assert paths == [f"{folder}/containers/*/*-json.log"]
