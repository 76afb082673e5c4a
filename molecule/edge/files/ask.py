#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send commands to HAProxy's master: ask.py <command>...; @current stands for the running worker.

The answers are separated by a null byte.
"""

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


def running_worker() -> str:
    return ask("show proc").split("# workers\n")[1].split()[0]


if __name__ == "__main__":
    commands = sys.argv[1:]
    if any("@current" in command for command in commands):
        worker = f"@!{running_worker()}"
        commands = [command.replace("@current", worker) for command in commands]
    print("\0".join(map(ask, commands)), end="")
