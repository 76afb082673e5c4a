# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dependencies between the images of the lab."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

LAB = Path(__file__).resolve().parents[3] / "lab"


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(LAB))
    yield importlib.import_module("build_images")
    sys.modules.pop("build_images")


@pytest.mark.parametrize(
    ("upstream", "postgres", "redis"),
    [
        pytest.param(False, "evenkeel-lab/debian:trixie", "evenkeel-lab/debian:trixie", id="of Debian's packages"),
        pytest.param(True, "docker.io/library/postgres:17", "docker.io/library/redis:8", id="of public images"),
    ],
)
def test_one_choice_decides_what_the_data_services_stand_on(
    builder: ModuleType, upstream: bool, postgres: str, redis: str
) -> None:
    images = {image.name: image for image in builder.declared(LAB / "images.yml", upstream=upstream)}
    assert builder.bases(images["evenkeel-lab/postgres"]) == [postgres]
    assert builder.bases(images["evenkeel-lab/redis"]) == [redis]
    assert builder.bases(images["shop/app"]) == ["evenkeel-lab/debian:trixie"]


def test_an_image_is_made_anew_where_the_choice_changes(builder: ModuleType) -> None:
    mirror = builder.Mirror("", "")
    hashes = {
        upstream: builder.input_hash(image, mirror, {})
        for upstream in (False, True)
        for image in builder.declared(LAB / "images.yml", upstream=upstream)
        if image.name == "evenkeel-lab/redis"
    }
    assert hashes[False] != hashes[True]
