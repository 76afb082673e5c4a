# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every playbook parses, every inventory loads, and the playbooks for the controller work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOKS = ["site.yml", *sorted(f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml"))]
ENVIRONMENTS = sorted(path.parent.name for path in (ROOT / "inventories").glob("*/hosts.yml"))
PASSWORD = "evenkeel-example"  # as inventories/README.md says
# A rollback is not among them: users wait for it, and it changes nothing that a vault is needed for.
CHANGING = ["rebuild_records", "maintenance", "uninstall"]
CHECKED = ["site", "deploy", "contract"]
HOSTS = "edge1=192.0.2.11/edge,app1=192.0.2.21/app,data1=192.0.2.31/data+ops"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD, encoding="utf-8")
    return path


def ansible(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name(f"ansible-{program}")
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        # A lab that runs meanwhile has its facts in the other cache.
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "PATH": os.pathsep.join([str(beside.parent), os.environ["PATH"]]),
    }
    name = str(beside) if beside.exists() else beside.name
    return subprocess.run([name, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


WATCH = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: evenkeel.platform.monitoring, tasks_from: preflight}
"""


@pytest.mark.parametrize("environment", ["prod", "stage"])
def test_watching_of_the_examples_is_refused_for_nothing(environment: str, password: Path, tmp_path: Path) -> None:
    (tmp_path / "watch.yml").write_text(WATCH, encoding="utf-8")
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    words = ["-i", f"inventories/{environment}", "--vault-password-file", str(password), "-e", json.dumps(here)]
    asked = ansible("playbook", *words, str(tmp_path / "watch.yml"))
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_every_playbook_parses() -> None:
    asked = ansible("playbook", "-i", "edge1,", "--syntax-check", *PLAYBOOKS)
    assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_inventory_loads_with_the_groups_and_addresses_of_the_contract(environment: str, password: Path) -> None:
    asked = ansible("inventory", "-i", f"inventories/{environment}", "--vault-password-file", str(password), "--list")
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert found["edge"]["hosts"]
    assert found["app"]["hosts"]
    for host, variables in found["_meta"]["hostvars"].items():
        assert "platform_address" in variables, host


def test_status_of_hosts_that_are_down_names_them(tmp_path: Path) -> None:
    down = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    app = {
        "name": "shop",
        "release": "1.0",
        "hosts": ["shop.example.com"],
        "port_base": 20000,
        "services": [
            {
                "name": "api",
                "image": "registry.example.com/shop",
                "port": 8000,
                "routes": [{"path": "/"}],
                "health": {"path": "/readyz"},
                "healthcheck": ["CMD", "true"],
                "resources": {"memory": "64m", "cpus": 0.1, "pids": 32},
                "user": "10001",
            }
        ],
    }
    groups = {
        "edge": {"hosts": {f"edge{n}": {**down, "platform_address": f"192.0.2.1{n}"} for n in (1, 2)}},
        "app": {"hosts": {"app1": {**down, "platform_address": "192.0.2.21"}}},
    }
    hosts = {"all": {"children": groups, "vars": {"app_deploy_apps": [app]}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts), encoding="utf-8")
    asked = ansible("playbook", "-i", str(tmp_path / "hosts.yml"), "playbooks/status.yml")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    said = " ".join(asked.stdout.split())
    for line in (
        "edge edge1: does not answer",
        "edge edge2: does not answer",
        "record host edge1: does not answer",
        "next, start edge1 and start edge2, as no edge takes requests, and look again: ",
    ):
        assert line in said


def test_no_example_environment_shares_a_secret(password: Path) -> None:
    seen: list[str] = []
    for environment in ENVIRONMENTS:
        vault = ROOT / "inventories" / environment / "group_vars" / "all" / "vault.yml"
        if vault.exists():
            asked = ansible("vault", "view", "--vault-password-file", str(password), str(vault))
            seen += yaml.safe_load(asked.stdout).values()
    assert seen
    assert len(seen) == len(set(seen))


def new_environment(inventories: Path, *words: str) -> subprocess.CompletedProcess[str]:
    given = ["-e", "environment_name=fresh", "-e", f"environment_inventories={inventories}", "-e"]
    return ansible("playbook", "-i", "localhost,", "playbooks/new_environment.yml", *given, *words)


def test_a_new_environment_is_sealed_loads_and_is_never_overwritten(tmp_path: Path, password: Path) -> None:
    words = (f"environment_hosts={HOSTS}", "-e", f"environment_vault_password_file={password}")
    asked = new_environment(tmp_path, *words)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    vault = tmp_path / "fresh" / "group_vars" / "all" / "vault.yml"
    assert vault.read_text(encoding="utf-8").startswith("$ANSIBLE_VAULT;")
    assert vault.stat().st_mode & 0o777 == 0o600
    loaded = ansible("inventory", "-i", str(tmp_path / "fresh"), "--vault-password-file", str(password), "--list")
    variables = json.loads(loaded.stdout)["_meta"]["hostvars"]
    assert variables["app1"]["platform_address"] == "192.0.2.21"
    assert len(variables["app1"]["vault_shop_database_password"]) == 32
    assert variables["app1"]["vault_shop_database_password"] not in asked.stdout
    said = " ".join(asked.stdout.split())
    assert "set vault_alert_receiver, vault_registry_password in vault.yml with ansible-vault edit" in said
    assert f"site.yml --vault-password-file {password}" in said

    before = vault.read_bytes()
    again = new_environment(tmp_path, *words)
    assert again.returncode != 0
    assert "nothing is overwritten" in again.stdout
    assert vault.read_bytes() == before


def test_a_new_environment_is_encrypted_by_the_password_file_that_ansible_is_set_to(
    tmp_path: Path, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    asked = new_environment(tmp_path, f"environment_hosts={HOSTS}")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "run ansible-vault encrypt" not in asked.stdout
    loaded = ansible("inventory", "-i", str(tmp_path / "fresh"), "--host", "app1")
    assert len(json.loads(loaded.stdout)["vault_shop_database_password"]) == 32


def test_a_check_of_a_new_environment_writes_nothing(tmp_path: Path) -> None:
    new_environment(tmp_path, f"environment_hosts={HOSTS}", "--check")
    assert not (tmp_path / "fresh").exists()


def test_every_problem_of_a_new_environment_is_named_at_once(tmp_path: Path) -> None:
    asked = new_environment(tmp_path, "environment_hosts=edge1=192.0.2.11/web")
    assert asked.returncode != 0
    assert "need groups among edge, app, data, ops" in asked.stdout
    assert not (tmp_path / "fresh").exists()


@pytest.mark.parametrize(("name", "code"), [("prod", 2), ("lab", 0)])
def test_an_open_vault_is_refused_outside_the_lab(name: str, code: int, tmp_path: Path) -> None:
    asked = new_environment(tmp_path, f"environment_hosts={HOSTS}")
    assert asked.returncode == 0, asked.stdout
    shutil.move(tmp_path / "fresh", tmp_path / name)
    run = ansible("playbook", "-i", str(tmp_path / name), "playbooks/check_vaults.yml", "--limit", "app1")
    assert run.returncode == code, run.stdout + run.stderr
    assert ("Run ansible-vault encrypt on it." in run.stdout) == (code != 0)


@pytest.mark.parametrize("playbook", CHANGING)
def test_every_playbook_that_changes_hosts_looks_at_the_vaults_first(playbook: str) -> None:
    first = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))[0]
    assert first.get("ansible.builtin.import_playbook") == "check_vaults.yml"


@pytest.mark.parametrize("playbook", CHECKED)
def test_the_main_playbooks_begin_with_the_preflight(playbook: str) -> None:
    first = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))[0]
    assert first.get("ansible.builtin.import_playbook") == "preflight.yml"


def test_an_open_vault_is_refused_before_anything_changes(tmp_path: Path) -> None:
    asked = new_environment(tmp_path, f"environment_hosts={HOSTS}")
    assert asked.returncode == 0, asked.stdout
    # Nothing listens on port 1 of this machine: the hosts are named as unreachable beside the vault.
    here = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    run = ansible("playbook", "-i", str(tmp_path / "fresh"), "site.yml", "-e", json.dumps(here))
    assert run.returncode == 2, run.stdout + run.stderr
    assert run.stdout.count("PLAY [") == 1
    assert "ansible-vault encrypt" in run.stdout
    assert "host data1: found it unreachable" in run.stdout


def test_a_sealed_vault_is_let_through(password: Path) -> None:
    run = ansible(
        "playbook", "-i", "inventories/prod", "--vault-password-file", str(password), "playbooks/check_vaults.yml"
    )
    assert run.returncode == 0, run.stdout + run.stderr
