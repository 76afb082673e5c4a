# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Receivers and routes become settings that amtool takes, and no secret stands in them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.evenkeel.platform.plugins.module_utils import _alerting, _scrape, _slo

ROOT = Path(__file__).resolve().parents[4]
PACKS = sorted(ROOT.glob("roles/*/files/rules/*.yml"))
AMTOOL = shutil.which("amtool")
PROMTOOL = shutil.which("promtool")


def too_old() -> bool:
    """Whether amtool is missing, or from before the newest kinds of receivers."""
    if not AMTOOL:
        return True
    said = subprocess.run([AMTOOL, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    return not found or (int(found[1]), int(found[2])) < (0, 28)


CANARY = "canary-4711"
WAITS = {"group_seconds": 30, "interval_seconds": 300, "repeat_hours": 4}
TEAM = {"name": "team", "kind": "webhook", "secret": f"http://192.0.2.1/{CANARY}"}
ALL: list[dict[str, Any]] = [
    TEAM,
    {"name": "chat", "kind": "slack", "secret": CANARY, "settings": {"channel": "#alerts"}},
    {
        "name": "mail",
        "kind": "email",
        "secret": CANARY,
        "settings": {
            "to": "a@example.com",
            "from": "b@example.com",
            "smarthost": "mail.example.com:587",
            "auth_username": "b",
        },
    },
    {"name": "pager", "kind": "pagerduty", "secret": CANARY},
    {"name": "bot", "kind": "telegram", "secret": CANARY, "settings": {"chat_id": -100123}},
]
URL = f"https://hooks.example.com/{CANARY}"
# The kinds that the test above does not name, each with no more than it needs.
OTHERS: list[dict[str, Any]] = [
    {"name": "guild", "kind": "discord", "secret": URL},
    {"name": "teams", "kind": "msteams", "secret": URL},
    {"name": "flow", "kind": "msteamsv2", "secret": URL, "settings": {"title": '{{ template "title" . }}'}},
    {"name": "genie", "kind": "opsgenie", "secret": CANARY, "settings": {"api_url": "https://api.eu.example.com/"}},
    {"name": "victor", "kind": "victorops", "secret": CANARY, "settings": {"routing_key": "night"}},
    {"name": "push", "kind": "pushover", "secret": CANARY, "secrets": {"user_key": f"{CANARY}-user"}},
    {
        "name": "rocket",
        "kind": "rocketchat",
        "secret": CANARY,
        "secrets": {"token_id": f"{CANARY}-id"},
        "settings": {"api_url": "https://chat.example.com/", "channel": "#ops"},
    },
    {"name": "webex", "kind": "webex", "secret": CANARY, "settings": {"room_id": "r1"}},
    {
        "name": "jira",
        "kind": "jira",
        "secret": CANARY,
        "settings": {
            "api_url": "https://jira.example.com/rest/api/3/",
            "project": "OPS",
            "issue_type": "Bug",
            "http_config": {"basic_auth": {"username": "alerts@example.com"}},
        },
    },
    {**TEAM, "name": "token", "secrets": {"http_config.authorization.credentials": f"{CANARY}-header"}},
]
ROUTES: list[dict[str, Any]] = [
    {"receiver": "pager", "matchers": ['severity="critical"'], "continue": True},
    {"receiver": "chat", "matchers": ['owner="data"']},
]


@pytest.mark.parametrize(
    ("receivers", "default", "routes", "sentences"),
    [
        pytest.param(ALL, "team", ROUTES, [], id="sound"),
        pytest.param([*ALL, *OTHERS], "team", ROUTES, [], id="every kind"),
        pytest.param(
            [{**OTHERS[5], "secrets": {}}], "push", [], ["secrets.user_key on receiver push: found none"], id="second"
        ),
        pytest.param(
            [{**TEAM, "secrets": {"url": "x", "a b": "y"}}],
            "team",
            [],
            ["secrets on receiver team: found url", "secrets on receiver team: found a b"],
            id="further secrets",
        ),
        pytest.param(
            [{**OTHERS[8], "settings": {}}],
            "jira",
            [],
            ["api_url", "project", "issue_type", "settings.http_config.basic_auth.username"],
            id="settings within settings",
        ),
        pytest.param([], "", [], [], id="nobody"),
        pytest.param([TEAM, TEAM], "team", [], ["it 2 times"], id="name twice"),
        pytest.param([{**TEAM, "kind": "fax"}], "team", [], ["kind on receiver team: found fax"], id="kind"),
        pytest.param([{**TEAM, "secret": ""}], "team", [], ["secret on receiver team: found none"], id="no secret"),
        pytest.param([TEAM], "", [], ["monitoring_receiver on the routes: found none"], id="no default"),
        pytest.param([TEAM], "x", [], ["monitoring_receiver on the routes: found x, need team"], id="default"),
        pytest.param([TEAM], "team", [{"receiver": "x", "matchers": ["a=b"]}], ["found x, need team"], id="route"),
        pytest.param([TEAM], "team", [{"receiver": "team"}], ["matchers on the route to team"], id="no matcher"),
        pytest.param(
            [{**ALL[1], "settings": {"channel": "#a", "api_url": "http://x"}}],
            "chat",
            [],
            ["settings.api_url on receiver chat: found a secret in the open"],
            id="secret in the open",
        ),
        pytest.param(
            [{**TEAM, "settings": {"http_config": {"basic_auth": {"username": "a", "password": "b"}}}}],
            "team",
            [],
            ["settings.http_config.basic_auth.password"],
            id="deep secret in the open",
        ),
        pytest.param([{**ALL[4], "settings": {}}], "bot", [], ["settings.chat_id"], id="setting"),
        pytest.param(
            [{**TEAM, "secret": ""}, {"name": "x", "kind": "fax"}], "y", [], ["secret", "kind", "found y"], id="all"
        ),
    ],
)
def test_every_problem_is_named(
    receivers: list[dict[str, Any]], default: str, routes: list[dict[str, Any]], sentences: list[str]
) -> None:
    found = _alerting.problems(receivers, default, routes)
    assert len(found) == len(sentences), found
    for sentence, part in zip(found, sentences, strict=True):
        assert part in sentence
        assert CANARY not in sentence


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        pytest.param(
            {"http_config": {"tls_config": {"cert_file": "/c", "key": CANARY}}},
            "settings.http_config.tls_config.key on receiver team: found a secret in the open, "
            "need http_config.tls_config.key_file. Set settings.http_config.tls_config.key_file.",
            id="key of TLS",
        ),
        pytest.param(
            {"http_config": {"oauth2": {"tls_config": {"key": CANARY}}}},
            "settings.http_config.oauth2.tls_config.key on receiver team: found a secret in the open",
            id="key of TLS of a login",
        ),
        pytest.param(
            {"http_config": {"http_headers": {"X-Key": {"secrets": [CANARY]}}}},
            "settings.http_config.http_headers.X-Key.secrets on receiver team: found a secret in the open, "
            "need http_config.http_headers.X-Key.files.",
            id="header",
        ),
        pytest.param(
            {"http_config": {"http_headers": {"X.Key": {"secrets": [CANARY]}}}},
            "settings.http_config.http_headers.X.Key.secrets on receiver team",
            id="header with a dot",
        ),
        pytest.param(
            {"http_config": {"proxy_connect_header": {"Proxy-Authorization": [CANARY]}}},
            "settings.http_config.proxy_connect_header on receiver team: found a secret in the open, need none",
            id="header of a proxy",
        ),
        pytest.param(
            {"http_config": {"proxy_url": f"http://user:{CANARY}@192.0.2.9:3128"}},
            "settings.http_config.proxy_url on receiver team: found a password in the address, need it without.",
            id="proxy",
        ),
        pytest.param(
            {"text": f"see https://user:{CANARY}@wiki.example.com/x"},
            "settings.text on receiver team: found a password in the address",
            id="within a text",
        ),
        pytest.param(
            {"actions": [{"url": f"https://:{CANARY}@example.com"}]},
            "settings.actions.0.url on receiver team: found a password in the address",
            id="within a list",
        ),
        *[
            pytest.param({"x": {key: CANARY}}, f"settings.x.{key} on receiver team: found a secret in the open", id=key)
            for key in sorted(_alerting.PLAINTEXT)
        ],
    ],
)
def test_secret_in_the_open_is_refused(settings: dict[str, Any], sentence: str) -> None:
    [found] = _alerting.problems([{**TEAM, "settings": settings}], "team", [])
    assert sentence in found
    assert CANARY not in found


def test_address_that_others_may_read_has_no_password_either() -> None:
    pager = {**ALL[3], "settings": {"url": "https://events.example.com"}}
    assert _alerting.problems([pager], "pager", []) == []
    pager["settings"] = {"url": f"https://user:{CANARY}@events.example.com"}
    [found] = _alerting.problems([pager], "pager", [])
    assert "settings.url on receiver pager: found a password in the address" in found


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"http_config": {"tls_config": {"key_file": "/run/secrets/key", "key": ""}}}, id="file of a key"),
        pytest.param({"http_config": {"http_headers": {"X-Key": {"files": ["/f"], "values": ["a"]}}}}, id="header"),
        pytest.param({"http_config": {"proxy_url": "http://[2001:db8::1]:3128"}}, id="proxy"),
        pytest.param({"details": {"key": "{{ .GroupKey }}", "secrets": "none"}}, id="key of something else"),
        pytest.param({"text": "https://example.com:8080/@team: a@example.com"}, id="port and mail"),
        pytest.param({"text": "<https://example.com:8080|ops@example.com>"}, id="link with a label"),
        pytest.param({"actions": [{"url": "https://user@example.com"}]}, id="user alone"),
    ],
)
def test_what_holds_no_secret_is_left_in_peace(settings: dict[str, Any]) -> None:
    assert _alerting.problems([{**TEAM, "settings": settings}], "team", []) == []


def test_mail_without_login_needs_no_secret() -> None:
    mail = {
        "name": "m",
        "kind": "email",
        "settings": {"to": "a@example.com", "from": "b@example.com", "smarthost": "m:25"},
    }
    assert _alerting.problems([mail], "m", []) == []
    assert "auth_password_file" not in str(_alerting.settings([mail], "m", [], WAITS))


def test_kinds_are_those_of_the_role() -> None:
    spec = yaml.safe_load((ROOT / "roles/monitoring/meta/argument_specs.yml").read_text(encoding="utf-8"))
    for entry_point in spec["argument_specs"].values():
        options = entry_point["options"].get("monitoring_receivers", {}).get("options")
        if options:
            assert options["kind"]["choices"] == sorted(_alerting.KINDS)
    assert {receiver["kind"] for receiver in [*ALL, *OTHERS]} == set(_alerting.KINDS)


@pytest.mark.parametrize("receiver", [*ALL, *OTHERS], ids=lambda receiver: receiver["name"])
def test_every_secret_of_a_receiver_is_a_file_that_its_settings_name(receiver: dict[str, Any]) -> None:
    [made] = [one for one in _alerting.settings([receiver], receiver["name"], [], WAITS)["receivers"] if len(one) > 1]
    files = {f"/run/secrets/{secret['name']}" for secret in _alerting.secrets([receiver], "", "alertmanager", 1)}
    text = yaml.safe_dump(made)
    assert set(re.findall(r"_file: (/run/secrets/\S+)", text)) == files
    assert len(files) == 1 + len(receiver.get("secrets") or {})
    assert CANARY not in text


def test_settings_beside_a_nested_secret_stay() -> None:
    [made] = [one for one in _alerting.settings([OTHERS[8]], "jira", [], WAITS)["receivers"] if len(one) > 1]
    login = made["jira_configs"][0]["http_config"]["basic_auth"]
    assert login == {"username": "alerts@example.com", "password_file": "/run/secrets/receiver-jira"}
    assert "password_file" not in OTHERS[8]["settings"]["http_config"]["basic_auth"]


def test_templates_are_files_beside_the_settings() -> None:
    assert "templates" not in _alerting.settings([TEAM], "team", [], WAITS)
    assert _alerting.settings([TEAM], "team", [], WAITS, templates=True)["templates"] == ["templates/*.tmpl"]
    assert _alerting.template_problems(["files/a.tmpl", "b.tmpl"]) == []
    found = _alerting.template_problems(["a.txt", "x/b.tmpl", "y/b.tmpl"])
    assert ["found another ending" in found[0], "found two of that name" in found[1]] == [True, True]


def test_no_secret_stands_in_the_settings() -> None:
    made = _alerting.settings([*ALL, *OTHERS], "team", ROUTES, WAITS, deadman=True)
    assert CANARY not in yaml.safe_dump(made)
    made = _alerting.settings(ALL, "team", ROUTES, WAITS, deadman=True)
    assert list(_alerting.plaintext(made["receivers"])) == []


def test_each_secret_is_a_file_of_alertmanager() -> None:
    made = _alerting.secrets(ALL, "http://192.0.2.9/ping", "alertmanager", 65534)
    assert [entry["name"] for entry in made] == [
        "receiver-team",
        "receiver-chat",
        "receiver-mail",
        "receiver-pager",
        "receiver-bot",
        "receiver-deadman",
    ]
    assert {entry["uid"] for entry in made} == {65534}


def test_waits_are_shortened_by_one_factor() -> None:
    rules = {"groups": [{"name": "g", "rules": [{"alert": "A", "for": "5m"}, {"alert": "B"}, {"record": "c"}]}]}
    [group] = _alerting.scaled(rules, 0.1)["groups"]
    assert [rule.get("for") for rule in group["rules"]] == ["30s", None, None]
    assert [rule.get("for") for rule in _alerting.scaled(rules, 0.001)["groups"][0]["rules"]] == ["15s", None, None]
    assert _alerting.scaled(rules, 1) is rules
    assert _alerting.settings([TEAM], "team", [], WAITS, factor=0.1)["route"]["group_wait"] == "3s"


# -- what hides what ---------------------------------------------------------

Labels = dict[str, str]
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"(.*)"')


def rules() -> dict[str, dict[str, Any]]:
    """Every alert that there is, by its name."""
    slo = {"name": "shop", "app": "shop", "kind": "availability", "objective": 99.9}
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in PACKS] + [_slo.rules([slo])]
    every = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in every if "alert" in rule}


RULES = rules()


def alert(alertname: str, /, **labels: str) -> Labels:
    """The labels of an alert as Alertmanager gets them."""
    return {"alertname": alertname, **RULES[alertname]["labels"], **labels}


def matches(matchers: list[str], labels: Labels) -> bool:
    for matcher in matchers:
        said = MATCHER.fullmatch(matcher)
        assert said, matcher
        name, how, wanted = said.groups()
        value = labels.get(name, "")
        same = bool(re.fullmatch(wanted, value)) if "~" in how else value == wanted
        if same is how.startswith("!"):
            return False
    return True


def hides(source: Labels, target: Labels) -> bool:
    """As Alertmanager has it: a missing label is an empty one, and what matches both sides does not hide its like."""
    for rule in _alerting.settings([TEAM], "team", [], WAITS)["inhibit_rules"]:
        sides = rule["source_matchers"], rule["target_matchers"]
        if (
            matches(sides[0], source)
            and matches(sides[1], target)
            and all(source.get(label, "") == target.get(label, "") for label in rule["equal"])
            and not (matches(sides[1], source) and matches(sides[0], target))
        ):
            return True
    return False


DISK = {"instance": "app1", "device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/"}
SRV = {**DISK, "device": "/dev/sdb1", "mountpoint": "/srv"}
API = {"app": "shop", "service": "api", "colour": "blue", "release": "1.0"}
BOT = {"app": "shop", "service": "bot"}
BOX = {"instance": "app1", "container": "shop-bot", "stack": "shop-background", **BOT}
JOBS = {"instance": "shop", "app": "shop", "key": "shop:jobs"}
WAL = {"instance": "data1", "backup": "shop-wal", "engine": "physical"}
SENT = {"instance": "app1", "exporter": "otlp_http/loki"}
SITE = {"instance": "https://shop.example.com/", "job": "probe", "probe": "shop", "app": "shop"}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (alert("HostDown", instance="app1"), alert("HostMemoryLow", instance="app1")),
        (alert("HostDown", instance="app1"), alert("DockerDown", instance="app1")),
        (alert("HostDown", instance="edge1"), alert("EdgeDown", instance="edge1")),
        (alert("HostDown", instance="app1"), alert("MetricsFileOld", instance="app1", file="x.prom")),
        (alert("HostDiskAlmostFull", **SRV), alert("HostDiskFills", **SRV)),
        (alert("ContainerOutOfMemory", **BOX), alert("ContainerMemoryAlmostFull", **BOX)),
        (alert("CertificateEnds", **SITE), alert("CertificateNearItsEnd", **SITE)),
        (alert("DatabaseConnectionFailed", instance="shop"), alert("DatabaseDeadlocks", instance="shop", datname="a")),
        (alert("DatabaseConnectionFailed", instance="shop"), alert("DatabaseArchiveFails", instance="shop")),
        (alert("RedisDown", instance="shop"), alert("RedisRejectsConnections", instance="shop")),
        (alert("AppWithoutServer", **API), alert("AppServerMissing", **API)),
        (alert("AppWithoutServer", **API), alert("HighErrorRate", **API)),
        (alert("AppWithoutServer", **API), alert("HighResponseTime", **API)),
        (alert("QueueStuck", **JOBS), alert("QueueBacklog", **JOBS)),
        (alert("NoBotsRunning", app="shop"), alert("TelegramBotsDown", kind="singleton", **BOT)),
        (alert("TelegramBotsDown", kind="singleton", **BOT), alert("ContainerUnhealthy", **BOX)),
        (alert("BackupArchiveFails", **WAL), alert("BackupArchiveLags", **WAL)),
        (alert("BackupRecoveryPointOld", **WAL), alert("BackupArchiveLags", **WAL)),
        (alert("BackupFiguresOld", backup="shop"), alert("BackupDrillStale", backup="shop")),
        (alert("LogAgentLosesLogs", **SENT), alert("LogAgentCannotSend", data_type="logs", **SENT)),
        (alert("SLOBurnsFast", window="1h"), alert("SLOBurnsSlowly", window="1d")),
    ],
    ids=lambda labels: labels["alertname"],
)
def test_what_is_worse_hides_what_is_less_bad_of_the_same_thing(source: Labels, target: Labels) -> None:
    assert hides(source, target)
    worse, less_bad = source, target
    assert not hides(source=less_bad, target=worse)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (alert("HostDiskAlmostFull", **SRV), alert("HostDiskFills", **DISK)),
        (alert("HostDiskAlmostFull", **SRV), alert("HostDiskFills", **{**SRV, "instance": "app2"})),
        (alert("HostDiskAlmostFull", **SRV), alert("HostInodesAlmostUsed", **SRV)),
        (alert("HostDiskAlmostFull", **SRV), alert("HostUnitFailed", instance="app1", name="x.service")),
        (alert("HostDiskAlmostFull", **SRV), alert("HostMemoryLow", instance="app1")),
        (alert("HostKillsForMemory", instance="app1"), alert("HostMemoryLow", instance="app1")),
        (alert("HostDown", instance="app1"), alert("HostDown", instance="app1")),
        (alert("HostDown", instance="app1"), alert("HostMemoryLow", instance="app2")),
        (alert("HostDown", instance="app1"), alert("AppServerMissing", **API)),
        (alert("HostDown", instance="ops1"), alert("Watchdog")),
        (alert("HostDown", instance="edge1"), alert("EdgesDisagree", app="shop")),
        (alert("ContainerOutOfMemory", **BOX), alert("ContainerMemoryAlmostFull", **{**BOX, "container": "shop-api"})),
        (alert("CertificateEnds", **SITE), alert("CertificateNearItsEnd", **{**SITE, "probe": "shop-edge2"})),
        (alert("ContainerUnhealthy", **BOX), alert("ContainerStopped", instance="app1", container="x", stack="x")),
        (alert("DatabaseArchiveFails", instance="shop"), alert("DatabaseDeadlocks", instance="shop", datname="shop")),
        (alert("DatabaseReplicaBehind", instance="r"), alert("DatabaseTransactionOld", instance="r", datname="shop")),
        (alert("DatabaseConnectionFailed", instance="shop"), alert("DatabaseDeadlocks", instance="r", datname="shop")),
        (alert("DatabaseConnectionFailed", instance="shop"), alert("DatabaseConnectionFailed", instance="shop")),
        (alert("DatabaseConnectionFailed", instance="shop"), alert("RedisMemoryAlmostFull", instance="shop")),
        (alert("RedisCannotSave", instance="shop"), alert("RedisMemoryAlmostFull", instance="shop")),
        (alert("AppWithoutServer", **API), alert("AppServerMissing", **{**API, "service": "web"})),
        (alert("AppWithoutServer", **API), alert("HighErrorRate", **{**API, "colour": "green"})),
        (alert("HighErrorRate", **API), alert("HighResponseTime", **API)),
        (alert("HighErrorRate", **API), alert("AppServerMissing", **API)),
        (alert("AppWorkerMissing", **BOT), alert("AppInMaintenance", app="shop")),
        (alert("QueueStuck", **JOBS), alert("QueueBacklog", **{**JOBS, "key": "shop:mails"})),
        (alert("QueueStuck", **JOBS), alert("QueueBacklog", **{**JOBS, "instance": "blog", "app": "blog"})),
        (alert("TelegramBotsDown", **BOT), alert("ContainerUnhealthy", **{**BOX, "service": "news"})),
        (alert("TelegramBotsDown", **BOT), alert("ContainerUnhealthy", instance="app1", container="fault")),
        (alert("BackupArchiveFails", **WAL), alert("BackupArchiveLags", **{**WAL, "backup": "blog-wal"})),
        (alert("BackupArchiveFails", **WAL), alert("BackupSizeAnomaly", **WAL)),
        (alert("BackupFailed", **WAL), alert("BackupSizeAnomaly", **WAL)),
        (alert("BackupFiguresOld", backup="shop"), alert("BackupStale", backup="shop")),
        (alert("BackupReplicaGone", replica="a", **WAL), alert("BackupReplicaBehind", replica="b", **WAL)),
        (alert("TargetGone", instance="ops1", job="loki"), alert("MetricsFileBroken", instance="ops1")),
        (alert("LogAgentLosesLogs", **SENT), alert("LogAgentCannotSend", **{**SENT, "exporter": "otlp/other"})),
        (alert("SLOBurnsFast", window="1h"), alert("SLOBurnsSlowly", window="1d", slo="other")),
        (alert("SLOBurnsFast", window="1h"), alert("SLOBudgetSpent")),
        (alert("SLOBurnsFast", window="1h"), alert("SLOWithoutData")),
    ],
    ids=lambda labels: labels["alertname"],
)
def test_what_is_another_thing_is_told_beside_it(source: Labels, target: Labels) -> None:
    assert not hides(source, target)


def named(one: _alerting.Inhibition) -> list[str]:
    """The alerts that a target names, or none if it names packs."""
    said = MATCHER.fullmatch(one.target)
    assert said, one.target
    return said[3].split("|") if said[1] == "alertname" else []


def carrying() -> dict[str, set[str]]:
    """The labels that alerts have to carry, by alert."""
    found: dict[str, set[str]] = {}
    for one in _alerting.INHIBITIONS:
        # Packs of a host have alerts of no host, too, and those it leaves alone.
        packs = [] if one.source == "HostDown" else [name for name in RULES if matches([one.target], alert(name))]
        for name in [one.source, *named(one), *packs]:
            found.setdefault(name, set()).update(one.equal)
    return found


@pytest.mark.parametrize("one", _alerting.INHIBITIONS, ids=lambda one: f"{one.source} {one.target}")
def test_every_alert_that_hides_or_is_hidden_exists(one: _alerting.Inhibition) -> None:
    assert {one.source, *named(one)} <= RULES.keys()
    hidden = [name for name in RULES if name != one.source and matches([one.target], alert(name))]
    assert len(hidden) >= max(1, len(named(one)))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt-get install prometheus")
@pytest.mark.parametrize("name", [name for name in carrying() if not name.startswith("SLO")])
def test_alert_carries_the_labels_by_which_it_hides_or_is_hidden(name: str, tmp_path: Path) -> None:
    """Asked of its rule, in the case of its pack in which it fires."""
    [pack] = [path for path in PACKS if f"alert: {name}\n" in path.read_text(encoding="utf-8")]
    suite = ROOT / "tests/unit/roles" / pack.relative_to(ROOT).parts[1] / "rules" / pack.name
    firing = f'ALERTS{{alertname="{name}",alertstate="firing"'
    # As text, for promtool's 0x10 is not YAML's sixteen.
    cases = yaml.load(suite.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["tests"]
    case, question = next(
        (case, question)
        for case in cases
        for question in case.get("promql_expr_test", [])
        if f"{firing}}}" in question["expr"] and question["exp_samples"]
    )
    # Its targets give labels as well.
    [probe] = _scrape.probes([{"name": "shop", "url": "https://shop.example.com/", "app": "shop"}])
    given = ",".join(f'{label}="{value}"' for label, value in probe["labels"].items())
    for series in case["input_series"]:
        series["series"] = series["series"].replace('job="probe"', f'job="probe",{given}')
    carried = "".join(f',{label}!=""' for label in sorted(carrying()[name]))
    question["expr"] = f"count({firing}{carried}}}) > bool 0"
    question["exp_samples"] = [{"labels": "{}", "value": 1}]
    path = tmp_path / "suite.yml"
    asked = {"rule_files": [str(pack)], "tests": [{**case, "alert_rule_test": [], "promql_expr_test": [question]}]}
    path.write_text(yaml.safe_dump(asked), encoding="utf-8")
    run = subprocess.run([PROMTOOL or "", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_alerts_of_slos_carry_the_labels_by_which_they_hide_or_are_hidden() -> None:
    for name, labels in carrying().items():
        if name.startswith("SLO"):
            assert labels <= RULES[name]["labels"].keys()


@pytest.mark.skipif(
    too_old(), reason="amtool is not installed, or older than 0.28: it does not know every kind of receiver"
)
class TestAmtool:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        made = _alerting.settings([*ALL, *OTHERS], "team", ROUTES, WAITS, deadman=True, templates=True)
        path = tmp_path / "alertmanager.yml"
        (tmp_path / "templates").mkdir()
        (tmp_path / "templates" / "ours.tmpl").write_text('{{ define "title" }}{{ .Status }}{{ end }}')
        path.write_text(yaml.safe_dump(made), encoding="utf-8")
        return path

    def test_settings_are_taken(self, config: Path) -> None:
        asked = subprocess.run(
            [AMTOOL or "amtool", "check-config", str(config)], capture_output=True, text=True, check=False
        )
        assert asked.returncode == 0, asked.stdout + asked.stderr

    @pytest.mark.parametrize(
        ("labels", "receivers"),
        [
            pytest.param(["alertname=Watchdog"], "deadman", id="dead man"),
            pytest.param(["alertname=X", "severity=warning"], "team", id="default"),
            pytest.param(["alertname=X", "severity=critical"], "pager,team", id="critical goes on"),
            pytest.param(["alertname=X", "severity=critical", "owner=data"], "pager,chat", id="critical of data"),
            pytest.param(["alertname=X", "evenkeel_test=bot"], "bot", id="test"),
        ],
    )
    def test_alert_reaches_its_receiver(self, config: Path, labels: list[str], receivers: str) -> None:
        argv = [AMTOOL or "amtool", "config", "routes", "test", f"--config.file={config}", *labels]
        asked = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert asked.stdout.strip() == receivers, asked.stdout + asked.stderr


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_every_wait_of_the_packs_is_understood(path: Path) -> None:
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert _alerting.scaled(rules, 0.5)["groups"]
