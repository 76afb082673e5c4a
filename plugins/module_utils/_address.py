# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An address and a port as one word, of version 4 or 6. PRIVATE to the collection."""

from __future__ import annotations


def join(address: str, port: int | str) -> str:
    """Return C(address:port), an address of version 6 in brackets (RFC 3986, section 3.2.2)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
