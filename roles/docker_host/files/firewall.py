#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the table `inet evenkeel` into the kernel, in one transaction.

load           replace our table by what the files say, and nothing else
  --after FILE   run FILE first, in the same transaction
  --flush        flush everything first, in the same transaction
  --if-changed   only where the kernel holds something else; prints loaded or unchanged
check          say loaded or unchanged as load --if-changed would, and test the rules
unload         take our table away
"""

import argparse
import fcntl
import glob
import hashlib
import json
import os
import subprocess
import sys

RULES = "/etc/evenkeel/firewall.nft"
FRAGMENTS = "/etc/evenkeel/firewall.d/*.nft"
NFT = "/usr/sbin/nft"
LOCK = "/run/lock/evenkeel-firewall.lock"


def nft(arguments, text=None):
    return subprocess.run(
        [NFT, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, check=False
    )


def wanted():
    """Return what all files hold, in the order they are loaded."""
    files = [RULES, *sorted(glob.glob(FRAGMENTS))]
    texts = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            texts.append(file.read())
    return "\n".join(texts)


def mark(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def transaction(text, after="", flush=False):
    head = "flush ruleset\n" if flush else ""
    if after:
        head += 'include "%s"\n' % after
    return "%stable inet evenkeel\ndelete table inet evenkeel\ntable inet evenkeel { comment \"%s\" \n}\n%s" % (
        head,
        mark(text),
        text,
    )


def loaded():
    """Return the mark of what the kernel holds, empty if it holds nothing of ours."""
    answer = nft(["--json", "--terse", "list", "table", "inet", "evenkeel"])
    if answer.returncode:
        return ""
    for item in json.loads(answer.stdout)["nftables"]:
        if "table" in item:
            return item["table"].get("comment", "")
    return ""


def fail(answer):
    sys.stderr.write(answer.stderr)
    return 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    load = commands.add_parser("load")
    load.add_argument("--after", default="")
    load.add_argument("--flush", action="store_true")
    load.add_argument("--if-changed", action="store_true")
    commands.add_parser("check")
    commands.add_parser("unload")
    options = parser.parse_args()
    os.makedirs(os.path.dirname(LOCK), exist_ok=True)
    # Held from reading the files to loading them: the last loader has read all that was written before it.
    with open(LOCK, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return run(options)


def run(options):
    if options.command == "unload":
        answer = nft(["-f", "-"], "table inet evenkeel\ndelete table inet evenkeel\n")
        return fail(answer) if answer.returncode else 0
    text = wanted()
    if options.command == "check":
        answer = nft(["-c", "-f", "-"], transaction(text))
        if answer.returncode:
            return fail(answer)
        print("unchanged" if loaded() == mark(text) else "loaded")
        return 0
    if options.if_changed and loaded() == mark(text):
        print("unchanged")
        return 0
    answer = nft(["-f", "-"], transaction(text, options.after, options.flush))
    if answer.returncode:
        return fail(answer)
    print("loaded")
    return 0


if __name__ == "__main__":
    sys.exit(main())
