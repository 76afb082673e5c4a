# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run may change the configuration of an edge."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

Run = t.Callable[..., dict[str, t.Any]]


@pytest.mark.parametrize("check", [False, True])
def test_a_run_that_was_overtaken_changes_nothing(run: Run, tmp_path: Path, check: bool) -> None:
    assert run("blue_green", state="raised", token=5, run="b")["changed"]
    before = sorted(tmp_path.rglob("*"))
    params = {"files": {"haproxy.cfg": ""}, "records": [], "fingerprint": "x", "config_dir": str(tmp_path / "etc")}
    refused = run("edge_config", _check=check, token=5, run="a", haproxy="/bin/true", service="", **params)
    assert refused["failed"]
    assert "edge_config: the run was overtaken on shop: found token 5 of run a" in refused["msg"]
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_names_app_and_pair_together(run: Run, tmp_path: Path) -> None:
    refused = run("edge_config", token=5, files={}, records=[], fingerprint="x")
    assert "parameters are required together: app, token, run" in refused["msg"]
