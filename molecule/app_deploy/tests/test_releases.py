# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One app on two edges: releases, refusals and ways back. The tests follow each other; converge left 1.0 on blue."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

STATE = "/var/lib/evenkeel/demo"
RETIRE = "/usr/local/lib/evenkeel/evenkeel-retire"

# What a dry run of a first release cannot tell, and why. Names of tasks without their role.
ONLY_CONVERGE = {
    "compose | migrate | Run it": "a command; a dry run migrates nothing",
    "stack | Start the containers": "there is no folder of the release yet to start them from",
    "stack | Have the stack started at boot": "it follows the start",
    "stack | Let the pointer name the release": "it follows the start",
    "install_programs | Start the retire timer": "there is no unit yet to be started",
    "allow | Load the rules": "a command; the rules are not there yet",
}
ONLY_CHECK: dict[str, str] = {}


def memory(edge):
    """What the running proxy holds, asked at its socket."""
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/haproxy-master.sock'); "
        "s.sendall(b'@1 show map /var/lib/evenkeel/demo/live.map\\n'); s.shutdown(1); print(s.makefile().read())"
    )
    lines = [line for line in edge.check_output(f'python3 -c "{program}"').splitlines() if line.startswith("0x")]
    return [line.split(maxsplit=1)[1] for line in lines]


def entries(edges):
    """The entry of each edge: the file's, which must be the memory's."""
    found = []
    for edge in edges:
        saved = edge.file(f"{STATE}/live.map").content_string.splitlines()
        assert memory(edge) == saved
        found.append(saved[0].split()[1])
    return found


def served(edge):
    """What users of an edge are answered."""
    return json.loads(edge.check_output("curl -sk --resolve demo.lab.test:443:127.0.0.1 https://demo.lab.test/"))[
        "release"
    ]


def running(app, stack):
    """Services of a stack that run, with what they tell of their release."""
    names = app.check_output(
        f"docker ps --filter label=com.docker.compose.project=demo-{stack} --format '{{{{.Names}}}}'"
    ).split()
    return [json.loads(app.check_output(f"docker exec {name} /bin/cat /www/index.html"))["release"] for name in names]


def tasks_of(mode):
    path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"changes-{mode}.json"
    if not path.exists():
        pytest.skip(f"no {mode} was run on these hosts")
    return {(name.split(" : ")[-1], host) for name, host in json.loads(path.read_text(encoding="utf-8"))}


def order_is_due(app, colour):
    """As if the warm time of a colour were over."""
    path = f"{STATE}/retire-{colour}.json"
    order = {**json.loads(app.check_output(f"cat {path}")), "until": 0}
    app.check_output("systemctl stop evenkeel-retire.timer")
    app.check_output(f"printf %s '{json.dumps(order)}' > {path}")


# -- the first release -----------------------------------------------------------


def test_dry_run_told_what_the_first_release_changed():
    dry, real = tasks_of("check"), tasks_of("converge")
    assert {one for one in dry - real if one[0] not in ONLY_CHECK} == set()
    assert {one for one in real - dry if one[0] not in ONLY_CONVERGE} == set()


def test_both_edges_serve_the_same_entry_from_memory_and_file(edges):
    assert entries(edges) == ["blue:0:1.0:"] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2


def test_every_host_has_met_the_same_token_and_shows_its_state_to_nobody(hosts):
    tokens = set()
    for host in hosts.values():
        tokens.add(json.loads(host.check_output(f"cat {STATE}/state.json"))["token"])
        assert host.check_output(f"stat -c %a {STATE}") == "700"
        assert host.check_output(f"find {STATE} -type f ! -perm 600") == ""
    assert len(tokens) == 1
    lease = json.loads(hosts["edge-a"].check_output(f"cat {STATE}/lease.json"))
    assert tokens <= {lease["token"], lease["token"] - 1}  # a run that found nothing to do raises no host's


def test_planted_unit_was_replaced(app):
    assert RETIRE in app.check_output("cat /etc/systemd/system/evenkeel-retire.service")
    assert app.service("evenkeel-retire.timer").is_running
    assert app.service("evenkeel-retire.timer").is_enabled


def test_rollback_with_nothing_to_go_back_to_is_refused(edges, rollback):
    run = rollback()
    assert run.rc != 0
    assert re.search(r"rollback of app demo: found no release before 1\.0 among those kept .* need one", run.output)
    assert entries(edges) == ["blue:0:1.0:"] * 2


# -- refused, and held -------------------------------------------------------------


def test_release_that_never_gets_ready_is_refused_and_the_live_side_left_alone(edges, app, deploy):
    run = deploy("1.2")
    assert run.rc != 0
    assert "release 1.2 of app demo was refused; colour blue serves 1.0 as before" in run.output or (
        "release 1.2 of app demo was refused; colour blue serves as before" in run.output
    ), run.raw
    assert "503" in run.output
    assert entries(edges) == ["blue:0:1.0:"] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2
    assert (running(app, "blue"), running(app, "green"), running(app, "background")) == (["1.0"], [], ["1.0"])


def test_refused_release_is_held(edges, deploy):
    run = deploy("1.2")
    assert run.rc != 0
    assert "held" in run.output
    assert "app_deploy_retry" in run.output
    assert "Start the containers" not in run.output
    assert entries(edges) == ["blue:0:1.0:"] * 2


def test_release_that_ended_and_answers_since_the_engine_started_it_again_is_refused(edges, app, deploy):
    run = deploy("1.3", web_waivers=[{"rule": "read-only", "reason": "it notes that it ended"}])
    assert run.rc != 0
    assert "service web.1 on stack demo-green: found it ended, unhealthy or started again" in run.output, run.raw
    assert entries(edges) == ["blue:0:1.0:"] * 2
    assert (running(app, "blue"), running(app, "green")) == (["1.0"], [])


# -- forward, and back while it is warm ----------------------------------------------


def test_deploy_moves_both_edges_and_the_singleton(edges, app, deploy):
    run = deploy("1.1")
    assert run.rc == 0, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2
    assert [served(edge) for edge in edges] == ["1.1"] * 2
    assert (running(app, "green"), running(app, "background")) == (["1.1"], ["1.1"])
    assert running(app, "blue") == ["1.0"]  # warm


def test_run_that_was_overtaken_is_refused_by_both_edges(edges, module):
    run = module("edge", "blue_green", {"app": "demo", "colour": "blue", "token": 1, "min_servers": 0})
    assert run.rc != 0
    for name in ("edge-a", "edge-b"):
        assert f"{name} | FAILED!" in run.output
    assert run.output.count("token") >= 2
    assert entries(edges) == ["green:0:1.1:1.0"] * 2


def test_rollback_is_one_call_on_each_edge(edges, app, rollback):
    run = rollback()
    assert run.rc == 0, run.raw
    first = run.raw.split("\nPLAY [")[1]
    calls = re.findall(r"^TASK \[([^]]*)\]", first, re.MULTILINE)
    assert [name for name in calls if "include" not in name and "Validating" not in name][-1].endswith("warm side")
    assert len(re.findall(r"^changed: \[edge-[ab]\]", first, re.MULTILINE)) == 2
    assert entries(edges) == ["blue:0:1.0:1.1"] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2
    assert running(app, "background") == ["1.0"]


# -- an edge that does not answer ------------------------------------------------------


def test_move_that_one_edge_cannot_make_goes_back_on_the_other(hosts, edges, app, deploy):
    hosts["edge-b"].check_output("systemctl stop haproxy")
    try:
        run = deploy("1.1", app_deploy_retry="1.1")
        assert run.rc != 0
        assert "release 1.1 of app demo was refused" in run.output, run.raw
        assert re.search(r"blue_green: .*haproxy", run.output), run.raw
        assert entries([hosts["edge-a"]]) == ["blue:0:1.0:1.1"]
        assert served(hosts["edge-a"]) == "1.0"
    finally:
        hosts["edge-b"].check_output("systemctl start haproxy")
    assert [entry.split(":")[:3] for entry in entries(edges)] == [["blue", "0", "1.0"]] * 2
    assert (running(app, "blue"), running(app, "green"), running(app, "background")) == (["1.0"], [], ["1.0"])


def test_release_that_was_refused_goes_live_when_it_is_tried_again(edges, deploy):
    run = deploy("1.1", app_deploy_retry="1.1")
    assert run.rc == 0, run.raw
    assert [entry.split(":")[:3] for entry in entries(edges)] == [["green", "0", "1.1"]] * 2


# -- the old colour, once nobody needs it ----------------------------------------------


def test_old_colour_stays_up_while_one_edge_does_not_answer(hosts, app):
    order_is_due(app, "blue")
    hosts["edge-b"].check_output("systemctl stop haproxy")
    try:
        assert "demo blue: stays up" in app.check_output(RETIRE)
    finally:
        hosts["edge-b"].check_output("systemctl start haproxy")
    assert running(app, "blue") == ["1.0"]


def test_colour_that_an_edge_serves_is_not_stopped(app):
    """An order for it, as a host would keep that was away during a rollback."""
    text = app.check_output(f"cat {STATE}/retire-blue.json").replace("blue", "green")
    app.check_output(f"printf %s '{text}' > {STATE}/retire-green.json")
    try:
        # The other order waits.
        app.check_output(f"mv {STATE}/retire-blue.json {STATE}/kept.json")
        assert re.search(r"demo green: stays up, .* serves it", app.check_output(RETIRE))
    finally:
        app.check_output(f"rm {STATE}/retire-green.json; mv {STATE}/kept.json {STATE}/retire-blue.json")
    assert running(app, "green") == ["1.1"]


def test_old_colour_is_stopped_once_no_edge_serves_it(app):
    assert "demo blue: stopped" in app.check_output(RETIRE)
    assert running(app, "blue") == []
    assert running(app, "green") == ["1.1"]
    assert not app.file(f"{STATE}/retire-blue.json").exists


# -- a boot ------------------------------------------------------------------------------


def test_boot_brings_back_what_was_live_and_not_what_was_retired(edges, app, reboot, until):
    reboot("app-a")
    assert until(lambda: app.run("docker ps").rc == 0)
    assert until(lambda: (running(app, "green"), running(app, "background")) == (["1.1"], ["1.1"]))
    assert until(
        lambda: all(edge.run("curl -skf -H 'Host: demo.lab.test' https://127.0.0.1/").rc == 0 for edge in edges)
    )
    assert [served(edge) for edge in edges] == ["1.1"] * 2
    assert running(app, "blue") == []


# -- the host of the records is down ---------------------------------------------------


def test_rollback_breaks_the_glass_of_no_other_app(edges, rollback):
    run = rollback(app_deploy_break_glass="demoo")
    assert run.rc != 0
    assert "app_deploy: break glass: found demoo, need demo" in run.output
    assert entries(edges) == ["green:0:1.1:1.0"] * 2


def test_rollback_goes_on_without_the_record_host_and_is_mended_when_it_is_back(
    hosts, edges, app, deploy, rollback, powered_off, until
):
    run = deploy("1.0", app_deploy_retry="1.0")
    assert run.rc == 0, run.raw
    assert entries(edges) == ["blue:0:1.0:1.1"] * 2
    with powered_off("edge-a"):
        run = rollback(app_deploy_break_glass="demo")
        assert run.rc == 0, run.raw
        assert "edge-a did not go back" in run.output
        assert entries([hosts["edge-b"]]) == ["green:0:1.1:1.0"]
        assert served(hosts["edge-b"]) == "1.1"
        assert running(app, "background") == ["1.0"]
    assert until(lambda: hosts["edge-a"].run("curl -skf -H 'Host: demo.lab.test' https://127.0.0.1/").rc == 0)
    run = rollback()
    assert run.rc == 0, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2
    assert running(app, "background") == ["1.1"]
    rows = [json.loads(line) for line in hosts["edge-a"].check_output(f"cat {STATE}/ledger.jsonl").splitlines()]
    assert (rows[-1]["kind"], rows[-1]["identity"], rows[-1]["result"]) == ("rollback", "1.1", "live")
