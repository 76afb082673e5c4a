# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.lookup.unsealed_vaults import unsealed


def inventory(root: Path, name: str, text: str, place: str = "group_vars/all/vault.yml") -> Path:
    path = root / name / place
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    (root / name / "hosts.yml").write_text("all: {}\n", encoding="utf-8")
    return root / name


def test_an_open_vault_is_found(tmp_path: Path) -> None:
    folder = inventory(tmp_path, "prod", "x: 1\n")
    assert unsealed([str(folder)], []) == [str(folder / "group_vars/all/vault.yml")]


def test_a_vault_is_found_beside_a_named_hosts_file(tmp_path: Path) -> None:
    folder = inventory(tmp_path, "prod", "", "host_vars/edge1/vault.yaml")
    assert unsealed([str(folder / "hosts.yml"), str(folder)], []) == [str(folder / "host_vars/edge1/vault.yaml")]


def test_a_sealed_vault_is_none(tmp_path: Path) -> None:
    assert not unsealed([str(inventory(tmp_path, "prod", "$ANSIBLE_VAULT;1.1;AES256\n61\n"))], [])


def test_a_spared_inventory_may_lie_open(tmp_path: Path) -> None:
    assert not unsealed([str(inventory(tmp_path, "lab", "x: 1\n"))], ["lab"])


@pytest.mark.parametrize("source", ["edge1,", "/no/such/folder", "/no/such/folder/hosts.yml"])
def test_what_is_no_inventory_folder_has_no_vault(source: str) -> None:
    assert not unsealed([source], [])
