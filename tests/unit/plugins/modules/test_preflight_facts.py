# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a release that a registry does not have."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release
from ansible_collections.evenkeel.platform.plugins.modules import preflight_facts


class Registry:
    """An engine whose registry answers each question with an error; an empty one is a digest."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def lookup(self, image: str, _login: str, where: str) -> str:
        self.asked.append(image)
        if not self.answer:
            return "sha256:1"
        fault = _compose_release.fault_of(self.answer)
        raise _compose_release.ReleaseError(f"{image} on {where}", fault=fault, output=self.answer)


IMAGES = ["registry.test/shop/app:1.1", "registry.test/shop/web:1.1"]


@pytest.mark.parametrize(
    ("answer", "found", "asked"),
    [
        ("", None, 2),
        ("manifest unknown: manifest unknown", "no such image in its registry (manifest unknown", 2),
        ("dial tcp: lookup registry.test: no such host", "a registry that does not answer", 1),
        # The first deploy has not logged in yet, and a bare host has no engine.
        ("unauthorized: authentication required", None, 2),
        ("x509: certificate signed by unknown authority", None, 2),
        ("FileNotFoundError: [Errno 2] No such file or directory", None, 2),
    ],
)
def test_images_that_a_registry_does_not_have(answer: str, found: str | None, asked: int, tmp_path: Path) -> None:
    registry = Registry(answer)
    missing = preflight_facts.images_missing(IMAGES, t.cast(t.Any, registry), tmp_path)
    assert len(registry.asked) == asked
    assert list(missing) == (IMAGES[:asked] if found else [])
    assert all(one[0].startswith(found or "") for one in missing.values())
