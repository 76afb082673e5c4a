# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Receivers and routes made into the settings of Alertmanager. PRIVATE to the collection.

Pure functions over plain data. A secret is always the content of a file; no setting holds one.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _address, _failure

SECRETS = "/run/secrets"
DEADMAN = "deadman"
TEST_LABEL = "evenkeel_test"
SHORTEST_WAIT_SECONDS = 15


class Kind(t.NamedTuple):
    """How Alertmanager names a kind of receiver."""

    section: str
    secret: str
    needs: tuple[str, ...]
    # Fields that hold a secret elsewhere, and here something that others may read.
    addresses: tuple[str, ...] = ()
    # Further secrets that it cannot do without, as fields of Alertmanager.
    more: tuple[str, ...] = ()


# Every receiver of the pinned Alertmanager whose secret can be a file: wechat and sns have none.
KINDS = {
    "discord": Kind("discord_configs", "webhook_url_file", ()),
    "email": Kind("email_configs", "auth_password_file", ("to", "from", "smarthost")),
    "jira": Kind(
        "jira_configs",
        "http_config.basic_auth.password_file",
        ("api_url", "project", "issue_type", "http_config.basic_auth.username"),
        ("api_url",),
    ),
    "msteams": Kind("msteams_configs", "webhook_url_file", ()),
    "msteamsv2": Kind("msteamsv2_configs", "webhook_url_file", ()),
    "opsgenie": Kind("opsgenie_configs", "api_key_file", (), ("api_url",)),
    "pagerduty": Kind("pagerduty_configs", "routing_key_file", (), ("url",)),
    "pushover": Kind("pushover_configs", "token_file", (), ("url",), ("user_key",)),
    "rocketchat": Kind("rocketchat_configs", "token_file", ("api_url", "channel"), ("api_url",), ("token_id",)),
    "slack": Kind("slack_configs", "api_url_file", ("channel",)),
    "telegram": Kind("telegram_configs", "bot_token_file", ("chat_id",), ("api_url",)),
    "victorops": Kind("victorops_configs", "api_key_file", ("routing_key",), ("api_url", "routing_key")),
    "webex": Kind("webex_configs", "http_config.authorization.credentials_file", ("room_id",), ("api_url",)),
    "webhook": Kind("webhook_configs", "url_file", ()),
}
_FIELD = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*\Z")
TEMPLATES = "templates"
# Fields of Alertmanager that hold a secret in the open. Each has a sister that names a file.
PLAINTEXT = frozenset(
    [
        "api_key",
        "api_secret",
        "api_url",
        "app_token",
        "auth_password",
        "auth_secret",
        "bearer_token",
        "bot_token",
        "client_certificate_key",
        "client_secret",
        "credentials",
        "password",
        "routing_key",
        "secret_key",
        "service_key",
        "slack_api_url",
        "smtp_auth_password",
        "smtp_auth_secret",
        "token",
        "token_id",
        "user_key",
        "webhook_url",
    ]
)
_sentence = functools.partial(_failure.sentence, "monitoring")


def secret_name(receiver: str, field: str = "") -> str:
    """The file of a receiver's secret, or of a further one by its field."""
    return f"receiver-{receiver}" + (f"-{field}" if field else "")


def _at(settings: t.Any, path: str) -> t.Any:
    """What stands in a field of settings, which are nested by dots."""
    for key in path.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def _with(settings: dict[str, t.Any], path: str, value: t.Any) -> dict[str, t.Any]:
    """Settings with one more field."""
    key, dot, rest = path.partition(".")
    inner = settings.get(key) if isinstance(settings.get(key), dict) else {}
    return {**settings, key: _with(inner, rest, value) if dot else value}  # type: ignore[arg-type]  # a dict


# -- what cannot be meant ----------------------------------------------------


def problems(
    receivers: list[dict[str, t.Any]], default: str, routes: list[dict[str, t.Any]], deadman: bool = False
) -> list[str]:
    """Return one sentence for each receiver or route that cannot work."""
    found = []
    names = [str(receiver.get("name", "")) for receiver in receivers]
    for name in sorted({name for name in names if names.count(name) > 1}):
        found.append(_sentence("name", f"receiver {name}", f"it {names.count(name)} times", "it once", "Rename one"))
    for receiver in receivers:
        found += _receiver_problems(receiver)
    known = " or ".join(sorted(set(names))) or "a receiver in monitoring_receivers"
    if default and default not in names:
        found.append(_sentence("monitoring_receiver", "the routes", default, known, "Set it to one of them"))
    if receivers and not default:
        found.append(
            _sentence("monitoring_receiver", "the routes", "none", known, "Set it: who gets what no route takes")
        )
    for route in routes:
        if route.get("receiver") not in names:
            found.append(
                _sentence(
                    "receiver", "a route of monitoring_routes", str(route.get("receiver")), known, "Name one of them"
                )
            )
        if not route.get("matchers"):
            where = f"the route to {route.get('receiver')}"
            found.append(_sentence("matchers", where, "none", "at least one", "Set matchers, or leave the route out"))
    if deadman and DEADMAN in names:
        found.append(
            _sentence("name", f"receiver {DEADMAN}", "it", "another name beside monitoring_deadman_url", "Rename it")
        )
    return found


def template_problems(paths: t.Sequence[t.Any]) -> list[str]:
    """Return one sentence for each template that would not be read."""
    names = [str(path).rpartition("/")[2] for path in paths]
    found = [
        _sentence("monitoring_templates", f"file {name}", "another ending", "*.tmpl", "Rename it")
        for name in names
        if not name.endswith(".tmpl")
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    return found + [
        _sentence("monitoring_templates", f"file {name}", "two of that name", "one", "Rename one") for name in twice
    ]


def _receiver_problems(receiver: dict[str, t.Any]) -> t.Iterator[str]:
    where = f"receiver {receiver.get('name')}"
    kind = KINDS.get(str(receiver.get("kind")))
    if kind is None:
        yield _sentence("kind", where, str(receiver.get("kind")), "one of " + ", ".join(sorted(KINDS)), "Set kind")
        return
    settings = receiver.get("settings") or {}
    for key in kind.needs:
        if not _at(settings, key):
            yield _sentence(f"settings.{key}", where, "none", f"one for kind {receiver['kind']}", f"Set settings.{key}")
    if not str(receiver.get("secret") or "").strip() and not (
        receiver["kind"] == "email" and not settings.get("auth_username")
    ):
        yield _sentence("secret", where, "none", f"what belongs into {kind.secret}", "Set secret, from your vault")
    further = receiver.get("secrets") or {}
    for key in [*kind.more, *(key for key in further if key not in kind.more)]:
        if not _FIELD.match(str(key)) or f"{key}_file" == kind.secret:
            need = "a field of Alertmanager without _file, nested by dots, other than that of secret"
            yield _sentence("secrets", where, str(key), need, "Correct secrets")
        elif not str(further.get(key) or "").strip():
            yield _sentence(f"secrets.{key}", where, "none", f"what belongs into {key}_file", f"Set secrets.{key}")
    for secret in sorted(plaintext(settings, kind.addresses)):
        yield _sentence(f"settings.{secret.path}", where, secret.found, secret.need, secret.remedy)


class Plaintext(t.NamedTuple):
    """Where within settings a secret stands in the open, and what should be there."""

    path: str
    found: str
    need: str
    remedy: str


def plaintext(settings: t.Any, addresses: t.Collection[str] = (), above: tuple[str, ...] = ()) -> t.Iterator[Plaintext]:
    """The secrets that stand in the open within settings; *addresses* are fields that others may read."""
    fields = settings if isinstance(settings, dict) else dict(enumerate(settings if isinstance(settings, list) else []))
    for key, value in fields.items():
        keys = (*above, str(key))
        path = ".".join(keys)
        instead = None if path in addresses or value in (None, "", [], {}) else _instead(keys)
        if instead:
            yield Plaintext(path, "a secret in the open", *instead)
        elif isinstance(value, str) and _address.WITH_PASSWORD.search(value):
            yield Plaintext(path, "a password in the address", "it without", "Take the password out")
        else:
            yield from plaintext(value, addresses, keys)


def _instead(keys: tuple[str, ...]) -> tuple[str, str] | None:
    """What a field that holds a secret in the open should be instead, and how; none if it holds no secret."""
    path = ".".join(keys)
    # A webhook's own url is one; further down it is a link that people follow.
    if keys[-1] in PLAINTEXT or keys == ("url",):
        return f"{path}_file, or secret", "Set secret, which becomes a file only Alertmanager reads"
    if keys[-2:] == ("tls_config", "key"):
        return f"{path}_file", f"Set settings.{path}_file"
    if keys[-1] == "secrets" and keys[-3:-2] == ("http_headers",):
        files = ".".join((*keys[:-1], "files"))
        return files, f"Set settings.{files}"
    if keys[-1] == "proxy_connect_header":
        return "none, since no file can hold it", "Use a proxy that asks for no header"
    return None


# -- the settings ------------------------------------------------------------


def settings(
    receivers: list[dict[str, t.Any]],
    default: str,
    routes: list[dict[str, t.Any]],
    waits: dict[str, t.Any],
    deadman: bool = False,
    factor: float = 1.0,
    templates: bool = False,
) -> dict[str, t.Any]:
    """Return what Alertmanager reads; *templates* says whether there are files of them beside it."""
    nobody = "nobody"
    group = _seconds(waits["group_seconds"], factor)
    interval = _seconds(waits["interval_seconds"], factor)
    tree: list[dict[str, t.Any]] = []
    if deadman:
        tree.append(
            {
                "receiver": DEADMAN,
                "matchers": ['alertname="Watchdog"'],
                "group_wait": "0s",
                "group_interval": _seconds(60, factor),
                # Shorter than the interval of the calls, else every second one is left out.
                "repeat_interval": _seconds(45, factor),
            }
        )
    tree.append({"receiver": nobody, "matchers": ['alertname="Watchdog"']})
    for receiver in receivers:
        test = f'{TEST_LABEL}="{receiver["name"]}"'
        tree.append({"receiver": receiver["name"], "matchers": [test], "group_wait": "0s", "group_by": ["..."]})
    tree += [
        {
            "receiver": route["receiver"],
            "matchers": list(route["matchers"]),
            "continue": bool(route.get("continue", False)),
        }
        for route in routes
    ]
    if any(route.get("continue") for route in routes):
        # With continue on the last route an alert would reach no other: the root takes only what no route took.
        tree.append({"receiver": default or nobody})
    made = [{"name": nobody}, *[_receiver(receiver) for receiver in receivers]]
    if deadman:
        made.append(
            {
                "name": DEADMAN,
                "webhook_configs": [{"url_file": f"{SECRETS}/{secret_name(DEADMAN)}", "send_resolved": False}],
            }
        )
    return {
        "route": {
            "receiver": default or nobody,
            "group_by": ["alertname", "app", "instance"],
            "group_wait": group,
            "group_interval": interval,
            "repeat_interval": f"{int(waits['repeat_hours'])}h",
            "routes": tree,
        },
        "inhibit_rules": [
            {
                "source_matchers": [f'alertname="{one.source}"'],
                "target_matchers": [one.target],
                "equal": list(one.equal),
            }
            for one in INHIBITIONS
        ],
        "receivers": made,
        # Beside the file that names them, wherever it is mounted.
        **({"templates": [f"{TEMPLATES}/*.tmpl"]} if templates else {}),
    }


class Inhibition(t.NamedTuple):
    """An alert beside which others are no news, where these labels say that they are of the same thing."""

    source: str
    # It may match the source, too: Alertmanager lets no alert hide one of its own kind.
    target: str
    # The source carries all of them, since what neither side carries counts as equal.
    equal: tuple[str, ...]


# The same thing, only worse: not its cause, and not what goes wrong beside it.
INHIBITIONS = (
    # What is measured on a host that is gone.
    Inhibition("HostDown", 'pack=~"host|docker|edge|monitoring"', ("instance",)),
    # The engine measures the sizes of volumes.
    Inhibition("DockerDown", 'alertname="MetricsFileOld"', ("instance",)),
    Inhibition("HostDiskAlmostFull", 'alertname="HostDiskFills"', ("instance", "mountpoint")),
    Inhibition("ContainerOutOfMemory", 'alertname="ContainerMemoryAlmostFull"', ("instance", "container")),
    Inhibition("CertificateEnds", 'alertname="CertificateNearItsEnd"', ("instance", "probe")),
    # What looks back at the minutes before.
    Inhibition("DatabaseConnectionFailed", 'pack="postgresql"', ("instance",)),
    Inhibition("RedisDown", 'pack="redis"', ("instance",)),
    # With no server, all that the edge can answer is an error.
    Inhibition(
        "AppWithoutServer",
        'alertname=~"AppServerMissing|HighErrorRate|HighResponseTime"',
        ("app", "service", "colour"),
    ),
    Inhibition("QueueStuck", 'alertname="QueueBacklog"', ("instance", "app", "key")),
    Inhibition("NoBotsRunning", 'alertname="TelegramBotsDown"', ("app",)),
    # A bot has one container.
    Inhibition("TelegramBotsDown", 'alertname="ContainerUnhealthy"', ("app", "service")),
    Inhibition("BackupArchiveFails", 'alertname="BackupArchiveLags"', ("instance", "backup")),
    Inhibition("BackupRecoveryPointOld", 'alertname="BackupArchiveLags"', ("instance", "backup")),
    # Old figures know of no drill since.
    Inhibition("BackupFiguresOld", 'alertname="BackupDrillStale"', ("backup",)),
    Inhibition("LogAgentLosesLogs", 'alertname="LogAgentCannotSend"', ("instance", "exporter")),
    Inhibition("SLOBurnsFast", 'alertname="SLOBurnsSlowly"', ("slo",)),
)


def _receiver(receiver: dict[str, t.Any]) -> dict[str, t.Any]:
    kind = KINDS[receiver["kind"]]
    made = {"send_resolved": True, **(receiver.get("settings") or {})}
    if str(receiver.get("secret") or "").strip():
        made = _with(made, kind.secret, f"{SECRETS}/{secret_name(receiver['name'])}")
    for field in receiver.get("secrets") or {}:
        made = _with(made, f"{field}_file", f"{SECRETS}/{secret_name(receiver['name'], field)}")
    return {"name": receiver["name"], kind.section: [made]}


def secrets(receivers: list[dict[str, t.Any]], deadman_url: str, service: str, uid: int) -> list[dict[str, t.Any]]:
    """Return the secrets as compose_stack takes them."""
    wanted: list[tuple[str, t.Any]] = []
    for receiver in receivers:
        name = receiver["name"]
        wanted.append((secret_name(name), receiver.get("secret")))
        wanted += [(secret_name(name, field), value) for field, value in (receiver.get("secrets") or {}).items()]
    wanted.append((secret_name(DEADMAN), deadman_url))
    return [
        {"name": name, "service": service, "uid": uid, "value": value}
        for name, value in wanted
        if str(value or "").strip()
    ]


def _seconds(value: t.Any, factor: float) -> str:
    return f"{max(1, round(float(value) * factor))}s"


# -- the waits of rules ------------------------------------------------------


def scaled(rules: dict[str, t.Any], factor: float) -> dict[str, t.Any]:
    """Return a rule file with every C(for) multiplied by one factor.

    None gets so short that a target not scraped yet, after a start of Prometheus, would count as missing.
    """
    if factor == 1:
        return rules
    groups = []
    for group in rules["groups"]:
        made = [
            {**rule, "for": _wait(duration(rule["for"]), factor)} if "for" in rule else dict(rule)
            for rule in group["rules"]
        ]
        groups.append({**group, "rules": made})
    return {"groups": groups}


def _wait(seconds: int, factor: float) -> str:
    return f"{max(min(seconds, SHORTEST_WAIT_SECONDS), round(seconds * factor))}s"


def duration(text: str) -> int:
    """Seconds of a duration as Prometheus writes it, of one unit."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]
