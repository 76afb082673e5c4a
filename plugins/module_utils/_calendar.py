# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Times of scheduled services: cron's five fields in the form of systemd."""

from __future__ import annotations

import re

# What a calendar expression of systemd is written with; a percent sign would be replaced in a unit.
CALENDAR = re.compile(r"[A-Za-z0-9*:,/.~ _+-]+")
_FIELD = r"[0-9A-Za-z*,/-]+"
_CRON = re.compile(rf"(?:{_FIELD}\s+){{4}}{_FIELD}")
_NICKNAMES = {
    "@hourly": "hourly",
    "@daily": "daily",
    "@midnight": "daily",
    "@weekly": "weekly",
    "@monthly": "monthly",
    "@yearly": "yearly",
    "@annually": "yearly",
}
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def is_cron(text: str) -> bool:
    """Tell whether a text is cron's five fields or one of its nicknames."""
    return text.strip().startswith("@") or _CRON.fullmatch(text.strip()) is not None


def from_cron(text: str) -> str:
    """Return the systemd form of a cron expression, an empty text where there is no single one."""
    if text.strip().startswith("@"):
        return _NICKNAMES.get(text.strip().lower(), "")
    minute, hour, day, month, weekday = text.split()
    if day != "*" and weekday != "*":
        # Cron runs on a day that matches either, systemd on one that matches both.
        return ""
    try:
        days = "" if weekday == "*" else _weekdays(weekday) + " "
        return f"{days}*-{_field(_months(month), 1)}-{_field(day, 1)} {_field(hour, 0)}:{_field(minute, 0)}:00"
    except ValueError:
        return ""


def _field(text: str, first: int) -> str:
    parts = []
    for part in text.split(","):
        span, slash, step = part.partition("/")
        start, dash, end = span.partition("-")
        if not all(each.isdigit() or each == "*" for each in (start, end or "0", step or "1")):
            raise ValueError(text)
        start = start if start == "*" else f"{int(start):02d}"
        if slash and start == "*":
            start = f"{first:02d}"
        parts.append(start + (f"..{int(end):02d}" if dash else "") + (f"/{int(step)}" if slash else ""))
    return ",".join(parts)


def _months(text: str) -> str:
    for number, name in enumerate(_MONTHS, start=1):
        text = re.sub(rf"\b{name}\b", str(number), text, flags=re.IGNORECASE)
    return text


def _weekdays(text: str) -> str:
    parts = []
    for part in text.split(","):
        start, dash, end = part.partition("-")
        first = _weekday(start)
        if dash and first == _DAYS[0]:
            # To systemd Sunday is the last day of a week, so a range cannot begin with it.
            parts.append(first)
            first = _DAYS[1]
        parts.append(first + (f"..{_weekday(end)}" if dash else ""))
    return ",".join(parts)


def _weekday(text: str) -> str:
    if text.isdigit() and int(text) < len(_DAYS):
        return _DAYS[int(text)]
    if text.capitalize() in _DAYS:
        return text.capitalize()
    raise ValueError(text)
