# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run programs: argument lists, a fixed environment, a time limit, no secrets among the arguments."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenkeel_backup.faults import BackupFailure, fault_of

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TAIL = 600
# Exit code of a program that was stopped at its time limit.
TIMED_OUT = 124
# Exit code of `docker run` if the engine failed before the program started.
NO_CONTAINER = 125
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Done:
    """Exit code and output of a program."""

    code: int
    out: str
    err: str

    @property
    def tail(self) -> str:
        """Return the end of the output, for a sentence."""
        text = (self.err.strip() or self.out.strip())[-TAIL:]
        return " ".join(text.split()) or f"code {self.code} and no message"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program; only PATH is inherited."""
    fixed = {"PATH": os.environ.get("PATH", PATH), "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}
    return {**fixed, **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    seconds: float = 3600,
    folder: Path | None = None,
    watch: Callable[[], None] | None = None,
) -> Done:
    """Run a program. A missing program or a timeout is a result with an error message, no exception.

    Retry once if the engine failed to create the container, because nothing has run yet.
    """
    done = _once(argv, env, given, seconds, folder, watch)
    if done.code == NO_CONTAINER and "OCI runtime create failed" in done.err:
        time.sleep(RETRY_SECONDS)
        done = _once(argv, env, given, seconds, folder, watch)
    return done


def _once(
    argv: Sequence[str],
    env: Mapping[str, str] | None,
    given: str | None,
    seconds: float,
    folder: Path | None,
    watch: Callable[[], None] | None,
) -> Done:
    """Run once; output is read continuously, so that the program never blocks on a full pipe."""
    try:
        process = subprocess.Popen(
            list(argv),
            env=environment(env),
            cwd=folder or "/",
            stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="surrogateescape",
            start_new_session=True,
        )
    except OSError as failure:
        return Done(127, "", f"{failure}")
    deadline = time.monotonic() + seconds
    pending = given
    try:
        while True:
            try:
                out, err = process.communicate(pending, timeout=1 if watch else max(0.1, deadline - time.monotonic()))
                return Done(process.returncode, out, err)
            except subprocess.TimeoutExpired as late:
                pending = None
                if watch:
                    watch()
                if time.monotonic() >= deadline:
                    end(process)
                    # The output so far shows what the program was waiting for.
                    output = (late.stderr or b"").decode("utf-8", "replace").strip()
                    return Done(TIMED_OUT, "", f"{output} not finished within {seconds:g} s".strip())
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[Any], patience: float = 20) -> None:
    """Stop the process group of a program."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            break
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


OF_STORES = frozenset({"store_denied", "store_unreachable", "wrong_key", "partial_upload"})


def need(
    done: Done, what: str, subject: str, wanted: str, remedy: str, otherwise: str = "failed", *, store: bool = False
) -> Done:
    """Return a successful result, and raise the matching fault for any other.

    The same message is another fault from a store than from a server or a local disk.
    """
    if done.code == 0:
        return done
    fault = fault_of(f"{done.err}\n{done.out}", otherwise)
    if fault in OF_STORES and not store:
        fault = otherwise
    if store and done.code == TIMED_OUT and fault == otherwise:
        fault = "store_unreachable"
    raise BackupFailure(fault, what, subject, f"{done.tail} (code {done.code})", wanted, remedy)
