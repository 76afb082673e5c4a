# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection as a user has it: built, installed elsewhere, each verb called by its full name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


def ansible(program: str, *words: str, cwd: Path, **env: str) -> str:
    """Run one of Ansible's programs with the configuration of a folder alone, and return what it printed."""
    shell = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    shell |= {"ANSIBLE_CONFIG": str(cwd / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"} | env
    program = str(Path(sys.executable).with_name(program))
    done = subprocess.run(
        [program, *words],
        cwd=cwd,
        env=shell,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of collections with the one that `ansible-galaxy` made of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "ansible.cfg").touch()
    ansible("ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(folder), cwd=folder)
    (archive,) = folder.glob("evenkeel-platform-*.tar.gz")
    words = ["--no-deps", "--offline", "--collections-path", str(folder / "collections")]
    ansible("ansible-galaxy", "collection", "install", str(archive), *words, cwd=folder)
    return folder


def test_every_verb_parses_by_its_full_name(installed: Path) -> None:
    names = [f"evenkeel.platform.{verb}" for verb in VERBS]
    found = ansible(
        "ansible-playbook",
        *("--syntax-check", *names, "-i", "edge1,app1,data1", "-e", "app=shop"),
        cwd=installed,
        ANSIBLE_COLLECTIONS_PATH=str(installed / "collections"),
    )
    parsed = [Path(line.removeprefix("playbook: ")) for line in found.splitlines() if line.startswith("playbook: ")]
    assert [path.stem for path in parsed] == VERBS
    assert all(path.is_relative_to(installed / "collections") for path in parsed)


def test_installed_callback_prints_a_run(installed: Path) -> None:
    (installed / "play.yml").write_text(
        "- name: Add a host\n  hosts: localhost\n  gather_facts: false\n  tasks:\n"
        "    - {name: start | Add it, ansible.builtin.add_host: {name: web}}\n"
    )
    found = ansible(
        "ansible-playbook",
        "play.yml",
        cwd=installed,
        ANSIBLE_COLLECTIONS_PATH=str(installed / "collections"),
        ANSIBLE_STDOUT_CALLBACK="evenkeel.platform.progress",
    )
    assert "  start       localhost" in found
    assert "PLAY RECAP" not in found
