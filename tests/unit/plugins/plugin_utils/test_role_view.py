# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options are read as the role would see them; what is missing is named with its place and hides nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.evenkeel.platform.plugins.plugin_utils import _role_view
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import UNKNOWN, RoleFiles, RoleView

INVENTORY = """
shop_secrets:
  - {name: database, value: "{{ vault_database }}"}
  - {name: cache, value: "{{ vault_cache }}"}
app_deploy_keep_releases: 7
app_deploy_owner: "{{ 'ann' | upper }}"
app_deploy_apps:
  - name: shop
    release: "1.0"
    services:
      - name: api
        secrets: "{{ shop_secrets }}"
        port: "{{ 8000 | int }}"
      - name: web
        env: "{{ {'A': one} | combine({'B': other, 'C': name_of}) }}"
        port: 8080
"""


def loaded(folder: Path, text: str) -> Any:
    path = folder / "vars.yml"
    path.write_text(text, encoding="utf-8")
    return DataLoader().load_from_file(str(path), trusted_as_template=True)


@pytest.fixture
def view(tmp_path: Path) -> RoleView:
    raw = {"vault_cache": "c", "name_of": "x", **loaded(tmp_path, INVENTORY)}
    return RoleView(RoleFiles(DataLoader()), "app_deploy", raw, {})


def test_options_have_defaults_and_templates_filled_in(view: RoleView) -> None:
    assert view.options["app_deploy_keep_releases"] == 7
    assert view.options["app_deploy_owner"] == "ANN"
    assert view.options["app_deploy_edge_group"] == "edge"
    assert view.options.get("app_deploy_nothing", "otherwise") == "otherwise"
    assert not view.missing


def test_a_missing_variable_hides_no_other_value(view: RoleView) -> None:
    api, web = view.options["app_deploy_apps"][0]["services"]
    assert [secret["value"] for secret in api["secrets"]] == [UNKNOWN, "c"]
    assert (api["port"], web["port"], web["env"]) == (8000, 8080, UNKNOWN)


def test_each_missing_variable_has_its_place(view: RoleView, tmp_path: Path) -> None:
    assert view.options["app_deploy_apps"]
    assert [(one.variable, one.place) for one in view.missing] == [
        ("vault_database", "secret database of service api of app shop"),
        ("one", "env of service web of app shop"),
        ("other", "env of service web of app shop"),
    ]
    assert view.missing[0].origin == f"{tmp_path}/vars.yml:3"


def test_a_template_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    raw = loaded(tmp_path, "app_deploy_owner: \"{{ 'x' | int('y', 'z', 1, 2) }}\"\n")
    view = RoleView(RoleFiles(DataLoader()), "app_deploy", raw, {})
    assert view.options["app_deploy_owner"] == UNKNOWN
    assert [(one.variable, one.place) for one in view.missing] == [("", "app_deploy_owner")]
    assert view.missing[0].error


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{{ a.b[c] | d(e) }}", {"a", "c", "e"}),
        ("{% for x in y %}{{ x }}{% endfor %}", {"y"}),
        ("{{ lookup('env', 'A') }}", {"lookup"}),
        ("plain", set()),
        ("{{ broken", set()),
    ],
)
def test_names_that_a_template_reads(template: str, names: set[str]) -> None:
    assert _role_view.names(template) == names


@pytest.mark.parametrize(
    ("sentence", "line"),
    [
        ("app_deploy: port of service api of app shop: found x, need y.", 13),
        ("app_deploy: port of service shop/web: found x, need y.", 16),
        ("app_deploy: unknown option on app_deploy_owner: found x, need y.", 6),
        ("app_deploy: release of app shop: found x, need y.", 9),
        ("app_deploy: port 80 of host app1: found x, need y.", 0),
        ("app_deploy: app hosts: found none, need at least one.", 0),
    ],
)
def test_a_sentence_is_located_by_the_names_in_it(sentence: str, line: int, tmp_path: Path) -> None:
    found = _role_view.located(sentence, loaded(tmp_path, INVENTORY))
    assert found == (f"{tmp_path}/vars.yml:{line}" if line else "")
