# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Modules and programs that act on an app host: orders, jobs, migrations, installed programs."""

from __future__ import annotations

import ast
import importlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _edges, _jobs, _names, _retire
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import Guard
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair, Shown, Status
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

from .conftest import Edge

ROOT = Path(__file__).resolve().parents[4]
PACKAGE = "ansible_collections.evenkeel.platform.plugins.modules"
UTILS = "ansible_collections.evenkeel.platform.plugins.module_utils"
LIBRARY = "lib/" + UTILS.replace(".", "/")
Result = dict[str, t.Any]


class Script:
    """Answers commands: the first rule whose words all stand in the argument list counts."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.rules: list[tuple[tuple[str, ...], tuple[int, str, str]]] = []

    def on(self, *words: str, rc: int = 0, out: str = "", err: str = "") -> None:
        self.rules.insert(0, (words, (rc, out, err)))

    def __call__(self, argv: list[str], **_options: t.Any) -> tuple[int, str, str]:
        self.calls.append(argv)
        for words, answer in self.rules:
            if all(any(word in part for part in argv) for word in words):
                return answer
        return 0, "", ""

    def asked(self, *words: str) -> list[list[str]]:
        return [call for call in self.calls if all(any(word in part for part in call) for word in words)]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(AnsibleModule, "run_command", script)
    return script


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., Result]:
    def call(module: str, _check: bool = False, **params: t.Any) -> Result:
        if module != "host_programs":
            params = {"state_dir": str(tmp_path / "state"), "lock_dir": str(tmp_path / "lock"), **params}
        main = importlib.import_module(f"{PACKAGE}.{module}").main
        capsys.readouterr()
        arguments = {**params, "_ansible_check_mode": _check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return call


def guard(edge: Edge, token: int = 7, run: str = "run-a", move: int = 4) -> dict[str, t.Any]:
    return {"app": "shop", "token": token, "run": run, "move": move, "edges": [edge.about]}


def meet(tmp_path: Path, token: int, run: str) -> None:
    (tmp_path / "state" / "shop").mkdir(parents=True, exist_ok=True)
    record = {"schema": 1, "app": "shop", "token": token, "run": run}
    (tmp_path / "state" / "shop" / "pair.json").write_text(json.dumps(record))


# -- edges -----------------------------------------------------------------------


def test_edges_are_asked_for_entry_and_status(edge: Edge) -> None:
    silent = {"name": "edge2", "url": "http://127.0.0.1:9/live/shop"}
    assert _edges.ask([edge.about, silent]) == {"edge1": Shown("blue:0:1.0:", edge.status), "edge2": None}
    assert _edges.ask([]) == {}


@pytest.mark.parametrize("headers", [{}, {"Evenkeel-Status": "nonsense"}, {"Evenkeel-Status": "confirmed,move=x"}])
def test_answer_without_a_status_counts_as_none(edge: Edge, headers: dict[str, str]) -> None:
    edge.headers = headers
    assert _edges.ask([edge.about]) == {"edge1": None}


# -- names -------------------------------------------------------------------------


def test_names_of_two_services_never_meet() -> None:
    services = ["api", "api-1", "mail", "mail-2", "a"]
    colours = [_names.replica_name(service, number) for service in services for number in (1, 2, 12)]
    workers = [
        _names.container_name(app, service, number)
        for app in ("shop", "shop-mail", "shop-background")
        for service in services
        for number in (0, 1, 2)
    ]
    assert len({*colours, *services}) == len(colours) + len(services)
    assert len(set(workers)) == len(workers)
    assert _names.job_unit("a", "b-c") != _names.job_unit("a-b", "c")


def test_names_read_back() -> None:
    assert _names.parse_replica("api-1.2") == ("api-1", 2)
    assert _names.parse_replica("api-1") == ("api-1", 0)
    assert _names.parse_container("/shop.mail.2") == ("shop", ("mail", 2))
    assert _names.parse_container("/shop.mail-2") == ("shop", ("mail-2", 0))
    assert _names.parse_container("registry") == ("", ("registry", 0))
    assert _names.parse_job_unit("evenkeel-job-a-b.c.timer") == ("a-b", "c")
    assert _names.parse_job_unit("evenkeel-retire.timer") == ("", "")


# -- orders to retire ----------------------------------------------------------------


def held_guard(tmp_path: Path, edge: Edge, token: int = 7, move: int = 4, check: bool = False) -> Guard:
    """The guard of an act of app shop that touches no colour."""
    records = Records("test", "shop", str(tmp_path / "state"), str(tmp_path / "lock"), 5.0, check)
    return Guard(records, Pair(token, "run-a"), [edge.about], move)


def test_order_is_written_once_for_its_move(edge: Edge, tmp_path: Path) -> None:
    assert held_guard(tmp_path, edge, check=True).leave_order("green", "shop-green")
    assert not (tmp_path / "state").exists()
    act = held_guard(tmp_path, edge)
    assert act.leave_order("green", "shop-green") == ["ordered to stop green, left behind by move 4"]
    order = _retire.parse(act.order("green").read_text())
    assert order == ("shop", "green", 4, "shop-green", [edge.about])
    assert act.leave_order("green", "shop-green") == []
    assert act.drop_order("green")
    assert not act.order("green").exists()
    assert not act.drop_order("green")


@pytest.mark.parametrize(
    ("token", "move", "words"),
    [(6, 4, "the run was overtaken"), (7, 3, "edge1 is at move 4")],
    ids=["older-run", "other-move"],
)
def test_act_of_another_run_or_move_is_refused(edge: Edge, tmp_path: Path, token: int, move: int, words: str) -> None:
    meet(tmp_path, 7, "run-a")
    act = held_guard(tmp_path, edge, token, move)
    with pytest.raises(Failure, match=words), act.act():
        act.ask()


def show(entry: str = "blue:0:1.1:1.0", move: int = 5, **withdrawn: int) -> dict[str, Shown | None]:
    return {"edge1": Shown(entry, Status(move=move, withdrawn=withdrawn))}


@pytest.mark.parametrize(
    ("shown", "verdict"),
    [
        (show(green=5), "stop"),
        (show(), "wait"),
        (show(green=4), "wait"),
        (show(entry="green:0:1.0:1.1", move=6), "drop"),
        (show(entry="blue:0:1.2:", move=7, green=6), "drop"),
        (show(move=6, green=5), "stop"),
        ({"edge1": None}, "wait"),
        ({**show(green=5), "edge2": None}, "wait"),
        ({}, "wait"),
    ],
    ids=["withdrawn", "warm", "older", "live-again", "left-anew", "still-withdrawn", "silent", "half", "none"],
)
def test_colour_is_stopped_only_as_withdrawn_at_the_move_of_its_order(
    shown: dict[str, Shown | None], verdict: str
) -> None:
    order = _retire.Order("shop", "green", 5, "shop-green", [])
    assert _retire.verdict(order, shown)[0] == verdict


@pytest.fixture
def retire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """The program as it lies on a host, with folders of its own."""
    loader = importlib.machinery.SourceFileLoader(
        "evenkeel_retire", str(ROOT / "roles" / "app_deploy" / "files" / "evenkeel-retire")
    )
    spec = importlib.util.spec_from_loader("evenkeel_retire", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    loader.exec_module(module)
    monkeypatch.setattr(module, "STATE", tmp_path / "state")
    monkeypatch.setattr(module, "LOCKS", tmp_path / "lock")
    monkeypatch.setattr(module, "STACKS", str(tmp_path / "stacks"))
    return module


def test_order_left_before_a_rollback_never_stops_the_colour_later(edge: Edge, retire: t.Any, tmp_path: Path) -> None:
    """Green was left by move 4; a rollback made it live by move 5, a deploy left it again by move 6, not withdrawn."""
    edge.status = Status(move=4)
    act = held_guard(tmp_path, edge)
    act.leave_order("green", "shop-green")
    path = act.order("green")
    stops: list[list[str]] = []

    def command(argv: list[str], **_options: t.Any) -> tuple[int, str, str]:
        stops.append(argv)
        return 0, "", ""

    assert "stays up" in retire.retire(path, command)
    edge.entry, edge.status = "green:0:1.0:1.1", Status(move=5)
    assert "order dropped" in retire.retire(path, command)
    assert not path.exists()
    path.write_text(_retire.order_text("shop", "green", 4, "shop-green", [edge.about]))
    edge.entry, edge.status = "blue:0:1.2:1.0", Status(move=6)
    assert "order dropped" in retire.retire(path, command)
    assert stops == []


def test_withdrawn_colour_is_stopped_by_its_own_compose_file(edge: Edge, retire: t.Any, tmp_path: Path) -> None:
    path = tmp_path / "retire-green.json"
    path.write_text(_retire.order_text("shop", "green", 4, "shop-green", [edge.about]))
    release = tmp_path / "stacks" / "shop-green" / "releases" / "1-000000000000"
    release.mkdir(parents=True)
    (release / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "stacks" / "shop-green" / "current").symlink_to("releases/1-000000000000")
    calls: list[list[str]] = []

    def fail(argv: list[str], **_options: t.Any) -> tuple[int, str, str]:
        return 1, "", "no daemon"

    def command(argv: list[str], **_options: t.Any) -> tuple[int, str, str]:
        calls.append(argv)
        return 0, "", ""

    assert "could not be stopped: no daemon" in retire.retire(path, fail)
    assert path.exists()
    assert "stopped" in retire.retire(path, command)
    assert not path.exists()
    assert calls[0][-1] == "stop"
    assert str(release / "compose.yaml") in calls[0]


def test_order_that_does_not_parse_is_reported_and_left(
    retire: t.Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state" / "shop").mkdir(parents=True)
    path = tmp_path / "state" / "shop" / "retire-blue.json"
    path.write_text('{"schema": 1}')
    assert retire.main() == 0
    assert "it is of schema 1" in capsys.readouterr().err
    assert path.exists()


# -- scheduled jobs ------------------------------------------------------------------


REPORT = {"name": "report", "schedule": "*-*-* 03:00:00"}


def active(*jobs: str) -> str:
    return "\n\n".join(f"Id=evenkeel-job-shop.{job}.timer\nUnitFileState=enabled\nActiveState=active" for job in jobs)


def test_jobs_are_exactly_those_that_are_wanted(run: t.Callable[..., Result], script: Script, tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    for name in ("evenkeel-job-shop.old.timer", "evenkeel-job-shop.old.service", "evenkeel-job-shop-b.old.timer"):
        (units / name).write_text("x")
    options = {"app": "shop", "jobs": [REPORT], "unit_dir": str(units)}
    dry = run("scheduled_jobs", _check=True, **options)
    assert not script.asked("enable")
    result = run("scheduled_jobs", **options)
    assert result["actions"] == dry["actions"]
    assert result["jobs"] == ["evenkeel-job-shop.report.timer"]
    assert sorted(path.name for path in units.iterdir()) == [
        "evenkeel-job-shop-b.old.timer",
        "evenkeel-job-shop.report.service",
        "evenkeel-job-shop.report.timer",
    ]
    assert "OnCalendar=*-*-* 03:00:00" in (units / "evenkeel-job-shop.report.timer").read_text()
    assert "--name shop.report report" in (units / "evenkeel-job-shop.report.service").read_text()
    [disabled] = script.asked("disable")
    assert disabled[-1] == "evenkeel-job-shop.old.timer"
    assert script.asked("enable", "evenkeel-job-shop.report.timer")
    script.on("show", out=active("report"))
    assert not run("scheduled_jobs", **options)["changed"]
    later = run("scheduled_jobs", **{**options, "jobs": [{**REPORT, "schedule": "daily"}]})
    assert "restarted evenkeel-job-shop.report.timer" in later["actions"]


def test_timer_that_does_not_run_is_started(run: t.Callable[..., Result], script: Script, tmp_path: Path) -> None:
    options = {"app": "shop", "jobs": [REPORT], "unit_dir": str(tmp_path)}
    run("scheduled_jobs", **options)
    assert run("scheduled_jobs", **options)["actions"] == ["started evenkeel-job-shop.report.timer"]


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        ([{"name": "../x", "schedule": "daily"}], "name on job ../x"),
        ([REPORT, REPORT], "found it twice"),
        ([{"name": "a", "schedule": "daily\nOnBootSec=1"}], "schedule on job a"),
    ],
    ids=["name", "twice", "newline"],
)
def test_job_that_no_unit_can_hold_is_named(
    run: t.Callable[..., Result], script: Script, tmp_path: Path, jobs: list[dict[str, str]], words: str
) -> None:
    assert words in run("scheduled_jobs", app="shop", jobs=jobs, unit_dir=str(tmp_path))["msg"]
    assert script.calls == []


def test_jobs_of_an_overtaken_run_are_refused(
    run: t.Callable[..., Result], script: Script, edge: Edge, tmp_path: Path
) -> None:
    options = {"app": "shop", "jobs": [REPORT], "unit_dir": str(tmp_path / "units")}
    edge.status = Status(move=5)
    assert "edge1 is at move 5" in run("scheduled_jobs", **options, guard=guard(edge))["msg"]
    meet(tmp_path, 8, "run-b")
    assert "the run was overtaken" in run("scheduled_jobs", **options, guard=guard(edge))["msg"]
    assert not (tmp_path / "units").exists()


# -- migrations ------------------------------------------------------------------------


def unit(name: str, active: str, sub: str, result: str = "success", code: int = 0, what: str = "") -> str:
    fields = {"Id": name, "LoadState": "loaded", "ActiveState": active, "SubState": sub, "Result": result}
    fields.update(ExecMainStatus=str(code), Description=what, InvocationID="abc")
    return "\n".join(f"{key}={value}" for key, value in fields.items())


MINE = "evenkeel-shop-migrate-7-0.service"


@pytest.fixture
def staged(tmp_path: Path) -> dict[str, t.Any]:
    stack = tmp_path / "stacks" / "shop-migration"
    (stack / "releases" / "1-000000000000").mkdir(parents=True)
    (stack / "releases" / "1-000000000000" / "compose.yaml").write_text("services: {}\n")
    (stack / "current").symlink_to("releases/1-000000000000")
    (stack / "secrets" / "v" / "migration").mkdir(parents=True)
    (stack / "secrets" / "v" / "migration" / "token").write_text("canary-4711")
    return {"app": "shop", "token": 7, "base_dir": str(tmp_path / "stacks")}


def test_migration_starts_as_a_unit_and_is_polled(
    run: t.Callable[..., Result], script: Script, edge: Edge, staged: dict[str, t.Any]
) -> None:
    assert run("migration_run", _check=True, **staged)["changed"]
    assert not script.asked("systemd-run")
    result = run("migration_run", **staged, timeout_seconds=300, guard=guard(edge))
    assert (result["unit"], result["attached"], result["finished"]) == (MINE, False, False)
    [started] = script.asked("systemd-run")
    assert "--property=RuntimeMaxSec=300" in started
    assert started[-1] == "migration"
    script.on("show", out=unit(MINE, "active", "running"))
    assert not run("migration_run", **staged, state="finished")["finished"]
    script.on("show", out=unit(MINE, "active", "exited"))
    script.on("journalctl", out="one\nwith canary-4711\n")
    ended = run("migration_run", **staged, state="finished")
    assert (ended["finished"], ended["rc"], ended["reason"]) == (True, 0, "")
    assert ended["lines"] == ["one", "with ********"]
    assert run("migration_run", **staged, state="removed")["changed"]
    assert script.asked("reset-failed", MINE)


@pytest.mark.parametrize(
    ("shown", "rc"),
    [
        (unit(MINE, "failed", "failed", "exit-code", 3), 3),
        (unit(MINE, "failed", "failed", "timeout", 15), 124),
        (unit(MINE, "failed", "failed", "signal", 9), 255),
        ("Id=" + MINE + "\nLoadState=not-found", 255),
    ],
    ids=["exit-code", "time-over", "killed", "gone"],
)
def test_migration_that_failed_says_how(
    run: t.Callable[..., Result], script: Script, staged: dict[str, t.Any], shown: str, rc: int
) -> None:
    script.on("show", out=shown)
    result = run("migration_run", **staged, state="finished")
    assert (result["finished"], result["rc"]) == (True, rc)
    assert result["reason"].startswith("migration_run: ")


def test_second_start_attaches(run: t.Callable[..., Result], script: Script, staged: dict[str, t.Any]) -> None:
    script.on("show", out=unit(MINE, "active", "exited"))
    result = run("migration_run", **staged)
    assert (result["changed"], result["attached"], result["unit"]) == (False, True, MINE)
    earlier = "evenkeel-shop-migrate-6-0.service"
    script.on(
        "list-units", out=f"{earlier} loaded active running x\nevenkeel-shop-migrate-x-migrate-1-0.service a b c\n"
    )
    what = "migration 0 of shop, release 1-000000000000"
    script.on("show", out=unit(earlier, "active", "running", what=what))
    assert run("migration_run", **staged)["unit"] == earlier
    script.on("show", out=unit(earlier, "active", "running", what="migration 1 of shop, release 0-0"))
    assert "another migration on app shop: found evenkeel-shop-migrate-6-0" in run("migration_run", **staged)["msg"]
    assert not script.asked("systemd-run")


def test_migration_of_an_overtaken_run_is_refused(
    run: t.Callable[..., Result], script: Script, edge: Edge, staged: dict[str, t.Any], tmp_path: Path
) -> None:
    meet(tmp_path, 8, "run-b")
    assert "the run was overtaken" in run("migration_run", **staged, guard=guard(edge))["msg"]
    assert not script.asked("systemd-run")


def test_units_of_an_app_are_told_from_those_of_another() -> None:
    names = ["evenkeel-a-migrate-1-0.service", "evenkeel-a-migrate-1-migrate-2-0.service", "evenkeel-a-x.service"]
    assert _jobs.migrations(names, "a") == names[:1]
    assert _jobs.migrations(names, "a-migrate-1") == names[1:2]


# -- programs of a host ------------------------------------------------------------------


PROGRAM = {"name": "evenkeel-test", "content": "#!/bin/sh\n# /usr/local/lib/evenkeel/lib\n"}


def test_programs_and_library_are_written_and_removed(run: t.Callable[..., Result], tmp_path: Path) -> None:
    base = tmp_path / "base"
    options = {"base": str(base), "programs": [PROGRAM]}
    dry = run("host_programs", _check=True, **options)
    assert not base.exists()
    result = run("host_programs", **options)
    assert result["actions"] == dry["actions"]
    assert (base / "evenkeel-test").stat().st_mode & 0o777 == 0o755
    source = (ROOT / "plugins" / "module_utils" / "_protocol.py").read_text()
    assert (base / LIBRARY / "_protocol.py").read_text() == source
    assert not run("host_programs", **options)["changed"]
    (base / LIBRARY / "_protocol.py").write_text("old")
    (base / LIBRARY / "_gone.py").write_text("old")
    again = run("host_programs", **options)
    assert again["actions"] == ["changed 2 files of the library"]
    assert "old" not in json.dumps(again["diff"])
    assert not (base / LIBRARY / "_gone.py").exists()
    run("host_programs", base=str(base), programs=[{**PROGRAM, "name": "evenkeel-other"}])
    run("host_programs", **options, state="absent")
    assert not (base / "evenkeel-test").exists()
    assert (base / LIBRARY / "_protocol.py").exists(), "another program uses it"
    run("host_programs", base=str(base), programs=[{"name": "evenkeel-other"}], state="absent")
    assert not base.exists()
    assert not run("host_programs", **options, state="absent")["changed"]


@pytest.mark.parametrize(
    ("program", "words"),
    [({"name": "../x", "content": "x"}, "name on"), ({"name": "x"}, "content on"), ({"mode": "9"}, "mode on")],
)
def test_program_that_cannot_be_written_is_named(
    run: t.Callable[..., Result], tmp_path: Path, program: dict[str, str], words: str
) -> None:
    result = run("host_programs", base=str(tmp_path / "base"), programs=[{"name": "evenkeel-test", **program}])
    assert words in result["msg"]
    assert not (tmp_path / "base").exists()


def test_library_comes_out_of_the_payload_that_ansible_sends(tmp_path: Path) -> None:
    program = (
        "#!/usr/bin/env python3\nimport sys\nsys.path.insert(0, %r)\nfrom %s import _retire\nprint(_retire.SCHEMA)\n"
    )
    base = tmp_path / "base"
    programs = [{"name": "evenkeel-test", "content": program % (str(base / "lib"), UTILS)}]
    argv = ["localhost", "--inventory", "localhost,", "--connection", "local", "--module-name"]
    argv += ["evenkeel.platform.host_programs", "--extra-vars", f"ansible_python_interpreter={sys.executable}"]
    argv += ["--args", json.dumps({"base": str(base), "programs": programs})]
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local")}
    env["ANSIBLE_REMOTE_TMP"] = str(tmp_path / "remote")
    ansible = str(Path(sys.executable).with_name("ansible"))
    done = subprocess.run([ansible, *argv], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = subprocess.run(
        [sys.executable, "-I", str(base / "evenkeel-test")], capture_output=True, text=True, check=False
    )
    assert said.stdout.strip() == str(_retire.SCHEMA), said.stderr


def imported(path: Path) -> set[str]:
    """The module utilities that a file imports, by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(UTILS):
            rest = (node.module or "")[len(UTILS) + 1 :]
            found |= {rest} if rest else {alias.name for alias in node.names}
    return found


def test_what_programs_import_comes_along_with_the_module_that_installs_them() -> None:
    carried: set[str] = set()
    left = imported(ROOT / "plugins" / "modules" / "host_programs.py")
    while left:
        name = left.pop()
        carried.add(name)
        left |= imported(ROOT / "plugins" / "module_utils" / f"{name}.py") - carried
    programs = [
        path
        for path in ROOT.glob("roles/*/files/*")
        if path.is_file()
        and path.read_bytes().startswith(b"#!")
        and b"/usr/local/lib/evenkeel/lib" in path.read_bytes()
    ]
    assert programs
    for path in programs:
        assert imported(path) <= carried, path
