# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of containers and of the journal of both hosts, with no secret in them, and what happens while Loki is away."""

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
    """What Loki holds, as names and line."""
    url = f"http://{address(host)}:3100/loki/api/v1/query_range"
    done = host.run(f"curl -sf --get --data-urlencode 'query={query}' --data-urlencode limit=1000 {url}")
    if done.rc:
        return []
    return [(one["stream"], line[1]) for one in json.loads(done.stdout)["data"]["result"] for line in one["values"]]


def told(host, name, status):
    text = host.run("cat /var/lib/receiver.jsonl").stdout
    alerts = [alert for line in text.splitlines() for alert in json.loads(line)["body"]["alerts"]]
    return [one for one in alerts if one["labels"]["alertname"] == name and one["status"] == status]


def test_lines_of_containers_arrive_with_their_names(host, until):
    host.check_output("docker kill --signal HUP monitoring-prometheus-1")
    found = until(lambda: lines(host, '{service_namespace="monitoring",service_name="prometheus"}'))
    assert {names["host_name"] for names, _line in found} == {"ops-a"}


@pytest.mark.parametrize("name", ["ops-a", "plain-a"])
def test_journal_arrives_without_secrets(host, name, until):
    on(name).check_output(f"logger -t shop-{name} 'customer-815 gave password={CANARY} and went on'")
    found = until(lambda: lines(host, f'{{service_name="shop-{name}"}}'))
    assert [line for _names, line in found] == ["**** gave **** and went on"]
    assert found[0][0]["host_name"] == name
    assert found[0][0]["service_namespace"] == "host"


def test_both_agents_are_watched(host, until):
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


# A megabyte in a request, as fast as they are answered, for longer than a few scrapes.
FLOOD = r"""
import json, sys, time, urllib.error, urllib.request
until, refused = time.time() + 45, 0
while time.time() < until:
    now = time.time_ns()
    values = [[str(now + number), "x" * 1000] for number in range(1000)]
    body = json.dumps({"streams": [{"stream": {"service_name": "flood"}, "values": values}]}).encode()
    try:
        asked = urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})
        urllib.request.urlopen(asked, timeout=10).close()
    except urllib.error.HTTPError as answer:
        refused += answer.code == 429
print(refused)
"""
# Twice what the buffer of 20 MB holds, within half a minute.
MUCH = "for one in $(seq 27); do head -c 1500000 /dev/zero | tr '\\0' x | fold -w 1000; echo; sleep 1; done"


def test_more_lines_than_loki_takes_are_told(host, until):
    refused = host.check_output("python3 -c %s %s", FLOOD, f"http://{address(host)}:3100/loki/api/v1/push")
    assert int(refused) > 0
    assert until(lambda: told(host, "LokiDropsLogs", "firing"), 90)


@pytest.fixture(scope="module")
def outage(until):
    """What was told while Loki was away: one agent has little to send, the other more than its buffer holds."""
    ops, plain = on("ops-a"), on("plain-a")
    ops.check_output("docker stop monitoring-loki-1")
    try:
        plain.check_output("for n in $(seq 1 50); do logger -t counted line $n; done")
        # A kill may cost the journal's last tenth of a second, see docs/architecture.md; a restart must cost nothing.
        plain.check_output("systemctl restart otelcol")
        plain.check_output("for n in $(seq 51 100); do logger -t counted line $n; done")
        image = ops.check_output("docker inspect -f '{{.Config.Image}}' monitoring-prometheus-1")
        ops.check_output(f"docker run --rm --network none --entrypoint sh {image} -c %s >/dev/null", MUCH)
        # A queue is one that stands after five minutes, and the wait of the rule.
        return {
            name: until(lambda name=name: told(ops, name, "firing"), 480)
            for name in ("LogAgentLosesLogs", "LogAgentCannotSend")
        }
    finally:
        ops.check_output("docker start monitoring-loki-1")


def test_lines_that_the_buffer_cannot_hold_are_told(outage):
    assert outage["LogAgentLosesLogs"]
    assert {one["labels"]["instance"] for one in outage["LogAgentLosesLogs"]} == {"ops-a"}


def test_nothing_is_lost_while_loki_is_away_and_that_is_told(host, outage, until):
    assert outage["LogAgentCannotSend"]
    found = until(lambda: len(read := lines(host, '{service_name="counted"}')) >= 100 and read, 120)
    assert sorted(int(line.split()[1]) for _names, line in found) == list(range(1, 101))


@pytest.mark.usefixtures("outage")
@pytest.mark.parametrize("name", ["LokiDropsLogs", "LogAgentCannotSend", "LogAgentLosesLogs"])
def test_the_end_is_told(host, name, until):
    # Five minutes without a lost line, which pass for all of them at once.
    assert until(lambda: told(host, name, "resolved"), 420)
