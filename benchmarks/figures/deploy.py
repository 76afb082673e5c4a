# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deploy and a rollback cost those who use the app, and what they take."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.load import quantiles
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

OLD, NEW = "1.0", "1.1"
BIN_SECONDS = 0.25
MOST_BINS = 240
# Generator, controller and every host share the cores of one machine, so an answer may be late; it must come.
PATIENCE_SECONDS = 30
RECREATE = (
    f"cd /opt/evenkeel/stacks/{rig.APP}-%s/current && docker compose --project-name {rig.APP}-%s up"
    " --detach --force-recreate"
)


def number(name: str, default: int) -> int:
    """A size of a run, which EVENKEEL_BENCH_<NAME> changes for a trial."""
    return int(os.environ.get(f"EVENKEEL_BENCH_{name}") or default)


def other(release: str) -> str:
    return OLD if release == NEW else NEW


def need_lab() -> None:
    reason = rig.reachable()
    if reason:
        raise NotMeasured(reason)
    try:
        rig.live_release()
    except rig.Silent as exc:
        raise NotMeasured(str(exc)) from None


def deploy(release: str, folder: Path) -> rig.Play:
    words = ["playbooks/deploy.yml", "-e", f"app={rig.APP}", "-e", f"release={release}", *retry(release)]
    run = rig.play(*words, folder=folder, counted=True)
    if run.code != 0:
        raise NotMeasured(f"{run.command} ended with code {run.code}: {run.tail(5)}")
    return run


def most(counts: dict[str, Any], run: rig.Play) -> dict[str, Any]:
    """The highest counts of several runs: tasks with those skipped, remote runs, and polls, which vary."""
    keys = ("tasks", "skipped", "remote_runs", "polls")
    return {key: max(counts.get(key, 0), run.counts[key]) for key in keys}


def retry(release: str) -> list[str]:
    """Return the option that allows a held release again."""
    return ["-e", f"retry={release}"]


def put_live(release: str, folder: Path) -> None:
    if rig.live_release() != release:
        deploy(release, folder)


class Losses:
    """Several loads as one."""

    def __init__(self) -> None:
        self.requests = self.failed = self.acknowledged = self.missing = self.duplicated = self.unacknowledged = 0
        self.by_kind: collections.Counter[str] = collections.Counter()
        self.latencies: list[float] = []
        self.uploads = 0
        self.web_sockets: collections.Counter[str] = collections.Counter()
        self.socket_kinds: collections.Counter[str] = collections.Counter()
        self.generator_late = 0.0

    def add(self, outcome: rig.Outcome) -> None:
        self.requests += outcome.summary["requests"]
        self.failed += outcome.failed
        self.by_kind.update(outcome.summary["by_kind"])
        self.acknowledged += outcome.orders["acknowledged"]
        self.missing += outcome.orders["missing"]
        self.duplicated += outcome.orders["duplicated"]
        self.unacknowledged += outcome.orders["unacknowledged"]
        self.latencies += [record["latency"] for record in outcome.records if not record["kind"]]
        self.uploads += outcome.summary["uploads"]
        sockets = outcome.summary["web_sockets"]
        self.web_sockets.update({key: sockets[key] for key in ("opened", "closed_by_server", "messages", "failed")})
        self.socket_kinds.update(sockets["by_kind"])
        self.generator_late = max(self.generator_late, outcome.summary["generator"]["late"]["max"] or 0.0)

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "by_kind": dict(sorted(self.by_kind.items())),
            "orders": {
                "acknowledged": self.acknowledged,
                "missing": self.missing,
                "duplicated": self.duplicated,
                "unacknowledged": self.unacknowledged,
            },
            "uploads": self.uploads,
            **({"web_sockets": self._sockets()} if self.web_sockets["opened"] or self.web_sockets["failed"] else {}),
            "latency": quantiles(self.latencies),
            "generator_late_seconds": round(self.generator_late, 3),
        }

    def _sockets(self) -> dict[str, Any]:
        """Each message asks for an answer, so it counts as a request."""
        kinds = dict(sorted(self.socket_kinds.items()))
        return {**self.web_sockets, "requests": self.web_sockets["messages"], "by_kind": kinds}


def moving(outcome: rig.Outcome, began: float, ended: float) -> dict[str, Any]:
    """Answers in each moment by release, and failures; marks for begin and end of the command."""
    start = outcome.summary["began_at"]
    whole = max(record["due"] + record["latency"] for record in outcome.records)
    size = BIN_SECONDS * (1 + int(whole / BIN_SECONDS / MOST_BINS))
    bins = 1 + int(whole / size)
    answers: dict[str, list[int]] = {}
    failed = [0] * bins
    for record in outcome.records:
        moment = int((record["due"] + record["latency"]) / size)
        if record["kind"]:
            failed[moment] += 1
        else:
            answers.setdefault(record["release"], [0] * bins)[moment] += 1
    return {
        "bin_seconds": size,
        "rate": outcome.summary["rate"],
        "command_began": round(began - start, 2),
        "command_ended": round(ended - start, 2),
        "answers": dict(sorted(answers.items())),
        "failed": failed,
    }


# deploy_loss


def deploy_loss(folder: Path) -> Measured:
    need_lab()
    deploys, rate = number("DEPLOYS", 50), number("RATE", 100)
    put_live(OLD, folder)
    losses, picture, seconds = Losses(), None, []
    proxy = rig.proxy_retries()
    for count in range(deploys):
        release = other(rig.live_release())
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(mixed(folder, rate / len(rig.URLS), url)) for url in rig.URLS]
            began = time.time()
            run = deploy(release, folder)
            ended = time.time()
        for load in loads:
            losses.add(load.outcome)
        seconds.append(run.seconds)
        picture = picture or moving(loads[0].outcome, began, ended)
        seen = f"{losses.failed} requests and {losses.web_sockets['failed']} WebSockets failed of {losses.requests}"
        say(f"deploy {count + 1} of {deploys} to {release} in {run.seconds:.1f} s; so far {seen}")
    after = rig.proxy_retries()
    return Measured(
        results={
            **losses.as_json(),
            "rate": rate,
            "edges": rig.EDGES,
            "patience_seconds": PATIENCE_SECONDS,
            "deploys": deploys,
            "deploy_seconds": quantiles(seconds),
            "proxy_retries": max(0, after["retries"] - proxy["retries"]),
            "proxy_redispatches": max(0, after["redispatches"] - proxy["redispatches"]),
            "moving": picture,
        },
        control=recreate_control(folder, rate),
        bar=[
            {"of": "results.requests", "at_least": 50000},
            {"of": "results.failed", "at_most": 0},
            {"of": "results.web_sockets.failed", "at_most": 0},
            {"of": "results.edges", "at_least": 2},
            {"of": "results.orders.missing", "at_most": 0},
            {"of": "results.orders.duplicated", "at_most": 0},
            {"of": "control.failed", "at_least": 1},
        ],
    )


def mixed(folder: Path, rate: float, url: str) -> rig.Traffic:
    """Requests of all kinds: one order in three is uploaded over some seconds, and WebSockets stay open."""
    return rig.Traffic(folder, rate, url=url, timeout_seconds=PATIENCE_SECONDS, upload_share=0.34, web_sockets=10)


def recreate_control(folder: Path, rate: float) -> dict[str, Any]:
    """`docker compose up -d` of what serves, behind the same edge: it must show loss, or the rig is blind."""
    losses = Losses()
    rounds = number("CONTROL_ROUNDS", 3)
    for _ in range(rounds):
        colour = rig.live_entry().split(":")[0]
        with rig.Traffic(folder, rate, tail_seconds=8, timeout_seconds=PATIENCE_SECONDS) as traffic:
            rig.on_hosts("app", RECREATE % (colour, colour), 180)
        losses.add(traffic.outcome)
        wait_well()
    return {**losses.as_json(), "what": "docker compose up -d of the same containers, same edge", "rounds": rounds}


def wait_well(limit_seconds: float = 60) -> None:
    """Until the app has answered well for ten times in a row."""
    until, good = time.monotonic() + limit_seconds, 0
    while good < 10:
        if time.monotonic() > until:
            raise NotMeasured("the app did not answer again after the control")
        try:
            rig.live_release()
            good += 1
        except rig.Silent:
            good = 0
        time.sleep(0.1)


# deploy_time


def own_start() -> float:
    """Seconds the app itself needs from a start of its containers to the first good answer, the slower host's."""
    idle = "green" if rig.live_entry().split(":")[0] == "blue" else "blue"
    script = rig.ROOT / "benchmarks" / "own_start.py"
    argv = ["ansible", "app", "-b", "-m", "ansible.builtin.script", "-a", f"{script} {rig.APP}-{idle} /readyz"]
    done = subprocess.run(
        argv,
        cwd=rig.ROOT,
        env={
            **rig.environment(),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    try:
        hosts = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]
        return max(float(host["stdout"]) for host in hosts.values())
    except (ValueError, KeyError, IndexError):
        raise NotMeasured(f"start of the app's own containers: {done.stdout[-500:]}{done.stderr[-500:]}") from None


def deploy_time(folder: Path) -> Measured:
    need_lab()
    deploys = number("TIMED_DEPLOYS", 6)
    walls, starts, beyond = [], [], []
    counts: dict[str, Any] = {}
    # On a fresh lab it runs the migrations of 1.1, which no later one does.
    first = deploy(other(rig.live_release()), folder)
    for count in range(deploys):
        run = deploy(other(rig.live_release()), folder)
        counts = most(counts, run)
        start = own_start()
        walls.append(run.seconds)
        starts.append(start)
        beyond.append(run.seconds - start)
        say(f"deploy {count + 1} of {deploys}: {run.seconds:.1f} s, of which the app's own start {start:.1f} s")
    live = rig.live_release()
    unchanged = deploy(live, folder)
    return Measured(
        results={
            "deploys": deploys,
            "app_hosts": 2,
            "wall_seconds": quantiles(walls),
            "own_start_seconds": quantiles(starts),
            "beyond_seconds": quantiles(beyond),
            **counts,
            "deploy_before_these": {**most({}, first), "seconds": round(first.seconds, 2)},
            "unchanged_run": most({}, unchanged),
            "unchanged_run_seconds": round(unchanged.seconds, 2),
            "unchanged_run_changed": sum(unchanged.changed.values()),
        },
        control=empty_playbook(folder, counts["tasks"] - counts["skipped"], counts["remote_runs"]),
        bar=[
            {"of": "results.beyond_seconds.p50", "at_most": 15},
            {"of": "results.unchanged_run_seconds", "at_most": 6},
            {"of": "results.tasks", "at_most": 45},
            {"of": "results.remote_runs", "at_most": 25},
            {"of": "results.unchanged_run_changed", "at_most": 0},
        ],
    )


# rollback_time


def rollback_time(folder: Path) -> Measured:
    need_lab()
    rounds, rate = number("ROLLBACKS", 10), number("ROLLBACK_RATE", 200)
    losses, to_last_bad, to_whole_end, to_moved, rest = Losses(), [], [], [], []
    counts: dict[str, Any] = {}
    for count in range(rounds):
        put_live(OLD, folder)
        deploy(NEW, folder)
        with rig.Traffic(folder, rate, timeout_seconds=PATIENCE_SECONDS) as traffic:
            entered = time.time()
            run = rig.play("playbooks/rollback.yml", "-e", f"app={rig.APP}", folder=folder, counted=True)
        if run.code != 0:
            raise NotMeasured(f"{run.command} ended with code {run.code}: {run.tail(5)}")
        counts = most(counts, run)
        losses.add(traffic.outcome)
        to_last_bad.append(traffic.outcome.summary["releases"][NEW]["last"] - entered)
        to_moved.append(traffic.outcome.summary["releases"][OLD]["first"] - entered)
        to_whole_end.append(run.seconds)
        rest.append(run.seconds - to_moved[-1])
        say(f"rollback {count + 1} of {rounds}: last answer of {NEW} after {to_last_bad[-1]:.2f} s")
    return Measured(
        results={
            **losses.as_json(),
            "rollbacks": rounds,
            "rate": rate,
            "patience_seconds": PATIENCE_SECONDS,
            "enter_to_last_bad_answer": quantiles(to_last_bad),
            "enter_to_first_good_answer": quantiles(to_moved),
            "whole_command_seconds": quantiles(to_whole_end),
            "seconds_after_the_move": quantiles(rest),
            **counts,
        },
        control=empty_playbook(folder),
        bar=[
            {"of": "results.enter_to_last_bad_answer.p95", "at_most": 2},
            {"of": "results.seconds_after_the_move.p50", "at_most": 10},
            {"of": "results.failed", "at_most": 0},
        ],
    )


def empty_playbook(folder: Path, tasks: int = 1, remote: int = 1) -> dict[str, Any]:
    """What as many tasks that do nothing take with the same inventory, of which some run on the app's hosts.

    No command with that many tasks can be faster; measured in the same minutes, it tells the machine from the work.
    """
    playbook = folder / "empty.yml"
    hosts = "edge" if tasks == 1 else "edge:app"
    rounds = max(1, remote // (1 if tasks == 1 else rig.EDGES + 2))
    pings: list[dict[str, Any]] = [{"name": "Answer", "ansible.builtin.ping": {}}] * rounds
    words: list[dict[str, Any]] = [{"name": "Say", "ansible.builtin.debug": {"msg": "nothing"}}] * (tasks - rounds)
    play = {"name": "Nothing", "hosts": hosts, "gather_facts": False, "become": True, "tasks": pings + words}
    playbook.write_text(json.dumps([play]))
    seconds = [rig.play(str(playbook), folder=folder, counted=True).seconds for _ in range(5)]
    what = "a playbook of one task that does nothing" if tasks == 1 else f"{tasks} tasks that do nothing"
    return {"what": what, "remote_runs": remote, "seconds": quantiles(seconds)}


def say(text: str) -> None:
    print(text, flush=True)
