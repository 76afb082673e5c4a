# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is watched, what is open, what reaches the receiver, and what a bad change does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import testinfra

testinfra_hosts = ["ansible://ops"]

HERE = Path(__file__).resolve().parent.parent
CANARY = "Canary-4711-monitoring"
# Each receiver's kind, and where its messages come in.
RECEIVERS = {
    "team": ("webhook", f"/team/{CANARY}"),
    "chat": ("slack", f"/chat/{CANARY}"),
    "mail": ("email", "/mail"),
    "pager": ("pagerduty", "/pager/enqueue"),
    "bot": ("telegram", f"/telegram/bot4711:{CANARY}/sendMessage"),
}
ADMIN = {"host": "ops-a", "container": "database", "user": "shop"}
TEST_ALERT = str(HERE.parent.parent / "playbooks" / "test_alert.yml")
PLAYBOOK = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"]]


@pytest.fixture
def play(ansible):
    """Return a function that runs converge.yml again with other options."""

    def run(tags="monitoring_configure,monitoring_service", **options):
        return ansible(
            *PLAYBOOK, "--diff", "--tags", tags, "--extra-vars", json.dumps(options), str(HERE / "converge.yml")
        )

    return run


def ask(host, query):
    """What Prometheus answers, as labels and value."""
    words = f"curl -sf --get --data-urlencode 'query={query}' http://127.0.0.1:9090/api/v1/query"
    found = json.loads(host.check_output(words))["data"]["result"]
    return [(one["metric"], float(one["value"][1])) for one in found]


def received(host, part="team"):
    """The alerts that reached the webhook, newest last: name, status and the rest."""
    text = host.run("cat /var/lib/receiver.jsonl").stdout
    lines = [json.loads(line) for line in text.splitlines()]
    return [alert for line in lines if f"/{part}/" in line["path"] for alert in line["body"]["alerts"]]


def notified(host, name, status):
    return [one for one in received(host) if one["labels"]["alertname"] == name and one["status"] == status]


# -- what is watched ---------------------------------------------------------


def test_every_target_answers(host, until):
    assert until(lambda: {one["job"] for one, _value in ask(host, "up == 1")} >= {"node", "prometheus", "alertmanager"})
    assert ask(host, "up == 0") == []


def test_both_hosts_have_their_metrics(host, until):
    hosts = {one["instance"] for one, _value in ask(host, "node_uname_info")}
    assert hosts == {"ops-a", "plain-a"}
    assert until(lambda: ask(host, 'evenkeel_docker_up{instance="ops-a"} == 1'))
    assert not ask(host, 'evenkeel_docker_up{instance="plain-a"}')


def test_metrics_of_the_containers_are_there(host, until):
    found = until(lambda: ask(host, 'evenkeel_container_running{stack="monitoring"} == 1'))
    assert {one["service"] for one, _value in found} == {
        "prometheus",
        "alertmanager",
        "blackbox",
        "postgresql-database",
    }


def test_probe_asks_the_receiver(host, until):
    assert until(lambda: ask(host, 'probe_success{job="probe"} == 1'))


def test_nothing_fires_but_the_watchdog(host):
    names = {one["alertname"] for one, _value in ask(host, 'ALERTS{alertstate="firing"}')}
    # The cores and the memory are the machine's own, which the tests keep busy.
    assert names - {"HostBusy", "HostMemoryLow"} == {"Watchdog"}


# -- the user of the database's exporter --------------------------------------


@pytest.fixture
def sql(host):
    """Return a function that asks the database as its administrator."""
    return lambda words: host.check_output("docker exec database psql -U shop -d shop -Atqc %s", words)


def test_exporter_reads_the_database(host, until):
    assert until(lambda: ask(host, 'pg_up{instance="database"} == 1'))


def test_user_of_the_exporter_only_reads_figures(sql):
    rights = "rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls"
    assert sql(f"select {rights} from pg_roles where rolname = 'watch'") == "f"
    granted = "select pg_get_userbyid(roleid) from pg_auth_members where member = 'watch'::regrole"
    assert sql(granted) == "pg_monitor"


def test_lost_user_is_made_again_and_the_password_is_written_nowhere(host, play, sql, until):
    sql("drop role watch")
    done = play(tags="monitoring_configure")
    assert done.rc == 0, done.output
    assert CANARY not in done.raw
    assert until(lambda: ask(host, 'pg_up{instance="database"} == 1'))
    assert CANARY not in host.check_output("docker logs database 2>&1")


@pytest.mark.parametrize(
    ("user", "made", "sentence"),
    [
        ("owner", "create table owned (); alter table owned owner to owner", "owning what is in a database"),
        ("clerk", "create table shared (); grant select on shared to clerk", "with rights of its own"),
        ("maker", "alter role maker createdb", "with rights of an administrator"),
    ],
)
def test_user_of_somebody_else_keeps_its_password(user, made, sentence, play, sql):
    """Configured with a password that is not its own."""
    sql(f"create role {user} login password 'its-own'; {made}")
    query = f"select rolpassword from pg_authid where rolname = '{user}'"
    before = sql(query)
    item = {"name": "database", "host": "127.0.0.1", "user": user, "password": CANARY, "database": "shop"}
    done = play(tags="monitoring_configure", monitoring_postgresql=[{**item, "admin": ADMIN}])
    assert done.rc != 0
    assert f"user {user} of database in container database: found it there, and {sentence}" in done.output
    assert CANARY not in done.raw
    assert sql(query) == before


# -- what is open ------------------------------------------------------------


@pytest.mark.parametrize("port", [9090, 9093])
def test_port_listens_on_loopback_alone(host, port):
    assert host.socket(f"tcp://127.0.0.1:{port}").is_listening
    assert not host.socket(f"tcp://0.0.0.0:{port}").is_listening


def test_node_exporter_listens_on_the_private_address_alone(host):
    listening = host.check_output("ss -Hltn 'sport = :9100'")
    assert "10.232." in listening
    assert "*:9100" not in listening
    assert "0.0.0.0:9100" not in listening


def test_secret_stands_in_its_file_alone(host):
    found = host.run(f"grep -rl {CANARY} /opt /etc /var/lib/evenkeel /run/systemd 2>/dev/null").stdout.split()
    assert found, "the canary is nowhere, so this test proves nothing"
    for path in found:
        assert "/secrets/" in path, path
        assert host.check_output("stat -c '%%a %%u' %s", path) == "400 65534"
    inspected = host.check_output("docker inspect $(docker ps -q)")
    assert CANARY not in inspected


def test_containers_have_no_rights(host):
    ours = "docker ps --quiet --filter label=com.docker.compose.project=monitoring"
    for container in json.loads(host.check_output(f"docker inspect $({ours})")):
        assert container["HostConfig"]["ReadonlyRootfs"], container["Name"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"], container["Name"]
        assert container["Config"]["User"].split(":")[0] not in ("", "0"), container["Name"]


# -- what reaches people -----------------------------------------------------


def test_dead_mans_switch_is_called(host, until):
    assert until(lambda: received(host, "deadman"), 120)[0]["labels"]["alertname"] == "Watchdog"


def test_alert_reports_a_stopped_exporter_and_its_return(host, until):
    host.check_output("systemctl stop prometheus-node-exporter")
    try:
        assert until(lambda: notified(host, "HostDown", "firing"), 90)
    finally:
        host.check_output("systemctl start prometheus-node-exporter")
    assert until(lambda: notified(host, "HostDown", "resolved"), 120)


def test_alert_reports_a_missing_part_and_its_return(host, until):
    host.check_output("docker stop monitoring-blackbox-1")
    try:
        assert until(lambda: notified(host, "TargetGone", "firing"), 90)
    finally:
        host.check_output("docker start monitoring-blackbox-1")
    assert until(lambda: notified(host, "TargetGone", "resolved"), 120)


def test_alert_reports_edges_that_disagree_and_agree_again(host, until):
    """Both hosts hold an app's live entry, as two edges do; that of one is then set by hand."""
    other = testinfra.get_host("ansible://plain-a", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])
    entry = "mkdir -p /var/lib/evenkeel/shop && echo 'shop %s:0:1.0:' > /var/lib/evenkeel/shop/live.map"
    try:
        for one, colour in ((host, "blue"), (other, "green")):
            one.check_output(entry % colour)
        assert until(lambda: notified(host, "EdgesDisagree", "firing"), 120)
        other.check_output(entry % "blue")
        assert until(lambda: notified(host, "EdgesDisagree", "resolved"), 120)
    finally:
        for one in (host, other):
            one.check_output("rm -r /var/lib/evenkeel/shop")


# -- changes -----------------------------------------------------------------


def current(host, part="prometheus"):
    return host.check_output(f"readlink /opt/evenkeel/monitoring/{part}/current")


def test_rule_that_does_not_parse_is_refused_and_nothing_changes(host, tmp_path, play):
    broken = tmp_path / "broken.yml"
    broken.write_text("groups: [{name: x, rules: [{alert: Broken, expr: 'up =='}]}]\n")
    before = current(host)
    done = play(tags="monitoring_configure", monitoring_rule_files=[str(broken)])
    assert done.rc != 0
    assert "found the check refusing them" in done.output
    assert current(host) == before
    assert ask(host, "up")


def test_settings_change_without_a_restart(host, play):
    started = host.check_output("docker inspect -f '{{.State.StartedAt}}' monitoring-prometheus-1")
    before = current(host)
    try:
        done = play(tags="monitoring_configure", monitoring_scrape_interval_seconds=7)
        assert done.rc == 0, done.output
        assert current(host) != before
        config = host.check_output("curl -sf http://127.0.0.1:9090/api/v1/status/config")
        assert "scrape_interval: 7s" in config
    finally:
        assert play(tags="monitoring_configure").rc == 0
    assert host.check_output("docker inspect -f '{{.State.StartedAt}}' monitoring-prometheus-1") == started


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param({"monitoring_receivers": [{"name": "team", "kind": "webhook"}]}, "secret on receiver team: found none", id="no secret"),
        pytest.param({"monitoring_receiver": "nobody-there"}, "found nobody-there, need bot or", id="unknown receiver"),
        pytest.param({"monitoring_prometheus_retention": {"days": 1, "gigabytes": 900000}}, "retention on the disk", id="disk"),
        pytest.param({"monitoring_slos": [{"name": "a", "app": "x", "kind": "availability", "objective": 99}] * 2}, "name on SLO a: found it 2 times", id="SLO twice"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(options, sentence, play):
    done = play(tags="monitoring_preflight", **options)
    assert done.rc != 0
    assert sentence in done.output
    assert CANARY not in done.output


def lines(host):
    """All that reached the receiver."""
    return [json.loads(line) for line in host.check_output("cat /var/lib/receiver.jsonl").splitlines()]


@pytest.fixture(scope="module")
def tested(host, ansible):
    """A test through each receiver, and what came of it there."""
    before = len(lines(host))
    # The playbook lies in another folder than this scenario's variables, and asks for names alone.
    receivers = [{"name": name, "kind": kind} for name, (kind, _path) in RECEIVERS.items()]
    done = ansible(*PLAYBOOK, "--extra-vars", json.dumps({"monitoring_receivers": receivers}), TEST_ALERT)
    assert done.rc == 0, done.raw
    assert CANARY not in done.raw
    return SimpleNamespace(output=done.output, lines=lines(host)[before:])


@pytest.mark.parametrize("name", RECEIVERS)
def test_test_alert_arrives_by_every_kind_of_receiver(name, tested):
    path = RECEIVERS[name][1]
    assert f"{name}: accepted the test" in tested.output
    (found,) = (line["body"] for line in tested.lines if line["path"] == path)
    assert "evenkeel_test" in json.dumps(found) or "EvenkeelTest" in json.dumps(found), found
    # The secret of those that do not have it in their address came with the message.
    if name == "mail":
        assert (found["user"], found["password"]) == ("alerts", CANARY)
    if name == "pager":
        assert found["routing_key"] == CANARY


def test_test_of_no_receiver_is_refused(ansible):
    done = ansible(*PLAYBOOK, "--extra-vars", json.dumps({"monitoring_receivers": []}), TEST_ALERT)
    assert done.rc != 0
    assert "found none, need at least one. Set monitoring_receivers." in done.output
