# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of the agent for logs and traces, an OpenTelemetry Collector. PRIVATE to the collection.

Pure functions over the options of the role, given as one mapping without the role's prefix.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import _address, _failure, _log_store

STATE = "/var/lib/evenkeel-agent"
SECRETS = "/etc/evenkeel/agent"
UNIT = "otelcol.service"
HEALTH = "127.0.0.1:13133"
MEBIBYTE = 1024 * 1024
# What is redacted anywhere in a line or a value. Written for RE2.
_NAMES = r"(?:password|passwd|passphrase|pwd|secret|credentials?|(?:api|access|private)[_-]?key|token)"
_VALUES = r"""(?:\\+\"[^\"\\]*|\"(?:[^\"\\]|\\.)*|'[^']*|[^\s\"',;&}\\]+)"""
REDACTED = (
    # Within a longer name too (POSTGRES_PASSWORD, accessToken), and in JSON that is a text of JSON, its quotes escaped.
    rf"(?i)[\w-]*{_NAMES}(?:[_-]?(?:key|value|hash|base64))?(?:\\*[\"'])?\s*[:=]\s*{_VALUES}",
    rf"(?i)--[\w-]*{_NAMES}\s+[^\s-]\S*",
    r"(?i)\b(?:bearer|basic)\s+[a-z0-9._~+/=-]{8,}",
    r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s/@]+@",
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    r"\b\d{6,}:AA[A-Za-z0-9_-]{30,}",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
)
LABEL = 'attributes.attrs["com.docker.compose.%s"]'
Options = t.Mapping[str, t.Any]
Operator = dict[str, t.Any]
_sentence = functools.partial(_failure.sentence, "monitoring")


def _literal(text: str) -> str:
    """As the collector reads it back: it takes a dollar for the beginning of a name."""
    return text.replace("$", "$$")


def _retried() -> dict[str, t.Any]:
    """For as long as it takes."""
    return {"enabled": True, "initial_interval": "1s", "max_interval": "30s", "max_elapsed_time": 0}


# -- what is read ------------------------------------------------------------


def _move(source: str, target: str, when: str) -> Operator:
    return {"type": "move", "from": source, "to": target, "if": when}


def _containers(options: Options) -> dict[str, t.Any]:
    """The engine's own files: a line of JSON around each line that a program wrote."""
    named = 'attributes.attrs != nil && attributes.attrs["com.docker.compose.%s"] != nil'
    parsed = "attributes.parsed != nil && attributes.parsed.%s != nil"
    # A colour and the background of an app are stacks of their own.
    stack = _literal(r"^(?P<app>.+?)(?:-(?P<colour>blue|green|background))?$")
    time = {
        "parse_from": "attributes.time",
        "layout_type": "gotime",
        "layout": "2006-01-02T15:04:05.999999999Z07:00",
    }
    operators: list[Operator] = [
        {"type": "json_parser", "timestamp": time},
        # The engine cuts what is longer than 16 KiB.
        {
            "type": "recombine",
            "combine_field": "attributes.log",
            "combine_with": "",
            "is_last_entry": r'attributes.log endsWith "\n"',
            "source_identifier": 'attributes["log.file.path"]',
            "max_log_size": "256KiB",
        },
        {
            "type": "regex_parser",
            "parse_from": LABEL % "project",
            "parse_to": "attributes.stack",
            "regex": stack,
            "if": named % "project",
        },
        _move("attributes.stack.app", 'resource["service.namespace"]', "attributes.stack != nil"),
        _move("attributes.stack.colour", "attributes.colour", 'attributes.stack?.colour not in [nil, ""]'),
        # A replica of a side is a service of its own there.
        {
            "type": "regex_parser",
            "parse_from": LABEL % "service",
            "parse_to": "attributes.stack",
            "regex": _literal(r"^(?P<service>.+?)(?:[.][0-9]+)?$"),
            "if": f'{named % "service"} && attributes.colour in ["blue", "green"]',
        },
        _move("attributes.stack.service", 'resource["service.name"]', "attributes.stack?.service != nil"),
        _move(
            LABEL % "service",
            'resource["service.name"]',
            f'{named % "service"} && resource["service.name"] == nil',
        ),
        {"type": "move", "from": "attributes.log", "to": "body"},
        {
            "type": "json_parser",
            "parse_from": "body",
            "parse_to": "attributes.parsed",
            "on_error": "send_quiet",
            "if": r'body matches "^\\{.*\\}\\s*' + _literal("$") + '"',
        },
        {"type": "severity_parser", "parse_from": "attributes.parsed.level", "if": parsed % "level"},
        {
            "type": "trace_parser",
            "trace_id": {"parse_from": "attributes.parsed.trace_id"},
            "span_id": {"parse_from": "attributes.parsed.span_id"},
            "if": f"{parsed % 'trace_id'} && attributes.parsed.span_id != nil",
        },
        _move("attributes.parsed.release", "attributes.release", parsed % "release"),
    ]
    # The line itself holds all of it; a query can parse it again.
    operators += [
        {"type": "remove", "field": f"attributes{field}", "if": f"attributes{field} != nil"}
        for field in (".parsed", ".attrs", ".stack", ".time", '["log.file.path"]')
    ]
    return {
        "include": list(options["agent_container_logs"]),
        # Else the first lines of a container that came while the agent was away would be lost.
        "start_at": "beginning",
        "include_file_path": True,
        "include_file_name": False,
        "storage": "file_storage",
        # Without it, lines that the memory limiter refuses are lost.
        "retry_on_failure": _retried(),
        "operators": operators,
    }


def _journal() -> dict[str, t.Any]:
    """What systemd keeps of its units and the kernel."""
    levels = {"fatal": ["0", "1", "2"], "error": "3", "warn": "4", "info": ["5", "6"], "debug": "7"}
    return {
        "priority": "info",
        "storage": "file_storage",
        "retry_on_failure": _retried(),
        "operators": [
            # Its own messages about a full buffer would fill it further.
            {"type": "filter", "expr": f'body._SYSTEMD_UNIT == "{UNIT}"'},
            {
                "type": "severity_parser",
                "parse_from": "body.PRIORITY",
                "mapping": levels,
                # The journal has a number.
                "overwrite_text": True,
                "if": "body.PRIORITY != nil",
            },
            {
                "type": "copy",
                "from": "body.SYSLOG_IDENTIFIER",
                "to": 'resource["service.name"]',
                "if": "body.SYSLOG_IDENTIFIER != nil",
            },
            {
                "type": "copy",
                "from": "body._SYSTEMD_UNIT",
                "to": "attributes.unit",
                "if": "body._SYSTEMD_UNIT != nil",
            },
            {"type": "add", "field": 'resource["service.namespace"]', "value": "host"},
            {"type": "move", "from": "body.MESSAGE", "to": "body", "if": "body.MESSAGE != nil"},
        ],
    }


# -- where it goes -----------------------------------------------------------


def _sent(options: Options) -> dict[str, t.Any]:
    """How every exporter waits: on the disk, and for as long as it takes."""
    return {
        "sending_queue": {
            "storage": "file_storage",
            "sizer": "bytes",
            "queue_size": int(options["agent_buffer_megabytes"]) * MEBIBYTE,
            "batch": {"flush_timeout": "1s", "min_size": 64 * 1024, "max_size": 2 * MEBIBYTE},
        },
        "retry_on_failure": _retried(),
    }


def exporters(options: Options, server: str) -> tuple[dict[str, t.Any], list[str], list[str]]:
    """Everything that is sent to, then the names for logs and those for traces."""
    found: dict[str, t.Any] = {}
    logs, traces = [], []
    if store := _log_store.chosen(options):
        name = f"otlp_http/{store.name}"
        found[name] = {**store.exporter(server), **_sent(options)}
        logs.append(name)
    target = options.get("agent_elasticsearch") or {}
    if target.get("url"):
        found["elasticsearch"] = {
            "endpoints": [target["url"]],
            "logs_index": target.get("index") or "evenkeel-logs",
            "mapping": {"mode": "ecs"},
            **({"api_key": f"${{file:{SECRETS}/elasticsearch_api_key}}"} if target.get("api_key") else {}),
            **({"tls": {"ca_file": target["ca_file"]}} if target.get("ca_file") else {}),
            "sending_queue": _sent(options)["sending_queue"],
            # It counts attempts and knows no limit of time.
            "retry": {"enabled": True, "initial_interval": "1s", "max_interval": "30s", "max_retries": 1000000},
        }
        logs.append("elasticsearch")
    if options.get("jaeger_enabled"):
        found["otlp_grpc/jaeger"] = {
            "endpoint": _address.join(server, 14317),
            "tls": {"insecure": True},
            **_sent(options),
        }
        traces.append("otlp_grpc/jaeger")
    return found, logs, traces


def settings(options: Options, name: str, address: str, server: str) -> dict[str, t.Any]:
    """The settings of the agent of one host."""
    sent, logs, traces = exporters(options, server)
    processors = ["memory_limiter", "transform", "redaction"]
    pipelines: dict[str, t.Any] = {}
    if logs:
        pipelines["logs"] = {
            "receivers": ["file_log", "journald", "otlp"],
            "processors": processors,
            "exporters": logs,
        }
    if traces:
        pipelines["traces"] = {"receivers": ["otlp"], "processors": processors, "exporters": traces}
    host = f'set(resource.attributes["host.name"], "{name}")'
    unnamed = 'set(resource.attributes["service.name"], "unnamed") where resource.attributes["service.name"] == nil'
    receivers = {
        "file_log": _containers(options),
        "journald": _journal(),
        "otlp": {
            "protocols": {
                "grpc": {"endpoint": _address.join(address, 4317)},
                "http": {"endpoint": _address.join(address, 4318)},
            }
        },
    }
    figures = {"host": address, "port": 8888, "without_scope_info": True}
    return {
        "extensions": {
            "health_check": {"endpoint": HEALTH},
            "file_storage": {"directory": STATE, "fsync": True, "compaction": {"on_rebound": True, "directory": STATE}},
        },
        "receivers": {key: value for key, value in receivers.items() if logs or key == "otlp"},
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_mib": 200, "spike_limit_mib": 50},
            "transform": {
                "error_mode": "ignore",
                "log_statements": [host, unnamed, r'set(log.body, Trim(log.body, "\n")) where IsString(log.body)'],
                "trace_statements": [host],
            },
            "redaction": {
                "allow_all_keys": True,
                "blocked_values": [_literal(one) for one in [*REDACTED, *(options.get("agent_redact") or [])]],
                "summary": "silent",
            },
        },
        "exporters": sent,
        "service": {
            "extensions": ["health_check", "file_storage"],
            "pipelines": pipelines,
            "telemetry": {
                "logs": {"level": "warn", "disable_stacktrace": True},
                "metrics": {"level": "normal", "readers": [{"pull": {"exporter": {"prometheus": figures}}}]},
            },
        },
    }


# -- what contradicts itself ----------------------------------------------------


def problems(options: Options) -> list[str]:
    """Return one sentence for everything that cannot work."""
    if not options.get("agent_enabled"):
        return []
    found = []
    target = options.get("agent_elasticsearch") or {}
    if not (options.get("logs_enabled") or options.get("jaeger_enabled") or target.get("url")):
        need = "a log store, Jaeger or monitoring_agent_elasticsearch"
        found.append(_sentence("target", "the agent", "none", need, "Set monitoring_logs_enabled"))
    if not options.get("agent_program") and not (options.get("agent_url") and options.get("agent_checksum")):
        need = "a file of the controller, or an archive with its checksum"
        remedy = "Set monitoring_agent_program, or monitoring_agent_url and monitoring_agent_checksum"
        found.append(_sentence("program", "the agent", "none that is known to be whole", need, remedy))
    if _address.WITH_PASSWORD.search(target.get("url") or ""):
        need = "none: many may read it"
        found.append(_sentence("url", "monitoring_agent_elasticsearch", "a password in it", need, "Set api_key"))
    if int(options.get("agent_buffer_megabytes") or 0) < 1:
        size = str(options.get("agent_buffer_megabytes"))
        found.append(_sentence("buffer", "the agent", size, "1 or more", "Set monitoring_agent_buffer_megabytes"))
    for pattern in options.get("agent_redact") or []:
        try:
            re.compile(pattern)
        except re.error as error:
            what = f"{pattern} ({error})"
            found.append(_sentence("pattern", "monitoring_agent_redact", what, "a regular expression", "Correct it"))
    return found
