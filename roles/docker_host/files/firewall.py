#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the table `inet evenkeel` into the kernel, in one transaction.

load           replace our table by what the files say, and nothing else
  --after FILE   run FILE first, in the same transaction
  --flush        flush everything first, in the same transaction
  --if-changed   only where the kernel holds something else
check          test the rules, and say what load --if-changed would
unload         take our table away
forget-engine  take away bridges and rules that a stopped engine left behind

load and check print `loaded` or `unchanged`. Rules of the engine that a flush
took are put back; rules of others are not touched.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

RULES = Path("/etc/evenkeel/firewall.nft")
FRAGMENTS = Path("/etc/evenkeel/firewall.d")
NFT = "/usr/sbin/nft"
LOCK = Path("/run/lock/evenkeel-firewall.lock")
INTERFACES = Path("/sys/class/net")
FAMILIES = ("iptables", "ip6tables")
BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
CHAIN = re.compile(r":DOCKER\S*\s|-A DOCKER\S*\s|.*\s-[jg] DOCKER\S*(\s|$)")
# A container that reaches itself through its own published port.
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+) -d \1 .*-j MASQUERADE$")


class LoadError(Exception):
    """The kernel or a tool refused; the text is the tool's own."""


def run(argv: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def must(argv: list[str], text: str | None = None) -> str:
    answer = run(argv, text)
    if answer.returncode:
        raise LoadError(answer.stderr.strip() or f"{argv[0]} failed")
    return answer.stdout


def wanted() -> str:
    """Return what all files hold, in the order they are loaded."""
    return "\n".join(path.read_text(encoding="utf-8") for path in [RULES, *sorted(FRAGMENTS.glob("*.nft"))])


def mark(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def transaction(text: str, after: str = "", flush: bool = False) -> str:
    """Return the commands that replace our table; its comment tells what it was made from."""
    head = "flush ruleset\n" if flush else ""
    if after:
        head += f'include "{after}"\n'
    head += "table inet evenkeel\ndelete table inet evenkeel\n"
    return head + f'table inet evenkeel {{ comment "{mark(text)}" \n}}\n{text}'


def loaded() -> str:
    """Return the mark of what the kernel holds, empty if it holds nothing of ours.

    As text: in JSON, nft tells no comment of a table before 1.0.7.
    """
    answer = run([NFT, "--terse", "list", "table", "inet", "evenkeel"])
    found = re.search(r'^table inet evenkeel \{\s+comment "([^"]*)"', answer.stdout, re.MULTILINE)
    return found[1] if found and not answer.returncode else ""


def interfaces(line: str) -> set[str]:
    """Name the interfaces a line of iptables-save speaks of."""
    words = line.split()
    return {words[number + 1] for number, word in enumerate(words[:-1]) if word in ("-i", "-o")}


def engine_lines(lines: list[str]) -> list[str]:
    """Keep what is the engine's of what iptables-save says."""
    # A bridge may have a name of its own; the engine's chains tell it. Those of
    # the administrator name other interfaces.
    bridges = set()
    for line in lines:
        if line.startswith("-A DOCKER") and not line.startswith("-A DOCKER-USER"):
            bridges |= interfaces(line)
    return [
        line
        for line in lines
        if CHAIN.match(line)
        or HAIRPIN.match(line)
        or any(name in bridges or BRIDGE.fullmatch(name) for name in interfaces(line))
    ]


def saved(family: str) -> list[str]:
    """Return what iptables-save says, without comments; nothing where the tool is missing."""
    try:
        lines = run([family + "-save"]).stdout.splitlines()
    except OSError:
        return []
    return [re.sub(r"\[\d+:\d+\]", "[0:0]", line) for line in lines if line and not line.startswith("#")]


def load(after: str, flush: bool) -> None:
    """Replace our table, and put back what a flush took from the engine."""
    text = wanted()
    before = {family: saved(family) for family in FAMILIES} if after or flush else {}
    must([NFT, "-f", "-"], transaction(text, after, flush))
    for family, lines in before.items():
        ours = set(engine_lines(lines))
        if ours and not engine_lines(saved(family)):
            kept = [line for line in lines if line in ours or line[0] == "*" or line == "COMMIT"]
            must([family + "-restore", "--noflush"], "\n".join(kept) + "\n")


def forget_rules(family: str) -> int:
    """Return how many lines of the engine were taken away."""
    lines = saved(family)
    ours = set(engine_lines(lines))
    if ours:
        must([family + "-restore"], "\n".join(line for line in lines if line not in ours) + "\n")
    return len(ours)


def forget_empty_tables() -> list[str]:
    """Take away tables that iptables made for the engine and nobody uses."""
    removed = []
    answer = run([NFT, "--json", "list", "ruleset"])
    items = json.loads(answer.stdout)["nftables"] if answer.returncode == 0 else []
    for item in items:
        table = item.get("table")
        if not table or table["family"] not in ("ip", "ip6") or table["name"] not in ("filter", "nat", "raw", "mangle"):
            continue
        used = [
            value
            for other in items
            for kind, value in other.items()
            if (value.get("family"), value.get("table")) == (table["family"], table["name"])
            and not (kind == "chain" and value.get("policy") == "accept")
        ]
        if not used and run([NFT, "delete", "table", table["family"], table["name"]]).returncode == 0:
            removed.append(f"table {table['family']} {table['name']}")
    return removed


def forget_engine() -> list[str]:
    """Return what was taken away."""
    removed = []
    for family in FAMILIES:
        count = forget_rules(family)
        if count:
            removed.append(f"{count} lines of {family}")
    if removed:
        removed += forget_empty_tables()
    for interface in sorted(INTERFACES.iterdir()):
        if BRIDGE.fullmatch(interface.name) and (interface / "bridge").is_dir():
            must(["ip", "link", "delete", interface.name])
            removed.append(f"interface {interface.name}")
    return removed


def obey(options: argparse.Namespace) -> list[str]:
    """Do what was asked; return the lines to print."""
    if options.command == "unload":
        must([NFT, "-f", "-"], "table inet evenkeel\ndelete table inet evenkeel\n")
        return []
    if options.command == "forget-engine":
        return forget_engine()
    unchanged = loaded() == mark(wanted())
    if options.command == "check":
        must([NFT, "-c", "-f", "-"], transaction(wanted()))
    elif not (options.if_changed and unchanged):
        load(options.after, options.flush)
        return ["loaded"]
    return ["unchanged" if unchanged else "loaded"]


def main() -> int:
    """Read the command line and obey it under the lock."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    load_command = commands.add_parser("load")
    load_command.add_argument("--after", default="")
    load_command.add_argument("--flush", action="store_true")
    load_command.add_argument("--if-changed", action="store_true")
    for name in ("check", "unload", "forget-engine"):
        commands.add_parser(name)
    options = parser.parse_args()
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    # Held from reading the files to loading them: the last loader has read all
    # that was written before it.
    with LOCK.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            lines = obey(options)
        except (LoadError, OSError) as error:
            print(f"evenkeel firewall: {error}", file=sys.stderr)
            return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
