# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What a release is: all that decides what runs and what the edges are given, without the value of a secret."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge_record, _model, _stacks
from ansible_collections.evenkeel.platform.plugins.module_utils._app_shape import plain
from ansible_collections.evenkeel.platform.plugins.module_utils._model import COLOURS, Model, additions

# Stand-ins for what is no part of a release: hosts, addresses and ports.
HOST = "host"
ADDRESS = "192.0.2.1"


def content(model: Model, digests: dict[str, str]) -> dict[str, t.Any]:
    """Return the content whose hash is the identity of a release."""
    return {
        "release": model["release"],
        "migration": model["migration"],
        "model": plain(model),
        "digests": digests,
        "rendered": rendered(model),
    }


def rendered(model: Model) -> str:
    """Return the sha256 of every stack and of the edge's routes and checks, as this collection renders them.

    A collection that renders the same model in another way makes another release of it.
    """
    made = hashlib.sha256(json.dumps(_renderings(model), sort_keys=True, separators=(",", ":")).encode())
    return made.hexdigest()


def _renderings(model: Model) -> dict[str, t.Any]:
    web = _model.of_kind(model, "web")
    ports = {
        name: {colour: list(range(1, additions(service)["replicas_max"] + 1)) for colour in COLOURS}
        for name, service in web.items()
    }
    named = {additions(service)["host"] for service in model["services"].values()} - {""}
    app_hosts = [HOST, *sorted(named - {HOST})]
    edge = _edge_record.record(model, ports, {HOST: {"address": ADDRESS}}, COLOURS[0])
    return {
        "colours": [_stacks.colour(model, colour, ports, ADDRESS) for colour in COLOURS],
        "background": [_stacks.background(model, host, app_hosts, ADDRESS) for host in app_hosts],
        "migration": [_stacks.migration(model, step) for step in model["migration"]],
        "jobs": [_stacks.jobs(model, host, app_hosts) for host in app_hosts],
        "hosts": edge["hosts"],
        "routes": edge["routes"][COLOURS[0]],
        "health": {name: service["health"][COLOURS[0]] for name, service in edge["services"].items()},
    }
