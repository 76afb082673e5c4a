# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only runner of programs: argv lists, a fixed environment, a limit, messages kept, secrets never in argv."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evenkeel_backup.faults import BackupFailure, fault_of

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TAIL = 600
# The code of a program that was ended at its limit.
LATE = 124
# The code of `docker run` where the engine failed before the program began.
NO_CONTAINER = 125
AGAIN_SECONDS = 2.0


@dataclass(frozen=True)
class Done:
    """What a program ended with."""

    code: int
    out: str
    err: str

    @property
    def tail(self) -> str:
        """The last of what it said, for a sentence."""
        text = (self.err.strip() or self.out.strip())[-TAIL:]
        return " ".join(text.split()) or f"code {self.code} and no message"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every program sees: nothing is inherited but the path."""
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
    """Run one program to its end. One that is not there or takes too long is an ended one, with a message.

    Where the engine could not make its container nothing has happened yet, and it is tried once more.
    """
    done = _once(argv, env, given, seconds, folder, watch)
    if done.code == NO_CONTAINER and "OCI runtime create failed" in done.err:
        time.sleep(AGAIN_SECONDS)
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
    """Its output goes to pipes that are read all the time, so a talkative program never blocks."""
    try:
        process = subprocess.Popen(
            list(argv),
            env=environment(env),
            cwd=folder or "/",
            stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
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
                    # What it said until then tells what it waited for.
                    said = (late.stderr or b"").decode("utf-8", "replace").strip()
                    return Done(LATE, "", f"{said} not finished within {seconds:g} s".strip())
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[str], patience: float = 20) -> None:
    """End a program's whole group."""
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
    """Pass what ended with 0 through, and raise with the named fault for anything else.

    The same words mean another fault from a store than from a server or a disk of this host.
    """
    if done.code == 0:
        return done
    fault = fault_of(f"{done.err}\n{done.out}", otherwise)
    if fault in OF_STORES and not store:
        fault = otherwise
    if store and done.code == LATE and fault == otherwise:
        fault = "store_unreachable"
    raise BackupFailure(fault, what, subject, f"{done.tail} (code {done.code})", wanted, remedy)
