# Copyright (c) 2026, The Evenkeel authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app whose services stand in a Compose file: the rows of real apps, as they have to be kept."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _compose_app_problems,
    _model,
    _ports,
    _release_content,
    _stacks,
)
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _checks, _compose_files
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import RoleFiles
from ansible_collections.evenkeel.platform.tests.unit.plugins.composed import (
    HOSTS,
    WEB,
    answer,
    item,
    model,
    problems,
    read,
)

ADDRESS = "10.0.0.21"


def colour(made, side="blue"):
    return _stacks.colour(made, side, _ports.allocate(made), ADDRESS)


def background(made, side="blue"):
    return _stacks.background(made, "app1", ["app1"], ADDRESS, side)


def web(**options):
    return {**WEB, **options}


# -- the rows of real apps ----------------------------------------------------


def test_a_volume_belongs_to_the_app_and_not_to_a_colour():
    services = {
        "web": web(volumes=["storage:/app/storage"]),
        "worker": {"image": "registry.test/demo:1", "volumes": ["storage:/app/storage"]},
        "migrate": {
            "image": "registry.test/demo:1",
            "volumes": ["storage:/app/storage"],
            "x-evenkeel": {"kind": "once"},
        },
    }
    made = model(item({"services": services, "volumes": {"storage": {}}}))
    stacks = [colour(made), colour(made, "green"), background(made), _stacks.migration(made, made["migration"][0])]
    assert [stack["volumes"] for stack in stacks] == [{"storage": {"name": "demo_storage", "external": True}}] * 4
    assert _stacks.shared(made, stacks[0])["volumes"] == [{"name": "demo_storage"}]


def test_a_volume_keeps_its_name_driver_and_options():
    volumes = {
        "files": {"name": "uploads", "driver": "local", "driver_opts": {"type": "nfs", "device": ":/x"}},
        "data": {"external": True, "name": "there"},
    }
    made = model(item({"services": {"web": web(volumes=["files:/files", "data:/data"])}, "volumes": volumes}))
    stack = colour(made)
    assert {name: one["name"] for name, one in stack["volumes"].items()} == {"files": "uploads", "data": "there"}
    # What the user made is never made by us.
    assert _stacks.shared(made, stack)["volumes"] == [
        {"name": "uploads", "driver": "local", "driver_opts": {"type": "nfs", "device": ":/x"}}
    ]


@pytest.mark.parametrize("written", [None, True, False])
def test_init_is_as_written(written):
    made = model(item({"services": {"web": web(**({} if written is None else {"init": written}))}}))
    assert made["services"]["web"].get("init") is written


def test_keys_of_compose_are_kept():
    keys = {
        "entrypoint": ["/init"],
        "cap_add": ["CHOWN"],
        "tmpfs": ["/run"],
        "shm_size": "67108864",
        "extra_hosts": ["db=10.0.0.9"],
        "ulimits": {"nofile": 10},
        "labels": {"a": "b"},
        "user": "1001:0",
        "working_dir": "/app",
        "stop_signal": "SIGINT",
    }
    made = model(item({"services": {"web": web(**keys)}}))
    container = colour(made)["services"]["web.1"]
    assert {key: container.get(key) for key in keys} == keys


def test_types_in_the_environment_are_those_of_compose():
    environment = {"DEBUG": False, "TRUST_PROXY": True, "NOTE": None, "COUNT": 1}
    made = model(item({"services": {"web": web(environment=environment)}}))
    assert made["services"]["web"]["environment"] == {"DEBUG": "false", "TRUST_PROXY": "true", "COUNT": "1"}


def test_a_variable_without_a_value_is_refused_by_name_and_place(monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    found = problems(
        item({"services": {"web": web(environment={"GREETING": "costs $HOME"}, command="app --dir ${DIR}")}})
    )
    assert len(found) == 2
    assert found[0].startswith(
        "app_deploy: compose of app demo: found ${DIR} without a value in compose.json:1, need one"
    )
    assert "variables.HOME" in found[1]


def test_dollar_signs_and_texts_reach_the_container_as_they_are_written():
    environment = {"A": "$$HOME", "B": "ä\n#\tx: 'y'", "C": "${NAME}", "D": "${X:-default}"}
    made = model(item({"services": {"web": web(environment=environment)}}, variables={"NAME": "n"}))
    assert made["services"]["web"]["environment"] == {"A": "$HOME", "B": "ä\n#\tx: 'y'", "C": "n", "D": "default"}
    assert colour(made)["services"]["web.1"]["environment"]["A"] == "$$HOME"


def test_a_service_without_a_route_is_reached_by_its_name():
    services = {"web": web(depends_on=["pdf"]), "pdf": {"image": "registry.test/pdf:1", "expose": ["9000"]}}
    made = model(item({"services": services}, services={"pdf": {"replicas": 2}}))
    assert _model.additions(made["services"]["pdf"])["kind"] == "internal"
    stack = colour(made)
    assert set(stack["services"]) == {"web.1", "pdf.1", "pdf.2"}
    assert "ports" not in stack["services"]["pdf.1"]
    for name in ("pdf.1", "pdf.2"):
        assert stack["services"][name]["networks"] == {"default": {"aliases": ["pdf"]}}
    assert set(stack["services"]["web.1"]["depends_on"]) == {"pdf.1", "pdf.2"}
    assert stack["networks"] == {"default": {"name": "demo-blue", "external": True}}
    assert colour(made, "green")["networks"]["default"]["name"] == "demo-green"


def test_what_runs_beside_a_colour_joins_its_networks():
    services = {
        "web": web(networks={"front": {"aliases": ["site"]}, "back": None}),
        "worker": {"image": "registry.test/demo:1", "networks": ["back"]},
    }
    made = model(item({"services": services, "networks": {"front": {}, "back": {"internal": True}}}))
    assert colour(made)["services"]["web.1"]["networks"]["front"]["aliases"] == ["web", "site"]
    stack = background(made, "green")
    assert stack["networks"] == {"back": {"name": "demo-green.back", "external": True}}
    assert _stacks.shared(made, stack)["networks"] == [{"internal": True, "name": "demo-green.back"}]


def test_files_beside_the_compose_file_travel_with_the_release(tmp_path: Path):
    (tmp_path / "nginx.conf").write_text("one")
    services = {
        "nginx": web(volumes=["./nginx.conf:/etc/nginx/nginx.conf", "code:/code"], configs=["site"]),
        "app": {"image": "registry.test/app:1", "expose": ["9000"], "volumes": ["code:/code"]},
    }
    described = {"services": services, "volumes": {"code": {}}, "configs": {"site": {"content": "hello"}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(described))
    app = item(str(tmp_path / "compose.yaml"))
    made = model(app)
    stack = colour(made)
    conf, code, site = stack["services"]["nginx.1"]["volumes"]
    assert (conf["target"], conf["read_only"]) == ("/etc/nginx/nginx.conf", True)
    assert code["source"] == "code"
    assert site["target"] == "/site"
    files = {one["path"]: base64.b64decode(one["data"]) for one in _stacks.files(made, stack)}
    assert files == {
        conf["source"].removeprefix("./files/"): b"one",
        site["source"].removeprefix("./files/"): b"hello",
    }
    before = _release_content.content(made, {})
    (tmp_path / "nginx.conf").write_text("two")
    assert _release_content.content(model(app), {}) != before


def test_a_service_others_wait_for_runs_once_before_the_colour():
    services = {
        "web": web(depends_on={"migrate": {"condition": "service_completed_successfully"}}),
        "migrate": {
            "image": "registry.test/demo:1",
            "command": ["migrate"],
            "depends_on": {"prepare": {"condition": "service_completed_successfully"}},
        },
        "prepare": {"image": "registry.test/demo:1"},
    }
    made = model(item({"services": services}))
    assert [step["service"] for step in made["migration"]] == ["prepare", "migrate"]
    assert set(colour(made)["services"]) == {"web.1"}
    assert "depends_on" not in colour(made)["services"]["web.1"]
    container = _stacks.migration(made, made["migration"][1])["services"]["migration"]
    assert (container["command"], container["restart"]) == (["migrate"], "no")


def test_one_rule_holds_for_the_user_of_every_kind():
    services = {"web": web(), "worker": {"image": "registry.test/demo:1"}}
    found = _compose_app_problems.advice(model(item({"services": services})))
    assert len({line.split(": ", 2)[2] for line in found}) == 1
    assert all("mem_limit" in line and "user:" not in line for line in found)


def test_secrets_in_the_environment_are_noticed_by_their_frameworks_names():
    environment = {
        "SECRET_KEY_BASE": "abc",
        "DJANGO_SECRET_KEY": "x",
        "APP_KEY": "y",
        "DATABASE_URL": "postgres://u:p@db/x",
        "MAX_TOKEN": "4096",
        "NEXT_PUBLIC_TOKEN": "pk",
        "CACHE_URL": "redis://cache:6379/0",
    }
    line = next(iter(_compose_app_problems.advice(model(item({"services": {"web": web(environment=environment)}})))))
    for name in ("SECRET_KEY_BASE", "DJANGO_SECRET_KEY", "APP_KEY", "DATABASE_URL"):
        assert f"a value for {name}" in line
    for name in ("MAX_TOKEN", "NEXT_PUBLIC_TOKEN", "CACHE_URL"):
        assert name not in line


def test_a_strict_policy_waives_nothing():
    app = item({"services": {"web": web()}})
    assert _model.additions(model(app, strict=True)["services"]["web"])["waivers"] == []
    assert {one["rule"] for one in _model.additions(model(app)["services"]["web"])["waivers"]} >= {"memory-limit"}


def test_a_missing_secret_names_app_service_and_key():
    services = {"web": {**WEB, "secrets": ["db"], "user": "1000"}}
    described = {"services": services, "secrets": {"db": {"external": True, "name": "db"}}}
    assert problems(item(described)) == [
        "app_deploy: secret db of service demo/web: found no value, need one. Set value of the secret; write it with "
        "ansible-vault encrypt_string --stdin-name db."
    ]
    given = item(described, secrets={"db": "canary-4711"})
    assert problems(given) == []
    made = model(given)
    assert "canary-4711" not in json.dumps(made)
    assert _stacks.secrets(made, colour(made)) == [
        {"service": "web.1", "uid": 1000, "name": "db", "as": "file", "key": "db"}
    ]
    assert _compose_files.secret_values(given) == {"db": "canary-4711"}


def test_secrets_of_a_service_without_a_user_belong_to_the_images():
    made = model(
        item(
            {"services": {"web": {**WEB, "x-evenkeel": {**WEB["x-evenkeel"], "secrets": ["db"]}}}}, secrets={"db": "x"}
        )
    )
    assert _stacks.secrets(made, colour(made))[0]["uid"] == -1


def test_the_file_of_a_secret_is_read_on_the_controller(tmp_path: Path):
    (tmp_path / "db.txt").write_text("canary-4711")
    services = {"web": {**WEB, "secrets": ["db"]}}
    (tmp_path / "compose.yaml").write_text(json.dumps({"services": services, "secrets": {"db": {"file": "./db.txt"}}}))
    app = item(str(tmp_path / "compose.yaml"))
    assert problems(app) == []
    assert _compose_files.secret_values(app) == {"db": "canary-4711"}
    assert "canary-4711" not in json.dumps([_compose_files.asked([app]), model(app)])


# -- input --------------------------------------------------------------------


def test_files_are_merged_as_compose_merges(tmp_path: Path):
    (tmp_path / "compose.yaml").write_text(json.dumps({"services": {"web": web(environment={"A": "1", "B": "1"})}}))
    over = {"services": {"web": {"environment": {"B": "2"}, "x-evenkeel": {"health": {"path": "/up"}}}}}
    (tmp_path / "over.yaml").write_text(json.dumps(over))
    made = model(item([str(tmp_path / "compose.yaml"), str(tmp_path / "over.yaml")], services={"web": {"replicas": 2}}))
    assert made["services"]["web"]["environment"] == {"A": "1", "B": "2"}
    more = _model.additions(made["services"]["web"])
    assert (more["kind"], more["port"], more["health"]["path"], more["replicas"]) == ("web", 3000, "/up", 2)


def test_env_files_are_read_with_the_file(tmp_path: Path):
    (tmp_path / "app.env").write_text("A=one\n")
    (tmp_path / "compose.yaml").write_text(json.dumps({"services": {"web": web(env_file=["./app.env"])}}))
    assert model(item(str(tmp_path / "compose.yaml")))["services"]["web"]["environment"] == {"A": "one"}


def test_limits_of_deploy_are_those_of_the_service():
    deploy = {"replicas": 2, "resources": {"limits": {"memory": "64m", "cpus": "0.5", "pids": 50}}}
    made = model(item({"services": {"web": web(deploy=deploy)}}))
    service = made["services"]["web"]
    assert (service["mem_limit"], service["cpus"], service["pids_limit"]) == ("67108864", 0.5, 50)
    assert "deploy" not in service
    assert _model.additions(service)["replicas"] == 2


def test_kinds_are_guessed_by_routes_ports_and_restart():
    services = {
        "web": web(),
        "inside": {"image": "registry.test/x:1", "expose": ["80"]},
        "worker": {"image": "registry.test/x:1"},
        "job": {"image": "registry.test/x:1", "x-evenkeel": {"schedule": "0 3 * * *"}},
    }
    made = model(item({"services": services}))
    kinds = {name: _model.additions(service)["kind"] for name, service in made["services"].items()}
    assert kinds == {"web": "web", "inside": "internal", "worker": "worker", "job": "scheduled"}
    assert _stacks.jobs(made, "app1", ["app1"]) == [{"name": "job", "schedule": "*-*-* 03:00:00"}]


def test_nothing_is_known_of_a_file_that_no_host_has_read():
    app = item({"services": {"web": web()}})
    assert _compose_files.projects([app], {})["demo"] == {"project": None, "problems": []}
    with pytest.raises(ValueError, match="need Compose on a host"):
        _model.of(app)


# -- refusals -----------------------------------------------------------------


def test_everything_wrong_with_keys_is_named_at_once():
    services = {
        "web": web(imagge="x", network_mode="host", profiles=["a"]),
        "other": {"image": "registry.test/x:1", "volumes_from": ["web"]},
    }
    found = problems(item({"services": services, "networks": {"n": {"external": True}}}))
    assert [line.partition(": found")[0] for line in found] == [
        "app_deploy: imagge of service web of compose.json of app demo",
        "app_deploy: network_mode of service web of compose.json of app demo",
        "app_deploy: profiles of service web of compose.json of app demo",
        "app_deploy: volumes_from of service other of compose.json of app demo",
        "app_deploy: external of network n of compose.json of app demo",
    ]
    assert "found an unknown key, need image. Rename or remove it." in found[0]


def test_an_error_of_yaml_names_line_and_column(tmp_path: Path):
    (tmp_path / "compose.yaml").write_text("services:\n  a:\n    image: x:1\n   b: 2\n")
    assert "compose.yaml:4:" in problems(item(str(tmp_path / "compose.yaml")))[0]


@pytest.mark.parametrize(
    ("service", "named"),
    [
        ({"image": None, "build": "."}, "image of service demo/other: found a build without a name"),
        ({"image": "registry.test/x"}, "image of service demo/other: found registry.test/x, need a fixed tag"),
        (
            {"image": "registry.test/x:latest"},
            "image of service demo/other: found registry.test/x:latest, need a fixed tag",
        ),
        ({"image": "postgres:17"}, "image of service demo/other: found postgres:17, a store that must not run twice"),
        ({"ports": ["8080:80"]}, "ports of service demo/other: found 8080, need none without a route"),
        ({"expose": ["80"], "container_name": "x"}, "container_name of service demo/other: found x, need none"),
        ({"restart": "no"}, "x-evenkeel.kind of service demo/other: found none on a service that ends by itself"),
        (
            {"x-evenkeel": {"kind": "stateful"}},
            "x-evenkeel.kind of service demo/other: found stateful, which this version",
        ),
        ({"x-evenkeel": {"kind": "exclusive"}}, "x-evenkeel.kind of service demo/other: found exclusive, which this"),
        ({"x-evenkeel": {"kin": "web"}}, "x-evenkeel.kin of service demo/other: found an unknown option, need kind"),
        ({"volumes": ["~/x:/x"]}, "volumes of service demo/other: found ~/x, need a full path on the host"),
        ({"volumes": ["../x:/x:ro"]}, "volumes of service demo/other: found ../x, need a path beside the Compose file"),
        ({"volumes": ["./none:/x:ro"]}, "volumes of service demo/other: found ./none, which is not there"),
        ({"environment": {"EVENKEEL_X": "1"}}, "environment.EVENKEEL_X of service demo/other: found a name that is"),
        (
            {"depends_on": ["web"], "x-evenkeel": {"routes": [{"path": "/"}], "port": 1}},
            "route demo.example.com/: found services",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_the_file(service, named):
    merged = {"image": "registry.test/x:1"} | service
    other = {key: value for key, value in merged.items() if value is not None}
    found = problems(item({"services": {"web": web(), "other": other}}))
    assert len(found) == 1
    assert named in found[0]
    assert found[0].endswith(".")


def test_a_cycle_is_refused_in_composes_own_words():
    services = {"web": web(depends_on=["a"]), "a": {"image": "registry.test/x:1", "depends_on": ["web"]}}
    assert "cycle" in problems(item({"services": services}))[0]


def test_a_volume_on_two_hosts_is_refused_unless_it_may_differ():
    described = {"services": {"web": web(volumes=["data:/data"])}, "volumes": {"data": {}}}
    found = problems(item(described), HOSTS)
    assert len(found) == 1
    assert found[0].startswith("app_deploy: driver of volume data of app demo: found local on 2 app hosts (app1, app2)")
    described["volumes"] = {"data": {"x-evenkeel": {"per_host": True}}}
    assert problems(item(described), HOSTS) == []


def test_variables_that_compose_takes_as_orders_are_refused():
    found = problems(item({"services": {"web": web()}}, variables={"COMPOSE_FILE": "x", "A": None, "RELEASE": "2"}))
    assert [line.partition(": found")[0] for line in found] == [
        "app_deploy: variables.COMPOSE_FILE of app demo",
        "app_deploy: variables.A of app demo",
        "app_deploy: variables.RELEASE of app demo",
    ]


def test_fifty_services_are_one_app():
    services = {"web": web(), **{f"w{number}": {"image": "registry.test/x:1"} for number in range(50)}}
    assert problems(item({"services": services})) == []


def test_a_read_project_is_of_one_release():
    app = item({"services": {"web": web()}})
    assert read(app)["project"] is not None
    asked = _compose_files.asked([app], "2.0")[0]
    assert (asked["release"], asked["variables"]["RELEASE"]) == ("2.0", "2.0")


def test_the_shop_deploys_from_its_compose_file_under_a_strict_policy():
    variables = {"REGISTRY": "registry.test", "DATA_ADDRESS": "10.0.0.5", "UPSTREAM_URL": "http://10.0.0.5:8090"}
    app = item(
        str(Path(__file__).parents[4] / "examples/shop/compose.yaml"),
        variables=variables,
        secrets={"database_password": "canary-1", "redis_password": "canary-2"},
        services={"api": {"replicas_max": 2}, "bot": {"host": "app1"}, "report": {"host": "app2"}},
    )
    assert problems(app, HOSTS, strict=True) == []
    made = model(app, strict=True)
    assert _checks.app_stack_problems(made, HOSTS) == []
    assert _compose_app_problems.advice(made) == []
    kinds = {name: _model.additions(service)["kind"] for name, service in made["services"].items()}
    assert kinds == {
        "api": "web",
        "web": "web",
        "worker": "worker",
        "bot": "singleton",
        "report": "scheduled",
        "migrate": "once",
        "contract": "once",
    }
    assert {step["service"]: step["phase"] for step in made["migration"]} == {
        "migrate": "expand",
        "contract": "contract",
    }


def test_a_host_that_prepares_a_run_is_asked_for_the_files_of_every_app():
    app = item({"services": {"web": web()}})
    raw = {"groups": {"all": ["app1", "app2"], "app": ["app1", "app2"], "edge": []}, "app_deploy_apps": [app]}
    files = RoleFiles(DataLoader())
    first, second = (_checks.HostChecks(files, name, raw, {}, None) for name in ("app1", "app2"))
    assert [one["app"] for one in first.compose_files()] == ["demo"]
    assert second.compose_files() == []
    assert first.apps == []
    assert "Compose file of app demo: docker compose config, once Docker is installed on app1" in first.later()
    told = _checks.HostChecks(files, "app1", raw, {}, None, answers={"demo": answer(first.compose_files()[0])})
    assert [one["name"] for one in told.apps] == ["demo"]
    advised = _checks.fleet_advice({"app1": told})
    assert "service demo/web: app_deploy_policy strict would ask for" in advised[0]
    assert "mem_limit: 256m" in advised[0]


def test_monitoring_knows_how_many_containers_there_must_be():
    services = {
        "web": web(depends_on={"migrate": {"condition": "service_completed_successfully"}}, deploy={"replicas": 2}),
        "inside": {"image": "registry.test/x:1", "ports": ["80:80"]},
        "migrate": {"image": "registry.test/x:1"},
        "bot": {"image": "registry.test/x:1", "x-evenkeel": {"kind": "singleton"}},
    }
    told = _compose_files.described(item({"services": services}, services={"inside": {"replicas": 3}}))["services"]
    assert {row["name"]: (row["kind"], row["replicas"]) for row in told} == {
        "web": ("web", 2),
        "inside": ("internal", 3),
        "bot": ("singleton", 1),
    }
