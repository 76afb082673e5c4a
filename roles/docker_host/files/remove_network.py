# SPDX-License-Identifier: GPL-3.0-or-later
"""Take away the bridges and rules that a stopped engine left in the kernel.

Rules of others stay: the tables are written back without the engine's lines,
in one transaction each. Prints what was removed, one line each.
"""

import json
import os
import re
import subprocess

BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
OURS = re.compile(r":DOCKER\S*\s|-A DOCKER\S*\s|.*\s-[jg] DOCKER\S*(\s|$)")
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+) -d \1 .*-j MASQUERADE$")


def run(argv, text=None):
    return subprocess.run(
        argv, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False
    )


def of_the_engine(line):
    """Say whether a line of iptables-save is the engine's."""
    words = line.split()
    named = any(
        word in ("-i", "-o") and BRIDGE.fullmatch(words[number + 1]) for number, word in enumerate(words[:-1])
    )
    return bool(OURS.match(line) or HAIRPIN.match(line) or named)


def remove_rules(family):
    try:
        before = run([family + "-save"]).stdout.splitlines()
    except OSError:
        return 0
    kept = [line for line in before if not of_the_engine(line)]
    if kept == before:
        return 0
    answer = run([family + "-restore"], "\n".join(kept) + "\n")
    if answer.returncode:
        raise SystemExit("docker_host: %s-restore failed: %s" % (family, answer.stderr.strip()))
    return len(before) - len(kept)


def remove_empty_tables():
    """Take away tables that iptables made for the engine and nobody uses."""
    removed = []
    listing = run(["nft", "--json", "list", "ruleset"])
    if listing.returncode:
        return removed
    items = json.loads(listing.stdout)["nftables"]
    for item in items:
        table = item.get("table")
        if not table or table["family"] not in ("ip", "ip6") or table["name"] not in ("filter", "nat", "raw", "mangle"):
            continue
        inside = [
            other
            for other in items
            for kind, value in other.items()
            if kind not in ("table", "metainfo")
            and value["family"] == table["family"]
            and value.get("table") == table["name"]
            and not (kind == "chain" and value.get("policy", "drop") == "accept")
        ]
        if not inside and run(["nft", "delete", "table", table["family"], table["name"]]).returncode == 0:
            removed.append("table %s %s" % (table["family"], table["name"]))
    return removed


def main():
    removed = []
    for family in ("iptables", "ip6tables"):
        count = remove_rules(family)
        if count:
            removed.append("%d lines of %s" % (count, family))
    if removed:
        removed += remove_empty_tables()
    for interface in sorted(os.listdir("/sys/class/net")):
        if BRIDGE.fullmatch(interface) and os.path.isdir("/sys/class/net/%s/bridge" % interface):
            run(["ip", "link", "delete", interface])
            removed.append("interface " + interface)
    print("\n".join(removed))


if __name__ == "__main__":
    main()
