# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses as they stand in settings and URLs. PRIVATE to the collection."""

from __future__ import annotations

import re

# One with a password, wherever it stands in a text.
WITH_PASSWORD = re.compile(r"(?:^|:)//[^\s/?#|<>]*:[^\s/?#|<>]+@")


def join(address: str, port: int | str) -> str:
    """Return C(address:port), an address of version 6 in brackets (RFC 3986, section 3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
