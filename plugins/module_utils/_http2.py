# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The bytes of one request over HTTP/2 without TLS, for a server that is known to speak it (RFC 9113, RFC 7541)."""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0x0, 0x1, 0x4
END_STREAM, END_HEADERS = 0x1, 0x4
STREAM = 1
GRPC_HEALTH_PATH = "/grpc.health.v1.Health/Check"
# Flag of compression and length of a message without a field, which asks for the server as a whole.
GRPC_EMPTY_MESSAGE = bytes(5)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: str, value: str) -> bytes:
    """A header field as a literal that enters no table and is not compressed."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode("ascii")
    if len(data) < 127:
        return bytes([len(data)]) + data
    length, more = [127], len(data) - 127
    while more > 127:
        length.append(more % 128 + 128)
        more //= 128
    return bytes([*length, more]) + data


def request(method: str, host: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """All that a client sends for one request on a new connection."""
    fields = {":method": method, ":scheme": "http", ":authority": host, ":path": path, **headers}
    block = b"".join(header(name.lower(), value) for name, value in fields.items())
    sent = PREFACE + frame(SETTINGS, 0, 0, b"")
    if not body:
        return sent + frame(HEADERS, END_HEADERS | END_STREAM, STREAM, block)
    return sent + frame(HEADERS, END_HEADERS, STREAM, block) + frame(DATA, END_STREAM, STREAM, body)


def grpc_health_request(host: str) -> bytes:
    """Ask a gRPC server, by its standard health service, whether it serves."""
    headers = {"content-type": "application/grpc", "te": "trailers", "user-agent": "evenkeel-edge"}
    return request("POST", host, GRPC_HEALTH_PATH, headers, GRPC_EMPTY_MESSAGE)
