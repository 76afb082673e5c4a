# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One preflight names everything that is wrong with an inventory and its hosts, and nothing runs after it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import NO_FACTS

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "evenkeel-example"  # as inventories/README.md says
Facts = dict[str, Any]


def program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


class Copy:
    """A copy of an environment whose hosts answer as they are told to, without one packet sent."""

    def __init__(self, folder: Path, environment: str, source: Path = ROOT / "inventories") -> None:
        self.folder, self.place = folder, folder / environment
        shutil.copytree(source / environment, self.place)
        self.password = folder / "password"
        self.password.write_text(PASSWORD, encoding="utf-8")
        self.inventory = yaml.safe_load((self.place / "hosts.yml").read_text(encoding="utf-8"))
        self.hosts: dict[str, dict[str, Any]] = {}
        self._collect(self.inventory)
        self.facts: dict[str, Facts] = {
            name: {
                **NO_FACTS,
                "memory_bytes": 16 * 1024**3,
                "addresses": [variables["platform_address"]],
                "disks": {"/var/lib/docker": {"free_bytes": 10**11, "size_bytes": 10**11}},
            }
            for name, variables in self.hosts.items()
        }

    def _collect(self, group: Any) -> None:
        if isinstance(group, dict):
            for key, value in group.items():
                if key == "hosts":
                    for name in value:
                        self.hosts.setdefault(name, {}).update(value[name] or {})
                        value[name] = self.hosts[name]
                else:
                    self._collect(value)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        path = self.place / "group_vars" / file
        before = path.read_text(encoding="utf-8")
        assert change(before) != before, f"{file} does not hold what the test changes"
        path.write_text(change(before), encoding="utf-8")

    def open_vault(self) -> Path:
        vault = self.place / "group_vars" / "all" / "vault.yml"
        command = [program("ansible-vault"), "decrypt", "--vault-password-file", str(self.password), str(vault)]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        return vault

    def unreachable(self, host: str) -> None:
        # Nothing listens on port 1 of this machine, so the answer is a refusal and comes at once.
        self.hosts[host].update(ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)

    def run(self, playbook: str, *words: str) -> tuple[int, list[str], str]:
        """Return the exit code, the problems, and all that was printed."""
        for name, variables in self.hosts.items():
            answer = self.folder / f"{name}.json"
            answer.write_text(json.dumps({"changed": False, "host": self.facts[name]}), encoding="utf-8")
            # It stands in for Python: whatever module is sent, the facts are its answer.
            python = self.folder / f"python-{name}"
            python.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {answer}\n", encoding="utf-8")
            python.chmod(0o755)
            variables.setdefault("ansible_connection", "local")
            variables.update(ansible_python_interpreter=str(python), ansible_become=False)
        (self.place / "hosts.yml").write_text(yaml.safe_dump(self.inventory), encoding="utf-8")
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_CACHE_PLUGIN": "memory",
        }
        command = [program("ansible-playbook"), "-i", str(self.place), "--vault-password-file", str(self.password)]
        run = subprocess.run(
            [*command, playbook, *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        shown = run.stdout + run.stderr
        found = [line for line in shown.splitlines() if "FAILED! => " in line]
        problems = json.loads(found[0].partition("FAILED! => ")[2]).get("problems", []) if found else []
        return run.returncode, problems, shown


@pytest.fixture
def prod(tmp_path: Path) -> Copy:
    return Copy(tmp_path, "prod")


@pytest.mark.parametrize("environment", ["dev", "qa", "stage", "prod"])
def test_the_examples_are_refused_for_nothing(environment: str, tmp_path: Path) -> None:
    code, problems, shown = Copy(tmp_path, environment).run("playbooks/preflight.yml", "-v")
    assert code == 0, problems or shown
    assert "haproxy -c, once HAProxy is installed" in shown


def written(folder: Path, hosts: str, **options: Any) -> None:
    """Have new_environment write an environment named fresh."""
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    values = {
        "environment_name": "fresh",
        "environment_inventories": str(folder),
        "environment_vault_password_file": str(folder / "password"),
        "environment_hosts": hosts,
        **options,
    }
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CACHE_PLUGIN": "memory"}
    command = [program("ansible-playbook"), "-i", "localhost,", "playbooks/new_environment.yml", "-e"]
    subprocess.run([*command, json.dumps(values)], check=True, capture_output=True, cwd=ROOT, env=env)


GIVEN = {"vault_registry_password": "r", "vault_alert_receiver": "https://hooks.example.com/r"}
ONE = "one=192.0.2.11/edge+app+data+ops"
THREE = "edge1=192.0.2.11/edge,app1=192.0.2.21/app,data1=192.0.2.31/data,ops1=192.0.2.41/ops"


@pytest.mark.parametrize(
    ("hosts", "options"),
    [
        (ONE, {"environment_public_name": "shop.example.com"}),
        (
            THREE,
            {
                "environment_store": "s3:https://store.example.com/backup/shop",
                "environment_secrets": {**GIVEN, "vault_shop_store_secret": "s"},
            },
        ),
    ],
    ids=["one host", "four hosts and a store"],
)
def test_a_new_environment_is_refused_for_nothing(hosts: str, options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    written(tmp_path / "new", hosts, **{"environment_secrets": GIVEN, **options})
    code, problems, shown = Copy(tmp_path, "fresh", tmp_path / "new").run("playbooks/preflight.yml")
    assert code == 0, problems or shown


def test_a_secret_that_others_give_is_named_with_what_sets_it(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    written(tmp_path / "new", ONE)
    code, problems, _shown = Copy(tmp_path, "fresh", tmp_path / "new").run("playbooks/preflight.yml")
    assert code != 0
    assert len(problems) == 2, problems
    for name in ("vault_alert_receiver", "vault_registry_password"):
        assert any(name in problem and "ansible-vault edit" in problem for problem in problems), problems


def replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new, 1)


def test_ten_planted_problems_are_named_at_once_and_nothing_else_runs(prod: Copy) -> None:
    vault = prod.open_vault()
    lines = vault.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith("vault_shop_redis_password")]
    vault.write_text("\n".join(kept) + "\n", encoding="utf-8")
    prod.unreachable("app2")
    prod.hosts["ops1"]["platform_address"] = prod.hosts["app3"]["platform_address"]
    prod.facts["ops1"]["addresses"] = prod.facts["app3"]["addresses"]
    prod.facts["edge1"]["listening"] = [
        {"protocol": "tcp", "address": "0.0.0.0", "port": 80, "program": "nginx", "pid": 812}
    ]
    prod.facts["data2"]["firewalls"] = ["ufw"]
    prod.facts["app1"]["refused_calendars"] = {"*-*-* 33:00:00": "Invalid argument"}
    prod.edit("all/shop.yml", replaced('schedule: "*-*-* 03:00:00"', 'schedule: "*-*-* 33:00:00"'))
    prod.edit("all/shop.yml", replaced("kind: singleton", "kind: singelton"))
    prod.edit("all/main.yml", replaced("edge_internal_ranges:", "edge_htpps_port: 444\nedge_internal_ranges:"))
    prod.edit("data/shop_data.yml", replaced("mem_limit: 512m", "privileged: true\n          mem_limit: 512m"))

    code, problems, shown = prod.run("site.yml")

    wanted = [
        "inventory: vault ",
        "preflight: host app2: found it unreachable (",
        "preflight: platform_address of hosts app3, ops1: found 203.0.113.23 on each",
        "compose_stack: variable vault_shop_redis_password: found none, need it for ",
        "edge: unknown option on edge_htpps_port: found edge_htpps_port, need edge_https_port.",
        "preflight: port 80 of host edge1: found nginx (pid 812) listening on it",
        "preflight: schedule of service report of app shop: found '*-*-* 33:00:00'",
        "docker_host: firewall of data2: found ufw switched on",
        "app_deploy: kind of service shop/bot: found singelton, need one of web, worker, singleton, scheduled.",
        "compose_release: privileged on service redis of stack shop-data: found privileged: true",
    ]
    for start in wanted:
        assert [one for one in problems if one.startswith(start)], f"{start} is not in:\n" + "\n".join(
            problems or [shown]
        )
    assert len(problems) == len(wanted), "\n".join(problems)
    assert code == 2
    assert shown.count("PLAY [") == 1
    assert shown.count("TASK [") == 2
    assert "UNREACHABLE" not in shown
    # The file and the line of what the inventory holds.
    assert f"{prod.place}/group_vars/all/main.yml:" in next(one for one in problems if "htpps" in one)
    missing = next(one for one in problems if "vault_shop_redis_password" in one)
    assert "secret redis_password of service api of app shop" in missing
    assert f"Run ansible-vault edit {vault} and set vault_shop_redis_password." in missing


def test_a_run_without_edges_and_app_hosts_may_be_limited(prod: Copy) -> None:
    code, problems, shown = prod.run("playbooks/preflight.yml", "--limit", "data1")
    assert code == 0, problems or shown


LIMITED = """
- hosts: edge
  gather_facts: false
  tasks:
    - evenkeel.platform.preflight: {scope: hosts}
      run_once: true
"""


@pytest.mark.parametrize(("limit", "refused"), [("edge1,app", True), ("edge:app", False)])
def test_one_task_refuses_such_a_limit_in_a_play_for_edges(prod: Copy, limit: str, refused: bool) -> None:
    playbook = prod.folder / "limited.yml"
    playbook.write_text(LIMITED, encoding="utf-8")
    code, problems, shown = prod.run(str(playbook), "--limit", limit)
    assert (code != 0) == refused, shown
    assert len(problems) == refused


@pytest.mark.parametrize("playbook", ["rollback", "maintenance"])
def test_what_users_wait_for_refuses_such_a_limit_first(prod: Copy, playbook: str) -> None:
    code, problems, shown = prod.run(f"playbooks/{playbook}.yml", "--check", "--limit", "edge1,app")
    assert code == 2, shown
    assert len(problems) == 1, shown
    assert "need also edge2" in problems[0]
    assert "skipped=0" in shown
    assert shown.count("TASK [") == (1 if playbook == "rollback" else 3)


def test_what_the_play_sets_is_checked(prod: Copy) -> None:
    playbook = prod.folder / "chosen.yml"
    tasks = yaml.safe_load((ROOT / "playbooks" / "preflight.yml").read_text(encoding="utf-8"))[0]["tasks"]
    play = {"hosts": "all", "gather_facts": False, "vars": {"app_deploy_release": "{{ release }}"}, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    code, problems, shown = prod.run(str(playbook), "-e", "release=latest")
    assert code == 2, shown
    assert problems == ["app_deploy: release: found latest, need a fixed tag. Set release to the tag to deploy."]


def test_the_words_of_a_deploy_are_checked(prod: Copy) -> None:
    prod.edit("all/shop.yml", replaced("{{ vault_shop_database_password }}", "{{ vault_shop_databse_password }}"))
    code, problems, shown = prod.run("playbooks/deploy.yml", "-e", "app=shop", "-e", "release=1.x/y")
    assert code == 2, shown
    assert [one for one in problems if one.startswith("app_deploy: release of app shop: found 1.x/y, need a tag")]
    secret = [one for one in problems if "database_password of service shop/" in one]
    assert "found no value, as variable vault_shop_databse_password is not defined" in secret[0]
    assert "ansible-vault encrypt_string --stdin-name vault_shop_databse_password." in secret[0]
    assert len(problems) == 1 + len(secret), "\n".join(problems)


def test_an_edge_declared_out_need_not_answer(prod: Copy) -> None:
    prod.unreachable("edge2")
    assert prod.run("playbooks/preflight.yml")[0] == 2
    code, problems, shown = prod.run("playbooks/preflight.yml", "-e", "edge_out=edge2")
    assert code == 0, problems or shown


EVERYTHING = ["site", "deploy", "contract", "rollback", "maintenance", "unlock", "status", "rebuild_records"]
ON_ANY_HOST = ["uninstall", "backup", "drill", "restore", "test_alert", "check_vaults", "preflight"]


@pytest.mark.parametrize("playbook", [*EVERYTHING, *ON_ANY_HOST])
def test_an_inventory_without_hosts_is_no_success(playbook: str, prod: Copy) -> None:
    prod.inventory, prod.hosts = {"all": {"hosts": {}}}, {}
    code, problems, shown = prod.run(f"playbooks/{playbook}.yml", "-e", "app=shop")
    assert code == 2, shown
    assert len(problems) == 1, shown
    assert problems[0].startswith(f"inventory: hosts of {prod.place}: found none, need some")
    assert shown.count("PLAY [") == 1


@pytest.mark.parametrize(
    ("playbook", "groups"),
    [
        ("deploy", "groups edge (app_deploy_edge_group) and app (app_deploy_app_group)"),
        ("rollback", "groups edge (app_deploy_edge_group) and app (app_deploy_app_group)"),
        ("status", "group edge (app_deploy_edge_group)"),
        ("test_alert", "group ops"),
    ],
)
def test_the_groups_without_a_host_are_named(playbook: str, groups: str, prod: Copy) -> None:
    prod.inventory = {"web": {"hosts": {"web1": {}}}}
    prod.hosts = {}
    code, problems, shown = prod.run(f"playbooks/{playbook}.yml", "-e", "app=shop", "-e", "release=1.1")
    assert code == 2, shown
    assert len(problems) == 1, shown
    assert problems[0].startswith(f"inventory: {groups} of {prod.place}: found no host, need at least one")


def test_hosts_without_a_role_are_no_success(prod: Copy) -> None:
    prod.inventory = {"web": {"hosts": {"web1": {"platform_address": "192.0.2.9"}}}}
    prod.hosts = {"web1": prod.inventory["web"]["hosts"]["web1"]}
    prod.facts["web1"] = prod.facts["edge1"]
    vault = prod.place / "group_vars"
    shutil.rmtree(vault)
    code, problems, shown = prod.run("playbooks/preflight.yml")
    assert code == 2, shown
    assert [one for one in problems if one.startswith(f"inventory: groups of {prod.place}: found no host in ")], shown


def test_what_was_mistyped_is_named_as_it_was_typed(prod: Copy) -> None:
    words = ["-e", "app=shop", "-e", "relese=3.1", "-e", "wait=abc", "-e", "edge_out=edge9"]
    code, problems, shown = prod.run("playbooks/deploy.yml", *words)
    assert code == 2, shown
    assert len(problems) == 3, shown
    assert problems[0].startswith(
        "preflight: unknown option relese: found -e relese=, need one of app, command, edge_out, "
    )
    assert problems[0].endswith("did you mean release? Type -e release=3.1.")
    assert problems[1] == "preflight: option wait: found abc, need a whole number of seconds. Type -e wait=300."
    assert problems[2] == "app_deploy: edge_out: found edge9, need one of edge1, edge2. Set edge_out to an edge."


def test_a_name_that_the_inventory_uses_is_no_misspelt_option(prod: Copy) -> None:
    prod.edit("all/main.yml", lambda text: text + 'shop_banner: "{{ reasons | default(1) }}"\n')
    code, problems, shown = prod.run("playbooks/deploy.yml", "--tags", "none", "-e", "app=shop", "-e", "reasons=x")
    assert problems == [], shown
    assert code == 0, shown


def test_a_maintenance_that_is_neither_on_nor_off_is_one_sentence(prod: Copy) -> None:
    code, problems, shown = prod.run("playbooks/maintenance.yml", "-e", "enabled=maybe")
    assert code == 2, shown
    assert problems == ["preflight: option enabled: found maybe, need true or false. Type -e enabled=false."]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["uninstall_platform=live"],
            "uninstall: uninstall_platform: found live, need prod, the name of the inventory.",
        ),
        ([], "uninstall: what to remove: found neither an app nor the platform, need one of them."),
        (
            ["uninstall_app=a", "uninstall_platform=prod"],
            "found uninstall_app and uninstall_platform, need one of them.",
        ),
    ],
)
def test_an_uninstall_says_which_word_is_wrong(words: list[str], sentence: str, prod: Copy) -> None:
    code, _problems, shown = prod.run("playbooks/uninstall.yml", *(part for word in words for part in ("-e", word)))
    assert code == 2, shown
    assert sentence in shown


def test_a_public_name_of_another_inventory_is_refused(prod: Copy) -> None:
    name = "shop.example"
    prod.edit("all/shop.yml", replaced('hosts: ["{{ shop_public_name }}"]', f"hosts: [{name}]"))
    prod.facts["edge2"]["public_names"] = {"shop": [name], "blog": [name]}
    code, problems, shown = prod.run("playbooks/preflight.yml", "-e", "app=shop")
    assert code == 2, shown
    assert len(problems) == 1, shown
    assert problems[0].startswith(f"app_deploy: public name {name} of app shop: found it routed for app blog, ")
    assert "on edge2, need one owner" in problems[0]


def test_a_deploy_asks_its_own_hosts_only(prod: Copy) -> None:
    prod.unreachable("ops1")
    code, problems, shown = prod.run("playbooks/deploy.yml", "--check", "--limit", "edge1:app")
    assert code == 2
    assert len(problems) == 1, shown
    assert problems[0].startswith("app_deploy: hosts of this run: found app1, app2, app3, edge1, need also edge2")
