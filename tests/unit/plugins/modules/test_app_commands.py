# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs and commands of an app's containers, and what an app host tells of them."""

from __future__ import annotations

import importlib
import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_commands, _release_facts
from ansible_collections.evenkeel.platform.plugins.module_utils._state import Records

from .conftest import Edge

PACKAGE = "ansible_collections.evenkeel.platform.plugins.modules"
CANARY = "canary-4711"
UNIT = "evenkeel-shop-run-0a1b2c3d.service"
Result = dict[str, t.Any]
Run = t.Callable[..., Result]


class Script:
    """Answers commands: the newest rule whose words all stand in the argument list counts."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.rules: list[tuple[tuple[str, ...], tuple[int, str, str]]] = []

    def on(self, *words: str, rc: int = 0, out: str = "", err: str = "") -> None:
        self.rules.insert(0, (words, (rc, out, err)))

    def __call__(self, argv: list[str], **_options: t.Any) -> tuple[int, str, str]:
        self.calls.append(argv)
        return next((answer for words, answer in self.rules if set(words) <= set(argv)), (0, "", ""))

    def asked(self, *words: str) -> list[list[str]]:
        return [call for call in self.calls if set(words) <= set(call)]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(AnsibleModule, "run_command", script)
    return script


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], script: Script) -> Run:
    secrets = tmp_path / "stacks" / "shop-green" / "secrets" / "v" / "api.1"
    secrets.mkdir(parents=True)
    (secrets / "password").write_text(f"{CANARY}\n")
    release = tmp_path / "stacks" / "shop-green" / "releases" / "1-000000000000"
    release.mkdir(parents=True)
    (release / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "stacks" / "shop-green" / "current").symlink_to("releases/1-000000000000")

    def call(module: str, _check: bool = False, **params: t.Any) -> Result:
        params = {"app": "shop", "base_dir": str(tmp_path / "stacks"), **params}
        if module == "app_command":
            params = {"state_dir": str(tmp_path / "state"), "lock_dir": str(tmp_path / "lock"), **params}
        main = importlib.import_module(f"{PACKAGE}.{module}").main
        capsys.readouterr()
        with patch_module_args({**params, "_ansible_check_mode": _check}), pytest.raises(SystemExit):
            main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return call


def inspected(*entrypoint: str, running: bool = True) -> str:
    state = {"Running": running, "Status": "running" if running else "exited"}
    return json.dumps([{"State": state, "Config": {"Entrypoint": list(entrypoint)}}])


# -- logs -----------------------------------------------------------------------------


def test_logs_of_several_containers_are_merged_and_masked(run: Run, script: Script) -> None:
    script.on("a", out="2026-11-30T10:00:02.5Z second\n", err=f"2026-11-30T10:00:01.5Z password {CANARY}\n")
    script.on("b", out="2026-11-30T10:00:02.0Z between\n2026-11-30T10:00:03.0Z\n")
    script.on("gone", rc=1, err="Error response from daemon: No such container: gone")
    found = run("app_logs", containers=["a", "b", "gone"], since="10m", lines=5)
    assert [(row["container"], row["text"]) for row in found["lines"]] == [
        ("a", "password ********"),
        ("b", "between"),
        ("a", "second"),
        ("b", ""),
    ]
    assert (found["missing"], found["changed"]) == (["gone"], False)
    assert script.asked("a") == [["docker", "logs", "--timestamps", "--tail", "5", "--since", "10m", "a"]]


def test_engine_that_does_not_answer_is_one_sentence(run: Run, script: Script) -> None:
    script.on("docker", rc=1, err="Cannot connect to the Docker daemon")
    found = run("app_logs", containers=["a"])
    assert found["failed"]
    assert found["msg"] == (
        "app_logs: logs on container a: found Cannot connect to the Docker daemon, need its lines. "
        "See 'systemctl status docker' there."
    )


# -- a command in a container that runs ---------------------------------------------------


def test_command_in_a_container_gives_its_output_and_code(run: Run, script: Script) -> None:
    options: Result = {
        "state": "executed",
        "container": "shop.green.api.1",
        "command": ["cat", "/run/secrets/password"],
    }
    script.on("inspect", out=inspected("serve"))
    script.on("exec", rc=3, out=f"{CANARY}\n", err="it failed\n")
    assert run("app_command", _check=True, **options)["changed"]
    assert not script.asked("exec")
    found = run("app_command", **options, timeout_seconds=9)
    assert (found["exit_code"], found["finished"], found["lines"]) == (3, True, ["********", "it failed"])
    assert "failed" not in found
    [call] = script.asked("exec")
    assert call == ["timeout", "--kill-after=5", "9", "docker", "exec", "shop.green.api.1", *options["command"]]


def test_command_has_the_secrets_that_the_program_has_in_its_environment(run: Run, script: Script) -> None:
    loader = ("/bin/sh", "/run/evenkeel/load-secrets", "PASSWORD=password", "--", "serve")
    script.on("inspect", out=inspected(*loader))
    run("app_command", state="executed", container="c", command=["id"])
    assert script.asked("exec")[0][-5:] == [*loader[:4], "id"]
    assert _app_commands.inside(["/bin/sh", "-c", "--"], ["id"]) == ["id"]


@pytest.mark.parametrize(
    ("rc", "out", "err", "found"),
    [(1, "[]", "Error: No such object: c", "Error: No such object: c"), (0, inspected(running=False), "", "it exited")],
)
def test_container_that_does_not_run_is_named(
    run: Run, script: Script, rc: int, out: str, err: str, found: str
) -> None:
    script.on("inspect", rc=rc, out=out, err=err)
    failed = run("app_command", state="executed", container="c", command=["id"])
    assert f"app_command: container on c: found {found}, need it running." in failed["msg"]


# -- a container of its own -------------------------------------------------------------------


def guard(edge: Edge, token: int = 7) -> Result:
    return {"app": "shop", "token": token, "run": "run-a", "move": 4, "edges": [edge.about]}


STARTED: Result = {"state": "started", "stack": "shop-green", "service": "api.1", "command": ["echo", "$HOME $$"]}


def test_one_off_starts_as_a_unit_under_the_gate(run: Run, script: Script, edge: Edge) -> None:
    assert run("app_command", _check=True, **STARTED, guard=guard(edge))["changed"]
    assert not script.asked("systemd-run")
    found = run("app_command", **STARTED, guard=guard(edge), timeout_seconds=90)
    assert not found.get("failed"), found
    number = found["unit"].removesuffix(".service").rpartition("-")[2]
    assert (found["container"], found["finished"]) == (f"shop.api.run-{number}", False)
    [call] = script.asked("systemd-run")
    assert {"--property=RuntimeMaxSec=90", "--service-type=exec", "--remain-after-exit"} <= set(call)
    removal = f"/usr/bin/docker rm --force shop.api.run-{number} >/dev/null 2>&1"
    assert f"--property=ExecStopPost=-/bin/sh -c '{removal}'" in call
    assert {"run", "--rm", "--no-deps"} <= set(call)
    assert call[-4:] == [f"--name=shop.api.run-{number}", "api.1", "echo", "$$HOME $$$$"]


def test_one_off_of_an_overtaken_run_or_another_move_is_refused(
    run: Run, script: Script, edge: Edge, tmp_path: Path
) -> None:
    other = {**guard(edge), "move": 3}
    assert "edge1 is at move 4" in run("app_command", **STARTED, guard=other)["msg"]
    (tmp_path / "state" / "shop").mkdir(parents=True, exist_ok=True)
    record = {"schema": 1, "app": "shop", "token": 9, "run": "run-b"}
    (tmp_path / "state" / "shop" / "pair.json").write_text(json.dumps(record))
    assert "the run was overtaken" in run("app_command", **STARTED, guard=guard(edge))["msg"]
    assert not script.asked("systemd-run")


def shown(active: str, sub: str, result: str = "success", code: int = 0, load: str = "loaded") -> str:
    fields = {"Id": UNIT, "LoadState": load, "ActiveState": active, "SubState": sub, "Result": result}
    fields.update(ExecMainStatus=str(code), InvocationID="abc", ExecMainExitTimestampMonotonic="1")
    return "\n".join(f"{key}={value}" for key, value in fields.items())


def test_one_off_is_polled_and_forgotten_once_it_ended(run: Run, script: Script) -> None:
    script.on("show", out=shown("active", "running"))
    assert not run("app_command", state="finished", unit=UNIT)["finished"]
    assert not script.asked("reset-failed")
    script.on("show", out=shown("failed", "failed", "exit-code", 4))
    script.on("journalctl", out=f"one\nwith {CANARY}\n")
    ended = run("app_command", state="finished", unit=UNIT)
    assert (ended["finished"], ended["exit_code"], ended["lines"]) == (True, 4, ["one", "with ********"])
    assert script.asked("reset-failed", UNIT)
    script.on("show", out=shown("failed", "failed", "timeout", 15))
    assert run("app_command", state="finished", unit=UNIT)["exit_code"] == 124
    script.on("show", out=shown("", "", load="not-found"))
    assert "found it gone, need its exit code" in run("app_command", state="finished", unit=UNIT)["msg"]


def test_units_that_nobody_asks_about_are_removed(run: Run, script: Script, edge: Edge) -> None:
    script.on("list-units", out=f"{UNIT} loaded active exited x\nevenkeel-shop-run-x-run-0a1b2c3d.service a b c\n")
    script.on("show", out=shown("active", "exited"))
    run("app_command", **STARTED, guard=guard(edge))
    # Whether it is old depends on how long this machine is up.
    old = _app_commands.forgotten({"ExecMainExitTimestampMonotonic": "1000000"}, 4000)
    assert old
    assert not _app_commands.forgotten({"ExecMainExitTimestampMonotonic": "1000000"}, 3000)
    assert not _app_commands.forgotten({"ExecMainExitTimestampMonotonic": "0"}, 10**9)
    assert _app_commands.units([UNIT, "evenkeel-shop-run-x-run-0a1b2c3d.service"], "shop") == [UNIT]


# -- facts ------------------------------------------------------------------------------------


def test_details_of_an_app_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_release_facts, "UNITS", tmp_path)
    (tmp_path / "evenkeel-job-shop.report.timer").touch()
    (tmp_path / "evenkeel-job-other.report.timer").touch()

    def seen(name: str, project: str, service: str, **more: t.Any) -> Result:
        labels = {"com.docker.compose.project": project, "com.docker.compose.service": service, **more}
        state = {"Running": True, "Status": "running", "ExitCode": 0, "Health": {"Status": "healthy"}}
        return {"Name": f"/{name}", "Config": {"Labels": labels, "Image": "i"}, "State": state, "RestartCount": 1}

    script = Script()
    script.on("ps", out="1 shop-green\n2 shop-background\n3 other-green\n")
    script.on(
        "inspect",
        "1",
        out=json.dumps(
            [
                seen("shop.green.api.1", "shop-green", "api.1"),
                seen("shop.api.run-1", "shop-green", "api.1", **{"com.docker.compose.oneoff": "True"}),
            ]
        ),
    )
    script.on("is-active", out="active\nfailed\n", rc=3)
    records = Records("release_facts", "shop", str(tmp_path / "state"), str(tmp_path / "lock"), 1, False)
    found = _release_facts.details(records, ["host", "details"], script)
    assert script.asked("inspect") == [["docker", "inspect", "1", "2"]]
    assert found["units"] == {"evenkeel-retire.timer": "active", "evenkeel-job-shop.report.timer": "failed"}
    assert [(row["name"], row["part"], row["service"], row["oneoff"]) for row in found["containers"]] == [
        ("shop.api.run-1", "green", "api.1", True),
        ("shop.green.api.1", "green", "api.1", False),
    ]
    assert found["containers"][1] | {"image": "i", "problem": "", "running": True} == found["containers"][1]


def test_details_without_an_engine_are_empty(tmp_path: Path) -> None:
    script = Script()
    script.on("docker", rc=127)
    records = Records("release_facts", "shop", str(tmp_path), str(tmp_path / "lock"), 1, False)
    assert _release_facts.details(records, ["host"], script)["containers"] == []
