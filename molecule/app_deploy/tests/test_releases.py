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
EDGE_SYNC = "/usr/local/lib/evenkeel/edge-sync"
# Reloads HAProxy again and again while a move comes: each time its servers wait for their first check.
RELOADS = "systemd-run --unit=reloads sh -c 'for i in 1 2 3 4 5 6 7 8; do systemctl reload haproxy; sleep 0.5; done'"
# Takes the warm time from a state.json.
TIME_IS_OVER = """python3 -c '
import json, pathlib
path = pathlib.Path("{path}")
held = json.loads(path.read_text())
held["warm"]["until"] = 0
path.write_text(json.dumps(held))'"""

# What a dry run of a first release cannot tell, and why. Names of tasks without their role.
ONLY_CONVERGE = {
    "allow | Load the rules": "a command; the rules are not there yet",
    "gate | Probe every replica of the idle colour from every edge": "nothing was started that could pass it",
    "record | Open the run under the lease of the app": "a dry run takes no lease",
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


def moved(edges, entry):
    """Whether every edge has this entry in its file; the memory is ahead of it for a moment."""
    return all(f" {entry}:" in edge.check_output(f"cat {STATE}/live.map") for edge in edges)


def sides(edges):
    """Colour and release that each edge serves."""
    return [tuple(entry.split(":")[::2][:2]) for entry in entries(edges)]


def held(host):
    """What an edge holds beside its entry."""
    return json.loads(host.check_output(f"cat {STATE}/state.json"))


def ledger(hosts):
    return [json.loads(line) for line in hosts["edge-a"].check_output(f"cat {STATE}/ledger.jsonl").splitlines()]


def served(edge):
    """What users of an edge are answered."""
    return json.loads(edge.check_output("curl -sk --resolve demo.lab.test:443:127.0.0.1 https://demo.lab.test/"))[
        "release"
    ]


def answers(edge):
    return edge.run("curl -skf -H 'Host: demo.lab.test' https://127.0.0.1/").rc == 0


def running(app, stack):
    """The releases that services of a stack tell, each once."""
    names = app.check_output(
        f"docker ps --filter label=com.docker.compose.project=demo-{stack} --format '{{{{.Names}}}}'"
    ).split()
    told = [app.check_output(f"docker exec {name} /bin/cat /www/index.html") for name in names]
    return sorted({json.loads(each)["release"] for each in told})


def tasks_of(mode):
    path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"changes-{mode}.json"
    if not path.exists():
        pytest.skip(f"no {mode} was run on these hosts")
    return {(name.split(" : ")[-1], host) for name, host in json.loads(path.read_text(encoding="utf-8"))}


def warm_time_is_over(edges):
    """As if it were; the edges withdraw the side as their timer does."""
    for edge in edges:
        edge.check_output("systemctl stop evenkeel-edge-withdraw.timer")
        edge.check_output(TIME_IS_OVER.format(path=f"{STATE}/state.json"))
        edge.check_output(f"{EDGE_SYNC} withdraw")
        edge.check_output("systemctl start evenkeel-edge-withdraw.timer")


# -- the first release -----------------------------------------------------------


def test_dry_run_told_what_the_first_release_changed():
    dry, real = tasks_of("check"), tasks_of("converge")
    assert {one for one in dry - real if one[0] not in ONLY_CHECK} == set()
    assert {one for one in real - dry if one[0] not in ONLY_CONVERGE} == set()


def test_both_edges_serve_the_same_entry_from_memory_and_file(edges):
    assert entries(edges) == ["blue:0:1.0:"] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2


def test_every_host_has_met_the_run_that_moved_the_traffic_and_shows_its_state_to_nobody(hosts, edges):
    moves = {(held(edge)["move"], held(edge)["moved_by"]["token"], held(edge)["moved_by"]["run"]) for edge in edges}
    [(move, token, run)] = moves
    assert (move, bool(run)) == (1, True)
    for host in hosts.values():
        # A later run that found nothing to do may have made itself known.
        assert json.loads(host.check_output(f"cat {STATE}/pair.json"))["token"] >= token
        assert host.check_output(f"stat -c %a {STATE}") == "700"
        assert host.check_output(f"find {STATE} -type f ! -perm 600") == ""


def test_containers_have_names_that_cannot_meet(app):
    names = app.check_output("docker ps --format '{{.Names}}'").split()
    assert sorted(names) == ["demo.blue.inside.1", "demo.blue.web.1", "demo.clock"]


@pytest.mark.parametrize("container", ["demo.blue.web.1", "demo.clock"])
def test_service_without_a_route_answers_to_its_name(app, container):
    answer = app.check_output(f"docker exec {container} /bin/busybox wget -qO- http://inside:9000/")
    assert json.loads(answer)["release"] == "1.0"


def test_volume_and_networks_are_the_apps_own(app):
    assert app.check_output("docker volume ls --quiet") == "demo_files"
    networks = app.check_output("docker network ls --quiet --filter label=evenkeel.shared=true --format '{{.Name}}'")
    assert networks == "demo-blue"
    app.check_output("echo kept > $(docker volume inspect --format '{{ .Mountpoint }}' demo_files)/upload")
    for container in ("demo.blue.web.1", "demo.clock"):
        assert app.check_output(f"docker exec {container} /bin/cat /files/upload") == "kept"


def test_file_beside_the_compose_file_travels_with_the_release(app):
    assert app.check_output("docker exec demo.blue.web.1 /bin/cat /etc/motd") == "Sails and keel."


def test_environment_is_by_composes_rule(app):
    lines = app.check_output("docker exec demo.clock /bin/cat /proc/1/environ").split("\0")
    assert "GREETING=costs $HOME" in lines
    assert "DEBUG=false" in lines
    assert not [line for line in lines if line.startswith("NOTHING")]
    assert app.check_output("docker exec demo.clock /bin/cat /run/secrets/word").startswith("Canary")


def test_variable_without_a_value_is_refused_before_anything_changes(edges, deploy):
    run = deploy("1.1", registry=None)
    assert "variables.REGISTRY of app demo: found no value" in run.output, run.raw
    assert entries(edges) == ["blue:0:1.0:"] * 2


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
    assert "release 1.2 of app demo was refused; blue serves 1.0 as before" in run.output, run.raw
    assert "503" in run.output
    assert entries(edges) == ["blue:0:1.0:"] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2
    assert (running(app, "blue"), running(app, "green"), running(app, "background")) == (["1.0"], [], ["1.0"])


def test_refused_release_is_held(edges, deploy):
    run = deploy("1.2")
    assert run.rc != 0
    assert "held" in run.output
    assert "Set retry=1.2" in run.output
    assert "Start the containers" not in run.output
    assert entries(edges) == ["blue:0:1.0:"] * 2


def test_release_that_ended_and_answers_since_the_engine_started_it_again_is_refused(edges, app, deploy):
    run = deploy("1.3", web_waivers=[{"rule": "read-only", "reason": "it notes that it ended"}])
    assert run.rc != 0
    assert "service web.1 on stack demo-green: found it ended, unhealthy or started again" in run.output, run.raw
    assert entries(edges) == ["blue:0:1.0:"] * 2
    assert (running(app, "blue"), running(app, "green")) == (["1.0"], [])


# -- forward -------------------------------------------------------------------------


def test_dry_run_of_a_deploy_tells_what_would_come_and_changes_nothing(hosts, edges, app, deploy):
    before = {name: host.check_output(f"cat {STATE}/*.json {STATE}/*.jsonl 2>&1; true") for name, host in hosts.items()}
    run = deploy("1.1", "--check")
    assert run.rc == 0, run.raw
    assert "demo: 1.1 is live on green" in run.output  # what the run would end with
    after = {name: host.check_output(f"cat {STATE}/*.json {STATE}/*.jsonl 2>&1; true") for name, host in hosts.items()}
    assert after == before
    assert (running(app, "blue"), running(app, "green")) == (["1.0"], [])
    assert entries(edges) == ["blue:0:1.0:"] * 2


def test_dry_run_of_a_release_that_is_nowhere_fails_as_the_run_would(deploy):
    run = deploy("9.9", "--check")
    assert run.rc != 0
    assert re.search(r"demo/app:9\.9", run.output), run.raw


def test_killed_deploy_leaves_its_lease(hosts, begin):
    run = begin("deploy", release="1.1")
    run.at("start | Start the containers")
    run.kill()
    assert json.loads(hosts["edge-a"].check_output(f"cat {STATE}/lease.json"))["freed_at"] is None


def test_deploy_moves_both_edges_and_the_singleton(edges, app, deploy):
    """Where a run was killed just before on this controller, it goes on at once."""
    run = deploy("1.1")
    assert run.rc == 0, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2
    assert [served(edge) for edge in edges] == ["1.1"] * 2
    assert (running(app, "green"), running(app, "background")) == (["1.1"], ["1.1"])
    assert running(app, "blue") == ["1.0"]  # warm
    assert [held(edge)["warm"]["release"] for edge in edges] == ["1.0"] * 2


def test_run_that_was_overtaken_is_refused_by_both_edges(edges, module):
    move = held(edges[0])["move"]
    options = {"app": "demo", "colour": "blue", "release": "1.0", "move": move, "token": 1, "run": "overtaken"}
    run = module("edge", "blue_green", options)
    assert run.rc != 0
    for name in ("edge-a", "edge-b"):
        assert f"{name} | FAILED!" in run.output
    assert run.output.count("the run was overtaken on demo: found token 1") >= 2, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2


@pytest.mark.parametrize("playbook", ["rollback", "contract", "maintenance", "unlock"])
def test_limit_that_leaves_an_edge_out_is_refused(playbook, edges, play):
    run = play(playbook, "--limit", "edge-a:app-a", app="demo", reason="a test")
    assert run.rc != 0
    assert "need also edge-b" in run.output, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2
    assert [served(edge) for edge in edges] == ["1.1"] * 2


# -- back while it is warm -------------------------------------------------------------


def test_refused_release_leaves_the_warm_side_warm(edges, app, deploy):
    run = deploy("1.2", retry="1.2")
    assert run.rc != 0
    assert "release 1.2 of app demo was refused; green serves 1.1 as before" in run.output, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2
    assert (running(app, "blue"), running(app, "green")) == (["1.0"], ["1.1"])
    assert [(held(edge)["warm"].get("release"), held(edge)["withdrawn"]) for edge in edges] == [("1.0", {})] * 2
    assert app.file(f"{STATE}/retire-blue.json").exists


def test_dry_run_of_a_rollback_changes_nothing(edges, app, rollback):
    run = rollback("--check")
    assert run.rc == 0, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2
    assert running(app, "background") == ["1.1"]


def test_release_that_is_not_kept_is_gone_back_to_by_nobody(edges, rollback):
    run = rollback(release="0.9")
    assert run.rc != 0
    assert "found release 0.9 not among those kept" in run.output, run.raw
    assert entries(edges) == ["green:0:1.1:1.0"] * 2


def test_rollback_is_one_call_on_each_edge(hosts, edges, app, rollback):
    """Also where an edge was reloaded just now, so that its servers still wait for their first check."""
    hosts["edge-b"].check_output(RELOADS)
    run = rollback()
    assert run.rc == 0, run.raw
    first = run.raw.split("\nPLAY [")[1]
    calls = re.findall(r"^TASK \[([^]]*)\]", first, re.MULTILINE)
    assert [name for name in calls if "include" not in name and "Validating" not in name][-1].endswith("warm side")
    assert len(re.findall(r"^changed: \[edge-[ab]\]", first, re.MULTILINE)) == 2
    assert entries(edges) == ["blue:0:1.0:1.1"] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2
    assert running(app, "background") == ["1.0"]


def test_side_that_a_rollback_left_is_withdrawn_and_stopped(edges, app):
    move = held(edges[0])["move"]
    assert [held(edge)["withdrawn"] for edge in edges] == [{"green": move}] * 2
    assert app.run(RETIRE).rc == 0
    assert (running(app, "blue"), running(app, "green")) == (["1.0"], [])
    assert not app.file(f"{STATE}/retire-green.json").exists


# -- an edge that does not do its part -----------------------------------------------------


def test_move_that_one_edge_cannot_make_goes_back_on_the_other(hosts, edges, app, deploy):
    """Nothing gets through to the public port of one edge, as it finds out itself right after the move."""
    hosts["edge-b"].check_output("nft add table inet fault")
    hosts["edge-b"].check_output("nft 'add chain inet fault in { type filter hook input priority -300; }'")
    hosts["edge-b"].check_output("nft add rule inet fault in tcp dport 443 reject")
    try:
        run = deploy("1.1", retry="1.1")
    finally:
        hosts["edge-b"].check_output("nft delete table inet fault")
    assert run.rc != 0
    assert "release 1.1 of app demo was refused; blue serves 1.0 again" in run.output, run.raw
    assert re.search(r"blue_green: the probe through the public listener failed", run.output), run.raw
    assert sides(edges) == [("blue", "1.0")] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2
    assert len({held(edge)["move"] for edge in edges}) == 1
    assert (running(app, "blue"), running(app, "green"), running(app, "background")) == (["1.0"], [], ["1.0"])


def test_edge_that_is_lost_right_after_its_move_keeps_what_it_serves(hosts, edges, app, begin, lost, until):
    loss = lost("edge-b")
    run = begin("deploy", loss.env, release="1.1", retry="1.1")
    assert until(lambda: moved([hosts["edge-b"]], "green:0:1.1"), 240)
    loss.cut()
    done = run.end()
    assert done.rc != 0
    assert re.search(r"host edge-b: found it unreachable", done.output), done.raw
    assert re.search(r"edge-b serves green", done.output), done.raw
    assert sides(edges) == [("blue", "1.0"), ("green", "1.1")]
    assert [served(edge) for edge in edges] == ["1.0", "1.1"]
    assert (running(app, "blue"), running(app, "green")) == (["1.0"], ["1.1"])


def test_release_that_was_refused_goes_live_when_it_is_tried_again(edges, app, deploy):
    """Both edges are of one mind again."""
    run = deploy("1.1", retry="1.1")
    assert run.rc == 0, run.raw
    assert sides(edges) == [("green", "1.1")] * 2
    assert [served(edge) for edge in edges] == ["1.1"] * 2
    assert (running(app, "green"), running(app, "background")) == (["1.1"], ["1.1"])


# -- the old colour, once nobody needs it ----------------------------------------------


def test_old_colour_stays_up_while_one_edge_does_not_answer(hosts, edges, app):
    app.check_output("systemctl stop evenkeel-retire.timer")
    assert "demo blue: stays up, edge-a shows blue not withdrawn" in app.check_output(RETIRE)
    warm_time_is_over(edges)
    hosts["edge-b"].check_output("systemctl stop haproxy")
    try:
        assert "demo blue: stays up, edge-b does not show what it serves" in app.check_output(RETIRE)
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
        assert re.search(r"demo green: stays up, .* serves green", app.check_output(RETIRE))
    finally:
        app.check_output(f"rm {STATE}/retire-green.json; mv {STATE}/kept.json {STATE}/retire-blue.json")
    assert running(app, "green") == ["1.1"]


def test_old_colour_is_stopped_once_every_edge_has_withdrawn_it(app):
    assert "demo blue: stopped" in app.check_output(RETIRE)
    assert running(app, "blue") == []
    assert running(app, "green") == ["1.1"]
    assert not app.file(f"{STATE}/retire-blue.json").exists


# -- a boot ------------------------------------------------------------------------------


def test_boot_brings_back_what_was_live_and_not_what_was_retired(edges, app, reboot, until):
    reboot("app-a")
    assert until(lambda: app.run("docker ps").rc == 0)
    assert until(lambda: (running(app, "green"), running(app, "background")) == (["1.1"], ["1.1"]))
    assert until(lambda: all(answers(edge) for edge in edges))
    assert [served(edge) for edge in edges] == ["1.1"] * 2
    assert running(app, "blue") == []


# -- the live release again, and back without anybody outside ---------------------------------


def test_live_release_deployed_after_a_killed_one_is_no_new_release(edges, app, begin, deploy):
    run = begin("deploy", release="1.0", retry="1.0")
    run.at("start | Start the containers")
    run.kill()
    before = entries(edges)
    run = deploy("1.1")
    assert run.rc == 0, run.raw
    assert entries(edges) == before
    assert (running(app, "green"), running(app, "background")) == (["1.1"], ["1.1"])


def test_failure_of_the_means_holds_no_release(hosts, edges, app, deploy):
    app.check_output("systemctl stop docker-registry")
    run = deploy("1.4")
    assert run.rc != 0
    assert "127.0.0.1:5000" in run.output, run.raw
    assert sides(edges) == [("green", "1.1")] * 2
    assert "1.4" not in {row["identity"] for row in ledger(hosts)}


def test_cold_rollback_asks_no_registry(hosts, edges, app, rollback):
    assert not app.service("docker-registry").is_running
    try:
        run = rollback()
    finally:
        app.check_output("systemctl start docker-registry")
    assert run.rc == 0, run.raw
    assert sides(edges) == [("blue", "1.0")] * 2
    assert [served(edge) for edge in edges] == ["1.0"] * 2
    assert (running(app, "blue"), running(app, "background")) == (["1.0"], ["1.0"])
    assert ledger(hosts)[-1]["result"] == "live"


# -- back to a release by its name, and back twice ---------------------------------------------


def test_rollback_goes_to_the_release_that_was_named_and_not_to_the_warm_one(hosts, edges, app, deploy, rollback):
    run = deploy("1.4", retry="1.4")
    assert run.rc == 0, run.raw
    assert [held(edge)["warm"]["release"] for edge in edges] == ["1.0"] * 2
    # It is held, as an earlier rollback has left it.
    run = rollback(release="1.1", retry="1.1")
    assert run.rc == 0, run.raw
    assert sides(edges) == [("blue", "1.1")] * 2
    assert [served(edge) for edge in edges] == ["1.1"] * 2
    assert (running(app, "blue"), running(app, "background")) == (["1.1"], ["1.1"])
    assert [ledger(hosts)[-1][key] for key in ("kind", "identity", "result")] == ["rollback", "1.1", "live"]


def test_going_back_twice_is_going_back_once(edges, app, begin, rollback):
    run = begin("deploy", release="1.4", retry="1.4")
    run.at("drain | Wait")
    run.kill()
    assert sides(edges) == [("green", "1.4")] * 2
    run = begin("rollback")
    run.at("facts | Read")
    run.kill()
    assert sides(edges) == [("blue", "1.1")] * 2
    run = rollback()
    assert run.rc == 0, run.raw
    assert sides(edges) == [("blue", "1.1")] * 2
    assert (running(app, "blue"), running(app, "background")) == (["1.1"], ["1.1"])


# -- a side that is no more ----------------------------------------------------------------------


def test_nobody_moves_to_a_side_that_died_meanwhile(edges, app, begin, until):
    """The singleton of the release ends at once, and what served before is stopped after the move."""
    run = begin("deploy", release="1.4", retry="1.4", clock_command="/bin/false")
    assert until(lambda: moved(edges, "green:0:1.4+2"), 240)
    app.check_output("docker stop --time 1 demo.blue.web.1")
    done = run.end()
    assert done.rc != 0
    assert re.search(r"traffic could not go back, so green serves 1\.4\+2", done.output), done.raw
    assert sides(edges) == [("green", "1.4+2")] * 2
    assert [served(edge) for edge in edges] == ["1.4"] * 2
    assert running(app, "green") == ["1.4"]


def test_next_deploy_mends_what_that_left(edges, app, deploy):
    run = deploy("1.4", retry="1.4")
    assert run.rc == 0, run.raw
    assert sides(edges) == [("blue", "1.4")] * 2
    assert (running(app, "blue"), running(app, "background")) == (["1.4"], ["1.4"])


# -- a lease that is in the way ---------------------------------------------------------------------


def test_unlock_takes_the_lease_away_and_its_run_is_refused_everywhere(hosts, edges, module, deploy, play):
    lease = {"app": "demo", "owner": "anna", "run": "gone", "reason": "on her own machine", "lease_seconds": 300}
    run = module("edge-a", "release_lease", {**lease, "token_floor": held(edges[0])["moved_by"]["token"]})
    assert run.rc == 0, run.raw
    token = json.loads(hosts["edge-a"].check_output(f"cat {STATE}/lease.json"))["token"]
    run = deploy("1.1", retry="1.1")
    assert run.rc != 0
    assert re.search(r"another run holds the lease on demo: found run gone of anna", run.output), run.raw
    assert "evenkeel.platform.unlock -e app=demo -e reason=" in run.output
    run = play("unlock", app="demo", reason="her machine is gone")
    assert run.rc == 0, run.raw
    assert "demo: the lease of anna was taken away" in run.output
    run = module("edge", "blue_green", {"app": "demo", "state": "raised", "token": token, "run": "gone"})
    assert run.output.count("the run was overtaken on demo") >= 2, run.raw


# -- an edge that is down for good -----------------------------------------------------------------


def test_edge_that_is_declared_out_holds_nothing_up_and_comes_back_confirmed(
    hosts, edges, begin, deploy, lost, powered_off, until
):
    with powered_off("edge-b"):
        away = lost("edge-b").env
        run = begin("deploy", away, release="1.1", retry="1.1").end()
        assert run.rc != 0
        assert "host edge-b: found it unreachable" in run.output, run.raw
        assert "-e edge_out=edge-b" in run.output
        assert sides([hosts["edge-a"]]) == [("blue", "1.4")]
        run = deploy("1.1", retry="1.1", edge_out="edge-b")
        assert run.rc == 0, run.raw
        assert sides([hosts["edge-a"]]) == [("green", "1.1")]
        assert list(held(hosts["edge-a"])["out"]) == ["edge-b"]
    assert until(lambda: hosts["edge-b"].run("curl -sk https://127.0.0.1/").rc == 0)
    assert not answers(hosts["edge-b"])  # not before it is taken back in
    run = deploy("1.1")
    assert run.rc == 0, run.raw
    assert held(hosts["edge-a"])["out"] == {}
    assert sides(edges) == [("green", "1.1")] * 2
    assert [served(edge) for edge in edges] == ["1.1"] * 2


# -- the host of the records is down ---------------------------------------------------


def test_rollback_breaks_the_glass_of_no_other_app(edges, rollback):
    run = rollback(app_deploy_break_glass="demoo")
    assert run.rc != 0
    assert "rollback of app demoo without records: found no edge that answers" in run.output, run.raw
    assert sides(edges) == [("green", "1.1")] * 2


def test_rollback_goes_on_without_the_record_host_and_is_mended_when_it_is_back(
    hosts, edges, app, deploy, rollback, powered_off, until
):
    run = deploy("1.0", retry="1.0")
    assert run.rc == 0, run.raw
    # A release that was pruned before comes back under a further number.
    (_colour, identity), _second = sides(edges)
    assert identity.partition("+")[0] == "1.0"
    assert entries(edges) == [f"blue:0:{identity}:1.1"] * 2
    with powered_off("edge-a"):
        run = rollback(app="demo", without_records=True)
        assert run.rc == 0, run.raw
        assert "edge-a did not go back" in run.output
        assert entries([hosts["edge-b"]]) == [f"green:0:1.1:{identity}"]
        assert served(hosts["edge-b"]) == "1.1"
        assert running(app, "background") == ["1.0"]
    assert until(lambda: answers(hosts["edge-a"]))
    run = rollback()
    assert run.rc == 0, run.raw
    assert entries(edges) == [f"green:0:1.1:{identity}"] * 2
    assert running(app, "background") == ["1.1"]
    rows = ledger(hosts)
    assert (rows[-1]["kind"], rows[-1]["identity"], rows[-1]["result"]) == ("rollback", "1.1", "live")
