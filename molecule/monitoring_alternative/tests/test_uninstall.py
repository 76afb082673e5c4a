# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left when it is taken away: the data, and nothing else. Runs last."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

testinfra_hosts = ["ansible://all"]

HERE = Path(__file__).resolve().parent.parent


def test_agent_that_is_switched_off_goes(host, ansible):
    argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--tags", "monitoring_agent"]
    for _again in range(2):
        done = ansible(*argv, "--extra-vars", '{"monitoring_agent_enabled": false}', str(HERE / "converge.yml"))
        assert done.rc == 0, done.output
    assert "changed: " not in done.raw
    assert not host.file("/etc/systemd/system/otelcol.service").exists
    assert not host.user("evenkeel-agent").exists
    assert host.check_output("ss -Hltn 'sport = :8888'") == ""


def test_nothing_is_left_but_the_data(host):
    argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(HERE / "uninstall.yml")]
    for _again in range(2):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for path in (
        "/opt/evenkeel/monitoring",
        "/etc/systemd/system/otelcol.service",
        "/etc/systemd/system/evenkeel-metrics.timer",
        "/usr/local/lib/evenkeel/otelcol",
        "/usr/local/lib/evenkeel/evenkeel-metrics",
        "/var/lib/evenkeel-agent",
        "/var/lib/prometheus/node-exporter/evenkeel.prom",
        "/var/lib/prometheus/node-exporter/evenkeel_volumes.prom",
    ):
        assert not host.file(path).exists, path
    assert not host.user("evenkeel-agent").exists
    for port in (4317, 8888, 9090, 9093, 9100, 9428):
        assert host.check_output(f"ss -Hltn 'sport = :{port}'") == "", port
    if host.exists("docker"):
        assert host.check_output("docker ps --all --quiet --filter label=com.docker.compose.project") == ""
        assert "monitoring_prometheus" in host.check_output("docker volume ls -q")
