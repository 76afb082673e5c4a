# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options become settings that the programs' own checks take, and a stack that keeps the rules of stacks."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.filter import monitoring
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy

ROOT = Path(__file__).resolve().parents[4]
PROMTOOL = shutil.which("promtool")
CANARY = "canary-4711"
OPTIONS: dict[str, Any] = {
    "images": {
        part: f"registry.example.com/{part}:1.0"
        for part in (
            "prometheus",
            "alertmanager",
            "blackbox",
            "loki",
            "victorialogs",
            "grafana",
            "jaeger",
            "postgresql",
            "redis",
        )
    },
    "address": "192.0.2.31",
    "base_dir": "/opt/evenkeel/monitoring",
    "resources": {},
    "scrape_interval_seconds": 15,
    "wait_factor": 1.0,
    "waits": {"group_seconds": 30, "interval_seconds": 300, "repeat_hours": 4},
    "prometheus_retention": {"days": 30, "gigabytes": 10},
    "logs_retention": {"days": 14, "gigabytes": 10},
    "logs_enabled": True,
    "log_store": "loki",
    "grafana_enabled": True,
    "grafana_password": CANARY,
    "jaeger_enabled": True,
    "jaeger_retention": {"days": 3, "gigabytes": 5},
    "packs": ["host"],
    "receivers": [{"name": "team", "kind": "webhook", "secret": f"http://192.0.2.9/{CANARY}"}],
    "receiver": "team",
    "postgresql": [{"name": "shop", "host": "192.0.2.31", "user": "watch", "password": CANARY}],
    "redis": [{"name": "shop", "address": "192.0.2.31:6379", "password": CANARY, "keys": ["db0=shop:jobs"]}],
    "probes": [{"name": "shop", "url": "https://shop.example.com/", "connect_to": "192.0.2.11", "body": "shop"}],
    "apps": [
        {
            "name": "shop",
            "response_seconds": 0.5,
            "queues": [{"key": "shop:jobs", "limit": 100}],
            "metrics": [{"service": "api"}],
        }
    ],
    "backups": ["shop"],
}
MACHINES = [{"name": "app1", "address": "192.0.2.21"}, {"name": "data1", "address": "2001:db8::31"}]
EDGES = [{"name": "edge1", "address": "192.0.2.11"}]
RECORD = {
    "app": "shop",
    "services": {
        "api": {
            "servers": {
                "blue": [{"name": "app1_1", "address": "192.0.2.21", "port": 20000}],
                "green": [{"name": "app1_1", "address": "192.0.2.21", "port": 20001}],
            }
        },
        "web": {"servers": {"blue": [{"name": "app1_1", "address": "192.0.2.21", "port": 20002}], "green": []}},
    },
}
DATABASE = OPTIONS["postgresql"][0]
QUEUE = {"key": "k", "limit": 1}
SLO = {"name": "a", "app": "shop", "kind": "availability", "objective": 99}
DESCRIBED = [
    {
        "name": "shop",
        "app_hosts": 2,
        "services": [
            {"name": "api", "kind": "web", "replicas": 2},
            {"name": "worker", "kind": "worker"},
            {"name": "bot", "kind": "singleton"},
            {"name": "report", "kind": "scheduled"},
        ],
    }
]


def targets() -> list[dict[str, Any]]:
    return monitoring.monitoring_targets(OPTIONS, "ops1", MACHINES, EDGES, [RECORD])


def test_every_job_has_its_targets() -> None:
    found = {(target["job"], target["instance"]) for target in targets()}
    assert {
        ("node", "app1"),
        ("node", "data1"),
        ("edge", "edge1"),
        ("prometheus", "ops1"),
        ("loki", "ops1"),
        ("postgresql", "shop"),
        ("redis", "shop"),
        ("probe", "https://shop.example.com/"),
    } <= found


def test_both_sides_of_a_service_that_tells_figures_are_asked() -> None:
    found = [target for target in targets() if target["job"] == "app"]
    assert [(one["address"], one["labels"]["colour"]) for one in found] == [
        ("192.0.2.21:20000", "blue"),
        ("192.0.2.21:20001", "green"),
    ]


def test_ports_of_apps_that_tell_figures_are_ranges() -> None:
    apps = [{"name": "shop", "port_base": 20000}, {"name": "silent", "port_base": 21000, "port_count": 10}]
    assert monitoring.monitoring_ports(OPTIONS, apps) == ["20000-20099"]


def test_an_address_of_v6_stands_in_brackets() -> None:
    assert [one["address"] for one in targets() if one["instance"] == "data1"] == ["[2001:db8::31]:9100"]


def test_probe_goes_to_the_edge_and_asks_for_the_name() -> None:
    [probe] = [one for one in targets() if one["job"] == "probe"]
    assert probe["params"] == {
        "module": ["shop"],
        "hostname": ["shop.example.com"],
        "target": ["https://192.0.2.11/"],
    }


@pytest.mark.parametrize(("named", "labels"), [({}, {}), ({"app": "shop"}, {"app": "shop"})])
def test_probe_of_an_app_is_hidden_with_the_app(named: dict[str, str], labels: dict[str, str]) -> None:
    [probe] = [
        one
        for one in monitoring.monitoring_targets(
            {"probes": [{"name": "a", "url": "https://a.example/", **named}]}, "s", [], [], []
        )
        if one["job"] == "probe"
    ]
    assert probe["labels"] == {"probe": "a", **labels}


def test_two_probes_of_one_address_are_two_series_and_one_target() -> None:
    """Each asks another edge."""
    probes = [
        {"name": name, "url": "https://a.example/", "connect_to": f"192.0.2.{number}"}
        for number, name in enumerate(("edge1", "edge2"), 11)
    ]
    made = monitoring.monitoring_targets({"probes": probes}, "s", [], [], [])
    found = [one for one in made if one["job"] == "probe"]
    assert {one["labels"]["probe"] for one in found} == {"edge1", "edge2"}
    rules = monitoring.monitoring_expected({}, [], made)["groups"][0]["rules"]
    assert [rule["labels"]["instance"] for rule in rules if rule["labels"]["job"] == "probe"] == ["https://a.example/"]


def test_address_of_version_6_is_written_as_one() -> None:
    six = {**OPTIONS, "address": "2001:db8::31"}
    six["postgresql"] = [{**OPTIONS["postgresql"][0], "host": "2001:db8::32"}]
    services = monitoring.monitoring_stack(six)["definition"]["services"]
    assert services["loki"]["ports"] == ["[2001:db8::31]:3100:3100"]
    assert "[2001:db8::31]:14317:4317" in services["jaeger"]["ports"]
    # Without it nothing tells of a replica that receives nothing.
    assert services["postgresql-shop"]["command"] == ["--collector.stat_wal_receiver"]
    uri = services["postgresql-shop"]["environment"]["DATA_SOURCE_URI"]
    assert uri == "[2001:db8::32]:5432/postgres?sslmode=require"


VICTORIALOGS = {**OPTIONS, "log_store": "victorialogs", "grafana_victorialogs_plugin": "the-plugin@1.0"}


def test_stack_has_one_log_store_with_its_own_data() -> None:
    made = monitoring.monitoring_stack(VICTORIALOGS)["definition"]
    assert "loki" not in made["services"]
    assert "loki" not in made["volumes"]
    store = made["services"]["victorialogs"]
    assert made["volumes"]["victorialogs"] == {}
    assert store["ports"] == ["127.0.0.1:9428:9428", "192.0.2.31:9428:9428"]
    assert {"-retentionPeriod=14d", "-retention.maxDiskSpaceUsageBytes=10GiB"} <= set(store["command"])
    assert store["healthcheck"]["test"][-1] == "http://127.0.0.1:9428/health"
    assert store["read_only"]
    assert "tmpfs" not in store


@pytest.mark.parametrize(
    ("changed", "environment"),
    [
        pytest.param({}, {"GF_PLUGINS_PREINSTALL_SYNC": "the-plugin@1.0"}, id="VictoriaLogs"),
        pytest.param({"grafana_victorialogs_plugin": ""}, {}, id="image with the plugin"),
        pytest.param({"log_store": "loki"}, {}, id="Loki"),
        pytest.param({"logs_enabled": False}, {}, id="no logs"),
    ],
)
def test_grafana_fetches_the_plugin_it_needs(changed: dict[str, Any], environment: dict[str, str]) -> None:
    grafana = monitoring.monitoring_stack({**VICTORIALOGS, **changed})["definition"]["services"]["grafana"]
    assert {key: value for key, value in grafana["environment"].items() if "PLUGINS" in key} == environment


def test_victorialogs_is_scraped_expected_and_within_a_budget() -> None:
    asked = monitoring.monitoring_targets(VICTORIALOGS, "ops1", [], [], [])
    found = {target["job"]: target["address"] for target in asked}
    assert found["victorialogs"] == "victorialogs:9428"
    assert "loki" not in found
    rules = monitoring.monitoring_expected(VICTORIALOGS, [], asked)["groups"][0]["rules"]
    budgets = {rule["labels"]["volume"]: rule["expr"] for rule in rules if "volume" in rule["labels"]}
    assert budgets["victorialogs"] == f"vector({10 * 2**30})"
    assert "loki" not in budgets


def test_user_of_redis_stands_in_the_address_of_its_password() -> None:
    made = monitoring.monitoring_stack({**OPTIONS, "redis": [{**OPTIONS["redis"][0], "user": "watch"}]})
    assert made["definition"]["services"]["redis-shop"]["environment"]["REDIS_USER"] == "watch"
    [secret] = [one for one in made["secrets"] if one["name"] == "passwords.json"]
    assert json.loads(secret["value"]) == {"redis://watch@192.0.2.31:6379": CANARY}


def test_target_that_asks_for_a_login_is_named() -> None:
    labels = {"job": "app", "instance": "shop-blue-api-app1"}
    url = "http://192.0.2.21:20010/metrics"
    target = {"labels": labels, "scrapeUrl": url, "health": "down"}
    answers = [
        {**target, "lastError": "server returned HTTP status 401 Unauthorized"},
        {**target, "lastError": "server returned HTTP status 404 Not Found"},
        {**target, "lastError": "dial tcp 192.0.2.21:20010: connect: connection refused"},
        {**target, "health": "up", "lastError": ""},
    ]
    assert monitoring.monitoring_refusing(answers) == [
        "monitoring: answer on target shop-blue-api-app1 of job app: found 401 Unauthorized, need metrics without a login."
        f" Let {url} answer the monitoring host, or remove it from monitoring_apps."
    ]


def test_what_should_be_there_is_said() -> None:
    made = monitoring.monitoring_expected(OPTIONS, DESCRIBED, targets())
    rules = made["groups"][0]["rules"]
    said = {(rule["record"], *sorted(rule["labels"].values())): rule["expr"] for rule in rules}
    assert said["evenkeel_expected_service", "api", "shop", "web"] == "vector(4)"
    assert said["evenkeel_expected_service", "shop", "worker", "worker"] == "vector(2)"
    assert said["evenkeel_expected_service", "bot", "shop", "singleton"] == "vector(1)"
    assert not [key for key in said if "report" in key]
    assert said["evenkeel_limit_response_seconds", "shop"] == "vector(0.5)"
    assert said["evenkeel_limit_queue", "shop", "shop", "shop:jobs"] == "vector(100)"
    assert said["evenkeel_expected_backup", "shop"] == "vector(1)"
    assert said["evenkeel_expected_target", "ops1", "prometheus"] == "vector(1)"
    assert said["evenkeel_limit_volume_bytes", "jaeger"] == "vector(5368709120)"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
def test_promtool_takes_the_whole_set(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for pack in ROOT.glob("roles/*/files/rules/*.yml"):
        made = monitoring.monitoring_rules(yaml.safe_load(pack.read_text(encoding="utf-8")), 0.1)
        (tmp_path / "rules" / pack.name).write_text(yaml.safe_dump(made), encoding="utf-8")
    expected = monitoring.monitoring_expected(OPTIONS, DESCRIBED, targets())
    slos = monitoring.slo_rules([{"name": "shop", "app": "shop", "kind": "availability", "objective": 99.9}])
    (tmp_path / "rules" / "expected.yml").write_text(yaml.safe_dump(expected), encoding="utf-8")
    (tmp_path / "rules" / "slo.yml").write_text(yaml.safe_dump(slos), encoding="utf-8")
    made = monitoring.monitoring_prometheus(OPTIONS, targets())
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(made), encoding="utf-8")
    argv = [PROMTOOL or "promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    asked = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_stack_keeps_the_rules_of_stacks() -> None:
    made = monitoring.monitoring_stack(OPTIONS)
    services = json.loads(json.dumps(made["definition"]["services"]))
    for service in services.values():
        # As compose gives them.
        service["ports"] = [
            {"host_ip": port.rpartition(":")[0].rpartition(":")[0], "published": port.split(":")[-2]}
            for port in service.get("ports", [])
        ]
        service["volumes"] = [
            {
                "type": "bind" if one.startswith("/") else "volume",
                "source": one.split(":")[0],
                "target": one.split(":")[1],
            }
            for one in service.get("volumes", [])
        ]
    found = _compose_policy.unwaived(_compose_policy.lint(services), made["waivers"])
    assert [finding.sentence("monitoring") for finding in found] == []
    assert _compose_policy.waiver_problems(made["waivers"], services, "monitoring") == []


def test_no_secret_stands_in_the_stack_or_the_settings() -> None:
    made = monitoring.monitoring_stack(OPTIONS)
    open_to_all = [made["definition"], made["waivers"], monitoring.monitoring_alertmanager(OPTIONS)]
    open_to_all += [monitoring.monitoring_prometheus(OPTIONS, targets()), monitoring.monitoring_blackbox(OPTIONS)]
    assert CANARY not in json.dumps(open_to_all)
    assert {secret["service"] for secret in made["secrets"]} == {
        "alertmanager",
        "grafana",
        "postgresql-shop",
        "redis-shop",
    }


def test_nothing_listens_on_every_address() -> None:
    for service in monitoring.monitoring_stack(OPTIONS)["definition"]["services"].values():
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "192.0.2.31:"))


def test_a_part_that_the_edges_lead_to_listens_on_the_private_address_and_says_its_name() -> None:
    urls = {"prometheus": "https://watch.example.com"}
    services = monitoring.monitoring_stack({**OPTIONS, "public_urls": urls})["definition"]["services"]
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090", "192.0.2.31:9090:9090"]
    assert "--web.external-url=https://watch.example.com" in services["prometheus"]["command"]
    assert services["alertmanager"]["ports"] == ["127.0.0.1:9093:9093"]
    assert monitoring.monitoring_public_ports(urls) == ["9090"]


@pytest.mark.parametrize(
    ("changed", "sentences"),
    [
        pytest.param({}, [], id="sound"),
        pytest.param({"packs": ["hosts"]}, ["monitoring_packs on the rules: found hosts"], id="pack"),
        pytest.param({"wait_factor": 0}, ["monitoring_wait_factor"], id="factor"),
        pytest.param({"postgresql": [{**DATABASE, "password": ""}]}, ["password on shop"], id="password"),
        pytest.param({"postgresql": [{**DATABASE, "admin": {"host": "data9"}}]}, ["admin.host on shop"], id="admin"),
        pytest.param({"postgresql": [{**DATABASE, "admin": {"host": "data1", "user": "watch"}}]}, ["user on shop"], id="admin as user"),
        pytest.param({"postgresql": [{**DATABASE, "password": "two words"}]}, ["found a space"], id="space"),
        pytest.param({"rule_files": ["/a/own.yml", "/b/own.yml"]}, ["name on own.yml of monitoring_rule_files"], id="rules"),
        pytest.param({"apps": [{"name": "shop", "queues": [{**QUEUE, "redis": "other"}]}]}, ["redis on queue k of shop in monitoring_apps"], id="queue"),
        pytest.param({"apps": [{"name": "shop", "queues": [QUEUE] * 2}]}, ["found it 2 times, need it once of shop"] * 2, id="queue twice"),
        pytest.param({"redis": [*OPTIONS["redis"], {**OPTIONS["redis"][0], "name": "other"}]}, ["redis on queue shop:jobs of shop"], id="whose queue"),
        pytest.param({"slos": [{**SLO, "window_days": 40}]}, ["window_days on SLO a: found 40, need at most the 30"], id="SLO kept"),
        pytest.param({"probes": [{**OPTIONS["probes"][0], "url": "https://me:word@shop.example.com/"}]}, ["url on shop of monitoring_probes"], id="login"),
        pytest.param({"redis": OPTIONS["redis"] * 2}, ["shop of monitoring_redis: found it 2 times"], id="twice"),
        pytest.param({"grafana_password": ""}, ["monitoring_grafana_password on Grafana"], id="Grafana"),
        pytest.param({"public_urls": {"blackbox": "https://b.example.com"}}, ["found blackbox, need one of"], id="public"),
        pytest.param({"public_urls": {"jaeger": "http://j.example.com/x"}}, ["URL on jaeger"], id="public without TLS"),
        pytest.param({"public_urls": {"jaeger": "https://j.example.com"}, "jaeger_enabled": False}, ["found it switched off"], id="public and off"),
        pytest.param({"apps": [{"name": "other"}]}, ["found other, need shop"], id="app"),
        pytest.param({"probes": [{**OPTIONS["probes"][0], "app": "other"}]}, ["app on shop of monitoring_probes"], id="probe"),
        pytest.param({"logs_retention": {"days": 0}}, ["nothing is kept for ever"], id="for ever"),
        pytest.param(
            {"log_store": "elsewhere"},
            ["monitoring_log_store on the stack: found elsewhere, need loki or victorialogs"],
            id="log store",
        ),
        pytest.param(
            {"public_urls": {"victorialogs": "https://l.example.com"}},
            ["found it switched off, need it on. Set monitoring_log_store"],
            id="page of the other store",
        ),
        pytest.param({"prometheus_retention": {"days": 1, "gigabytes": 200}}, ["found 215 GB"], id="disk"),
        pytest.param({"slos": [{"name": "a", "app": "shop", "kind": "x"}]}, ["kind on SLO a"], id="SLO"),
        pytest.param({"receiver": "x", "packs": ["y"]}, ["found x", "found y"], id="all at once"),
    ],
)  # fmt: skip
def test_every_problem_is_named(changed: dict[str, Any], sentences: list[str]) -> None:
    found = monitoring.monitoring_problems({**OPTIONS, **changed}, ["shop"], 100, ["data1"])
    assert len(found) == len(sentences), found
    for sentence, part in zip(found, sentences, strict=True):
        assert sentence.startswith("monitoring: ")
        assert part in sentence
        assert CANARY not in sentence
