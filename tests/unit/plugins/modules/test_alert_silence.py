# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A silence is found again by its name, against a real Alertmanager."""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from ansible.module_utils.testing import patch_module_args

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
MISSING = "alertmanager is not installed: apt-get install prometheus-alertmanager"
LABELS = {"app": "shop", "quiet": "deploy"}


@pytest.fixture
def run(capsys):
    def call(_check=False, **params):
        main = importlib.import_module("ansible_collections.evenkeel.platform.plugins.modules.alert_silence").main
        capsys.readouterr()
        with patch_module_args({**params, "_ansible_check_mode": _check}), pytest.raises(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory):
    if not ALERTMANAGER:
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("alertmanager")
    (folder / "am.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    argv = [ALERTMANAGER, f"--config.file={folder}/am.yml", f"--storage.path={folder}/data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    for _attempt in range(100):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=1):
            break
        time.sleep(0.1)
    else:
        pytest.fail((folder / "log").read_text())
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def silences(url):
    with urllib.request.urlopen(f"{url}/api/v2/silences", timeout=5) as answer:
        return [one for one in json.load(answer) if one["status"]["state"] == "active"]


def test_silence_is_opened_moved_and_closed(run, alertmanager):
    opened = run(name="deploy-shop", labels=LABELS, reason="release 1.1", url=alertmanager)
    assert opened["changed"]
    [one] = silences(alertmanager)
    assert one["comment"] == "evenkeel:deploy-shop: release 1.1"
    assert {entry["name"]: entry["value"] for entry in one["matchers"]} == LABELS
    run(name="deploy-shop", labels=LABELS, reason="release 1.1", seconds=7200, url=alertmanager)
    [moved] = silences(alertmanager)
    assert moved["endsAt"] > one["endsAt"]
    assert run(name="deploy-shop", state="closed", url=alertmanager)["changed"]
    assert silences(alertmanager) == []
    assert not run(name="deploy-shop", state="closed", url=alertmanager)["changed"]


def test_what_is_excepted_is_told_all_the_same(run, alertmanager):
    run(name="maintenance", labels={"app": "shop"}, except_labels={"alertname": "A"}, url=alertmanager)
    alerts = [{"labels": {"alertname": name, "app": "shop"}} for name in ("A", "B")]
    asked = urllib.request.Request(
        f"{alertmanager}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(asked, timeout=5).close()
    with urllib.request.urlopen(f"{alertmanager}/api/v2/alerts", timeout=5) as answer:
        states = {one["labels"]["alertname"]: one["status"]["state"] for one in json.load(answer)}
    assert states["B"] == "suppressed"
    assert states["A"] != "suppressed"
    run(name="maintenance", state="closed", url=alertmanager)


def test_check_mode_opens_and_closes_nothing(run, alertmanager):
    assert run(_check=True, name="deploy-a", labels=LABELS, url=alertmanager)["changed"]
    assert silences(alertmanager) == []
    run(name="deploy-a", labels=LABELS, url=alertmanager)
    assert run(_check=True, name="deploy-a", state="closed", url=alertmanager)["changed"]
    assert len(silences(alertmanager)) == 1
    run(name="deploy-a", state="closed", url=alertmanager)


def test_names_that_begin_alike_are_two(run, alertmanager):
    run(name="deploy-shop", labels=LABELS, url=alertmanager)
    run(name="deploy-shop2", labels={"app": "shop2"}, url=alertmanager)
    run(name="deploy-shop", state="closed", url=alertmanager)
    assert [one["comment"] for one in silences(alertmanager)] == ["evenkeel:deploy-shop2:"]
    run(name="deploy-shop2", state="closed", url=alertmanager)


def test_no_labels_would_hide_everything(run):
    assert "labels on x: found none" in run(name="x", labels={})["msg"]


def test_alertmanager_that_is_not_there_is_named(run):
    said = run(name="x", labels=LABELS, url="http://127.0.0.1:1")
    assert said["failed"]
    assert said["msg"].startswith("alert_silence: the answer on http://127.0.0.1:1: found ")
