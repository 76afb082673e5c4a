# SPDX-License-Identifier: GPL-3.0-or-later
"""The two hosts, the program on them, and further runs of the roles."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import testinfra

# The scenario whose tests these are; the file itself is a link.
HERE = Path(__file__).parent
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
def bare():
    """Return the host that knows of nothing."""
    return testinfra.get_host("ansible://bare", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


@pytest.fixture(scope="session")
def major(db):
    """Return the server's major version."""
    return db.check_output("ls /etc/postgresql")


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
def play(ansible):
    """Return a function that runs a playbook of this scenario with options; code and what Ansible printed, unfolded."""

    def run_it(playbook, *words, **options):
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        done = ansible(
            *("ansible-playbook", "--inventory", inventory, str(HERE.parent / playbook), *words),
            *("--extra-vars", json.dumps(options)),
        )
        return done.rc, done.output

    return run_it
