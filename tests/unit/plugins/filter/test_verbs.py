# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of the day and the doctor, from what was typed and what the hosts answer."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.evenkeel.platform.plugins.filter import release
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _edge_record,
    _model,
    _ports,
    _release_content,
    _verbs,
)

Data = dict[str, t.Any]
DIGEST = "registry.example.com/shop@sha256:" + "a" * 64
LIMITS = {"memory": "64m", "cpus": 0.1, "pids": 32}
OWN: Data = {"image": "registry.example.com/shop", "healthcheck": ["CMD", "true"], "resources": LIMITS, "user": "10001"}
APP: Data = {
    "name": "shop",
    "release": "1.1",
    "hosts": ["shop.example.com"],
    "port_base": 20000,
    "services": [
        {
            **OWN,
            "name": "api",
            "port": 8000,
            "routes": [{"path": "/"}],
            "health": {"path": "/readyz"},
            "secrets": [{"name": "password", "value": "canary"}],
        },
        {**OWN, "name": "worker", "kind": "worker", "replicas_max": 3},
        {**OWN, "name": "mailer", "kind": "worker", "replicas_max": 2},
        {**OWN, "name": "bot", "kind": "singleton"},
        {**OWN, "name": "report", "kind": "scheduled", "schedule": "daily"},
    ],
    "strategy": {"warm_seconds": 600},
}
EDGES = ("edge1", "edge2")
HOSTS = ("app1", "app2")
ADDRESSES = {name: f"192.0.2.{number}" for number, name in enumerate((*EDGES, *HOSTS))}
MODEL = _model.of(APP)
SERVERS = [{"server": f"{host}_1", "healthy": True, "sessions": 0, "status": "UP"} for host in HOSTS]
SYNC = {"evenkeel-edge-withdraw.timer": "active"}


def record() -> Data:
    hosts = {name: {"address": ADDRESSES[name]} for name in HOSTS}
    return _edge_record.record(MODEL, _ports.allocate(MODEL, {}), hosts, "green", None)


def edge(text: str = "green:0:1.1:1.0", **more: t.Any) -> Data:
    colour, weight, name, other = text.split(":")
    entry = {"text": text, "colour": colour, "weight": int(weight), "release": name, "other_release": other}
    return {
        "entry": entry,
        "move": 7,
        "pair": {"token": 5, "run": "r5"},
        "withdrawn": {},
        "warm": {"colour": "blue", "release": "1.0", "until": 10**10, "move": 7},
        "out": {},
        "confirmed": True,
        "running": True,
        "loaded": True,
        "record": record(),
        "record_problems": [],
        "recorded": True,
        "drift": [],
        "backends": {"green": {"api": copy.deepcopy(SERVERS)}, "blue": {}},
        **more,
    }


def container(service: str, part: str = "background", **more: t.Any) -> Data:
    name = f"shop.{part}.{service}" if part in ("blue", "green") else f"shop.{service}"
    about = {"name": name, "part": part, "service": service, "running": True, "problem": "", "exit": 0}
    return {**about, "restarts": 0, "image": DIGEST, "oneoff": False, **more}


def containers(host: str) -> list[Data]:
    found = [container("api.1", "green"), container("api.1", "blue"), container("worker"), container("mailer")]
    return [*found, *([container("bot")] if host == "app1" else [])]


def live_row(identity: str = "1.1", previous: str = "1.0", **more: t.Any) -> Data:
    return {"identity": identity, "release": identity, "kind": "deploy", "result": "live", "previous": previous, **more}


def answers() -> Data:
    """Return what each host answers; edge1 has the records."""
    content = _release_content.content(MODEL, {"registry.example.com/shop:1.1": DIGEST})
    kept = {"identity": "1.1", "release": "1.1", "hash": "h", "content": content, "created_at": "1"}
    book = {
        "releases": [kept],
        "live_rows": [live_row()],
        "ledger": [],
        "unfinished_lines": [],
        "lease": {"held": False},
        "pending_contract": [],
        "homes": {},
        "held": [],
    }
    found: Data = {}
    for name in (*EDGES, *HOSTS):
        units = dict(SYNC) if name in EDGES else {"evenkeel-retire.timer": "active"}
        if name == "app1":
            units["evenkeel-job-shop.report.timer"] = "active"
        found[name] = {
            "pair": {"token": 5, "run": "r5"},
            "edge": edge() if name in EDGES else {},
            "host": {"engine": True, "stacks": {}, "orders": ["blue"]} if name in HOSTS else {},
            "records": book if name == "edge1" else {},
            "details": {"containers": containers(name) if name in HOSTS else [], "units": units, "draining": {}},
        }
    return found


def run_of(**more: t.Any) -> Data:
    options = {"edges": list(EDGES), "hosts": list(HOSTS), "record_host": "edge1", "status_port": 8405, "out": []}
    return {
        "apps": ["shop"],
        "edges": list(EDGES),
        "hosts": list(HOSTS),
        "record_host": "edge1",
        "options": {**options, "check_mode": False, "release": "", **more},
    }


def typed(kind: str, **more: t.Any) -> Data:
    asked = {"kind": kind, "service": "", "side": "live", "host": "", "since": "", "lines": 100, "command": ""}
    return {**asked, "timeout": 600, "replicas": 0, "outage": False, **more}


def verb(kind: str, facts: Data | None = None, apps: list[Data] | None = None, **more: t.Any) -> Data:
    facts = facts or answers()
    hostvars = {
        name: {"platform_address": ADDRESSES[name], "__app_deploy_facts": facts.get(name, {})} for name in ADDRESSES
    }
    options = run_of(verb=typed(kind, **more))["options"]
    return release.release_verb(apps or [APP], hostvars, list(ADDRESSES), "shop", options)


def doctor(facts: Data, apps: list[Data] | None = None) -> list[str]:
    hostvars = {
        name: {
            "platform_address": ADDRESSES[name],
            "__app_deploy_status": {"results": [{**facts[name], "__app_deploy_name": "shop"}] if name in facts else []},
        }
        for name in ADDRESSES
    }
    return release.release_doctor([APP] if apps is None else apps, hostvars, run_of())


# -- logs ---------------------------------------------------------------------------


def test_logs_are_those_of_the_live_side_and_of_what_runs_beside_it() -> None:
    found = verb("logs")
    assert found["problems"] == []
    assert found["logs"]["app1"] == ["shop.green.api.1", "shop.worker", "shop.mailer", "shop.bot"]
    assert found["logs"]["app2"] == ["shop.green.api.1", "shop.worker", "shop.mailer"]


@pytest.mark.parametrize(
    ("options", "logs"),
    [
        ({"service": "api"}, {"app1": ["shop.green.api.1"], "app2": ["shop.green.api.1"]}),
        ({"service": "api", "side": "other", "host": "app2"}, {"app2": ["shop.blue.api.1"]}),
        ({"service": "api", "side": "blue", "host": "app1"}, {"app1": ["shop.blue.api.1"]}),
        ({"service": "bot"}, {"app1": ["shop.bot"], "app2": []}),
    ],
)
def test_logs_of_a_service_a_side_and_a_host(options: Data, logs: Data) -> None:
    assert verb("logs", **options)["logs"] == logs


def test_logs_of_all_hosts_are_in_the_order_of_their_time_and_name_who_is_silent() -> None:
    plan = {"app": "shop", "logs": {"app1": ["a"], "app2": ["b"], "app3": ["c"]}}
    hostvars = {
        "app1": {
            "__app_deploy_logs": {"lines": [{"at": "2026-11-30T10:00:02.1234567Z", "container": "a", "text": "late"}]}
        },
        "app2": {
            "__app_deploy_logs": {"lines": [{"at": "2026-11-30T10:00:01.5000000Z", "container": "b", "text": "early"}]}
        },
        "app3": {"__app_deploy_logs": {"unreachable": True}},
    }
    assert release.release_logs(plan, hostvars) == [
        "2026-11-30T10:00:01.500Z app2 b | early",
        "2026-11-30T10:00:02.123Z app1 a | late",
        "app3: does not answer",
    ]


def test_logs_are_read_where_no_edge_answers_of_the_side_that_is_named() -> None:
    facts = {name: answer for name, answer in answers().items() if name in HOSTS}
    assert "found no answer of any, need one" in verb("logs", facts)["problems"][0]
    assert verb("logs", facts, side="green", service="api")["logs"]["app1"] == ["shop.green.api.1"]


# -- what was mistyped ---------------------------------------------------------------


def test_everything_that_is_wrong_is_named_at_once() -> None:
    wrong: Data = {"service": "aip", "side": "left", "host": "app9", "since": "yesterday", "lines": "many"}
    found = verb("logs", **wrong)["problems"]
    assert [sentence.partition(", need")[0] for sentence in found] == [
        "app_deploy: side: found left",
        "app_deploy: since: found yesterday",
        "app_deploy: lines: found many",
        "app_deploy: service of app shop: found aip",
        "app_deploy: host of app shop: found app9",
    ]
    assert all(sentence.endswith(".") for sentence in found)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("exec", {"service": "api"}, "command: found none, need one"),
        ("exec", {"command": "id"}, "service: found none"),
        ("exec", {"service": "api", "command": "echo 'a"}, 'command: found "echo \'a" (No closing quotation)'),
        ("exec", {"service": "report", "command": "id"}, "found kind scheduled, which has no running container"),
        ("exec", {"service": "api", "command": "id", "timeout": "soon"}, "timeout: found soon"),
        ("run", {"service": "api"}, "command for service api of app shop: found none"),
        ("run", {"service": "bot", "host": "app2", "command": "id"}, "found it at home on app1"),
        ("scale", {"service": "api", "replicas": 2}, "found kind web, need a worker"),
        ("scale", {"service": "worker", "replicas": 4}, "found 4, need at most 3, its replicas_max"),
        ("scale", {"service": "worker"}, "replicas: found none"),
        ("restart", {"service": "report"}, "found kind scheduled, need what runs all the time"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, options: Data, sentence: str) -> None:
    found = verb(kind, **options)["problems"]
    assert len(found) == 1
    assert sentence in found[0]


def test_a_side_without_a_container_is_refused() -> None:
    facts = answers()
    for name in HOSTS:
        facts[name]["details"]["containers"] = [
            row for row in facts[name]["details"]["containers"] if row["part"] != "green"
        ]
    found = verb("exec", facts, service="api", command="id")["problems"]
    assert (
        "found no running container, need one. Run 'ansible-playbook evenkeel.platform.deploy -e app=shop" in found[0]
    )


def test_what_changes_containers_needs_every_edge_and_one_entry() -> None:
    facts = answers()
    del facts["edge2"]
    assert "edge edge2: found no answer" in verb("restart", facts, service="api")["problems"][0]
    assert verb("exec", facts, service="api", command="id")["problems"] == []
    facts = answers()
    facts["edge2"]["edge"] = edge("blue:0:1.0:1.1", move=6)
    assert (
        "found blue:0:1.0:1.1 and green:0:1.1:1.0, need one"
        in verb("scale", facts, service="worker", replicas=2)["problems"][0]
    )


# -- exec and run -----------------------------------------------------------------------


def test_a_command_runs_in_the_first_live_container() -> None:
    found = verb("exec", service="api", command="python -c 'print(1)'")
    assert (found["host"], found["container"], found["words"]) == (
        "app1",
        "shop.green.api.1",
        ["python", "-c", "print(1)"],
    )
    assert verb("exec", service="api", command=["a b", "c"], host="app2")["words"] == ["a b", "c"]


@pytest.mark.parametrize(
    ("service", "host", "stack", "name"),
    [
        ("api", "app1", "shop-green", "api.1"),
        ("worker", "app1", "shop-background", "worker"),
        ("report", "app1", "shop-background", "report"),
    ],
)
def test_a_one_off_takes_its_service_from_the_live_release(service: str, host: str, stack: str, name: str) -> None:
    command = "" if service == "report" else "id"
    found = verb("run", service=service, command=command)
    assert (found["host"], found["stack"], found["container"]) == (host, stack, name)
    assert (found["move"], [each["name"] for each in found["edges"]]) == (7, list(EDGES))
    assert found["lease_seconds"] == 0  # the lease ends with the start


# -- restart ------------------------------------------------------------------------------


def test_a_restart_is_one_container_after_the_other_gated_at_its_own_port() -> None:
    found = verb("restart", service="api")
    assert [(unit["host"], unit["container"], unit["server"]) for unit in found["units"]] == [
        ("app1", "api.1", "app1_1"),
        ("app2", "api.1", "app2_1"),
    ]
    assert [[target["name"] for target in unit["targets"]] for unit in found["units"]] == [
        ["api.1@app1"],
        ["api.1@app2"],
    ]
    assert found["lease_seconds"] == 2 * found["limit_seconds"]


def test_a_restart_of_the_whole_app_leaves_jobs_and_the_other_side_alone() -> None:
    found = verb("restart")
    containers_of = [unit["container"] for unit in found["units"]]
    assert containers_of == ["api.1", "api.1", "worker", "worker", "mailer", "mailer", "bot"]
    assert {unit["stack"] for unit in found["units"]} == {"shop-green", "shop-background"}
    assert [unit["server"] for unit in found["units"] if unit["service"] != "api"] == [""] * 5


def test_a_single_replica_is_restarted_only_where_errors_are_accepted() -> None:
    facts = answers()
    for name in EDGES:
        facts[name]["edge"]["backends"]["green"]["api"][1]["healthy"] = False
    found = verb("restart", facts, service="api")["problems"]
    assert len(found) == 1
    assert "on edge1, edge2 for service api of app shop: found fewer than 2, need another one" in found[0]
    assert verb("restart", facts, service="api", outage=True)["problems"] == []
    assert verb("restart", facts, service="worker")["problems"] == []


# -- scale --------------------------------------------------------------------------------


def test_scale_keeps_what_else_was_scaled_by_hand() -> None:
    facts = answers()
    facts["app2"]["details"]["containers"].append(container("mailer.2"))
    found = verb("scale", facts, service="worker", replicas="3")
    assert found["problems"] == []
    assert sorted(found["hosts"]["app1"]["definition"]["services"]) == [
        "bot",
        "mailer",
        "report",
        "worker",
        "worker.2",
        "worker.3",
    ]
    assert sorted(found["hosts"]["app2"]["definition"]["services"]) == [
        "mailer",
        "mailer.2",
        "worker",
        "worker.2",
        "worker.3",
    ]
    assert set(found["hosts"]["app2"]["images"].values()) == {DIGEST}
    assert MODEL["services"]["worker"]["x-evenkeel"]["replicas"] == 1


def test_scale_names_a_secret_that_the_inventory_has_lost() -> None:
    without = copy.deepcopy(APP)
    without["services"][0]["secrets"] = []
    found = verb("scale", apps=[without], service="worker", replicas=2)["problems"]
    assert "found no value for api/password, need one each" in found[0]


# -- doctor ---------------------------------------------------------------------------------


def test_doctor_finds_nothing_where_nothing_differs() -> None:
    assert doctor(answers()) == ["shop: green serves 1.1, nothing differs"]


def change_stopped(facts: Data) -> None:
    facts["app1"]["details"]["containers"][0].update(running=False, exit=137, problem="stopped")


def change_unhealthy(facts: Data) -> None:
    facts["app2"]["details"]["containers"][2]["problem"] = "unhealthy"


def change_missing(facts: Data) -> None:
    facts["app2"]["details"]["containers"].pop(0)


def change_scaled(facts: Data) -> None:
    facts["app1"]["details"]["containers"].append(container("worker.2"))


def change_image(facts: Data) -> None:
    facts["app1"]["details"]["containers"][0]["image"] = "registry.example.com/shop:1.2"


def change_bot(facts: Data) -> None:
    facts["app2"]["details"]["containers"].append(container("bot"))


def change_unit(facts: Data) -> None:
    facts["app1"]["details"]["units"]["evenkeel-retire.timer"] = "inactive"


def change_job(facts: Data) -> None:
    del facts["app1"]["details"]["units"]["evenkeel-job-shop.report.timer"]


def change_drift(facts: Data) -> None:
    facts["edge2"]["edge"]["drift"] = ["live.map holds 'a', the proxy 'b'"]


def change_ledger(facts: Data) -> None:
    facts["edge1"]["records"]["live_rows"] = [live_row("1.2", "1.1")]


def change_draining(facts: Data) -> None:
    facts["edge1"]["details"]["draining"] = {"green/api/app1_1": 1}


def change_idle(facts: Data) -> None:
    for name in EDGES:
        facts[name]["edge"]["warm"] = {}
        facts[name]["edge"]["withdrawn"] = {"blue": 7}
    facts["app1"]["host"]["orders"] = []
    # A command of somebody is nothing that has to be stopped.
    facts["app1"]["details"]["containers"].append(container("api.1", "blue", oneoff=True))


def change_routes(facts: Data) -> None:
    facts["edge1"]["edge"]["record"]["hosts"] = ["other.example.com"]


DEPLOY = "ansible-playbook evenkeel.platform.deploy -e app=shop -e release=1.1"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (change_stopped, f"app1: shop.green.api.1 does not run, its exit code is 137. Run {DEPLOY}"),
        (
            change_unhealthy,
            "app2: shop.worker is unhealthy. Run ansible-playbook evenkeel.platform.restart -e app=shop -e service=worker",
        ),
        (change_missing, f"app2: the container of api is missing. Run {DEPLOY}"),
        (
            change_scaled,
            "app1: 2 containers of worker, the release has 1: it was scaled by hand. Run ansible-playbook "
            "evenkeel.platform.scale -e app=shop -e service=worker -e replicas=1",
        ),
        (
            change_image,
            f"app1: shop.green.api.1 runs image registry.example.com/shop:1.2, the release {DIGEST}. Run {DEPLOY}",
        ),
        (change_bot, f"app2: shop.bot is here, its host is app1. Run {DEPLOY}"),
        (
            change_unit,
            "app1: evenkeel-retire.timer is inactive. Run ansible-playbook site.yml --tags app_deploy",
        ),
        (
            change_job,
            "app1: evenkeel-job-shop.report.timer is missing. Run ansible-playbook site.yml --tags app_deploy",
        ),
        (change_drift, f"edge2: live.map holds 'a', the proxy 'b'. Run {DEPLOY}"),
        (
            change_ledger,
            "edge1: the ledger has 1.2 as live, the edges serve 1.1. Run ansible-playbook evenkeel.platform.rollback "
            "-e app=shop",
        ),
        (
            change_draining,
            "edge1: server green/api/app1_1 takes no requests since a restart that ended early, and comes back at once. "
            "Run ansible-playbook evenkeel.platform.restart -e app=shop -e service=api",
        ),
        (
            change_idle,
            "app1: 1 containers of blue run, which is neither live nor warm, and nothing stops them. Run "
            "ansible-playbook evenkeel.platform.deploy -e app=shop -e release=<release>, which replaces them",
        ),
        (change_routes, f"edge1: its routes or servers are not those of the live release. Run {DEPLOY}"),
    ],
)
def test_doctor_names_each_difference_with_what_mends_it(change: t.Callable[[Data], None], line: str) -> None:
    facts = answers()
    change(facts)
    found = doctor(facts)
    assert f"  {line}" in found
    assert found[0].startswith("shop: green serves 1.1, ")


def test_doctor_compares_the_inventory_with_the_live_release() -> None:
    other = copy.deepcopy(APP)
    other["services"][1]["env"] = {"LEVEL": "debug"}
    assert doctor(answers(), [other])[1:] == [
        f"  inventory: it describes another service worker than the live release has. Run {DEPLOY}"
    ]
    assert doctor(answers(), [{**APP, "release": "1.2"}])[1:] == [
        "  inventory: it names 1.2, 1.1 is live. Run ansible-playbook evenkeel.platform.deploy -e app=shop -e release=1.2"
    ]


def test_doctor_names_the_hosts_that_are_silent() -> None:
    facts = answers()
    del facts["edge2"], facts["app2"]
    found = doctor(facts)
    assert [line.partition(". Run")[0] for line in found[1:]] == ["  edge2: does not answer", "  app2: does not answer"]


def test_doctor_prints_no_secret() -> None:
    other = copy.deepcopy(APP)
    other["services"][0]["secrets"][0]["value"] = "another-canary"
    other["services"][0]["env"] = {"WORD": "another-canary"}
    assert "canary" not in "\n".join(doctor(answers(), [other]))


# -- an app that is not clear --------------------------------------------------------------


def test_one_app_has_to_be_named_and_what_else_is_wrong_with_it() -> None:
    asked = {
        "only": "",
        "release": "",
        "edge_group": "edge",
        "app_group": "app",
        "record_host": "",
        "edge_out": "",
        "owner": "anna",
        "status_port": 8405,
        "https_port": 443,
        "installing": False,
        "keep_by_hand": False,
        "check_mode": False,
        "verb": typed("logs", side="left"),
    }
    groups = {"edge": list(EDGES), "app": list(HOSTS)}
    apps = [APP, {**APP, "name": "blog"}]
    found = release.release_run(apps, groups, list(ADDRESSES), asked)["problems"]
    assert [sentence.partition(", need")[0] for sentence in found] == [
        "app_deploy: app: found 2 apps (shop, blog)",
        "app_deploy: side: found left",
    ]
    found = release.release_run(apps, groups, list(ADDRESSES), {**asked, "only": "shpo"})["problems"]
    assert "found shpo, need one of shop, blog" in found[0]
    assert release.release_run([APP], groups, list(ADDRESSES), asked)["problems"] == []


@pytest.mark.parametrize(
    ("since", "fits"),
    [("10m", True), ("1h30m", True), ("2026-11-30", True), ("2026-11-30T10:15:00Z", True), ("2d", False)],
)
def test_since_is_what_the_engine_takes(since: str, fits: bool) -> None:
    assert (not _verbs.typed_problems(typed("logs", since=since))) is fits


# -- an app of a Compose file ----------------------------------------------------------


def composed() -> Data:
    """Return answers about a release that has an internal service and one that ran once as well."""
    facts = copy.deepcopy(answers())
    services = facts["edge1"]["records"]["releases"][0]["content"]["model"]["services"]
    for name, kind in (("cache", "internal"), ("migrate", "once")):
        services[name] = copy.deepcopy(services["worker"])
        services[name]["x-evenkeel"]["kind"] = kind
    for host in HOSTS:
        facts[host]["details"]["containers"].append(container("cache.1", "green"))
    return facts


def test_an_internal_service_is_one_of_its_colour() -> None:
    assert verb("logs", composed(), service="cache", host="app1")["logs"] == {"app1": ["shop.green.cache.1"]}
    refused = verb("restart", composed(), service="cache")["problems"]
    assert "app1, app2 for service cache of app shop: found fewer than 2" in refused[0]
    units = verb("restart", composed(), service="cache", outage=True)["units"]
    assert [(unit["stack"], unit["container"], unit["server"]) for unit in units] == [("shop-green", "cache.1", "")] * 2


def test_what_ran_once_has_no_container_and_misses_none() -> None:
    assert "found kind once" in verb("exec", composed(), service="migrate", command="id")["problems"][0]
    assert verb("run", composed(), service="migrate")["problems"] == []
    assert not [line for line in doctor(composed()) if "migrate" in line and "inventory" not in line]


def test_a_compose_file_that_no_host_read_is_a_finding() -> None:
    app = {
        "name": "shop",
        "release": "1.1",
        "compose": {"services": {"api": {"image": "r/x:1"}}},
        "domains": ["x.test"],
    }
    found = doctor(answers(), [app])
    assert any("inventory: its Compose file cannot be used: no host has read it" in line for line in found)
