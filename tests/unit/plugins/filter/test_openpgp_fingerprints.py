# SPDX-License-Identifier: GPL-3.0-or-later
"""Fingerprints of keys, compared with the standard."""

from __future__ import annotations

import base64
import hashlib

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.filter.openpgp_fingerprints import openpgp_fingerprints

BODY = bytes([4]) + b"\x66\x00\x00\x00" + bytes([22]) + bytes(range(60))
FINGERPRINT = hashlib.sha1(b"\x99" + len(BODY).to_bytes(2, "big") + BODY).hexdigest().upper()
SIX = bytes([6]) + bytes(40)


def old(tag: int, body: bytes) -> bytes:
    """Return a packet of the old form, length in two octets."""
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body


def new(tag: int, body: bytes) -> bytes:
    """Return a packet of the new form."""
    if len(body) < 192:
        return bytes([0xC0 | tag, len(body)]) + body
    if len(body) < 8384:
        return bytes([0xC0 | tag, ((len(body) - 192) >> 8) + 192, (len(body) - 192) & 0xFF]) + body
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def armour(data: bytes, head: str = "") -> str:
    text = base64.encodebytes(data).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n{head}\n{text}=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"


@pytest.mark.parametrize("packet", [old, new])
def test_primary_key_is_found_among_the_packets(packet):
    data = packet(6, BODY) + packet(13, b"name") + packet(2, bytes(300)) + packet(14, BODY) + packet(2, bytes(9000))
    assert openpgp_fingerprints(armour(data)) == [FINGERPRINT]


def test_head_lines_and_line_ends_do_not_matter():
    text = armour(old(6, BODY), head="Version: 1\n").replace("\n", "\r\n")
    assert openpgp_fingerprints("noise\r\n" + text) == [FINGERPRINT]


def test_second_key_does_not_hide():
    data = old(6, BODY) + old(6, BODY[:-1] + b"x")
    assert len(openpgp_fingerprints(armour(data))) == 2
    assert openpgp_fingerprints(armour(old(6, BODY)) + armour(old(6, BODY))) == [FINGERPRINT, FINGERPRINT]


def test_key_of_version_6_has_a_fingerprint():
    expected = hashlib.sha256(b"\x9b" + len(SIX).to_bytes(4, "big") + SIX).hexdigest().upper()
    assert openpgp_fingerprints(armour(new(6, SIX))) == [expected]


def test_page_that_is_no_key_has_none():
    assert openpgp_fingerprints("<html>403</html>") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA", "no end"),
        (armour(b"\x00nothing"), "not an OpenPGP packet"),
        (armour(bytes([0xC6])), "middle of a packet"),
        (armour(bytes([0xC6, 230, 0])), "partial length"),
        (armour(bytes([0x9B, 0])), "no length"),
        (armour(old(6, bytes([3]) + bytes(20))), "version 3"),
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n*\n-----END PGP PUBLIC KEY BLOCK-----", "not base64"),
    ],
)
def test_broken_key_is_refused(text, words):
    with pytest.raises(AnsibleFilterError, match=words):
        openpgp_fingerprints(text)
