# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What differs between inventory, records, edges and engines of an app, each with the command that mends it.

Pure functions on the answers of the hosts, as C(_plan) takes them, with the part C(details).
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_status,
    _clock,
    _edge_record,
    _entry,
    _model,
    _names,
    _next_step,
    _plan,
    _ports,
    _verbs,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._model import additions
from ansible_collections.evenkeel.platform.plugins.module_utils._verbs import Live

Data = dict[str, t.Any]
SITE = "ansible-playbook site.yml"


class Finding(t.NamedTuple):
    """One difference, and the command that mends it."""

    where: str
    what: str
    command: str

    def line(self) -> str:
        return f"  {self.where}: {self.what}. Run {self.command}"


class Case:
    """One app with what its hosts answered."""

    def __init__(
        self,
        app: str,
        described: Data | None,
        fleet: Data,
        facts: Data,
        lost: Data,
        now: float,
        wanted: _model.Model | None = None,
    ) -> None:
        """*wanted* is the model of what the inventory describes, where it could be read."""
        self.app = app
        self.wanted = wanted
        self.described = described
        self.fleet = fleet
        self.facts = facts
        self.lost = lost
        self.now = now
        self.edges = _plan.edges_of(fleet, facts)
        self.live: Live = _verbs.live(app, described, fleet, facts)
        self.records = _plan.releases_of(facts, fleet)
        self.again = _next_step.command("deploy", app, release=_next_step.release_of(self.live.release))

    def command(self, verb: str, **options: str) -> str:
        return _next_step.command(verb, self.app, **options)


def findings(case: Case) -> list[Finding]:
    """Return every difference, those that users notice first."""
    found = [*_silent(case), *_of_edges(case)]
    if case.live.colour:
        found += [*_of_engines(case), *_of_routes(case)]
    return [*found, *_of_records(case), *_of_inventory(case)]


def lines(case: Case, findings_of: t.Sequence[Finding]) -> list[str]:
    """Return the report of an app."""
    serves = f"{case.live.colour} serves {case.live.release}" if case.live.colour else "no release is live"
    if not findings_of:
        return [f"{case.app}: {serves}, nothing differs"]
    count = f"{len(findings_of)} findings" if len(findings_of) > 1 else "1 finding"
    return [f"{case.app}: {serves}, {count}", *(finding.line() for finding in findings_of)]


def _silent(case: Case) -> t.Iterator[Finding]:
    """Name the hosts without an answer."""
    names = dict.fromkeys([*case.fleet["edges"], *case.fleet["hosts"], case.fleet["record_host"]])
    for name in names:
        if name not in case.facts:
            why = case.lost.get(name, _app_status.SILENT)
            yield Finding(name, why, f"ansible {name} --module-name ansible.builtin.ping, and bring it back")


def _of_edges(case: Case) -> t.Iterator[Finding]:
    """Compare the edges with each other and with their own files."""
    now = _plan.served(case.edges)
    declared = _plan.declared_out(case.edges)
    for name, edge in case.edges.items():
        if not edge.get("running", True):
            yield Finding(name, "HAProxy does not run", f"systemctl start haproxy on {name}")
            continue
        if name in declared:
            yield Finding(name, "it is declared out", case.again)
        elif not edge["confirmed"]:
            yield Finding(name, "its entry is not confirmed, so it answers 503", case.again)
        elif edge["entry"]["text"] != now["entry"]["text"]:
            yield Finding(name, f"it serves {edge['entry']['text']}, the others {now['entry']['text']}", case.again)
        for problem in [*edge["drift"], *edge["record_problems"]]:
            yield Finding(name, problem.rstrip("."), case.again if case.live.colour else f"{SITE} --tags edge")
        if not edge.get("loaded", True):
            yield Finding(name, "HAProxy runs on another configuration than its files", f"{SITE} --tags edge")
        if edge.get("maintenance"):
            command = case.command("maintenance", enabled="false")
            yield Finding(name, "it shows the maintenance page", command)
        details: Data = case.facts[name].get("details") or {}
        for server, until in (details.get("draining") or {}).items():
            when = "at once" if until <= case.now else f"by itself at {_clock.iso(until)}"
            what = f"server {server} takes no requests since a restart that ended early, and comes back {when}"
            yield Finding(name, what, case.command("restart", service=server.split("/")[1]))
        yield from _of_units(case, name, "edge")


def _of_units(case: Case, host: str, role: str) -> t.Iterator[Finding]:
    units: t.Mapping[str, str] = (case.facts[host].get("details") or {}).get("units") or {}
    for unit, state in units.items():
        if state != "active":
            tag = "edge" if role == "edge" else "app_deploy"
            yield Finding(host, f"{unit} is {state or 'not known'}", f"{SITE} --tags {tag}")


def _of_engines(case: Case) -> t.Iterator[Finding]:
    """Compare what runs on each app host with what the live release says."""
    for host in case.fleet["hosts"]:
        if host not in case.facts:
            continue
        about: Data = case.facts[host].get("host") or {}
        if not about.get("engine", True):
            yield Finding(host, "Docker does not answer", f"systemctl start docker on {host}")
            continue
        yield from _of_services(case, host)
        yield from _of_idle(case, host, about)
        yield from _of_units(case, host, "host")
        yield from _of_jobs(case, host)


def _of_services(case: Case, host: str) -> t.Iterator[Finding]:
    live, hosts = case.live, list(case.fleet["hosts"])
    for name, service in live.model["services"].items():
        about = additions(service)
        part = _verbs.part_of(live, name, live.colour)
        seen = _verbs.of_service(case.facts, host, part, name)
        away = about["kind"] in ("singleton", "scheduled") and _model.home_of(service, hosts) != host
        if away:
            for row in seen:
                home = _model.home_of(service, hosts)
                yield Finding(host, f"{row['name']} is here, its host is {home}", case.again)
            continue
        if about["kind"] in _verbs.ENDING:
            continue
        yield from _of_replicas(case, host, name, about["replicas"], seen)
        wanted = live.digests.get(service["image"], "")
        for row in seen:
            if wanted and row["image"] and row["image"] != wanted:
                yield Finding(host, f"{row['name']} runs image {row['image']}, the release {wanted}", case.again)


def _of_replicas(case: Case, host: str, name: str, replicas: int, seen: list[Data]) -> t.Iterator[Finding]:
    kind = additions(case.live.model["services"][name])["kind"]
    numbers = {_names.parse_replica(row["service"]).number or 1 for row in seen}
    missing = sorted(set(range(1, replicas + 1)) - numbers)
    if missing:
        what = f"{len(missing)} of {replicas} containers of {name} are missing"
        yield Finding(host, what if replicas > 1 else f"the container of {name} is missing", case.again)
    if len(seen) > replicas and kind == "worker":
        what = f"{len(seen)} containers of {name}, the release has {replicas}: it was scaled by hand"
        yield Finding(host, what, case.command("scale", service=name, replicas=str(replicas)))
    for row in seen:
        if not row["running"]:
            yield Finding(host, f"{row['name']} does not run, its exit code is {row['exit']}", case.again)
        elif row["problem"]:
            yield Finding(host, f"{row['name']} is {row['problem']}", case.command("restart", service=name))


def _of_idle(case: Case, host: str, about: Data) -> t.Iterator[Finding]:
    """Look at the side that is not live: once it is no longer warm, an order stops it."""
    colour = _entry.other(case.live.colour)
    running = sum(row["part"] == colour and row["running"] for row in _verbs.rows(case.facts, host))
    warm = _app_status.warm(case.edges, case.now)
    if running and warm.get("colour") != colour and colour not in (about.get("orders") or []):
        what = f"{running} containers of {colour} run, which is neither live nor warm, and nothing stops them"
        yield Finding(host, what, case.command("deploy", release="<release>") + ", which replaces them")


def _of_jobs(case: Case, host: str) -> t.Iterator[Finding]:
    hosts = list(case.fleet["hosts"])
    units = (case.facts[host].get("details") or {}).get("units") or {}
    wanted = {
        f"{_names.job_unit(case.app, name)}.timer"
        for name, service in _model.of_kind(case.live.model, "scheduled").items()
        if _model.home_of(service, hosts) == host
    }
    here = {unit for unit in units if unit.startswith(_names.job_unit(case.app, ""))}
    for unit in sorted(wanted - here):
        yield Finding(host, f"{unit} is missing", f"{SITE} --tags app_deploy")
    for unit in sorted(here - wanted):
        yield Finding(host, f"{unit} is none of the live release", f"{SITE} --tags app_deploy")


def _of_routes(case: Case) -> t.Iterator[Finding]:
    """Compare routes, servers and ports of the edges with the live release."""
    if not case.live.kept:
        return
    recorded: Data = next((edge["record"] for edge in case.edges.values() if edge["record"]), {})
    ports = _ports.allocate(case.live.model, _ports.recorded(recorded))
    record = _edge_record.record(case.live.model, ports, case.fleet["hosts"], case.live.colour, recorded)
    for name, edge in case.edges.items():
        if edge.get("running", True) and edge["record"] and edge["record"] != record:
            yield Finding(name, "its routes or servers are not those of the live release", case.again)


def _of_records(case: Case) -> t.Iterator[Finding]:
    """Compare the ledger with what the edges serve, and look for runs that ended early."""
    record_host = case.fleet["record_host"]
    if record_host not in case.facts:
        return
    row: Data = next(iter(case.records["live_rows"]), {})
    release = case.live.release
    unfinished: Data = case.records.get("unfinished") or {}
    lease: Data = case.records.get("lease") or {}
    if unfinished and not lease.get("held"):
        verb = str(unfinished.get("kind") or "deploy")
        target = str(unfinished.get("release") or _next_step.release_of(str(unfinished.get("identity") or "")))
        command = case.command(verb, release=target) if verb == "deploy" else case.command(verb)
        yield Finding(record_host, f"the {verb} of {target} ended early, at {unfinished.get('boundary')}", command)
    elif row and release and row["identity"] != release:
        verb = "rollback" if release == row.get("previous") else "deploy"
        command = case.command("rollback") if verb == "rollback" else case.again
        yield Finding(record_host, f"the ledger has {row['identity']} as live, the edges serve {release}", command)
    elif release and not row:
        command = case.command("rebuild_records", reason="'...'")
        yield Finding(record_host, f"the ledger has no live release, the edges serve {release}", command)
    if release and not case.live.kept:
        command = case.command("rebuild_records", reason="'...'")
        yield Finding(record_host, f"the record of {release} is missing", command)


def _of_inventory(case: Case) -> t.Iterator[Finding]:
    """Compare what the inventory describes with the live release."""
    wanted = case.wanted
    if wanted is None or not case.live.colour:
        return
    live = case.live.model
    if str(wanted["release"]) != str(live["release"]):
        row: Data = next(iter(case.records["live_rows"]), {})
        if row.get("by_hand") and row.get("inventory_release") == wanted["release"]:
            what = f"it names {wanted['release']}, {live['release']} was deployed by hand"
        else:
            what = f"it names {wanted['release']}, {live['release']} is live"
        yield Finding("inventory", what, case.command("deploy", release=str(wanted["release"])))
        return
    if not case.live.kept:
        return
    differs = sorted(
        name
        for name in {*wanted["services"], *live["services"]}
        if wanted["services"].get(name) != live["services"].get(name)
    )
    others = [
        key
        for key in ("hosts", "migration", "smoke", "probe", "port_base", "port_count")
        if t.cast(Data, wanted)[key] != t.cast(Data, live)[key]
    ]
    if differs or others:
        what = ", ".join([*(f"service {name}" for name in differs), *others])
        yield Finding("inventory", f"it describes another {what} than the live release has", case.again)
