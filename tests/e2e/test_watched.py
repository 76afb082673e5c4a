# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab watched by its own inventory: a request is one trace with its lines, a release opens a silence, people log in."""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.alert_rig import WATCHED
from ansible_collections.evenkeel.platform.tests import shop

# The programs that watch take ten minutes to build the first time.
pytestmark = pytest.mark.long

CANARY = "canary-4711-of-the-shop"
SILENCES = "curl -sf http://127.0.0.1:9093/api/v2/silences"
JAEGER, LOGS = "http://127.0.0.1:16686/api/traces", "http://127.0.0.1:9428/select/logsql/query"


@pytest.fixture(scope="module")
def watched(folder: Path) -> rig.Play:
    for words in WATCHED:
        run = rig.play(*words, folder=folder, limit_seconds=1800)
        assert run.code == 0, run.tail()
    return run


def on_data1(script: str) -> str:
    (text,) = rig.on_hosts("data1", script).values()
    return text


def ask(host: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    """Ask the lab's edge for a name, with a certificate nobody signed."""
    asked = urllib.request.Request(
        f"{rig.URL}{path}",
        json.dumps(body).encode() if body else None,
        {"Host": host, "Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(asked, timeout=30, context=ssl._create_unverified_context()) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as refused:
        return refused.code, dict(refused.headers)


@pytest.mark.usefixtures("watched")
def test_second_run_changes_nothing(folder: Path) -> None:
    again = rig.play(shop.SITE, folder=folder)
    assert again.code == 0, again.tail()
    assert again.changed == {}, "\n".join(again.changed_tasks)


@pytest.fixture(scope="module")
def traced(watched: rig.Play) -> str:
    """The trace of one order, whose caller asks for it to be kept."""
    assert watched.code == 0
    trace = secrets.token_hex(16)
    order = {"id": f"{trace[:8]}-1111-4222-8333-{trace[8:20]}", "item": f"password={CANARY}", "quantity": 1}
    status, _headers = ask(rig.HOST, "/api/orders", order, traceparent=f"00-{trace}-{secrets.token_hex(8)}-01")
    assert status == 201
    return trace


def test_request_is_one_trace_through_api_and_worker(traced: str) -> None:
    def services() -> set[str]:
        found = json.loads(on_data1(f"curl -s {JAEGER}/{traced}")).get("data") or []
        names = {one["serviceName"] for trace in found for one in trace["processes"].values()}
        return names if len(names) > 1 else set()

    assert rig.until(services, 30) == {"api", "worker"}


def test_lines_of_a_trace_are_found_by_it(traced: str) -> None:
    query = urllib.parse.quote(f'{{service.namespace="shop"}} trace_id:="{traced}"')

    def lines() -> dict[str, str]:
        found = [json.loads(line) for line in on_data1(f'curl -sf "{LOGS}?query={query}"').splitlines() if line]
        by_service = {one["service.name"]: one["_msg"] for one in found}
        return by_service if len(by_service) > 1 else {}

    found = rig.until(lines, 30)
    assert set(found) == {"api", "worker"}
    assert CANARY not in str(found)


def active_silences() -> list[str]:
    """Name and reason of each."""
    found = json.loads(on_data1(SILENCES))
    return [one["comment"].partition(":")[2] for one in found if one["status"]["state"] == "active"]


@pytest.mark.usefixtures("watched")
def test_release_opens_a_silence_and_closes_it(folder: Path) -> None:
    shop.put_live(shop.OLD, folder)
    begun = rig.begin(*shop.deploy_arguments(shop.NEW, retry=shop.NEW), folder=folder)
    with rig.ended(begun):
        begun.wait_for_task(r"gate \| ")
        active = active_silences()
        begun.wait()
    assert begun.code == 0, begun.tail()
    assert active == ["deploy-shop: a deploy"]
    assert active_silences() == []


@pytest.mark.usefixtures("watched")
def test_refused_release_leaves_no_silence(folder: Path) -> None:
    """Alerts must fire if a failed release left something down."""
    run = shop.deploy("1.2-neverready", folder, retry="1.2-neverready")
    assert run.code != 0, run.tail()
    shop.assert_says(run, "was refused")
    assert active_silences() == []


@pytest.mark.usefixtures("watched")
def test_prometheus_is_reached_through_the_edge_with_a_login_alone() -> None:
    assert ask("watch.lab.test", "/-/ready")[0] == 401
    file = rig.ROOT / ".cache" / f"lab{rig.LAB_ID or ''}" / "secrets" / "watch_login"
    word = file.read_text(encoding="utf-8").split()[0]
    login = base64.b64encode(f"lab:{word}".encode()).decode()
    assert ask("watch.lab.test", "/-/ready", Authorization=f"Basic {login}")[0] == 200
    # Its port is open to the edge alone.
    closed = rig.on_hosts("app1", "curl -sm 3 http://data1:9090/-/ready || echo closed")
    assert closed == {"app1": "closed"}


@pytest.mark.usefixtures("watched")
def test_test_alert_says_what_arrived(folder: Path) -> None:
    run = rig.play("playbooks/test_alert.yml", folder=folder)
    assert run.code == 0, run.tail()
    shop.assert_says(run, "team: accepted the test")
