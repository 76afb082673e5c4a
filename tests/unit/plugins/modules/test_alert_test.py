# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test reaches each receiver through a real Alertmanager, and what did not arrive is named."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _alerting

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
WAITS = {"group_seconds": 30, "interval_seconds": 300, "repeat_hours": 4}


@pytest.fixture
def run(capsys):
    def call(_check=False, **params):
        main = importlib.import_module("ansible_collections.evenkeel.platform.plugins.modules.alert_test").main
        capsys.readouterr()
        with patch_module_args({**params, "_ansible_check_mode": _check}), pytest.raises(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def receiver():
    """A webhook that takes what is sent to /team and refuses what is sent to /broken."""

    class Webhook(http.server.ThreadingHTTPServer):
        got: list

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.got.append((self.path, body))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = Webhook(("127.0.0.1", 0), Handler)
    server.got = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def alertmanager(receiver, tmp_path, monkeypatch):
    if not ALERTMANAGER:
        pytest.skip("alertmanager is not installed: apt-get install prometheus-alertmanager")
    said = subprocess.run([ALERTMANAGER, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+)\.(\d+)", said.stdout + said.stderr)
    if not version or (int(version[1]), int(version[2])) < (0, 26):
        pytest.skip("this Alertmanager is older than 0.26: it knows no url_file of a webhook")
    monkeypatch.setattr(_alerting, "SECRETS", str(tmp_path))
    receivers = [{"name": name, "kind": "webhook", "secret": "x"} for name in ("team", "broken")]
    for one in receivers:
        (tmp_path / f"receiver-{one['name']}").write_text(f"http://127.0.0.1:{receiver.server_port}/{one['name']}")
    (tmp_path / "am.yml").write_text(yaml.safe_dump(_alerting.settings(receivers, "team", [], WAITS)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    argv = [ALERTMANAGER, f"--config.file={tmp_path}/am.yml", f"--storage.path={tmp_path}/data"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    argv += ["--enable-feature=receiver-name-in-metrics"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    for _attempt in range(100):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready", timeout=1):
            break
        time.sleep(0.1)
    else:
        pytest.fail((tmp_path / "log").read_text())
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def test_receiver_takes_the_test(run, alertmanager, receiver):
    done = run(receivers=["team"], url=alertmanager, timeout_seconds=20)
    assert done["accepted"] == ["team"], done
    [(path, body)] = receiver.got
    assert path == "/team"
    assert body["alerts"][0]["labels"]["evenkeel_test"] == "team"


def test_each_that_did_not_is_named(run, alertmanager):
    done = run(receivers=["team", "broken", "unknown"], url=alertmanager, timeout_seconds=6)
    assert done["failed"]
    assert done["accepted"] == ["team"]
    assert "broken refused it" in done["msg"]
    assert "unknown got no request within 6 s" in done["msg"]


def test_second_test_is_sent_as_well(run, alertmanager, receiver):
    for _number in range(2):
        assert run(receivers=["team"], url=alertmanager, timeout_seconds=20)["accepted"] == ["team"]
    assert len(receiver.got) == 2


def test_check_mode_sends_nothing(run):
    done = run(_check=True, receivers=["team"], url="http://127.0.0.1:1")
    assert done["outcomes"] == ["team: would be sent a test"]


def test_alertmanager_that_is_not_there_is_named(run):
    assert run(receivers=["team"], url="http://127.0.0.1:1")["msg"].startswith("alert_test: the answer on ")


def test_no_receiver_is_refused(run):
    said = run(receivers=[])
    assert said["failed"]
    assert said["msg"].endswith("found none, need at least one. Set monitoring_receivers.")
