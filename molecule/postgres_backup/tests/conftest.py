# SPDX-License-Identifier: GPL-3.0-or-later
"""The two hosts, the program on them, and further runs of the roles."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import testinfra

HERE = Path(__file__).resolve().parent
PROGRAM = "/usr/local/lib/evenkeel/evenkeel-backup"


@pytest.fixture(scope="session")
def db():
    """Return the host of the server."""
    return testinfra.get_host("ansible://db", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def ops():
    """Return the host that drills."""
    return testinfra.get_host("ansible://ops", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def run():
    """Return a function that calls the program on a host; code and document."""

    def call(host, words, given=""):
        before = f"printf '%s' '{given}' | " if given else ""
        answer = host.run(f"{before}{PROGRAM} {words}")
        document = json.loads(answer.stdout) if answer.stdout.strip() else {}
        document["said"] = answer.stderr
        return answer.rc, document

    return call


@pytest.fixture(scope="session")
def sql(db):
    """Return a function that asks the live server."""

    def ask(query, database="shop"):
        return db.check_output(f'runuser -u postgres -- psql -XAtq -d {database} -c "{query}"')

    return ask


@pytest.fixture(scope="session")
def play():
    """Return a function that runs a playbook of this scenario with options; code and what Ansible printed."""

    def run_it(playbook, **options):
        argv = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], str(HERE.parent / playbook)]
        answer = subprocess.run(
            [*argv, "--extra-vars", json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # Long sentences are folded when they are printed.
        return answer.returncode, " ".join(answer.stdout.split())

    return run_it
