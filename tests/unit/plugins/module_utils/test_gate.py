# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the gate passes, fails at once, or goes on waiting."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.evenkeel.platform.plugins.module_utils import _gate, _http
from ansible_collections.evenkeel.platform.plugins.module_utils._http import Answer

GOOD = Answer(200, '{"release": "1.1"}', "")
BAD = Answer(503, "starting", "")
REFUSED = Answer(0, "", "connection refused", refused=True)
SILENT = Answer(0, "", "no answer within 2 s")


def play(answers: list[Answer]) -> _gate.Target:
    target = _gate.Target("api", "http://192.0.2.1/")
    for second, answer in enumerate(answers):
        problem = _http.problem(answer, release="1.1")
        _gate.observe(
            target, at=second, problem=problem, brief=answer.brief(), refused=answer.refused, answered=answer.status > 0
        )
    return target


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        pytest.param([GOOD] * 3, "passed", id="three-in-a-row"),
        pytest.param([GOOD, GOOD], "waiting", id="only-two"),
        pytest.param([GOOD, GOOD, BAD, GOOD, GOOD], "waiting", id="a-failure-starts-again"),
        pytest.param([GOOD, GOOD, BAD, GOOD, GOOD, GOOD], "passed", id="three-after-a-failure"),
        pytest.param([REFUSED, REFUSED, GOOD, GOOD, GOOD], "passed", id="slow-start"),
        pytest.param([BAD, REFUSED], "failed", id="ended-after-it-answered"),
        pytest.param([GOOD, REFUSED, GOOD, GOOD, GOOD], "failed", id="restarted"),
        pytest.param([SILENT, SILENT], "waiting", id="silent"),
    ],
)
def test_verdict(answers: list[Answer], verdict: str) -> None:
    assert _gate.verdict([play(answers)], 3) == verdict


def test_every_target_must_pass() -> None:
    targets = [play([GOOD] * 3), play([BAD] * 9)]
    assert _gate.verdict(targets, 3) == "waiting"
    found = _gate.sentences(targets, 3, 60)
    assert len(found) == 1
    assert "found 0 after 60.0 s, last answer 503 'starting' (status 503 instead of 200)" in found[0]


def test_the_transcript_keeps_the_last_twenty() -> None:
    assert len(play([BAD] * 50).transcript) == 20


@pytest.mark.parametrize(
    ("answer", "expected", "problem"),
    [
        pytest.param(GOOD, {}, "", id="status-alone"),
        pytest.param(GOOD, {"release": "1.1"}, "", id="release"),
        pytest.param(GOOD, {"release": "1.2"}, "release is '1.1' instead of '1.2'", id="another-release"),
        pytest.param(Answer(200, '{"version": 7}', ""), {"release": "7", "release_key": "version"}, "", id="a-number"),
        pytest.param(Answer(200, "[]", ""), {"release": "1"}, "release is None instead of '1'", id="no-object"),
        pytest.param(
            Answer(200, "ok", ""), {"release": "1"}, "the body is not JSON, so release cannot be read", id="text"
        ),
        pytest.param(Answer(200, "ok", ""), {"body": "ready"}, "the body lacks 'ready'", id="body"),
        pytest.param(BAD, {}, "status 503 instead of 200", id="status"),
        pytest.param(BAD, {"status": 503}, "", id="wanted-503"),
        pytest.param(SILENT, {}, "no answer within 2 s", id="silent"),
    ],
)
def test_problem(answer: Answer, expected: dict[str, t.Any], problem: str) -> None:
    assert _http.problem(answer, **expected) == problem


@pytest.mark.parametrize(
    ("text", "address"),
    [
        pytest.param("192.0.2.1", ("192.0.2.1", 443), id="v4"),
        pytest.param("192.0.2.1:8443", ("192.0.2.1", 8443), id="v4-port"),
        pytest.param("2001:db8::1", ("2001:db8::1", 443), id="v6"),
        pytest.param("[2001:db8::1]:8443", ("2001:db8::1", 8443), id="v6-port"),
        pytest.param("[2001:db8::1]", ("2001:db8::1", 443), id="v6-brackets"),
        pytest.param("shop.example.com:81", ("shop.example.com", 81), id="name-port"),
    ],
)
def test_split_address(text: str, address: tuple[str, int]) -> None:
    assert _http.split_address(text, 443) == address
