#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the nftables table `inet evenkeel` in one transaction.

load           replace the table with the content of the files
  --after FILE   run FILE first, in the same transaction
  --flush        flush everything first, in the same transaction
  --if-changed   only if the table in the kernel differs
check          test the rules, and print what load --if-changed would print
unload         remove the table
forget-engine  remove bridges and rules of a stopped engine

load and check print `loaded` or `unchanged`. Rules of the engine that a flush
removed are restored; rules of others are not changed.
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
# Lets a container reach itself through its published port.
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+) -d \1 .*-j MASQUERADE$")


class LoadError(Exception):
    """A command failed; the text is its own error."""


def run(argv: list[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)


def run_checked(argv: list[str], text: str | None = None) -> str:
    answer = run(argv, text)
    if answer.returncode:
        raise LoadError(answer.stderr.strip() or f"{argv[0]} failed")
    return answer.stdout


def rules_text() -> str:
    """Return the content of all files, in the order in which they are loaded."""
    return "\n".join(path.read_text(encoding="utf-8") for path in [RULES, *sorted(FRAGMENTS.glob("*.nft"))])


def checksum(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def transaction(text: str, after: str = "", flush: bool = False) -> str:
    """Return the commands that replace our table; its comment holds the checksum of the rules."""
    head = "flush ruleset\n" if flush else ""
    if after:
        head += f'include "{after}"\n'
    head += "table inet evenkeel\ndelete table inet evenkeel\n"
    return head + f'table inet evenkeel {{ comment "{checksum(text)}" \n}}\n{text}'


def loaded() -> str:
    """Return the checksum of the table in the kernel, empty without a table.

    Parses text, because the JSON of nft before 1.0.7 has no comment of a table.
    """
    answer = run([NFT, "--terse", "list", "table", "inet", "evenkeel"])
    found = re.search(r'^table inet evenkeel \{\s+comment "([^"]*)"', answer.stdout, re.MULTILINE)
    return found[1] if found and not answer.returncode else ""


def interfaces(line: str) -> set[str]:
    """Return the interfaces in a line of iptables-save."""
    words = line.split()
    return {words[number + 1] for number, word in enumerate(words[:-1]) if word in ("-i", "-o")}


def engine_lines(lines: list[str]) -> list[str]:
    """Return the engine's lines of the output of iptables-save."""
    # A bridge may have any name, which the engine's chains contain. DOCKER-USER is
    # the administrator's chain and names other interfaces.
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
    """Return the output of iptables-save without comments; nothing without the program."""
    try:
        lines = run([family + "-save"]).stdout.splitlines()
    except OSError:
        return []
    return [re.sub(r"\[\d+:\d+\]", "[0:0]", line) for line in lines if line and not line.startswith("#")]


def load(after: str, flush: bool) -> None:
    """Replace the table, and restore the rules of the engine that a flush removed."""
    text = rules_text()
    before = {family: saved(family) for family in FAMILIES} if after or flush else {}
    run_checked([NFT, "-f", "-"], transaction(text, after, flush))
    for family, lines in before.items():
        ours = set(engine_lines(lines))
        if ours and not engine_lines(saved(family)):
            kept = [line for line in lines if line in ours or line[0] == "*" or line == "COMMIT"]
            run_checked([family + "-restore", "--noflush"], "\n".join(kept) + "\n")


def forget_rules(family: str) -> int:
    """Remove the engine's rules, and return how many lines that were."""
    lines = saved(family)
    ours = set(engine_lines(lines))
    if ours:
        run_checked([family + "-restore"], "\n".join(line for line in lines if line not in ours) + "\n")
    return len(ours)


def forget_empty_tables() -> list[str]:
    """Remove empty tables that iptables created for the engine."""
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
    """Remove rules and bridges of the engine, and return what was removed."""
    removed = []
    for family in FAMILIES:
        count = forget_rules(family)
        if count:
            removed.append(f"{count} lines of {family}")
    if removed:
        removed += forget_empty_tables()
    for interface in sorted(INTERFACES.iterdir()):
        if BRIDGE.fullmatch(interface.name) and (interface / "bridge").is_dir():
            run_checked(["ip", "link", "delete", interface.name])
            removed.append(f"interface {interface.name}")
    return removed


def execute(options: argparse.Namespace) -> list[str]:
    """Run the command, and return the lines to print."""
    if options.command == "unload":
        run_checked([NFT, "-f", "-"], "table inet evenkeel\ndelete table inet evenkeel\n")
        return []
    if options.command == "forget-engine":
        return forget_engine()
    unchanged = loaded() == checksum(rules_text())
    if options.command == "check":
        run_checked([NFT, "-c", "-f", "-"], transaction(rules_text()))
    elif not (options.if_changed and unchanged):
        load(options.after, options.flush)
        return ["loaded"]
    return ["unchanged" if unchanged else "loaded"]


def main() -> int:
    """Parse the command line, and run the command under the lock."""
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
    # Held from reading the files to loading them, so that the last load includes
    # all earlier changes.
    with LOCK.open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            lines = execute(options)
        except (LoadError, OSError) as error:
            print(f"evenkeel firewall: {error}", file=sys.stderr)
            return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
