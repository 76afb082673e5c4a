# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A single request to a target of the load, for observers."""

from __future__ import annotations

import http.client
import ssl

from ansible_collections.evenkeel.platform.benchmarks.load import Target


class NoAnswer(Exception):
    """The connection was refused, broke, or timed out."""


def get(target: Target, path: str, timeout_seconds: float) -> tuple[int, str]:
    """Return status and body. The lab's certificate is self-signed, so it is not verified."""
    connection: http.client.HTTPConnection
    if target.tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(target.address, target.port, timeout=timeout_seconds, context=context)
    else:
        connection = http.client.HTTPConnection(target.address, target.port, timeout=timeout_seconds)
    try:
        connection.request("GET", path, headers={"Host": target.host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as exc:
        raise NoAnswer(f"{type(exc).__name__}: {exc}") from exc
    finally:
        connection.close()
