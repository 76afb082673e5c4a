# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""The verbs of the day: logs, exec, run, restart, scale. Pure decisions on plain data.

*asked* is what was typed, C(fleet) and C(facts) are those of C(_plan), with the part C(details) of each host. What acts
on containers carries the move that it was planned for, and the module that acts asks the edges again.
"""

from __future__ import annotations

import re
import shlex
import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_shape,
    _edge_record,
    _entry,
    _model,
    _names,
    _next_step,
    _plan,
    _ports,
    _stacks,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._model import Model, additions

Data = dict[str, t.Any]
VERBS = ("logs", "exec", "run", "restart", "scale")
# Those that change containers, and so hold the lease.
ACTING = ("run", "restart", "scale")
# Kinds whose containers end by themselves.
ENDING = ("scheduled", "once")
SIDES = ("live", "other", "blue", "green")
_SINCE = re.compile(r"(?:\d+(?:ms|s|m|h))+|\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?")
# What a restart may take beside its waits: the calls themselves.
CALL_SECONDS = 10


def _wrong(option: str, found: object, need: str, remedy: str = "") -> str:
    return f"app_deploy: {option}: found {found}, need {need}. {remedy or f'Set {option}'}."


def words(command: t.Any) -> list[str]:
    """Return the words of a command, which is a text as a shell takes it, or a list; raises C(ValueError)."""
    if isinstance(command, (list, tuple)):
        return [str(word) for word in command]
    return shlex.split(str(command or ""))


def whole(value: t.Any) -> int | None:
    """Return a whole number that was typed; None for anything else."""
    return int(value) if re.fullmatch(r"\d{1,9}", str(value).strip()) else None


def typed_problems(asked: Data) -> list[str]:
    """Return one sentence for each option that is wrong whatever the app is."""
    kind = asked["kind"]
    found = []
    if kind in ("logs", "exec") and asked["side"] not in SIDES:
        found.append(_wrong("side", asked["side"], f"one of {', '.join(SIDES)}"))
    if kind == "logs":
        if asked["since"] and not _SINCE.fullmatch(str(asked["since"])):
            need = "a duration such as 10m or 2h, or a time such as 2026-11-30T10:15:00Z"
            found.append(_wrong("since", asked["since"], need))
        if not 1 <= (whole(asked["lines"]) or 0) <= 100_000:
            found.append(_wrong("lines", asked["lines"], "a number from 1 to 100000"))
    if kind in ("exec", "run"):
        try:
            nothing = not words(asked["command"])
        except ValueError as exc:
            found.append(_wrong("command", f"{asked['command']!r} ({exc})", "one that a shell takes"))
        else:
            if nothing and kind == "exec":
                found.append(_wrong("command", "none", "one", """Type -e '{"command": "..."}'"""))
        if not (whole(asked["timeout"]) or 0):
            found.append(_wrong("timeout", asked["timeout"], "a number of seconds"))
    if kind in ("exec", "run", "scale") and not asked["service"]:
        found.append(_wrong("service", "none", "the service", "Type -e service=..."))
    if kind == "scale" and not (whole(asked["replicas"]) or 0):
        found.append(_wrong("replicas", asked["replicas"] or "none", "a number from 1 on", "Type -e replicas=..."))
    return found


class Live(t.NamedTuple):
    """What is live of an app, as the edges and the records say."""

    app: str
    colour: str
    release: str
    move: int
    model: Model
    digests: Data
    kept: bool


def live(app: str, described: Data | None, fleet: Data, facts: Data) -> Live:
    """Return what is live; without the records the model is that of the inventory."""
    now = _plan.served(_plan.edges_of(fleet, facts))
    release = now["entry"]["release"]
    kept = _plan.kept_release(facts, fleet, release) if release else None
    # A Compose file is not read for this.
    plain = described if described and not _app_shape.is_compose(described) else {"name": app}
    model = kept["content"]["model"] if kept else _model.of(plain)
    digests = kept["content"]["digests"] if kept else {}
    return Live(app, now["entry"]["colour"], release, now["move"], model, digests, kept is not None)


def part_of(now: Live, service: str, colour: str) -> str:
    """Return the part of the app that a service is in: the colour, else what runs beside both."""
    kind = additions(now.model["services"][service])["kind"] if service in now.model["services"] else "web"
    return colour if kind in _model.IN_COLOUR else "background"


def colour_of(now: Live, side: str) -> str:
    """Return the colour that a side stands for."""
    return {"live": now.colour, "other": _entry.other(now.colour) if now.colour else ""}.get(side, side)


def rows(facts: Data, host: str) -> list[Data]:
    """Return the containers of the app's services on a host, without those of one-off commands."""
    found = ((facts.get(host) or {}).get("details") or {}).get("containers") or []
    return [row for row in found if not row["oneoff"]]


def of_service(facts: Data, host: str, part: str, service: str) -> list[Data]:
    """Return the containers of a service on a host, by the number of their replica."""
    found = [
        row for row in rows(facts, host) if row["part"] == part and _names.parse_replica(row["service"])[0] == service
    ]
    return sorted(found, key=lambda row: (_names.parse_replica(row["service"]).number, row["name"]))


def problems(asked: Data, now: Live, fleet: Data, facts: Data, out: t.Collection[str], check_mode: bool) -> list[str]:
    """Return why the verb cannot be done, one sentence each, what was mistyped first."""
    kind, service, app = asked["kind"], asked["service"], now.app
    found = typed_problems(asked)
    names = list(now.model["services"])
    hosts = list(fleet["hosts"])
    if service and service not in names:
        found.append(_wrong(f"service of app {app}", service, f"one of {', '.join(names)}", "Set service"))
    if asked["host"] and kind in ("logs", "exec", "run") and asked["host"] not in hosts:
        found.append(_wrong(f"host of app {app}", asked["host"], f"one of {', '.join(hosts)}", "Set host"))
    if service in names:
        found += _service_problems(asked, now)
    deploy = f"Run '{_next_step.command('deploy', app)}'"
    answered = bool(_plan.edges_of(fleet, facts))
    if answered and not now.colour:
        found.append(_wrong(f"live release of app {app}", "none", "one", deploy))
    if kind in ACTING:
        found += _plan.refusals(app, fleet, facts, out, check_mode)
        served = {edge["entry"]["text"] for edge in _plan.edges_of(fleet, facts, out).values()}
        if len(served) > 1:
            remedy = f"Run '{_next_step.command('status', app)}', which says what to do"
            found.append(_wrong(f"entry of app {app}", " and ".join(sorted(served)), "one on all edges", remedy))
        elif now.colour and not now.kept and fleet["record_host"] in facts:
            found.append(_wrong(f"record of release {now.release} of app {app}", "none", "it", deploy))
    elif not answered:
        remedy = "Start an edge, or name the side with -e side=blue or -e side=green"
        if kind == "exec" or asked["side"] in ("live", "other"):
            found.append(_wrong(f"edges of app {app}", "no answer of any", "one, to know what is live", remedy))
    if found:
        return found
    return _container_problems(asked, now, fleet, facts, out)


def _service_problems(asked: Data, now: Live) -> list[str]:
    """Return what of the options does not fit the service."""
    kind, service = asked["kind"], asked["service"]
    about = additions(now.model["services"][service])
    where = f"service {service} of app {now.app}"
    if kind == "scale":
        if about["kind"] != "worker":
            in_colour = about["kind"] in _model.IN_COLOUR
            remedy = "Set replicas in app_deploy_apps and deploy" if in_colour else "Set service"
            return [_wrong(where, f"kind {about['kind']}", "a worker", remedy)]
        wanted = whole(asked["replicas"]) or 0
        if wanted > about["replicas_max"]:
            need = f"at most {about['replicas_max']}, its replicas_max"
            return [_wrong(f"replicas of {where}", wanted, need, "Raise replicas_max in app_deploy_apps and deploy")]
    if kind == "run" and about["kind"] not in ENDING and not asked["command"]:
        return [_wrong(f"command for {where}", "none", "one", """Type -e '{"command": "..."}'""")]
    remedy, found = "Start it once with playbooks/run.yml", f"kind {about['kind']}"
    if kind == "exec" and about["kind"] in ENDING:
        return [_wrong(where, f"{found}, which has no running container", "another kind", remedy)]
    if kind == "restart" and about["kind"] in ENDING:
        return [_wrong(where, found, "what runs all the time", remedy)]
    return []


def _container_problems(asked: Data, now: Live, fleet: Data, facts: Data, out: t.Collection[str]) -> list[str]:
    kind, service = asked["kind"], asked["service"]
    hosts = [asked["host"]] if asked["host"] else list(fleet["hosts"])
    where = f"service {service} of app {now.app} on {', '.join(hosts)}"
    deploy = f"Run '{_next_step.command('deploy', now.app, release=_next_step.release_of(now.release))}'"
    if kind == "exec" and not _executable(asked, now, fleet, facts):
        return [_wrong(where, "no running container", "one", deploy)]
    if kind == "run" and not _run_host(asked, now, fleet):
        home = _model.home_of(now.model["services"][service], list(fleet["hosts"]))
        return [_wrong(where, f"it at home on {home}", "its own host", f"Set host to {home}")]
    if kind == "restart":
        return _restart_problems(asked, now, fleet, facts, out)
    return []


def _restart_problems(asked: Data, now: Live, fleet: Data, facts: Data, out: t.Collection[str]) -> list[str]:
    found = []
    chosen = restarts(asked, now, fleet, facts)
    if not chosen:
        where = f"service {asked['service']} of app {now.app}" if asked["service"] else f"app {now.app}"
        deploy = f"Run '{_next_step.command('deploy', now.app, release=_next_step.release_of(now.release))}'"
        return [_wrong(where, "no container", "one to restart", deploy)]
    alone: dict[str, list[str]] = {}
    for name in dict.fromkeys(unit["service"] for unit in chosen if unit["server"]):
        for edge, answer in _plan.edges_of(fleet, facts, out).items():
            servers = (answer["backends"].get(now.colour) or {}).get(name) or []
            if sum(bool(server["healthy"]) for server in servers) < 2:
                alone.setdefault(name, []).append(edge)
    for unit in chosen:
        # The other services of the release reach it by its name on their own host.
        inside = additions(now.model["services"][unit["service"]])["kind"] == "internal"
        if inside and sum((one["host"], one["service"]) == (unit["host"], unit["service"]) for one in chosen) < 2:
            alone.setdefault(unit["service"], []).append(unit["host"])
    if asked["outage"]:
        return []
    for name, edges in alone.items():
        found.append(
            sentence(
                "app_deploy",
                "replicas that take requests",
                f"{', '.join(edges)} for service {name} of app {now.app}",
                "fewer than 2",
                "another one while one restarts",
                "Set replicas to 2 and deploy, or accept errors for users with -e outage=true",
            )
        )
    return found


def _executable(asked: Data, now: Live, fleet: Data, facts: Data) -> tuple[str, str] | None:
    """Return host and container that a command runs in."""
    service = asked["service"]
    part = part_of(now, service, colour_of(now, asked["side"]))
    for host in [asked["host"]] if asked["host"] else fleet["hosts"]:
        for row in of_service(facts, host, part, service):
            if row["running"]:
                return host, row["name"]
    return None


def _run_host(asked: Data, now: Live, fleet: Data) -> str:
    """Return the host of a one-off container: the one that was typed, else the first that has the service."""
    hosts = list(fleet["hosts"])
    about = now.model["services"][asked["service"]]
    if additions(about)["kind"] in ("singleton", "scheduled"):
        home = _model.home_of(about, hosts)
        return home if asked["host"] in ("", home) else ""
    return asked["host"] or hosts[0]


def logs(asked: Data, now: Live, fleet: Data, facts: Data) -> dict[str, list[str]]:
    """Return the containers to read on each host."""
    service, colour = asked["service"], colour_of(now, asked["side"])
    found = {}
    for host in [asked["host"]] if asked["host"] else fleet["hosts"]:
        of_host = [row for row in rows(facts, host) if row["part"] in (colour, "background")]
        if service:
            of_host = of_service(facts, host, part_of(now, service, colour), service)
        found[host] = [row["name"] for row in of_host]
    return found


def restarts(asked: Data, now: Live, fleet: Data, facts: Data) -> list[Data]:
    """Return the containers to restart, one after the other, with what each needs."""
    model = now.model
    recorded: Data = next((edge["record"] for edge in _plan.edges_of(fleet, facts).values() if edge["record"]), {})
    ports = _ports.allocate(model, _ports.recorded(recorded))
    targets = {target["name"]: target for target in _edge_record.gate_targets(model, now.colour, ports, fleet["hosts"])}
    found = []
    for name, service in model["services"].items():
        about = additions(service)
        if (asked["service"] and name != asked["service"]) or about["kind"] in ENDING:
            continue
        part = part_of(now, name, now.colour)
        for host in fleet["hosts"]:
            for row in of_service(facts, host, part, name):
                replica = _names.parse_replica(row["service"])
                target = targets.get(f"{row['service']}@{host}") if part != "background" else None
                found.append(
                    {
                        "host": host,
                        "service": name,
                        "stack": f"{now.app}-{part}",
                        "container": row["service"],
                        "server": f"{host}_{replica.number}" if about["kind"] == "web" else "",
                        "targets": [target] if target else [],
                    }
                )
    return found


def scaled(asked: Data, now: Live, fleet: Data, facts: Data) -> Data:
    """Return the background stack of each host with a worker at another number of replicas.

    Another worker that was scaled by hand keeps the number that runs.
    """
    hosts = list(fleet["hosts"])
    found = {}
    for host in hosts:
        services = {}
        for name, service in now.model["services"].items():
            about = additions(service)
            number = about["replicas"]
            if name == asked["service"]:
                number = whole(asked["replicas"]) or number
            elif about["kind"] == "worker":
                number = len(of_service(facts, host, "background", name)) or number
            services[name] = {**service, _model.EXTENSION: {**about, "replicas": number}}
        model = t.cast(Model, {**now.model, "services": services})
        definition = _stacks.background(model, host, hosts, fleet["hosts"][host]["address"])
        found[host] = {
            "definition": definition,
            "images": _stacks.pinned(definition, now.digests),
            "secrets": _stacks.secrets(model, definition),
            "waivers": _stacks.waivers(model, definition),
        }
    return found


def plan(asked: Data, now: Live, fleet: Data, facts: Data, out: t.Collection[str]) -> Data:
    """Return what a verb does, where, and under which move; C(problems) found nothing in it."""
    kind, service = asked["kind"], asked["service"]
    gate = now.model["strategy"]["gate"]
    drain = int(now.model["strategy"]["drain"]["timeout_seconds"])
    counted = _plan.edges_of(fleet, facts, out)
    made: Data = {
        "kind": kind,
        "app": now.app,
        "release": now.release,
        "colour": now.colour,
        "move": now.move,
        "token_floor": _plan.highest_pair(facts).token,
        "edges": [{"name": name, "url": fleet["edges"][name]["status_url"]} for name in counted],
        "gate": {**gate, "release": now.model["release"]},
        "gate_seconds": gate["timeout_seconds"],
        "drain_seconds": drain,
        "limit_seconds": 0,
        "lease_seconds": 0,
        "logs": {},
        "host": "",
        "container": "",
        "stack": "",
        "service": service,
        "words": [],
        "units": [],
        "hosts": {},
    }
    if kind in ("exec", "run"):
        made["words"] = words(asked["command"])
        made["timeout_seconds"] = whole(asked["timeout"])
    if kind == "logs":
        made["logs"] = logs(asked, now, fleet, facts)
    elif kind == "exec":
        made["host"], made["container"] = _executable(asked, now, fleet, facts) or ("", "")
    elif kind == "run":
        part = part_of(now, service, now.colour)
        made.update(host=_run_host(asked, now, fleet), stack=f"{now.app}-{part}")
        made["container"] = service if part == "background" else _names.replica_name(service, 1)
    elif kind == "restart":
        made["units"] = restarts(asked, now, fleet, facts)
        stop = max([0, *(_stop_seconds(now.model["services"][unit["service"]]) for unit in made["units"])])
        # A server that a dead run left out comes back after this time.
        made["limit_seconds"] = int(drain + stop + 3 * gate["timeout_seconds"] + CALL_SECONDS)
        made["lease_seconds"] = made["limit_seconds"] * len(made["units"])
    elif kind == "scale":
        made["hosts"] = scaled(asked, now, fleet, facts)
        made["lease_seconds"] = int(2 * gate["timeout_seconds"])
    return made


def _stop_seconds(service: Data) -> int:
    found = re.match(r"\d+", str(service.get("stop_grace_period") or ""))
    return int(found[0]) if found else 0


def log_lines(answers: t.Mapping[str, t.Sequence[Data]], lost: t.Mapping[str, str]) -> list[str]:
    """Return the lines of all hosts in the order of their time, then each host that did not answer."""
    found = [(row["at"], host, row["container"], row["text"]) for host, lines in answers.items() for row in lines]
    found.sort(key=lambda row: row[0])
    # Nanoseconds tell a reader nothing.
    printed = [f"{at[:23]}Z {host} {container} | {text}" for at, host, container, text in found]
    return [*printed, *(f"{host}: {why}" for host, why in lost.items())]
