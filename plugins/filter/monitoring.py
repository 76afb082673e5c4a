# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters of the monitoring role: its options made into settings, rules and a stack."""

from __future__ import annotations

from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _alerting,
    _log_agent,
    _monitoring_stack,
    _scrape,
    _slo,
)
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _compose_files

Options = dict[str, Any]
Machines = list[dict[str, str]]


def monitoring_targets(options: Options, server: str, machines: Machines, edges: Machines, records: list) -> list:
    """Return every target of Prometheus."""
    return [
        *_scrape.hosts("node", machines),
        *_scrape.hosts("edge", edges, int(options.get("edge_port") or 0)),
        *_scrape.own(
            server, _monitoring_stack.parts(options), options.get("postgresql") or [], options.get("redis") or []
        ),
        *(_scrape.hosts("agent", machines) if options.get("agent_enabled") else []),
        *_scrape.probes(options.get("probes") or []),
        *_scrape.apps(records, options.get("apps") or []),
    ]


def monitoring_prometheus(options: Options, targets: list) -> Options:
    """Return the settings of Prometheus."""
    return _scrape.settings(targets, int(options["scrape_interval_seconds"]))


def monitoring_alertmanager(options: Options) -> Options:
    """Return the settings of Alertmanager."""
    return _alerting.settings(
        options.get("receivers") or [],
        options.get("receiver") or "",
        options.get("routes") or [],
        options["waits"],
        bool(options.get("deadman_url")),
        float(options["wait_factor"]),
        bool(options.get("templates")),
    )


def monitoring_agent(options: Options, name: str, address: str, server: str) -> Options:
    """Return the settings of the agent of one host."""
    return _log_agent.settings(options, name, address, server)


def monitoring_blackbox(options: Options) -> Options:
    """Return the settings of the blackbox exporter."""
    return _scrape.modules(options.get("probes") or [])


def monitoring_expected(options: Options, described: list, targets: list) -> Options:
    """Return the rule file of what must exist."""
    return _scrape.expected(
        [_compose_files.described(app) for app in described],
        options.get("apps") or [],
        options.get("backups") or [],
        targets,
        _monitoring_stack.budgets(options),
    )


def monitoring_refusing(targets: list) -> list[str]:
    """Return one sentence for each target that asks for a login."""
    return _scrape.refusing(targets)


def monitoring_rules(rules: Options, factor: float) -> Options:
    """Return a rule file with its durations multiplied by a factor."""
    return _alerting.scaled(rules, float(factor))


def monitoring_stack(options: Options) -> Options:
    """Return definition, waivers and secrets of the stack."""
    made = _monitoring_stack.definition(options)
    return {
        "definition": made,
        "waivers": _monitoring_stack.waivers(made),
        "secrets": _monitoring_stack.secrets(options),
    }


def monitoring_public_ports(urls: dict[str, str]) -> list[str]:
    """Return the ports of the pages that the edges forward to."""
    return _monitoring_stack.public_ports(urls)


def monitoring_ports(options: Options, described: list) -> list[str]:
    """Return the ports of the apps with metrics, as ranges for the firewall."""
    return _scrape.port_ranges(described, options.get("apps") or [])


def monitoring_problems(
    options: Options, apps: list, disk_gigabytes: float = 0, hosts: list | None = None
) -> list[str]:
    """Return one sentence for each problem."""
    return _monitoring_stack.problems(options, apps, float(disk_gigabytes), hosts) + _log_agent.problems(options)


def slo_rules(slos: list) -> Options:
    """Return the rule file of the SLOs."""
    return _slo.rules(slos)


class FilterModule:
    """Jinja filters over the options of the monitoring role."""

    def filters(self) -> dict[str, Any]:
        return {
            "monitoring_agent": monitoring_agent,
            "monitoring_alertmanager": monitoring_alertmanager,
            "monitoring_blackbox": monitoring_blackbox,
            "monitoring_expected": monitoring_expected,
            "monitoring_ports": monitoring_ports,
            "monitoring_problems": monitoring_problems,
            "monitoring_public_ports": monitoring_public_ports,
            "monitoring_prometheus": monitoring_prometheus,
            "monitoring_refusing": monitoring_refusing,
            "monitoring_rules": monitoring_rules,
            "monitoring_stack": monitoring_stack,
            "monitoring_targets": monitoring_targets,
            "slo_rules": slo_rules,
        }
