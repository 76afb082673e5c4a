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
