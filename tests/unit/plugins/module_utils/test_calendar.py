# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron's five fields in the form of systemd."""

from __future__ import annotations

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _calendar


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        pytest.param("0 3 * * *", "*-*-* 03:00:00", id="daily"),
        pytest.param("*/15 * * * *", "*-*-* *:00/15:00", id="step"),
        pytest.param("5-59/10 * * * *", "*-*-* *:05..59/10:00", id="range and step"),
        pytest.param("0 8-18 * * 1-5", "Mon..Fri *-*-* 08..18:00:00", id="ranges"),
        pytest.param("0 0 1,15 * *", "*-*-01,15 00:00:00", id="list"),
        pytest.param("30 4 1 jan,Jul *", "*-01,07-01 04:30:00", id="months"),
        pytest.param("0 4 * * sun", "Sun *-*-* 04:00:00", id="day"),
        pytest.param("0 4 * * 0,7", "Sun,Sun *-*-* 04:00:00", id="Sunday twice"),
        pytest.param("0 4 * * 0-2", "Sun,Mon..Tue *-*-* 04:00:00", id="range from Sunday"),
        pytest.param("0 4 * * 5-7", "Fri..Sun *-*-* 04:00:00", id="range to Sunday"),
        pytest.param("0 4 */2 * *", "*-*-01/2 04:00:00", id="every other day"),
        pytest.param("@weekly", "weekly", id="word"),
        pytest.param("@reboot", "", id="no time"),
        pytest.param("0 3 1 * 1", "", id="either day"),
        pytest.param("0 3 L * *", "", id="not of cron"),
        pytest.param("0 3 * * 9", "", id="no day"),
    ],
)
def test_the_systemd_form(cron, expected):
    assert _calendar.is_cron(cron)
    assert _calendar.from_cron(cron) == expected


@pytest.mark.parametrize("text", ["*-*-* 03:00:00", "Mon *-*-* 03:00", "daily", "Mon..Fri", "2026-01-01"])
def test_a_calendar_expression_is_no_cron(text):
    assert not _calendar.is_cron(text)
    assert _calendar.CALENDAR.fullmatch(text)
