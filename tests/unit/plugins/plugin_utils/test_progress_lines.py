# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the output from plain data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.plugins.plugin_utils import _progress
from ansible_collections.evenkeel.platform.plugins.plugin_utils._progress import Counts, Failure, Stage

CENSORED = {"censored": "the output has been hidden", "_ansible_no_log": True}


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["app2", "app1"], "app1, app2", id="two"),
        pytest.param(["edge1", *(f"app{number}" for number in range(1, 13))], "app1-app12, edge1", id="a run"),
        pytest.param(["app1", "app2", "app4", "app5"], "app1, app2, app4, app5", id="a gap"),
        pytest.param(["a", "b", "c", "d"], "a, b, c, d", id="one more is named"),
        pytest.param(["a", "b", "c", "d", "e"], "a, b, c and 2 more", id="many"),
        pytest.param(["db", "192.0.2.1", "192.0.2.2", "192.0.2.3"], "192.0.2.1-192.0.2.3, db", id="addresses"),
    ],
)
def test_hosts_take_little_room(hosts: list[str], expected: str) -> None:
    assert _progress.collapse(hosts) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("switch | Move the traffic", ("switch", "Move the traffic")),
        ("Move the traffic", ("", "Move the traffic")),
        ("a | b | c", ("a", "b | c")),
        ("", ("", "")),
    ],
)
def test_stage_stands_before_the_bar(name: str, expected: tuple[str, str]) -> None:
    assert _progress.split_name(name) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [("Write it", "write it"), ("HAProxy", "HAProxy"), ("A list", "A list"), ("", "")],
)
def test_title_within_a_line(title: str, expected: str) -> None:
    assert _progress.in_sentence(title) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Wait for the migration", "waiting for the migration, try 2 of 6"),
        ("Wait until it answers", "waiting until it answers, try 2 of 6"),
        ("Probe each server", "waiting for probe each server, try 2 of 6"),
    ],
)
def test_task_that_waits_is_told_once(title: str, expected: str) -> None:
    assert _progress.waiting(title, 2, 6) == expected


def item(**more: Any) -> dict[str, Any]:
    return {"ansible_loop_var": "item", "changed": True, **more}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param({"changed": False}, [], id="unchanged"),
        pytest.param({"changed": False, "actions": ["would"]}, [], id="unchanged with actions"),
        pytest.param({"changed": True}, ["write it"], id="title"),
        pytest.param({"changed": True, "actions": ["a", "b"]}, ["a", "b"], id="actions"),
        pytest.param({"changed": True, "actions": []}, ["write it"], id="no actions"),
        pytest.param({"changed": True, "actions": [{"a": 1}, 2]}, ["write it"], id="actions of another kind"),
        pytest.param({"changed": True, "results": ["a", "b"]}, ["write it"], id="results of a module, no loop"),
        pytest.param({"changed": True, "results": [item(item="a")]}, ["write it (a)"], id="one item"),
        pytest.param(
            {"changed": True, "results": [item(item="a"), item(item="b", changed=False)]}, ["write it (a)"], id="of two"
        ),
        pytest.param({"changed": True, "results": [item(item={"a": 1})] * 2}, ["write it (2 items)"], id="data"),
        pytest.param(
            {"changed": True, "results": [item(item=letter) for letter in "abcd"]}, ["write it (4 items)"], id="many"
        ),
        pytest.param(
            {"changed": True, "results": [item(item={"a": 1}, _ansible_item_label="shop")]},
            ["write it (shop)"],
            id="label",
        ),
        pytest.param(
            {"changed": True, "results": [item(item="a", actions=["x"]), item(item="b", actions=["x", "y"])]},
            ["x", "y"],
            id="actions of items",
        ),
        pytest.param({"changed": True, **CENSORED}, ["write it"], id="hidden"),
        pytest.param({"changed": True, "results": [{"changed": True, **CENSORED}]}, ["write it"], id="hidden item"),
    ],
)
def test_what_moved(result: dict[str, Any], expected: list[str]) -> None:
    assert _progress.moved(result, "Write it") == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param({"msg": "role: it is wrong."}, "role: it is wrong.", id="sentence"),
        pytest.param({"msg": ["a", "b"]}, "a\nb", id="list"),
        pytest.param({"msg": "Task failed: Module failed: boom"}, "boom", id="wrapped by ansible-core"),
        pytest.param({"msg": "non-zero return code", "rc": 3}, "the command ended with code 3.", id="command, 2.19"),
        pytest.param(
            {"msg": "The command exited with a non-zero return code.", "rc": 3},
            "the command ended with code 3.",
            id="command, 2.21",
        ),
        pytest.param({"stderr": "first\nsecond"}, "first", id="only output"),
        pytest.param({}, "no reason was given; run with -v for the whole result.", id="nothing"),
        pytest.param({"msg": "secret", **CENSORED}, _progress.HIDDEN, id="hidden"),
        pytest.param(
            {"msg": "Validation failed", "argument_errors": ["a is missing"], "argument_spec_data": {"a": {}}},
            "a is missing",
            id="specification",
        ),
    ],
)
def test_sentence_of_a_failure(result: dict[str, Any], expected: str) -> None:
    assert _progress.sentence(result) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param({"msg": "x"}, [], id="none"),
        pytest.param({"msg": "x", "evidence": ["a", "b", "a"]}, ["a", "b"], id="list"),
        pytest.param(
            {"msg": "x", "evidence": {"api": ["a", "b"], "reason": "c", "empty": []}},
            ["api:", "  a", "  b", "reason: c"],
            id="mapping",
        ),
        pytest.param({"msg": "it found  a here", "evidence": ["found a"]}, [], id="in the sentence already"),
        pytest.param({"msg": "a. b.", "failed_targets": ["a.", "b."]}, [], id="targets in the sentence already"),
        pytest.param(
            {"msg": "x", "transcript": {"api": [{"at_seconds": n, "problem": f"p{n}"} for n in range(1, 5)]}},
            ["api after 3.0 s: p3", "api after 4.0 s: p4"],
            id="the last probes",
        ),
        pytest.param({"msg": "x", "transcript": "odd"}, [], id="transcript of another kind"),
        pytest.param(
            {"msg": "x", "transcript": {"api": [{"at_seconds": "soon", "ok": True}, "odd"], "web": 1}},
            ["api: passed"],
            id="answers of another kind",
        ),
        pytest.param(
            {"rc": 1, "stderr": "\n".join(f"line {n}" for n in range(9)), "stdout": "other"},
            [f"line {n}" for n in range(4, 9)],
            id="the last lines",
        ),
        pytest.param({"rc": 1, "msg": "x", "stderr": "", "stdout": "said"}, ["said"], id="output without errors"),
        pytest.param({"evidence": ["secret"], **CENSORED}, [], id="hidden"),
        pytest.param(
            {"msg": "x", "evidence": [f"line {n}!" for n in range(15)]},
            [*(f"line {n}!" for n in range(12)), "and 3 lines more; run with -v for all of them"],
            id="much",
        ),
    ],
)
def test_evidence_of_a_failure(result: dict[str, Any], expected: list[str]) -> None:
    assert _progress.details(result) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"msg": "It is wrong. Run make lab."}, "make lab"),
        ({"msg": "It is wrong. Run it", "next": "make status"}, "make status"),
        ({"msg": "It is wrong.\nRun ansible-playbook x -e a=1.1."}, "ansible-playbook x -e a=1.1"),
        ({"msg": "Run this first. Then that."}, "this first. Then that"),
        ({"msg": "Runs are many."}, ""),
        ({"msg": "a. Run it.", **CENSORED}, ""),
    ],
)
def test_next_command_of_a_failure(result: dict[str, Any], expected: str) -> None:
    assert _progress.next_command(result) == expected


def test_stage_in_one_line_or_in_several() -> None:
    stage = Stage("start", 0.0)
    stage.add("app1", ["wrote release 3", "started 2 containers"])
    stage.add("app2", ["wrote release 3"])
    stage.add("app2", ["wrote release 3"])
    assert _progress.stage_lines(stage, 8.44, 120) == [
        "  start       app1, app2        8.4 s  wrote release 3, started 2 containers (app1)"
    ]
    assert _progress.stage_lines(stage, 123.4, 79) == [
        "  start       app1, app2      123.4 s",
        "              wrote release 3",
        "              started 2 containers (app1)",
    ]
    assert _progress.stage_lines(Stage("gate", 0.0, {"edge1": None}), 1, 79) == [
        "  gate        edge1             1.0 s"
    ]


def test_live_line_fits_the_terminal() -> None:
    assert _progress.live_text("start", "Start it", 12.6, 79) == "  start       Start it  13 s"
    short = _progress.live_text("start", "Start " + "all " * 40, 12.6, 40)
    assert short.endswith("...  13 s")
    assert len(short) <= 40


def failed(host: str, task: str, **more: Any) -> Failure:
    return Failure(host, task, more.pop("action", "command"), more.pop("sentence", "It is wrong."), **more)


@pytest.mark.parametrize(
    ("events", "counted", "expected"),
    [
        pytest.param([("a", "1")], {"a": 0}, [], id="rescued"),
        pytest.param([("a", "1")], {"a": 1}, ["1"], id="not rescued"),
        pytest.param([("a", "1"), ("a", "2")], {"a": 1}, ["2"], id="the rescue failed"),
        pytest.param([("a", "1"), ("b", "2"), ("a", "3")], {"a": 1, "b": 1}, ["2", "3"], id="of two hosts"),
        pytest.param([("a", "1")], {}, [], id="unknown host"),
    ],
)
def test_rescued_failures_are_left_out(
    events: list[tuple[str, str]], counted: dict[str, int], expected: list[str]
) -> None:
    found = _progress.unrescued([[failed(host, task)] for host, task in events], counted)
    assert [one.task for one in found] == expected


def test_all_items_of_a_failed_loop_are_kept() -> None:
    assert len(_progress.unrescued([[failed("a", "1 (x)"), failed("a", "1 (y)")]], {"a": 1})) == 2


def test_failure_names_hosts_evidence_and_next_command() -> None:
    group = [failed("app1", "gate | Probe", details=("one",), next="make x"), failed("app2", "gate | Probe")]
    assert _progress.failure_lines(group) == [
        "Failed: gate | Probe, on app1, app2",
        "  It is wrong.",
        "    app1:",
        "      one",
        "  Next: make x",
    ]
    assert _progress.failure_lines([failed("edge1", "gate | Probe", unreachable=True)])[0].startswith("Unreachable: ")


def test_cause_is_that_of_a_rescue_without_evidence() -> None:
    first, last = failed("app1", "start | Start", details=("log",)), failed("app1", "undo | Say", action="fail")
    events = [[first], [last]]
    assert _progress.cause(last, events, [last]) == [first]
    assert _progress.cause(failed("app1", "x"), events, [last]) == []
    assert _progress.cause(last, [[last]], [last]) == []


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"ok": 3}, ""),
        ({"ok": 3, "rescued": 1, "skipped": 2}, ""),
        ({"changed": 2, "ignored": 1}, "  app1        2 changed, 1 ignored"),
        ({"failures": 1, "changed": 2}, "  app1        1 failed, 2 changed"),
        ({"unreachable": 1}, "  app1        1 unreachable"),
    ],
)
def test_recap_of_a_host(summary: dict[str, int], expected: str) -> None:
    assert _progress.recap_line("app1", summary) == expected


def test_counts() -> None:
    counts = Counts()
    counts.start("a")
    counts.result("a", "ansible.builtin.command", 2)
    counts.start("b")
    counts.start("c")
    counts.result("c", "ansible.builtin.debug", 1)
    counts.start("d")
    counts.result("d", "ansible.builtin.uri", 1, "localhost")
    counts.start("a")
    counts.start("a", once=True)
    assert counts.line() == "tasks 5 (skipped 2), remote runs 2, polls 0"
    assert json.loads(counts.as_json(1.234, {"app1": {"ok": 1}})) == {
        "tasks": 5,
        "skipped": 2,
        "remote_runs": 2,
        "polls": 0,
        "seconds": 1.23,
        "changed_tasks": [],
        "hosts": {"app1": {"ok": 1}},
    }
