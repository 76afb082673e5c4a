# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checkout keeps the rules of the house, and each rule catches a violation planted for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.tests.contract import house_rules as house
from ansible_collections.evenkeel.platform.tests.contract.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
TASKS = "roles/web/tasks/install.yml"
MAIN = "roles/web/tasks/main.yml"
HANDLERS = "roles/web/handlers/main.yml"
COPY = "- ansible.builtin.copy: {dest: /etc/x, content: '{{ web_password }}', mode: '0600'}\n"
LOGGED = COPY.replace("'0600'}", "'0600'}\n  no_log: '{{ web_secure_logging }}'\n  diff: false")
FILES = (
    "- evenkeel.platform.host_files:\n    files: [{path: /etc/x, secret_content: '{{ web_password }}', mode: '0600'}]\n"
)
STAGE = "- ansible.builtin.import_tasks: install.yml\n  tags: [web, web_install]\n"
RESTART = "- name: Restart web\n  when: not ansible_check_mode\n  ansible.builtin.service: {name: web}\n"
HEADER = "\n".join(house.LICENCE) + "\n"


@pytest.fixture(scope="module")
def checkout() -> Tree:
    return Tree.of_checkout(ROOT)


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_the_checkout_keeps_the_rule(rule: house.Rule, checkout: Tree) -> None:
    found = list(rule(checkout))
    assert not found, f"{rule.__doc__}\n" + "\n".join(found)


# rule, what breaks it, what keeps it
PLANTED: list[tuple[house.Rule, dict[str, str], dict[str, str]]] = [
    (
        house.include_without_apply,
        {TASKS: "- ansible.builtin.include_tasks: {file: x.yml}\n  tags: [web]\n"},
        {TASKS: "- ansible.builtin.include_tasks: {file: x.yml, apply: {tags: [web]}}\n  tags: [web]\n"},
    ),
    (
        house.include_without_apply,
        {TASKS: "- block:\n    - ansible.builtin.include_role: {name: x}\n      tags: [web]\n"},
        {TASKS: "- tags: [web]\n  block:\n    - ansible.builtin.include_role: {name: x}\n"},
    ),
    (
        house.changed_without_reason,
        {TASKS: "- ansible.builtin.command: x\n  changed_when: true\n"},
        {TASKS: "- ansible.builtin.command: x\n  changed_when: true # it always rotates\n"},
    ),
    (
        house.changed_without_reason,
        {"playbooks/x.yml": "- ansible.builtin.command: x\n  changed_when: true\n"},
        {"playbooks/x.yml": "- ansible.builtin.command: x\n  # it always rotates\n  changed_when: true\n"},
    ),
    (
        house.unreachable_in_vain,
        {TASKS: "- ansible.builtin.ping:\n  ignore_unreachable: true\n"},
        {TASKS: "- ansible.builtin.ping:\n  ignore_unreachable: true\n  any_errors_fatal: false\n"},
    ),
    (
        house.secret_in_arguments,
        {TASKS: "- ansible.builtin.command: {argv: [psql, '{{ web_password }}']}\n"},
        {TASKS: "- ansible.builtin.command: {argv: [psql], stdin: '{{ web_password }}'}\n"},
    ),
    (
        house.secret_in_arguments,
        {"playbooks/x.yml": "- hosts: all\n  tasks:\n    - ansible.builtin.command: login {{ web_token }}\n"},
        {"playbooks/x.yml": "- hosts: all\n  tasks:\n    - ansible.builtin.command: login {{ web_token_file }}\n"},
    ),
    (house.secret_file_mode, {TASKS: COPY.replace("0600", "0644")}, {TASKS: COPY}),
    (
        house.secret_file_mode,
        {
            TASKS: "- ansible.builtin.template: {src: x.j2, dest: /etc/x, mode: '0644'}\n",
            "roles/web/templates/x.j2": "key {{ web_api_key }}\n",
        },
        {
            TASKS: "- ansible.builtin.template: {src: x.j2, dest: /etc/x, mode: '0644'}\n",
            "roles/web/templates/x.j2": "field {{ web_release_key }}\n",
        },
    ),
    (
        house.secret_file_mode,
        {TASKS: FILES.replace("0600", "0644")},
        {TASKS: FILES},
    ),
    (
        house.secret_file_mode,
        {TASKS: FILES.replace("secret_content", "content")},
        {TASKS: FILES},
    ),
    (house.secret_in_the_open, {TASKS: COPY}, {TASKS: LOGGED}),
    (house.secret_in_the_open, {TASKS: LOGGED.replace("  diff: false", "")}, {TASKS: LOGGED}),
    (
        house.secret_in_the_open,
        {TASKS: "- block:\n" + COPY.replace("- ", "    - ")},
        {TASKS: "- no_log: true\n  diff: false\n  block:\n" + COPY.replace("- ", "    - ")},
    ),
    (
        house.unguarded_act,
        {"roles/app_deploy/tasks/x.yml": "- evenkeel.platform.app_command: {app: a, state: started}\n"},
        {"roles/app_deploy/tasks/x.yml": "- evenkeel.platform.app_command: {app: a, state: started, guard: {}}\n"},
    ),
    (
        house.unguarded_act,
        {"roles/app_deploy/tasks/compose/x.yml": "- evenkeel.platform.compose_release: {name: a, state: restarted}\n"},
        {"roles/app_deploy/tasks/compose/x.yml": "- evenkeel.platform.compose_release: {name: a, state: steady}\n"},
    ),
    (
        house.unguarded_act,
        {"roles/app_deploy/tasks/x.yml": "- ansible.builtin.command: {argv: [docker, restart, a]}\n"},
        {"roles/compose_stack/tasks/x.yml": "- ansible.builtin.command: {argv: [docker, logout, a]}\n"},
    ),
    (
        house.injected_fact,
        {TASKS: "- ansible.builtin.debug: {msg: x}\n  when: ansible_os_family == 'Debian'\n"},
        {TASKS: "- ansible.builtin.debug: {msg: x}\n  when: ansible_facts['os_family'] == 'x' # ansible_os_family\n"},
    ),
    (
        house.injected_fact,
        {"roles/web/templates/x.j2": "{{ ansible_hostname }}\n"},
        {"roles/web/templates/x.j2": "{{ ansible_host }} {{ ansible_user }} {{ ansible_python_interpreter }}\n"},
    ),
    (
        house.moving_default,
        {"roles/web/defaults/main.yml": "web_home: \"{{ lookup('env', 'HOME') }}\"\n"},
        {"roles/web/defaults/main.yml": "web_home: /srv\nweb_groups: '{{ web_home }}/groups'\n"},
    ),
    (
        house.moving_default,
        {"roles/web/defaults/main.yml": "web_peers: \"{{ groups['web'] }}\"\n"},
        {"roles/web/defaults/main.yml": "web_group: web # groups[web]\n"},
    ),
    (
        house.moving_default,
        {"roles/web/defaults/main.yml": "web_name: \"{{ ansible_facts['hostname'] }}\"\n"},
        {"roles/web/defaults/main.yml": 'web_name: "{{ web_site }}"\n'},
    ),
    (
        house.always_tagged,
        {MAIN: "- ansible.builtin.import_tasks: preflight.yml\n  tags: [web, always]\n"},
        {MAIN: STAGE},
    ),
    (house.tag_names, {MAIN: STAGE.replace("web_install", "install")}, {MAIN: STAGE}),
    (house.tag_names, {MAIN: STAGE.replace("[web, ", "[")}, {MAIN: STAGE}),
    (house.tag_names, {MAIN: STAGE.replace(", web_install", "")}, {MAIN: STAGE}),
    (
        house.public_name_set,
        {TASKS: "- ansible.builtin.set_fact: {web_port: 1}\n"},
        {TASKS: "- ansible.builtin.set_fact: {__web_port: 1, cacheable: false}\n"},
    ),
    (
        house.public_name_set,
        {TASKS: "- ansible.builtin.stat: {path: /x}\n  register: web_stat\n"},
        {TASKS: "- ansible.builtin.stat: {path: /x}\n  register: __web_stat\n"},
    ),
    (house.handler_kind, {HANDLERS: RESTART.replace("Restart", "Wipe")}, {HANDLERS: RESTART}),
    (house.handler_kind, {HANDLERS: RESTART + "  register: __web_restarted\n"}, {HANDLERS: RESTART}),
    (house.handler_kind, {HANDLERS: RESTART.replace("not ansible_check_mode", "true")}, {HANDLERS: RESTART}),
    (
        house.main_is_stages,
        {MAIN: STAGE + "- ansible.builtin.package: {name: x}\n"},
        {MAIN: STAGE + "- ansible.builtin.meta: flush_handlers\n"},
    ),
    (
        house.task_name,
        {TASKS: "- name: install | The packages\n  ansible.builtin.package: {name: x}\n"},
        {TASKS: "- name: install | Install the packages\n  ansible.builtin.package: {name: x}\n"},
    ),
    (
        house.stage_prefix,
        {TASKS: "- name: Install the packages\n  ansible.builtin.package: {name: x}\n"},
        {TASKS: "- name: install | Install the packages\n  ansible.builtin.package: {name: x}\n"},
    ),
    (
        house.task_name,
        {"playbooks/x.yml": "- name: Run the web\n  hosts: all\n  tasks:\n    - name: Start it\n      meta: noop\n"},
        {"playbooks/x.yml": "- name: Run the web\n  hosts: all\n  tasks:\n    - name: Start Nginx\n      meta: noop\n"},
    ),
    (
        house.task_name,
        {MAIN: "- name: Handle what is wrong\n  block:\n    - name: Report that\n      debug: {msg: x}\n"},
        {MAIN: "- name: Refuse invalid options\n  block:\n    - name: Report the problem\n      debug: {msg: x}\n"},
    ),
    (
        house.template_header,
        {"roles/web/templates/x.conf.j2": "port 1\n"},
        {"roles/web/templates/x.conf.j2": "{{ ansible_managed | comment }}\nport 1\n"},
    ),
    (
        house.template_header,
        {"roles/web/templates/x.conf.j2": "{{ ansible_managed | comment }}\n# {{ now() }}\n"},
        {"roles/web/templates/x.json.j2": "{}\n"},
    ),
    (house.template_header, {"roles/web/templates/x.conf": "{{ ansible_managed | comment }}\n"}, {}),
    (house.machine_path, {"docs/x.md": "/ho" + "me/ann/src/x\n"}, {"docs/x.md": "/home and ~/src\n"}),
    (house.registry_host, {"docs/x.md": f"see {house.REGISTRIES[0]}\n"}, {"docs/x.md": "the package registry\n"}),
    (house.junk_drawer, {"plugins/module_utils/_common.py": ""}, {"plugins/module_utils/_lease.py": ""}),
    (house.junk_drawer, {"tests/helpers/x.py": ""}, {"tests/unit/x.py": ""}),
    (house.licence_header, {"plugins/modules/x.py": "import os\n"}, {"plugins/modules/x.py": "#!/x\n" + HEADER}),
    (
        house.exception_without_reason,
        {"plugins/modules/x.py": "x = 1  # no" + "qa: E501\n"},
        {"plugins/modules/x.py": "# it comes first\nx = 1\n\ny = 1  # no" + "qa: E402\nz = 2  # no" + "qa: E402\n"},
    ),
    (
        house.skip_list,
        {".ansible-lint": "skip_list: [yaml]\n"},
        {".ansible-lint": "skip_list: ['name[casing]']\n", "tests/sanity/ignore-2.21.txt": ""},
    ),
    (house.skip_list, {"tests/sanity/ignore-2.21.txt": "x.py pep8\n"}, {}),
    (
        house.unsealed_vault,
        {"inventories/prod/group_vars/all/vault.yml": "x: 1\n"},
        {
            "inventories/prod/group_vars/all/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n61\n",
            "inventories/lab/group_vars/all/vault.yml": "x: 1\n",
        },
    ),
]


@pytest.mark.parametrize(
    ("rule", "broken", "kept"), PLANTED, ids=[f"{row[0].__name__}-{number}" for number, row in enumerate(PLANTED)]
)
def test_a_planted_violation_is_caught(
    rule: house.Rule, broken: dict[str, str], kept: dict[str, str], tmp_path: Path
) -> None:
    assert list(rule(Tree.planted(tmp_path / "broken", broken))), "the planted violation went unseen"
    assert not list(rule(Tree.planted(tmp_path / "kept", kept))), "the rule refuses what keeps it"


def test_every_rule_has_a_planted_violation() -> None:
    assert {row[0] for row in PLANTED} == set(house.RULES)
