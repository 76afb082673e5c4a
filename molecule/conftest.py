# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of several scenarios do alike: running Ansible once more, and waiting."""

from __future__ import annotations

import os
import subprocess
import time
from types import SimpleNamespace

import pytest

# Tests read each task with its result, whatever callback this machine's user has.
os.environ["ANSIBLE_STDOUT_CALLBACK"] = "ansible.builtin.default"


@pytest.fixture(scope="session")
def environment():
    """Return the environment of a program whose output a test reads."""
    env = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"}
    env.pop("PY_COLORS", None)
    return env


@pytest.fixture(scope="session")
def ansible(environment):
    """Return a function that runs one of Ansible's programs; it gives rc, raw output, and output unfolded."""

    def run(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
        raw = done.stdout + done.stderr
        return SimpleNamespace(rc=done.returncode, output=" ".join(raw.split()), raw=raw)

    return run


@pytest.fixture(scope="session")
def until():
    """Return a function that waits until a condition gives something, and gives that; what was last given where not."""

    def wait(condition, seconds=60):
        end = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < end:
            time.sleep(0.2)
        return found

    return wait
