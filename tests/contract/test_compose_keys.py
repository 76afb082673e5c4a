# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of keys names every key of the Compose Specification, by the schema that Compose itself carries."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_keys

PLACES = (
    "/usr/libexec/docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
)
DEFINITIONS = {
    "service": "service",
    "deploy": "deployment",
    "volume": "volume",
    "network": "network",
    "config": "config",
    "secret": "secret",
}


def program() -> Path | None:
    """Return the program whose schema is walked: EVENKEEL_COMPOSE, or the plugin of this machine."""
    named = os.environ.get("EVENKEEL_COMPOSE")
    candidates = [Path(named)] if named else [Path(place, "docker-compose") for place in PLACES]
    found = shutil.which("docker-compose")
    candidates += [Path(found)] if found else []
    return next((one for one in candidates if one.is_file()), None)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    binary = program()
    data = binary.read_bytes() if binary else b""
    named = data.find(b"compose_spec.json")
    if named < 0:
        pytest.skip("no Compose on this machine that carries its schema")
    start = data.rfind(b'{\n  "$schema"', 0, named)
    text = data[start : start + 400_000].decode("utf-8", "replace")
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
    return found


def test_every_key_of_the_top_level_is_listed(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) - set(_compose_keys.TOP) == set()


@pytest.mark.parametrize("section", DEFINITIONS)
def test_every_key_of_the_schema_is_kept_mapped_or_refused(schema: dict[str, Any], section: str) -> None:
    properties = set(schema["definitions"][DEFINITIONS[section]]["properties"])
    assert properties - set(_compose_keys.TABLE[section]) == set()


@pytest.mark.parametrize("section", _compose_keys.TABLE)
def test_every_verdict_says_what_a_reader_needs(section: str) -> None:
    for name, key in _compose_keys.TABLE[section].items():
        assert key.verdict in (_compose_keys.KEPT, _compose_keys.MAPPED, _compose_keys.REFUSED), name
        assert bool(key.note) == (key.verdict != _compose_keys.KEPT), name
        assert bool(key.todo) == (key.verdict == _compose_keys.REFUSED), name
