# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the stages of the test, count passed, failed and skipped tests, and clean up.

A failing stage does not stop the others. The last line is the total: N passed, N failed, N skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
LOGS = CACHE / "test"
BIN = CACHE / "venv" / "bin"
PACKAGE = "ansible_collections.evenkeel.platform"
PACKAGE_CACHE = "evenkeel-lab-packages"
TAIL_LINES = 60
# Run by `make matrix`, because they exceed the time limit of the whole test.
LONG_SCENARIOS = frozenset({"restore"})
FIRST_SCENARIOS = frozenset({"app_deploy", "edge", "monitoring", "postgres_backup"})
# Scenarios on a program that is not installed by the set-up, with the variable that names it.
NEEDED = {"k3s_cluster": "EVENKEEL_K3S_BINARY"}
# Running commands, and whether the run was stopped.
PROCESSES: set[subprocess.Popen[bytes]] = set()
ENDING = threading.Event()
COUNTED_STEPS = ("check", "converge", "idempotence")
STEP = re.compile(r"\[(?P<scenario>[\w.-]+) > (?P<step>\w+)\] Executed: (?P<result>\w+)")
ESCAPES = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z]|\]8;[^\x1b]*\x1b\\)")


@dataclass
class Count:
    """Results of a check: the number of passed tests, the failed ones, the skipped ones with reasons."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    def __iadd__(self, other: Count) -> Count:
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips
        return self

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped"


@dataclass(frozen=True)
class Check:
    """One command, how to count its tests, and its time limit."""

    stage: str
    name: str
    argv: list[str]
    limit_seconds: int
    counter: Callable[[Check, int, str], Count]
    pytest_options: str = ""

    @property
    def label(self) -> str:
        return self.stage if self.name == self.stage else f"{self.stage} {self.name}"

    @property
    def log(self) -> Path:
        return LOGS / f"{self.label.replace(' ', '-').replace('/', '-')}.log"

    @property
    def junit(self) -> Path:
        return self.log.with_suffix(".xml")


def count_one(check: Check, code: int, _output: str) -> Count:
    """Count the command itself as one test."""
    return Count(passed=1) if code == 0 else Count(failures=[check.label])


def count_junit(check: Check, code: int, _output: str) -> Count:
    """Count each test case of the report, and one failure if the command failed without any."""
    count = read_junit(check.junit, check.label)
    if code != 0 and not count.failures:
        count.failures.append(f"{check.label}: ended with code {code}")
    if code == 0 and not (count.passed or count.failures or count.skips):
        count.skips.append(f"{check.label}: no test was found")
    return count


def count_molecule(check: Check, code: int, output: str) -> Count:
    """Count check, converge, idempotence, and each test of verify."""
    count = Count()
    last = ""
    for match in STEP.finditer(output):
        last = match["step"]
        if match["result"] not in {"Successful", "Missing"}:
            if last != "verify":
                count.failures.append(f"{check.label}: {last}")
        elif last in COUNTED_STEPS:
            count.passed += 1
    count += read_junit(check.junit, check.label)
    if code != 0 and not count.failures:
        count.failures.append(f"{check.label}: ended with code {code} after {last or 'no step'}")
    if code == 0 and not check.junit.exists():
        count.failures.append(f"{check.label}: verify ran no test")
    return count


def count_skipped(check: Check, code: int, _output: str) -> Count:
    """Count a scenario without its program as one skipped test."""
    reason = f"{check.label}: {NEEDED[check.name]} names no program, so it was not run"
    return Count(skips=[reason]) if code == 0 else Count(failures=[check.label])


def read_junit(path: Path, label: str) -> Count:
    """Count a JUnit report; a missing one counts nothing."""
    count = Count()
    if not path.exists():
        return count
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{label}: {case.get('classname', '')}::{case.get('name', '')}"
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            count.failures.append(name)
        elif skip is not None:
            count.skips.append(f"{name}: {skip.get('message') or skip.text or 'no reason given'}")
        else:
            count.passed += 1
    return count


def tool(name: str) -> str:
    """Return a program of the checkout's environment, or from PATH."""
    return str(BIN / name) if (BIN / name).exists() else name


def python() -> str:
    return tool("python") if BIN.exists() else shutil.which("python3") or sys.executable


def environment(junit: Path, pytest_options: str = "") -> dict[str, str]:
    """What each command sees: the checkout's tools first, each task of Ansible, no colours, the report's place."""
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(BIN), "/usr/bin", os.environ.get("PATH", "")]),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "NO_COLOR": "1",
        "PY_COLORS": "0",
        "PYTHONUNBUFFERED": "1",
        "LC_ALL": "C.UTF-8",
        "PYTEST_ADDOPTS": f"--junitxml={junit} {pytest_options}",
    }
    for name in ("ANSIBLE_FORCE_COLOR", "FORCE_COLOR", "PYTHONPATH", "VIRTUAL_ENV"):
        env.pop(name, None)
    return env


# The stages


def setup_stage() -> Iterator[Check]:
    yield Check("setup", "setup", ["lab/setup.sh", "tests"], 1500, count_one)


def lint_stage() -> Iterator[Check]:
    packages = [word for name in ("plugins", "tests") for word in ("-p", f"{PACKAGE}.{name}")]
    packages += ["-p", "evenkeel_backup"]
    build = ["collection", "build", "--force", "--output-path", str(CACHE / "build"), "."]
    for name, argv in {
        "yamllint": ["yamllint", "--strict", "."],
        "ruff": ["ruff", "check", "."],
        "ruff-format": ["ruff", "format", "--check", "."],
        "mypy": ["mypy", *packages],
        "ansible-lint": ["ansible-lint", "--offline", "--nocolor"],
        "antsibull-changelog": ["antsibull-changelog", "lint"],
        "antsibull-docs": ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "."],
        "galaxy-build": ["ansible-galaxy", *build],
    }.items():
        yield Check("lint", name, [tool(argv[0]), *argv[1:]], 900, count_one)


def pytest_check(stage: str, folder: str, limit_seconds: int, *options: str, name: str = "") -> Iterator[Check]:
    if (ROOT / folder).is_file() or any((ROOT / folder).rglob("test_*.py")):
        argv = [python(), "-m", "pytest", "-q", *options, folder]
        yield Check(stage, name or stage, argv, limit_seconds, count_junit)


def unit_checks(stage: str, *options: str) -> Iterator[Check]:
    # ansible-core tells controller and target apart by imported modules, so each side needs its own process.
    modules = "tests/unit/plugins/modules"
    yield from pytest_check(stage, modules, 1200, *options, name="modules")
    yield from pytest_check(stage, "tests/unit/protocol", 1200, *options, name="protocol")
    others = [f"--ignore={modules}", "--ignore=tests/unit/protocol"]
    yield from pytest_check(stage, "tests/unit", 1200, *others, *options)


def unit_stage() -> Iterator[Check]:
    yield from unit_checks("unit")


def coverage_stage() -> Iterator[Check]:
    """Unit tests with coverage, which takes a third longer."""
    yield from unit_checks("coverage", "--cov=plugins", "--cov-append", "--cov-report=term:skip-covered")


def contract_stage() -> Iterator[Check]:
    yield from pytest_check("contract", "tests/contract", 1200)


def sanity_stage() -> Iterator[Check]:
    check = Check("sanity", "sanity", [python(), "tests/sanity.py"], 600, count_junit)
    yield Check(check.stage, check.name, [*check.argv, "--junit", str(check.junit)], 1200, count_junit)


def scenarios() -> list[str]:
    """Return the default scenarios, without alternative and long ones; the slowest first, for lanes of one length."""
    names = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")} - LONG_SCENARIOS
    short = sorted(name for name in names if not name.endswith("_alternative"))
    return sorted(short, key=lambda name: name not in FIRST_SCENARIOS)


def molecule_stage(names: list[str] | None = None, *, pytest_options: str = "") -> Iterator[Check]:
    for name in names or scenarios():
        if name in NEEDED and not os.environ.get(NEEDED[name]):
            yield Check("molecule", name, [python(), "-c", ""], 10, count_skipped)
            continue
        argv = [tool("molecule"), "-c", "molecule/config.yml", "test", "--destroy=always", "-s", name]
        yield Check("molecule", name, argv, 2400, count_molecule, pytest_options)


def molecule_short_stage() -> Iterator[Check]:
    """Scenarios without the tests marked long, which run the same tasks in other ways."""
    yield from molecule_stage(pytest_options="-m 'not long'")


def integration_stage(*options: str) -> Iterator[Check]:
    """Tests with real servers, stores and programs on this machine."""
    yield Check("integration", "store", [tool("ansible-playbook"), "lab/store.yml"], 600, count_one)
    yield from pytest_check("integration", "tests/integration/backup", 3600, *options, name="backup")
    yield from pytest_check("integration", "tests/integration/monitoring", 600, name="monitoring")


def integration_short_stage() -> Iterator[Check]:
    """Integration tests without those marked long."""
    yield from integration_stage("-m", "not long")


def lab_check(stage: str) -> Iterator[Check]:
    yield Check(stage, "lab", [tool("ansible-playbook"), "lab/up.yml"], 1200, count_one)


def e2e_stage(*options: str) -> Iterator[Check]:
    yield from lab_check("e2e")
    yield from pytest_check("e2e", "tests/integration/test_lab.py", 600, name="lab-hosts")
    yield from pytest_check("e2e", "tests/e2e", 3600, *options)


def e2e_short_stage() -> Iterator[Check]:
    """End-to-end tests without those marked long, which run the same code in other ways."""
    yield from e2e_stage("-m", "not long")


def faults_stage() -> Iterator[Check]:
    many = ["env", "EVENKEEL_EXAMPLES=3000", python(), "-m", "pytest", "-q", "tests/unit/protocol"]
    yield Check("faults", "interleavings", many, 5400, count_junit)
    yield from lab_check("faults")
    yield from pytest_check("faults", "tests/faults", 12600)


def matrix_stage() -> Iterator[Check]:
    yield from molecule_stage(sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")))


STAGES: dict[str, Callable[[], Iterator[Check]]] = {
    "setup": setup_stage,
    "lint": lint_stage,
    "unit": unit_stage,
    "coverage": coverage_stage,
    "contract": contract_stage,
    "sanity": sanity_stage,
    "integration": integration_stage,
    "integration-short": integration_short_stage,
    "molecule": molecule_stage,
    "molecule-short": molecule_short_stage,
    "e2e": e2e_stage,
    "e2e-short": e2e_short_stage,
    "faults": faults_stage,
    "matrix": matrix_stage,
}
DEFAULT_STAGES = ("setup", "integration-short", "molecule-short", "e2e-short", "lint", "unit", "contract", "sanity")
# Groups of lanes that run in parallel; a lane is a list of stages, and lanes of one stage share its checks. Scenarios
# wait for their hosts a third of the time, so two of them run at once. The lab's tests count lost requests: beside them
# run only checks without hosts, at a low priority.
LANES = (
    (("setup",),),
    (("integration-short", "molecule-short", "molecule"), ("molecule-short", "molecule")),
    (("e2e-short",), ("lint", "unit", "contract", "sanity")),
)
LOW_PRIORITY = frozenset({"lint", "unit", "contract", "sanity"})


# Running


class Interrupted(Exception):
    """The run received a signal to stop."""


def interrupt(signum: int, _frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(signum).name)


def run(check: Check, limit_seconds: float) -> Count:
    """Run one check within its time limit, print its output on a failure, and count its tests."""
    check.log.parent.mkdir(parents=True, exist_ok=True)
    check.junit.unlink(missing_ok=True)
    if check.label == "unit modules":
        (CACHE / "coverage").unlink(missing_ok=True)
    began = time.monotonic()
    if ENDING.is_set():
        return Count()
    if limit_seconds <= 0:
        print(f"FAIL {check.label}: not run, the budget is spent", flush=True)
        return Count(failures=[f"{check.label}: not run, the budget is spent"])
    print(f"---- {check.label}: {' '.join(check.argv)}", flush=True)
    with check.log.open("w", encoding="utf-8") as log:
        try:
            process = subprocess.Popen(
                [*(("nice",) if check.stage in LOW_PRIORITY else ()), *check.argv],
                cwd=ROOT,
                env=environment(check.junit, check.pytest_options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            print(f"FAIL {check.label}: {exc}", flush=True)
            return Count(failures=[f"{check.label}: {exc}"])
        PROCESSES.add(process)
        try:
            code: int | None = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end(process)
            PROCESSES.discard(process)
    output = ESCAPES.sub("", check.log.read_text(encoding="utf-8", errors="replace"))
    if code is None:
        count = check.counter(check, 124, output)
        count.failures.append(f"{check.label}: not finished within {limit_seconds:.0f} s")
    else:
        count = check.counter(check, code, output)
    if count.failures:
        print("\n".join(output.splitlines()[-TAIL_LINES:]))
    word = "FAIL" if count.failures else "pass"
    print(f"{word} {check.label}: {count} in {time.monotonic() - began:.0f} s", flush=True)
    return count


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the process group of a running command."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)


def docker(*words: str) -> list[str]:
    """Return the output lines of a docker command; none without an engine."""
    try:
        asked = subprocess.run(
            ["docker", *words],
            env=environment(LOGS / "none.xml"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return asked.stdout.split() if asked.returncode == 0 else []


def lab_name() -> str:
    """Return the name of the lab from EVENKEEL_LAB_ID."""
    number = os.environ.get("EVENKEEL_LAB_ID") or "0"
    return "evenkeel-lab" if number == "0" else f"evenkeel-lab{number}"


@dataclass(frozen=True)
class Before:
    """Containers of this machine before the tests."""

    containers: frozenset[str]
    lab: bool
    engine: bool

    @classmethod
    def seen(cls) -> Before:
        return cls(
            containers=frozenset(docker("ps", "--all", "--quiet", "--no-trunc")),
            lab=bool(docker("ps", "--all", "--quiet", "--filter", f"label=org.evenkeel.lab={lab_name()}")),
            engine=bool(docker("version", "--format", "{{.Server.Version}}")),
        )


def clean(before: Before, done: list[Check]) -> None:
    """Remove the scenarios' hosts, the lab, and an engine that the set-up started."""
    for check in done:
        if check.counter is count_molecule:
            pattern = f"name=^evenkeel-mol-{check.name.replace('_', '-')}-"
            left = set(docker("ps", "--all", "--quiet", "--no-trunc", "--filter", pattern)) - before.containers
            if left:
                print(f"---- removing {len(left)} hosts of scenario {check.name}", flush=True)
                docker("rm", "--force", "--volumes", *sorted(left))
    if not before.lab and any(check.stage in {"e2e", "faults"} for check in done):
        argv = [tool("ansible-playbook"), "lab/down.yml"]
        print(f"---- {' '.join(argv)}", flush=True)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            env = environment(LOGS / "none.xml")
            subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, timeout=180, check=False)
    remove_shared(before)
    if not before.engine:
        end_engine(CACHE / "dockerd.pid")


def remove_shared(before: Before) -> None:
    """Remove shared resources once no lab or scenario is left: the package cache and molecule's network."""
    left = docker("ps", "--all", "--format", "{{.Names}}", "--filter", "name=^evenkeel-")
    cache = set(docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"name=^{PACKAGE_CACHE}$"))
    if cache - before.containers and set(left) == {PACKAGE_CACHE}:
        docker("rm", "--force", PACKAGE_CACHE)
        docker("network", "rm", "evenkeel-molecule")


def end_engine(pidfile: Path) -> None:
    """Stop the engine if the set-up started it."""
    try:
        pid = int(pidfile.read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if b"dockerd" not in command or str(pidfile).encode() not in command:
        return
    print(f"---- ending the engine that this run started, process {pid}", flush=True)
    subprocess.run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), "kill", str(pid)], check=False)
    for _attempt in range(60):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.5)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", action="append", choices=STAGES, help="run this stage only; may be repeated")
    parser.add_argument("--scenario", action="append", help="run this molecule scenario only; may be repeated")
    parser.add_argument("--budget-seconds", type=int, default=5250, help="limit of the whole run (%(default)s)")
    parser.add_argument("--list", action="store_true", help="print the checks with their limits and run none")
    return parser.parse_args(arguments)


def checks_of(stage: str, scenario: list[str] | None) -> list[Check]:
    return list(molecule_stage(scenario) if stage == "molecule" else STAGES[stage]())


def lanes_of(stages: list[str]) -> list[list[list[str]]]:
    """Return the groups of lanes for some stages; a stage that is in none of LANES runs alone, after them."""
    groups = [[[name for name in lane if name in stages] for lane in group] for group in LANES]
    alone = [[[name]] for name in stages if all(name not in lane for group in LANES for lane in group)]
    return [lanes for group in groups if (lanes := [lane for lane in group if lane])] + alone


def taken(waiting: deque[Check]) -> Check | None:
    """Return the next check for one lane; None if all are taken."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


def in_lanes(lane: Callable[[list[str]], Count], lanes: list[list[str]]) -> Count:
    """Run the lanes in parallel. A signal to stop ends the commands of all lanes."""
    total = Count()
    with ThreadPoolExecutor(len(lanes)) as pool:
        running = [pool.submit(lane, names) for names in lanes]
        try:
            for one in running:
                total += one.result()
        except Interrupted:
            ENDING.set()
            for process in list(PROCESSES):
                end(process)
            raise
    return total


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    stages = options.stage or list(["molecule"] if options.scenario else DEFAULT_STAGES)
    if options.list:
        for stage in stages:
            for check in checks_of(stage, options.scenario):
                print(f"{check.limit_seconds:5d} s  {check.label}: {' '.join(check.argv)}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    total, seconds, began, before = Count(), dict[str, float](), time.monotonic(), Before.seen()
    waiting: dict[str, deque[Check]] = {}
    started: dict[str, float] = {}
    done: list[Check] = []

    def lane(names: list[str]) -> Count:
        count = Count()
        for stage in names:
            started.setdefault(stage, time.monotonic())
            while check := taken(waiting[stage]):
                left = options.budget_seconds - (time.monotonic() - began)
                done.append(check)
                count += run(check, min(check.limit_seconds, left))
            seconds[stage] = time.monotonic() - started[stage]
        return count

    try:
        for lanes in lanes_of(stages):
            # Not earlier: the set-up installs the tools of later stages.
            waiting |= {stage: deque(checks_of(stage, options.scenario)) for names in lanes for stage in names}
            total += in_lanes(lane, lanes)
    except Interrupted as exc:
        total.failures.append(f"the run was ended by {exc}")
    finally:
        clean(before, done)
    report(total, seconds, options.budget_seconds, time.monotonic() - began)
    return 1 if total.failures else 0


def report(total: Count, seconds: dict[str, float], budget_seconds: int, spent: float) -> None:
    """Print the seconds of each stage, each failure, each skip with its reason, and the total as the last line."""
    print("\nseconds by stage")
    for stage, taken in seconds.items():
        print(f"  {stage:10s} {taken:7.1f}")
    print(f"  {'total':10s} {spent:7.1f} of {budget_seconds} (budget)")
    for title, lines in (("skipped", total.skips), ("failed", total.failures)):
        if lines:
            print(f"\n{title}")
        for line in lines:
            print("  " + " ".join(line.split()))
    print(f"\n{total}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
