# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of HAProxy's configuration that a template cannot write."""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _edge, _http2


def grpc_health_request(host: str) -> str:
    """The bytes of a gRPC health check as hexadecimal digits."""
    return _http2.grpc_health_request(str(host)).hex()


class FilterModule:
    """Filters of this file by the name that templates use."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"grpc_health_request": grpc_health_request, "header_pattern": _edge.header_pattern}
