# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The targets of Prometheus, and the rules of what must exist. PRIVATE to the collection.

Pure functions over plain data. A target is a mapping of C(job), C(instance), C(address) and, where it has them,
C(labels), C(path) and C(params).
"""

from __future__ import annotations

import functools
import typing as t
import urllib.parse

from ansible_collections.evenkeel.platform.plugins.module_utils import _address, _failure, _log_store

PORTS = {"node": 9100, "edge": 8405, "agent": 8888}
# The name of a backend of HAProxy as app, colour and service.
BACKEND = "([a-z][a-z0-9-]*)_(blue|green)_(.+)"
Target = dict[str, t.Any]
# Status codes of an answer that asks for a login or refuses one.
REFUSED = ("401 ", "403 ")
_sentence = functools.partial(_failure.sentence, "monitoring")


def hosts(job: str, machines: t.Iterable[dict[str, str]], port: int = 0) -> list[Target]:
    """One target for each machine, given as C(name) and C(address)."""
    return [
        {"job": job, "instance": machine["name"], "address": _address.join(machine["address"], port or PORTS[job])}
        for machine in machines
    ]


def own(
    server: str, parts: t.Iterable[str], postgresql: list[dict[str, t.Any]], redis: list[dict[str, t.Any]]
) -> list[Target]:
    """The parts of the stack itself, by their names in its network."""
    ports = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "blackbox": 9115, "jaeger": 8888}
    ports |= {store.name: store.port for store in _log_store.STORES.values()}
    found = [{"job": part, "instance": server, "address": f"{part}:{ports[part]}"} for part in parts]
    for job, port, servers in (("postgresql", 9187, postgresql), ("redis", 9121, redis)):
        found += [{"job": job, "instance": one["name"], "address": f"{job}-{one['name']}:{port}"} for one in servers]
    return found


def probes(wanted: list[dict[str, t.Any]]) -> list[Target]:
    """The targets of the blackbox exporter."""
    found = []
    for one in wanted:
        parts = urllib.parse.urlsplit(one["url"])
        target = one["url"]
        params = {"module": [one["name"]]}
        if one.get("connect_to"):
            target = urllib.parse.urlunsplit(parts._replace(netloc=one["connect_to"]))
            params["hostname"] = [parts.hostname or ""]
        params["target"] = [target]
        # Two probes can request one URL through two edges. A silence of the app matches its label.
        labels = {"probe": one["name"], **({"app": one["app"]} if one.get("app") else {})}
        made = {"job": "probe", "instance": one["url"], "address": "blackbox:9115", "path": "/probe"}
        found.append({**made, "params": params, "labels": labels})
    return found


def modules(wanted: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    """The settings of the blackbox exporter: a module for each probe."""
    made = {}
    for one in wanted:
        http: dict[str, t.Any] = {
            "valid_status_codes": [int(one.get("status") or 200)],
            "fail_if_not_ssl": one["url"].startswith("https:"),
            "preferred_ip_protocol": "ip4",
        }
        if one.get("body"):
            http["fail_if_body_not_matches_regexp"] = [one["body"]]
        if one.get("insecure"):
            http["tls_config"] = {"insecure_skip_verify": True}
        made[one["name"]] = {"prober": "http", "timeout": "5s", "http": http}
    return {"modules": made}


def apps(records: list[dict[str, t.Any]], about: list[dict[str, t.Any]]) -> list[Target]:
    """Both colours of each service with metrics, by the edge's records."""
    paths = {
        (app["name"], entry["service"]): entry.get("path") or "/metrics"
        for app in about
        for entry in app.get("metrics") or []
    }
    found = []
    for record in records:
        for service, sides in record["services"].items():
            path = paths.get((record["app"], service))
            if path is None:
                continue
            for colour, servers in sides["servers"].items():
                for server in servers:
                    found.append(
                        {
                            "job": "app",
                            "instance": f"{record['app']}-{colour}-{service}-{server['name']}",
                            "address": _address.join(server["address"], server["port"]),
                            "path": path,
                            "labels": {"app": record["app"], "service": service, "colour": colour},
                        }
                    )
    return found


def port_ranges(described: list[dict[str, t.Any]], about: list[dict[str, t.Any]]) -> list[str]:
    """The ports of apps with metrics, as ranges."""
    scraped = {app["name"] for app in about if app.get("metrics")}
    return [
        f"{app['port_base']}-{int(app['port_base']) + int(app.get('port_count') or 100) - 1}"
        for app in described
        if app["name"] in scraped
    ]


def settings(targets: list[Target], interval_seconds: int) -> dict[str, t.Any]:
    """The settings of Prometheus."""
    jobs: dict[tuple[str, str, str], dict[str, t.Any]] = {}
    for target in targets:
        path, params = target.get("path", "/metrics"), target.get("params", {})
        key = (target["job"], path, repr(params))
        job = jobs.setdefault(key, _job(target["job"], path, params, sum(one[0] == target["job"] for one in jobs)))
        job["static_configs"].append(
            {
                "targets": [target["address"]],
                "labels": {"instance": target["instance"], **target.get("labels", {})},
            }
        )
    timeout = min(10, interval_seconds)
    return {
        "global": {
            "scrape_interval": f"{interval_seconds}s",
            "scrape_timeout": f"{timeout}s",
            "evaluation_interval": f"{interval_seconds}s",
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]},
        "scrape_configs": list(jobs.values()),
    }


def _job(name: str, path: str, params: dict[str, t.Any], before: int) -> dict[str, t.Any]:
    job: dict[str, t.Any] = {"job_name": f"{name}-{before}" if before else name, "static_configs": []}
    if path != "/metrics":
        job["metrics_path"] = path
    if params:
        job["params"] = params
    if before:
        job["relabel_configs"] = [{"target_label": "job", "replacement": name}]
    if name == "edge":
        job["metric_relabel_configs"] = [
            {"source_labels": ["proxy"], "regex": BACKEND, "target_label": label, "replacement": f"${number}"}
            for number, label in enumerate(("app", "colour", "service"), 1)
        ]
    return job


def refusing(targets: t.Iterable[dict[str, t.Any]]) -> list[str]:
    """Return one sentence for each target, as Prometheus' interface lists them, that asks for a login."""
    found = []
    for target in targets:
        status = str(target.get("lastError") or "").partition("HTTP status ")[2]
        if target.get("health") != "up" and status.startswith(REFUSED):
            labels = target["labels"]
            where = f"target {labels['instance']} of job {labels['job']}"
            remedy = f"Let {target['scrapeUrl']} answer the monitoring host, or remove it from monitoring_apps"
            found.append(_sentence("answer", where, status, "metrics without a login", remedy))
    return found


# -- what must exist ----------------------------------------------------


def expected(
    described: list[dict[str, t.Any]],
    about: list[dict[str, t.Any]],
    backups: list[str],
    targets: list[Target],
    budgets: dict[str, float] | None = None,
) -> dict[str, t.Any]:
    """The rule file of what must exist, so that an alert fires for what is missing.

    *budgets* are gigabytes by volume, of 2**30 bytes, as Prometheus counts its own.
    """
    rules = []
    stores = [target["instance"] for target in targets if target["job"] == "redis"]
    for app in described:
        homes = int(app.get("app_hosts") or 1)
        for service in app.get("services") or []:
            kind = service["kind"]
            if kind == "scheduled":
                continue
            # One that must run exactly once has one home, all others every host of the app.
            number = int(service.get("replicas") or 1) * (1 if kind == "singleton" else homes)
            labels = {"app": app["name"], "service": service["name"], "kind": kind}
            rules.append(_constant("evenkeel_expected_service", number, labels))
    for app in about:
        seconds = app.get("response_seconds") or 1
        rules.append(_constant("evenkeel_limit_response_seconds", seconds, {"app": app["name"]}))
        for queue in app.get("queues") or []:
            # Two servers may each have a list of this name.
            labels = {"app": app["name"], "instance": queue.get("redis") or stores[0], "key": queue["key"]}
            rules.append(_constant("evenkeel_limit_queue", queue["limit"], labels))
    known = {app["name"] for app in about}
    for app in described:
        if app["name"] not in known:
            rules.append(_constant("evenkeel_limit_response_seconds", 1, {"app": app["name"]}))
    rules += [
        _constant("evenkeel_limit_volume_bytes", gigabytes * 2**30, {"volume": volume})
        for volume, gigabytes in (budgets or {}).items()
    ]
    rules += [_constant("evenkeel_expected_backup", 1, {"backup": backup}) for backup in backups]
    for target in targets:
        if target["job"] not in ("app", "node", "edge"):
            labels = {"job": target["job"], "instance": target["instance"]}
            # Two probes of one address are one target.
            if (rule := _constant("evenkeel_expected_target", 1, labels)) not in rules:
                rules.append(rule)
    return {"groups": [{"name": "expected", "rules": rules}]}


def _constant(name: str, value: t.Any, labels: dict[str, str]) -> dict[str, t.Any]:
    return {"record": name, "expr": f"vector({float(value):.15g})", "labels": labels}
