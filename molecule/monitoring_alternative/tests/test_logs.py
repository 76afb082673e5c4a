# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs of containers and of the journal of both hosts, redacted, and what happens while the log store is down."""

from __future__ import annotations

import json
import os

import pytest
import testinfra

testinfra_hosts = ["ansible://ops"]

CANARY = "Canary-4711-logs"


def on(name):
    """A host of the scenario."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


def address(host):
    """The one in molecule's network."""
    return next(one for one in host.check_output("hostname -I").split() if one.startswith("10.232."))


def lines(host, query):
    """The lines in the log store, as fields and text."""
    url = "http://127.0.0.1:9428/select/logsql/query"
    done = host.run(f"curl -sf --get --data-urlencode 'query={query}' --data-urlencode limit=1000 {url}")
    if done.rc:
        return []
    return [(one, one["_msg"]) for one in map(json.loads, done.stdout.splitlines())]


def notified(host, name, status):
    """The notifications about one alert that the receiver has."""
    text = host.run("cat /var/lib/receiver.jsonl").stdout
    alerts = [alert for line in text.splitlines() for alert in json.loads(line)["body"]["alerts"]]
    return [one for one in alerts if one["labels"]["alertname"] == name and one["status"] == status]


def test_lines_of_containers_arrive_with_their_names(host, until):
    host.check_output("docker kill --signal HUP monitoring-prometheus-1")
    found = until(lambda: lines(host, '{service.namespace="monitoring",service.name="prometheus"}'))
    assert {fields["host.name"] for fields, _line in found} == {"ops-a"}


def test_store_listens_on_loopback_and_the_private_address(host):
    listening = host.check_output("ss -Hltn 'sport = :9428'").split()
    assert {word for word in listening if word.endswith(":9428")} == {"127.0.0.1:9428", f"{address(host)}:9428"}
    page = host.check_output("curl -sf http://127.0.0.1:9428/select/vmui/")
    assert "<html" in page


def test_store_keeps_its_retention(host):
    command = host.check_output("docker inspect -f '{{.Config.Cmd}}' monitoring-victorialogs-1")
    assert "-retentionPeriod=1d" in command
    assert "-retention.maxDiskSpaceUsageBytes=1GiB" in command


@pytest.mark.parametrize("name", ["ops-a", "plain-a"])
def test_journal_arrives_without_secrets(host, name, until):
    on(name).check_output(f"logger -t shop-{name} 'customer-815 gave password={CANARY} and went on'")
    found = until(lambda: lines(host, f'{{service.name="shop-{name}"}}'))
    assert [line for _fields, line in found] == ["**** gave **** and went on"]
    assert found[0][0]["host.name"] == name
    assert found[0][0]["service.namespace"] == "host"


def test_both_agents_are_scraped(host, until):
    query = "curl -sf 'http://127.0.0.1:9090/api/v1/query?query=up%7Bjob%3D%22agent%22%7D'"

    def answers():
        found = json.loads(host.check_output(query))["data"]["result"]
        return {one["metric"]["instance"] for one in found if one["value"][1] == "1"} == {"ops-a", "plain-a"}

    assert until(answers)


@pytest.mark.parametrize("name", ["ops-a", "plain-a"])
def test_agent_has_few_rights_and_listens_on_private_addresses(name):
    here = on(name)
    process = here.process.get(comm="otelcol")
    assert process.user == "evenkeel-agent"
    caps = here.check_output(f"grep CapEff /proc/{process.pid}/status").split()[1]
    assert int(caps, 16) == 4  # CAP_DAC_READ_SEARCH alone
    for port in (4317, 4318, 8888):
        listening = here.check_output(f"ss -Hltn 'sport = :{port}'")
        assert address(here) in listening, listening
    assert "127.0.0.1" in here.check_output("ss -Hltn 'sport = :13133'")


# Lines of ten days ago, for longer than a few scrapes.
OLD = r"""
import json, sys, time, urllib.request
until = time.time() + 30
while time.time() < until:
    values = [[str(time.time_ns() - 10 * 86400 * 10**9), "too old"]]
    body = json.dumps({"streams": [{"stream": {"service.name": "old"}, "values": values}]}).encode()
    asked = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
    urllib.request.urlopen(asked, timeout=10).close()
    time.sleep(1)
"""
# Twice what the buffer of 20 MB holds, within half a minute.
MUCH = "for one in $(seq 27); do head -c 1500000 /dev/zero | tr '\\0' x | fold -w 1000; echo; sleep 1; done"


def test_alert_reports_lines_that_the_store_drops(host, until):
    host.check_output("python3 -c %s %s", OLD, f"http://{address(host)}:9428/insert/loki/api/v1/push")
    assert lines(host, '{service.name="old"}') == []
    assert until(lambda: notified(host, "LogStoreDropsLogs", "firing"), 90)


@pytest.fixture(scope="module")
def outage(until):
    """The alerts while the log store is down: one agent has little to send, the other more than its buffer holds."""
    ops, plain = on("ops-a"), on("plain-a")
    ops.check_output("docker stop monitoring-victorialogs-1")
    try:
        plain.check_output("for n in $(seq 1 50); do logger -t counted line $n; done")
        # A kill may cost the journal's last tenth of a second, see docs/architecture.md; a restart must cost nothing.
        plain.check_output("systemctl restart otelcol")
        plain.check_output("for n in $(seq 51 100); do logger -t counted line $n; done")
        image = ops.check_output("docker inspect -f '{{.Config.Image}}' monitoring-prometheus-1")
        ops.check_output(f"docker run --rm --network none --entrypoint sh {image} -c %s >/dev/null", MUCH)
        # A queue is one that stands after five minutes, and the wait of the rule.
        return {
            name: until(lambda name=name: notified(ops, name, "firing"), 480)
            for name in ("LogAgentLosesLogs", "LogAgentCannotSend")
        }
    finally:
        ops.check_output("docker start monitoring-victorialogs-1")


def test_alert_reports_lines_that_the_buffer_cannot_hold(outage):
    assert outage["LogAgentLosesLogs"]
    assert {one["labels"]["instance"] for one in outage["LogAgentLosesLogs"]} == {"ops-a"}


def test_no_line_is_lost_while_the_store_is_down(host, outage, until):
    assert outage["LogAgentCannotSend"]
    found = until(lambda: len(read := lines(host, '{service.name="counted"}')) >= 100 and read, 120)
    assert sorted(int(line.split()[1]) for _fields, line in found) == list(range(1, 101))


@pytest.mark.usefixtures("outage")
@pytest.mark.parametrize("name", ["LogStoreDropsLogs", "LogAgentCannotSend", "LogAgentLosesLogs"])
def test_alert_resolves(host, name, until):
    # Five minutes without a lost line, which pass for all of them at once.
    assert until(lambda: notified(host, name, "resolved"), 420)
