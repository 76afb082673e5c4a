# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings move at one point, and go back when the program does not take them."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
import urllib.request

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _staged

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")


@pytest.fixture
def run(capsys, tmp_path):
    """Run the module on a folder of this test; the last word of each file's set-up may be left out."""

    def call(files, _check=False, **params):
        main = importlib.import_module("ansible_collections.evenkeel.platform.plugins.modules.staged_config").main
        given = {"path": str(tmp_path / "set"), "files": files, **params, "_ansible_check_mode": _check}
        capsys.readouterr()
        with patch_module_args(given), pytest.raises(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    return call


def test_first_set_is_written_and_named(run, tmp_path):
    done = run({"a.yml": "one\n", "rules/b.yml": "two\n"})
    assert done["changed"]
    current = tmp_path / "set" / "current"
    assert current.is_symlink()
    assert str(current.readlink()) == f"releases/{done['release']}"
    assert (current / "rules" / "b.yml").read_text() == "two\n"
    assert (current / "rules").stat().st_mode & 0o777 == 0o755
    assert not run({"a.yml": "one\n", "rules/b.yml": "two\n"})["changed"]


def test_check_mode_writes_nothing_and_tells_the_truth(run, tmp_path):
    done = run({"a.yml": "one\n"}, _check=True, validate=[["true", "{dir}/a.yml"]])
    assert done["changed"]
    assert done["checked"]
    assert done["diff"][0]["after"] == "one\n"
    assert not (tmp_path / "set").exists()


def test_refused_settings_change_nothing(run, tmp_path):
    first = run({"a.yml": "one\n"})
    sentence = "staged_config: the settings on {}: found the check refusing them (line 3 is wrong)"
    refused = run({"a.yml": "bad\n"}, validate=[["sh", "-c", "echo line 3 is wrong; exit 1"]])
    assert refused["failed"]
    assert refused["msg"].startswith(sentence.format(tmp_path / "set"))
    assert str((tmp_path / "set" / "current").readlink()) == f"releases/{first['release']}"
    assert [path.name for path in (tmp_path / "set" / "releases").iterdir()] == [first["release"]]


def test_every_refusal_is_said_at_once(run):
    commands = [["sh", "-c", "echo first; exit 1"], ["sh", "-c", "echo second; exit 1"]]
    assert "first; second" in run({"a.yml": "x"}, validate=commands)["msg"]


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b"])
def test_paths_stay_within_the_set(run, name):
    assert "need paths within the set" in run({name: "x"})["msg"]


def test_old_sets_go_and_the_one_before_stays(run, tmp_path):
    releases = []
    for number in range(5):
        releases.append(run({"a.yml": f"{number}\n"}, keep=1)["release"])
        os.utime(tmp_path / "set" / "releases" / releases[-1], (number, number))
    left = {path.name for path in (tmp_path / "set" / "releases").iterdir()}
    assert left == set(releases[-2:])


def test_nobody_is_told_where_nobody_runs(run):
    done = run({"a.yml": "x"}, reload=["false"], ready_url="http://127.0.0.1:1/")
    assert done["changed"]
    assert not done["told"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("x_last_reload_successful 1\nx_last_reload_success_timestamp_seconds 1.1e3\n", "", id="taken"),
        pytest.param(
            "x_last_reload_successful 1\nx_last_reload_success_timestamp_seconds 9.0e+02\n", "not read", id="not yet"
        ),
        pytest.param(
            "x_last_reload_successful 0\nx_last_reload_success_timestamp_seconds 1e3\n", "refused", id="refused"
        ),
        pytest.param("", "no figure", id="no figures"),
    ],
)
def test_verdict_is_read_from_figures(text, why):
    said = _staged.taken(text, "x", 1000)
    assert why in said
    assert bool(why) == bool(said)


# -- with a real Prometheus --------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(t.NamedTuple):
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def scrape_interval(self) -> str:
        with urllib.request.urlopen(f"{self.url}/api/v1/status/config", timeout=5) as answer:
            text = json.load(answer)["data"]["yaml"]
        return text.partition("scrape_interval: ")[2].split()[0]


def settings(interval: str) -> dict[str, str]:
    return {"prometheus.yml": f"global: {{scrape_interval: {interval}}}\n"}


@pytest.fixture
def prometheus(run, tmp_path):
    if not PROMETHEUS or not PROMTOOL:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    run(settings("1m"))
    port = free_port()
    argv = [
        PROMETHEUS,
        f"--config.file={tmp_path}/set/current/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    server = Server(port, process.pid)
    for _attempt in range(100):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/-/ready", timeout=1):
            break
        time.sleep(0.1)
    else:
        pytest.fail((tmp_path / "log").read_text())
    yield server
    process.send_signal(signal.SIGTERM)
    process.wait(20)


def options(server: Server, **changed):
    return {
        "validate": [[PROMTOOL, "check", "config", "{dir}/prometheus.yml"]],
        "reload": ["kill", "-HUP", str(server.pid)],
        "ready_url": f"{server.url}/-/ready",
        "metrics_url": f"{server.url}/metrics",
        "metric": "prometheus_config",
        **changed,
    }


def test_running_program_reads_the_new_settings(run, prometheus):
    done = run(settings("20s"), **options(prometheus))
    assert done["told"], done
    assert prometheus.scrape_interval() == "20s"


def test_what_promtool_refuses_reaches_nobody(run, prometheus):
    refused = run({"prometheus.yml": "global: {scrape_interval: soon}\n"}, **options(prometheus))
    assert "the check refusing them" in refused["msg"]
    assert prometheus.scrape_interval() == "1m"


def test_what_the_program_refuses_goes_back(run, prometheus, tmp_path):
    before = (tmp_path / "set" / "current").readlink()
    started = time.monotonic()
    refused = run(
        {"prometheus.yml": "global: {scrape_interval: soon}\n"}, **options(prometheus, validate=[], ready_seconds=2)
    )
    assert refused["failed"]
    assert "the former ones are back" in refused["msg"]
    assert time.monotonic() - started < 10
    assert (tmp_path / "set" / "current").readlink() == before
    assert prometheus.scrape_interval() == "1m"


def test_a_program_that_hangs_gets_its_former_settings_back(run, prometheus, tmp_path):
    before = (tmp_path / "set" / "current").readlink()
    # It is told of nothing, so it never says that it has read the new ones.
    refused = run(settings("5s"), **options(prometheus, reload=[sys.executable, "-c", ""], ready_seconds=1))
    assert "that it has not read the settings yet" in refused["msg"]
    assert (tmp_path / "set" / "current").readlink() == before
