# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters over the options of the edge role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.evenkeel.platform.plugins.filter.docker_firewall import docker_firewall_problems
from ansible_collections.evenkeel.platform.plugins.module_utils import _edge_problems


def edge_problems(
    options: Mapping[str, Any], host: Mapping[str, Any], rules: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """Return one sentence for each option that cannot be realised; *rules* are those of the edge's firewall."""
    found = _edge_problems.problems(options, host)
    if options["edge_firewall_enabled"]:
        for sentence in docker_firewall_problems(rules, "edge_internal_ranges"):
            found.append("edge" + sentence.removeprefix("docker_host"))
    return found


def edge_certificates(given: list[Any], mode: str, names: list[str], host: str) -> list[Any]:
    """Return the certificates of an edge: those given, else one for all public names."""
    return _edge_problems.certificates(given, mode, names, host)


class FilterModule:
    """Jinja filters over the options of an edge."""

    def filters(self) -> dict[str, Any]:
        return {"edge_certificates": edge_certificates, "edge_problems": edge_problems}
