# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of the primary keys in an OpenPGP key file, without GnuPG."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleFilterError

PUBLIC_KEY = 6
BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"


def _blocks(text: str) -> Iterator[bytes]:
    rest = text.replace("\r\n", "\n")
    while BEGIN in rest:
        block, found, rest = rest.split(BEGIN, 1)[1].partition(END)
        if not found:
            raise AnsibleFilterError("openpgp_fingerprints: the key block has no end.")
        body = block.split("\n\n", 1)[-1]
        lines = [line.strip() for line in body.split("\n") if line.strip() and not line.startswith("=")]
        try:
            yield base64.b64decode("".join(lines), validate=True)
        except binascii.Error as error:
            raise AnsibleFilterError(f"openpgp_fingerprints: the key block is not base64: {error}") from error


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        head = data[at]
        at += 1
        if not head & 0x80:
            raise AnsibleFilterError("openpgp_fingerprints: not an OpenPGP packet.")
        if head & 0x40:
            tag, first = head & 0x3F, data[at]
            if first < 192:
                length, at = first, at + 1
            elif first < 224:
                length, at = ((first - 192) << 8) + data[at + 1] + 192, at + 2
            elif first == 255:
                length, at = int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
            else:
                raise AnsibleFilterError("openpgp_fingerprints: a packet of partial length in a key.")
        else:
            tag, size = (head >> 2) & 0x0F, head & 0x03
            if size == 3:
                raise AnsibleFilterError("openpgp_fingerprints: a packet of no length in a key.")
            width = 1 << size
            length, at = int.from_bytes(data[at : at + width], "big"), at + width
        yield tag, data[at : at + length]
        at += length


def openpgp_fingerprints(text: str) -> list[str]:
    """Return the fingerprint of each primary key in an armoured key file."""
    found: list[str] = []
    try:
        for block in _blocks(text):
            for tag, body in _packets(block):
                if tag != PUBLIC_KEY:
                    continue
                if body[0] == 4:
                    material = b"\x99" + len(body).to_bytes(2, "big") + body
                    found.append(hashlib.sha1(material, usedforsecurity=False).hexdigest().upper())
                elif body[0] == 6:
                    material = b"\x9b" + len(body).to_bytes(4, "big") + body
                    found.append(hashlib.sha256(material).hexdigest().upper())
                else:
                    raise AnsibleFilterError(f"openpgp_fingerprints: a key of version {body[0]}, need 4 or 6.")
    except IndexError as error:
        raise AnsibleFilterError("openpgp_fingerprints: the key ends in the middle of a packet.") from error
    return found


class FilterModule:
    """Filters about OpenPGP keys."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"openpgp_fingerprints": openpgp_fingerprints}
