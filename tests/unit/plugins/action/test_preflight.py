# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host could not tell is put in a few words, and two sentences about one thing are told apart from two things."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.action import preflight, preflight_facts

SSH = 'Data could not be sent to remote host "192.0.2.21". Make sure this host can be reached over ssh: '


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"msg": SSH + "ssh: connect to host 192.0.2.21 port 22: Connection refused\n"}, "connect to host 192.0.2.21"),
        ({"msg": "MODULE FAILURE: see stderr", "module_stderr": "sh: 1: python3: not found\n"}, "python3: not found"),
        ({"msg": "MODULE FAILURE", "module_stdout": "sh: python3: not found\r\n"}, "python3: not found"),
        ({"msg": "Missing sudo password."}, "Missing sudo password"),
        ({}, "no answer"),
    ],
)
def test_the_reason_is_one_line(answer, words):
    found = preflight_facts.reason(answer)
    assert words in found
    assert "\n" not in found
    assert not found.endswith(".")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("kind of service shop/bot", "kind of service bot of app shop", True),
        ("kind of service shop/bot", "image of service bot of app shop", False),
        ("kind of service shop/bot", "kind of service bot of app store", False),
    ],
)
def test_two_ways_to_name_one_thing_are_one_subject(one, other, same):
    first, second = (f"app_deploy: {text}: found x, need y. Set z." for text in (one, other))
    assert (preflight._subject(first) == preflight._subject(second)) == same


def test_options_of_the_play_count_for_every_host():
    raw = {"app_deploy_apps": [{"name": "shop"}], "app_deploy_release": "", "edge_out": "edge2"}
    task = {**raw, "app_deploy_release": "{{ release }}", "monitoring_receivers": [], "release": "1.1"}
    assert preflight.play_variables(task, raw) == {"app_deploy_release": "{{ release }}", "monitoring_receivers": []}
    assert preflight.play_variables(raw, raw) == {}


def test_the_vault_is_that_of_the_inventory(tmp_path: Path) -> None:
    assert preflight._vault([str(tmp_path)]) == str(tmp_path / "group_vars/all/vault.yml")
    vault = tmp_path / "group_vars" / "data" / "vault.yml"
    vault.parent.mkdir(parents=True)
    vault.write_text("", encoding="utf-8")
    (tmp_path / "hosts.yml").write_text("", encoding="utf-8")
    assert preflight._vault(["edge1,", str(tmp_path / "hosts.yml")]) == str(vault)
