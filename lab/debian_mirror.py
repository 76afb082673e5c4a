# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian package mirror of this machine.

The repository names no mirror: builds and hosts of the lab use the mirror of
this machine's apt. EVENKEEL_DEBIAN_MIRROR and EVENKEEL_DEBIAN_SECURITY_MIRROR
override it, as needed on a machine without Debian.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

APT = Path("/etc/apt")
SUITES = re.compile(r"^(?:bullseye|bookworm|trixie|forky|sid|stable|testing|unstable)(?:[-/].*)?$")


class MirrorError(Exception):
    """The configuration of apt names no Debian mirror."""


@dataclass(frozen=True)
class Mirror:
    """The mirrors of packages and of security updates."""

    packages: str
    security: str
    proxy: str = ""


def sources(apt: Path = APT) -> Iterator[tuple[str, str]]:
    """Yield each (URI, suite) of apt's sources."""
    lists = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    for path in lists:
        if path.is_file():
            yield from _one_line(path.read_text(encoding="utf-8"))
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        yield from _deb822(path.read_text(encoding="utf-8"))


def _one_line(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.split("#", 1)[0]).split()
        if len(words) >= 3 and words[0] == "deb":
            yield words[1], words[2]


def _deb822(text: str) -> Iterator[tuple[str, str]]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields: dict[str, list[str]] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields.setdefault(name, []).extend(line.split())
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.split()
        if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"])[0] != "no":
            for uri in fields.get("uris", []):
                for suite in fields.get("suites", []):
                    yield uri, suite


def choose(entries: list[tuple[str, str]]) -> Mirror:
    """Choose the mirrors of packages and of security updates."""
    debian = [(uri.rstrip("/"), suite) for uri, suite in entries if SUITES.match(suite)]
    plain = [uri for uri, suite in debian if "security" not in suite and "-" not in suite]
    security = [uri for uri, suite in debian if suite.endswith(("-security", "/updates"))]
    if not plain:
        raise MirrorError(
            "lab: no Debian mirror in /etc/apt: found none of Debian's suites, need one. "
            "Set EVENKEEL_DEBIAN_MIRROR to the address of a Debian mirror."
        )
    return Mirror(plain[0], security[0] if security else plain[0] + "-security")


def machine_mirror() -> Mirror:
    """Return the mirror to use on this machine."""
    override = os.environ.get("EVENKEEL_DEBIAN_MIRROR", "").rstrip("/")
    if override:
        security = os.environ.get("EVENKEEL_DEBIAN_SECURITY_MIRROR", "").rstrip("/")
        mirror = Mirror(override, security or override + "-security")
    else:
        mirror = choose(list(sources()))
    return Mirror(mirror.packages, mirror.security, _proxy())


def _proxy() -> str:
    try:
        answer = subprocess.run(
            ["apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return answer.stdout.strip()


if __name__ == "__main__":
    try:
        found = machine_mirror()
    except MirrorError as error:
        sys.exit(str(error))
    print(found.packages, found.security, sep="\n")
