# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules of a stack as Ansible runs them, with a docker command that answers by a script."""

from __future__ import annotations

import copy
import datetime
import importlib
import json
import os
import stat
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_store

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
def say(text, rc=0, error=""):
    print(text)
    print(error, file=sys.stderr)
    sys.exit(rc)
if state["down"] and argv[0] != "compose":
    say("", 1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
if argv[:1] == ["version"]:
    say("26.1.5")
if argv[0] == "compose":
    verb = [word for word in argv if word in ("config", "up", "down", "stop", "version")][0]
    if verb == "config":
        data = json.load(sys.stdin)
        if state["config_error"]:
            say("", 15, state["config_error"])
        for name, volume in (data.get("volumes") or {{}}).items():
            data["volumes"][name] = {{"name": "shop_" + name}}
        say(json.dumps(data), error=state["config_warning"])
    if verb == "up" and state["up_error"]:
        say("", 1, state["up_error"])
    say("2.26.1")
if argv[:2] == ["image", "inspect"]:
    image = state["images"].get(argv[2])
    say(json.dumps([image])) if image else say("", 1, "Error response from daemon: No such image: " + argv[2])
if argv[0] == "pull":
    image = state["registry"].get(argv[2])
    if not image:
        say("", 1, "Error response from daemon: manifest for %s not found: manifest unknown" % argv[2])
    state["images"][argv[2]] = image
    json.dump(state, open(path, "w"))
    say(argv[2])
if argv[0] == "ps":
    say("\\n".join(container["Id"] for container in state["containers"]))
if argv[0] == "inspect":
    say(json.dumps(state["containers"]))
if argv[0] == "logs":
    say(state["logs"])
if argv[:2] == ["volume", "ls"]:
    say("\\n".join(state["volumes"]))
if argv[:2] == ["volume", "rm"]:
    state["volumes"].remove(argv[2])
    json.dump(state, open(path, "w"))
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
        "up_error": "",
        "images": {"registry.example.com/shop/app:1.0": image(1), "registry.example.com/shop/app:1.1": image(2)},
        "registry": {},
        "containers": [],
        "logs": "",
        "volumes": [],
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

    def update(**values):
        state_file.write_text(json.dumps({**json.loads(state_file.read_text()), **values}))

    return SimpleNamespace(
        update=update,
        state=lambda: json.loads(state_file.read_text()),
        asked=lambda verb: [call for call in json.loads(state_file.read_text())["calls"] if verb in call],
        remove=lambda: monkeypatch.setenv("PATH", str(tmp_path / "nothing")),
    )


@pytest.fixture
def run(tmp_path, monkeypatch, capsys, docker):
    """Run a module and return its JSON."""
    monkeypatch.setattr(_compose_store, "LOCKS", tmp_path / "lock")

    def call(module, _check=False, **params):
        if module != "registry_login":
            params.setdefault("base_dir", str(tmp_path / "stacks"))
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

    def call(state="rendered", **params):
        if state == "rendered":
            params.setdefault("definition", DEFINITION)
        return run("compose_release", name="shop", state=state, **params)

    return call


@pytest.fixture
def stack(tmp_path):
    return tmp_path / "stacks" / "shop"


def deployed(release, **params):
    """Render a release and let the pointer name it, as after a good start."""
    result = release(**params)
    assert "failed" not in result, result["msg"]
    release("current", release=result["release"])
    return result


KEYS = {
    "changed",
    "actions",
    "release",
    "current",
    "previous",
    "project_src",
    "pending",
    "images",
    "waived",
    "evidence",
}


# -- rendered ----------------------------------------------------------------


def test_new_release_is_a_folder_with_pinned_images(release, stack):
    result = release()
    assert result["changed"]
    assert result["pending"]
    assert result["release"].startswith("1-")
    folder = stack / "releases" / result["release"]
    assert result["project_src"] == str(folder)
    digest = f"registry.example.com/shop/app@sha256:{1:064x}"
    assert result["images"] == {"web": digest}
    assert f'image: "{digest}"' in (folder / "compose.yaml").read_text()
    record = json.loads((folder / "release.json").read_text())
    assert record["images"] == {"web": digest}
    assert record["services"]["web"]["image"] == "registry.example.com/shop/app:1.0"
    assert not (stack / "current").exists()


def test_same_content_is_unchanged(release):
    deployed(release)
    again = release(boot=True)
    assert not again["changed"]
    assert not again["pending"]
    assert again["release"] == again["current"]


def test_moved_tag_is_a_new_release(release, docker):
    first = deployed(release)
    docker.update(images={"registry.example.com/shop/app:1.0": image(7)})
    second = release()
    assert second["changed"]
    assert second["release"] != first["release"]
    assert f"{7:064x}" in second["diff"]["after"]
    assert f"{1:064x}" in second["diff"]["before"]


def test_going_back_to_old_content_is_the_old_folder(release):
    first = deployed(release)
    deployed(release, definition=changed_definition(image="registry.example.com/shop/app:1.1"))
    back = release()
    assert not back["changed"]
    assert back["pending"]
    assert back["release"] == first["release"]


def test_check_mode_writes_nothing_and_tells_the_change(release, stack):
    result = release(_check=True)
    assert result["changed"]
    assert not result["written"]
    assert not stack.exists()


@pytest.mark.parametrize("how", ["no command", "no daemon"])
def test_check_mode_without_an_engine_tells_the_change(release, docker, how):
    docker.remove() if how == "no command" else docker.update(down=True)
    result = release(_check=True)
    assert result["changed"]
    assert result["pending"]
    assert result.keys() >= KEYS


def test_run_without_an_engine_is_refused(release, docker):
    docker.remove()
    assert "Run the docker_host role." in release()["msg"]


@pytest.mark.parametrize("pull", ["missing", "always"])
def test_missing_image_is_pulled(release, docker, pull):
    docker.update(images={}, registry={"registry.example.com/shop/app:1.0": image(3)})
    result = release(pull=pull)
    assert "pulled registry.example.com/shop/app:1.0" in result["actions"]
    assert f"{3:064x}" in result["images"]["web"]


def test_check_mode_pulls_nothing(release, docker):
    docker.update(images={}, registry={"registry.example.com/shop/app:1.0": image(3)})
    assert release(_check=True, pull="always")["changed"]
    assert docker.asked("pull") == []


def test_image_that_cannot_be_had_is_one_sentence(release, docker):
    docker.update(images={})
    assert "found no such image in its registry" in release()["msg"]
    assert "found it missing on the host" in release(pull="never")["msg"]


def test_recorded_digest_is_used_when_the_tag_is_gone(release, docker):
    first = deployed(release)
    docker.update(images={first["images"]["web"]: image(1)})
    again = release()
    assert not again["changed"], again
    assert docker.asked("pull") == []


def test_given_digest_is_taken_as_it_is(release, docker):
    pinned = f"registry.example.com/shop/app@sha256:{9:064x}"
    docker.update(images={pinned: image(9)})
    assert release(images={"web": pinned})["images"] == {"web": pinned}
    assert "need a digest" in release(images={"web": "registry.example.com/shop/app:1.0"})["msg"]


def test_image_built_here_is_refused_unless_waived_and_then_pinned_to_its_id(release, docker):
    docker.update(images={"registry.example.com/shop/app:1.0": image(1, repository="")})
    assert "waive rule local-image" in release()["msg"]
    result = release(waivers=[{"service": "web", "rule": "local-image", "reason": "no registry yet"}])
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
    deployed(release, definition=changed_definition(image="registry.example.com/postgres:16"))
    wanted = changed_definition(**{"image": "registry.example.com/postgres:16", **changes})
    refused = release(definition=wanted)
    assert f"Type {token} in compose_stack_allow" in refused["msg"]
    assert "failed" not in release(definition=wanted, allow=[token])


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
    result = deployed(release)
    (stack / "releases" / result["release"] / "release.json").write_text("{")
    assert "need JSON" in release()["msg"]


# -- current, pruning --------------------------------------------------------


def test_pointer_moves_and_old_releases_go_with_their_secrets(release, run, stack):
    seen = []
    for number in range(4):
        kept = run(
            "compose_secrets",
            name="shop",
            secrets=[{"name": "token", "service": "web", "uid": UID, "value": f"{CANARY}-{number}"}],
        )
        result = release(definition=changed_definition(mem_limit=f"{64 + number}m"), secrets=kept["mounts"])
        assert "failed" not in result, result
        done = release("current", release=result["release"], keep=2)
        assert done["changed"]
        seen.append((result["release"], kept["versions"]["web"]))
    assert sorted(path.name for path in (stack / "releases").iterdir()) == [seen[2][0], seen[3][0]]
    assert sorted(path.name for path in (stack / "secrets").iterdir()) == sorted([seen[2][1], seen[3][1]])
    assert str((stack / "current").readlink()) == f"releases/{seen[3][0]}"
    assert not release("current", release=seen[3][0], keep=2)["changed"]


def test_young_secrets_of_another_run_are_left(release, run, stack):
    other = run(
        "compose_secrets", name="shop", secrets=[{"name": "t", "service": "web", "uid": UID, "value": "other1"}]
    )
    deployed(release)
    folder = stack / "secrets" / other["versions"]["web"]
    assert folder.exists()
    os.utime(folder, (0, 0))
    deployed(release, definition=changed_definition(mem_limit="65m"))
    assert not folder.exists()


def test_mark_for_the_boot_follows(release, stack):
    result = release(boot=False)
    release("current", release=result["release"], boot=False)
    assert not (stack / "boot").exists()
    assert release(boot=True)["pending"]
    release("current", release=result["release"], boot=True)
    assert (stack / "boot").exists()


def test_pointer_to_nothing_is_refused(release):
    assert "found no folder 9-000000000000" in release("current", release="9-000000000000")["msg"]


# -- reverted, stopped, absent ----------------------------------------------


def container(**state):
    return {
        "Id": "c1",
        "Name": "/shop-web-1",
        "RestartCount": 2,
        "Config": {"Labels": {"com.docker.compose.service": "web"}},
        "State": {"Status": "exited", "Running": False, "ExitCode": 137, "OOMKilled": True, **state},
    }


def test_reverted_starts_the_release_before_and_says_why(release, run, docker):
    kept = run("compose_secrets", name="shop", secrets=[{"name": "t", "service": "web", "uid": UID, "value": CANARY}])
    first = deployed(release, secrets=kept["mounts"])
    second = release(definition=changed_definition(image="registry.example.com/shop/app:1.1"), secrets=kept["mounts"])
    docker.update(containers=[container()], logs=f"connecting with {CANARY}")
    result = release("reverted", release=second["release"], cause=f"container shop-web-1 is unhealthy {CANARY}")
    assert result["failed"]
    assert result["changed"]
    assert f"release {first['release']} runs again" in result["msg"]
    assert "service web: exited; exit code 137; killed for want of memory; 2 restarts" in result["msg"]
    assert "web | connecting with ********" in result["msg"]
    assert CANARY not in result["raw"]
    [up] = docker.asked("up")
    assert first["release"] in up[up.index("--file") + 1]


def test_reverted_without_a_release_before_takes_it_down_and_keeps_volumes(release, docker):
    first = release()
    result = release("reverted", release=first["release"])
    assert "its volumes kept" in result["msg"]
    [down] = docker.asked("down")
    assert "--volumes" not in down


def test_reverted_says_when_the_way_back_failed_as_well(release, docker):
    deployed(release)
    second = release(definition=changed_definition(mem_limit="65m"))
    docker.update(up_error="port is already allocated")
    result = release("reverted", release=second["release"])
    assert "failed as well (port is already allocated)" in result["msg"]


def test_current_release_that_fails_has_none_to_go_back_to(release, docker):
    first = deployed(release)
    result = release("reverted", release=first["release"])
    assert "there is none to go back to" in result["msg"]
    assert docker.asked("up") == docker.asked("down") == []


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
    deployed(release)
    docker.update(containers=[seen], logs="fault oom: allocating")
    result = release("steady", within_seconds=60)
    assert result.get("failed", False) is not steady
    assert not result["changed"]
    if not steady:
        assert "service web on stack shop" in result["msg"]
    assert not release("steady", _check=True).get("failed", False)


def test_stopped_loses_its_mark_and_stays_stopped(release, docker, stack):
    deployed(release)
    docker.update(containers=[container(Running=True)])
    assert release("stopped", _check=True)["changed"]
    assert docker.asked("stop") == []
    assert release("stopped")["changed"]
    assert len(docker.asked("stop")) == 1
    assert not (stack / "boot").exists()
    docker.update(containers=[container()])
    assert not release("stopped")["changed"]


def test_absent_keeps_volumes_but_for_the_typed_ones(release, docker, stack):
    deployed(release)
    docker.update(volumes=["shop_data", "shop_more", "shop_precious"], containers=[container()])
    result = release("absent", volumes=["data", "shop_more"])
    assert docker.state()["volumes"] == ["shop_precious"]
    assert "kept volume shop_precious" in result["actions"]
    assert not stack.exists()
    docker.update(containers=[])
    assert not release("absent", volumes=["data"])["changed"]


def test_absent_where_nothing_ever_was(release, docker):
    docker.remove()
    assert not release("absent")["changed"]


# -- pulled ------------------------------------------------------------------


def test_pulled_gives_digests(run, docker):
    docker.update(images={}, registry={"a.example/x:1": image(4, "a.example/x")})
    result = run("compose_release", state="pulled", images={"a": "a.example/x:1"}, pull="always")
    assert result["changed"]
    assert result["images"] == {"a": f"a.example/x@sha256:{4:064x}"}
    assert not run("compose_release", state="pulled", images={"a": "a.example/x:1"}, pull="always")["changed"]


def test_every_image_that_cannot_be_pulled_is_named(run, docker):
    result = run("compose_release", state="pulled", images={"a": "a.example/x:1", "b": "a.example/y:1"})
    assert len(result["msg"].splitlines()) == 2


# -- secrets -----------------------------------------------------------------


def secret(**changes):
    return {"name": "token", "service": "web", "uid": UID, "value": CANARY, **changes}


def test_secret_is_a_file_of_its_user_in_a_folder_nobody_lists(run, stack):
    result = run("compose_secrets", name="shop", secrets=[secret()])
    folder = stack / "secrets" / result["versions"]["web"] / "web"
    file = folder / "token"
    assert file.read_text() == CANARY
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert stat.S_IMODE(folder.stat().st_mode) == 0o500
    assert (file.stat().st_uid, folder.stat().st_uid) == (UID, UID)
    assert stat.S_IMODE((stack / "secrets").stat().st_mode) == 0o711
    assert stat.S_IMODE((stack.parent / ".secrets.key").stat().st_mode) == 0o600
    assert CANARY not in result["raw"]


def test_version_follows_the_value_and_nothing_is_written_twice(run, stack):
    first = run("compose_secrets", name="shop", secrets=[secret()])
    assert not run("compose_secrets", name="shop", secrets=[secret()])["changed"]
    other = run("compose_secrets", name="shop", secrets=[secret(value="another-value")])
    assert other["changed"]
    assert other["versions"] != first["versions"]
    assert (stack / "secrets" / first["versions"]["web"] / "web" / "token").read_text() == CANARY


def test_two_services_with_one_secret_have_a_folder_each(run, stack):
    result = run("compose_secrets", name="shop", secrets=[secret(), secret(service="worker")])
    for service, version in result["versions"].items():
        assert (stack / "secrets" / version / service / "token").exists()


def test_secrets_in_check_mode_write_nothing(run, tmp_path):
    result = run("compose_secrets", _check=True, name="shop", secrets=[secret()])
    assert result["changed"]
    assert result["mounts"][0]["version"]
    assert not (tmp_path / "stacks").exists()


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([secret(name="../etc/passwd")], "name on secret ../etc/passwd"),
        ([secret(service="../x")], "service on secret token"),
        ([secret(variable="1x")], "variable on secret token"),
        ([secret(), secret()], "found it twice"),
        ([secret(value="")], "found nothing, need a secret"),
        ([secret(), secret(name="b", uid=UID + 1)], "need one user for all its secrets"),
    ],
    ids=["name", "service", "variable", "twice", "empty", "owners"],
)
def test_secret_that_cannot_be_kept_is_named(run, tmp_path, secrets, words):
    result = run("compose_secrets", name="shop", secrets=secrets)
    assert words in result["msg"]
    assert not (tmp_path / "stacks").exists()


def test_value_of_a_secret_in_the_definition_is_refused(release, run):
    kept = run("compose_secrets", name="shop", secrets=[secret()])
    result = release(definition=changed_definition(command=["serve", f"--key={CANARY}"]), secrets=kept["mounts"])
    assert "value of secret web/token on stack shop: found it in the definition" in result["msg"]
    assert CANARY not in result["msg"]


def test_secret_in_the_environment_needs_a_reason(release, run):
    kept = run("compose_secrets", name="shop", secrets=[{**secret(), "as": "environment"}])
    assert "waive rule secrets-in-environment" in release(secrets=kept["mounts"])["msg"]
    kept = run("compose_secrets", name="shop", secrets=[{**secret(), "as": "environment", "reason": "it is old"}])
    result = release(secrets=kept["mounts"])
    assert '- "TOKEN=token"' in result["diff"]["after"]
    assert '- "serve"' in result["diff"]["after"]
    assert CANARY not in result["raw"]


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
