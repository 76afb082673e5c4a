# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of a stack as Ansible runs them, with a docker command that answers by a script."""

from __future__ import annotations

import contextlib
import copy
import datetime
import http.server
import importlib
import io
import json
import os
import socketserver
import stat
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_engine, _compose_store
from ansible_collections.evenkeel.platform.plugins.module_utils._protocol import Pair

PACKAGE = "ansible_collections.evenkeel.platform.plugins.modules"
CANARY = "canary-4711-value"

# Answers from a JSON file and writes down what it was asked. `config` gives back what it was given, as compose would.
DOCKER = """#!{python}
import json, os, sys
path = {state!r}
state = json.load(open(path))
argv = sys.argv[1:]
state["calls"].append(argv)
json.dump(state, open(path, "w"))
def keep():
    json.dump(state, open(path, "w"))
def say(text, rc=0, error=""):
    print(text)
    print(error, file=sys.stderr)
    sys.exit(rc)
def services():
    import hashlib
    import yaml
    found = yaml.safe_load(open(argv[argv.index("--file") + 1]))["services"]
    return {{name: hashlib.sha256(json.dumps(found[name], sort_keys=True).encode()).hexdigest()
             for name in found if not found[name].get("profiles")}}
def running(name, mark, number):
    return {{"Id": name + "-" + str(number), "Name": "/shop-" + name, "RestartCount": 0,
             "Config": {{"Labels": {{"com.docker.compose.service": name, "com.docker.compose.config-hash": mark}}}},
             "State": {{"Status": "running", "Running": True, "ExitCode": 0, "StartedAt": str(number)}}}}
if state["down"] and argv[0] != "compose":
    say("", 1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
if argv[:1] == ["version"]:
    say("26.1.5")
if argv[0] == "compose":
    verb = [word for word in argv if word in ("config", "up", "down", "stop", "version")][0]
    if "--hash" in argv:
        say("\\n".join(name + " " + mark for name, mark in services().items()))
    if verb == "config":
        data = json.load(sys.stdin)
        if state["config_error"]:
            say("", 15, state["config_error"])
        for name, volume in (data.get("volumes") or {{}}).items():
            data["volumes"][name] = {{"name": "shop_" + name}}
        say(json.dumps(data), error=state["config_warning"])
    if verb == "up":
        state["ups"] += 1
        if state["up_errors"]:
            error = state["up_errors"].pop(0)
            if error:
                state["containers"] = state["failed_containers"] or state["containers"]
                keep()
                say("", 1, error)
        old = {{each["Config"]["Labels"]["com.docker.compose.service"]: each for each in state["containers"]}}
        now = []
        for name, mark in services().items():
            each = old.get(name)
            same = each and each["Config"]["Labels"].get("com.docker.compose.config-hash") == mark
            if each and (same or "--no-recreate" in argv):
                if not each["State"]["Running"]:
                    each["State"].update(Status="running", Running=True, StartedAt=str(state["ups"]))
                now.append(each)
            else:
                now.append(running(name, mark, state["ups"]))
        state["containers"] = now
        keep()
    if verb == "down":
        state["containers"] = []
        keep()
    if verb == "stop":
        for each in state["containers"]:
            each["State"].update(Status="exited", Running=False, ExitCode=143)
        keep()
    say("2.26.1")
if argv[:2] == ["image", "inspect"]:
    image = state["images"].get(argv[2])
    say(json.dumps([image])) if image else say("", 1, "Error response from daemon: No such image: " + argv[2])
if argv[0] == "pull":
    image = state["registry"].get(argv[2])
    if not image:
        say("", 1, state["pull_error"] or "Error response from daemon: manifest for %s not found" % argv[2])
    state["images"][argv[2]] = image
    keep()
    say(argv[2])
if argv[0] == "ps":
    say("\\n".join(container["Id"] for container in state["containers"]))
if argv[0] == "inspect":
    say(json.dumps(state["containers"]))
if argv[0] == "logs":
    say(state["logs"])
if argv[0] == "restart":
    for each in state["containers"]:
        if each["Id"] in argv:
            each["State"].update(state["restarted"])
    keep()
    say("")
if argv[:2] == ["volume", "ls"]:
    say("\\n".join(state["volumes"]))
if argv[:2] == ["network", "ls"]:
    say("\\n".join(state["networks"]))
if argv[1] == "create":
    state[argv[0] + "s"].append(argv[-1])
    keep()
    say(argv[-1])
if argv[:2] == ["network", "rm"]:
    if argv[2] not in state["networks"]:
        say("", 1, "Error response from daemon: network " + argv[2] + " not found")
    state["networks"].remove(argv[2])
    keep()
    say(argv[2])
if argv[:2] == ["volume", "rm"]:
    if argv[2] not in state["volumes"]:
        say("", 1, "Error response from daemon: get %s: no such volume" % argv[2])
    state["volumes"].remove(argv[2])
    keep()
    say(argv[2])
if argv[:2] == ["volume", "inspect"]:
    say(state["mountpoint"]) if state["mountpoint"] else say("", 1, "no such volume")
if "login" in argv:
    password = sys.stdin.read()
    if password != state["password"]:
        say("", 1, "Error response from daemon: Get https://a/v2/: unauthorized: 401 Unauthorized")
    import base64
    folder = argv[argv.index("--config") + 1]
    user = argv[argv.index("--username") + 1]
    auth = base64.b64encode((user + ":" + password).encode()).decode()
    json.dump({{"auths": {{argv[-1]: {{"auth": auth}}}}}}, open(folder + "/config.json", "w"))
    say("Login Succeeded")
say("", 1, "not scripted: %r" % argv)
"""


def image(number, repository="registry.example.com/shop/app", **config):
    digest = f"{number:064x}"
    return {
        "Id": f"sha256:{number + 1000:064x}",
        "RepoDigests": [f"{repository}@sha256:{digest}"] if repository else [],
        "Config": {"User": "10001", "Cmd": ["serve"], **config},
    }


SERVICE: dict[str, Any] = {
    "image": "registry.example.com/shop/app:1.0",
    "user": str(os.getuid() or 10001),
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "mem_limit": "64m",
    "cpus": 0.5,
    "pids_limit": 50,
    "restart": "unless-stopped",
    "logging": {"driver": "local", "options": {"max-size": "1m"}},
    "healthcheck": {"test": ["CMD", "true"]},
    "volumes": [{"type": "volume", "source": "data", "target": "/data"}],
}
UID = int(SERVICE["user"])
DEFINITION: dict[str, Any] = {"services": {"web": SERVICE}, "volumes": {"data": {}}}


def changed_definition(**changes):
    definition = copy.deepcopy(DEFINITION)
    definition["services"]["web"].update(changes)
    return definition


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a docker command first on the path; its state can be read and set."""
    state_file = tmp_path / "docker.json"
    start = {
        "calls": [],
        "down": False,
        "config_error": "",
        "config_warning": "",
        "up_errors": [],
        "failed_containers": [],
        "restarted": {"Status": "running", "Running": True, "StartedAt": "9"},
        "ups": 0,
        "pull_error": "",
        "images": {"registry.example.com/shop/app:1.0": image(1), "registry.example.com/shop/app:1.1": image(2)},
        "registry": {},
        "containers": [],
        "logs": "",
        "volumes": [],
        "networks": [],
        "mountpoint": "",
        "password": "right",
    }
    state_file.write_text(json.dumps(start))
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(DOCKER.format(python=sys.executable, state=str(state_file)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    code = compile(program.read_text(), str(program), "exec")

    def answer(_module, argv, data=None, **_options):
        """Run the command in this process: a hundred tests ask it a thousand times."""
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(sys, "stdin", io.StringIO(data or ""))
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                exec(code, {"__name__": "__main__"})
            except SystemExit as end:
                return int(end.code or 0), out.getvalue(), err.getvalue()
        return 0, out.getvalue(), err.getvalue()

    def update(**values):
        state_file.write_text(json.dumps({**json.loads(state_file.read_text()), **values}))

    return SimpleNamespace(
        update=update,
        answer=answer,
        state=lambda: json.loads(state_file.read_text()),
        asked=lambda verb: [call for call in json.loads(state_file.read_text())["calls"] if verb in call],
        remove=lambda: monkeypatch.setenv("PATH", str(tmp_path / "nothing")),
    )


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, docker):
    """Run a module and return its JSON."""
    monkeypatch.setattr(_compose_store, "LOCKS", tmp_path / "lock")
    monkeypatch.setattr(_compose_store, "UNITS", tmp_path / "units")
    monkeypatch.setattr(AnsibleModule, "run_command", docker.answer)

    def call(module, _check=False, **params):
        if module != "registry_login":
            params.setdefault("base_dir", str(tmp_path / "stacks"))
            params.setdefault("state_dir", str(tmp_path / "state"))
            params.setdefault("lock_dir", str(tmp_path / "lock"))
        capsys.readouterr()
        main = importlib.import_module(f"{PACKAGE}.{module}").main
        arguments = {**params, "_ansible_check_mode": _check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            main()
        output = capsys.readouterr()
        result = json.loads(output.out)
        result["raw"] = output.out + output.err
        return result

    return call


@pytest.fixture
def release(run):
    """Run compose_release for the stack shop."""

    def call(state="present", **params):
        if state in ("present", "staged"):
            params.setdefault("definition", DEFINITION)
        return run("compose_release", **{"name": "shop", "state": state, **params})

    return call


@pytest.fixture
def stack(tmp_path):
    return tmp_path / "stacks" / "shop"


def good(result):
    assert "failed" not in result, result["msg"]
    assert result.keys() >= KEYS
    return result


OTHER = {"definition": changed_definition(mem_limit="65m")}
KEYS = {
    "changed",
    "actions",
    "release",
    "current",
    "previous",
    "project_src",
    "pending",
    "written",
    "images",
    "waived",
    "evidence",
    "reason",
    "fault",
    "diff",
}


# -- present -----------------------------------------------------------------


def test_new_release_is_a_folder_with_pinned_images_that_runs(release, docker, stack):
    result = good(release())
    assert result["release"].startswith("1-")
    assert result["actions"] == [
        f"wrote release {result['release']}",
        "created service web",
        f"pointed current at {result['release']}",
    ]
    folder = stack / "releases" / result["release"]
    assert result["project_src"] == str(folder)
    digest = f"registry.example.com/shop/app@sha256:{1:064x}"
    assert result["images"] == {"web": digest}
    assert f'image: "{digest}"' in (folder / "compose.yaml").read_text()
    record = json.loads((folder / "release.json").read_text())
    assert record["images"] == {"web": digest}
    assert record["services"]["web"]["image"] == "registry.example.com/shop/app:1.0"
    assert str((stack / "current").readlink()) == f"releases/{result['release']}"
    [up] = docker.asked("up")
    assert str(folder / "compose.yaml") in up
    assert {"--wait", "--remove-orphans", "--no-build"} <= set(up)


def test_same_content_is_unchanged_and_starts_nothing(release, docker):
    first = good(release())
    for check in (True, False):
        again = good(release(_check=check))
        assert not again["changed"], again
        assert not again["pending"]
        assert again["release"] == again["current"] == first["release"]
    assert len(docker.asked("up")) == 1


SHARED = {
    "networks": [{"name": "shop-blue", "internal": True, "labels": {"a": "b"}}],
    "volumes": [{"name": "shop_files", "driver": "local", "driver_opts": {"type": "nfs"}}],
}


def test_what_outlives_a_stack_is_made_once_and_removed_when_it_is_typed(release, docker):
    dry = good(release(_check=True, shared=SHARED))
    made = ["made network shop-blue", "made volume shop_files"]
    assert [action for action in dry["actions"] if action.startswith("made")] == made
    assert not docker.asked("create")
    first = good(release(shared=SHARED))
    assert [action for action in first["actions"] if action.startswith("made")] == made
    network, volume = docker.asked("create")
    label = ["--label", "evenkeel.shared=true"]
    assert network == ["network", "create", *label, "--label", "a=b", "--internal", "shop-blue"]
    assert volume == ["volume", "create", *label, "--opt", "type=nfs", "--driver", "local", "shop_files"]
    assert not good(release(shared=SHARED))["changed"]
    # A network that somebody pruned is there again before the containers are started.
    docker.update(networks=[])
    containers = docker.state()["containers"]
    containers[0]["State"].update(Status="exited", Running=False, ExitCode=137)
    docker.update(containers=containers)
    good(release("running"))
    assert docker.state()["networks"] == ["shop-blue"]
    gone = good(release("absent"))
    assert "removed network shop-blue" in gone["actions"]
    assert docker.state()["volumes"] == ["shop_files"]
    good(release(shared=SHARED))
    assert "removed volume shop_files" in good(release("absent", volumes=["shop_files"]))["actions"]
    assert docker.state()["volumes"] == []


def carrying(name):
    bind = {"type": "bind", "source": f"/srv/files/{name}/a.conf", "target": "/a.conf", "read_only": True}
    files = [{"path": f"{name}/a.conf", "data": "b25l"}, {"path": f"{name}/below/run", "data": "dHdv", "mode": "0555"}]
    return {"definition": changed_definition(volumes=[bind]), "files": files}


def test_files_travel_with_a_release_and_go_with_the_last_that_mounts_them(release, docker, stack, tmp_path):
    first, second = "a" * 16, "b" * 16
    assert "wrote a.conf, below/run" in good(release(_check=True, **carrying(first)))["actions"]
    assert not (stack / "files").exists()
    assert "wrote a.conf, below/run" in good(release(**carrying(first)))["actions"]
    assert (stack / "files" / first / "a.conf").read_text() == "one"
    assert (stack / "files" / first / "below/run").stat().st_mode & 0o777 == 0o555
    assert (stack / "files" / first).stat().st_mode & 0o777 == 0o755
    assert not good(release(**carrying(first)))["changed"]
    good(release(**carrying(second)))
    assert {path.name for path in (stack / "files").iterdir()} == {first, second}
    os.utime(stack / "files" / first, (0, 0))
    good(release(keep=1, **carrying("c" * 16)))
    assert {path.name for path in (stack / "files").iterdir()} == {second, "c" * 16}


def test_health_check_sees_the_secrets_of_the_environment(release, docker, stack):
    secret = {"name": "key", "service": "web", "uid": UID, "value": "canary-4711", "as": "environment", "reason": "old"}
    result = good(release(secrets=[secret]))
    text = (stack / "releases" / result["release"] / "compose.yaml").read_text()
    assert text.count("/run/evenkeel/load-secrets") == 3
    assert text.count('"KEY=key"') == 2


def test_secret_without_a_user_belongs_to_that_of_the_image(release, docker, stack):
    definition = changed_definition()
    del definition["services"]["web"]["user"]
    docker.update(images={"registry.example.com/shop/app:1.0": image(1, User=str(UID))})
    secret = {"name": "key", "service": "web", "uid": -1, "value": "canary-4711"}
    good(release(definition=definition, secrets=[secret]))
    [path] = (stack / "secrets").glob("*/web/key")
    assert path.stat().st_uid == UID
    docker.update(images={"registry.example.com/shop/app:1.0": image(2, User="app")})
    refused = release(definition=definition, secrets=[secret])
    assert "user on service web of stack shop: found app in its image, need a number" in refused["msg"]


def test_moved_tag_is_a_new_release(release, docker):
    first = good(release())
    docker.update(images={"registry.example.com/shop/app:1.0": image(7)})
    second = good(release())
    assert second["previous"] == first["release"]
    assert second["current"] == second["release"] != first["release"]
    assert "re-created service web" in second["actions"]
    assert f"{7:064x}" in second["diff"]["after"]
    assert f"{1:064x}" in second["diff"]["before"]


def test_going_back_to_old_content_is_the_old_folder(release):
    first = good(release())
    good(release(**OTHER))
    back = good(release())
    assert back["release"] == first["release"]
    assert not any(action.startswith("wrote") for action in back["actions"])


def test_check_mode_writes_nothing_and_predicts_the_change(release, docker, stack):
    result = good(release(_check=True))
    assert result["changed"]
    assert not result["written"]
    assert "created service web" in result["actions"]
    assert not stack.exists()
    good(release())
    result = good(release(_check=True, **OTHER))
    assert "re-created service web" in result["actions"]
    assert len(docker.asked("up")) == 1


def broken(docker, **state):
    """Let the one container be in another state."""
    [seen] = docker.state()["containers"]
    seen["State"].update(state)
    docker.update(containers=[seen])


def test_container_that_ended_is_started_and_check_mode_predicts_it(release, docker):
    good(release())
    broken(docker, Status="exited", Running=False, ExitCode=1)
    for check in (True, False):
        assert good(release(_check=check))["actions"] == ["started service web"]
    assert len(docker.asked("up")) == 2


def test_release_that_is_not_healthy_after_its_start_has_failed(release, docker):
    good(release())
    broken(docker, Health={"Status": "unhealthy"})
    assert "service web unhealthy" in release()["reason"]


@pytest.mark.parametrize("how", ["no command", "no daemon"])
def test_check_mode_without_an_engine_predicts_the_change(release, docker, how):
    docker.remove() if how == "no command" else docker.update(down=True)
    result = good(release(_check=True))
    assert result["changed"]
    assert result["pending"]


def test_run_without_an_engine_is_refused(release, docker):
    docker.remove()
    result = release()
    assert "Run the docker_host role." in result["msg"]
    assert result["fault"] == "means"


@pytest.mark.parametrize("pull", ["missing", "always"])
def test_missing_image_is_pulled(release, docker, pull):
    docker.update(images={}, registry={"registry.example.com/shop/app:1.0": image(3)})
    result = good(release(pull=pull))
    assert "pulled registry.example.com/shop/app:1.0" in result["actions"]
    assert f"{3:064x}" in result["images"]["web"]


def test_check_mode_pulls_nothing(release, docker):
    docker.update(images={}, registry={"registry.example.com/shop/app:1.0": image(3)})
    assert release(_check=True, pull="always")["changed"]
    assert docker.asked("pull") == []


def test_image_that_cannot_be_had_is_one_sentence(release, docker):
    docker.update(images={})
    result = release()
    assert "found no such image in its registry" in result["msg"]
    assert result["fault"] == "release"
    assert result["reason"] == result["msg"]
    assert "found it missing on the host" in release(pull="never")["msg"]


def test_recorded_digest_is_used_when_the_tag_is_gone(release, docker):
    first = good(release())
    docker.update(images={first["images"]["web"]: image(1)})
    again = good(release())
    assert not again["changed"], again
    assert docker.asked("pull") == []


def test_given_digest_is_taken_as_it_is_and_never_asked_for(release, docker):
    pinned = f"registry.example.com/shop/app@sha256:{9:064x}"
    docker.update(images={pinned: image(9)})
    assert good(release(images={"web": pinned}, pull="always"))["images"] == {"web": pinned}
    assert docker.asked("pull") == []
    assert "need a digest" in release(images={"web": "registry.example.com/shop/app:1.0"})["msg"]


def test_image_built_here_is_refused_unless_waived_and_then_pinned_to_its_id(release, docker):
    docker.update(images={"registry.example.com/shop/app:1.0": image(1, repository="")})
    assert "waive rule local-image" in release()["msg"]
    result = good(release(waivers=[{"service": "web", "rule": "local-image", "reason": "no registry yet"}]))
    assert result["images"]["web"].startswith("sha256:")
    assert result["waived"] == [{"service": "web", "rule": "local-image", "reason": "no registry yet"}]


def test_error_of_compose_is_passed_on(release, docker):
    docker.update(config_error="validating -: services.web Additional property imagex is not allowed")
    message = release()["msg"]
    assert "services.web Additional property imagex is not allowed" in message
    assert "\n" not in message


def test_docker_without_compose_is_named(release, docker):
    docker.update(config_error="docker: 'compose' is not a docker command.")
    assert "need compose v2" in release()["msg"]


def test_variable_without_value_is_refused(release, docker):
    docker.update(config_warning='time="x" level=warning msg="The \\"NOPE\\" variable is not set. Defaulting"')
    assert "found $NOPE in the definition" in release()["msg"]


def test_all_problems_come_at_once_and_before_any_pull(release, docker):
    docker.update(images={})
    message = release(definition={"services": {"web": {"image": "a/b"}, "db": {"image": "c/d:1"}}})["msg"]
    assert len(message.splitlines()) > 15
    assert docker.asked("pull") == []


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({"volumes": [{"type": "volume", "source": "data", "target": "/other"}]}, "volume-target:web/data"),
        ({"image": "registry.example.com/postgres:17"}, "database-major:web"),
    ],
    ids=["volume", "database"],
)
def test_dangerous_change_is_refused_until_typed(release, docker, changes, token):
    images = {
        f"registry.example.com/postgres:{major}": image(
            major, repository="registry.example.com/postgres", Env=[f"PG_MAJOR={major}"]
        )
        for major in (16, 17)
    }
    docker.update(images=images)
    good(release(definition=changed_definition(image="registry.example.com/postgres:16")))
    wanted = changed_definition(**{"image": "registry.example.com/postgres:16", **changes})
    refused = release(definition=wanted)
    assert f"Type {token} in compose_stack_allow" in refused["msg"]
    assert len(docker.asked("up")) == 1
    good(release(definition=wanted, allow=[token]))


def test_data_of_another_major_is_found_without_a_release_before(release, docker, tmp_path):
    (tmp_path / "volume" / "data").mkdir(parents=True)
    (tmp_path / "volume" / "data" / "PG_VERSION").write_text("15\n")
    docker.update(
        mountpoint=str(tmp_path / "volume"),
        images={"registry.example.com/postgres:16": image(16, "registry.example.com/postgres", Env=["PG_MAJOR=16"])},
    )
    result = release(definition=changed_definition(image="registry.example.com/postgres:16"))
    assert "found postgres 16, need postgres 15" in result["msg"]


def test_record_that_does_not_parse_is_named(release, stack):
    result = good(release())
    (stack / "releases" / result["release"] / "release.json").write_text("{")
    assert "need JSON" in release()["msg"]


# -- the way back --------------------------------------------------------------


def container(**state):
    return {
        "Id": "c1",
        "Name": "/shop-web-1",
        "RestartCount": 2,
        "Config": {"Labels": {"com.docker.compose.service": "web"}},
        "State": {"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True, **state},
    }


def test_failed_start_brings_the_release_before_back_and_explains(release, docker, stack):
    first = good(release(secrets=[secret()]))
    docker.update(
        up_errors=[f"container shop-web-1 is unhealthy {CANARY}"],
        failed_containers=[container()],
        logs=f"connecting with {CANARY}",
    )
    result = release(secrets=[secret()], definition=changed_definition(image="registry.example.com/shop/app:1.1"))
    assert result["failed"]
    assert result["changed"]
    assert result.keys() >= KEYS
    assert f"release {first['release']} runs again" in result["reason"]
    assert "service web: exited; exit code 137; killed for want of memory; 2 restarts" in result["evidence"]
    assert "web | connecting with ********" in result["msg"]
    assert result["fault"] == "release"
    assert CANARY not in result["raw"]
    assert first["release"] in docker.asked("up")[-1][docker.asked("up")[-1].index("--file") + 1]
    assert str((stack / "current").readlink()) == f"releases/{first['release']}"


def test_failed_first_release_is_taken_down_and_its_volumes_stay(release, docker, stack):
    docker.update(up_errors=["container shop-web-1 is unhealthy"])
    result = release()
    assert "its volumes kept" in result["msg"]
    [down] = docker.asked("down")
    assert "--volumes" not in down
    assert not (stack / "current").exists()


def test_way_back_that_fails_as_well_is_reported(release, docker):
    good(release())
    docker.update(up_errors=["container shop-web-1 is unhealthy", "port is already allocated"])
    assert "failed as well (port is already allocated)" in release(**OTHER)["msg"]


def test_current_release_that_fails_has_none_to_go_back_to(release, docker):
    good(release())
    docker.update(containers=[], up_errors=["container shop-web-1 is unhealthy"])
    result = release()
    assert "there is none to go back to" in result["msg"]
    assert len(docker.asked("up")) == 2
    assert docker.asked("down") == []


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ("container shop-web-1 is unhealthy", "release"),
        ("container shop-web-1 exited (3)", "release"),
        ("failed to create task: no space left on device", "means"),
        ("Bind for 10.0.0.1:8080 failed: port is already allocated", "means"),
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "means"),
    ],
)
def test_failure_of_the_means_is_told_from_one_of_the_release(release, docker, error, fault):
    good(release())
    docker.update(up_errors=[error])
    result = release(**OTHER)
    assert result["fault"] == fault
    assert error in result["reason"]


# -- pointer, boot, pruning ------------------------------------------------------


def test_old_releases_go_with_their_secrets(release, stack):
    seen = []
    for number in range(4):
        result = good(
            release(
                definition=changed_definition(mem_limit=f"{64 + number}m"),
                secrets=[secret(value=f"{CANARY}-{number}")],
                keep=2,
            )
        )
        record = json.loads((stack / "releases" / result["release"] / "release.json").read_text())
        seen.append((result["release"], record["secret_versions"]["web"]))
    assert sorted(path.name for path in (stack / "releases").iterdir()) == [seen[2][0], seen[3][0]]
    assert sorted(path.name for path in (stack / "secrets").iterdir()) == sorted([seen[2][1], seen[3][1]])


def test_young_secrets_of_a_killed_run_are_left(release, stack):
    good(release())
    folder = stack / "secrets" / "0123456789ab"
    folder.mkdir()
    good(release(**OTHER))
    assert folder.exists()
    os.utime(folder, (0, 0))
    good(release())
    assert not folder.exists()


def test_boot_follows(release, stack, tmp_path):
    link = tmp_path / "units" / "multi-user.target.wants" / "evenkeel-stack@shop.service"
    good(release())
    assert not (stack / "boot").exists()
    assert release(_check=True, boot=True)["actions"] == ["enabled at boot"]
    assert good(release(boot=True))["actions"] == ["enabled at boot"]
    assert (stack / "boot").exists()
    assert str(link.readlink()) == str(tmp_path / "units" / "evenkeel-stack@.service")
    assert not good(release(boot=True))["changed"]
    link.unlink()
    assert good(release(boot=True))["changed"]
    assert good(release())["actions"] == ["disabled at boot"]
    assert not (stack / "boot").exists()
    assert not link.is_symlink()


def test_staged_writes_and_points_and_starts_nothing(release, docker, stack):
    assert good(release("staged", _check=True))["changed"]
    result = good(release("staged", secrets=[secret()]))
    assert result["current"] == result["release"]
    assert str((stack / "current").readlink()) == f"releases/{result['release']}"
    assert docker.asked("up") == []
    assert not good(release("staged", secrets=[secret()]))["changed"]


# -- running, former -----------------------------------------------------------


def test_running_mends_what_died_and_makes_nothing_anew(release, docker):
    good(release())
    assert not good(release("running"))["changed"]
    [seen] = docker.state()["containers"]
    seen["State"].update(Status="exited", Running=False, ExitCode=1)
    docker.update(containers=[seen])
    assert good(release("running", _check=True))["actions"] == ["started service web"]
    assert good(release("running"))["actions"] == ["started service web"]
    up = docker.asked("up")[-1]
    assert "--no-recreate" in up
    assert "--remove-orphans" not in up


def test_running_refuses_containers_of_another_release(release, docker):
    first = good(release())
    [seen] = docker.state()["containers"]
    seen["Config"]["Labels"]["com.docker.compose.config-hash"] = "0"
    docker.update(containers=[seen])
    result = release("running")
    assert f"found containers of another release, need those of {first['release']}" in result["msg"]
    assert len(docker.asked("up")) == 1


def test_running_without_a_release_is_refused(release):
    assert "found none, need one" in release("running")["msg"]


def test_former_brings_the_release_before_back_and_going_back_twice_is_going_back_once(release, docker, stack):
    first = good(release())
    second = good(release(**OTHER))
    assert good(release("former", _check=True))["current"] == second["release"]
    back = good(release("former"))
    assert back["current"] == back["release"] == first["release"]
    assert "re-created service web" in back["actions"]
    assert first["release"] in docker.asked("up")[-1][docker.asked("up")[-1].index("--file") + 1]
    again = good(release("former"))
    assert not again["changed"]
    assert again["current"] == first["release"]


def test_former_of_a_first_release_removes_its_containers(release, docker):
    good(release())
    result = good(release("former"))
    assert result["changed"]
    assert result["current"] is None
    assert docker.state()["containers"] == []


def test_former_is_never_pruned(release, stack):
    first = good(release())
    good(release(**OTHER, keep=0))
    assert good(release("former"))["current"] == first["release"]


# -- steady, stopped, absent ----------------------------------------------


def moment(seconds_ago):
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds_ago)
    return then.strftime("%Y-%m-%dT%H:%M:%S.123456789Z")


LIVING = {"Status": "running", "Running": True, "ExitCode": 0, "OOMKilled": False}


@pytest.mark.parametrize(
    ("seen", "steady"),
    [
        (container(**LIVING, StartedAt=moment(3600)), True),
        (container(**LIVING, StartedAt=moment(2)) | {"RestartCount": 0}, True),
        (container(**LIVING, StartedAt=moment(2)), False),
        (container(**LIVING | {"OOMKilled": True}, StartedAt=moment(2)) | {"RestartCount": 0}, False),
        (container(**LIVING, Health={"Status": "unhealthy"}) | {"RestartCount": 0}, False),
        (container() | {"RestartCount": 0}, False),
    ],
    ids=["restarted-long-ago", "fresh", "restarted", "killed-for-memory", "unhealthy", "ended"],
)
def test_steady_asks_the_engine(release, docker, seen, steady):
    good(release())
    docker.update(containers=[seen], logs="fault oom: allocating")
    result = release("steady", within_seconds=1800)
    assert result.get("failed", False) is not steady
    assert not result["changed"]
    if not steady:
        assert "service web on stack shop" in result["msg"]
    assert not release("steady", _check=True).get("failed", False)


def test_stopped_is_disabled_at_boot_and_stays_stopped(release, docker, stack):
    good(release(boot=True))
    assert release("stopped", _check=True)["changed"]
    assert docker.asked("stop") == []
    assert good(release("stopped"))["actions"] == ["disabled at boot", "stopped 1 containers"]
    assert not (stack / "boot").exists()
    assert not good(release("stopped"))["changed"]
    assert len(docker.asked("stop")) == 1


def test_absent_keeps_volumes_but_for_the_typed_ones(release, docker, stack):
    good(release())
    docker.update(volumes=["shop_data", "shop_more", "shop_precious"])
    result = good(release("absent", volumes=["data", "shop_more"]))
    assert docker.state()["volumes"] == ["shop_precious"]
    assert "kept volume shop_precious" in result["actions"]
    assert not stack.exists()
    assert not good(release("absent", volumes=["data"]))["changed"]


def test_absent_where_nothing_ever_was(release, docker):
    docker.remove()
    assert not good(release("absent"))["changed"]


# -- pulled ------------------------------------------------------------------


@pytest.fixture
def engine_socket(tmp_path, monkeypatch):
    """Answer for the registry at the engine's socket; returns what was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("X-Registry-Auth")))
            found = ":1/" in self.path.replace("/json", "/")
            answer = {"Descriptor": {"digest": f"sha256:{4:064x}"}} if found else {"message": "manifest unknown"}
            body = json.dumps(answer).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

        def address_string(self):
            return "engine"

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    path = str(tmp_path / "docker.sock")
    monkeypatch.setattr(_compose_engine, "SOCKET", path)
    server = Server(path, Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield asked
    server.shutdown()
    server.server_close()


def test_pulled_gives_digests(run, docker):
    docker.update(images={}, registry={"a.example/x:1": image(4, "a.example/x")})
    result = good(run("compose_release", state="pulled", images={"a": "a.example/x:1"}, pull="always"))
    assert result["changed"]
    assert result["images"] == {"a": f"a.example/x@sha256:{4:064x}"}
    assert not run("compose_release", state="pulled", images={"a": "a.example/x:1"}, pull="always")["changed"]


def test_every_image_that_cannot_be_pulled_is_named(run, docker):
    result = run("compose_release", state="pulled", images={"a": "a.example/x:1", "b": "a.example/y:1"})
    assert len(result["msg"].splitlines()) == 2


REGISTRY = {"host": "a.example", "user": "puller", "password": "right"}


def test_digests_that_are_here_need_no_registry(run, docker, tmp_path):
    pinned = f"a.example/x@sha256:{4:064x}"
    docker.update(images={pinned: image(4, "a.example/x")}, password="nobody is let in")
    options = {"state": "pulled", "images": {"a": pinned}, "pull": "always", "registries": [REGISTRY]}
    for check in (False, True):
        result = good(run("compose_release", _check=check, config_dir=str(tmp_path), **options))
        assert not result["changed"]
    assert docker.asked("pull") == docker.asked("login") == []


def test_login_comes_before_what_is_pulled_and_its_refusal_is_of_the_means(run, docker, tmp_path):
    docker.update(images={}, registry={"a.example/x:1": image(4, "a.example/x")})
    options = {"state": "pulled", "images": {"a": "a.example/x:1"}, "config_dir": str(tmp_path)}
    wrong = run("compose_release", **options, registries=[{**REGISTRY, "password": "wrong-one"}])
    assert "login on registry a.example: found a refused login" in wrong["msg"]
    assert wrong["fault"] == "means"
    assert "wrong-one" not in wrong["raw"]
    assert docker.asked("pull") == []
    good(run("compose_release", **options, registries=[REGISTRY]))


@pytest.mark.parametrize(
    ("error", "fault"),
    [("dial tcp 192.0.2.1:443: connect: connection refused", "means"), ("manifest unknown", "release")],
)
def test_registry_that_is_down_is_no_fault_of_the_release(run, docker, error, fault):
    docker.update(images={}, pull_error=error)
    result = run("compose_release", state="pulled", images={"a": "a.example/x:1"})
    assert result["fault"] == fault


def test_check_mode_looks_images_up_in_their_registry(run, docker, engine_socket, tmp_path):
    docker.update(images={})
    options = {"state": "pulled", "pull": "always", "config_dir": str(tmp_path), "registries": [REGISTRY]}
    result = good(run("compose_release", _check=True, images={"a": "a.example/x:1"}, **options))
    assert result["images"] == {"a": f"a.example/x@sha256:{4:064x}"}
    assert result["changed"]
    assert engine_socket[0][1], "the login is given along"
    missing = run("compose_release", _check=True, images={"a": "a.example/x:9.9"}, **options)
    assert "image a.example/x:9.9 on this host: found no such image in its registry" in missing["msg"]
    assert docker.asked("pull") == docker.asked("login") == []
    docker.update(images={"a.example/x:1": image(4, "a.example/x")})
    assert not good(run("compose_release", _check=True, images={"a": "a.example/x:1"}, **options))["changed"]


def test_pulled_in_check_mode_without_an_engine(run, docker):
    docker.remove()
    assert good(run("compose_release", _check=True, state="pulled", images={"a": "a.example/x:1"}))["changed"]


# -- secrets -----------------------------------------------------------------


def secret(**changes):
    return {"name": "token", "service": "web", "uid": UID, "value": CANARY, **changes}


def version(stack, service="web"):
    return json.loads((stack / "current" / "release.json").read_text())["secret_versions"][service]


def test_secret_is_a_file_of_its_user_in_a_folder_nobody_lists(release, stack):
    result = good(release(secrets=[secret()]))
    folder = stack / "secrets" / version(stack) / "web"
    file = folder / "token"
    assert file.read_text() == CANARY
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert stat.S_IMODE(folder.stat().st_mode) == 0o500
    assert (file.stat().st_uid, folder.stat().st_uid) == (UID, UID)
    assert stat.S_IMODE((stack / "secrets").stat().st_mode) == 0o711
    assert stat.S_IMODE((stack.parent / ".secrets.key").stat().st_mode) == 0o600
    assert CANARY not in result["raw"]


def test_version_follows_the_value_and_nothing_is_written_twice(release, stack):
    first = good(release(secrets=[secret()]))
    before = version(stack)
    assert not good(release(secrets=[secret()]))["changed"]
    other = good(release(secrets=[secret(value="another-value")]))
    assert other["release"] != first["release"]
    assert version(stack) != before
    assert (stack / "secrets" / before / "web" / "token").read_text() == CANARY


def test_two_services_with_one_secret_have_a_folder_each(release, stack):
    definition = {"services": {"web": SERVICE, "worker": SERVICE}, "volumes": {"data": {}}}
    good(release(definition=definition, secrets=[secret(), secret(service="worker")]))
    for service in ("web", "worker"):
        assert (stack / "secrets" / version(stack, service) / service / "token").exists()


def test_secrets_in_check_mode_write_nothing(release, tmp_path):
    assert good(release(_check=True, secrets=[secret()]))["changed"]
    assert not (tmp_path / "stacks").exists()


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([{"name": "../etc/passwd"}], "name on secret ../etc/passwd"),
        ([{"service": "../x"}], "service on secret token"),
        ([{"variable": "1x"}], "variable on secret token"),
        ([{}, {}], "found it twice"),
        ([{"value": ""}], "found nothing, need a secret"),
        ([{}, {"name": "b", "uid": UID + 1}], "need one user for all its secrets"),
    ],
    ids=["name", "service", "variable", "twice", "empty", "owners"],
)
def test_secret_that_cannot_be_stored_is_named(release, tmp_path, secrets, words):
    result = release(secrets=[secret(**changes) for changes in secrets])
    assert words in result["msg"]
    assert not (tmp_path / "stacks").exists()


def test_value_of_a_secret_in_the_definition_is_refused(release):
    result = release(definition=changed_definition(command=["serve", f"--key={CANARY}"]), secrets=[secret()])
    assert "value of secret web/token on stack shop: found it in the definition" in result["msg"]
    assert CANARY not in result["raw"]


def test_secret_in_the_environment_needs_a_reason(release):
    assert "waive rule secrets-in-environment" in release(secrets=[secret(**{"as": "environment"})])["msg"]
    result = good(release(secrets=[secret(**{"as": "environment", "reason": "it is old"})]))
    assert '- "TOKEN=token"' in result["diff"]["after"]
    assert '- "serve"' in result["diff"]["after"]
    assert CANARY not in result["raw"]


# -- the guard -----------------------------------------------------------------


@pytest.fixture
def guarded(release, edge):
    """Run compose_release for a stack of the app shop, guarded."""

    def call(state="present", name="shop-green", token=7, run="run-a", move=4, colour="green", **params):
        guard = {"app": "shop", "token": token, "run": run, "move": move, "edges": [edge.about]}
        if colour:
            guard["colour"] = colour
        return release(state, name=name, guard=guard, **params)

    return call


def write_pair(tmp_path, token, run):
    (tmp_path / "state" / "shop").mkdir(parents=True, exist_ok=True)
    (tmp_path / "state" / "shop" / "pair.json").write_text(
        json.dumps({"schema": 1, "app": "shop", "token": token, "run": run})
    )


def test_act_that_the_edges_allow_raises_the_pair_of_the_host(guarded, tmp_path):
    good(guarded())
    pair = json.loads((tmp_path / "state" / "shop" / "pair.json").read_text())
    assert (pair["token"], pair["run"]) == (7, "run-a")


@pytest.mark.parametrize("state", ["present", "staged", "running", "former", "stopped", "absent"])
@pytest.mark.parametrize(
    ("entry", "status", "words"),
    [
        ("green:0:1.0:", {}, "edge1 serves green"),
        ("blue:5:1.0:", {}, "edge1 serves green"),
        ("blue:0:1.0:", {"withdrawn": {}}, "edge1 shows green not withdrawn"),
        ("blue:0:1.0:", {"withdrawn": {"green": 3}}, "withdrawn at move 3"),
        ("blue:0:1.0:", {"pair": Pair(8, "run-b")}, "has met token 8 of run run-b, which is newer"),
    ],
    ids=["live", "weight", "not-withdrawn", "other-move", "newer-run"],
)
def test_no_state_touches_a_colour_that_an_edge_holds(guarded, edge, docker, state, entry, status, words):
    good(guarded())
    acts = len(docker.asked("up")) + len(docker.asked("stop")) + len(docker.asked("down"))
    edge.entry, edge.status = entry, edge.status._replace(**status)
    result = guarded(state)
    assert words in result["msg"], result
    assert result["fault"] == "means"
    assert len(docker.asked("up")) + len(docker.asked("stop")) + len(docker.asked("down")) == acts


@pytest.mark.parametrize("state", ["present", "staged", "running", "former", "stopped", "absent", "pulled"])
def test_overtaken_run_is_refused_by_every_state(guarded, docker, tmp_path, state):
    good(guarded())
    write_pair(tmp_path, 7, "run-b")
    calls = len(docker.state()["calls"])
    result = guarded(state, images={"a": "a.example/x:1"} if state == "pulled" else {})
    assert "found token 7 of run run-a, need at least token 7 of run run-b" in result["msg"]
    assert len(docker.state()["calls"]) == calls


def test_run_that_is_overtaken_in_the_middle_makes_no_further_engine_call(guarded, edge, docker, tmp_path):
    """The other run comes while this one is past its first question: the next call of the engine is refused."""
    edge.each = lambda: edge.asked == 1 and write_pair(tmp_path, 8, "run-b")
    result = guarded()
    assert "which this host has met" in result["msg"]
    assert docker.asked("up") == []


def test_edge_that_moves_in_the_middle_is_seen_right_before_the_start(guarded, edge, docker):
    def move():
        if edge.asked > 1:
            edge.entry = "green:0:1.0:"

    edge.each = move
    assert "edge1 serves green" in guarded()["msg"]
    assert docker.asked("up") == []


def test_overtaken_run_takes_no_way_back(guarded, edge, docker):
    good(guarded())
    docker.update(up_errors=["container shop-web-1 is unhealthy"])
    edge.asked = 0

    def overtaken():
        if edge.asked == 3:
            edge.status = edge.status._replace(pair=Pair(9, "run-c"))

    edge.each = overtaken
    ups = len(docker.asked("up"))
    result = guarded(definition=changed_definition(mem_limit="66m"))
    assert "has met token 9 of run run-c" in result["msg"]
    assert len(docker.asked("up")) == ups + 1


def test_workers_go_by_the_move(guarded, edge, docker):
    good(guarded(name="shop-background", colour=""))
    edge.status = edge.status._replace(move=5)
    assert "edge1 is at move 5" in guarded(name="shop-background", colour="", **OTHER)["msg"]
    assert len(docker.asked("up")) == 1


def test_edge_that_does_not_answer_refuses_unless_another_declares_it_out(release, edge, docker):
    edges = [edge.about, {"name": "edge2", "url": "http://127.0.0.1:9/live/shop"}]
    guard = {"app": "shop", "token": 7, "run": "run-a", "move": 4, "colour": "green", "edges": edges}
    assert "edge2 does not show what it serves" in release(name="shop-green", guard=guard)["msg"]
    edge.status = edge.status._replace(out=("edge2",))
    good(release(name="shop-green", guard=guard))


def test_check_mode_asks_no_edge_and_raises_nothing(guarded, edge, tmp_path):
    edge.status = edge.status._replace(withdrawn={})
    assert good(guarded(_check=True))["changed"]
    assert edge.asked == 0
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("state", ["present", "former", "absent"])
def test_order_to_retire_a_colour_goes_when_its_containers_change(guarded, tmp_path, state):
    good(guarded(move=4))
    order = tmp_path / "state" / "shop" / "retire-green.json"
    order.write_text("{}")
    good(guarded(state, **(OTHER if state == "present" else {})))
    assert not order.exists()


def test_former_is_that_of_the_move(guarded, edge):
    """A host on which nothing was replaced at this move keeps what it has; one that was, goes back, once."""
    first = good(guarded(move=4))
    edge.status = edge.status._replace(move=9, withdrawn={"green": 9})
    untouched = good(guarded("former", move=9))
    assert not untouched["changed"]
    assert untouched["current"] == first["release"]
    good(guarded(move=9, **OTHER))
    good(guarded(move=9, definition=changed_definition(mem_limit="66m")))
    assert good(guarded("former", move=9))["current"] == first["release"]
    assert not good(guarded("former", move=9))["changed"]


# -- registry ----------------------------------------------------------------


def test_login_is_kept_once_and_readable_by_root_only(run, tmp_path):
    options = {"host": "a.example", "user": "puller", "password": "right", "config_dir": str(tmp_path)}
    assert run("registry_login", _check=True, **options)["changed"]
    assert not (tmp_path / "config.json").exists()
    assert run("registry_login", **options)["changed"]
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    assert not run("registry_login", **options)["changed"]
    assert not run("registry_login", _check=True, **options)["changed"]


def test_authority_of_a_registry_is_trusted_before_the_login(run, tmp_path):
    kept = tmp_path / "certs" / "a.example:5000" / "ca.crt"
    options = {"host": "a.example:5000", "ca": "one\n", "certificates_dir": str(tmp_path / "certs")}
    assert run("registry_login", _check=True, **options)["actions"] == ["trusted the authority of a.example:5000"]
    assert not kept.exists()
    assert run("registry_login", **options)["changed"]
    assert kept.read_text() == "one\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644
    assert not run("registry_login", **options)["changed"]
    assert run("registry_login", **{**options, "ca": "two"})["changed"]
    assert kept.read_text() == "two\n"


def test_refused_login_is_a_sentence_without_the_password(run, docker, tmp_path):
    result = run("registry_login", host="a.example", user="puller", password="wrong-one", config_dir=str(tmp_path))
    assert "login on registry a.example: found a refused login" in result["msg"]
    assert "wrong-one" not in result["raw"]
    assert not any("wrong-one" in word for call in docker.state()["calls"] for word in call)


# -- restarted ---------------------------------------------------------------


def test_restart_keeps_the_container_and_asks_the_edges_first(release, docker, edge, tmp_path):
    good(release())
    before = docker.state()["containers"][0]["Id"]
    act: dict[str, Any] = {"app": "other", "token": 7, "run": "run-a", "move": 4, "edges": [edge.about]}
    options: dict[str, Any] = {"services": ["web"], "guard": act}
    assert good(release("restarted", _check=True, **options))["actions"] == ["restarted service web"]
    assert docker.asked("restart") == []
    result = good(release("restarted", **options))
    assert (result["changed"], result["actions"]) == (True, ["restarted service web"])
    assert docker.asked("restart") == [["restart", before]]
    assert edge.asked > 0
    act["move"] = 3
    refused = release("restarted", **options)
    assert "edge1 is at move 4" in refused["msg"]
    assert len(docker.asked("restart")) == 1


def test_container_that_ends_after_its_restart_is_told_with_its_last_lines(release, docker):
    good(release())
    docker.update(restarted={"Status": "exited", "Running": False, "ExitCode": 3}, logs="no database")
    failed = release("restarted", services=["web"])
    assert failed["failed"]
    assert "found web stopped after its restart, need it running and healthy" in failed["msg"]
    assert failed["evidence"] == ["service web: exited; exit code 3", "  web | no database"]


def test_restart_of_a_service_without_a_container_is_refused(release, docker):
    good(release())
    failed = release("restarted", services=["web", "worker"])
    assert "service worker on stack shop: found no container, need one to restart" in failed["msg"]
    assert docker.asked("restart") == []


def test_command_that_somebody_runs_is_none_of_the_services(release, docker):
    good(release())
    [web] = docker.state()["containers"]
    labels = {**web["Config"]["Labels"], "com.docker.compose.oneoff": "True"}
    state = {"Status": "running", "Running": True, "Health": {"Status": "unhealthy"}, "StartedAt": "9"}
    docker.update(containers=[web, {**web, "Id": "once", "Config": {"Labels": labels}, "State": state}])
    good(release("steady"))
    assert not good(release())["changed"]
