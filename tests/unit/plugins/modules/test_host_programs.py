# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs on a host, with the library they share with the modules."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

FILES = Path(__file__).parents[4] / "roles" / "edge" / "files"


@pytest.mark.parametrize("name", ["edge-sync", "edge-certificate"])
def test_a_program_runs_on_the_library_alone(run: t.Callable[..., dict[str, t.Any]], tmp_path: Path, name: str) -> None:
    folder = tmp_path / "programs"
    programs = [{"name": name, "content": (FILES / name).read_text()}]
    params = {"programs": programs, "base": str(folder)}
    assert run("host_programs", _check=True, **params)["changed"]
    assert not folder.exists()
    assert run("host_programs", **params)["changed"]
    assert not run("host_programs", **params)["changed"]
    program = folder / name
    assert program.stat().st_mode & 0o777 == 0o755
    # Without the packages of this machine, as on a host that has no Ansible.
    source = program.read_text().replace("/usr/local/lib/evenkeel/lib", str(folder / "lib"))
    program.write_text(source)
    done = subprocess.run([sys.executable, "-I", "-S", str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"usage: {name}" in done.stderr
    assert run("host_programs", **params)["changed"], "a changed program is written again"
