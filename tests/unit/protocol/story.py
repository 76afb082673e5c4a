# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a fleet, action by action, and what must hold at the end."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _entry, _lease, _ledger
from ansible_collections.evenkeel.platform.tests.unit.protocol.fleet import APP, Broken, Fleet, Task
from ansible_collections.evenkeel.platform.tests.unit.protocol.walk import Run, schedule_of

Action = tuple[t.Any, ...]


class Story:
    """The actions on a fleet on which some releases were deployed, each after the one before."""

    def __init__(self, fleet: Fleet, *releases: str) -> None:
        self.fleet = fleet
        self.runs: dict[str, Run] = {}
        for release in releases:
            self.alone("deploy", release=release)

    def run(self, verb: str, **options: t.Any) -> Task:
        run = Run(self.fleet, **options)
        given = " ".join(str(option) for option in options.values())
        task = self.fleet.begin(f"{run.run} {verb} {given}".strip(), getattr(run, verb))
        task.controller = {"run": run.run, "machine": "controller"}
        self.runs[task.name] = run
        return task

    def alone(self, verb: str, **options: t.Any) -> Run:
        """Run a verb to its end, with nothing else going on."""
        task = self.run(verb, **options)
        task.finish()
        return self.runs[task.name]

    def tell(self, actions: t.Iterable[Action]) -> None:
        for name, *arguments in actions:
            getattr(self, name)(*arguments)
            self.fleet.verify()

    # -- actions ----------------------------------------------------------------------

    def chosen(self, number: int) -> Task | None:
        alive = self.fleet.alive
        return alive[number % len(alive)] if alive else None

    def deploy(self, release: str, times: int = 0) -> None:
        """Begin a deploy and let it go some steps far."""
        self.run("deploy", release=release).step(times)

    def overtake(self, release: str, times: int = 0) -> None:
        """Begin a deploy once the lease of any other run is over."""
        self.wait(200)
        self.deploy(release, times)

    def rollback(self, release: str = "", times: int = 0) -> None:
        """Begin a rollback and let it go some steps far."""
        self.run("rollback", release=release).step(times)

    def unlock(self) -> None:
        self.run("unlock")

    def step(self, number: int, times: int) -> None:
        task = self.chosen(number)
        if task:
            task.step(times)

    def reach(self, number: int, tasks: int) -> None:
        """Let one go on until it is about to begin a task."""
        task = self.chosen(number)
        if task:
            task.reach(tasks, 400)

    def finish(self, number: int) -> None:
        """Let one go on to its end, or until somebody else's lock keeps it for long."""
        task = self.chosen(number)
        if task:
            task.step(400)

    def kill(self, number: int) -> None:
        task = self.chosen(number)
        if task:
            task.kill()

    def leave(self, number: int) -> None:
        """Kill the controller only: what runs on a host goes on to its end."""
        task = self.chosen(number)
        if task:
            task.dying = True

    def withdraw(self, number: int, times: int = 200) -> None:
        """Let the timer of an edge look, some steps far."""
        name = self.fleet.edge_names[number % len(self.fleet.edge_names)]
        self.fleet.begin(f"withdraw on {name}", self.fleet.edges[name].withdraw).step(times)

    def retire(self, number: int, times: int = 200) -> None:
        """Let the timer of an app host look, some steps far."""
        hosts = list(self.fleet.hosts.values())
        host = hosts[number % len(hosts)]
        self.fleet.begin(f"retire on {host.name}", host.retire).step(times)

    def wait(self, seconds: int) -> None:
        self.fleet.clock.now += seconds

    def stop(self, number: int) -> None:
        self.fleet.edges[self.fleet.edge_names[number % len(self.fleet.edge_names)]].crash()

    def restart(self, number: int) -> None:
        """Start HAProxy on an edge; one that runs has crashed before."""
        name = self.fleet.edge_names[number % len(self.fleet.edge_names)]
        self.fleet.edges[name].crash()
        self.fleet.begin(f"start of {name}", self.fleet.edges[name].start)

    def cut(self, number: int) -> None:
        self.fleet.cut.add(self.fleet.edge_names[number % len(self.fleet.edge_names)])

    def heal(self) -> None:
        self.fleet.cut.clear()

    # -- the end ----------------------------------------------------------------------

    def end(self, release: str) -> None:
        """With all runners gone and all edges back, deploy a release alone; then all must be of it."""
        fleet = self.fleet
        for task in fleet.alive:
            task.kill()
        fleet.cut.clear()
        for name, edge in fleet.edges.items():
            if not edge.up:
                fleet.begin(f"start of {name}", edge.start).finish()
        for _time in range(2):
            for name, edge in fleet.edges.items():
                fleet.begin(f"confirm on {name}", edge.confirm).finish()
        run = self.alone("deploy", release=release, retry=release)
        if run.outcome != "ok":
            raise Broken(f"the last deploy of {release} failed: {run.message}")
        self.converged(release)
        for _time in range(3):
            self.wait(400)
            for edge in fleet.edges.values():
                fleet.begin("withdraw", edge.withdraw).finish()
            for host in fleet.hosts.values():
                fleet.begin("retire", host.retire).finish()
        self.converged(release)
        live = _entry.parse(fleet.record_host.memory["live"], "test", "live").colour
        for host in fleet.hosts.values():
            # One for the other side may wait for its withdrawal.
            if Path(host.folder, "state", APP, f"retire-{live}.json").exists():
                raise Broken(f"an order to stop {live}, which is live, is left on {host.name}")

    def converged(self, release: str) -> None:
        fleet = self.fleet
        entries = {name: (edge.memory["live"], edge.saved("live")) for name, edge in fleet.edges.items()}
        live = _entry.parse(next(iter(entries.values()))[0], "test", "live")
        problems = []
        if len({text for pair in entries.values() for text in pair}) != 1 or live.release != release or live.weight:
            problems.append(f"edges serve {entries}")
        statuses = {name: edge.status() for name, edge in fleet.edges.items()}
        if len({(each.move, each.confirmed) for each in statuses.values()}) != 1 or len(fleet.counted()) != len(
            entries
        ):
            problems.append(f"edges show {statuses}")
        records = fleet.record_host.records("test")
        row = next(iter(_ledger.live_history(records.read_lines("ledger.jsonl", read_only=True))), {})
        if row.get("identity") != release or _entry.parse(row.get("live"), "test", "row").release != release:
            problems.append(f"the ledger's newest live row is {row.get('identity')}, {row.get('live')}")
        if _lease.held(records.read("lease.json", read_only=True), _clock.now()):
            problems.append("the lease is held")
        for host in fleet.hosts.values():
            if not host.runs(f"{APP}-{live.colour}"):
                problems.append(f"{live.colour} does not run on {host.name}")
            for each in host.containers.values():
                if each.stack in (f"{APP}-{live.colour}", f"{APP}-background") and (
                    each.release != release or not each.running
                ):
                    problems.append(f"{each.stack} {each.service} of {each.release} on {host.name}: {each.running}")
        names = list(fleet.hosts)
        home = names[-1] if release == "1.2" else names[0]
        bots = [
            host.name for host in fleet.hosts.values() for each in host.containers.values() if each.service == "bot"
        ]
        if bots != [home]:
            problems.append(f"the singleton is on {bots}, not on {home}")
        workers = [
            host.name for host in fleet.hosts.values() for each in host.containers.values() if each.service == "worker"
        ]
        if workers != names:
            problems.append(f"workers are on {workers}")
        if fleet.hosts[names[0]].schedule() != schedule_of(release):
            problems.append(f"the job's schedule is {fleet.hosts[names[0]].schedule()!r}")
        if problems:
            raise Broken("; ".join(problems))
