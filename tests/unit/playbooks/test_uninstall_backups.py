# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an uninstall leaves of backups, with folders of this test in place of those of a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: evenkeel.platform.postgres_backup, tasks_from: uninstall}
"""
# Each unit is one that runs.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>{log}
[ "$1" = show ] || exit 0
while [ "$1" != -- ]; do shift; done
shift
for unit; do printf 'Id=%s\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n\\n' "$unit"; done
"""
OURS = [
    "systemd/evenkeel-backup-shop-full.timer",
    "systemd/evenkeel-backup-shop-full.service",
    "etc/shop.json",
    "etc/shop.pgpass",
    "etc/shop-offsite.s3",
    "lib/evenkeel-backup",
    "lib/evenkeel_backup/load.py",
    "metrics/evenkeel_backup_shop.prom",
]
KEPT = [
    "systemd/haproxy.service",
    "systemd/evenkeel-retire.timer",
    "etc/shop.key",
    "etc/server/shop.conf",
    "lib/evenkeel-retire",
    "metrics/evenkeel.prom",
    "state/shop/sequence.json",
    "repository/shop/config",
]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for name in [*OURS, *KEPT]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemctl"
    program.write_text(SYSTEMCTL.format(log=tmp_path / "systemctl.log"), encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "play.yml").write_text(PLAY, encoding="utf-8")
    return tmp_path


def uninstall(host: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    repository = {"name": "local", "location": str(host / "repository" / "shop")}
    values = {
        "ansible_python_interpreter": sys.executable,
        "__postgres_backup_unit_dir": str(host / "systemd"),
        "__postgres_backup_config_dir": str(host / "etc"),
        "__postgres_backup_server_dir": str(host / "etc" / "server"),
        "__postgres_backup_lib_dir": str(host / "lib"),
        "__postgres_backup_state_dir": str(host / "state"),
        "postgres_backup_metrics_dir": str(host / "metrics"),
        "postgres_backup_instances": [
            {"name": "shop", "engine": "files", "encryption_key": "k", "repositories": [repository]}
        ],
        **options,
    }
    (host / "values.yml").write_text(yaml.safe_dump(values), encoding="utf-8")
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_NOCOLOR": "1",
        "PATH": os.pathsep.join([str(host / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    command = ["ansible-playbook", "-i", "localhost,", str(host / "play.yml"), "-e", f"@{host / 'values.yml'}", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def left(host: Path) -> set[str]:
    return {name for name in [*OURS, *KEPT] if (host / name).exists()}


def test_uninstall_leaves_keys_state_and_repositories(host: Path) -> None:
    dry = uninstall(host, "--check")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert left(host) == {*OURS, *KEPT}
    run = uninstall(host)
    assert run.returncode == 0, run.stdout + run.stderr
    assert left(host) == set(KEPT)
    asked = (host / "systemctl.log").read_text(encoding="utf-8")
    assert "evenkeel-backup-shop-full.timer" in asked
    assert "evenkeel-retire" not in asked
    again = uninstall(host)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "changed=0" in again.stdout


def test_uninstall_deletes_the_data_of_an_instance_that_was_typed(host: Path) -> None:
    run = uninstall(host, "-e", json.dumps({"postgres_backup_uninstall_data": ["shop"]}))
    assert run.returncode == 0, run.stdout + run.stderr
    assert left(host) == {name for name in KEPT if "shop" not in name}
