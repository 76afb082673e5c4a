# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of a playbook on a simulated fleet: the tasks of the role app_deploy in their order, without Ansible.

It follows C(release.yml), C(undo.yml), C(rollback_move.yml), C(unlock.yml) and C(compose/*.yml) line by line; modules
and filters are the product's.
"""

from __future__ import annotations

import typing as t

from ansible_collections.evenkeel.platform.plugins.filter import release as filters
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _clock,
    _compose_states,
    _edge_info,
    _guard,
    _move,
    _pair,
    _release_records,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.modules import (
    blue_green,
    compose_release,
    health_gate,
    release_journal,
    release_lease,
    scheduled_jobs,
)
from ansible_collections.evenkeel.platform.tests.unit.plugins.module_utils import described
from ansible_collections.evenkeel.platform.tests.unit.protocol.fleet import APP, WRONG, Data, Edge, Fleet, Host

INVENTORY_RELEASE = "1.0"


class Stopped(Exception):
    """A task failed on a host, so the play goes to its rescue."""


def schedule_of(release: str) -> str:
    return f"*-*-* 03:{release[-1]}0"


def app_of(release: str, hosts: t.Sequence[str]) -> Data:
    """Return the app as the inventory has it with a release; release 1.2 has its singleton on the last host."""
    bot = {"host": hosts[-1]} if release == "1.2" else {}
    item = described.app(
        described.service("api"),
        described.background("worker"),
        described.background("bot", "singleton", **bot),
        described.background("report", "scheduled", schedule=schedule_of(release)),
    )
    return {**item, "release": release}


def params_of(spec: Data, given: Data) -> Data:
    """Return the parameters as AnsibleModule makes them of an argument spec: no unknown one, every default."""
    unknown = set(given) - set(spec)
    assert not unknown, f"unsupported parameters: {', '.join(sorted(unknown))}"
    params = {name: given.get(name, about.get("default")) for name, about in spec.items()}
    for name, about in spec.items():
        if about.get("options") and about["type"] == "dict" and params[name] is not None:
            params[name] = params_of(about["options"], params[name])
        if about.get("choices") and about["type"] == "str" and params[name] is not None:
            assert params[name] in about["choices"], f"{name} is {params[name]}"
    return params


class Run:
    """One C(ansible-playbook)."""

    def __init__(self, fleet: Fleet, release: str = "", retry: str = "", out: t.Sequence[str] = ()) -> None:
        self.fleet = fleet
        self.name = release
        self.retry = retry
        self.edge_names = list(fleet.edges)
        self.host_names = list(fleet.hosts)
        self.everyone = [*self.edge_names, *self.host_names]
        self.hosts = list(self.everyone)  # those of the play that can still be reached
        self.hostvars: dict[str, Data] = {name: {"platform_address": fleet.addresses[name]} for name in self.everyone}
        fleet.runs += 1
        self.run = f"run-{fleet.runs:04}"
        self.options: Data = {
            "release": release,
            "status_port": 8405,
            "https_port": 443,
            "installing": False,
            "keep_by_hand": False,
            "check_mode": False,
            "edges": self.edge_names,
            "hosts": self.host_names,
            "record_host": "edge1",
            "out": list(out),
        }
        self.outcome = ""
        self.message = ""

    # -- how tasks run ---------------------------------------------------------------

    def task(
        self,
        name: str,
        where: t.Iterable[str],
        act: t.Callable[[str], Data],
        register: str = "",
        tolerant: bool = False,
    ) -> None:
        """Run a task on hosts; one that fails stops the play on all of them."""
        failed = False
        for host in [each for each in where if each in self.hosts]:
            self.fleet.between()
            if host in self.fleet.cut:
                self.hosts.remove(host)
                failed = True
                continue
            try:
                result = act(host)
            except Failure as failure:
                result = {"failed": True, "msg": failure.sentence, **failure.result}
                if not tolerant:
                    failed = True
                    self.hostvars[host]["ansible_failed_result"] = result
                    self.hostvars[host]["ansible_failed_task"] = {"name": name}
            if register:
                self.hostvars[host][register] = result
        if failed:
            raise Stopped(name)

    def once(self, name: str, act: t.Callable[[], Data], tolerant: bool = False) -> Data:
        """Run a task once; one on the record host fails where that cannot be reached."""
        if not self.hosts:
            raise Stopped(name)
        found: Data = {}

        def acting(_host: str) -> Data:
            if "edge1" in self.fleet.cut or "edge1" not in self.hosts:
                raise Failure("edge1 is unreachable.")
            found.update(act())
            return found

        if tolerant:
            try:
                return acting("")
            except Failure as failure:
                return {"failed": True, "msg": failure.sentence, **failure.result}
        self.task(name, self.hosts[:1], acting)
        return found

    def edge(self, name: str) -> Edge:
        return self.fleet.edges[name]

    def host(self, name: str) -> Host:
        return self.fleet.hosts[name]

    # -- modules ---------------------------------------------------------------------

    def facts(self, name: str) -> Data:
        edge = self.fleet.edges.get(name)
        records = edge.records("release_facts") if edge else self.host(name).records("release_facts")
        pair = _pair.highest(records)
        host: Data = {}
        if edge is None:
            found = {part: {"running": 0, "other": 0} for part in ("blue", "green", "background", "migration")}
            for container in self.host(name).containers.values():
                part = container.stack.removeprefix(f"{APP}-")
                found[part]["running" if container.running else "other"] += 1
            host = {"engine": True, "stacks": found, "firewall": [], "orders": [], "releases": []}
        return {
            "pair": pair._asdict(),
            "edge": _edge_info.read(records, edge) if edge else {},
            "host": host,
            "records": _release_records.facts(records, 100) if name == "edge1" else {},
        }

    def blue_green(self, name: str, **given: t.Any) -> Data:
        act = _move.Act(
            params_of(blue_green.ARGUMENT_SPEC, {"app": APP, **given}), self.edge(name).records("blue_green")
        )
        blue_green.refuse_unusable(act.params, APP)
        try:
            act.run()
        except Failure as failure:
            unmoved = {"changed": False, "after": act.result["before"]}
            raise Failure(failure.sentence, **{**act.result, **unmoved, **failure.result}) from failure
        return act.result

    def compose(self, host: str, **given: t.Any) -> Data:
        module = self.host(host).module(params_of(compose_release.ARGUMENT_SPEC, given))
        result: Data = {**_compose_states.EMPTY}
        try:
            result.update(compose_release.run(t.cast(t.Any, module)))
        except Failure as failure:
            reason = failure.sentence.partition("\n")[0]
            raise Failure(failure.sentence, **{**result, "reason": reason, **failure.result}) from failure
        return result

    def jobs(self, host: str, guard: Data, jobs: list[Data]) -> Data:
        given = {"app": APP, "guard": guard, "jobs": jobs}
        module = self.host(host).module(params_of(scheduled_jobs.ARGUMENT_SPEC, given))
        acts = _guard.Guard.of(module, "scheduled_jobs")
        with _guard.acting(acts):
            return scheduled_jobs.run(t.cast(t.Any, module), acts)

    def gate(self, name: str, given: Data) -> Data:
        """Probe the containers of a colour, then take the withdrawal back as the module does."""
        params = params_of(health_gate.ARGUMENT_SPEC, given)
        # What stands on a port is told by the port's colour.
        record = _edge_info.read(self.edge(name).records("health_gate"), self.edge(name))["record"]
        colours = {
            f"{server['address']}:{server['port']}": colour
            for service in record["services"].values()
            for colour, servers in service["servers"].items()
            for server in servers
        }
        failed = []
        for target in params["targets"]:
            address = target["url"].split("/")[2]
            host = self.host(self.fleet.name_of(target["url"]))
            stack = f"{APP}-{colours[address]}"
            releases = {each.release for each in host.of(stack).values()}
            if not host.runs(stack) or releases != {params["release"]} or WRONG in releases:
                failed.append(f"health_gate: {target['name']} answers with {releases or 'nothing'}.")
        if failed:
            raise Failure(" ".join(failed), passed=False, failed_targets=failed)
        if params["colour"]:
            module: t.Any = type("Module", (), {"params": params})
            health_gate.clear(module, self.edge(name).records("health_gate"))
        return {"passed": True}

    def journal(self, **given: t.Any) -> Data:
        records = self.fleet.record_host.records("release_journal")
        return release_journal.once(records, params_of(release_journal.ARGUMENT_SPEC, {"app": APP, **given}))

    def lease(self, **given: t.Any) -> Data:
        records = self.fleet.record_host.records("release_lease")
        before, after = release_lease.once(records, params_of(release_lease.ARGUMENT_SPEC, {"app": APP, **given}))
        return {"changed": before != after, "token": (after or {}).get("token"), "lease": after}

    # -- verbs -------------------------------------------------------------------------

    def deploy(self) -> None:
        self.play("deploy")

    def rollback(self) -> None:
        """First the move on each edge, then what follows."""
        peers = {
            name: filters.edge_addresses([each for each in self.edge_names if each != name], self.hostvars, 8405, APP)
            for name in self.edge_names
        }
        try:
            self.task(
                "rollback | Move the traffic to the warm side",
                self.edge_names,
                lambda name: self.blue_green(
                    name,
                    state="moved",
                    colour="previous",
                    assume_release=self.name,
                    run=self.run,
                    backward=True,
                    edge=name,
                    peers=peers[name],
                    check_wait_seconds=5,
                ),
            )
        except Stopped:
            self.outcome = "failed"
            self.message = "; ".join(
                str(vars_["ansible_failed_result"]["msg"])
                for vars_ in self.hostvars.values()
                if "ansible_failed_result" in vars_
            )
            return
        self.play("rollback")

    def unlock(self) -> None:
        """Revoke the lease of its holder."""
        try:
            self.task("unlock | Read what each host knows of the app", self.everyone, self.facts, "__app_deploy_facts")
            floor = max(self.hostvars[name]["__app_deploy_facts"]["pair"]["token"] for name in self.hosts)
            lease = self.once(
                "unlock | Revoke the lease of its holder",
                lambda: self.lease(state="broken", owner="ops", run=self.run, reason="it is gone", token_floor=floor),
            )
            if lease["changed"]:
                self.task(
                    "unlock | Raise the pair on every edge",
                    self.edge_names,
                    lambda name: self.blue_green(name, state="raised", token=lease["token"], run=lease["lease"]["run"]),
                )
        except Stopped:
            self.outcome = "failed"
        else:
            self.outcome = "ok"

    def play(self, kind: str) -> None:
        try:
            self.release(kind)
        except Stopped:
            self.outcome = "failed"
        else:
            self.outcome = "ok"

    # -- release.yml ---------------------------------------------------------------------

    def release(self, kind: str, again: bool = False) -> None:
        for each in self.hostvars.values():
            each.pop("ansible_failed_result", None)
            each.pop("ansible_failed_task", None)
        self.wish: Data = {}
        self.plan: Data = {}
        try:
            self.forward(kind)
        except Stopped:
            self.rescue(kind, again)

    def forward(self, kind: str) -> None:
        self.task("facts | Read what each host knows of the app", self.everyone, self.facts, "__app_deploy_facts")
        options = {**self.options, "kind": kind}
        app = app_of(INVENTORY_RELEASE, self.host_names)
        if self.name and kind == "deploy":
            app = {**app_of(self.name, self.host_names), "release": INVENTORY_RELEASE}
        self.wish = filters.release_wish([app], self.hostvars, self.hosts, APP, options)
        self.once("plan | Refuse what cannot be done", self.refuse)
        wish = self.wish
        self.task("fetch | Pull the images", self.host_names, self.fetch, "__app_deploy_fetched")
        content = filters.release_content(wish, self.hostvars)["content"]
        opened = self.once(
            "record | Open the run under the lease of the app",
            lambda: self.journal(
                state="opened",
                kind=kind,
                run=wish["run"],
                owner="ops",
                content=content,
                live=wish["live"],
                lease_seconds=60,
                token_floor=wish["token_floor"],
                preempt=kind == "rollback",
                dead_run=wish["dead_run"],
                controller=wish["controller"],
                by_hand=wish["by_hand"],
                inventory_release=wish["inventory_release"],
                homes=wish["homes"],
                hosts=self.host_names,
                retry=self.retry,
            ),
        )
        self.plan = plan = filters.release_plan(wish, opened, self.hostvars, self.options)
        pair, stages = plan["pair"], plan["stages"]
        for name in plan["edges_new"]:
            self.task("edge | Configure a new edge", [name], self.configured)
        self.task(
            "edge | Move an edge that is behind to the live entry",
            plan["behind"],
            lambda name: self.blue_green(
                name,
                state="moved",
                colour=plan["entry"]["colour"],
                release=plan["entry"]["release"],
                other_release=plan["entry"]["other_release"],
                assume_entry=plan["behind"][name]["entry"],
                move=plan["behind"][name]["move"],
                new_move=plan["move"],
                **pair,
                warm_seconds=plan["warm_seconds"],
                check_wait_seconds=10,
            ),
        )
        if "withdraw" in stages:
            self.task(
                "withdraw | Withdraw the idle colour on every edge",
                plan["edge_names"],
                lambda name: self.blue_green(name, state="withdrawn", colour=plan["to"], move=plan["move"], **pair),
            )
        self.task("edge | Configure HAProxy for the release", plan["edges_changed"], self.configured)
        if "start" in stages:
            self.task("start | Start the containers of the idle colour", self.host_names, self.started)
        if "gate" in stages:
            self.task(
                "gate | Probe every replica of the idle colour from every edge",
                plan["edge_names"],
                lambda name: self.gate(
                    name,
                    {
                        "app": APP,
                        "colour": plan["to"],
                        **pair,
                        "move": plan["move"],
                        "release": plan["release"],
                        "targets": plan["gate"]["targets"],
                    },
                ),
            )
            self.task(
                "gate | Verify that no container ended or was started again",
                self.host_names,
                lambda host: self.compose(host, name=f"{APP}-{plan['to']}", state="steady", beside=f"{APP}-background"),
                "__app_deploy_steady",
            )
        if "switch" in stages:
            self.once(
                "switch | Record the intent in the journal",
                lambda: self.journal(
                    state="appended",
                    token=pair["token"],
                    boundary=["started", "gated", "intended"],
                    restart=True,
                    lease_seconds=60 + plan["gate_seconds"],
                    detail={"from": plan["from"], "to": plan["to"]},
                ),
            )
            self.task(
                "switch | Move the traffic",
                plan["edge_names"],
                lambda name: self.blue_green(
                    name,
                    state="moved",
                    colour=plan["to"],
                    release=plan["identity"],
                    assume_entry=plan["entry"]["text"],
                    move=plan["move"],
                    new_move=plan["move_after"],
                    **pair,
                    min_servers=plan["minimum_servers"],
                    warm_seconds=plan["warm_seconds"],
                    check_wait_seconds=10,
                    probe={"url": "https://shop.test/"},
                ),
            )
        if "handover" in stages:
            self.handover()
        elif plan["mend"]:
            self.job_timers()
        if "drain" in stages:
            self.task("drain | Wait until the old side serves nothing", plan["edge_names"], lambda name: {})
            if kind == "rollback":
                self.task(
                    "drain | Withdraw the side that a rollback left",
                    plan["edge_names"],
                    lambda name: self.blue_green(
                        name, state="withdrawn", colour=plan["from"], move=plan["move_after"], **pair
                    ),
                )
        if "seal" in stages:
            until = "" if kind == "rollback" else _clock.iso(self.fleet.clock.now + plan["warm_seconds"])
            self.once(
                "seal | Write the ledger and free the lease",
                lambda: self.journal(
                    state="sealed",
                    token=pair["token"],
                    boundary=["drained", "warm"],
                    detail={"until": until},
                    result="live",
                    live=plan["entry_after"],
                    evidence={},
                    keep=5,
                    free_lease=True,
                ),
            )
        if plan["mend"]:
            for part in (plan["to"], "background"):
                self.mend(part)

    def mend(self, part: str) -> None:
        self.task(
            "mend | Start what stopped of the live colour",
            self.host_names,
            lambda host: self.compose(host, name=f"{APP}-{part}", state="running", guard=self.plan["guards"]["before"]),
        )

    def refuse(self) -> Data:
        if self.wish["refusals"]:
            raise Failure("\n".join(self.wish["refusals"]))
        return {}

    def fetch(self, _host: str) -> Data:
        return {"images": {image: f"{image.partition('@')[0]}" for image in self.wish["images"]}}

    def configured(self, name: str) -> Data:
        self.edge(name).configure(self.plan["record"], self.plan["pair"])
        return {}

    def started(self, host: str) -> Data:
        stack = self.plan["hosts"][host]["colour"]
        return self.compose(
            host,
            name=f"{APP}-{self.plan['to']}",
            state="present",
            definition=stack["definition"],
            record=self.plan["kept"],
            guard=self.plan["guards"]["idle"],
        )

    # -- compose/handover.yml --------------------------------------------------------------

    def handover(self) -> None:
        plan, after = self.plan, self.plan["guards"]["after"]
        if "gate" not in plan["stages"]:
            # A task that is skipped registers that.
            for host in self.host_names:
                self.hostvars[host]["__app_deploy_steady"] = {"skipped": True}
        self.task(
            "handover | Stop the singletons that leave this host",
            [host for host in self.host_names if plan["hosts"][host]["leaving"]],
            lambda host: self.compose(
                host,
                name=f"{APP}-background",
                state="reduced",
                services=plan["hosts"][host]["leaving"],
                guard=after,
            ),
        )
        for batch in filters.release_batches(plan, self.hostvars):
            self.task(
                "handover | Replace the workers, singletons and jobs of this host",
                [host for host in self.host_names if plan["hosts"][host]["batch"] in batch],
                lambda host: self.background(
                    host, plan["hosts"][host]["background"]["definition"], after, plan["retire"]
                ),
            )
        self.job_timers()
        self.once(
            "handover | Record the handover in the journal",
            lambda: self.journal(
                state="appended",
                token=plan["pair"]["token"],
                boundary=["moved", "confirmed", "handed_over"],
                homes=plan["homes"],
                restart=True,
                lease_seconds=60 + plan["drain_seconds"],
            ),
        )

    def job_timers(self) -> None:
        plan = self.plan
        self.task(
            "handover | Set the timers of the scheduled jobs",
            [host for host in self.host_names if plan["hosts"][host]["jobs_change"]],
            lambda host: self.jobs(host, plan["guards"]["after"], plan["hosts"][host]["jobs"]),
        )

    def background(self, host: str, definition: Data, guard: Data, retire: Data) -> Data:
        options = {"retire": retire} if retire else {}
        state = "present" if definition["services"] else "absent"
        name = f"{APP}-background"
        return self.compose(host, name=name, state=state, definition=definition, boot=True, guard=guard, **options)

    # -- the rescue and undo.yml --------------------------------------------------------------

    def rescue(self, kind: str, again: bool) -> None:
        self.task(
            "undo | Read what each host knows of the app now", self.everyone, self.facts, "__app_deploy_facts_now"
        )
        self.undo = undo = filters.release_undo(
            self.plan, self.wish, self.hostvars, self.everyone, {**self.options, "again": again}
        )
        if undo["again"]:
            self.release(kind, again=True)
            return
        self.message = "\n".join([str(undo.get("message") or ""), *undo.get("reasons", [])]).strip()
        if self.plan:
            self.go_back()
        raise Stopped("undo | Report why")

    def go_back(self) -> None:
        plan, undo = self.plan, self.undo
        pair = plan["pair"]
        self.task(
            "undo | Move the traffic back",
            undo["moves"],
            lambda name: self.blue_green(
                name,
                state="moved",
                colour=undo["colour"],
                assume_entry=undo["moves"][name]["entry"],
                move=undo["moves"][name]["move"],
                new_move=undo["move_after"],
                **pair,
                backward=True,
                check_wait_seconds=5,
            ),
            "__app_deploy_back",
            tolerant=True,
        )
        if undo["remove"]:
            self.task(
                "undo | Withdraw the failed side",
                undo["edge_names"],
                lambda name: self.blue_green(
                    name, state="withdrawn", colour=plan["to"], move=undo["move_after"], **pair
                ),
                tolerant=True,
            )
            self.task(
                "undo | Restore or remove the failed side",
                self.host_names,
                lambda host: self.compose(
                    host,
                    name=f"{APP}-{plan['to']}",
                    state="former" if undo["warm"] else "absent",
                    guard=undo["guards"]["idle"],
                ),
                "__app_deploy_removed",
                tolerant=True,
            )
        hosts = undo["hosts"]
        self.task(
            "undo | Stop the singletons that moved to this host",
            [host for host in self.host_names if host in hosts and hosts[host]["leaving"]],
            lambda host: self.compose(
                host,
                name=f"{APP}-background",
                state="reduced",
                services=hosts[host]["leaving"],
                guard=undo["guards"]["background"],
            ),
            tolerant=True,
        )
        for batch in undo["batches"]:
            self.task(
                "undo | Restore the workers and singletons of this host",
                [host for host in self.host_names if hosts[host]["batch"] in batch],
                lambda host: self.background(
                    host, hosts[host]["background"]["definition"], undo["guards"]["background"], {}
                ),
                "__app_deploy_background_back",
                tolerant=True,
            )
        self.task(
            "undo | Restore the timers of its scheduled jobs",
            [host for host in self.host_names if host in hosts],
            lambda host: self.jobs(host, undo["guards"]["background"], hosts[host]["jobs"]),
            "__app_deploy_jobs_back",
            tolerant=True,
        )
        self.regate()
        end = filters.release_undone(undo, self.hostvars, self.everyone)
        self.message = end["message"]
        sealed: Data = {"failed": True}
        if undo["seal"] and end["sealable"]:
            sealed = self.once(
                "undo | Write the ledger and free the lease",
                lambda: self.journal(
                    state="sealed",
                    token=pair["token"],
                    result=undo["result"],
                    live=end["entry"],
                    reason="\n".join(undo["reasons"]),
                    homes=undo["homes"],
                    free_lease=True,
                    evidence={},
                ),
                tolerant=True,
            )
        if undo["free"] and sealed.get("failed"):
            self.once(
                "undo | Release the lease of a run that goes on later",
                lambda: self.lease(state="freed", token=pair["token"]),
                tolerant=True,
            )

    def regate(self) -> None:
        undo, warm = self.undo, self.undo["warm"]
        if not warm:
            return
        self.task(
            "undo | Probe the side that was warm",
            undo["edge_names"],
            lambda name: self.gate(
                name, {"app": APP, "targets": undo["gate"]["targets"], "release": undo["gate"]["release"]}
            ),
            "__app_deploy_regated",
            tolerant=True,
        )
        if all(self.hostvars[name].get("__app_deploy_regated", {}).get("passed") for name in undo["edge_names"]):
            self.task(
                "undo | Restore the warm side on every edge",
                undo["edge_names"],
                lambda name: self.blue_green(
                    name,
                    state="restored",
                    colour=self.plan["to"],
                    move=undo["move_after"],
                    warm={"release": warm["release"], "until": warm["until"]},
                    **self.plan["pair"],
                ),
                tolerant=True,
            )
        self.task(
            "undo | Write the retire order of the warm side",
            self.host_names,
            lambda host: self.compose(
                host,
                name=f"{APP}-{self.plan['to']}",
                state="running",
                retire=undo["retire"],
                guard=undo["guards"]["background"],
            ),
            tolerant=True,
        )
