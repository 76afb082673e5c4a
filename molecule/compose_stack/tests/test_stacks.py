# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stacks on a real host: what runs, what stands where, and what is refused."""

from __future__ import annotations

import json
import re

import pytest

testinfra_hosts = ["ansible://stacks"]

STACKS = "/opt/evenkeel/stacks"
CANARIES = ("Canary-4711-xyzzy", "Reg1stry-Canary-Word")


def status(inspect, service):
    state = (inspect(service) or {}).get("State", {})
    return state.get("Health", {}).get("Status") or state.get("Status")


# -- what runs ---------------------------------------------------------------


@pytest.mark.parametrize("service", ["web", "legacy", "database"])
def test_service_is_healthy_and_runs_a_digest(inspect, service):
    container = inspect(service)
    assert container["State"]["Health"]["Status"] == "healthy", container["State"]
    assert re.fullmatch(r"127\.0\.0\.1:5000/test/\w+@sha256:[0-9a-f]{64}", container["Config"]["Image"])


def test_template_makes_a_stack_as_well(inspect):
    assert inspect("plain.1", "from-template")["State"]["Health"]["Status"] == "healthy"
    assert inspect("plain.1", "from-template")["Name"] == "/template.plain.1"


def test_record_names_image_and_digest(host, digests):
    record = json.loads(host.file(f"{STACKS}/demo/current/release.json").content_string)
    assert record["images"] == digests()
    assert record["services"]["web"]["image"] == "127.0.0.1:5000/test/app:1.0"


def test_limits_are_those_of_the_engine(host, inspect, until):
    limits = inspect("web")["HostConfig"]
    assert (limits["Memory"], limits["NanoCpus"], limits["PidsLimit"]) == (32 * 2**20, 25 * 10**7, 40)
    name = inspect("web")["Name"].strip("/")
    assert host.run(f"docker exec {name} /bin/sh -c 'echo x >/release'").rc != 0, "the root is writable"
    # A tmpfs does not exist and the root is read-only, so the memory is eaten by dd's own buffer.
    assert host.run(f"docker exec {name} /bin/dd if=/dev/zero of=/dev/null bs=64M count=1").rc == 137

    def processes():
        # The engine refuses to tell while one of those it has listed ends.
        top = host.run("docker top %s", name)
        return len(top.stdout.splitlines()) if top.rc == 0 else None

    before = until(processes)
    forks = f"docker exec {name} /bin/sh -c 'i=0; while [ $i -lt 60 ]; do sleep 2 & i=$((i+1)); done'"
    assert "fork" in host.run(forks).stderr
    # Until all of its processes have ended, others may find no room to start one in the container.
    assert until(lambda: (count := processes()) is not None and count <= before)


def test_dollar_sign_reaches_the_program(inspect):
    assert "MONEY=costs 5$" in inspect("web")["Config"]["Env"]


# -- secrets -----------------------------------------------------------------


def test_secret_file_belongs_to_its_service_alone(host):
    [path] = host.check_output(f"find {STACKS}/demo/secrets -name token").split()
    assert host.check_output("stat -c '%%a %%u' %s", path) == "400 10001"
    assert host.check_output("stat -c '%%a %%u' %s", path.rsplit("/", 1)[0]) == "500 10001"
    as_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups "
    for command in (f"ls {STACKS}/demo/secrets", f"cat {path}", f"ls {STACKS}/demo/releases", f"ls {STACKS}"):
        assert host.run(as_nobody + command).rc != 0, command
    assert host.check_output(f"stat -c %a {STACKS}/.secrets.key") == "600"


@pytest.fixture
def token(host, inspect, until):
    """Return a function that reads the secret inside the container of the web service."""

    def read():
        # Within its memory limit the engine's own helper may be killed, which says nothing of the secret.
        found = host.run(f"docker exec {inspect('web')['Name'].strip('/')} /bin/cat /run/secrets/token")
        return found.stdout if found.rc == 0 else None

    return lambda: until(read)


def test_program_reads_its_secret(host, inspect, token):
    assert token() == CANARIES[0]
    legacy = inspect("legacy")["Name"].strip("/")
    assert "has a token" in host.check_output(f"docker logs {legacy}")


def test_no_secret_in_any_rendered_file_inspect_process_or_log(host, run_role):
    # The control: the search finds the secret where it must be.
    assert host.run(f"grep -rl {CANARIES[0]} {STACKS}").stdout.strip().startswith(f"{STACKS}/demo/secrets/")
    searched = [
        f"grep -rl {{}} {STACKS}/*/releases /etc/systemd /etc/docker /var/lib/docker/containers /var/log /tmp",
        "docker ps --all --quiet | xargs docker inspect | grep {}",
        f"docker compose --project-name demo --file {STACKS}/demo/current/compose.yaml config | grep {{}}",
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -v grep | grep {}",
        "journalctl --no-pager --grep {} | grep -v 'No entries'",
        "docker ps --all --quiet | xargs --max-args 1 docker logs 2>&1 | grep {}",
    ]
    for canary in CANARIES:
        for search in searched:
            # Written in two parts, so that the search does not find itself.
            found = host.run(f"word={canary[:6]}; word=$word{canary[6:]}; " + search.format('"$word"'))
            assert found.stdout.strip() == "", (search, found.stdout[:500])
    run = run_role(tags="compose_stack")
    assert run.rc == 0, run.raw
    assert not any(canary in run.raw for canary in CANARIES)


def test_changed_secret_is_a_new_release_and_the_old_stays_readable(host, run_role, inspect, token):
    before = host.check_output(f"readlink {STACKS}/demo/current")
    started = inspect("database")["State"]["StartedAt"]
    run = run_role({"canary": "Other-Canary-0815"})
    assert run.rc == 0, run.raw
    assert "Other-Canary-0815" not in run.raw
    assert host.check_output(f"readlink {STACKS}/demo/current") != before
    assert token() == "Other-Canary-0815"
    assert inspect("database")["State"]["StartedAt"] == started, "a service without secrets was restarted"
    assert run_role().rc == 0
    assert host.check_output(f"readlink {STACKS}/demo/current") == before, "the same content is the same release"


def test_registry_login_is_kept_from_others(host):
    assert host.check_output("stat -c '%a %U' ~root/.docker/config.json") == "600 root"


def test_refused_login_is_named_before_anything_moves(host, run_role):
    before = host.check_output("docker ps --quiet --no-trunc")
    run = run_role({"registry_word": "wrong-word-entirely", "app_tag": "1.1"}, tags="compose_stack")
    assert run.rc != 0
    assert "registry_login: login on registry 127.0.0.1:5000: found a refused login" in run.output
    assert "wrong-word-entirely" not in run.raw
    assert "Run each stack" not in run.output
    assert host.check_output("docker ps --quiet --no-trunc") == before
    assert run_role(tags="compose_stack_configure").rc == 0


# -- the way back ------------------------------------------------------------


def test_failed_update_returns_to_the_digests_before(host, run_role, digests, inspect):
    before, pointer = digests(), host.check_output(f"readlink {STACKS}/demo/current")
    run = run_role({"app_tag": "broken"})
    assert run.rc != 0
    assert re.search(r"compose_release: release \S+ on stack demo: found it not healthy .* runs again", run.output)
    # The report meets it either between two starts or during one, where the engine no longer has the exit code.
    assert re.search(r"service web: (restarting; health.*exit code 3|running; health \w+; \d+ restarts)", run.output)
    assert "web | cannot read ********" in run.output
    assert not any(canary in run.raw for canary in CANARIES)
    assert digests() == before
    assert status(inspect, "web") == "healthy"
    assert host.check_output(f"readlink {STACKS}/demo/current") == pointer


def test_failed_first_release_leaves_nothing_running_and_its_volume(host, run_role):
    first = {
        "name": "first",
        "wait_timeout_seconds": 10,
        "definition": {
            "services": {
                "web": "{{ sound | combine({'image': registry ~ '/test/app:broken', 'volumes': ['store:/data']}) }}"
            },
            "volumes": {"store": {}},
        },
    }
    run = run_role({"stacks": [first]})
    assert run.rc != 0
    assert "there was no release before, so it was taken down and its volumes kept" in run.output
    assert host.check_output("docker ps --all --quiet --filter label=com.docker.compose.project=first") == ""
    assert "first_store" in host.check_output("docker volume ls --quiet")
    assert not host.file(f"{STACKS}/first/current").exists
    assert run_role({"stacks": [{"name": "first", "state": "absent", "remove_volumes": ["first_store"]}]}).rc == 0
    assert "first_store" not in host.check_output("docker volume ls --quiet")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"app_tag": "missing"}, "image 127.0.0.1:5000/test/app:missing on stack demo: found no such image"),
        ({"database_tag": "17"}, "found postgres 17, need postgres 16, which wrote its data"),
        ({"data_target": "/elsewhere"}, "volume demo_data on service web of stack demo: found /elsewhere, need /data"),
    ],
    ids=["missing-image", "major-jump", "volume-target"],
)
def test_dangerous_or_impossible_update_is_refused_and_nothing_moves(host, run_role, digests, options, sentence):
    before, pointer = digests(), host.check_output(f"readlink {STACKS}/demo/current")
    folders = host.check_output(f"ls {STACKS}/demo/releases")
    run = run_role(options)
    assert run.rc != 0
    assert sentence in run.output
    assert digests() == before
    assert host.check_output(f"readlink {STACKS}/demo/current") == pointer
    assert host.check_output(f"ls {STACKS}/demo/releases") == folders


def test_all_breaches_of_policy_are_named_at_once(run_role):
    bad = {
        "name": "bad",
        "definition": {
            "services": {
                "web": {
                    "image": "127.0.0.1:5000/test/anonymous:latest",
                    "privileged": True,
                    "network_mode": "host",
                    "volumes": ["/var/run/docker.sock:/docker.sock", "/nameless"],
                    "environment": {"DB_PASSWORD": "something"},
                }
            }
        },
    }
    run = run_role({"stacks": [bad]})
    assert run.rc != 0
    for rule in (
        "image-tag",
        "privileged",
        "host-network",
        "docker-socket",
        "anonymous-volume",
        "memory-limit",
        "cpu-limit",
        "pids-limit",
        "healthcheck",
        "restart",
        "log-options",
        "read-only",
        "cap-drop",
        "no-new-privileges",
        "environment-secret",
    ):
        assert f"waive rule {rule} for" in run.output, rule


def test_error_of_the_compose_file_is_composes_own_line(run_role):
    bad = {"name": "bad", "definition": {"services": {"web": {"image": "a/b:1", "portss": ["80"]}}}}
    run = run_role({"stacks": [bad]})
    assert run.rc != 0
    assert "found an error of compose" in run.output
    assert "portss" in run.output


# -- steady state, stop, removal, boot ------------------------------------------


def test_stopped_container_is_started_and_only_that(host, run_role, inspect):
    started = inspect("database")["State"]["StartedAt"]
    host.check_output("docker stop " + inspect("web")["Id"])
    run = run_role()
    assert run.rc == 0, run.raw
    assert re.search(r"changed=1\b", run.output)
    assert status(inspect, "web") == "healthy"
    assert inspect("database")["State"]["StartedAt"] == started


def test_dry_run_of_an_update_tells_the_change_and_makes_none(host, run_role, digests):
    before = digests()
    run = run_role({"app_tag": "1.1"}, check=True)
    assert run.rc == 0, run.raw
    assert re.search(r"changed=[1-9]", run.output)
    assert digests() == before


def test_boot_brings_back_what_was_marked_and_not_what_was_stopped(host, run_role, inspect, reboot, until):
    assert run_role({"stacks": ["{{ demo }}", "{{ from_template | combine({'boot': true}) }}"]}).rc == 0
    for stack in ("demo", "from-template"):
        assert host.run(f"systemctl is-enabled evenkeel-stack@{stack}.service").stdout.strip() == "enabled"
        assert host.file(f"{STACKS}/{stack}/boot").exists
    stop = {"name": "from-template", "state": "stopped"}
    assert run_role({"stacks": ["{{ demo }}", stop]}).rc == 0
    started = inspect("web")["State"]["StartedAt"]
    reboot()
    assert until(lambda: status(inspect, "web") == "healthy")
    assert inspect("web")["State"]["StartedAt"] != started
    assert until(lambda: "evenkeel-stack@" not in host.check_output("systemctl list-jobs --no-legend"))
    assert host.run("systemctl is-active evenkeel-stack@demo.service").stdout.strip() == "active"
    assert inspect("plain.1", "from-template")["State"]["Status"] == "exited"
    assert not host.file(f"{STACKS}/from-template/boot").exists
    assert run_role({"stacks": ["{{ from_template }}"]}).rc == 0
    assert inspect("plain.1", "from-template")["State"]["Running"]


def test_unit_starts_a_stack_that_the_engine_left_alone(host, inspect, until):
    host.check_output("docker stop " + inspect("web")["Id"])
    host.check_output("systemctl restart evenkeel-stack@demo.service")
    assert until(lambda: status(inspect, "web") == "healthy")


def test_removal_keeps_volumes_unless_their_name_is_typed(host, run_role):
    assert run_role({"stacks": [{"name": "demo", "state": "absent"}]}).rc == 0
    assert host.check_output("docker ps --all --quiet --filter label=com.docker.compose.project=demo") == ""
    assert not host.file(f"{STACKS}/demo").exists
    assert not host.file("/etc/systemd/system/multi-user.target.wants/evenkeel-stack@demo.service").exists
    assert {"demo_data", "demo_pgdata"} <= set(host.check_output("docker volume ls --quiet").split())
    assert run_role({"stacks": [{"name": "demo", "state": "absent", "remove_volumes": ["data"]}]}).rc == 0
    volumes = host.check_output("docker volume ls --quiet").split()
    assert "demo_data" not in volumes
    assert "demo_pgdata" in volumes
