#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the programs of the lab that are no packages, each once a version and machine.

A program is kept in the machine's own cache under the hash of what it was built from, so that another checkout or a
fresh clone takes it from there, without Go. It is then copied to .cache/bin.

build_programs.py [NAME ...]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

LAB = Path(__file__).resolve().parent
BIN = LAB.parent / ".cache" / "bin"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evenkeel" / "programs"


class Program(NamedTuple):
    """One program: the folder of its go.mod below lab/tools, and its package."""

    folder: str
    package: str


PROGRAMS = {
    "jaeger": Program("jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"),
    "otelcol": Program("collector", "."),
    "pebble": Program(".", "github.com/letsencrypt/pebble/v2/cmd/pebble"),
    "versitygw": Program(".", "github.com/versity/versitygw/cmd/versitygw"),
    "victoria-logs": Program("victorialogs", "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"),
}


class BuildError(Exception):
    """A program could not be built."""


def inputs(program: Program, tools: Path = LAB / "tools") -> list[Path]:
    """The files a program is built from; a folder with a go.mod of its own is another module."""
    folder = tools / program.folder
    own = [folder / "go.mod", folder / "go.sum"]
    # The package of the folder itself is built from its sources.
    return own + (sorted(folder.rglob("*.go")) if program.package == "." else [])


def input_hash(program: Program, tools: Path = LAB / "tools") -> str:
    """The hash of a program's files, its package and the kind of machine."""
    found = hashlib.sha256(f"{program.package}\n{os.uname().machine}\n".encode())
    for path in inputs(program, tools):
        found.update(f"{path.relative_to(tools)}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def go_command() -> str:
    """Return Go, also where it is not on PATH."""
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if not found:
        raise BuildError("build_programs: go on this machine: found none, need 1.26. Install it, or run make setup.")
    return found


def build(name: str, target: Path) -> None:
    """Build a program to a path, which is there whole or not at all."""
    program = PROGRAMS[name]
    new = target.with_suffix(".new")
    argv = [go_command(), "build", "-trimpath", "-o", str(new), program.package]
    done = subprocess.run(
        argv,
        cwd=LAB / "tools" / program.folder,
        env={**os.environ, "CGO_ENABLED": "0"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"build_programs: {name}: found exit code {done.returncode} of go build, need 0. See above.")
    new.rename(target)


def provide(name: str) -> bool:
    """Have a program in .cache/bin; return whether it was built."""
    CACHE.mkdir(parents=True, exist_ok=True)
    BIN.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"{name}-{input_hash(PROGRAMS[name])}"
    built = False
    # Runs side by side would build it twice.
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            build(name, kept)
            built = True
        target = BIN / name
        if not (target.exists() and target.stat().st_mtime_ns == kept.stat().st_mtime_ns):
            new = BIN / f".{name}.new"
            shutil.copy2(kept, new)
            new.rename(target)
    return built


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}; all when none is given")
    names = parser.parse_args(arguments).names or list(PROGRAMS)
    for name in names:
        if name not in PROGRAMS:
            print(f"build_programs: name: found {name}, need one of {', '.join(PROGRAMS)}.", file=sys.stderr)
            return 2
    try:
        for name in names:
            print(f"{'built' if provide(name) else 'kept'} {name}", flush=True)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
