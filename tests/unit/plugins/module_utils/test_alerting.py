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

from ansible_collections.evenkeel.platform.plugins.module_utils import _alerting

ROOT = Path(__file__).resolve().parents[4]
AMTOOL = shutil.which("amtool")


def too_old() -> bool:
    """Whether amtool is missing, or from before a webhook's address could be a file."""
    if not AMTOOL:
        return True
    said = subprocess.run([AMTOOL, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    return not found or (int(found[1]), int(found[2])) < (0, 26)


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
ROUTES: list[dict[str, Any]] = [
    {"receiver": "pager", "matchers": ['severity="critical"'], "continue": True},
    {"receiver": "chat", "matchers": ['owner="data"']},
]


@pytest.mark.parametrize(
    ("receivers", "default", "routes", "sentences"),
    [
        pytest.param(ALL, "team", ROUTES, [], id="sound"),
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


def test_mail_without_login_needs_no_secret() -> None:
    mail = {
        "name": "m",
        "kind": "email",
        "settings": {"to": "a@example.com", "from": "b@example.com", "smarthost": "m:25"},
    }
    assert _alerting.problems([mail], "m", []) == []
    assert "auth_password_file" not in str(_alerting.settings([mail], "m", [], WAITS))


def test_no_secret_stands_in_the_settings() -> None:
    made = _alerting.settings(ALL, "team", ROUTES, WAITS, deadman=True)
    assert CANARY not in yaml.safe_dump(made)
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


@pytest.mark.parametrize(
    ("target", "hidden"),
    [
        pytest.param({"pack": "backup", "backup": "shop"}, True, id="same"),
        pytest.param({"pack": "backup", "backup": "other"}, False, id="backup"),
        pytest.param({"pack": "backup", "backup": "shop", "instance": "data1"}, False, id="instance"),
        pytest.param({"pack": "host", "backup": "shop"}, False, id="pack"),
    ],
)
def test_what_is_worse_hides_only_what_is_of_the_same_thing(target: dict[str, str], hidden: bool) -> None:
    source = {"pack": "backup", "backup": "shop"}
    equal = _alerting.INHIBITIONS[0]["equal"]
    assert all(source.get(label) == target.get(label) for label in equal) is hidden


@pytest.mark.skipif(too_old(), reason="amtool is not installed, or older than 0.26: it knows no url_file of a webhook")
class TestAmtool:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        made = _alerting.settings(ALL, "team", ROUTES, WAITS, deadman=True)
        path = tmp_path / "alertmanager.yml"
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


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/*/files/rules/*.yml")), ids=lambda path: path.stem)
def test_every_wait_of_the_packs_is_understood(path: Path) -> None:
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert _alerting.scaled(rules, 0.5)["groups"]
