# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request over HTTP/2 as bytes."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _http2


@pytest.mark.parametrize(
    ("value", "length"),
    [("a" * 126, b"\x7e"), ("a" * 127, b"\x7f\x00"), ("a" * 254, b"\x7f\x7f"), ("a" * 255, b"\x7f\x80\x01")],
)
def test_length_of_a_text_is_an_integer_with_a_prefix_of_seven_bits(value: str, length: bytes) -> None:
    assert _http2.header("x", value) == b"\0\1x" + length + value.encode()


@pytest.mark.parametrize(
    ("block", "status"),
    [
        ("88", 200),
        ("8e", 500),
        # A change of the table's size first, as some servers send it.
        ("3fe11f88", 200),
        # Literals, with and without an entry in the table, with and without Huffman coding.
        ("4803333032", 302),
        ("48826402", 302),
        ("0803353033", 503),
        ("08836c0cff", 503),
    ],
)
def test_status_is_read_from_the_first_field(block: str, status: int) -> None:
    assert _http2.status_of(bytes.fromhex(block) + b"rest") == status


@pytest.mark.parametrize(
    "block", ["", "82", "bf", "be", "0003616263", "48027830", "4803783030", "20", "3fff", "4882ffff"]
)
def test_what_is_no_status_is_refused(block: str) -> None:
    with pytest.raises(_http2.Http2Error):
        _http2.status_of(bytes.fromhex(block))


SETTINGS = _http2.frame(_http2.SETTINGS, 0, 0, b"\0\3\0\0\0\x64")
HEAD = _http2.frame(_http2.HEADERS, _http2.END_HEADERS, 1, b"\x88")
ANSWER = (
    SETTINGS + HEAD + _http2.frame(_http2.DATA, 0, 1, b"hel") + _http2.frame(_http2.DATA, _http2.END_STREAM, 1, b"lo")
)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answer_is_read_however_it_arrives(size: int) -> None:
    answer = _http2.Answer()
    sent = b"".join(answer.feed(ANSWER[start : start + size]) for start in range(0, len(ANSWER), size))
    assert (answer.status, answer.body, answer.ended) == (200, b"hello", True)
    assert sent == _http2.frame(_http2.SETTINGS, _http2.ACK, 0, b"")


def test_pings_padding_and_interim_answers_are_taken() -> None:
    answer = _http2.Answer()
    assert answer.feed(_http2.frame(_http2.PING, 0, 0, b"12345678")) == _http2.frame(
        _http2.PING, _http2.ACK, 0, b"12345678"
    )
    answer.feed(_http2.frame(_http2.HEADERS, _http2.END_HEADERS, 1, b"\x08\x03103"))
    answer.feed(_http2.frame(_http2.HEADERS, _http2.PADDED | _http2.PRIORITY, 1, b"\2" + bytes(5) + b"\x8d" + b"\0\0"))
    answer.feed(_http2.frame(_http2.DATA, _http2.PADDED | _http2.END_STREAM, 1, b"\3x\0\0\0"))
    assert (answer.status, answer.body, answer.ended) == (404, b"x", True)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_http2.frame(_http2.RST_STREAM, 0, 1, b"\0\0\0\7"), "the server ended the stream with error 7"),
        (_http2.frame(_http2.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\2"), "the server ended the connection with error 2"),
    ],
)
def test_an_ended_stream_is_an_error(frame: bytes, message: str) -> None:
    with pytest.raises(_http2.Http2Error, match=message):
        _http2.Answer().feed(frame)
