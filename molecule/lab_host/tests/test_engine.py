# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of machines with Docker installed."""

from __future__ import annotations

testinfra_hosts = ["ansible://engines"]


def test_docker_runs_with_overlay(host):
    assert host.check_output("docker info --format '{{.Driver}}'") == "overlay2"


def test_loaded_image_runs_with_its_limits(host):
    answer = host.run(
        "docker run --rm --memory 32m --pids-limit 16 --read-only --cap-drop ALL --network none "
        "evenkeel-lab/debian:trixie cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    )
    assert str(32 * 1024 * 1024) in answer.stdout.split(), answer.stderr
