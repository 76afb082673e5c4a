# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""One request over HTTP/2 without TLS, to a server that is known to speak it (RFC 9113, RFC 7541).

Enough for a health check: one stream, and of the headers of the answer the status alone.
"""

from __future__ import annotations

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
STREAM = 1
GRPC_HEALTH_PATH = "/grpc.health.v1.Health/Check"
# Flag of compression and length of a message without a field, which asks for the server as a whole.
GRPC_EMPTY_MESSAGE = bytes(5)
# The same for one field: status SERVING.
GRPC_SERVING = b"\0\0\0\0\2\x08\1"
# The index of :status in the static table of HPACK, with these values.
STATUS_INDEX = 8
STATUSES = (200, 204, 206, 304, 400, 404, 500)
# Huffman codes of the digits: three of five bits, the others of six.
HUFFMAN_DIGITS = {f"{digit:05b}": str(digit) for digit in range(3)} | {
    f"{digit + 22:06b}": str(digit) for digit in range(3, 10)
}


class Http2Error(ValueError):
    """The server ended the stream, or sent what this client cannot read."""


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


class Answer:
    """What a server sends back, read as it arrives."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ended = False
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the server and return those that must be sent to it."""
        self._pending += data
        reply = b""
        while len(self._pending) >= 9:
            length = int.from_bytes(self._pending[:3], "big")
            if len(self._pending) < 9 + length:
                break
            kind, flags = self._pending[3], self._pending[4]
            payload, self._pending = self._pending[9 : 9 + length], self._pending[9 + length :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                reply += frame(kind, ACK, 0, payload if kind == PING else b"")
            self._take(kind, flags, payload)
        return reply

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        if kind in (RST_STREAM, GOAWAY) and not self.ended:
            code = int.from_bytes(payload[4:8] if kind == GOAWAY else payload[:4], "big")
            raise Http2Error(f"the server ended the {'connection' if kind == GOAWAY else 'stream'} with error {code}")
        if kind not in (DATA, HEADERS):
            return
        if flags & PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == DATA:
            self.body += payload
        elif self.status < 200:
            # Also after an interim answer such as 103.
            self.status = status_of(payload[5:] if flags & PRIORITY else payload)
        self.ended = self.ended or bool(flags & END_STREAM)


def status_of(block: bytes) -> int:
    """The status in the first block of headers of a connection, where it is the first field."""
    while block and block[0] >> 5 == 1:
        # A change of the size of the table comes before the first field.
        _size, block = _integer(block, 5)
    if not block:
        raise Http2Error("an answer without a status")
    if block[0] & 0x80:
        index, _rest = _integer(block, 7)
        if 0 <= index - STATUS_INDEX < len(STATUSES):
            return STATUSES[index - STATUS_INDEX]
        raise Http2Error(f"field {index} of the table in place of the status")
    index, rest = _integer(block, 6 if block[0] & 0x40 else 4)
    if not STATUS_INDEX <= index < STATUS_INDEX + len(STATUSES) or not rest:
        raise Http2Error(f"field {index} of the table in place of the status")
    length, text = _integer(rest, 7)
    digits = _huffman_digits(text[:length]) if rest[0] & 0x80 else text[:length].decode("ascii", "replace")
    if not (len(digits) == 3 and digits.isdigit()):
        raise Http2Error(f"status {digits!r}")
    return int(digits)


def _integer(data: bytes, bits: int) -> tuple[int, bytes]:
    """An integer of HPACK with a prefix of so many bits, and what follows it."""
    most = (1 << bits) - 1
    value = data[0] & most
    if value < most:
        return value, data[1:]
    for position, byte in enumerate(data[1:]):
        value += (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return value, data[position + 2 :]
    raise Http2Error("a number that does not end")


def _huffman_digits(data: bytes) -> str:
    digits, code = "", ""
    for bit in "".join(f"{byte:08b}" for byte in data):
        code += bit
        if code in HUFFMAN_DIGITS:
            digits, code = digits + HUFFMAN_DIGITS[code], ""
    # The last byte is filled up with ones.
    return digits if len(code) < 8 and set(code) <= {"1"} else digits + "?"
