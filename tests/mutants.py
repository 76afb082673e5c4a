# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plant each defect of molecule/<scenario>/mutants.yml in a copy of the checkout, and check that its scenario fails.

A list of {name, tests, file, find, replace}; `find` must occur in `file` exactly once, and `tests` are the tests of the
scenario that detect the defect, with their dependencies. The unchanged copy must pass all of them; then each defect is
planted, converged and tested on new hosts. The table is written to docs/mutants.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.tests import checkout

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
COPY = CACHE / "mutants" / "checkout"
TABLE = ROOT / "docs" / "mutants.md"
STEPS = ("destroy", "create", "prepare", "converge", "verify")
LIMIT_SECONDS = 900
HEAD = """# Planted defects

`make mutants` plants each defect in a copy of the checkout, converges the role's scenario on fresh hosts and runs the
tests that the defect names; without a defect all of them pass. A defect is caught when one of the two fails.

| scenario | defect | file | caught by |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Mutant:
    """One defect: a text in a file, and its replacement."""

    scenario: str
    name: str
    tests: tuple[str, ...]
    file: str
    find: str
    replace: str


class MutantError(Exception):
    """An invalid list of defects."""


def read_mutants(scenario: str, entries: object) -> list[Mutant]:
    """Read the defects of a scenario, and check that they are complete and have unique names."""
    if not isinstance(entries, list):
        raise MutantError(
            f"mutants: list of {scenario}: found {type(entries).__name__}, need a list. Mend mutants.yml."
        )
    mutants = []
    for number, entry in enumerate(entries, start=1):
        missing = sorted({"name", "tests", "file", "find", "replace"} - set(entry))
        if missing:
            raise MutantError(
                f"mutants: defect {number} of {scenario}: found no {', '.join(missing)}, "
                "need name, tests, file, find and replace. Add what is missing."
            )
        mutants.append(
            Mutant(
                scenario,
                str(entry["name"]),
                tuple(entry["tests"]),
                *(str(entry[key]) for key in ("file", "find", "replace")),
            )
        )
    return mutants


def plant(mutant: Mutant, text: str) -> str:
    """Return the file's text with the defect."""
    found = text.count(mutant.find)
    if found != 1:
        raise MutantError(
            f"mutants: place of {mutant.name} in {mutant.file}: found it {found} times, need it once. Mend find."
        )
    return text.replace(mutant.find, mutant.replace)


def refuse_unknown_tests(mutants: list[Mutant], scenario: str, texts: Iterable[str]) -> None:
    """Refuse unknown tests, which would miss every defect."""
    there = {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    for mutant in mutants:
        unknown = sorted(set(mutant.tests) - there)
        if unknown or not mutant.tests:
            raise MutantError(
                f"mutants: tests of {mutant.name} of {scenario}: found {', '.join(unknown) or 'none'}, "
                f"need names of tests in molecule/{scenario}/tests. Mend tests."
            )


def copy_checkout() -> None:
    """Copy the checkout, so that it is not changed itself."""
    checkout.copy_to(COPY)
    for name in ("lab", "venv", "images"):
        if (CACHE / name).exists():
            (COPY / ".cache").mkdir(exist_ok=True)
            (COPY / ".cache" / name).symlink_to(CACHE / name)


def molecule(scenario: str, step: str, tests: Iterable[str], log: Path) -> bool:
    """Run one step of a scenario in the copy with the given tests; return whether it passes."""
    beside = Path(sys.executable).with_name("molecule")
    program = CACHE / "venv" / "bin" / "molecule"
    first = next((str(path) for path in (program, beside) if path.exists()), "molecule")
    env = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(first).parent), "/usr/bin", os.environ.get("PATH", "")]),
        "ANSIBLE_CONFIG": str(COPY / "ansible.cfg"),
        # The first failing test is enough.
        "PYTEST_ADDOPTS": f"-x -k '{' or '.join(tests)}'",
        "MOLECULE_EPHEMERAL_DIRECTORY": str(CACHE / "mutants" / "molecule" / scenario),
    }
    with log.open("a", encoding="utf-8") as output:
        try:
            asked = subprocess.run(
                [first, "-c", "molecule/config.yml", step, "-s", scenario],
                cwd=COPY,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return asked.returncode == 0


def first_red(scenario: str, tests: Iterable[str], log: Path) -> str:
    """Return the first step that fails; empty if all pass. A failure of the set-up is an error."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    try:
        for step in STEPS:
            if not molecule(scenario, step, tests, log):
                if step in {"destroy", "create", "prepare"}:
                    raise MutantError(f"mutants: {step} of {scenario}: found it failed, need hosts. See {log.name}.")
                return step
    finally:
        molecule(scenario, "destroy", tests, log)
    return ""


def try_mutant(mutant: Mutant) -> str:
    """Plant a defect, return the step that fails, and remove the defect."""
    path = COPY / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(plant(mutant, text), encoding="utf-8")
    try:
        log = CACHE / "mutants" / f"{mutant.scenario}-{mutant.name}.log".replace(" ", "-")
        return first_red(mutant.scenario, mutant.tests, log)
    finally:
        path.write_text(text, encoding="utf-8")


def write_table(rows: dict[Mutant, str], declared: set[tuple[str, str]]) -> None:
    """Write the table; rows of declared defects that did not run are kept."""
    run = {(one.scenario, one.name) for one in rows}
    kept = []
    for line in TABLE.read_text(encoding="utf-8").splitlines() if TABLE.exists() else []:
        cells = tuple(cell.strip() for cell in line.split("|")[1:3])
        if cells in declared - run:
            kept.append(line)
    new = [f"| {one.scenario} | {one.name} | `{one.file}` | {step or '**nothing**'} |" for one, step in rows.items()]
    TABLE.write_text(HEAD + "\n".join(sorted([*kept, *new])) + "\n", encoding="utf-8")


def load() -> list[Mutant]:
    """Read all lists, and check that each defect can be planted, before creating hosts."""
    import yaml

    mutants: list[Mutant] = []
    for path in sorted((ROOT / "molecule").glob("*/mutants.yml")):
        scenario = path.parent.name
        found = read_mutants(scenario, yaml.safe_load(path.read_text(encoding="utf-8")))
        texts = [each.read_text(encoding="utf-8") for each in (path.parent / "tests").glob("*.py")]
        refuse_unknown_tests(found, scenario, texts)
        mutants += found
    for mutant in mutants:
        plant(mutant, (ROOT / mutant.file).read_text(encoding="utf-8"))
    return mutants


def run(mutants: list[Mutant], declared: set[tuple[str, str]]) -> int:
    """Run each scenario unchanged and then with each defect; return the number of undetected defects."""
    copy_checkout()
    rows: dict[Mutant, str] = {}
    for scenario in sorted({mutant.scenario for mutant in mutants}):
        tests = sorted({test for mutant in mutants if mutant.scenario == scenario for test in mutant.tests})
        red = first_red(scenario, tests, CACHE / "mutants" / f"{scenario}-unchanged.log")
        if red:
            raise MutantError(f"mutants: scenario {scenario} unchanged: found {red} red, need it green. Mend it first.")
        for mutant in [one for one in mutants if one.scenario == scenario]:
            began = time.monotonic()
            rows[mutant] = try_mutant(mutant)
            word = f"caught by {rows[mutant]}" if rows[mutant] else "NOT CAUGHT"
            print(f"{scenario}: {mutant.name}: {word} in {time.monotonic() - began:.0f} s", flush=True)
            write_table(rows, declared)
    return sum(not step for step in rows.values())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenario", action="append", help="the defects of this scenario only; may be repeated")
    parser.add_argument("--name", action="append", help="the defect of this name only; may be repeated")
    parser.add_argument("--list", action="store_true", help="see that each defect can be planted, and run none")
    options = parser.parse_args(arguments)
    try:
        known = load()
        mutants = [
            one
            for one in known
            if (not options.scenario or one.scenario in options.scenario)
            and (not options.name or one.name in options.name)
        ]
        if options.list:
            for mutant in mutants:
                print(f"{mutant.scenario}: {mutant.name} in {mutant.file}")
            return 0
        missed = run(mutants, {(one.scenario, one.name) for one in known})
    except MutantError as exc:
        print(exc, file=sys.stderr)
        return 2
    print(f"{len(mutants) - missed} of {len(mutants)} defects caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
