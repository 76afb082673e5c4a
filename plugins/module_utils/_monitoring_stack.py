# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The monitoring stack as compose_stack takes it, and contradictions in its options. PRIVATE to the collection.

Pure functions over the options of the role, given as one mapping without the role's prefix.
"""

from __future__ import annotations

import functools
import json
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _address,
    _alerting,
    _compose_policy,
    _failure,
    _log_store,
    _slo,
)

NOBODY = 65534
UIDS = {"prometheus": NOBODY, "alertmanager": NOBODY, "blackbox": NOBODY, "postgresql": NOBODY}
UIDS |= {"loki": 10001, "victorialogs": 10001, "jaeger": 10001, "grafana": 472, "redis": 59000}
MEMORY = {"prometheus": "1g", "alertmanager": "128m", "blackbox": "64m", "postgresql": "64m", "redis": "64m"}
MEMORY |= {"loki": "768m", "victorialogs": "384m", "grafana": "384m", "jaeger": "512m"}
CPUS = {"prometheus": 1.0, "loki": 1.0, "victorialogs": 1.0, "grafana": 0.5, "jaeger": 0.5}
PACKS = (
    "host",
    "docker",
    "app",
    "edge",
    "postgresql",
    "backup",
    "certificates",
    "redis",
    "queue",
    "singleton",
    "monitoring",
)
# The port of each part that has pages for people.
PAGES = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000, "jaeger": 16686, "victorialogs": 9428}
# The one folder of its image that its user may write to, so that a fresh volume there is that user's as well.
VICTORIALOGS_DATA = "/tmp/victorialogs"  # noqa: S108 - a volume inside the container
UNASKED = "Its image has no program for a check; the role checks it from outside, and TargetGone monitors it."
Options = t.Mapping[str, t.Any]
_sentence = functools.partial(_failure.sentence, "monitoring")


def parts(options: Options) -> list[str]:
    """The programs of the stack that are there once."""
    store = _log_store.chosen(options)
    found = ["prometheus", "alertmanager", "blackbox"]
    found += ["grafana"] if options.get("grafana_enabled") else []
    found += [store.name] if store else []
    return found + (["jaeger"] if options.get("jaeger_enabled") else [])


def _service(options: Options, part: str, **more: t.Any) -> dict[str, t.Any]:
    given = (options.get("resources") or {}).get(part) or {}
    memory = given.get("memory") or MEMORY[part]
    return {
        "image": options["images"][part],
        "user": f"{UIDS[part]}:{UIDS[part]}",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - a tmpfs inside the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "cpus": given.get("cpus") or CPUS.get(part, 0.25),
        "pids_limit": given.get("pids") or 256,
        "restart": "unless-stopped",
        "logging": _compose_policy.LOGGING,
        **more,
    }


def _settings(options: Options, part: str) -> str:
    return f"{options['base_dir']}/{part}:/etc/evenkeel:ro"


def _page(options: Options, part: str) -> list[str]:
    """The ports of a part with pages: on loopback, and on the private address if the edges forward to it."""
    port = PAGES[part]
    addresses = ["127.0.0.1", *([options["address"]] if (options.get("public_urls") or {}).get(part) else [])]
    return [f"{_address.join(address, port)}:{port}" for address in addresses]


def _linked(options: Options, part: str) -> list[str]:
    """The option that sets the public URL in the links of a Prometheus program."""
    url = (options.get("public_urls") or {}).get(part)
    return [f"--web.external-url={url}"] if url else []


def public_ports(urls: t.Mapping[str, str]) -> list[str]:
    """The ports that the edges connect to."""
    return sorted(str(PAGES[part]) for part in urls if part in PAGES)


def _health(*words: str) -> dict[str, t.Any]:
    return {"test": ["CMD", *words], "interval": "15s", "timeout": "5s", "retries": 4, "start_period": "60s"}


def _log_service(options: Options, store: _log_store.Store) -> dict[str, t.Any]:
    """The log store. It listens on the private address, since the agents of all hosts send to it."""
    private = f"{_address.join(options['address'], store.port)}:{store.port}"
    if store.name == "loki":
        return _service(
            options,
            store.name,
            command=["-config.file=/etc/evenkeel/current/loki.yml"],
            ports=[private],
            volumes=["loki:/loki", _settings(options, "loki")],
        )
    retention = options["logs_retention"]
    made = _service(
        options,
        store.name,
        command=[
            f"-storageDataPath={VICTORIALOGS_DATA}",
            f"-retentionPeriod={int(retention['days'])}d",
            f"-retention.maxDiskSpaceUsageBytes={int(retention['gigabytes'])}GiB",
            "-http.disableCORS",
            "-loggerLevel=WARN",
        ],
        ports=[f"127.0.0.1:{store.port}:{store.port}", private],
        volumes=["victorialogs:/tmp"],
        healthcheck=_health("wget", "-q", "--spider", f"http://127.0.0.1:{store.port}/health"),
    )
    del made["tmpfs"]
    return made


def _plugins(options: Options, store: _log_store.Store | None) -> dict[str, str]:
    """The plugin of Grafana that reads VictoriaLogs."""
    plugin = options.get("grafana_victorialogs_plugin")
    return {"GF_PLUGINS_PREINSTALL_SYNC": plugin} if plugin and store and store.name == "victorialogs" else {}


def definition(options: Options) -> dict[str, t.Any]:
    """The stack as in a compose file."""
    retention, public = options["prometheus_retention"], options.get("public_urls") or {}
    services = {
        "prometheus": _service(
            options,
            "prometheus",
            command=[
                "--config.file=/etc/evenkeel/current/prometheus.yml",
                "--storage.tsdb.path=/prometheus",
                f"--storage.tsdb.retention.time={int(retention['days'])}d",
                f"--storage.tsdb.retention.size={int(retention['gigabytes'])}GB",
                # Alertmanager forgets an alert after four times as long. With the minute that is the default a dead
                # Prometheus would be noticed after five minutes and more.
                "--rules.alert.resend-delay=30s",
                *_linked(options, "prometheus"),
            ],
            ports=_page(options, "prometheus"),
            volumes=["prometheus:/prometheus", _settings(options, "prometheus")],
            healthcheck=_health("promtool", "check", "ready", "--url=http://127.0.0.1:9090"),
        ),
        "alertmanager": _service(
            options,
            "alertmanager",
            command=[
                "--config.file=/etc/evenkeel/current/alertmanager.yml",
                "--storage.path=/alertmanager",
                "--cluster.listen-address=",
                "--enable-feature=receiver-name-in-metrics",
                *_linked(options, "alertmanager"),
            ],
            ports=_page(options, "alertmanager"),
            volumes=["alertmanager:/alertmanager", _settings(options, "alertmanager")],
            healthcheck=_health("amtool", "--alertmanager.url=http://127.0.0.1:9093", "cluster", "show"),
        ),
        "blackbox": _service(
            options,
            "blackbox",
            command=["--config.file=/etc/evenkeel/current/blackbox.yml"],
            ports=["127.0.0.1:9115:9115"],
            volumes=[_settings(options, "blackbox")],
        ),
    }
    volumes: dict[str, t.Any] = {"prometheus": {}, "alertmanager": {}}
    store = _log_store.chosen(options)
    if store:
        services[store.name] = _log_service(options, store)
        volumes[store.name] = {}
    if options.get("grafana_enabled"):
        services["grafana"] = _service(
            options,
            "grafana",
            environment={
                "GF_PATHS_PROVISIONING": "/etc/evenkeel/current/provisioning",
                "GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/grafana_password",
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
                "GF_USERS_ALLOW_SIGN_UP": "false",
                "GF_SECURITY_DISABLE_GRAVATAR": "true",
                "GF_SECURITY_COOKIE_SAMESITE": "strict",
                **({"GF_SERVER_ROOT_URL": public["grafana"]} if public.get("grafana") else {}),
                **_plugins(options, store),
            },
            ports=_page(options, "grafana"),
            volumes=["grafana:/var/lib/grafana", _settings(options, "grafana")],
            healthcheck=_health("wget", "-q", "--spider", "http://127.0.0.1:3000/api/health"),
        )
        volumes["grafana"] = {}
    if options.get("jaeger_enabled"):
        services["jaeger"] = _service(
            options,
            "jaeger",
            command=["--config", "/etc/evenkeel/current/jaeger.yml"],
            ports=[
                *_page(options, "jaeger"),
                "127.0.0.1:13134:13133",
                f"{_address.join(options['address'], 14317)}:4317",
            ],
            # The one folder of its image that its user may write to, so that a fresh volume is that user's as well.
            volumes=["jaeger:/tmp", _settings(options, "jaeger")],
        )
        del services["jaeger"]["tmpfs"]
        volumes["jaeger"] = {}
    for one in options.get("postgresql") or []:
        services[f"postgresql-{one['name']}"] = _service(
            options,
            "postgresql",
            # Off by default, and what DatabaseReplicaDisconnected asks.
            command=["--collector.stat_wal_receiver"],
            environment={
                "DATA_SOURCE_URI": (
                    f"{_address.join(one['host'], one.get('port') or 5432)}/{one.get('database') or 'postgres'}"
                    f"?sslmode={one.get('sslmode') or 'require'}"
                ),
                "DATA_SOURCE_USER": one["user"],
                "DATA_SOURCE_PASS_FILE": "/run/secrets/password",
            },
        )
    for one in options.get("redis") or []:
        keys = ",".join(one.get("keys") or [])
        services[f"redis-{one['name']}"] = _service(
            options,
            "redis",
            environment={
                "REDIS_ADDR": f"redis://{one['address']}",
                "REDIS_PASSWORD_FILE": "/run/secrets/passwords.json",
                **({"REDIS_USER": one["user"]} if one.get("user") else {}),
                **({"REDIS_EXPORTER_CHECK_SINGLE_KEYS": keys} if keys else {}),
            },
        )
    return {"services": services, "volumes": volumes}


def waivers(made: dict[str, t.Any]) -> list[dict[str, str]]:
    """The rules that do not hold, each with its reason."""
    return [
        {"service": name, "rule": "healthcheck", "reason": UNASKED}
        for name, service in made["services"].items()
        if "healthcheck" not in service
    ]


def secrets(options: Options) -> list[dict[str, t.Any]]:
    """The secrets as compose_stack takes them."""
    found = _alerting.secrets(
        options.get("receivers") or [], options.get("deadman_url") or "", "alertmanager", UIDS["alertmanager"]
    )
    for one in options.get("postgresql") or []:
        found.append(_secret("password", f"postgresql-{one['name']}", UIDS["postgresql"], one["password"]))
    for one in options.get("redis") or []:
        # The exporter looks passwords up by the address, with the user in it where there is one.
        login = f"{one['user']}@" if one.get("user") else ""
        known = json.dumps({f"redis://{login}{one['address']}": one.get("password") or ""})
        found.append(_secret("passwords.json", f"redis-{one['name']}", UIDS["redis"], known))
    if options.get("grafana_enabled"):
        found.append(_secret("grafana_password", "grafana", UIDS["grafana"], options["grafana_password"]))
    return found


def _secret(name: str, service: str, uid: int, value: str) -> dict[str, t.Any]:
    return {"name": name, "service": service, "uid": uid, "value": value}


# -- what cannot be meant ----------------------------------------------------


def problems(
    options: Options, apps: t.Collection[str], disk_gigabytes: float = 0, hosts: t.Collection[str] | None = None
) -> list[str]:
    """Return one sentence for everything that cannot work, before anything is changed."""
    found = _alerting.problems(
        options.get("receivers") or [],
        options.get("receiver") or "",
        options.get("routes") or [],
        bool(options.get("deadman_url")),
    )
    found += _alerting.template_problems(options.get("templates") or [])
    found += _slo.problems(options.get("slos") or [], apps)
    name = options.get("log_store") or "loki"
    if name not in _log_store.STORES:
        stores = " or ".join(_log_store.STORES)
        found.append(_sentence("monitoring_log_store", "the stack", name, stores, "Set it"))
    for pack in options.get("packs") or []:
        if pack not in PACKS:
            found.append(_sentence("monitoring_packs", "the rules", pack, "one of " + ", ".join(PACKS), "Name one"))
    if float(options.get("wait_factor") or 0) <= 0:
        found.append(
            _sentence("monitoring_wait_factor", "the waits", str(options.get("wait_factor")), "above 0", "Set it")
        )
    files = [path.rpartition("/")[2] for path in options.get("rule_files") or []]
    for name in sorted({name for name in files if files.count(name) > 1}):
        found.append(_sentence("name", f"{name} of monitoring_rule_files", "it twice", "it once", "Rename one"))
    for kind in ("postgresql", "redis", "probes", "apps"):
        names = [one["name"] for one in options.get(kind) or []]
        for name in sorted({name for name in names if names.count(name) > 1}):
            where = f"{name} of monitoring_{kind}"
            found.append(_sentence("name", where, f"it {names.count(name)} times", "it once", "Rename one"))
    for one in options.get("postgresql") or []:
        where = f"{one['name']} of monitoring_postgresql"
        if not one.get("password"):
            found.append(_sentence("password", where, "none", "that of its user", "Set password, from your vault"))
        elif re.search(r"\s", str(one["password"])):
            need = "none, since the exporter reads no further"
            found.append(_sentence("password", where, "a space or a line's end in it", need, "Set another"))
        admin = one.get("admin") or {}
        if admin and one["user"] == admin.get("user", "postgres"):
            remedy = "Set user to a name of its own"
            found.append(_sentence("user", where, f"{one['user']}, the one that makes it", "another", remedy))
        home = admin.get("host")
        if home and hosts is not None and home not in hosts:
            remedy = "Set admin.host, or leave admin out and make the user by hand"
            found.append(_sentence("admin.host", where, home, "a host of the inventory", remedy))
    for part, url in (options.get("public_urls") or {}).items():
        where = f"{part} of monitoring_public_urls"
        if part not in PAGES:
            found.append(_sentence("part", where, part, "one of " + ", ".join(PAGES), "Name one"))
        elif part not in parts(options):
            remedy = "Set monitoring_log_store" if part == "victorialogs" else f"Set monitoring_{part}_enabled"
            found.append(_sentence("part", where, "it switched off", "it on", remedy))
        if not re.fullmatch(r"https://[^/]+/?", str(url)):
            need = "https:// and a name without a path, since a login goes with it"
            found.append(_sentence("URL", where, str(url), need, "Set it"))
    if options.get("grafana_enabled") and not options.get("grafana_password"):
        found.append(_sentence("monitoring_grafana_password", "Grafana", "none", "one", "Set it, from your vault"))
    for one in options.get("apps") or []:
        if apps and one["name"] not in apps:
            where = "an item of monitoring_apps"
            found.append(_sentence("name", where, one["name"], " or ".join(sorted(apps)), "Name an app"))
    found += _queues(options)
    for one in options.get("probes") or []:
        if _address.WITH_PASSWORD.search(one["url"]):
            where = f"{one['name']} of monitoring_probes"
            found.append(_sentence("url", where, "a password in it", "none: many may read it", "Leave it out"))
        if apps and one.get("app") and one["app"] not in apps:
            where = f"{one['name']} of monitoring_probes"
            found.append(_sentence("app", where, one["app"], " or ".join(sorted(apps)), "Name an app, or leave it out"))
    return found + _retention(options, disk_gigabytes)


def _queues(options: Options) -> list[str]:
    """Each queue needs one Redis to measure it."""
    found = []
    stores = sorted({one["name"] for one in options.get("redis") or []})
    need = " or ".join(stores) or "one in monitoring_redis"
    queues = [(app["name"], queue) for app in options.get("apps") or [] for queue in app.get("queues") or []]
    places = [(queue.get("redis") or (stores[0] if len(stores) == 1 else None), queue["key"]) for _app, queue in queues]
    for (app, _queue), (store, key) in zip(queues, places, strict=True):
        where = f"queue {key} of {app} in monitoring_apps"
        if store not in stores:
            found.append(_sentence("redis", where, str(store or "none"), need, "Set redis to the name of its server"))
        elif (times := places.count((store, key))) > 1:
            found.append(_sentence("key", where, f"it {times} times", f"it once of {store}", "Leave all but one out"))
    return found


def budgets(options: Options) -> dict[str, float]:
    """Gigabytes that each volume may take, by its name."""
    store = _log_store.chosen(options)
    kept = {"prometheus": "prometheus_retention"}
    kept |= {store.name: "logs_retention"} if store else {}
    kept |= {"jaeger": "jaeger_retention"} if options.get("jaeger_enabled") else {}
    found = {part: float((options.get(name) or {}).get("gigabytes") or 0) for part, name in kept.items()}
    return {part: gigabytes for part, gigabytes in found.items() if gigabytes}


def _retention(options: Options, disk: float) -> list[str]:
    found = []
    for name in ("prometheus_retention", "logs_retention", "jaeger_retention"):
        for key, value in (options.get(name) or {}).items():
            if float(value) <= 0:
                where = f"monitoring_{name}"
                found.append(_sentence(key, where, str(value), "above 0: nothing is kept for ever", f"Set {key}"))
    kept = int((options.get("prometheus_retention") or {}).get("days") or 0)
    for slo in options.get("slos") or []:
        days = int(slo.get("window_days") or _slo.DEFAULTS["window_days"])
        if 0 < kept < days:
            remedy = "Set window_days lower, or days of monitoring_prometheus_retention higher"
            found.append(
                _sentence("window_days", f"SLO {slo.get('name')}", str(days), f"at most the {kept} days kept", remedy)
            )
    wanted = sum(budgets(options).values())
    if disk and wanted > 0.8 * disk:
        found.append(
            _sentence(
                "retention",
                "the disk of the data",
                f"{wanted:g} GB of monitoring_prometheus_retention and those of logs and traces",
                f"at most {0.8 * disk:.0f} GB, four fifths of it",
                "Set gigabytes lower, or enlarge the disk",
            )
        )
    return found
