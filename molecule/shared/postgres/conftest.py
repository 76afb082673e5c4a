# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, calls of evenkeel-backup, and further runs of the roles."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra

# The scenario of these tests; this file is a symlink in each.
HERE = Path(__file__).parent
PROGRAM = "/usr/local/lib/evenkeel/evenkeel-backup"


@pytest.fixture(scope="session")
def db():
    """Return the host of the server."""
    return testinfra.get_host("ansible://db", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def ops():
    """Return the host of the drills."""
    return testinfra.get_host("ansible://ops", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def bare():
    """Return the bare host."""
    return testinfra.get_host("ansible://bare", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def major(db):
    """Return the server's major version."""
    return db.check_output("ls /etc/postgresql")


@pytest.fixture(scope="session")
def run():
    """Return a function that calls the program on a host, and returns exit code and document."""

    def call(host, words, given=""):
        before = f"printf '%s' '{given}' | " if given else ""
        answer = host.run(f"{before}{PROGRAM} {words}")
        document = json.loads(answer.stdout) if answer.stdout.strip() else {}
        document["said"] = answer.stderr
        return answer.rc, document

    return call


@pytest.fixture(scope="session")
def sql(db):
    """Return a function that queries the live server."""

    def ask(query, database="shop"):
        return db.check_output(f'runuser -u postgres -- psql -XAtq -d {database} -c "{query}"')

    return ask


@pytest.fixture(scope="session")
def play(ansible):
    """Return a function that runs a playbook of this scenario, and returns exit code and unwrapped output."""

    def run_it(playbook, *words, **options):
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        done = ansible(
            *("ansible-playbook", "--inventory", inventory, str(HERE.parent / playbook), *words),
            *("--extra-vars", json.dumps(options)),
        )
        return done.rc, done.output

    return run_it
