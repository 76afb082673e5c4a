# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.evenkeel.platform.tests import run as runner

JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure message="x"/></testcase>
<testcase classname="a" name="broken"><error message="x"/></testcase>
<testcase classname="a" name="left"><skipped message="no engine"/></testcase>
</testsuite></testsuites>"""
GREEN = """INFO     [web > create] Executed: Successful
INFO     [web > check] Executed: Successful
INFO     [web > converge] Executed: Successful
INFO     [web > idempotence] Executed: Successful
INFO     [web > side_effect] Executed: Missing (Remove from test_sequence to suppress)
INFO     [web > verify] Executed: Successful
"""


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runner, "LOGS", tmp_path)
    return tmp_path


def check(counter=runner.count_one, argv=("true",), limit=10) -> runner.Check:
    return runner.Check("stage", "name", list(argv), limit, counter)


def test_junit_is_counted_with_the_reason_of_each_skip(logs: Path) -> None:
    check().junit.write_text(JUNIT, encoding="utf-8")
    count = runner.count_junit(check(), 1, "")
    assert str(count) == "1 passed, 2 failed, 1 skipped"
    assert count.skips == ["stage name: a::left: no engine"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(2, "0 passed, 1 failed, 0 skipped", id="red"),
        pytest.param(0, "0 passed, 0 failed, 1 skipped", id="green"),
    ],
)
def test_a_missing_report_is_never_a_pass(code: int, expected: str) -> None:
    assert str(runner.count_junit(check(), code, "")) == expected


def test_a_red_command_with_a_green_report_has_failed() -> None:
    check().junit.write_text('<testsuite><testcase name="good"/></testsuite>', encoding="utf-8")
    assert str(runner.count_junit(check(), 3, "")) == "1 passed, 1 failed, 0 skipped"


def test_a_scenario_counts_three_steps_and_its_tests() -> None:
    check().junit.write_text(
        '<testsuite><testcase name="good"/><testcase name="better"/></testsuite>', encoding="utf-8"
    )
    assert str(runner.count_molecule(check(), 0, GREEN)) == "5 passed, 0 failed, 0 skipped"


def test_a_scenario_that_verifies_nothing_has_failed() -> None:
    assert str(runner.count_molecule(check(), 0, GREEN)) == "3 passed, 1 failed, 0 skipped"


def test_a_scenario_names_the_step_that_failed() -> None:
    output = GREEN.splitlines()[1] + "\nERROR    [web > converge] Executed: Failed\n"
    count = runner.count_molecule(check(), 1, output)
    assert (count.passed, count.failures) == (1, ["stage name: converge"])


def test_a_scenario_that_never_began_has_failed() -> None:
    assert runner.count_molecule(check(), 1, "").failures == ["stage name: ended with code 1 after no step"]


def test_a_check_beyond_its_limit_ends_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    count = runner.run(check(argv=("sleep", "60")), 0.2)
    assert count.failures[-1] == "stage name: not finished within 0 s"
    assert time.monotonic() - began < 30


def test_a_check_without_budget_fails_unrun() -> None:
    assert runner.run(check(argv=("false",)), 0).failures == ["stage name: not run, the budget is spent"]


def test_a_program_that_is_not_there_fails() -> None:
    assert len(runner.run(check(argv=("/no/such/program",)), 5).failures) == 1


def test_the_output_of_a_failure_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    runner.run(check(argv=("sh", "-c", "echo what went wrong; exit 1")), 5)
    assert "what went wrong" in capsys.readouterr().out


def test_a_red_stage_stops_no_other_and_the_last_line_is_the_sum(monkeypatch, capsys) -> None:
    stages = {
        "one": lambda: iter([runner.Check("one", "one", ["false"], 5, runner.count_one)]),
        "two": lambda: iter([runner.Check("two", "two", ["true"], 5, runner.count_one)]),
    }
    monkeypatch.setattr(runner, "STAGES", stages)
    monkeypatch.setattr(runner, "DEFAULT_STAGES", tuple(stages))
    monkeypatch.setattr(runner.Before, "seen", classmethod(lambda cls: cls(frozenset(), True, True)))
    monkeypatch.setattr(runner, "docker", lambda *_words: [])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert runner.main([]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"


def test_only_the_engine_of_the_pidfile_is_ended(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "dockerd.pid").write_text(str(other.pid), encoding="ascii")
    try:
        runner.end_engine(tmp_path / "dockerd.pid")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize(
    ("before", "names", "expected"),
    [
        pytest.param([], ["evenkeel-lab-packages"], True, id="left behind"),
        pytest.param(["cache"], ["evenkeel-lab-packages"], False, id="there before"),
        pytest.param([], ["evenkeel-lab-packages", "evenkeel-lab1-edge1"], False, id="used by another lab"),
        pytest.param([], [], False, id="not there"),
    ],
)
def test_the_package_cache_goes_with_the_last_that_used_it(
    before: list[str], names: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def docker(*words: str) -> list[str]:
        asked.append(words)
        if words[0] != "ps":
            return []
        return names if "{{.Names}}" in words else ["cache"] * ("evenkeel-lab-packages" in names)

    monkeypatch.setattr(runner, "docker", docker)
    runner.remove_shared(runner.Before(frozenset(before), lab=False, engine=True))
    assert (("rm", "--force", "evenkeel-lab-packages") in asked) is expected


def test_what_needs_no_hosts_runs_beside_the_lab_and_scenarios_beside_each_other() -> None:
    assert runner.lanes_of(list(runner.DEFAULT_STAGES)) == [
        [["setup"]],
        [["integration-short", "molecule-short"], ["molecule-short"]],
        [["e2e-short"], ["lint", "unit", "contract", "sanity"]],
    ]
    assert runner.lanes_of(["lint", "unit"]) == [[["lint", "unit"]]]
    assert runner.lanes_of(["molecule"]) == [[["molecule"], ["molecule"]]]
    assert runner.lanes_of(["faults"]) == [[["faults"]]]


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Disable queries to the engine, cleaning and signal handlers."""
    monkeypatch.setattr(runner, "docker", lambda *_words: [])
    monkeypatch.setattr(runner, "clean", lambda *_words: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("no_engine")
def test_tools_that_the_set_up_brings_are_those_of_the_stages_after_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[list[str]] = []

    def run(check: runner.Check, _limit: float) -> runner.Count:
        ran.append(check.argv)
        if check.stage == "setup":
            for name in ("python", "molecule"):
                (tmp_path / name).touch(mode=0o755)
        return runner.Count(passed=1)

    monkeypatch.setattr(runner, "BIN", tmp_path)
    monkeypatch.setattr(runner, "run", run)
    assert runner.main(["--stage=setup", "--stage=contract", "--stage=molecule"]) == 0
    assert {argv[0] for argv in ran[1:]} == {str(tmp_path / "python"), str(tmp_path / "molecule")}


@pytest.mark.usefixtures("no_engine")
def test_each_scenario_runs_in_one_lane_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    ran: list[str] = []

    def run(check: runner.Check, _limit: float) -> runner.Count:
        ran.append(check.name)
        time.sleep(0.02)
        return runner.Count(passed=1)

    monkeypatch.setattr(runner, "run", run)
    names = [f"scenario{number}" for number in range(9)]
    assert runner.main([f"--scenario={name}" for name in names]) == 0
    assert sorted(ran) == names
    assert capsys.readouterr().out.splitlines()[-1] == "9 passed, 0 failed, 0 skipped"


def test_every_test_has_a_stage() -> None:
    checks = [check for stage in runner.STAGES if stage != "setup" for check in runner.STAGES[stage]()]
    named = {runner.ROOT / word for check in checks for word in check.argv if word.startswith("tests/")}
    found = [path for path in (runner.ROOT / "tests").rglob("test_*.py") if not named & {path, *path.parents}]
    assert found == []


def test_checks_keep_their_logs_apart() -> None:
    for stage in runner.STAGES:
        logs = [check.log for check in runner.STAGES[stage]()]
        assert len(logs) == len(set(logs)), stage


def test_both_lanes_are_counted_and_run_beside_each_other() -> None:
    met = threading.Barrier(2, timeout=10)

    def lane(names: list[str]) -> runner.Count:
        met.wait()
        return runner.Count(passed=len(names))

    assert runner.in_lanes(lane, [["a", "b"], ["c"]]).passed == 3


def test_run_that_is_asked_to_end_ends_the_commands_of_every_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "ENDING", threading.Event())
    monkeypatch.setattr(runner, "PROCESSES", set())
    old = signal.signal(signal.SIGUSR1, runner.interrupt)
    sleep = runner.Check("stage", "sleep", ["sleep", "60"], 60, runner.count_one)
    later = threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    began = time.monotonic()
    try:
        later.start()
        with pytest.raises(runner.Interrupted):
            runner.in_lanes(lambda _names: runner.run(sleep, 60), [["a"], ["b"]])
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert time.monotonic() - began < 30
    assert not runner.PROCESSES
