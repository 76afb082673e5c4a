# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verbs of the day on a release with two replicas and a worker. The tests follow those of test_releases.py."""

from __future__ import annotations

import json

import pytest

MORE = {"demo_count": 2, "demo_more_files": ["mill.yaml"]}
CANARY = "Canary-0815-demo"
# Requests one after the other until it is stopped; each that is not answered well leaves a line.
LOAD = (
    "systemd-run --unit=verb-load sh -c 'while :; do curl -skf --max-time 5 --resolve demo.lab.test:443:127.0.0.1 "
    "https://demo.lab.test/ >/dev/null && echo ok >>/run/verb-load || echo lost >>/run/verb-load; done'"
)


@pytest.fixture(scope="module")
def demo(deploy, play):
    """Deploy the release and return a function that runs a verb on it."""
    run = deploy("1.4", retry="1.4", **MORE)
    assert run.rc == 0, run.raw
    return lambda verb, *argv, **options: play(verb, *argv, **{**MORE, **options})


def colour(app):
    """The live colour is the one with two containers, as the release before had one."""
    names = app.check_output("docker ps --format '{{.Names}}'").split()
    return next(side for side in ("blue", "green") if f"demo.{side}.web.2" in names)


def started(app, *names):
    """When each container was started, by its id."""
    text = app.check_output(f"docker inspect {' '.join(names)}")
    return {each["Id"]: each["State"]["StartedAt"] for each in json.loads(text)}


def test_what_was_mistyped_is_named_at_once_and_changes_nothing(demo, app):
    before = app.check_output("docker ps --no-trunc --quiet | sort")
    run = demo("logs", service="webb", side="left", host="app-z", since="yesterday")
    assert run.rc != 0
    for found in ("side: found left", "since: found yesterday", "found webb, need one of", "app-z"):
        assert found in run.output, run.raw
    assert app.check_output("docker ps --no-trunc --quiet | sort") == before


def test_command_and_logs_are_those_of_the_live_side(demo, app):
    side = colour(app)
    run = demo("exec", service="web", command="cat /www/index.html")
    assert run.rc == 0, run.raw
    assert '"release": "1.4"' in run.raw.replace("\\", "")
    app.check_output(f"docker exec demo.{side}.web.2 sh -c 'echo {CANARY} of the second >/proc/1/fd/1'")
    run = demo("logs", service="web", since="10m")
    assert run.rc == 0, run.raw
    assert f"app-a demo.{side}.web.2 | ******** of the second" in run.output, run.raw
    assert CANARY not in run.raw


def test_one_off_has_the_secrets_is_removed_and_passes_its_code_on(demo, app):
    run = demo("run", service="clock", command="sh -c 'cat /run/secrets/word; echo $0 costs; exit 3' $HOME")
    assert run.rc != 0
    assert "found exit code 3, need 0" in run.output, run.raw
    assert "******** $HOME costs" in run.output.replace('", "', " ") or "$HOME costs" in run.output, run.raw
    assert CANARY not in run.raw.replace(json.dumps(MORE), "")
    assert app.check_output("docker ps --all --quiet --filter name=run-") == ""
    assert app.check_output("systemctl list-units --all --plain --no-legend 'evenkeel-demo-run-*'") == ""


def test_restart_loses_no_request(demo, app, edges):
    side = colour(app)
    names = [f"demo.{side}.web.1", f"demo.{side}.web.2"]
    before = started(app, *names)
    for edge in edges:
        edge.check_output(f"rm -f /run/verb-load; {LOAD}")
    run = demo("restart", service="web")
    for edge in edges:
        edge.check_output("systemctl stop verb-load")
    assert run.rc == 0, run.raw
    assert "demo: restarted web.1 on app-a, web.2 on app-a" in run.output
    after = started(app, *names)
    assert after.keys() == before.keys()
    assert all(after[each] > before[each] for each in before)
    for edge in edges:
        lines = edge.check_output("cat /run/verb-load").split()
        assert lines.count("ok") > 10
        assert lines.count("lost") == 0
        assert json.loads(edge.check_output("cat /var/lib/evenkeel/demo/draining.json"))["servers"] == {}


def test_worker_is_scaled_until_doctor_has_it_back(demo, app):
    clock = started(app, "demo.clock")
    run = demo("scale", service="mill", replicas=3)
    assert run.rc == 0, run.raw
    running = "docker ps --format '{{.Names}}' --filter name=demo.mill | sort"
    assert app.check_output(running).split() == ["demo.mill", "demo.mill.2", "demo.mill.3"]
    app.check_output("docker stop --time 1 demo.mill")
    run = demo("doctor")
    assert run.rc == 0, run.raw
    assert "3 containers of mill, the release has 1: it was scaled by hand" in run.output, run.raw
    assert "demo.mill does not run" in run.output
    assert "evenkeel.platform.scale -e app=demo -e service=mill -e replicas=1" in run.output
    run = demo("scale", service="mill", replicas=1)
    assert run.rc == 0, run.raw
    assert app.check_output(running).split() == ["demo.mill"]
    assert started(app, "demo.clock") == clock
    run = demo("doctor", demo_release="1.4")
    assert "serves 1.4" in run.output, run.raw
    assert "nothing differs" in run.output, run.raw
