# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a deploy, a rollback or a contract migration leaves behind when a process, a host or a connection dies in it.

Each case is one run of a verb, one fault at one of its tasks, and one following run as a user would type it: the lab
must then serve one release, with a ledger that says so, and no request through an edge that stayed may have failed.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.evenkeel.platform.benchmarks import rig
from ansible_collections.evenkeel.platform.benchmarks.figures.deploy import (
    NEW,
    PATIENCE_SECONDS,
    need_lab,
    number,
    other,
    put_live,
    say,
)
from ansible_collections.evenkeel.platform.benchmarks.result import Measured, NotMeasured

RATE = 20.0
CUT_SECONDS = 8.0
# See lab/edge2.yml.
RECORD_HOST, OTHER_EDGE = "edge1", "edge2"
# How long after the start of its task a fault comes: at once, or while the task works.
DELAYS = (0.0, 0.4)
BEGINNINGS = {"deploy": "facts | ", "rollback": "", "contract": "facts | "}
# What only reports; a fault there is one behind the end.
ENDINGS = ("report", "mend", "undo", "Print")
TIME_IS_OVER = (
    f"sed -i -E 's/(\"until\": )[0-9]+/\\10/' {rig.STATE}/state.json && /usr/local/lib/evenkeel/edge-sync withdraw"
)
LEDGER = f"tail -n 1 {rig.STATE}/ledger.jsonl"
CUT = "add table inet cut; add chain inet cut in {type filter hook input priority -10;}; "
CUT += "add rule inet cut in tcp dport 22 reject with tcp reset"


@dataclass(frozen=True)
class Case:
    """One fault at one task of one verb."""

    verb: str
    fault: str
    task: str
    delay: float

    def __str__(self) -> str:
        return f"{self.verb}, {self.fault} at {self.task!r} + {self.delay} s"


@dataclass
class Seen:
    """What a case ended in."""

    converged: bool
    problem: str
    requests: int
    failed: int
    lost_with_host: int


# -- faults ------------------------------------------------------------------


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise rig.Silent(f"crash: docker {' '.join(words)}: found {done.stderr.strip()[-300:]}")
    return done.stdout


def container(host: str) -> str:
    return f"evenkeel-lab{'' if rig.LAB_ID == 0 else rig.LAB_ID}-{host}"


def controller_killed(run: rig.Play) -> Iterator[None]:
    rig.kill(run.process)
    yield


def controller_stopped(run: rig.Play) -> Iterator[None]:
    """The controller sleeps while another person takes its lease away and deploys, and wakes after that."""
    os.killpg(run.process.pid, signal.SIGSTOP)
    yield
    os.killpg(run.process.pid, signal.SIGCONT)
    with contextlib.suppress(rig.Silent):
        run.wait()


def gone(host: str) -> Callable[[rig.Play], Iterator[None]]:
    """A machine loses its power and comes back when the run has ended."""

    def lose(run: rig.Play) -> Iterator[None]:
        docker("kill", container(host))
        try:
            with contextlib.suppress(rig.Silent):
                run.wait(240)
        finally:
            docker("start", container(host))
            rig.until(lambda: booted(host), 90)
        yield

    return lose


def booted(host: str) -> bool:
    with contextlib.suppress(rig.Silent, subprocess.TimeoutExpired):
        return "running" in docker("exec", container(host), "sh", "-c", "systemctl is-system-running || true")
    return False


def connection_cut(run: rig.Play) -> Iterator[None]:
    """SSH to an app host is reset for a while; what runs there goes on."""
    docker("exec", container("app2"), "nft", CUT)
    try:
        time.sleep(CUT_SECONDS)
    finally:
        docker("exec", container("app2"), "nft", "delete table inet cut")
    with contextlib.suppress(rig.Silent):
        run.wait(240)
    yield


FULL = (
    "mountpoint -q /var/lib/evenkeel || { mkdir -p /mnt/full && mount -t tmpfs -o size=24m,mode=755 tmpfs /mnt/full &&"
    " cp -a /var/lib/evenkeel/. /mnt/full/ && mount --move /mnt/full /var/lib/evenkeel; }"
)
EMPTY = (
    "mountpoint -q /var/lib/evenkeel && { rm -f /var/lib/evenkeel/filler; mkdir -p /mnt/full &&"
    " mount --move /var/lib/evenkeel /mnt/full && cp -a /mnt/full/. /var/lib/evenkeel/ && umount /mnt/full; } || true"
)


def disk_full(run: rig.Play) -> Iterator[None]:
    """The state of the record host has a disk of its own, which is full from a task on."""
    script = "cat /dev/zero > /var/lib/evenkeel/filler 2>/dev/null; true"
    docker("exec", container(RECORD_HOST), "sh", "-c", script)
    try:
        with contextlib.suppress(rig.Silent):
            run.wait(240)
    finally:
        docker("exec", container(RECORD_HOST), "rm", "-f", "/var/lib/evenkeel/filler")
    yield


FAULTS: dict[str, Callable[[rig.Play], Iterator[None]]] = {
    "controller_killed": controller_killed,
    "controller_stopped": controller_stopped,
    "connection_cut": connection_cut,
    "app_host_gone": gone("app2"),
    "edge_gone": gone(OTHER_EDGE),
    "record_host_gone": gone(RECORD_HOST),
    "disk_full": disk_full,
}


def loaded(fault: str) -> list[str]:
    """Return the addresses of the edges that stay through a fault: users of the others are elsewhere."""
    lost = {"edge_gone": 1, "record_host_gone": 0}.get(fault)
    return [url for place, url in enumerate(rig.URLS) if place != lost]


# -- verbs -------------------------------------------------------------------


def arguments(verb: str, target: str, content: str) -> list[str]:
    if verb == "rollback":
        return ["playbooks/rollback.yml", "-e", f"app={rig.APP}"]
    if verb == "contract":
        return ["playbooks/contract.yml", "-e", f"app={rig.APP}", "-e", f"shop_report_schedule={content}"]
    words = ["playbooks/deploy.yml", "-e", f"app={rig.APP}", "-e", f"release={target}", "-e", f"retry={target}"]
    return [*words, *(["-e", f"shop_report_schedule={content}"] if content else [])]


def need(*words: str, folder: Path) -> rig.Play:
    run = rig.play(*words, folder=folder)
    if run.code != 0:
        raise rig.Silent(f"crash: {run.command}: found code {run.code}.\n{run.tail(12)}")
    return run


def prepare(case_number: int, verb: str, folder: Path) -> tuple[str, str]:
    """Bring the lab to where the verb makes sense; return its target and its content."""
    if verb == "contract":
        # Each contract needs a release of its own with a migration that is still to come.
        content = f"*-*-* 04:{case_number // 60 % 60:02d}:{case_number % 60:02d}"
        need(*arguments("deploy", NEW, content), folder=folder)
        rig.on_hosts("edge", TIME_IS_OVER)
        rig.on_hosts("app", "systemctl start evenkeel-retire.service")
        return NEW, content
    if verb == "rollback":
        before = rig.live_release()
        put_live(other(before), folder)
        return before, ""
    return other(rig.live_release()), ""


def follow(case: Case, target: str, content: str, folder: Path) -> rig.Play:
    """Run what a user types next: the verb again, and a deploy where a rollback is not to be repeated."""
    verb = "deploy" if case.verb == "rollback" else case.verb
    return rig.play(*arguments(verb, target, content), "-e", "wait=130", folder=folder)


def take_over(target: str, folder: Path) -> None:
    """While the first controller sleeps, take its lease away and deploy the other release."""
    need("playbooks/unlock.yml", "-e", f"app={rig.APP}", "-e", "reason=crash_matrix", folder=folder)
    need(*arguments("deploy", other(target), ""), folder=folder)


def problem_of(target: str) -> str:
    """Return why the lab is not on one good release; empty where it is."""
    entry = rig.live_entry()
    colour, _weight, release = entry.split(":")[:3]
    if release.partition("+")[0] != target:
        return f"the edges serve {entry}, not {target}"
    row = json.loads(rig.on_hosts(RECORD_HOST, LEDGER)[RECORD_HOST])
    if (row["identity"], row["result"]) != (release, "live") and row.get("kind") != "contract":
        return f"the ledger's last row is {row['identity']} {row['result']}, the edges serve {entry}"
    if not all(rig.containers(colour).values()):
        return f"{colour} does not run on every host"
    served = rig.live_release()
    return "" if served == target else f"the app answers {served}"


def one(case_number: int, case: Case, folder: Path) -> Seen:
    """Run one case."""
    target, content = prepare(case_number, case.verb, folder)
    urls = loaded(case.fault)
    with contextlib.ExitStack() as stack:
        loads = [
            stack.enter_context(rig.Traffic(folder, RATE / len(urls), url=url, timeout_seconds=PATIENCE_SECONDS))
            for url in urls
        ]
        run = rig.begin(*arguments(case.verb, target, content), folder=folder)
        with rig.ended(run):
            with contextlib.suppress(rig.Silent):
                run.wait_for_task("^" + case.task.replace("|", r"\|"))
            time.sleep(case.delay)
            steps = FAULTS[case.fault](run)
            next(steps)
            if case.fault == "controller_stopped":
                take_over(target, folder)
            for _rest in steps:
                pass
        following = follow(case, target, content, folder)
        problem = "" if following.code == 0 else f"the following run ended with {following.code}: {following.tail(3)}"
    problem = problem or problem_of(target)
    failed = sum(load.outcome.failed for load in loads)
    failed += sum(load.outcome.orders["missing"] + load.outcome.orders["duplicated"] for load in loads)
    with_host = failed if case.fault == "app_host_gone" else 0
    requests = sum(load.outcome.summary["requests"] for load in loads)
    return Seen(not problem, " ".join(problem.split()), requests, failed - with_host, with_host)


# -- the figure --------------------------------------------------------------


def tasks_of(verb: str, folder: Path) -> list[str]:
    """Return the tasks of a verb at which faults are planted, from one run without any."""
    target, content = prepare(3599, verb, folder)
    run = need(*arguments(verb, target, content), folder=folder)
    names = list(dict.fromkeys(run.tasks))
    first = next((place for place, name in enumerate(names) if name.startswith(BEGINNINGS[verb])), 0)
    return [name for name in names[first:] if not name.startswith(ENDINGS)]


def chosen(cases: list[Case], count: int) -> list[Case]:
    """Return that many of the cases, evenly spread."""
    if count >= len(cases):
        return cases
    return [cases[place * len(cases) // count] for place in range(count)]


def planned(verbs: list[str], faults: list[str], share: int, folder: Path) -> Iterator[Case]:
    """Return the cases of one verb after the other; after a contract migration release 1.0 no longer runs."""
    for verb in sorted(verbs, key=list(BEGINNINGS).index):
        product = itertools.product(faults, DELAYS, tasks_of(verb, folder))
        picked = chosen([Case(verb, fault, task, delay) for fault, delay, task in product], share)
        # What needs another disk below the state comes last, as a machine that lost its power has the former one.
        yield from sorted(picked, key=lambda case: case.fault == "disk_full")


def crash_matrix(folder: Path) -> Measured:
    need_lab()
    if rig.EDGES < 2:
        raise NotMeasured("the lab has one edge: export EVENKEEL_LAB_EDGES=2, then make lab site")
    verbs = (os.environ.get("EVENKEEL_BENCH_VERBS") or "deploy,rollback,contract").split(",")
    faults = (os.environ.get("EVENKEEL_BENCH_CRASHES") or ",".join(FAULTS)).split(",")
    share = number("CASES", 500) // len(verbs)
    totals: collections.Counter[str] = collections.Counter()
    by_fault: dict[str, collections.Counter[str]] = {}
    problems: list[str] = []
    for count, case in enumerate(planned(verbs, faults, share, folder)):
        rig.on_hosts(RECORD_HOST, FULL if case.fault == "disk_full" else EMPTY)
        try:
            seen = one(count, case, folder)
        except rig.Silent as exc:
            seen = Seen(False, " ".join(str(exc).split())[-600:], 0, 0, 0)
        row = by_fault.setdefault(f"{case.verb}, {case.fault}", collections.Counter())
        for counts in (totals, row):
            counts.update(
                cases=1,
                converged=seen.converged,
                requests=seen.requests,
                failed=seen.failed,
                lost_with_host=seen.lost_with_host,
            )
        if seen.problem or seen.failed:
            problems.append(f"{case}: {seen.problem or f'{seen.failed} requests failed'}")
        say(f"{count + 1}: {case}: {seen}")
    rig.on_hosts(RECORD_HOST, EMPTY)
    return Measured(
        results={
            **totals,
            "not_converged": totals["cases"] - totals["converged"],
            "rate": RATE,
            "edges": rig.EDGES,
            "by_fault": {name: dict(counts) for name, counts in by_fault.items()},
            "problems": problems,
        },
        bar=[
            {"of": "results.cases", "at_least": 500},
            {"of": "results.not_converged", "at_most": 0},
            {"of": "results.failed", "at_most": 0},
        ],
    )
