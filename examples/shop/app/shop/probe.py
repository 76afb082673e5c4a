# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""python3 -m shop.probe URL [RELEASE]: exit 0 when URL answers 2xx, and with that release if one is named."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.parse


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 2):
        print("usage: python3 -m shop.probe URL [RELEASE]", file=sys.stderr)
        return 2
    parts = urllib.parse.urlsplit(arguments[0])
    connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port or 80, timeout=3)
    try:
        connection.request("GET", (parts.path or "/") + ("?" + parts.query if parts.query else ""))
        answer = connection.getresponse()
        body = answer.read(65536).decode(errors="replace")
    except (OSError, http.client.HTTPException) as exc:
        print(f"probe: {arguments[0]}: {exc}", file=sys.stderr)
        return 1
    print(answer.status, body)
    if len(arguments) == 2:
        try:
            if json.loads(body)["release"] != arguments[1]:
                return 1
        except (ValueError, KeyError, TypeError):
            return 1
    return 0 if 200 <= answer.status < 300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
