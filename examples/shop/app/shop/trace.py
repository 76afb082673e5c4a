# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""W3C trace context: parse, create, propagate."""

from __future__ import annotations

import contextvars
import re
import secrets
from typing import NamedTuple

from shop import settings

_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
# Share of sampled traces among those that start here.
KEPT = settings.number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0, 1.0)


class Span(NamedTuple):
    trace_id: str
    span_id: str
    flags: str = "01"
    parent_id: str = ""

    def header(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def parse(header: str) -> Span | None:
    match = _PATTERN.fullmatch(header.strip())
    if not match:
        return None
    number, trace_id, span_id, flags, rest = match.groups()
    if number == "ff" or (number == "00" and rest):
        return None
    if not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Span(trace_id, span_id, flags)


def continued(header: str = "") -> Span:
    """Return a new span in the caller's trace, or in a new trace, of which a share is sampled."""
    parent = parse(header)
    own = secrets.token_hex(8)
    if parent:
        return Span(parent.trace_id, own, parent.flags, parent.span_id)
    trace_id = secrets.token_hex(16)
    return Span(trace_id, own, "01" if int(trace_id[-8:], 16) < KEPT * 2**32 else "00")


current: contextvars.ContextVar[Span | None] = contextvars.ContextVar("span", default=None)
