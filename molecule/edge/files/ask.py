#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say something to HAProxy's master: ask.py <command>; @current stands for the running worker."""

import socket
import sys


def ask(command: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect("/run/haproxy-master.sock")
        client.sendall(command.encode() + b"\n")
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts).decode()


if __name__ == "__main__":
    command = " ".join(sys.argv[1:])
    if command.startswith("@current"):
        rows = ask("show proc").split("# workers\n")[1].splitlines()
        command = command.replace("@current", f"@!{rows[0].split()[0]}")
    print(ask(command), end="")
