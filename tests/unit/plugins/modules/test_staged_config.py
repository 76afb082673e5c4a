# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings move at one point, and go back when the program does not take them."""

from __future__ import annotations

import contextlib
import http.server
import importlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
import urllib.request

import pytest
from ansible.module_utils.basic import AnsibleModule
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


def test_program_that_does_not_run_is_not_reloaded(run):
    done = run({"a.yml": "x"}, reload=["false"], ready_url="http://127.0.0.1:1/")
    assert done["changed"]
    assert not done["reloaded"]


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


# -- a run that is killed ----------------------------------------------------


class Program:
    """Reads C(a.yml) at a reload, and is ready unless that says bad. The run can be killed at each of its steps."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.options: dict[str, t.Any] = {}
        self.read = ""
        self.reloads = 0
        self.steps_left = -1
        self.kills_who_tells = False

    def named(self) -> str:
        return (self.folder / "current" / "a.yml").read_text()

    def step(self) -> None:
        self.steps_left -= 1
        if not self.steps_left:
            raise KeyboardInterrupt

    def stepping(self, plain):
        def call(*arguments, **options):
            self.step()
            return plain(*arguments, **options)

        return call

    def run_command(self, argv):
        assert argv == ["tell"]
        if self.kills_who_tells:
            raise KeyboardInterrupt
        self.step()
        self.reloads += 1
        self.read = self.named()
        self.step()
        return 0, "", ""

    def in_order(self) -> bool:
        """It runs with what the link names, and no mark is left."""
        left = {path.name for path in self.folder.iterdir() if path.suffix != ".new"}
        return self.read == self.named() and left == {"current", "releases"}


@pytest.fixture
def program(tmp_path, monkeypatch):
    it = Program(tmp_path / "set")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503 if "bad" in it.read else 200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    it.options = {
        "reload": ["tell"],
        "ready_url": f"http://127.0.0.1:{server.server_address[1]}/",
        "ready_seconds": 0,
    }
    monkeypatch.setattr(AnsibleModule, "run_command", lambda self, argv, **options: it.run_command(argv))
    for name in ("fsync", "mkdir", "rename", "symlink", "unlink"):
        monkeypatch.setattr(os, name, it.stepping(getattr(os, name)))
    yield it
    server.shutdown()
    server.server_close()


def killed(run, program, text, step) -> bool:
    """Kill a run with these settings at this step; return whether it came so far."""
    program.steps_left = step
    try:
        run({"a.yml": text}, **program.options)
    except KeyboardInterrupt:
        return True
    finally:
        program.steps_left = -1
    return False


def kill_before_reload(run, program, text) -> None:
    """Kill a run when the link names its settings and the program is not reloaded yet."""
    program.kills_who_tells = True
    with pytest.raises(KeyboardInterrupt):
        run({"a.yml": text}, **program.options)
    program.kills_who_tells = False
    assert program.named() == text != program.read


def set_out(run, program) -> str:
    """The first settings are there, and the program runs with them."""
    first = run({"a.yml": "one\n"})["release"]
    program.read = program.named()
    return first


def test_next_run_reloads_what_a_killed_run_left_pending(run, program):
    set_out(run, program)
    kill_before_reload(run, program, "two\n")
    would = run({"a.yml": "two\n"}, _check=True, **program.options)
    assert (would["changed"], would["reloaded"], would["actions"]) == (True, True, ["reloaded the program"])
    assert program.read == "one\n"
    done = run({"a.yml": "two\n"}, **program.options)
    assert (done["changed"], done["reloaded"], done["actions"]) == (True, True, ["reloaded the program"])
    assert program.read == "two\n"
    assert program.in_order()
    for check in (True, False):
        again = run({"a.yml": "two\n"}, _check=check, **program.options)
        assert (again["changed"], again["reloaded"], again["actions"]) == (False, False, [])
    assert program.reloads == 1


def test_sound_run_leaves_no_mark_and_the_second_is_unchanged(run, program):
    set_out(run, program)
    assert run({"a.yml": "two\n"}, **program.options)["reloaded"]
    assert program.in_order()
    assert not run({"a.yml": "two\n"}, **program.options)["changed"]
    assert program.reloads == 1


@pytest.mark.parametrize(
    ("text", "following", "taken"),
    [
        pytest.param("two\n", "two\n", "two\n", id="the same again"),
        pytest.param("two\n", "one\n", "one\n", id="the former ones again"),
        pytest.param("two\n", "three\n", "three\n", id="others"),
        pytest.param("two\n", "bad\n", "one\n", id="others that are refused"),
        pytest.param("bad\n", "bad\n", "one\n", id="refused ones again"),
        pytest.param("bad\n", "one\n", "one\n", id="the former ones after refused ones"),
        pytest.param("bad\n", "three\n", "three\n", id="others after refused ones"),
    ],
)
def test_run_killed_at_any_step_is_mended_by_the_next(run, program, text, following, taken):
    for step in itertools.count(1):
        shutil.rmtree(program.folder, ignore_errors=True)
        set_out(run, program)
        if not killed(run, program, text, step):
            break
        refused = following != taken
        assert bool(run({"a.yml": following}, **program.options).get("failed")) == refused, step
        assert program.read == taken, step
        assert program.in_order(), step
        assert refused or not run({"a.yml": following}, **program.options)["changed"], step
    assert step > 10


def test_mark_is_no_set_and_keeps_the_one_to_go_back_to(run, program):
    first = set_out(run, program)
    os.utime(program.folder / "releases" / first, (1, 1))
    kill_before_reload(run, program, "two\n")
    assert (program.folder / ".pending").stat().st_mode & 0o777 == 0o600
    assert (program.folder / ".pending").read_text() == first
    # Nobody answers, so the mark stays; the set that the program took last does too, however old it is.
    for text in ("three\n", "four\n"):
        done = run({"a.yml": text}, keep=1, **{**program.options, "ready_url": "http://127.0.0.1:1/"})
        assert not done["reloaded"]
    assert (program.folder / "releases" / first).is_dir()
    refused = run({"a.yml": "bad\n"}, keep=1, **program.options)
    assert "the former ones are back" in refused["msg"]
    assert program.read == "one\n"
    assert program.in_order()


def test_link_never_goes_back_to_a_set_that_is_gone(run, program):
    shutil.rmtree(program.folder / "releases" / set_out(run, program))
    refused = run({"a.yml": "bad\n"}, **program.options)
    assert "there were none before, so they stay" in refused["msg"]
    assert program.named() == "bad\n"


def test_refused_check_spares_the_set_to_go_back_to(run, program, monkeypatch):
    first = set_out(run, program)
    kill_before_reload(run, program, "two\n")
    monkeypatch.setattr(AnsibleModule, "run_command", lambda self, argv, **options: (1, "no longer", ""))
    assert "no longer" in run({"a.yml": "one\n"}, validate=[["check"]], **program.options)["msg"]
    assert (program.folder / "releases" / first).is_dir()


def test_first_settings_that_are_refused_are_tried_again(run, program):
    refused = run({"a.yml": "bad\n"}, **program.options)
    assert "there were none before, so they stay" in refused["msg"]
    assert run({"a.yml": "bad\n"}, **program.options)["failed"]
    assert run({"a.yml": "two\n"}, **program.options)["reloaded"]
    assert program.in_order()


def test_former_settings_that_are_refused_as_well_are_tried_again(run, program, monkeypatch):
    set_out(run, program)
    with monkeypatch.context() as deaf:
        deaf.setattr(AnsibleModule, "run_command", lambda self, argv, **options: (1, "", "deaf"))
        assert "it is not ready with them either" in run({"a.yml": "two\n"}, **program.options)["msg"]
        assert "they are the former ones, so they stay" in run({"a.yml": "one\n"}, **program.options)["msg"]
    assert run({"a.yml": "one\n"}, **program.options)["actions"] == ["reloaded the program"]
    assert program.in_order()
    assert not run({"a.yml": "one\n"}, **program.options)["changed"]


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
    assert done["reloaded"], done
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
    # It gets no signal, so its metrics never show the new ones.
    refused = run(settings("5s"), **options(prometheus, reload=[sys.executable, "-c", ""], ready_seconds=1))
    assert "that it has not read the settings yet" in refused["msg"]
    assert (tmp_path / "set" / "current").readlink() == before


def test_prometheus_loads_what_a_killed_run_left_pending(run, prometheus, tmp_path):
    given = options(prometheus, reload=["sh", "-c", "kill -KILL $PPID"])
    code = (
        "import json, sys\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.evenkeel.platform.plugins.modules.staged_config import main\n"
        "with patch_module_args(json.load(sys.stdin)):\n"
        "    main()\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps({"path": str(tmp_path / "set"), "files": settings("20s"), **given}),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert prometheus.scrape_interval() == "1m"
    assert run(settings("20s"), **options(prometheus))["reloaded"]
    assert prometheus.scrape_interval() == "20s"
    assert not run(settings("20s"), **options(prometheus))["changed"]
