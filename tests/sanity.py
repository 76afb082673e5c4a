# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run `ansible-test sanity` on an export of the checkout, and report each sanity test as one test case.

ansible-test needs the collection below ansible_collections/<namespace>/<name>, and a script that installs pip in its
environments. Both are created in the cache; the home folder is not changed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".collection"))

from ansible_collections.evenkeel.platform.tests import checkout

ROOT = Path(__file__).resolve().parent.parent
EXPORT = ROOT / ".cache" / "sanity" / "ansible_collections" / "evenkeel" / "platform"
LONGEST_HOME = 50  # ansible-test adds up to 76 characters, and the kernel reads 127 characters of a shebang
# Programs for hosts or the lab, with their own interpreter line. Ruff and mypy check them.
LEFT_OUT = (
    ".*",
    "benchmarks/*",
    "examples/*",
    "lab/*",
    "molecule/*",
    "roles/*/files/*",
    "tests/e2e/*",
    "tests/faults/*",
)
RUNNING = re.compile(r'^Running sanity test "(?P<name>[\w-]+)"(?: on Python (?P<python>[\d.]+))?')
MISSING = re.compile(r'^WARNING: (?P<reason>Required program "[^"]+" not found.*)')
SKIPPED = re.compile(r'^WARNING: (?:Skipping|Unable to perform|Skipped) (?P<reason>.*"(?P<name>[\w-]+)".*)')
FAILED = re.compile(r"^(?:ERROR|FATAL): (?P<reason>.*)")
STAND_IN = '''"""Brings pip into the environment that runs this, from the interpreter's own bundle."""

import ensurepip

ensurepip.bootstrap(default_pip=True)
'''


@dataclass
class Case:
    """One sanity test on one Python."""

    name: str
    failure: str = ""
    skip: str = ""


def export() -> None:
    """Copy the collection's files to the path that ansible-test requires."""
    checkout.copy_to(EXPORT, LEFT_OUT)
    # ansible-test lists files by git, which would report that the checkout ignores its whole cache.
    subprocess.run(["git", "init", "--quiet"], cwd=EXPORT, check=True)


def home() -> Path:
    """Create a home folder for ansible-test, short enough for the shebangs of installed programs."""
    place = ROOT / ".cache" / "at"
    if len(str(place)) > LONGEST_HOME:
        place = Path(tempfile.gettempdir()) / f"evenkeel-at-{os.getuid()}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise SystemExit(f"sanity: owner of {place}: found another user, need this one. Remove the folder.")
    return place


def pip_versions() -> list[str]:
    """Return the versions of pip for which ansible-test needs a bootstrap script."""
    script = (
        "import re, ansible_test._internal.python_requirements as r;"
        "print('\\n'.join(re.findall(r\"pip='([0-9.]+)'\", open(r.__file__).read())))"
    )
    return subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()


def environment() -> dict[str, str]:
    """Return the environment of ansible-test: its own home, the user's configuration of pip."""
    place = home()
    env = {**os.environ, "HOME": str(place), "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
    config = [Path.home() / ".config" / "pip" / "pip.conf", Path.home() / ".pip" / "pip.conf"]
    for path in config:
        if path.exists():
            env.setdefault("PIP_CONFIG_FILE", str(path))
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")])
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "PYTHONPATH", "PYTEST_ADDOPTS"):
        env.pop(name, None)
    for version in pip_versions():
        script = place / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
        if not script.exists():
            script.parent.mkdir(parents=True, exist_ok=True)
            script.write_text(STAND_IN, encoding="utf-8")
    return env


def read_cases(output: str, code: int) -> list[Case]:
    """Parse the sanity tests from the output."""
    cases: list[Case] = []
    for line in output.splitlines():
        if found := RUNNING.match(line):
            cases.append(Case("-".join(filter(None, (found["name"], found["python"])))))
        elif found := SKIPPED.match(line):
            cases = [case for case in cases if case.name != found["name"]]
            cases.append(Case(found["name"], skip=found["reason"]))
        elif cases and (found := MISSING.match(line)):
            cases[-1].skip = found["reason"]
        elif cases and (found := FAILED.match(line)) and "sanity test(s) listed below" not in line:
            cases[-1].failure += f"{found['reason']}\n"
    if code != 0 and not any(case.failure for case in cases):
        cases.append(Case("ansible-test", failure=f"ended with code {code}\n{output[-2000:]}"))
    return cases


def write_junit(cases: list[Case], path: Path) -> None:
    suite = ElementTree.Element("testsuite", name="sanity", tests=str(len(cases)))
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname="sanity", name=case.name)
        if case.failure:
            ElementTree.SubElement(element, "failure", message=case.failure.splitlines()[0]).text = case.failure
        elif case.skip:
            ElementTree.SubElement(element, "skipped", message=case.skip)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--junit", type=Path, help="write a JUnit report here")
    parser.add_argument("--test", action="append", default=[], help="run this sanity test only; may be repeated")
    options = parser.parse_args(arguments)
    export()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    chosen = [word for name in options.test for word in ("--test", name)]
    asked = subprocess.run(
        ["ansible-test", "sanity", "--color", "no", "--truncate", "0", "--python", python, *chosen],
        cwd=EXPORT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(asked.stdout)
    cases = read_cases(asked.stdout, asked.returncode)
    if options.junit:
        write_junit(cases, options.junit)
    for case in cases:
        if case.skip:
            print(f"skipped {case.name}: {case.skip}")
    return asked.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
