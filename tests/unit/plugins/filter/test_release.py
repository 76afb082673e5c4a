# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wish, plan and way back of a run, from what the inventory names and what the hosts answer."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.filter import release
from ansible_collections.evenkeel.platform.plugins.filter.docker_firewall import docker_firewall_rules
from ansible_collections.evenkeel.platform.plugins.module_utils import _controller, _model, _release_content

Data = dict[str, t.Any]
DIGEST = "@sha256:" + "a" * 64
LIMITS = {"memory": "64m", "cpus": 0.1, "pids": 32}
APP: Data = {
    "name": "shop",
    "release": "1.2",
    "hosts": ["shop.example.com"],
    "port_base": 20000,
    "services": [
        {
            "name": "api",
            "image": "registry.example.com/shop",
            "port": 8000,
            "routes": [{"path": "/"}],
            "health": {"path": "/readyz"},
            "healthcheck": ["CMD", "true"],
            "resources": LIMITS,
            "user": "10001",
            "secrets": [{"name": "password", "value": "canary"}],
        },
        {
            "name": "bot",
            "kind": "singleton",
            "image": "registry.example.com/shop",
            "healthcheck": ["CMD", "true"],
            "resources": LIMITS,
            "user": "10001",
        },
    ],
    "migration": [{"service": "api", "command": ["migrate"], "idempotent": True}],
    "strategy": {"warm_seconds": 600},
}
EDGES = ("edge1", "edge2")
HOSTS = ("app1", "app2")
EVERYONE = (*EDGES, *HOSTS)


def entry(text: str) -> Data:
    colour, weight, name, other = text.split(":")
    return {"text": text, "colour": colour, "weight": int(weight), "release": name, "other_release": other}


def edge(text: str = "green:0:1.1:1.0", move: int = 7, **more: t.Any) -> Data:
    return {
        "entry": entry(text),
        "move": move,
        "pair": {"token": 5, "run": "r5"},
        "withdrawn": {},
        "warm": {"colour": "blue", "release": "1.0", "until": 10**10, "move": move},
        "out": {},
        "confirmed": True,
        "running": True,
        "record": {},
        "record_problems": [],
        "recorded": True,
        **more,
    }


def kept(identity: str) -> Data:
    name = identity.partition("+")[0]
    content = _release_content.content(
        _model.of({**APP, "release": name}), {f"registry.example.com/shop:{name}": DIGEST}
    )
    return {"identity": identity, "release": name, "hash": identity, "content": content, "created_at": identity}


def live_row(identity: str, previous: str, **more: t.Any) -> Data:
    return {
        "identity": identity,
        "release": identity.partition("+")[0],
        "kind": "deploy",
        "result": "live",
        "previous": previous,
        **more,
    }


def records(**more: t.Any) -> Data:
    return {
        "releases": [kept("1.1"), kept("1.0"), kept("0.9")],
        "live_rows": [live_row("1.1", "1.0"), live_row("1.0", "")],
        "ledger": [],
        "unfinished_lines": [],
        "lease": {"held": False},
        "pending_contract": [],
        "homes": {},
        **more,
    }


def hostvars(edges: t.Mapping[str, Data] | None = None, book: Data | None = None) -> dict[str, Data]:
    """Return what each host answered; edge1 has the records."""
    edges = edges if edges is not None else {name: edge() for name in EDGES}
    found: dict[str, Data] = {}
    for number, name in enumerate(EVERYONE):
        answer: Data = {"pair": {"token": 5, "run": "r5"}, "edge": {}, "host": {}, "records": {}}
        if name in EDGES:
            answer["edge"] = edges.get(name, {})
            answer["records"] = (book or records()) if name == "edge1" else {}
        else:
            answer["host"] = {"engine": True, "stacks": {}, "firewall": []}
        found[name] = {"platform_address": f"192.0.2.{number}"}
        if name in HOSTS or name in edges:
            found[name]["__app_deploy_facts"] = answer
    return found


def options(**more: t.Any) -> Data:
    return {
        "kind": "deploy",
        "release": "",
        "edges": list(EDGES),
        "hosts": list(HOSTS),
        "record_host": "edge1",
        "status_port": 8405,
        "https_port": 443,
        "installing": False,
        "keep_by_hand": False,
        "check_mode": False,
        "out": [],
        "again": False,
        **more,
    }


def wish(found: dict[str, Data], **more: t.Any) -> Data:
    return release.release_wish([APP], found, list(EVERYONE), "shop", options(**more))


def opened(**more: t.Any) -> Data:
    return {
        "identity": "1.2",
        "token": 6,
        "run": "r6",
        "from": "green",
        "to": "blue",
        "settled": False,
        "unchanged": False,
        "held": False,
        "held_reason": "",
        "migrated": False,
        "resume": {"boundary": ""},
        "former": {},
        "rehomed": {},
        **more,
    }


def plan(found: dict[str, Data], answer: Data | None = None, **more: t.Any) -> tuple[Data, Data]:
    for name in HOSTS:
        found[name]["__app_deploy_fetched"] = {
            "images": {"registry.example.com/shop:1.2": "registry.example.com/shop" + DIGEST}
        }
    asked = wish(found, **more)
    return asked, release.release_plan(asked, answer or opened(), found, options(**more))


# -- wish --------------------------------------------------------------------


def test_token_floor_is_the_highest_that_any_host_has_met() -> None:
    """Also where the only edge was rebuilt and has met none."""
    found = hostvars({name: edge(pair={"token": 0, "run": ""}) for name in EDGES})
    found["edge1"]["__app_deploy_facts"]["pair"] = {"token": 0, "run": ""}
    found["app2"]["__app_deploy_facts"]["pair"] = {"token": 40, "run": "r40"}
    assert wish(found)["token_floor"] == 40


def test_an_edge_without_answer_is_refused_by_name_or_declared_out() -> None:
    found = hostvars({"edge1": edge()})
    assert "edge edge2: found no answer" in wish(found)["refusals"][0]
    assert "-e edge_out=edge2" in wish(found)["refusals"][0]
    _asked, made = plan(hostvars({"edge1": edge()}), out=["edge2"])
    assert made["edge_names"] == ["edge1"]
    rules = made["hosts"]["app1"]["rules"]
    assert "192.0.2.1" not in str(rules)  # the colour ports are closed to it


def test_a_rollback_names_its_release_or_is_refused() -> None:
    asked = wish(hostvars(), kind="rollback", release="0.9")
    assert (asked["target"], asked["model"]["release"], asked["refusals"]) == ("0.9", "0.9", [])
    refused = wish(hostvars(), kind="rollback", release="0.1")
    assert "found release 0.1 not among those kept (1.1, 1.0, 0.9)" in refused["refusals"][0]


def test_a_rollback_asks_for_no_image_but_by_digest() -> None:
    assert wish(hostvars(), kind="rollback")["images"] == [DIGEST]


def test_a_secret_of_a_kept_release_without_value_is_named() -> None:
    bare = copy.deepcopy(APP)
    del bare["services"][0]["secrets"]
    asked = release.release_wish([bare], hostvars(), list(EVERYONE), "shop", options(kind="rollback"))
    assert "found no value for api/password" in asked["refusals"][0]


def test_what_was_deployed_by_hand_stays_until_the_inventory_names_another() -> None:
    by_hand = records(live_rows=[live_row("1.1", "1.0", by_hand=True, inventory_release="1.2")])
    asked = wish(hostvars(book=by_hand), keep_by_hand=True)
    assert (asked["target"], asked["model"]["release"]) == ("1.1", "1.1")
    assert "1.1 is live, as it was deployed by hand; the inventory names 1.2" in asked["note"]
    changed = records(live_rows=[live_row("1.1", "1.0", by_hand=True, inventory_release="1.0")])
    assert wish(hostvars(book=changed), keep_by_hand=True)["model"]["release"] == "1.2"
    assert wish(hostvars(book=by_hand))["model"]["release"] == "1.2"


def test_a_dead_runner_on_this_controller_is_seen() -> None:
    mine = _controller.this()
    held = {"held": True, "run": "r5", "controller": {**mine, "pid": 2**22 + 1, "started": 5}}
    assert wish(hostvars(book=records(lease=held)))["dead_run"] == "r5"
    assert wish(hostvars(book=records(lease={**held, "controller": mine})))["dead_run"] == ""
    assert wish(hostvars(book=records(lease={**held, "controller": {**mine, "machine": "other"}})))["dead_run"] == ""


def test_no_secret_stands_in_wish_or_plan() -> None:
    asked, made = plan(hostvars())
    assert "canary" not in str(asked)
    assert "canary" not in str(made)
    rows = release.release_rows(made["hosts"]["app1"]["colour"]["secrets"], release.release_secrets("shop", [APP]))
    assert rows[0]["value"] == "canary"
    with pytest.raises(AnsibleFilterError, match="found no value for api/password"):
        release.release_rows(made["hosts"]["app1"]["colour"]["secrets"], {})


# -- plan --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "stages"),
    [
        pytest.param({}, "deploy", "migrate withdraw start gate switch handover drain seal", id="deploy"),
        pytest.param(
            {"from": "", "to": "blue"}, "deploy", "migrate withdraw start gate switch handover seal", id="first"
        ),
        pytest.param({"migrated": True}, "deploy", "withdraw start gate switch handover drain seal", id="migrated"),
        pytest.param(
            {"resume": {"boundary": "moved"}}, "deploy", "switch handover drain seal", id="resumed-behind-the-move"
        ),
        pytest.param({"settled": True, "from": ""}, "deploy", "handover seal", id="only-what-follows-traffic"),
        pytest.param({"settled": True}, "rollback", "handover drain seal", id="warm-rollback"),
        pytest.param({}, "rollback", "withdraw start gate switch handover drain seal", id="cold-rollback"),
        pytest.param({"unchanged": True, "to": "green"}, "deploy", "", id="unchanged"),
        pytest.param({"held": True}, "deploy", "", id="held"),
    ],
)
def test_stages(answer: Data, kind: str, stages: str) -> None:
    found = hostvars()
    made = plan(found, opened(**answer), kind=kind)[1]
    assert made["stages"] == stages.split()
    assert made["mend"] is answer.get("unchanged", False)


def test_acts_assume_the_move_they_are_planned_for() -> None:
    made = plan(hostvars())[1]
    assert (made["move"], made["move_after"]) == (7, 8)
    assert made["guards"]["idle"] == {**made["guards"]["before"], "colour": "blue"}
    assert made["guards"]["after"]["move"] == 8
    assert made["retire"] == {"colour": "green", "stack": "shop-green"}
    assert made["entry_after"] == "blue:0:1.2:1.1"
    assert [each["name"] for each in made["guards"]["before"]["edges"]] == list(EDGES)


def test_an_edge_that_is_behind_is_brought_along_first() -> None:
    edges = {"edge1": edge("blue:0:1.2:1.1", 8), "edge2": edge("green:0:1.1:1.0", 7)}
    made = plan(hostvars(edges), opened(**{"from": "blue", "to": "green"}))[1]
    assert made["behind"] == {"edge2": {"entry": "green:0:1.1:1.0", "move": 7}}
    assert (made["entry"]["text"], made["move"]) == ("blue:0:1.2:1.1", 8)


def test_an_edge_that_was_declared_out_is_brought_along_and_taken_back_in() -> None:
    """Also where it holds the live entry already, but serves nothing until it is told to."""
    edges = {"edge1": edge(out={"edge2": {"reason": "gone"}}), "edge2": edge(confirmed=False)}
    made = plan(hostvars(edges))[1]
    assert made["readmitted"] == ["edge2"]
    again = plan(hostvars(edges), out=["edge2"])[1]
    assert (again["out"], again["readmitted"], again["edge_names"]) == ([], [], ["edge1"])  # declared already


@pytest.mark.parametrize(("stayed", "back"), [EDGES, EDGES[::-1]])
def test_routes_of_an_edge_that_is_let_in_again_are_those_of_the_others(stayed: str, back: str) -> None:
    live = edge(loaded=True, workers=[{"value": "green:0:1.1:1.0"}], out={back: {"reason": "gone"}})
    routes = {"blue": [], "green": [{"host": "shop.test", "path": "/new", "service": "api"}]}
    old = {**live, "confirmed": False, "out": {}, "record": {"app": "shop", "routes": {**routes, "green": []}}}
    found = {stayed: {**live, "record": {"app": "shop", "routes": routes}}, back: old}
    made = plan(hostvars({name: found[name] for name in EDGES}))[1]
    assert made["record"]["routes"]["green"] == routes["green"]
    assert (made["edges_new"], made["edges_changed"]) == ([back], [stayed])  # its routes before its traffic
    assert made["behind"] == {back: {"entry": "green:0:1.1:1.0", "move": 7}}
    assert made["edge_names"] == list(EDGES)


def test_an_edge_declared_out_that_went_further_alone_is_not_followed() -> None:
    edges = {
        "edge1": edge("green:0:1.1:1.0", 7, out={"edge2": {"reason": "gone"}}),
        "edge2": edge("blue:0:1.2:1.1", 9, confirmed=False),
    }
    made = plan(hostvars(edges))[1]
    assert made["entry"]["text"] == "green:0:1.1:1.0"
    # Both end at one move, which neither has met.
    assert made["move"] == 10
    assert {name: about["move"] for name, about in made["behind"].items()} == {"edge1": 7, "edge2": 9}


def test_edges_that_serve_different_entries_of_one_move_end_at_the_next() -> None:
    edges = {"edge1": edge("green:0:1.1:1.0", 7), "edge2": edge("blue:0:1.0:1.1", 7)}
    made = plan(hostvars(edges))[1]
    assert made["move"] == 8
    assert sorted(made["behind"]) == list(EDGES)


def test_an_edge_that_this_run_declares_out_is_not_among_the_lost() -> None:
    asked, made = plan(hostvars({"edge1": edge()}), out=["edge2"])
    found = after({"edge1": edge(withdrawn={"blue": 7})})
    for name in ("edge1", *HOSTS):
        found[name]["__app_deploy_facts_now"] = found[name]["__app_deploy_facts"]
    back = release.release_undo(made, asked, found, EVERYONE, options(out=["edge2"]))
    assert "edge2" not in str(back["reasons"])


def test_hosts_of_singletons_come_last_and_a_former_home_stops_its_own() -> None:
    made = plan(hostvars(), opened(rehomed={"bot": "app2"}))[1]
    assert made["hosts"]["app2"]["leaving"] == ["bot"]
    assert (made["hosts"]["app1"]["batch"], made["hosts"]["app2"]["batch"]) == (1, 0)
    assert made["batches"] == [[0], [1]]


def test_rollback_without_records_reports_each_edge() -> None:
    entry = {"release": "1.0", "colour": "blue"}
    went = {"edge1": {"__app_deploy_rollback": {"after": entry}}, "edge2": {"__app_deploy_rollback": {"failed": True}}}
    found = release.release_without_records("shop", went, list(EDGES))
    assert found["moved"] == ["edge1"]
    assert "edge1 serves 1.0 on blue. edge2 did not go back" in found["message"]
    none = release.release_without_records("shop", {name: {} for name in EDGES}, list(EDGES))
    assert none["moved"] == []
    assert none["message"].endswith("Run ansible-playbook evenkeel.platform.rollback -e app=shop")


@pytest.mark.parametrize(
    ("steady", "batches"),
    [
        pytest.param({"app1": ["bot", "worker"], "app2": ["worker"]}, [[0, 1]], id="at its home alone"),
        pytest.param({"app1": ["worker"], "app2": ["worker"]}, [[0, 1]], id="nowhere"),
        pytest.param({"app1": ["worker"], "app2": ["bot", "worker"]}, [[0], [1]], id="elsewhere"),
        pytest.param({"app1": ["bot"], "app2": ["bot"]}, [[0], [1]], id="there twice"),
        pytest.param({"app1": ["bot", "worker"]}, [[0], [1]], id="a host was not asked"),
        pytest.param({}, [[0], [1]], id="none was asked"),
    ],
)
def test_hosts_hand_over_together_where_each_singleton_is_at_home(
    steady: dict[str, list[str]], batches: list[list[int]]
) -> None:
    found = hostvars()
    for host, beside in steady.items():
        found[host]["__app_deploy_steady"] = {"beside": beside}
    assert release.release_batches(plan(found)[1], found) == batches


def test_ports_are_opened_where_they_are_not() -> None:
    made = plan(hostvars())[1]
    assert made["hosts"]["app2"]["open_ports"]
    lines = docker_firewall_rules(made["hosts"]["app2"]["rules"])
    found = hostvars()
    found["app2"]["__app_deploy_facts"]["host"]["firewall"] = [line for line in lines if "accept" in line]
    made = plan(found)[1]
    assert (made["hosts"]["app1"]["open_ports"], made["hosts"]["app2"]["open_ports"]) == (True, False)


def test_an_edge_that_was_added_to_a_live_app_is_configured_before_it_follows() -> None:
    added = edge(":0::", 0, recorded=False, loaded=True, workers=[{"value": None}], warm={})
    live = edge(loaded=True, record={"app": "shop"}, workers=[{"value": "green:0:1.1:1.0"}])
    made = plan(hostvars({"edge1": live, "edge2": added}), opened(unchanged=True, to="green"))[1]
    assert made["edges_new"] == ["edge2"]
    assert list(made["behind"]) == ["edge2"]
    assert made["hosts"]["app1"]["open_ports"]


def test_a_tag_that_moved_between_two_hosts_is_refused() -> None:
    found = hostvars()
    asked = plan(found)[0]
    found["app2"]["__app_deploy_fetched"]["images"]["registry.example.com/shop:1.2"] = (
        "registry.example.com/shop@sha256:b"
    )
    assert "need the same everywhere" in release.release_content(asked, found)["refusals"][0]


# -- the way back --------------------------------------------------------------


def undo(found: dict[str, Data], made: Data, asked: Data, hosts: t.Sequence[str] = EVERYONE, **result: t.Any) -> Data:
    for name in hosts:
        found[name]["__app_deploy_facts_now"] = found[name].get("__app_deploy_facts", {})
    found["edge1"]["ansible_failed_task"] = {"name": result.pop("task", "start | Start the containers")}
    found["edge1"]["ansible_failed_result"] = {"msg": "why", **result}
    return release.release_undo(made, asked, found, EVERYONE, options())


def after(edges: t.Mapping[str, Data], token: int = 6, run: str = "r6") -> dict[str, Data]:
    found = hostvars(edges, records(unfinished_lines=[{"boundary": "leased"}]))
    for name in edges:
        found[name]["__app_deploy_facts"]["pair"] = {"token": token, "run": run}
        found[name]["__app_deploy_facts"]["edge"]["pair"] = {"token": token, "run": run}
    return found


def test_before_the_move_the_idle_side_is_made_warm_again() -> None:
    asked, made = plan(hostvars())
    edges = {name: edge(withdrawn={"blue": 7}, warm={}) for name in EDGES}
    back = undo(after(edges), made, asked, evidence=["service api: exited"])
    assert (back["back"], back["remove"], back["result"]) == ([], True, "refused")
    assert back["warm"]["release"] == "1.0"
    assert back["gate"]["release"] == "1.0"
    assert back["guards"]["idle"]["colour"] == "blue"


def test_before_anything_was_withdrawn_nothing_is_removed() -> None:
    asked, made = plan(hostvars())
    back = undo(after({name: edge() for name in EDGES}, token=5, run="r5"), made, asked)
    assert (back["back"], back["remove"], back["hosts"]) == ([], False, {})


def test_after_the_move_only_edges_that_serve_it_move_back() -> None:
    asked, made = plan(hostvars())
    edges = {"edge1": edge("blue:0:1.2:1.1", 8, warm={}), "edge2": edge("green:0:1.1:1.0", 7)}
    back = undo(after(edges), made, asked, failed_targets=["x"])
    assert (back["back"], back["move_after"]) == (["edge1"], 9)
    assert sorted(back["moves"]) == list(EDGES)  # all edges end at one move
    assert back["hosts"]["app1"]["label"] == "1.1"
    done = after(edges)
    done["edge1"]["__app_deploy_back"] = {"after": entry("green:0:1.1:1.2")}
    end = release.release_undone(back, done, EVERYONE)
    assert end["entry"] == "green:0:1.1:1.2"
    assert end["message"].startswith("app_deploy: release 1.2 of app shop was refused; green serves 1.1 again.")


def test_where_one_edge_moved_back_by_itself_the_release_before_is_brought_back() -> None:
    asked, made = plan(hostvars())
    edges = {"edge1": edge("blue:0:1.2:1.1", 8, warm={}), "edge2": edge("green:0:1.1:1.2", 9, warm={})}
    back = undo(after(edges), made, asked, probe={"ok": False})
    assert (back["back"], back["move_after"]) == (["edge1"], 10)
    assert back["hosts"]["app1"]["label"] == "1.1"


def test_where_the_way_back_is_dead_traffic_stays_and_the_message_says_so() -> None:
    asked, made = plan(hostvars())
    back = undo(after({name: edge("blue:0:1.2:1.1", 8, warm={}) for name in EDGES}), made, asked)
    done = after({name: edge("blue:0:1.2:1.1", 8) for name in EDGES})
    for name in EDGES:
        done[name]["__app_deploy_back"] = {
            "failed": False,  # as Ansible sets it for a task with failed_when false
            "msg": "blue_green: too few servers.",
            "after": entry("blue:0:1.2:1.1"),
        }
    end = release.release_undone(back, done, EVERYONE)
    assert not end["sealable"]
    assert "failed and traffic could not go back, so blue serves 1.2. blue_green: too few servers." in end["message"]
    done["app1"]["__app_deploy_removed"] = {"failed": False, "msg": "compose_release: edge2 serves blue."}
    assert "edge2 serves blue" in release.release_undone(back, done, EVERYONE)["message"]


def test_a_first_release_that_fails_behind_the_move_stays_and_its_run_open() -> None:
    found = hostvars({name: edge("none:0::", 0, warm={}) for name in EDGES}, records(live_rows=[], releases=[]))
    asked, made = plan(found, opened(**{"from": "", "to": "blue"}))
    back = undo(after({name: edge("blue:0:1.2:", 1, warm={}) for name in EDGES}), made, asked, evidence=["x"])
    assert (back["back"], back["stays"], back["seal"], back["remove"]) == ([], True, False, False)
    end = release.release_undone(back, after({}), EVERYONE)
    assert "failed after the traffic had moved; blue serves 1.2. The same command continues it." in end["message"]


def test_a_rollback_never_goes_forward_again() -> None:
    asked, made = plan(hostvars(), opened(identity="1.0", settled=True), kind="rollback")
    back = undo(after({name: edge("blue:0:1.0:1.1", 8, warm={}) for name in EDGES}), made, asked, evidence=["x"])
    assert (back["back"], back["stays"]) == ([], True)


def test_a_run_that_was_overtaken_does_nothing_more() -> None:
    asked, made = plan(hostvars())
    back = undo(after({name: edge() for name in EDGES}, token=9, run="r9"), made, asked)
    assert back["overtaken"]
    assert "a newer run has taken over" in release.release_undone(back, after({}), EVERYONE)["message"]


@pytest.mark.parametrize(
    ("result", "lost", "verdict"),
    [
        pytest.param({"evidence": ["service api: exited"]}, (), "refused", id="container"),
        pytest.param({"failed_targets": ["api"]}, (), "refused", id="gate"),
        pytest.param({"probe": {"ok": False}}, (), "refused", id="probe"),
        pytest.param({"rc": 3, "task": "migrate | Wait for the migration"}, (), "refused", id="migration"),
        pytest.param({"task": "smoke | Request each path"}, (), "refused", id="smoke"),
        pytest.param({"msg": "registry refused the login"}, (), "failed", id="registry"),
        pytest.param({"evidence": ["x"], "msg": "write: no space left on device"}, (), "failed", id="disk"),
        pytest.param({"evidence": ["x"]}, ("app2",), "failed", id="host-gone"),
    ],
)
def test_only_evidence_against_a_release_holds_it(result: Data, lost: tuple[str, ...], verdict: str) -> None:
    asked, made = plan(hostvars())
    hosts = [name for name in EVERYONE if name not in lost]
    back = undo(after({name: edge() for name in EDGES}), made, asked, hosts, **result)
    assert back["result"] == verdict
    assert all(f"host {name}: found it unreachable" in str(back["reasons"]) for name in lost)


def test_a_changed_assumption_means_one_new_plan() -> None:
    asked, made = plan(hostvars())
    found = after({name: edge() for name in EDGES})
    assert undo(found, made, asked, replan=True)["again"]
    assert not release.release_undo(made, asked, found, EVERYONE, options(again=True))["again"]
    assert not release.release_undo({}, asked, found, EVERYONE, options())["again"]


def test_status_of_each_app_by_what_the_hosts_answered() -> None:
    """One that did not answer is in the report: it never ends the play."""
    run = {"apps": ["shop", "quill"], "edges": list(EDGES), "record_host": "edge1"}
    unreachable = {"unreachable": True, "msg": "no route", "failed": False}
    serves = edge(drift=[], backends={}, moved_at="2026-11-21T09:50:00.000Z")
    answers = {
        "edge1": [{**unreachable, "__app_deploy_name": app} for app in run["apps"]],
        "edge2": [
            {"__app_deploy_name": "shop", "edge": serves, "records": {}},
            {"__app_deploy_name": "quill", "failed": True, "msg": "release_facts: found\n a newer schema."},
        ],
    }
    found: Data = {name: {"__app_deploy_status": {"results": each}} for name, each in answers.items()}
    lines = release.release_status([APP, {"name": "quill", "release": "2"}], found, run)
    assert lines[:3] == ["shop", "  edge edge1: does not answer", "  edge edge2: green serves 1.1"]
    assert lines[lines.index("quill") :][:3] == [
        "quill",
        "  edge edge1: does not answer",
        "  edge edge2: release_facts: found a newer schema.",
    ]
    assert lines.count("  record host edge1: does not answer") == 2
    assert lines[-1].startswith("  next, start edge1 and mend edge2, as no edge takes requests, and look again: ")
    del found["edge1"]["__app_deploy_status"]
    assert "  record host edge1: does not answer" in release.release_status([APP], found, {**run, "apps": ["shop"]})
    described = {**serves, "records": {}}
    found["edge1"]["__app_deploy_status"] = {
        "results": [
            {"__app_deploy_name": "shop", "edge": described, "records": {**records(), "held": [], "unfinished": {}}}
        ]
    }
    found["edge1"]["__app_deploy_status"]["results"][0]["records"]["live_rows"] = []
    told = release.release_status([APP], found, {**run, "apps": ["shop"]})
    assert "  lease: free" in told
